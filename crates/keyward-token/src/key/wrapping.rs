//! Keys that carry other keys.

use cryptoki_sys::*;
use keyward_crypto::block::BlockKey;
use keyward_crypto::{random, wrap};
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::{
    PrivateKey, PublicKey, SecretKey, WorkingKey, from_crypto, required, type_inconsistent,
};
use crate::attribute::Attributes;
use crate::mechanism::{BlockCipher, BlockMode, EncryptionScheme, WrappingScheme};
use crate::object::Object;

/// Wraps a key whose secret parts are at hand by another of which the same is true. Whether that is
/// permitted is the business of [`rules::may_wrap`](crate::rules::may_wrap).
///
/// # Errors
/// CKR_KEY_SIZE_RANGE if the key is too long for the wrapping key or of a length that the mechanism
/// does not take, CKR_WRAPPING_KEY_TYPE_INCONSISTENT, CKR_KEY_NOT_WRAPPABLE.
pub fn wrap(scheme: &WrappingScheme, wrapping: &Object, key: &Object) -> Result<Vec<u8>> {
    let value = value_to_wrap(key.attributes())?;
    let secret = || SecretKey::of(wrapping.attributes());
    let public = || PublicKey::of(wrapping.attributes());
    let wrapped = match scheme {
        WrappingScheme::KeyWrap { padded: false, initial: Some(initial) } => {
            wrap::wrap(&aes(&secret()?)?, Some(initial), &value).map_err(from_crypto)
        }
        WrappingScheme::KeyWrap { padded, .. } => secret()?.wrap(*padded, &value),
        WrappingScheme::Encryption(scheme @ EncryptionScheme::Block { cipher, mode }) => {
            let value = whole_blocks(value, *cipher, mode);
            secret()?.encrypt(scheme, &value)
        }
        WrappingScheme::Encryption(scheme) => public()?.encrypt(scheme, &value),
        WrappingScheme::RsaAes { aes_length, .. } => {
            let mut ephemeral = Zeroizing::new(vec![0; *aes_length]);
            random::fill(&mut ephemeral);
            let mut wrapped = public()?.encrypt(&scheme.oaep()?, &ephemeral)?;
            wrapped.extend(SecretKey::new(CKK_AES, &ephemeral)?.wrap(true, &value)?);
            Ok(wrapped)
        }
    };
    wrapped.map_err(|error| match error.code {
        ErrorCode::DataLenRange => Error::new(
            ErrorCode::KeySizeRange,
            "the key is too long for the wrapping key, or of a length that the mechanism does not \
             wrap",
        ),
        ErrorCode::KeyTypeInconsistent => {
            Error { code: ErrorCode::WrappingKeyTypeInconsistent, ..error }
        }
        _ => error,
    })
}

/// How long a secret key will be when it is wrapped, in bytes; `None` for private keys, of which
/// only who has them knows it.
///
/// # Errors
/// CKR_WRAPPING_KEY_TYPE_INCONSISTENT if the wrapping key says nothing of its length.
pub fn wrapped_length(
    scheme: &WrappingScheme,
    wrapping: &Object,
    key: &Object,
) -> Result<Option<usize>> {
    let length = key.attributes().number(CKA_VALUE_LEN).and_then(|length| length.try_into().ok());
    let (Some(length), CKO_SECRET_KEY) = (length, key.class()) else {
        return Ok(None);
    };
    let modulus = || {
        wrapping
            .signature_length()
            .map_err(|error| Error { code: ErrorCode::WrappingKeyTypeInconsistent, ..error })
    };
    let length: usize = length;
    Ok(Some(match scheme {
        WrappingScheme::KeyWrap { .. } => length.next_multiple_of(STEP) + STEP,
        WrappingScheme::RsaAes { .. } => modulus()? + length.next_multiple_of(STEP) + STEP,
        WrappingScheme::Encryption(EncryptionScheme::Block { cipher, mode }) => match mode {
            BlockMode::CbcPad { .. } => (length + 1).next_multiple_of(cipher.block_length()),
            BlockMode::Ecb | BlockMode::Cbc { .. } => {
                length.next_multiple_of(cipher.block_length())
            }
            BlockMode::Ctr { .. } | BlockMode::Feedback { .. } => length,
            BlockMode::Gcm { tag_length, .. } | BlockMode::Ccm { tag_length, .. } => {
                length + *tag_length as usize
            }
        },
        WrappingScheme::Encryption(_) => modulus()?,
    }))
}

impl WorkingKey<'_> {
    /// Takes the wrapping off. `fits` says whether the key that is wanted can have so many bytes.
    ///
    /// # Errors
    /// CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE,
    /// CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT. With RSAES-PKCS1-v1_5 what `wrapped` holds never makes
    /// a difference: other bytes come of it then.
    pub fn unwrap(
        self,
        scheme: &WrappingScheme,
        wrapped: &[u8],
        fits: impl Fn(usize) -> bool,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let value = match (self, scheme) {
            (
                Self::Private(PrivateKey::Rsa(key)),
                WrappingScheme::Encryption(EncryptionScheme::RsaPkcs),
            ) => key.unwrap_pkcs1(wrapped, fits).map_err(from_crypto),
            (Self::Private(key), WrappingScheme::Encryption(scheme)) => {
                key.decrypt(scheme, wrapped)
            }
            (Self::Private(key), WrappingScheme::RsaAes { .. }) => {
                unwrap_rsa_aes(key, scheme, wrapped)
            }
            (Self::Secret(key), WrappingScheme::Encryption(scheme)) => key.decrypt(scheme, wrapped),
            (
                Self::Secret(key),
                WrappingScheme::KeyWrap { padded: false, initial: Some(initial) },
            ) => wrap::unwrap(&aes(key)?, Some(initial), wrapped).map_err(from_crypto),
            (Self::Secret(key), WrappingScheme::KeyWrap { padded, .. }) => {
                key.unwrap(*padded, wrapped)
            }
            _ => return Err(unfit()),
        };
        value.map_err(|error| match error.code {
            ErrorCode::KeyTypeInconsistent => unfit(),
            ErrorCode::DataLenRange | ErrorCode::EncryptedDataLenRange => Error::new(
                ErrorCode::WrappedKeyLenRange,
                "the wrapped key has not a length that the mechanism gives",
            ),
            ErrorCode::DataInvalid | ErrorCode::EncryptedDataInvalid => wrapped_key_invalid(),
            _ => error,
        })
    }
}

impl WrappingScheme {
    /// The OAEP in CKM_RSA_AES_KEY_WRAP.
    fn oaep(&self) -> Result<EncryptionScheme> {
        match self {
            Self::RsaAes { hash, mgf1_hash, label, .. } => Ok(EncryptionScheme::RsaOaep {
                hash: *hash,
                mgf1_hash: *mgf1_hash,
                label: label.clone(),
            }),
            _ => Err(type_inconsistent("an RSA key")),
        }
    }
}

/// CKR_WRAPPED_KEY_INVALID, with one sentence for all that can be wrong inside: which it is would
/// help only who tries.
pub(crate) fn wrapped_key_invalid() -> Error {
    Error::new(
        ErrorCode::WrappedKeyInvalid,
        "the wrapped key is not one: it was changed, or wrapped by another key or in another way",
    )
}

fn unfit() -> Error {
    Error::new(
        ErrorCode::UnwrappingKeyTypeInconsistent,
        "the unwrapping key is not of the mechanism's class and type",
    )
}

fn unwrap_rsa_aes(
    key: &PrivateKey,
    scheme: &WrappingScheme,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let PrivateKey::Rsa(rsa) = key else { return Err(type_inconsistent("an RSA key")) };
    let (ephemeral, wrapped) = wrapped
        .split_at_checked(rsa.modulus_length())
        .filter(|(_, wrapped)| wrapped.len() >= 2 * STEP && wrapped.len().is_multiple_of(STEP))
        .ok_or_else(|| Error::new(ErrorCode::EncryptedDataLenRange, "the wrapped key is short"))?;
    let ephemeral = key.decrypt(&scheme.oaep()?, ephemeral)?;
    let ephemeral = SecretKey::new(CKK_AES, &ephemeral).map_err(|_| wrapped_key_invalid())?;
    ephemeral.unwrap(true, wrapped)
}

/// What of a key is wrapped: a secret key's value, a private key's PKCS#8 (section 6.7).
fn value_to_wrap(attributes: &Attributes) -> Result<Zeroizing<Vec<u8>>> {
    match attributes.number(CKA_CLASS) {
        Some(CKO_SECRET_KEY) => Ok(Zeroizing::new(required(attributes, CKA_VALUE)?.to_vec())),
        _ => PrivateKey::of(attributes)?.to_pkcs8_der(),
    }
}

/// The value with zeros up to a whole block, where the mode takes nothing else (section 6.13.5).
fn whole_blocks(
    value: Zeroizing<Vec<u8>>,
    cipher: BlockCipher,
    mode: &BlockMode,
) -> Zeroizing<Vec<u8>> {
    let length = value.len().next_multiple_of(cipher.block_length());
    if !matches!(mode, BlockMode::Ecb | BlockMode::Cbc { .. }) || value.len() == length {
        return value;
    }
    let mut whole = Zeroizing::new(vec![0; length]);
    whole[..value.len()].copy_from_slice(&value);
    whole
}

fn aes(key: &SecretKey) -> Result<BlockKey> {
    match key.key_type() {
        CKK_AES => BlockKey::aes(key.value()).map_err(from_crypto),
        _ => Err(type_inconsistent("an AES key")),
    }
}

/// AES key wrap works in steps of so many bytes.
const STEP: usize = 8;
