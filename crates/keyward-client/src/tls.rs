//! The TLS config, read again when one of its files changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, ConfigError};

/// The TLS config and the state of the files that it came from.
#[derive(Default)]
pub(crate) struct Tls {
    current: Mutex<Option<(Stamp, Arc<ClientConfig>)>>,
}

/// Inode, size and change time (seconds, nanoseconds) of the three files.
type Stamp = [(u64, u64, i64, i64); 3];

impl Tls {
    /// The config as the files have it now.
    pub(crate) fn config(&self, config: &Config) -> Result<Arc<ClientConfig>, ConfigError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match (stamp(config), &*current) {
            (Ok(stamp), _) => stamp,
            (Err(_), Some((_, known))) => return Ok(Arc::clone(known)),
            (Err(error), None) => return Err(error),
        };
        if let Some((known, tls)) = &*current
            && *known == stamp
        {
            return Ok(Arc::clone(tls));
        }
        match (read(config), &*current) {
            (Ok(tls), _) => {
                let tls = Arc::new(tls);
                *current = Some((stamp, Arc::clone(&tls)));
                Ok(tls)
            }
            // Somebody is in the middle of replacing the files: what was good
            // a moment ago is good still.
            (Err(_), Some((_, known))) => Ok(Arc::clone(known)),
            (Err(error), None) => Err(error),
        }
    }
}

fn stamp(config: &Config) -> Result<Stamp, ConfigError> {
    let mut stamp = Stamp::default();
    let files = [&config.authority, &config.certificate, &config.private_key];
    for (entry, path) in stamp.iter_mut().zip(files) {
        let found = fs::metadata(path).map_err(|reason| unreadable(path, reason))?;
        *entry = (found.ino(), found.size(), found.mtime(), found.mtime_nsec());
    }
    Ok(stamp)
}

fn read(config: &Config) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.authority)? {
        roots.add(certificate).map_err(|error| invalid(&config.authority, &error))?;
    }
    let mode = fs::metadata(&config.private_key)
        .map_err(|reason| unreadable(&config.private_key, reason))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(ConfigError::Exposed { path: config.private_key.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(&config.private_key)
        .map_err(|error| pem(&config.private_key, error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| invalid(&config.certificate, &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&config.certificate)?, key)
        .map_err(|error| invalid(&config.certificate, &error))?;
    tls.alpn_protocols = vec![keyward_wire::ALPN.to_vec()];
    Ok(tls)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| pem(path, error))?.collect();
    let certificates = certificates.map_err(|error| pem(path, error))?;
    if certificates.is_empty() {
        return Err(ConfigError::Invalid {
            path: path.to_owned(),
            reason: "there is no PEM certificate in it".to_owned(),
        });
    }
    Ok(certificates)
}

fn pem(path: &Path, error: rustls_pki_types::pem::Error) -> ConfigError {
    match error {
        rustls_pki_types::pem::Error::Io(reason) => unreadable(path, reason),
        other => invalid(path, &other),
    }
}

fn unreadable(path: &Path, reason: std::io::Error) -> ConfigError {
    ConfigError::Unreadable { path: path.to_owned(), reason }
}

fn invalid(path: &Path, error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError::Invalid { path: path.to_owned(), reason: error.to_string() }
}
