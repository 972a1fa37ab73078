//! TLS as the service speaks it: 1.3 only, a certificate on both sides,
//! sessions resumed by tickets that the service does not keep.

use std::path::Path;
use std::sync::Arc;

use keyward_wire::ALPN;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Config;
use crate::files::{self, FileError};
use crate::signer::Signer;

/// The TLS configuration of a service, and what signs beside it.
pub(super) fn config(config: &Config) -> Result<(ServerConfig, Signer), FileError> {
    let chain = certificates(&config.certificate)?;
    let key_pem = files::read_secret(&config.private_key)?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| {
        FileError::content(&config.private_key, format!("holds no private key: {error}"))
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.authority)? {
        roots.add(certificate).map_err(|error| {
            FileError::content(&config.authority, format!("holds no usable authority: {error}"))
        })?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| {
            FileError::content(&config.authority, format!("holds no usable authority: {error}"))
        })?;
    let unusable = |error: rustls::Error| {
        FileError::content(&config.certificate, format!("and its key cannot be used: {error}"))
    };
    let signing_key = provider.key_provider.load_private_key(key.clone_key()).map_err(unusable)?;
    let signer = Signer::new(chain.clone(), signing_key);
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    Ok((tls, signer))
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let pem = files::read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| FileError::content(path, format!("holds no certificate: {error}")))?;
    if found.is_empty() {
        return Err(FileError::content(path, "holds no certificate"));
    }
    Ok(found)
}
