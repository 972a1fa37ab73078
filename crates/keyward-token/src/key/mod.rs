//! What a key does: from an object's attributes to AWS-LC and back.

mod derivation;
mod message;
mod private;
mod public;
mod secret;
mod wrapping;

pub use message::Message;
pub use private::PrivateKey;
pub use public::PublicKey;
pub use secret::SecretKey;
pub(crate) use secret::{Lengths, length, lengths};
pub(crate) use wrapping::wrapped_key_invalid;
pub use wrapping::{wrap, wrapped_length};

use cryptoki_sys::*;
use keyward_crypto::Error as CryptoError;
use keyward_crypto::ec::Curve;
use keyward_crypto::ml_dsa::MlDsa;
use keyward_crypto::ml_kem::MlKem;
use keyward_wire::{Error, ErrorCode, Result};

use crate::attribute::{self, Attributes, value_invalid};
use crate::object::Object;

/// The key that another comes out of, ready for use.
#[derive(Clone, Copy, Debug)]
pub enum WorkingKey<'a> {
    /// It unwraps, or agrees with the other side's.
    Private(&'a PrivateKey),
    /// It unwraps, or others are derived from it.
    Secret(&'a SecretKey),
}

impl Object {
    /// How long a signature by this key is, in bytes; from its public half.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if keys of the type sign nothing.
    pub fn signature_length(&self) -> Result<usize> {
        let attributes = self.attributes();
        match self.key_type() {
            Some(CKK_RSA) => {
                Ok(required(attributes, CKA_MODULUS)?.iter().skip_while(|byte| **byte == 0).count())
            }
            Some(CKK_EC) => Ok(2 * curve(required(attributes, CKA_EC_PARAMS)?)?.field_length()),
            Some(CKK_EC_EDWARDS) => Ok(ED25519_SIGNATURE),
            Some(CKK_ML_DSA) => Ok(ml_dsa_set(attributes)?.signature_length()),
            Some(CKK_DSA) => Ok(2 * required(attributes, CKA_SUBPRIME)?
                .iter()
                .skip_while(|byte| **byte == 0)
                .count()),
            _ => Err(type_inconsistent("one that signs")),
        }
    }
}

/// The curve that CKA_EC_PARAMS names.
///
/// # Errors
/// CKR_CURVE_NOT_SUPPORTED.
pub fn curve(parameters: &[u8]) -> Result<Curve> {
    Curve::from_params_der(parameters).map_err(from_crypto)
}

/// How many bits a big-endian number has without its leading zeros.
#[must_use]
pub fn significant_bits(number: &[u8]) -> u64 {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros());
    8 * (number.len() - zeros) as u64 - u64::from(first)
}

/// Whether CKA_EC_PARAMS names this curve by its OID or by one of its names (section 6.3.3).
fn names_curve(parameters: &[u8], oid_der: &[u8], names: &[&str]) -> bool {
    parameters == oid_der
        || matches!(parameters, [0x13, length, name @ ..]
            if usize::from(*length) == name.len()
                && names.iter().any(|known| known.as_bytes() == name))
}

/// Demands that CKA_EC_PARAMS names curve 25519 in Edwards's form.
pub(crate) fn edwards(parameters: &[u8]) -> Result<()> {
    if names_curve(parameters, ED25519_OID, &["edwards25519", "Ed25519"]) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::CurveNotSupported, "the curve is not Ed25519"))
}

/// Demands that CKA_EC_PARAMS names curve 25519 in Montgomery's form.
pub(crate) fn montgomery(parameters: &[u8]) -> Result<()> {
    if names_curve(parameters, X25519_OID, &["curve25519", "X25519"]) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::CurveNotSupported, "the curve is not X25519"))
}

/// CKA_PARAMETER_SET of an ML-DSA key.
pub(crate) fn ml_dsa_set(attributes: &Attributes) -> Result<MlDsa> {
    match parameter_set(attributes)? {
        CKP_ML_DSA_44 => Ok(MlDsa::MlDsa44),
        CKP_ML_DSA_65 => Ok(MlDsa::MlDsa65),
        CKP_ML_DSA_87 => Ok(MlDsa::MlDsa87),
        _ => Err(value_invalid(CKA_PARAMETER_SET)),
    }
}

fn ml_dsa_number(set: MlDsa) -> u64 {
    match set {
        MlDsa::MlDsa44 => CKP_ML_DSA_44,
        MlDsa::MlDsa65 => CKP_ML_DSA_65,
        MlDsa::MlDsa87 => CKP_ML_DSA_87,
    }
}

/// CKA_PARAMETER_SET of an ML-KEM key.
pub(crate) fn ml_kem_set(attributes: &Attributes) -> Result<MlKem> {
    match parameter_set(attributes)? {
        CKP_ML_KEM_512 => Ok(MlKem::MlKem512),
        CKP_ML_KEM_768 => Ok(MlKem::MlKem768),
        CKP_ML_KEM_1024 => Ok(MlKem::MlKem1024),
        _ => Err(value_invalid(CKA_PARAMETER_SET)),
    }
}

fn ml_kem_number(set: MlKem) -> u64 {
    match set {
        MlKem::MlKem512 => CKP_ML_KEM_512,
        MlKem::MlKem768 => CKP_ML_KEM_768,
        MlKem::MlKem1024 => CKP_ML_KEM_1024,
    }
}

fn parameter_set(attributes: &Attributes) -> Result<u64> {
    attributes
        .number(CKA_PARAMETER_SET)
        .ok_or_else(|| Error::new(ErrorCode::TemplateIncomplete, "CKA_PARAMETER_SET is missing"))
}

/// Bytes.
const ED25519_SIGNATURE: usize = 64;

/// 1.3.101.112 and 1.3.101.110 (RFC 8410 section 3).
const ED25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519_OID: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

fn required(attributes: &Attributes, attribute: u64) -> Result<&[u8]> {
    attributes.bytes(attribute).filter(|value| !value.is_empty()).ok_or_else(|| {
        Error::new(
            ErrorCode::TemplateIncomplete,
            format!("{} is missing", attribute::name(attribute)),
        )
    })
}

/// The point inside CKA_EC_POINT. The standard wants a DER OCTET STRING for the
/// curves of Weierstrass's form and the bare bytes for the others (section
/// 6.3); callers give either for both. What is shown is the OCTET STRING: OpenSC
/// and GnuTLS read nothing else, SoftHSM shows it, and newer readers take both.
fn raw_point(value: &[u8]) -> &[u8] {
    match value {
        [0x04, 0x81, length, point @ ..] if usize::from(*length) == point.len() => point,
        [0x04, length, point @ ..] if *length < 0x80 && usize::from(*length) == point.len() => {
            point
        }
        bare => bare,
    }
}

/// The same of curve 25519, whose 32 bytes may themselves begin as an OCTET STRING does.
fn raw_25519(value: &[u8]) -> &[u8] {
    if value.len() == 32 { value } else { raw_point(value) }
}

/// A DER OCTET STRING around a point, which is shorter than 256 bytes.
fn octet_string(point: &[u8]) -> Vec<u8> {
    let length = u8::try_from(point.len()).unwrap_or(u8::MAX);
    let mut der = vec![0x04];
    if length >= 0x80 {
        der.push(0x81);
    }
    der.push(length);
    der.extend_from_slice(point);
    der
}

fn type_inconsistent(wanted: &str) -> Error {
    Error::new(ErrorCode::KeyTypeInconsistent, format!("the key is not {wanted}"))
}

/// What the crypto library said, as an error that can travel.
#[must_use]
pub fn from_crypto(error: CryptoError) -> Error {
    let code = match error {
        CryptoError::InvalidKey(_) => ErrorCode::AttributeValueInvalid,
        CryptoError::UnsupportedCurve => ErrorCode::CurveNotSupported,
        CryptoError::UnsupportedKeySize => ErrorCode::KeySizeRange,
        CryptoError::DataInvalid => ErrorCode::DataInvalid,
        CryptoError::DataLength => ErrorCode::DataLenRange,
        CryptoError::EncryptedDataInvalid | CryptoError::Unauthentic => {
            ErrorCode::EncryptedDataInvalid
        }
        CryptoError::SignatureInvalid => ErrorCode::SignatureInvalid,
        CryptoError::SignatureLength => ErrorCode::SignatureLenRange,
        CryptoError::ParameterInvalid(_) => ErrorCode::MechanismParamInvalid,
        CryptoError::Stopped => ErrorCode::Unavailable,
        CryptoError::Internal(_) => ErrorCode::Internal,
    };
    Error::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_with_and_without_its_octet_string() {
        for length in [65, 97, 133] {
            let mut point = vec![7; length];
            point[0] = 0x04;
            let wrapped = octet_string(&point);
            assert_eq!(raw_point(&wrapped), point);
            assert_eq!(raw_point(&point), point);
        }
        let mut point = vec![7; 32];
        (point[0], point[1]) = (4, 30);
        assert_eq!(raw_25519(&point), point);
        assert_eq!(raw_25519(&octet_string(&point)), point);
    }
}
