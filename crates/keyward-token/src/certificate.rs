//! What a certificate object repeats of its certificate.
//!
//! Certificates are carried byte for byte. They are read leniently: Java 8 and
//! 11 write some that strict parsers refuse.

use keyward_wire::{Error, ErrorCode, Result};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

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

/// A name as RFC 4514 writes it: the last part of the certificate's comes first.
/// Control characters are escaped, so that it cannot move a cursor.
#[must_use]
pub fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let identifier = attribute.attr_type().to_id_string();
    let kind = match identifier.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "EMAILADDRESS",
        other => other,
    };
    match attribute.as_str() {
        Ok(value) => format!("{kind}={}", escape(value)),
        Err(_) => format!(
            "{kind}=#{}",
            attribute
                .attr_value()
                .data
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        ),
    }
}

/// Control characters too, so that a certificate cannot move the cursor.
fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for letter in value.chars() {
        match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            control if control.is_control() => {
                for byte in control.encode_utf8(&mut [0; 4]).bytes() {
                    escaped.push_str(&format!("\\{byte:02X}"));
                }
            }
            other => escaped.push(other),
        }
    }
    escaped
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_pass_for_parts_of_a_name_or_move_the_cursor() {
        assert_eq!(escape("a,b"), r"a\,b");
        assert_eq!(escape("a\u{1b}[2J"), r"a\1B[2J");
    }
}
