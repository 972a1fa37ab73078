//! Which mechanism a request was made for. Data are digested where they are, so that what comes to
//! the key is a digest and a scheme; a key's CKA_ALLOWED_MECHANISMS and a token's policy speak of
//! the mechanism that made both.

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_wire::{Error, ErrorCode, Result};

use super::derivation::KEYS_LABEL;
use super::{
    BlockMode, DerivationScheme, Derived, EncryptionScheme, Family, ModeName, SignatureScheme,
    WrappingScheme, find, parameter_invalid,
};

/// The mechanism of a signature or code: the one that the request names, if it makes such a scheme
/// and input, else the one that takes the input as it is.
///
/// # Errors
/// CKR_MECHANISM_INVALID if the named one is not offered, CKR_MECHANISM_PARAM_INVALID if it does not
/// make what is asked for.
pub fn of_signature(named: Option<u64>, scheme: &SignatureScheme, input: &[u8]) -> Result<u64> {
    let Some(number) = named else { return Ok(plain_signature(scheme)) };
    let is_digest = |hash: Option<Hash>| hash.is_none_or(|hash| hash.length() == input.len());
    let fits = match (find(number)?.family, scheme) {
        (Family::RsaPkcs(None), SignatureScheme::RsaPkcs)
        | (Family::RsaX509, SignatureScheme::RsaX509)
        | (
            Family::Eddsa,
            SignatureScheme::Ed25519
            | SignatureScheme::Ed25519Context(_)
            | SignatureScheme::Ed25519Prehashed(_),
        )
        | (Family::MlDsa | Family::HashMlDsa(_), SignatureScheme::MlDsa) => true,
        (Family::RsaPkcs(Some(hash)), SignatureScheme::RsaPkcs) => is_digest_info(hash, input),
        (Family::RsaPss(of), SignatureScheme::RsaPss { hash, .. }) => {
            of.is_none_or(|of| of == *hash) && is_digest(Some(*hash))
        }
        (Family::Ecdsa(hash), SignatureScheme::Ecdsa)
        | (Family::Dsa(hash), SignatureScheme::Dsa) => is_digest(hash),
        (Family::Hmac { hash: of, general }, SignatureScheme::Hmac { hash, length }) => {
            of == *hash && (general || *length as usize == hash.length())
        }
        (Family::Cmac { cipher: of, general }, SignatureScheme::Cmac { cipher, length }) => {
            of == *cipher && (general || *length as usize == cipher.block_length())
        }
        (Family::TlsMac, SignatureScheme::TlsMac { .. }) => true,
        _ => false,
    };
    if fits { Ok(number) } else { Err(other(number)) }
}

/// The mechanism of an encryption, as [`of_signature`].
///
/// # Errors
/// As [`of_signature`].
pub fn of_encryption(named: Option<u64>, scheme: &EncryptionScheme) -> Result<u64> {
    let Some(number) = named else { return Ok(plain_encryption(scheme)) };
    let fits = match (find(number)?.family, scheme) {
        (Family::RsaPkcs(None), EncryptionScheme::RsaPkcs)
        | (Family::RsaOaep, EncryptionScheme::RsaOaep { .. })
        | (Family::RsaX509, EncryptionScheme::RsaX509) => true,
        (Family::Block { cipher: of, mode: name }, EncryptionScheme::Block { cipher, mode }) => {
            // What is not the end of a padded text goes as CBC.
            of == *cipher
                && (name == name_of(mode)
                    || (name, name_of(mode)) == (ModeName::CbcPad, ModeName::Cbc))
        }
        _ => false,
    };
    if fits { Ok(number) } else { Err(other(number)) }
}

/// The mechanism of a wrapped key, as [`of_signature`].
///
/// # Errors
/// As [`of_signature`].
pub fn of_wrapping(named: Option<u64>, scheme: &WrappingScheme) -> Result<u64> {
    let numbers: &[u64] = match scheme {
        WrappingScheme::Encryption(scheme) => return of_encryption(named, scheme),
        WrappingScheme::KeyWrap { padded: false, .. } => &[CKM_AES_KEY_WRAP],
        WrappingScheme::KeyWrap { padded: true, .. } => {
            &[CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD]
        }
        WrappingScheme::RsaAes { .. } => &[CKM_RSA_AES_KEY_WRAP],
    };
    one_of(named, numbers)
}

/// The mechanism of a derived key, as [`of_signature`].
///
/// # Errors
/// As [`of_signature`].
pub fn of_derivation(named: Option<u64>, scheme: &DerivationScheme) -> Result<u64> {
    let of_family;
    let numbers: &[u64] = match scheme {
        DerivationScheme::Ecdh { .. } => &[CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE],
        DerivationScheme::Dh { .. } => &[CKM_DH_PKCS_DERIVE],
        DerivationScheme::Hkdf { .. } => &[CKM_HKDF_DERIVE, CKM_HKDF_DATA],
        DerivationScheme::CounterMode { .. } => &[CKM_SP800_108_COUNTER_KDF],
        DerivationScheme::FeedbackMode { .. } => &[CKM_SP800_108_FEEDBACK_KDF],
        DerivationScheme::Data { before, .. } if before.is_empty() => {
            &[CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE]
        }
        DerivationScheme::Data { .. } => &[CKM_CONCATENATE_DATA_AND_BASE],
        DerivationScheme::Key => &[CKM_CONCATENATE_BASE_AND_KEY],
        DerivationScheme::Xor(_) => &[CKM_XOR_BASE_AND_DATA],
        DerivationScheme::Extract(_) => &[CKM_EXTRACT_KEY_FROM_KEY],
        DerivationScheme::Digest(hash) => {
            let derived = Derived::Digest(*hash);
            of_family = [family_number(|family| family == Family::Derivation(derived))];
            &of_family
        }
        DerivationScheme::Encryption { scheme, .. } => {
            let EncryptionScheme::Block { cipher, mode } = scheme else {
                return Err(parameter_invalid("how the data are encrypted is not known"));
            };
            let cbc = matches!(mode, BlockMode::Cbc { .. });
            let derived = Derived::Encryption { cipher: *cipher, cbc };
            of_family = [family_number(|family| family == Family::Derivation(derived))];
            &of_family
        }
        DerivationScheme::TlsPrf { length: None, .. } => &[CKM_TLS12_KDF, CKM_TLS_KDF],
        DerivationScheme::TlsPrf { label, .. } if label.starts_with(b"extended") => {
            &[CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH]
        }
        DerivationScheme::TlsPrf { hash: None, .. } => {
            &[CKM_TLS_MASTER_KEY_DERIVE, CKM_TLS_MASTER_KEY_DERIVE_DH]
        }
        DerivationScheme::TlsPrf { .. } => {
            &[CKM_TLS12_MASTER_KEY_DERIVE, CKM_TLS12_MASTER_KEY_DERIVE_DH]
        }
    };
    one_of(named, numbers)
}

/// Whether a mechanism that gives several keys, or bytes, derives them so.
///
/// # Errors
/// As [`of_signature`].
pub fn of_material(number: u64, scheme: &DerivationScheme) -> Result<u64> {
    let DerivationScheme::TlsPrf { hash, label, length: None, .. } = scheme else {
        return Err(other(number));
    };
    let fits = match find(number)?.family {
        Family::Derivation(Derived::TlsKeys { tls12, .. }) => {
            hash.is_some() == tls12 && label == KEYS_LABEL
        }
        Family::Derivation(Derived::TlsPrf) => hash.is_none(),
        _ => false,
    };
    if fits { Ok(number) } else { Err(other(number)) }
}

/// The named one, if it is one of these; the first of them if none is named.
fn one_of(named: Option<u64>, numbers: &[u64]) -> Result<u64> {
    match named {
        None => Ok(numbers.first().copied().unwrap_or(CKM_VENDOR_DEFINED)),
        Some(number) if numbers.contains(&number) => Ok(number),
        Some(number) => Err(other(number)),
    }
}

fn is_digest_info(hash: Hash, input: &[u8]) -> bool {
    let Some(start) = input.len().checked_sub(hash.length()) else { return false };
    hash.digest_info(&input[start..]).is_ok_and(|info| info == input)
}

fn name_of(mode: &BlockMode) -> ModeName {
    match mode {
        BlockMode::Ecb => ModeName::Ecb,
        BlockMode::Cbc { .. } => ModeName::Cbc,
        BlockMode::CbcPad { .. } => ModeName::CbcPad,
        BlockMode::Ctr { .. } => ModeName::Ctr,
        BlockMode::Gcm { .. } => ModeName::Gcm,
        BlockMode::Ccm { .. } => ModeName::Ccm,
        BlockMode::Feedback { feedback, .. } => ModeName::Feedback(*feedback),
    }
}

fn plain_signature(scheme: &SignatureScheme) -> u64 {
    match scheme {
        SignatureScheme::RsaPkcs => CKM_RSA_PKCS,
        SignatureScheme::RsaPss { .. } => CKM_RSA_PKCS_PSS,
        SignatureScheme::RsaX509 => CKM_RSA_X_509,
        SignatureScheme::Ecdsa => CKM_ECDSA,
        SignatureScheme::Dsa => CKM_DSA,
        SignatureScheme::Ed25519
        | SignatureScheme::Ed25519Context(_)
        | SignatureScheme::Ed25519Prehashed(_) => CKM_EDDSA,
        SignatureScheme::MlDsa => CKM_ML_DSA,
        SignatureScheme::TlsMac { .. } => CKM_TLS_MAC,
        SignatureScheme::Hmac { hash, length } => family_number(|family| {
            let general = *length as usize != hash.length();
            family == Family::Hmac { hash: *hash, general }
        }),
        SignatureScheme::Cmac { cipher, length } => family_number(|family| {
            let general = *length as usize != cipher.block_length();
            family == Family::Cmac { cipher: *cipher, general }
        }),
    }
}

fn plain_encryption(scheme: &EncryptionScheme) -> u64 {
    match scheme {
        EncryptionScheme::RsaPkcs => CKM_RSA_PKCS,
        EncryptionScheme::RsaOaep { .. } => CKM_RSA_PKCS_OAEP,
        EncryptionScheme::RsaX509 => CKM_RSA_X_509,
        EncryptionScheme::Block { cipher, mode } => {
            let mode = name_of(mode);
            family_number(|family| family == Family::Block { cipher: *cipher, mode })
        }
    }
}

/// The mechanism of a family of which there is one; what no mechanism has is refused by its number.
fn family_number(is: impl Fn(Family) -> bool) -> u64 {
    super::REGISTRY
        .iter()
        .find(|mechanism| is(mechanism.family))
        .map_or(CK_UNAVAILABLE_INFORMATION, |mechanism| mechanism.number)
}

fn other(number: u64) -> Error {
    Error::new(
        ErrorCode::MechanismParamInvalid,
        format!("mechanism {number:#x} does not make what is asked for"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_info_belongs_to_the_mechanism_of_its_hash() {
        let info = Hash::Sha256.digest_info(&[7; 32]).unwrap();
        let named = |number, input: &[u8]| {
            of_signature(Some(number), &SignatureScheme::RsaPkcs, input).ok()
        };
        assert_eq!(named(CKM_SHA256_RSA_PKCS, &info), Some(CKM_SHA256_RSA_PKCS));
        assert_eq!(named(CKM_RSA_PKCS, &info), Some(CKM_RSA_PKCS));
        assert_eq!(named(CKM_SHA384_RSA_PKCS, &info), None);
        assert_eq!(named(CKM_SHA256_RSA_PKCS, &info[1..]), None);
        assert_eq!(named(CKM_SHA256_RSA_PKCS, b""), None);
        assert_eq!(named(CKM_SHA256_RSA_PKCS_PSS, &info), None);
    }

    #[test]
    fn what_names_no_mechanism_is_of_the_one_without_a_digest() {
        let pss =
            SignatureScheme::RsaPss { hash: Hash::Sha1, mgf1_hash: Hash::Sha1, salt_length: 20 };
        let hmac = |length| SignatureScheme::Hmac { hash: Hash::Sha256, length };
        for (scheme, number) in [
            (SignatureScheme::RsaPkcs, CKM_RSA_PKCS),
            (pss.clone(), CKM_RSA_PKCS_PSS),
            (SignatureScheme::Ecdsa, CKM_ECDSA),
            (hmac(32), CKM_SHA256_HMAC),
            (hmac(16), CKM_SHA256_HMAC_GENERAL),
        ] {
            assert_eq!(of_signature(None, &scheme, &[0; 20]).unwrap(), number);
        }
        assert!(of_signature(Some(CKM_SHA256_RSA_PKCS_PSS), &pss, &[0; 20]).is_err());
        assert!(of_signature(Some(CKM_SHA1_RSA_PKCS_PSS), &pss, &[0; 20]).is_ok());
        assert!(of_signature(Some(CKM_SHA1_RSA_PKCS_PSS), &pss, &[0; 32]).is_err());
    }

    #[test]
    fn the_parts_of_a_padded_text_are_plain_cbc() {
        let block = |mode| EncryptionScheme::Block { cipher: super::super::BlockCipher::Aes, mode };
        let cbc = block(BlockMode::Cbc { chain: vec![0; 16] });
        assert_eq!(of_encryption(Some(CKM_AES_CBC_PAD), &cbc).unwrap(), CKM_AES_CBC_PAD);
        assert_eq!(of_encryption(None, &cbc).unwrap(), CKM_AES_CBC);
        assert!(of_encryption(Some(CKM_AES_ECB), &cbc).is_err());
    }
}
