//! Reading certificates. They are read leniently and carried byte for byte:
//! Java 8 and 11 write some that strict parsers refuse.

use std::path::Path;

use anyhow::{Context, Result};
use keyward_crypto::digest::Hash;
use keyward_token::certificate::{Parts, name};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::failure::Failure;
use crate::output::hex;

/// A certificate and what people want to know of it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// The DER parts that its object repeats.
    pub parts: Parts,
    /// As RFC 4514 writes a name.
    pub subject: String,
    /// As RFC 4514 writes a name.
    pub issuer: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// Seconds since 1970-01-01 UTC.
    pub not_before: i64,
    /// Seconds since 1970-01-01 UTC.
    pub not_after: i64,
    /// Whether it is a certificate authority's (basicConstraints).
    pub authority: bool,
}

/// What a certificate says besides.
pub struct Extension {
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
    /// DER.
    pub value: Vec<u8>,
}

impl Certificate {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let parts = Parts::of(der).map_err(|_| Failure::new("not an X.509 certificate"))?;
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|_| Failure::new("not an X.509 certificate"))?;
        Ok(Self {
            der: der.to_vec(),
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            serial_number: hex(parsed.raw_serial()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            authority: parsed.is_ca(),
            parts,
        })
    }

    /// Reads all certificates of a file: PEM, one after the other, or one in DER.
    ///
    /// # Errors
    /// If the file cannot be read or holds no certificate.
    pub fn read_file(path: &Path) -> Result<Vec<Self>> {
        let data =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let found: Vec<Vec<u8>> = if data.first() == Some(&0x30) {
            vec![data]
        } else {
            pem::parse_many(&data)
                .with_context(|| format!("{} is neither PEM nor DER", path.display()))?
                .into_iter()
                .filter(|block| matches!(block.tag(), "CERTIFICATE" | "X509 CERTIFICATE"))
                .map(pem::Pem::into_contents)
                .collect()
        };
        if found.is_empty() {
            return Err(Failure::new(format!("{} holds no certificate", path.display()))
                .hint("it takes \"-----BEGIN CERTIFICATE-----\" blocks, the key's own certificate first")
                .into());
        }
        found
            .iter()
            .enumerate()
            .map(|(index, der)| {
                Self::from_der(der)
                    .with_context(|| format!("certificate {} of {}", index + 1, path.display()))
            })
            .collect()
    }

    /// The certificate in PEM.
    pub fn pem(&self) -> String {
        to_pem("CERTIFICATE", &self.der)
    }

    /// SHA-256 over the whole certificate, in hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&Hash::Sha256.digest(&self.der))
    }

    /// An extension by its dotted OBJECT IDENTIFIER, if there is one.
    pub fn extension(&self, id: &str) -> Option<Extension> {
        let (_, parsed) = X509Certificate::from_der(&self.der).ok()?;
        let extension =
            parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == id)?;
        Some(Extension { critical: extension.critical, value: extension.value.to_vec() })
    }

    /// Whether subject and issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.parts.subject == self.parts.issuer
    }
}

/// A PEM block with lines ended as on Unix.
pub fn to_pem(tag: &str, der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new(tag, der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}
