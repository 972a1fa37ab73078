//! Private keys.

use cryptoki_sys::*;
use keyward_crypto::dh::{DhGroup, DhPrivateKey};
use keyward_crypto::dsa::{DsaParameters, DsaPrivateKey};
use keyward_crypto::ec::{EcPrivateKey, EcPublicKey};
use keyward_crypto::ed25519::{Ed25519PrivateKey, Variant};
use keyward_crypto::ml_dsa::MlDsaPrivateKey;
use keyward_crypto::ml_kem::MlKemPrivateKey;
use keyward_crypto::rsa::{RsaPrimes, RsaPrivateComponents, RsaPrivateKey};
use keyward_crypto::x25519::{X25519PrivateKey, X25519PublicKey};
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::{
    ED25519_OID, PublicKey, X25519_OID, curve, edwards, from_crypto, ml_dsa_number, ml_dsa_set,
    ml_kem_number, ml_kem_set, montgomery, raw_25519, raw_point, required, significant_bits,
    type_inconsistent,
};
use crate::attribute::{Attributes, value_invalid};
use crate::mechanism::{EncryptionScheme, SignatureScheme};

/// A private key, ready for use. It may be used from many threads at once.
#[derive(Debug)]
pub enum PrivateKey {
    /// CKK_RSA.
    Rsa(RsaPrivateKey),
    /// CKK_EC.
    Ec(EcPrivateKey),
    /// CKK_EC_EDWARDS.
    Ed25519(Ed25519PrivateKey),
    /// CKK_EC_MONTGOMERY.
    X25519(X25519PrivateKey),
    /// CKK_ML_DSA.
    MlDsa(MlDsaPrivateKey),
    /// CKK_ML_KEM.
    MlKem(MlKemPrivateKey),
    /// CKK_DSA.
    Dsa(DsaPrivateKey),
    /// CKK_DH.
    Dh(DhPrivateKey),
}

impl PrivateKey {
    /// The key of a private-key object whose secret parts are at hand.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the object is no private key of a type that is known,
    /// CKR_ATTRIBUTE_VALUE_INVALID if its parts are not a key,
    /// CKR_TEMPLATE_INCOMPLETE if one is missing.
    pub fn of(attributes: &Attributes) -> Result<Self> {
        let part = |attribute| required(attributes, attribute);
        match attributes.number(CKA_KEY_TYPE) {
            Some(CKK_RSA) => rsa(attributes).map(Self::Rsa),
            Some(CKK_EC) => {
                let curve = curve(part(CKA_EC_PARAMS)?)?;
                EcPrivateKey::from_scalar(curve, part(CKA_VALUE)?)
                    .map(Self::Ec)
                    .map_err(from_crypto)
            }
            Some(CKK_EC_EDWARDS) => {
                edwards(part(CKA_EC_PARAMS)?)?;
                Ed25519PrivateKey::from_seed(part(CKA_VALUE)?)
                    .map(Self::Ed25519)
                    .map_err(from_crypto)
            }
            Some(CKK_EC_MONTGOMERY) => {
                montgomery(part(CKA_EC_PARAMS)?)?;
                X25519PrivateKey::from_bytes(part(CKA_VALUE)?)
                    .map(Self::X25519)
                    .map_err(from_crypto)
            }
            Some(CKK_ML_DSA) => {
                let set = ml_dsa_set(attributes)?;
                seeded(
                    attributes,
                    |seed| MlDsaPrivateKey::from_seed(set, seed),
                    |value| MlDsaPrivateKey::from_expanded(set, value),
                    MlDsaPrivateKey::expanded,
                )
                .map(Self::MlDsa)
            }
            Some(CKK_ML_KEM) => {
                let set = ml_kem_set(attributes)?;
                seeded(
                    attributes,
                    |seed| MlKemPrivateKey::from_seed(set, seed),
                    |value| MlKemPrivateKey::from_expanded(set, value),
                    MlKemPrivateKey::expanded,
                )
                .map(Self::MlKem)
            }
            Some(CKK_DSA) => {
                let parameters = dsa_parameters(attributes)?;
                DsaPrivateKey::from_value(&parameters, part(CKA_VALUE)?)
                    .map(Self::Dsa)
                    .map_err(from_crypto)
            }
            Some(CKK_DH) => DhPrivateKey::from_value(&dh_group(attributes)?, part(CKA_VALUE)?)
                .map(Self::Dh)
                .map_err(from_crypto),
            _ => Err(type_inconsistent("a private key of a type that is offered")),
        }
    }

    /// The key in a DER PrivateKeyInfo (PKCS#8), as a wrapped key holds it.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if it is no key of that type, CKR_ATTRIBUTE_VALUE_INVALID if it
    /// does not parse or is not valid.
    pub fn from_pkcs8_der(key_type: u64, der: &[u8]) -> Result<Self> {
        match key_type {
            CKK_RSA => RsaPrivateKey::from_pkcs8_der(der).map(Self::Rsa),
            CKK_EC => EcPrivateKey::from_pkcs8_der(der).map(Self::Ec),
            CKK_EC_EDWARDS => Ed25519PrivateKey::from_pkcs8_der(der).map(Self::Ed25519),
            CKK_EC_MONTGOMERY => X25519PrivateKey::from_pkcs8_der(der).map(Self::X25519),
            CKK_ML_DSA => MlDsaPrivateKey::from_pkcs8_der(der).map(Self::MlDsa),
            CKK_ML_KEM => MlKemPrivateKey::from_pkcs8_der(der).map(Self::MlKem),
            _ => return Err(type_inconsistent("of a type that is wrapped")),
        }
        .map_err(from_crypto)
    }

    /// The key in a DER PrivateKeyInfo (PKCS#8).
    ///
    /// # Errors
    /// CKR_KEY_NOT_WRAPPABLE for DSA and Diffie-Hellman, and for an RSA key without primes.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(match self {
            Self::Rsa(key) => key
                .to_pkcs8_der()
                .map_err(|error| Error::new(ErrorCode::KeyNotWrappable, error.to_string()))?,
            Self::Ec(key) => key.to_pkcs8_der(),
            Self::Ed25519(key) => key.to_pkcs8_der(),
            Self::X25519(key) => key.to_pkcs8_der(),
            Self::MlDsa(key) => key.to_pkcs8_der(),
            Self::MlKem(key) => key.to_pkcs8_der(),
            Self::Dsa(_) | Self::Dh(_) => {
                return Err(Error::new(
                    ErrorCode::KeyNotWrappable,
                    "private keys of that type are not wrapped",
                ));
            }
        })
    }

    /// The public half.
    ///
    /// # Errors
    /// Only if the crypto library runs out of memory.
    pub fn public(&self) -> Result<PublicKey> {
        Ok(match self {
            Self::Rsa(key) => PublicKey::Rsa(key.public()),
            Self::Ec(key) => PublicKey::Ec(key.public()),
            Self::Ed25519(key) => PublicKey::Ed25519(key.public()),
            Self::X25519(key) => PublicKey::X25519(key.public()),
            Self::MlDsa(key) => PublicKey::MlDsa(key.public()),
            Self::MlKem(key) => PublicKey::MlKem(key.public()),
            Self::Dsa(key) => PublicKey::Dsa(key.public().map_err(from_crypto)?),
            Self::Dh(key) => {
                PublicKey::Dh { group: key.group().clone(), value: key.public_value() }
            }
        })
    }

    /// Writes the key's parts, secret ones too, as attributes.
    pub(crate) fn describe(&self, attributes: &mut Attributes) -> Result<()> {
        match self {
            Self::Rsa(key) => {
                let RsaPrivateComponents { modulus, public_exponent, private_exponent, primes } =
                    key.components().map_err(from_crypto)?;
                attributes.set(CKA_MODULUS, modulus);
                attributes.set(CKA_PUBLIC_EXPONENT, public_exponent);
                attributes.set(CKA_PRIVATE_EXPONENT, private_exponent.to_vec());
                if let Some(primes) = primes {
                    attributes.set(CKA_PRIME_1, primes.prime_1.to_vec());
                    attributes.set(CKA_PRIME_2, primes.prime_2.to_vec());
                    attributes.set(CKA_EXPONENT_1, primes.exponent_1.to_vec());
                    attributes.set(CKA_EXPONENT_2, primes.exponent_2.to_vec());
                    attributes.set(CKA_COEFFICIENT, primes.coefficient.to_vec());
                }
            }
            Self::Ec(key) => {
                attributes.set(CKA_EC_PARAMS, key.curve().oid_der());
                attributes.set(CKA_VALUE, key.scalar().to_vec());
            }
            Self::Ed25519(key) => {
                attributes.set(CKA_EC_PARAMS, ED25519_OID);
                attributes.set(CKA_VALUE, key.seed());
            }
            Self::X25519(key) => {
                attributes.set(CKA_EC_PARAMS, X25519_OID);
                attributes.set(CKA_VALUE, key.as_bytes());
            }
            Self::MlDsa(key) => {
                attributes.set(CKA_PARAMETER_SET, ml_dsa_number(key.set()));
                attributes.set(CKA_VALUE, key.expanded().to_vec());
                if let Some(seed) = key.seed() {
                    attributes.set(CKA_SEED, seed.to_vec());
                }
            }
            Self::MlKem(key) => {
                attributes.set(CKA_PARAMETER_SET, ml_kem_number(key.set()));
                attributes.set(CKA_VALUE, key.expanded().to_vec());
                if let Some(seed) = key.seed() {
                    attributes.set(CKA_SEED, seed.to_vec());
                }
            }
            Self::Dsa(key) => {
                let parameters = key.parameters();
                attributes.set(CKA_PRIME, parameters.prime());
                attributes.set(CKA_SUBPRIME, parameters.subprime());
                attributes.set(CKA_BASE, parameters.base());
                attributes.set(CKA_VALUE, key.value());
            }
            Self::Dh(key) => {
                attributes.set(CKA_PRIME, key.group().prime());
                attributes.set(CKA_BASE, key.group().base());
                let value = key.value();
                attributes.set(CKA_VALUE_BITS, significant_bits(&value));
                attributes.set(CKA_VALUE, value.to_vec());
            }
        }
        attributes.set(CKA_PUBLIC_KEY_INFO, self.public()?.info());
        Ok(())
    }

    /// Signs `input` (see [`SignatureScheme`] for what it has to be).
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT, CKR_DATA_LEN_RANGE, or what the library says.
    pub fn sign(&self, scheme: &SignatureScheme, input: &[u8]) -> Result<Vec<u8>> {
        match (self, scheme) {
            (Self::Rsa(key), SignatureScheme::RsaPkcs) => key.sign_pkcs1_raw(input),
            (Self::Rsa(key), SignatureScheme::RsaX509) => key.raw(input).map(|v| v.to_vec()),
            (Self::Rsa(key), SignatureScheme::RsaPss { hash, mgf1_hash, salt_length }) => {
                key.sign_pss(*hash, *mgf1_hash, *salt_length as usize, input)
            }
            (Self::Ec(key), SignatureScheme::Ecdsa) => key.sign(input),
            (Self::Ed25519(key), SignatureScheme::Ed25519) => key.sign(Variant::Pure, input),
            (Self::Ed25519(key), SignatureScheme::Ed25519Context(context)) => {
                key.sign(Variant::Context(context), input)
            }
            (Self::Ed25519(key), SignatureScheme::Ed25519Prehashed(context)) => {
                key.sign(Variant::Prehashed(context), input)
            }
            (Self::MlDsa(key), SignatureScheme::MlDsa) => key.sign(input),
            (Self::Dsa(key), SignatureScheme::Dsa) => key.sign(input),
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
            EncryptionScheme::Block { .. } => return Err(type_inconsistent("a secret key")),
        }
        .map_err(from_crypto)
    }

    /// What this key and the other side's public one, in the form of the parameter of the
    /// mechanism (a point, a public value), give both sides.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if keys of the type agree on nothing, CKR_PUBLIC_KEY_INVALID if
    /// the other side's is not one for this key.
    pub fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Ec(key) => EcPublicKey::from_point(key.curve(), raw_point(peer))
                .and_then(|peer| key.ecdh(&peer)),
            Self::X25519(key) => {
                X25519PublicKey::from_bytes(raw_25519(peer)).and_then(|peer| key.agree(&peer))
            }
            Self::Dh(key) => key.agree(peer),
            _ => return Err(type_inconsistent("one that agrees on a secret")),
        }
        .map_err(|error| Error::new(ErrorCode::PublicKeyInvalid, error.to_string()))
    }

    /// The secret inside an ML-KEM ciphertext.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT, CKR_ENCRYPTED_DATA_LEN_RANGE.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let Self::MlKem(key) = self else {
            return Err(type_inconsistent("an ML-KEM key"));
        };
        key.decapsulate(ciphertext)
            .map_err(|error| Error::new(ErrorCode::EncryptedDataLenRange, error.to_string()))
    }
}

const PRIMES: [u64; 5] =
    [CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT];

fn rsa(attributes: &Attributes) -> Result<RsaPrivateKey> {
    let part = |attribute| required(attributes, attribute);
    // All five or none: one that is missing among others is a mistake.
    let primes = if PRIMES.iter().any(|part| attributes.bytes(*part).is_some()) {
        Some(RsaPrimes {
            prime_1: part(CKA_PRIME_1)?,
            prime_2: part(CKA_PRIME_2)?,
            exponent_1: part(CKA_EXPONENT_1)?,
            exponent_2: part(CKA_EXPONENT_2)?,
            coefficient: part(CKA_COEFFICIENT)?,
        })
    } else {
        None
    };
    RsaPrivateKey::from_components(
        part(CKA_MODULUS)?,
        part(CKA_PUBLIC_EXPONENT)?,
        part(CKA_PRIVATE_EXPONENT)?,
        primes,
    )
    .map_err(from_crypto)
}

/// A key out of CKA_SEED or CKA_VALUE; if both are there they have to be the same key's.
fn seeded<K>(
    attributes: &Attributes,
    from_seed: impl FnOnce(&[u8]) -> keyward_crypto::Result<K>,
    from_value: impl FnOnce(&[u8]) -> keyward_crypto::Result<K>,
    value_of: impl FnOnce(&K) -> Zeroizing<Vec<u8>>,
) -> Result<K> {
    let Some(seed) = attributes.bytes(CKA_SEED).filter(|seed| !seed.is_empty()) else {
        return from_value(required(attributes, CKA_VALUE)?).map_err(from_crypto);
    };
    let key = from_seed(seed).map_err(from_crypto)?;
    match attributes.bytes(CKA_VALUE) {
        Some(value) if !value.is_empty() && *value_of(&key) != value => {
            Err(value_invalid(CKA_VALUE))
        }
        _ => Ok(key),
    }
}

pub(super) fn dsa_parameters(attributes: &Attributes) -> Result<DsaParameters> {
    let part = |attribute| required(attributes, attribute);
    DsaParameters::new(part(CKA_PRIME)?, part(CKA_SUBPRIME)?, part(CKA_BASE)?).map_err(from_crypto)
}

pub(super) fn dh_group(attributes: &Attributes) -> Result<DhGroup> {
    let part = |attribute| required(attributes, attribute);
    DhGroup::new(part(CKA_PRIME)?, part(CKA_BASE)?).map_err(from_crypto)
}
