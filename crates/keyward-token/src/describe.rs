//! What people call a key.

use cryptoki_sys::*;
use x509_parser::asn1_rs::{FromDer, Oid};

use crate::attribute::Attributes;
use crate::key;

/// "RSA 2048", "EC P-256", "AES 256"; of keys that Keyward does not offer as well. Nothing if
/// there is no CKA_KEY_TYPE.
#[must_use]
pub fn kind(attributes: &Attributes) -> String {
    let bits = |attribute| attributes.bytes(attribute).map(key::significant_bits);
    let sized = |name: &str, size: Option<u64>| match size {
        Some(size) => format!("{name} {size}"),
        None => name.to_owned(),
    };
    let secret = |name: &str| {
        let value = || attributes.bytes(CKA_VALUE).map(|value| value.len() as u64);
        let bytes = attributes.number(CKA_VALUE_LEN).or_else(value);
        sized(name, bytes.map(|bytes| bytes.saturating_mul(8)))
    };
    let parameters = attributes.bytes(CKA_EC_PARAMS);
    match attributes.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => sized("RSA", bits(CKA_MODULUS)),
        Some(CKK_EC) => match parameters {
            Some(parameters) => format!("EC {}", curve_name(parameters)),
            None => "EC".to_owned(),
        },
        Some(CKK_EC_EDWARDS) if parameters == Some(&ED448) => "Ed448".to_owned(),
        Some(CKK_EC_EDWARDS) => "Ed25519".to_owned(),
        Some(CKK_EC_MONTGOMERY) if parameters == Some(&X448) => "X448".to_owned(),
        Some(CKK_EC_MONTGOMERY) => "X25519".to_owned(),
        Some(CKK_DSA) => sized("DSA", bits(CKA_PRIME)),
        Some(CKK_DH) => sized("DH", bits(CKA_PRIME)),
        Some(CKK_ML_DSA) => "ML-DSA".to_owned(),
        Some(CKK_ML_KEM) => "ML-KEM".to_owned(),
        Some(CKK_AES) => secret("AES"),
        Some(CKK_DES) => "DES".to_owned(),
        Some(CKK_DES2 | CKK_DES3) => "Triple DES".to_owned(),
        Some(CKK_BLOWFISH) => secret("Blowfish"),
        Some(CKK_RC4) => secret("RC4"),
        Some(CKK_CHACHA20) => secret("ChaCha20"),
        Some(CKK_GENERIC_SECRET) => secret("secret"),
        Some(other) => format!("key type {other:#x}"),
        None => String::new(),
    }
}

/// The curve that CKA_EC_PARAMS names, by its OID if it is not offered.
fn curve_name(parameters: &[u8]) -> String {
    if let Ok(curve) = key::curve(parameters) {
        return curve.to_string();
    }
    match Oid::from_der(parameters) {
        Ok(([], identifier)) => identifier.to_id_string(),
        _ => "curve of no name".to_owned(),
    }
}

/// CKA_EC_PARAMS of X448 (RFC 8410 section 3), which is known and not offered.
pub const X448: [u8; 5] = [6, 3, 0x2b, 0x65, 0x6f];
/// The same of Ed448.
pub const ED448: [u8; 5] = [6, 3, 0x2b, 0x65, 0x71];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_called_what_people_call_them() {
        let of = |key_type: CK_KEY_TYPE, parts: &[(u64, &[u8])]| {
            let mut attributes = Attributes::new();
            attributes.set(CKA_KEY_TYPE, key_type);
            for (attribute, value) in parts {
                attributes.set(*attribute, value.to_vec());
            }
            kind(&attributes)
        };
        assert_eq!(kind(&Attributes::new()), "");
        assert_eq!(of(CKK_RSA, &[]), "RSA");
        let modulus = [&[0, 0x80], &[1; 255][..]].concat();
        assert_eq!(of(CKK_RSA, &[(CKA_MODULUS, &modulus)]), "RSA 2048");
        for (parameters, name) in [
            (&[6, 5, 0x2b, 0x81, 4, 0, 8][..], "EC 1.3.132.0.8"),
            (&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "EC P-256"),
            (&[0x30, 0], "EC curve of no name"),
        ] {
            assert_eq!(of(CKK_EC, &[(CKA_EC_PARAMS, parameters)]), name);
        }
        assert_eq!(of(CKK_EC_EDWARDS, &[(CKA_EC_PARAMS, &ED448)]), "Ed448");
        assert_eq!(of(CKK_AES, &[(CKA_VALUE, &[0; 32])]), "AES 256");
    }
}
