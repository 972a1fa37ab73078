//! What a certificate object repeats of its certificate.
//!
//! Certificates are carried byte for byte. They are read leniently: Java 8 and
//! 11 write some that strict parsers refuse.

use keyward_wire::{Error, ErrorCode, Result};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The DER parts of a certificate that its object carries as attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// CKA_SUBJECT: a DER Name.
    pub subject: Vec<u8>,
    /// CKA_ISSUER: a DER Name.
    pub issuer: Vec<u8>,
    /// CKA_SERIAL_NUMBER: a DER INTEGER.
    pub serial_number: Vec<u8>,
    /// CKA_PUBLIC_KEY_INFO: a DER SubjectPublicKeyInfo.
    pub public_key_info: Vec<u8>,
}

impl Parts {
    /// Reads a DER certificate (CKA_VALUE).
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_VALUE_INVALID if it is none, or has bytes after its end.
    pub fn of(certificate: &[u8]) -> Result<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| not_one())?;
        if !rest.is_empty() {
            return Err(not_one());
        }
        Ok(Self {
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            serial_number: der_integer(parsed.raw_serial()),
            public_key_info: parsed.public_key().raw.to_vec(),
        })
    }
}

fn not_one() -> Error {
    Error::new(ErrorCode::AttributeValueInvalid, "CKA_VALUE is not one DER X.509 certificate")
}

/// A DER INTEGER around its content.
fn der_integer(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let length = &length[significant..];
    let mut der = vec![0x02];
    if content.len() >= 0x80 {
        der.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
    }
    der.extend_from_slice(length);
    der.extend_from_slice(content);
    der
}
