//! What comes out of a key when another is derived from it.

use keyward_crypto::kdf::{self, Prf};
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::secret::PREMASTER_SECRET;
use super::{SecretKey, WorkingKey, from_crypto, type_inconsistent};
use crate::mechanism::{DataField, DerivationScheme, HkdfSalt, PrfName};

impl WorkingKey<'_> {
    /// Derives bytes: `length` of them, or as many as the scheme gives by itself if `None`.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT, CKR_PUBLIC_KEY_INVALID for the other side's key,
    /// CKR_TEMPLATE_INCOMPLETE if the scheme gives any length and none is said, CKR_KEY_SIZE_RANGE
    /// if it does not give so much.
    pub fn derive(
        self,
        scheme: &DerivationScheme,
        other: Option<&SecretKey>,
        length: Option<usize>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let secret = || match self {
            Self::Secret(key) => Ok(key),
            Self::Private(_) => Err(type_inconsistent("a secret key")),
        };
        let second = || other.ok_or_else(|| type_inconsistent("there: the second key"));
        let said = || {
            length.ok_or_else(|| {
                Error::new(ErrorCode::TemplateIncomplete, "the template lacks CKA_VALUE_LEN")
            })
        };
        match scheme {
            DerivationScheme::Ecdh { peer, kdf } => {
                let shared = self.agree(peer)?;
                match kdf {
                    None => last(shared, length),
                    Some(kdf) => {
                        kdf::x963(kdf.hash, &shared, &kdf.shared, said()?).map_err(from_crypto)
                    }
                }
            }
            DerivationScheme::Dh { peer } => last(self.agree(peer)?, length),
            DerivationScheme::Hkdf { hash, extract, expand } => {
                let key = secret()?.value();
                let extracted = match extract {
                    None => Zeroizing::new(key.to_vec()),
                    Some(HkdfSalt::Data(salt)) => kdf::hkdf_extract(*hash, salt, key),
                    Some(HkdfSalt::Key) => kdf::hkdf_extract(*hash, second()?.value(), key),
                };
                match expand {
                    None => first(extracted, length),
                    Some(info) => {
                        kdf::hkdf_expand(*hash, &extracted, info, said()?).map_err(too_much)
                    }
                }
            }
            DerivationScheme::CounterMode { prf, fields } => {
                let (prf, length) = (prf_with(*prf, secret()?)?, said()?);
                kdf::counter_mode(&prf, length, most(fields), |counter| {
                    input(fields, &prf, length, counter, &[])
                })
                .map_err(too_much)
            }
            DerivationScheme::FeedbackMode { prf, fields, iv } => {
                let (prf, length) = (prf_with(*prf, secret()?)?, said()?);
                kdf::feedback_mode(&prf, iv, length, most(fields), |counter, before| {
                    input(fields, &prf, length, counter, before)
                })
                .map_err(too_much)
            }
            DerivationScheme::Data { before, after } => {
                first(joined(&[before, secret()?.value(), after]), length)
            }
            DerivationScheme::Key => first(joined(&[secret()?.value(), second()?.value()]), length),
            DerivationScheme::Xor(data) => {
                let key = secret()?.value();
                let both = key.iter().zip(data.iter()).map(|(one, other)| one ^ other);
                first(Zeroizing::new(both.collect()), length)
            }
            DerivationScheme::Extract(bit) => extract(secret()?.value(), *bit, said()?),
            DerivationScheme::Digest(hash) => first(hash.digest(secret()?.value()).into(), length),
            DerivationScheme::Encryption { scheme, data } => {
                let encrypted = secret()?.encrypt(scheme, data)?;
                if length.is_some_and(|length| length > encrypted.len()) {
                    return Err(Error::new(
                        ErrorCode::DataLenRange,
                        "the data are shorter than the key that is to come out of them",
                    ));
                }
                first(encrypted.into(), length)
            }
            DerivationScheme::TlsPrf { hash, label, seed, length: own, .. } => {
                let length = match own {
                    Some(own) if length.is_none_or(|length| length == *own) => *own,
                    Some(_) => return Err(size_range()),
                    None => said()?,
                };
                let key = secret()?.value();
                match hash {
                    Some(hash) => kdf::tls12_prf(*hash, key, label, seed, length),
                    None => kdf::tls10_prf(key, label, seed, length),
                }
                .map_err(from_crypto)
            }
        }
    }

    /// The version that a premaster secret begins with; empty if it is none.
    #[must_use]
    pub fn version(self) -> Vec<u8> {
        match self {
            Self::Secret(key) if key.value().len() == PREMASTER_SECRET => key.value()[..2].to_vec(),
            _ => Vec::new(),
        }
    }

    fn agree(self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Private(key) => key.agree(peer),
            Self::Secret(_) => Err(type_inconsistent("a private key")),
        }
    }
}

/// The first bytes: the others are taken off the end.
fn first(mut bytes: Zeroizing<Vec<u8>>, length: Option<usize>) -> Result<Zeroizing<Vec<u8>>> {
    let length = length.unwrap_or(bytes.len());
    if length > bytes.len() || length == 0 {
        return Err(size_range());
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// The last bytes: the others are taken off the front.
fn last(bytes: Zeroizing<Vec<u8>>, length: Option<usize>) -> Result<Zeroizing<Vec<u8>>> {
    match length {
        None => Ok(bytes),
        Some(length) if length <= bytes.len() && length > 0 => {
            Ok(Zeroizing::new(bytes[bytes.len() - length..].to_vec()))
        }
        Some(_) => Err(size_range()),
    }
}

fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(parts.concat())
}

fn extract(key: &[u8], bit: u64, length: usize) -> Result<Zeroizing<Vec<u8>>> {
    let bits = 8 * key.len();
    let start = usize::try_from(bit).ok().filter(|start| *start < bits).ok_or_else(|| {
        Error::new(ErrorCode::MechanismParamInvalid, "the key has fewer bits than that")
    })?;
    if length > key.len() || length == 0 {
        return Err(size_range());
    }
    let bit_at = |at: usize| key[at % bits / 8] >> (7 - at % 8) & 1;
    let byte = |at: usize| (0..8).fold(0, |byte, next| byte << 1 | bit_at(start + 8 * at + next));
    Ok(Zeroizing::new((0..length).map(byte).collect()))
}

fn prf_with(name: PrfName, key: &SecretKey) -> Result<Prf> {
    Ok(match name {
        PrfName::Hmac(hash) => Prf::hmac(hash, key.value()),
        PrfName::Cmac(_) => Prf::cmac(&key.block()?),
    })
}

/// How many blocks SP 800-108 counts: as many as the counter can, or 2^32 - 1 without one.
fn most(fields: &[DataField]) -> u64 {
    let bits = fields.iter().find_map(|field| match field {
        DataField::Counter { bits, .. } => Some(*bits),
        _ => None,
    });
    (1_u64 << bits.unwrap_or(32).min(32)) - 1
}

/// What goes into the PRF for a block; `before` is the one before.
fn input(fields: &[DataField], prf: &Prf, length: usize, counter: u64, before: &[u8]) -> Vec<u8> {
    let number = |value: u64, bits: u64, little_endian: bool| {
        let bytes = (bits / 8).min(8) as usize;
        if little_endian {
            value.to_le_bytes()[..bytes].to_vec()
        } else {
            value.to_be_bytes()[8 - bytes..].to_vec()
        }
    };
    let in_blocks = length.next_multiple_of(prf.length());
    let mut input = Vec::new();
    for field in fields {
        match field {
            DataField::Counter { little_endian, bits } => {
                input.extend(number(counter, *bits, *little_endian));
            }
            DataField::Length { of_keys, little_endian, bits } => {
                let bytes = if *of_keys { length } else { in_blocks } as u64;
                input.extend(number(8 * bytes, *bits, *little_endian));
            }
            DataField::Bytes(bytes) => input.extend_from_slice(bytes),
            DataField::Before => input.extend_from_slice(before),
        }
    }
    input
}

/// The only parameter of a KDF that can be wrong by now is how much is asked for.
fn too_much(error: keyward_crypto::Error) -> Error {
    match error {
        keyward_crypto::Error::ParameterInvalid(_) => size_range(),
        _ => from_crypto(error),
    }
}

fn size_range() -> Error {
    Error::new(ErrorCode::KeySizeRange, "a key of that length cannot be derived so")
}
