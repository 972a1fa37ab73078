//! Public keys.

use cryptoki_sys::*;
use keyward_crypto::Error as CryptoError;
use keyward_crypto::dh::DhGroup;
use keyward_crypto::dsa::DsaPublicKey;
use keyward_crypto::ec::EcPublicKey;
use keyward_crypto::ed25519::{Ed25519PublicKey, Variant};
use keyward_crypto::ml_dsa::MlDsaPublicKey;
use keyward_crypto::ml_kem::MlKemPublicKey;
use keyward_crypto::rsa::RsaPublicKey;
use keyward_crypto::x25519::X25519PublicKey;
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::private::{dh_group, dsa_parameters};
use super::{
    ED25519_OID, ED25519_SIGNATURE, X25519_OID, curve, edwards, from_crypto, ml_dsa_number,
    ml_dsa_set, ml_kem_number, ml_kem_set, montgomery, octet_string, raw_25519, raw_point,
    required, type_inconsistent,
};
use crate::attribute::Attributes;
use crate::mechanism::{EncryptionScheme, SignatureScheme};

/// A public key, ready for use.
#[derive(Debug)]
pub enum PublicKey {
    /// CKK_RSA.
    Rsa(RsaPublicKey),
    /// CKK_EC.
    Ec(EcPublicKey),
    /// CKK_EC_EDWARDS.
    Ed25519(Ed25519PublicKey),
    /// CKK_EC_MONTGOMERY.
    X25519(X25519PublicKey),
    /// CKK_ML_DSA.
    MlDsa(MlDsaPublicKey),
    /// CKK_ML_KEM.
    MlKem(MlKemPublicKey),
    /// CKK_DSA.
    Dsa(DsaPublicKey),
    /// CKK_DH.
    Dh {
        /// Prime and base.
        group: DhGroup,
        /// The public value.
        value: Vec<u8>,
    },
}

impl PublicKey {
    /// The public key of a public-key object, or of a private-key object that
    /// carries its public half (CKA_PUBLIC_KEY_INFO).
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the object is no key of a type that is known,
    /// CKR_ATTRIBUTE_VALUE_INVALID if its parts are not a key,
    /// CKR_TEMPLATE_INCOMPLETE if one is missing.
    pub fn of(attributes: &Attributes) -> Result<Self> {
        let part = |attribute| required(attributes, attribute);
        let key_type = attributes.number(CKA_KEY_TYPE);
        let shows_parts = key_type == Some(CKK_RSA) && attributes.contains(CKA_MODULUS);
        if attributes.number(CKA_CLASS) != Some(CKO_PUBLIC_KEY) && !shows_parts {
            return Self::of_info(key_type, part(CKA_PUBLIC_KEY_INFO)?);
        }
        match key_type {
            Some(CKK_RSA) => {
                RsaPublicKey::new(part(CKA_MODULUS)?, part(CKA_PUBLIC_EXPONENT)?).map(Self::Rsa)
            }
            Some(CKK_EC) => {
                let curve = curve(part(CKA_EC_PARAMS)?)?;
                EcPublicKey::from_point(curve, raw_point(part(CKA_EC_POINT)?)).map(Self::Ec)
            }
            Some(CKK_EC_EDWARDS) => {
                edwards(part(CKA_EC_PARAMS)?)?;
                Ed25519PublicKey::from_bytes(raw_25519(part(CKA_EC_POINT)?)).map(Self::Ed25519)
            }
            Some(CKK_EC_MONTGOMERY) => {
                montgomery(part(CKA_EC_PARAMS)?)?;
                X25519PublicKey::from_bytes(raw_25519(part(CKA_EC_POINT)?)).map(Self::X25519)
            }
            Some(CKK_ML_DSA) => {
                MlDsaPublicKey::from_bytes(ml_dsa_set(attributes)?, part(CKA_VALUE)?)
                    .map(Self::MlDsa)
            }
            Some(CKK_ML_KEM) => {
                MlKemPublicKey::from_bytes(ml_kem_set(attributes)?, part(CKA_VALUE)?)
                    .map(Self::MlKem)
            }
            Some(CKK_DSA) => {
                DsaPublicKey::new(&dsa_parameters(attributes)?, part(CKA_VALUE)?).map(Self::Dsa)
            }
            Some(CKK_DH) => {
                let value = part(CKA_VALUE)?.to_vec();
                Ok(Self::Dh { group: dh_group(attributes)?, value })
            }
            _ => return Err(type_inconsistent("of a type that is offered")),
        }
        .map_err(from_crypto)
    }

    /// The key in a DER SubjectPublicKeyInfo, as CKA_PUBLIC_KEY_INFO has it.
    fn of_info(key_type: Option<u64>, info: &[u8]) -> Result<Self> {
        match key_type {
            Some(CKK_RSA) => RsaPublicKey::from_spki_der(info).map(Self::Rsa),
            Some(CKK_EC) => EcPublicKey::from_spki_der(info).map(Self::Ec),
            Some(CKK_EC_EDWARDS) => Ed25519PublicKey::from_spki_der(info).map(Self::Ed25519),
            Some(CKK_EC_MONTGOMERY) => X25519PublicKey::from_spki_der(info).map(Self::X25519),
            Some(CKK_ML_DSA) => MlDsaPublicKey::from_spki_der(info).map(Self::MlDsa),
            Some(CKK_ML_KEM) => MlKemPublicKey::from_spki_der(info).map(Self::MlKem),
            _ => return Err(type_inconsistent("of a type that is offered")),
        }
        .map_err(from_crypto)
    }

    /// Whether two DER SubjectPublicKeyInfo are of one key, however each is
    /// written: a certificate may say RSASSA-PSS, or compress a point.
    #[must_use]
    pub fn is_same(one: &[u8], other: &[u8]) -> bool {
        let rsa = |info| RsaPublicKey::from_spki_der(info).ok();
        let ec = |info| EcPublicKey::from_spki_der(info).ok();
        one == other
            || match (rsa(one), rsa(other)) {
                (Some(one), Some(other)) => {
                    one.modulus() == other.modulus()
                        && one.public_exponent() == other.public_exponent()
                }
                _ => ec(one).zip(ec(other)).is_some_and(|(one, other)| {
                    one.curve() == other.curve() && one.point() == other.point()
                }),
            }
    }

    /// CKA_PUBLIC_KEY_INFO: a DER SubjectPublicKeyInfo; empty for DSA and Diffie-Hellman.
    #[must_use]
    pub fn info(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.spki_der(),
            Self::Ec(key) => key.spki_der(),
            Self::Ed25519(key) => key.spki_der(),
            Self::X25519(key) => key.spki_der(),
            Self::MlDsa(key) => key.spki_der(),
            Self::MlKem(key) => key.spki_der(),
            Self::Dsa(_) | Self::Dh { .. } => Vec::new(),
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
            Self::Ed25519(key) => {
                attributes.set(CKA_EC_PARAMS, ED25519_OID);
                attributes.set(CKA_EC_POINT, octet_string(key.as_bytes()));
            }
            Self::X25519(key) => {
                attributes.set(CKA_EC_PARAMS, X25519_OID);
                attributes.set(CKA_EC_POINT, octet_string(key.as_bytes()));
            }
            Self::MlDsa(key) => {
                attributes.set(CKA_PARAMETER_SET, ml_dsa_number(key.set()));
                attributes.set(CKA_VALUE, key.to_bytes());
            }
            Self::MlKem(key) => {
                attributes.set(CKA_PARAMETER_SET, ml_kem_number(key.set()));
                attributes.set(CKA_VALUE, key.to_bytes());
            }
            Self::Dsa(key) => {
                let parameters = key.parameters();
                attributes.set(CKA_PRIME, parameters.prime());
                attributes.set(CKA_SUBPRIME, parameters.subprime());
                attributes.set(CKA_BASE, parameters.base());
                attributes.set(CKA_VALUE, key.value());
            }
            Self::Dh { group, value } => {
                attributes.set(CKA_PRIME, group.prime());
                attributes.set(CKA_BASE, group.base());
                attributes.set(CKA_VALUE, &value[..]);
            }
        }
        attributes.set(CKA_PUBLIC_KEY_INFO, self.info());
    }

    /// How long a signature by this key is, and what RSA encrypts to, in bytes; 0 if it does
    /// neither.
    #[must_use]
    pub fn signature_length(&self) -> usize {
        match self {
            Self::Rsa(key) => key.modulus_length(),
            Self::Ec(key) => 2 * key.curve().field_length(),
            Self::Ed25519(_) => ED25519_SIGNATURE,
            Self::MlDsa(key) => key.set().signature_length(),
            Self::Dsa(key) => 2 * key.parameters().subprime().len(),
            Self::X25519(_) | Self::MlKem(_) | Self::Dh { .. } => 0,
        }
    }

    /// Checks a signature over `input`.
    ///
    /// # Errors
    /// CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE,
    /// CKR_KEY_TYPE_INCONSISTENT.
    pub fn verify(&self, scheme: &SignatureScheme, input: &[u8], signature: &[u8]) -> Result<()> {
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
                key.verify_pss(*hash, *mgf1_hash, *salt_length as usize, input, signature)
            }
            (Self::Ec(key), SignatureScheme::Ecdsa) => key.verify(input, signature),
            (Self::Ed25519(key), SignatureScheme::Ed25519) => {
                key.verify(Variant::Pure, input, signature)
            }
            (Self::Ed25519(key), SignatureScheme::Ed25519Context(context)) => {
                key.verify(Variant::Context(context), input, signature)
            }
            (Self::Ed25519(key), SignatureScheme::Ed25519Prehashed(context)) => {
                key.verify(Variant::Prehashed(context), input, signature)
            }
            (Self::MlDsa(key), SignatureScheme::MlDsa) => key.verify(input, signature),
            (Self::Dsa(key), SignatureScheme::Dsa) => key.verify(input, signature),
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
            EncryptionScheme::Block { .. } => return Err(type_inconsistent("a secret key")),
        }
        .map_err(from_crypto)
    }

    /// How long the ciphertext is that carries a secret, in bytes; 0 if the key is no ML-KEM key.
    #[must_use]
    pub fn ciphertext_length(&self) -> usize {
        match self {
            Self::MlKem(key) => key.set().ciphertext_length(),
            _ => 0,
        }
    }

    /// Draws a secret: the ML-KEM ciphertext that carries it, and the secret.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the key is no ML-KEM key.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        let Self::MlKem(key) = self else {
            return Err(type_inconsistent("an ML-KEM key"));
        };
        key.encapsulate().map_err(from_crypto)
    }
}
