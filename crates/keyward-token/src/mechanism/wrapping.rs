//! What a mechanism with its parameter means for the wrapping of a key.

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_wire::{self as wire, Error, Result, wrapping};

use super::wire::{hash_from_wire, hash_to_wire};
use super::{
    BlockMode, EncryptionScheme, Family, Parameter, find, hash_of_mechanism, hash_of_mgf, not_for,
    parameter_invalid,
};

/// How a key is wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrappingScheme {
    /// It is encrypted: RSA with padding, or a block cipher.
    Encryption(EncryptionScheme),
    /// AES key wrap.
    KeyWrap {
        /// RFC 5649; else RFC 3394.
        padded: bool,
        /// Instead of the RFC's, with RFC 3394 only.
        initial: Option<[u8; 8]>,
    },
    /// A new AES key by OAEP, then the key by RFC 5649 under that.
    RsaAes {
        /// Of the AES key, in bytes: 16, 24 or 32.
        aes_length: usize,
        /// As in [`EncryptionScheme::RsaOaep`].
        hash: Hash,
        /// As there.
        mgf1_hash: Hash,
        /// As there.
        label: Vec<u8>,
    },
}

impl WrappingScheme {
    /// What a mechanism with its parameter means for a wrapped key.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it wraps nothing, CKR_MECHANISM_PARAM_INVALID if the parameter does
    /// not fit.
    pub fn new(number: u64, parameter: &Parameter) -> Result<Self> {
        let mechanism = find(number)?;
        if mechanism.flags & (CKF_WRAP | CKF_UNWRAP) == 0 {
            return Err(not_for(number, "wrap a key"));
        }
        Self::of(mechanism.family, parameter)?.ok_or_else(|| not_for(number, "wrap a key"))
    }

    /// What a family with a parameter means; `None` if it wraps nothing.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID.
    pub(crate) fn of(family: Family, parameter: &Parameter) -> Result<Option<Self>> {
        Ok(match (family, parameter) {
            (Family::KeyWrap { padded }, _) => {
                let initial = match parameter {
                    Parameter::None => None,
                    Parameter::Bytes(value) if value.is_empty() => None,
                    // What RFC 5649 says itself.
                    Parameter::Bytes(value) if padded && value[..] == [0xa6, 0x59, 0x59, 0xa6] => {
                        None
                    }
                    Parameter::Bytes(value) if !padded => Some(initial_value(value)?),
                    _ => return Err(parameter_invalid("the initial value is not one to choose")),
                };
                Some(Self::KeyWrap { padded, initial })
            }
            (Family::RsaAesKeyWrap, Parameter::RsaAesKeyWrap { aes_bits, hash, mgf, label }) => {
                Some(Self::RsaAes {
                    aes_length: aes_length(*aes_bits)?,
                    hash: hash_of_mechanism(*hash)?,
                    mgf1_hash: hash_of_mgf(*mgf)?,
                    label: label.clone(),
                })
            }
            (Family::RsaAesKeyWrap, _) => {
                return Err(parameter_invalid("CK_RSA_AES_KEY_WRAP_PARAMS is missing"));
            }
            _ => EncryptionScheme::of(family, parameter)?.map(Self::Encryption),
        })
    }

    /// Whether it is done with an RSA key pair, and not with a secret key.
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        match self {
            Self::Encryption(scheme) => !matches!(scheme, EncryptionScheme::Block { .. }),
            Self::KeyWrap { .. } => false,
            Self::RsaAes { .. } => true,
        }
    }

    /// Whether a key of this type wraps by it.
    #[must_use]
    pub fn takes(&self, key_type: u64) -> bool {
        match self {
            Self::Encryption(scheme) => scheme.takes(key_type),
            Self::KeyWrap { .. } => key_type == CKK_AES,
            Self::RsaAes { .. } => key_type == CKK_RSA,
        }
    }

    /// Whether it wraps whole blocks only and says nothing of where the data end: private keys
    /// are not wrapped so (section 6.13.5).
    #[must_use]
    pub fn loses_length(&self) -> bool {
        matches!(
            self,
            Self::Encryption(EncryptionScheme::Block {
                mode: BlockMode::Ecb | BlockMode::Cbc { .. },
                ..
            })
        )
    }
}

impl From<WrappingScheme> for wire::Wrapping {
    fn from(scheme: WrappingScheme) -> Self {
        let oaep = |hash, mgf1_hash, label| wire::RsaOaep {
            hash: hash_to_wire(hash),
            mgf1_hash: hash_to_wire(mgf1_hash),
            label,
        };
        let scheme = match scheme {
            WrappingScheme::Encryption(scheme) => match wire::decrypt::Scheme::from(scheme) {
                wire::decrypt::Scheme::RsaPkcs1(done) => Some(wrapping::Scheme::RsaPkcs1(done)),
                wire::decrypt::Scheme::RsaOaep(oaep) => Some(wrapping::Scheme::RsaOaep(oaep)),
                wire::decrypt::Scheme::Block(block) => Some(wrapping::Scheme::Block(block)),
                // No mechanism wraps so.
                wire::decrypt::Scheme::RsaX509(_) => None,
            },
            WrappingScheme::KeyWrap { padded, initial } => {
                let initial_value = initial.map(Vec::from).unwrap_or_default();
                Some(wrapping::Scheme::AesKeyWrap(wire::AesKeyWrap { padded, initial_value }))
            }
            WrappingScheme::RsaAes { aes_length, hash, mgf1_hash, label } => {
                Some(wrapping::Scheme::RsaAes(wire::RsaAes {
                    bits: 8 * u32::try_from(aes_length).unwrap_or_default(),
                    oaep: Some(oaep(hash, mgf1_hash, label)),
                }))
            }
        };
        Self { scheme }
    }
}

impl TryFrom<wire::Wrapping> for WrappingScheme {
    type Error = Error;

    fn try_from(wrapping: wire::Wrapping) -> Result<Self> {
        let encryption = |scheme: wire::decrypt::Scheme| {
            EncryptionScheme::try_from(scheme).map(Self::Encryption)
        };
        match wrapping.scheme {
            Some(wrapping::Scheme::RsaPkcs1(done)) => {
                encryption(wire::decrypt::Scheme::RsaPkcs1(done))
            }
            Some(wrapping::Scheme::RsaOaep(oaep)) => {
                encryption(wire::decrypt::Scheme::RsaOaep(oaep))
            }
            Some(wrapping::Scheme::Block(wire::Block {
                mode: Some(wire::block::Mode::Ctr(_)),
                ..
            })) => Err(parameter_invalid("counter mode wraps no keys")),
            Some(wrapping::Scheme::Block(block)) => encryption(wire::decrypt::Scheme::Block(block)),
            Some(wrapping::Scheme::AesKeyWrap(wrap)) => {
                let initial = match wrap.initial_value.as_slice() {
                    [] => None,
                    value if !wrap.padded => Some(initial_value(value)?),
                    _ => return Err(parameter_invalid("the initial value is not one to choose")),
                };
                Ok(Self::KeyWrap { padded: wrap.padded, initial })
            }
            Some(wrapping::Scheme::RsaAes(wire::RsaAes { bits, oaep: Some(oaep) })) => {
                Ok(Self::RsaAes {
                    aes_length: aes_length(bits.into())?,
                    hash: hash_from_wire(oaep.hash)?,
                    mgf1_hash: hash_from_wire(oaep.mgf1_hash)?,
                    label: oaep.label,
                })
            }
            Some(wrapping::Scheme::RsaAes(_)) | None => {
                Err(parameter_invalid("how the key is wrapped is not known"))
            }
        }
    }
}

fn initial_value(value: &[u8]) -> Result<[u8; 8]> {
    value.try_into().map_err(|_| parameter_invalid("the initial value has 8 bytes"))
}

fn aes_length(bits: u64) -> Result<usize> {
    match bits {
        128 => Ok(16),
        192 => Ok(24),
        256 => Ok(32),
        _ => Err(parameter_invalid("an AES key has 128, 192 or 256 bits")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlockCipher, EncryptionScheme};
    use super::*;

    #[test]
    fn wrapping_schemes_survive_the_wire() {
        let (hash, mgf1_hash) = (Hash::Sha384, Hash::Sha1);
        let label = vec![1, 2];
        for scheme in [
            WrappingScheme::Encryption(EncryptionScheme::RsaPkcs),
            WrappingScheme::Encryption(EncryptionScheme::RsaOaep {
                hash,
                mgf1_hash,
                label: label.clone(),
            }),
            WrappingScheme::Encryption(EncryptionScheme::Block {
                cipher: BlockCipher::Aes,
                mode: BlockMode::CbcPad { chain: vec![3; 16] },
            }),
            WrappingScheme::KeyWrap { padded: true, initial: None },
            WrappingScheme::KeyWrap { padded: false, initial: Some([4; 8]) },
            WrappingScheme::RsaAes { aes_length: 24, hash, mgf1_hash, label },
        ] {
            let wire = wire::Wrapping::from(scheme.clone());
            assert_eq!(WrappingScheme::try_from(wire).unwrap(), scheme);
        }
    }

    #[test]
    fn wrapping_schemes_that_cannot_be_are_refused() {
        let wrap = |padded, initial_value| wire::AesKeyWrap { padded, initial_value };
        for scheme in [
            None,
            Some(wrapping::Scheme::AesKeyWrap(wrap(true, vec![1; 8]))),
            Some(wrapping::Scheme::AesKeyWrap(wrap(false, vec![1; 7]))),
            Some(wrapping::Scheme::RsaAes(wire::RsaAes { bits: 256, oaep: None })),
            Some(wrapping::Scheme::RsaAes(wire::RsaAes {
                bits: 255,
                oaep: Some(wire::RsaOaep { hash: 3, mgf1_hash: 3, label: vec![] }),
            })),
        ] {
            assert!(WrappingScheme::try_from(wire::Wrapping { scheme }).is_err());
        }
        let own = [Family::KeyWrap { padded: true }, Family::KeyWrap { padded: false }];
        for (family, value) in own.into_iter().zip([vec![1; 4], vec![1; 9]]) {
            assert!(WrappingScheme::of(family, &Parameter::Bytes(value)).is_err());
        }
    }
}
