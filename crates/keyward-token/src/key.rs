//! What a key does: from an object's attributes to AWS-LC and back.

use cryptoki_sys::*;
use keyward_crypto::Error as CryptoError;
use keyward_crypto::ec::{Curve, EcPrivateKey, EcPublicKey};
use keyward_crypto::rsa::{RsaPrimes, RsaPrivateComponents, RsaPrivateKey, RsaPublicKey};
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use crate::attribute::{self, Attributes};
use crate::mechanism::{EncryptionScheme, SignatureScheme};
use crate::object::Object;

/// A private key, ready for use. It may be used from many threads at once.
#[derive(Debug)]
pub enum PrivateKey {
    /// CKK_RSA.
    Rsa(RsaPrivateKey),
    /// CKK_EC.
    Ec(EcPrivateKey),
}

/// A public key, ready for use.
#[derive(Debug)]
pub enum PublicKey {
    /// CKK_RSA.
    Rsa(RsaPublicKey),
    /// CKK_EC.
    Ec(EcPublicKey),
}

impl PrivateKey {
    /// The key of a private-key object whose secret parts are at hand.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the object is no RSA or EC private key,
    /// CKR_ATTRIBUTE_VALUE_INVALID if its parts are not a key,
    /// CKR_TEMPLATE_INCOMPLETE if one is missing.
    pub fn of(attributes: &Attributes) -> Result<Self> {
        let part = |attribute| required(attributes, attribute);
        match attributes.number(CKA_KEY_TYPE) {
            Some(CKK_RSA) => {
                let primes = RsaPrimes {
                    prime_1: part(CKA_PRIME_1)?,
                    prime_2: part(CKA_PRIME_2)?,
                    exponent_1: part(CKA_EXPONENT_1)?,
                    exponent_2: part(CKA_EXPONENT_2)?,
                    coefficient: part(CKA_COEFFICIENT)?,
                };
                Ok(Self::Rsa(
                    RsaPrivateKey::from_components(
                        part(CKA_MODULUS)?,
                        part(CKA_PUBLIC_EXPONENT)?,
                        part(CKA_PRIVATE_EXPONENT)?,
                        Some(primes),
                    )
                    .map_err(from_crypto)?,
                ))
            }
            Some(CKK_EC) => {
                let curve = curve(part(CKA_EC_PARAMS)?)?;
                Ok(Self::Ec(
                    EcPrivateKey::from_scalar(curve, part(CKA_VALUE)?).map_err(from_crypto)?,
                ))
            }
            _ => Err(type_inconsistent("an RSA or EC private key")),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Rsa(key) => PublicKey::Rsa(key.public()),
            Self::Ec(key) => PublicKey::Ec(key.public()),
        }
    }

    /// Writes the key's parts, secret ones too, as attributes.
    pub(crate) fn describe(&self, attributes: &mut Attributes) -> Result<()> {
        match self {
            Self::Rsa(key) => {
                let RsaPrivateComponents {
                    modulus,
                    public_exponent,
                    private_exponent,
                    prime_1,
                    prime_2,
                    exponent_1,
                    exponent_2,
                    coefficient,
                } = key.components().map_err(from_crypto)?;
                attributes.set(CKA_MODULUS, modulus);
                attributes.set(CKA_PUBLIC_EXPONENT, public_exponent);
                attributes.set(CKA_PRIVATE_EXPONENT, private_exponent.to_vec());
                attributes.set(CKA_PRIME_1, prime_1.to_vec());
                attributes.set(CKA_PRIME_2, prime_2.to_vec());
                attributes.set(CKA_EXPONENT_1, exponent_1.to_vec());
                attributes.set(CKA_EXPONENT_2, exponent_2.to_vec());
                attributes.set(CKA_COEFFICIENT, coefficient.to_vec());
            }
            Self::Ec(key) => {
                attributes.set(CKA_EC_PARAMS, key.curve().oid_der());
                attributes.set(CKA_VALUE, key.scalar().to_vec());
            }
        }
        attributes.set(CKA_PUBLIC_KEY_INFO, self.public().info());
        Ok(())
    }

    /// Signs `input` (see [`SignatureScheme`] for what it has to be).
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT, CKR_DATA_LEN_RANGE, or what the library says.
    pub fn sign(&self, scheme: SignatureScheme, input: &[u8]) -> Result<Vec<u8>> {
        match (self, scheme) {
            (Self::Rsa(key), SignatureScheme::RsaPkcs) => key.sign_pkcs1_raw(input),
            (Self::Rsa(key), SignatureScheme::RsaX509) => key.raw(input).map(|v| v.to_vec()),
            (Self::Rsa(key), SignatureScheme::RsaPss { hash, mgf1_hash, salt_length }) => {
                key.sign_pss(hash, mgf1_hash, salt_length as usize, input)
            }
            (Self::Ec(key), SignatureScheme::Ecdsa) => key.sign(input),
            _ => return Err(type_inconsistent("of the mechanism's type")),
        }
        .map_err(from_crypto)
    }

    /// Decrypts `input`.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT, CKR_ENCRYPTED_DATA_INVALID,
    /// CKR_ENCRYPTED_DATA_LEN_RANGE, or what the library says.
    pub fn decrypt(&self, scheme: &EncryptionScheme, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let Self::Rsa(key) = self else {
            return Err(type_inconsistent("an RSA key"));
        };
        if input.len() != key.modulus_length() {
            return Err(Error::new(
                ErrorCode::EncryptedDataLenRange,
                "the encrypted data is not as long as the modulus",
            ));
        }
        match scheme {
            EncryptionScheme::RsaPkcs => key.decrypt_pkcs1(input),
            EncryptionScheme::RsaX509 => key.raw(input),
            EncryptionScheme::RsaOaep { hash, mgf1_hash, label } => {
                key.decrypt_oaep(*hash, *mgf1_hash, label, input)
            }
        }
        .map_err(from_crypto)
    }
}

impl PublicKey {
    /// The public key of a public-key object, or of a private-key object that
    /// carries its public half (CKA_PUBLIC_KEY_INFO).
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the object is no RSA or EC key,
    /// CKR_ATTRIBUTE_VALUE_INVALID if its parts are not a key,
    /// CKR_TEMPLATE_INCOMPLETE if one is missing.
    pub fn of(attributes: &Attributes) -> Result<Self> {
        let part = |attribute| required(attributes, attribute);
        let public = attributes.number(CKA_CLASS) == Some(CKO_PUBLIC_KEY);
        match attributes.number(CKA_KEY_TYPE) {
            Some(CKK_RSA) => Ok(Self::Rsa(
                RsaPublicKey::new(part(CKA_MODULUS)?, part(CKA_PUBLIC_EXPONENT)?)
                    .map_err(from_crypto)?,
            )),
            Some(CKK_EC) if public => {
                let curve = curve(part(CKA_EC_PARAMS)?)?;
                let point = raw_point(part(CKA_EC_POINT)?);
                Ok(Self::Ec(EcPublicKey::from_point(curve, point).map_err(from_crypto)?))
            }
            Some(CKK_EC) => Ok(Self::Ec(
                EcPublicKey::from_spki_der(part(CKA_PUBLIC_KEY_INFO)?).map_err(from_crypto)?,
            )),
            _ => Err(type_inconsistent("an RSA or EC key")),
        }
    }

    /// CKA_PUBLIC_KEY_INFO: a DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn info(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.spki_der(),
            Self::Ec(key) => key.spki_der(),
        }
    }

    /// Writes the key's parts as attributes.
    pub(crate) fn describe(&self, attributes: &mut Attributes) {
        match self {
            Self::Rsa(key) => {
                attributes.set(CKA_MODULUS, key.modulus());
                attributes.set(CKA_MODULUS_BITS, u64::from(key.bits()));
                attributes.set(CKA_PUBLIC_EXPONENT, key.public_exponent());
            }
            Self::Ec(key) => {
                attributes.set(CKA_EC_PARAMS, key.curve().oid_der());
                attributes.set(CKA_EC_POINT, octet_string(&key.point()));
            }
        }
        attributes.set(CKA_PUBLIC_KEY_INFO, self.info());
    }

    /// How long a signature by this key is, and what RSA encrypts to, in bytes.
    #[must_use]
    pub fn signature_length(&self) -> usize {
        match self {
            Self::Rsa(key) => key.modulus_length(),
            Self::Ec(key) => 2 * key.curve().field_length(),
        }
    }

    /// Checks a signature over `input`.
    ///
    /// # Errors
    /// CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE,
    /// CKR_KEY_TYPE_INCONSISTENT.
    pub fn verify(&self, scheme: SignatureScheme, input: &[u8], signature: &[u8]) -> Result<()> {
        if signature.len() != self.signature_length() {
            return Err(Error::new(
                ErrorCode::SignatureLenRange,
                format!("a signature by this key is {} bytes long", self.signature_length()),
            ));
        }
        match (self, scheme) {
            (Self::Rsa(key), SignatureScheme::RsaPkcs) => key.verify_pkcs1_raw(input, signature),
            (Self::Rsa(key), SignatureScheme::RsaX509) => {
                let padding = key.modulus_length().saturating_sub(input.len());
                let mut padded = vec![0; padding];
                padded.extend_from_slice(input);
                key.raw(signature).and_then(|recovered| {
                    if recovered == padded { Ok(()) } else { Err(CryptoError::SignatureInvalid) }
                })
            }
            (Self::Rsa(key), SignatureScheme::RsaPss { hash, mgf1_hash, salt_length }) => {
                key.verify_pss(hash, mgf1_hash, salt_length as usize, input, signature)
            }
            (Self::Ec(key), SignatureScheme::Ecdsa) => key.verify(input, signature),
            _ => return Err(type_inconsistent("of the mechanism's type")),
        }
        .map_err(from_crypto)
    }

    /// Encrypts `input`.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE if it is too long for the key,
    /// CKR_KEY_TYPE_INCONSISTENT if the key is no RSA key.
    pub fn encrypt(&self, scheme: &EncryptionScheme, input: &[u8]) -> Result<Vec<u8>> {
        let Self::Rsa(key) = self else {
            return Err(type_inconsistent("an RSA key"));
        };
        match scheme {
            EncryptionScheme::RsaPkcs => key.encrypt_pkcs1(input),
            EncryptionScheme::RsaX509 => key.raw(input),
            EncryptionScheme::RsaOaep { hash, mgf1_hash, label } => {
                key.encrypt_oaep(*hash, *mgf1_hash, label, input)
            }
        }
        .map_err(from_crypto)
    }
}

impl Object {
    /// How long a signature by this key is, in bytes; from its public half.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the object is no RSA or EC key.
    pub fn signature_length(&self) -> Result<usize> {
        let attributes = self.attributes();
        match self.key_type() {
            Some(CKK_RSA) => {
                Ok(required(attributes, CKA_MODULUS)?.iter().skip_while(|byte| **byte == 0).count())
            }
            Some(CKK_EC) => Ok(2 * curve(required(attributes, CKA_EC_PARAMS)?)?.field_length()),
            _ => Err(type_inconsistent("an RSA or EC key")),
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

fn required(attributes: &Attributes, attribute: u64) -> Result<&[u8]> {
    attributes.bytes(attribute).filter(|value| !value.is_empty()).ok_or_else(|| {
        Error::new(
            ErrorCode::TemplateIncomplete,
            format!("{} is missing", attribute::name(attribute)),
        )
    })
}

/// The point inside CKA_EC_POINT. The standard wants a DER OCTET STRING; some
/// callers give the bare point.
fn raw_point(value: &[u8]) -> &[u8] {
    match value {
        [0x04, 0x81, length, point @ ..] if usize::from(*length) == point.len() => point,
        [0x04, length, point @ ..] if *length < 0x80 && usize::from(*length) == point.len() => {
            point
        }
        bare => bare,
    }
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
    }
}
