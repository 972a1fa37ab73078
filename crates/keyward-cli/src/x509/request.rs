//! Certificate requests: PKCS#10 (RFC 2986). They are written here and not by a
//! library, because a name may have the same attribute more than once.

use anyhow::Result;
use keyward_crypto::digest::Hash;
use keyward_crypto::ec::Curve;

use crate::x509::der;

/// What a request asks for.
pub struct CertificateRequest<'a> {
    /// Whom the certificate is for: a DER Name.
    pub subject: &'a [u8],
    /// The DER GeneralNames of the subject, one after the other.
    pub other_names: &'a [u8],
    /// DER SubjectPublicKeyInfo.
    pub public_key_info: &'a [u8],
}

impl CertificateRequest<'_> {
    /// The DER request. `sign` gets the digest of what is signed and gives the
    /// signature as X.509 has it: for ECDSA in DER.
    ///
    /// # Errors
    /// What `sign` says.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let version = [0x02, 0x01, 0x00];
        let attributes = self.attributes();
        let information = der::constructed(
            der::SEQUENCE,
            &[&version, self.subject, self.public_key_info, &attributes],
        );
        let mut bits = vec![0];
        bits.extend(sign(&algorithm.hash().digest(&information))?);
        let signature = der::element(der::BIT_STRING, &bits);
        Ok(der::constructed(der::SEQUENCE, &[&information, &algorithm.identifier(), &signature]))
    }

    /// `[0] Attributes`: an extensionRequest with the other names, if any.
    fn attributes(&self) -> Vec<u8> {
        if self.other_names.is_empty() {
            return der::element(ATTRIBUTES, &[]);
        }
        let names = der::element(der::SEQUENCE, self.other_names);
        let value = der::element(der::OCTET_STRING, &names);
        let extension = der::constructed(der::SEQUENCE, &[&SUBJECT_ALT_NAME, &value]);
        let extensions = der::element(der::SEQUENCE, &extension);
        let set = der::element(der::SET, &extensions);
        der::element(ATTRIBUTES, &der::constructed(der::SEQUENCE, &[&EXTENSION_REQUEST, &set]))
    }
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, which every CA takes.
    Rsa,
    /// ECDSA with the hash that fits the curve.
    Ecdsa(Hash),
}

impl Algorithm {
    /// For a key on `curve`.
    pub fn ecdsa(curve: Curve) -> Self {
        Self::Ecdsa(match curve.bits() {
            ..=256 => Hash::Sha256,
            257..=384 => Hash::Sha384,
            _ => Hash::Sha512,
        })
    }

    /// The hash of what is signed.
    pub fn hash(self) -> Hash {
        match self {
            Self::Rsa => Hash::Sha256,
            Self::Ecdsa(hash) => hash,
        }
    }

    /// The DER AlgorithmIdentifier (RFC 5754 section 3).
    pub fn identifier(self) -> Vec<u8> {
        let dotted = match self {
            Self::Rsa => "1.2.840.113549.1.1.11",
            Self::Ecdsa(Hash::Sha384) => "1.2.840.10045.4.3.3",
            Self::Ecdsa(Hash::Sha512) => "1.2.840.10045.4.3.4",
            Self::Ecdsa(_) => "1.2.840.10045.4.3.2",
        };
        // All of them are well-formed.
        let identifier = der::object_identifier(dotted).unwrap_or_default();
        match self {
            Self::Rsa => der::constructed(der::SEQUENCE, &[&identifier, &[0x05, 0x00]]),
            Self::Ecdsa(_) => der::element(der::SEQUENCE, &identifier),
        }
    }
}

/// The context-specific constructed tag 0.
const ATTRIBUTES: u8 = 0xa0;

/// The OBJECT IDENTIFIER 1.2.840.113549.1.9.14.
const EXTENSION_REQUEST: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

/// The OBJECT IDENTIFIER 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 5] = [6, 3, 0x55, 0x1d, 0x11];
