//! The TLS config, read again when one of its files changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
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

/// Where `keyward identity renew` keeps a new private key until it has replaced
/// the old one: beside it, with `.new` behind its name.
///
/// The certificate is replaced first. A client that finds one which is not that
/// of the key in its place looks here, so that a renewal may be cut short at any
/// point.
pub fn pending_key(private_key: &Path) -> PathBuf {
    // A link goes on pointing to where it points.
    let target = private_key.canonicalize().unwrap_or_else(|_| private_key.to_owned());
    let mut name = target.into_os_string();
    name.push(".new");
    name.into()
}

/// The file that holds the key of the config's certificate: `private_key`, or
/// its [`pending_key`].
///
/// # Errors
/// If the certificate or the key cannot be used, or neither key is the
/// certificate's.
pub fn identity_key(config: &Config) -> Result<PathBuf, ConfigError> {
    pair(config, &aws_lc_rs::default_provider()).map(|(_, path)| path)
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

/// The authorities of the service.
pub(crate) fn roots(config: &Config) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.authority)? {
        roots.add(certificate).map_err(|error| invalid(&config.authority, &error))?;
    }
    Ok(roots)
}

fn read(config: &Config) -> Result<ClientConfig, ConfigError> {
    let roots = roots(config)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (pair, _) = pair(config, &provider)?;
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| invalid(&config.certificate, &error))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    tls.alpn_protocols = vec![keyward_wire::ALPN.to_vec()];
    Ok(tls)
}

/// The certificate with its key, and where that was found.
fn pair(
    config: &Config,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, PathBuf), ConfigError> {
    let chain = certificates(&config.certificate)?;
    for path in [config.private_key.clone(), pending_key(&config.private_key)] {
        let key = match private_key(&path) {
            // The second one is there only if a renewal was cut short.
            Err(_) if path != config.private_key => break,
            key => key?,
        };
        match CertifiedKey::from_der(chain.clone(), key, provider) {
            Ok(pair) => return Ok((pair, path)),
            Err(rustls::Error::InconsistentKeys(_)) => {}
            Err(error) => return Err(invalid(&config.certificate, &error)),
        }
    }
    let problem =
        format!("this is not the key of the certificate in {}", config.certificate.display());
    Err(invalid(&config.private_key, &problem))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let mode = fs::metadata(path).map_err(|reason| unreadable(path, reason))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(ConfigError::Exposed { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| pem(path, error))
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
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
