//! The key of the server's certificate, at work outside of TLS: it signs what
//! clients keep. Who believes a connection to this service believes that too.

use std::sync::Arc;

use keyward_wire::SignedSnapshot;
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use rustls_pki_types::CertificateDer;

/// The server's certificate with its chain, and the key to it.
#[derive(Clone)]
pub(crate) struct Signer {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

impl Signer {
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Self {
        Self { chain, key }
    }

    /// Signs an encoded content; `None` if the key can sign by none of the schemes.
    pub(crate) fn sign(&self, content: Vec<u8>) -> Option<SignedSnapshot> {
        let signer = self.key.choose_scheme(&SCHEMES)?;
        let signature = signer.sign(&SignedSnapshot::signed_bytes(&content)).ok()?;
        Some(SignedSnapshot {
            content,
            certificates: self.chain.iter().map(|certificate| certificate.to_vec()).collect(),
            scheme: u16::from(signer.scheme()).into(),
            signature,
        })
    }
}

/// Those of TLS 1.3.
const SCHEMES: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];
