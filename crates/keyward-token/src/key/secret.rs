//! Secret keys.

use std::fmt;

use cryptoki_sys::*;
use keyward_crypto::block::{BlockKey, Direction};
use keyward_crypto::cmac::Cmac;
use keyward_crypto::digest::Hash;
use keyward_crypto::hmac::Hmac;
use keyward_crypto::{ccm, gcm, kdf, wrap};
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::{from_crypto, required, type_inconsistent};
use crate::attribute::Attributes;
use crate::mechanism::{
    BlockCipher, BlockMode, EncryptionScheme, SignatureScheme, key_type_of_hmac,
};

/// A secret key, ready for use.
#[derive(Clone)]
pub struct SecretKey {
    key_type: u64,
    /// One of the type's lengths.
    value: Zeroizing<Vec<u8>>,
}

impl SecretKey {
    /// The key of a secret-key object whose value is at hand.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the object is no secret key of a type that is known,
    /// CKR_ATTRIBUTE_VALUE_INVALID if its value has not the type's length,
    /// CKR_TEMPLATE_INCOMPLETE if it is missing.
    pub fn of(attributes: &Attributes) -> Result<Self> {
        let key_type = attributes
            .number(CKA_KEY_TYPE)
            .filter(|_| attributes.number(CKA_CLASS) == Some(CKO_SECRET_KEY))
            .ok_or_else(|| type_inconsistent("a secret key"))?;
        Self::new(key_type, required(attributes, CKA_VALUE)?)
    }

    /// A key of a type out of its bytes.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn new(key_type: u64, value: &[u8]) -> Result<Self> {
        let lengths =
            lengths(key_type).ok_or_else(|| type_inconsistent("of a type that is offered"))?;
        if !lengths.contain(value.len()) {
            return Err(Error::new(
                ErrorCode::AttributeValueInvalid,
                "the value has not the length of keys of that type",
            ));
        }
        Ok(Self { key_type, value: Zeroizing::new(value.to_vec()) })
    }

    /// Draws a new key of `length` bytes, or of the type's only length if `None`. DES keys get odd
    /// parity.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCOMPLETE if a length is wanted, CKR_TEMPLATE_INCONSISTENT if the type has
    /// only one, CKR_KEY_SIZE_RANGE if it has not this one.
    pub fn generate(key_type: u64, length: Option<u64>) -> Result<Self> {
        let length = self::length(key_type, length)?;
        let mut value = Zeroizing::new(vec![0; length]);
        keyward_crypto::random::fill(&mut value);
        let mut key = Self { key_type, value };
        key.set_parity();
        Ok(key)
    }

    /// Draws the premaster secret of a TLS that agrees by RSA: 48 bytes that begin with the client's
    /// version (RFC 5246 section 7.4.7.1).
    #[must_use]
    pub fn premaster(version: [u8; 2]) -> Self {
        let mut value = Zeroizing::new(vec![0; PREMASTER_SECRET]);
        keyward_crypto::random::fill(&mut value);
        value[..2].copy_from_slice(&version);
        Self { key_type: CKK_GENERIC_SECRET, value }
    }

    /// Gives each byte of a DES key odd parity; leaves other keys as they are.
    pub(crate) fn set_parity(&mut self) {
        if matches!(self.key_type, CKK_DES | CKK_DES2 | CKK_DES3) {
            for byte in self.value.iter_mut() {
                *byte ^= u8::from(byte.count_ones() % 2 == 0);
            }
        }
    }

    /// CKA_KEY_TYPE.
    #[must_use]
    pub fn key_type(&self) -> u64 {
        self.key_type
    }

    /// CKA_VALUE.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// CKA_CHECK_VALUE, three bytes (section 4.10): of a block of zeros encrypted, where the type
    /// is a cipher's; else of the value's SHA-1 digest.
    #[must_use]
    pub fn check_value(&self) -> Vec<u8> {
        let encrypted = self
            .block_key()
            .and_then(|(_, key)| {
                key.ecb(Direction::Encrypt, &vec![0; key.block_length()]).map_err(from_crypto)
            })
            .map(|block| block.to_vec());
        let mut check = encrypted.unwrap_or_else(|_| Hash::Sha1.digest(&self.value));
        check.truncate(3);
        check
    }

    /// Makes an authentication code of `input`, the whole message.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT.
    pub fn sign(&self, scheme: &SignatureScheme, input: &[u8]) -> Result<Vec<u8>> {
        let (code, length) = self.code(scheme, input)?;
        Ok(code[..length].to_vec())
    }

    /// Checks an authentication code of `input`, in constant time.
    ///
    /// # Errors
    /// CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, CKR_KEY_TYPE_INCONSISTENT.
    pub fn verify(&self, scheme: &SignatureScheme, input: &[u8], code: &[u8]) -> Result<()> {
        let (own, length) = self.code(scheme, input)?;
        keyward_crypto::mac::compare(&own, length, code).map_err(from_crypto)
    }

    /// The whole code, and how many of its bytes count.
    fn code(&self, scheme: &SignatureScheme, input: &[u8]) -> Result<(Zeroizing<Vec<u8>>, usize)> {
        if !scheme.takes(self.key_type) {
            return Err(type_inconsistent("of the mechanism's type"));
        }
        match scheme {
            SignatureScheme::Hmac { hash, length } => {
                let mut hmac = Hmac::new(*hash, &self.value);
                hmac.update(input);
                Ok((hmac.finish(), (*length as usize).min(hash.length())))
            }
            SignatureScheme::Cmac { cipher, length } => {
                let mut cmac = Cmac::new(&self.block_key()?.1);
                cmac.update(input);
                Ok((cmac.finish(), (*length as usize).min(cipher.block_length())))
            }
            SignatureScheme::TlsMac { hash, server, length } => {
                let label: &[u8] = if *server { b"server finished" } else { b"client finished" };
                let length = *length as usize;
                let code = match hash {
                    Some(hash) => kdf::tls12_prf(*hash, &self.value, label, input, length),
                    None => kdf::tls10_prf(&self.value, label, input, length),
                };
                Ok((code.map_err(from_crypto)?, length))
            }
            _ => Err(type_inconsistent("of the mechanism's type")),
        }
    }

    /// Encrypts `input`.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_TYPE_INCONSISTENT.
    pub fn encrypt(&self, scheme: &EncryptionScheme, input: &[u8]) -> Result<Vec<u8>> {
        let (key, mode) = self.of_scheme(scheme)?;
        match mode {
            BlockMode::Ecb => key.ecb(Direction::Encrypt, input).map(|output| output.to_vec()),
            BlockMode::Cbc { chain } => {
                key.cbc(Direction::Encrypt, &mut chain.clone(), input).map(|output| output.to_vec())
            }
            BlockMode::CbcPad { chain } => key.cbc_pad_encrypt(chain, input),
            BlockMode::Ctr { counter } => {
                key.ctr(&mut counter.clone(), input).map(|output| output.to_vec())
            }
            BlockMode::Feedback { feedback, chain } => key
                .feedback(*feedback, Direction::Encrypt, &mut chain.clone(), input)
                .map(|output| output.to_vec()),
            BlockMode::Gcm { iv, associated, tag_length } => {
                gcm::encrypt(&key, iv, associated, *tag_length as usize, input)
            }
            BlockMode::Ccm { nonce, associated, tag_length } => {
                ccm::encrypt(&key, nonce, associated, *tag_length as usize, input)
            }
        }
        .map_err(from_crypto)
    }

    /// Decrypts `input`.
    ///
    /// # Errors
    /// CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID, CKR_MECHANISM_PARAM_INVALID,
    /// CKR_KEY_TYPE_INCONSISTENT.
    pub fn decrypt(&self, scheme: &EncryptionScheme, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (key, mode) = self.of_scheme(scheme)?;
        match mode {
            BlockMode::Ecb => key.ecb(Direction::Decrypt, input),
            BlockMode::Cbc { chain } => key.cbc(Direction::Decrypt, &mut chain.clone(), input),
            BlockMode::CbcPad { chain } => key.cbc_pad_decrypt(chain, input),
            BlockMode::Ctr { counter } => key.ctr(&mut counter.clone(), input),
            BlockMode::Feedback { feedback, chain } => {
                key.feedback(*feedback, Direction::Decrypt, &mut chain.clone(), input)
            }
            BlockMode::Gcm { iv, associated, tag_length } => {
                gcm::decrypt(&key, iv, associated, *tag_length as usize, input)
            }
            BlockMode::Ccm { nonce, associated, tag_length } => {
                ccm::decrypt(&key, nonce, associated, *tag_length as usize, input)
            }
        }
        .map_err(encrypted)
    }

    /// Wraps bytes by AES key wrap: `padded` by RFC 5649, else by RFC 3394.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE, CKR_KEY_TYPE_INCONSISTENT.
    pub fn wrap(&self, padded: bool, data: &[u8]) -> Result<Vec<u8>> {
        let key = self.aes()?;
        let wrapped =
            if padded { wrap::wrap_padded(&key, data) } else { wrap::wrap(&key, None, data) };
        wrapped.map_err(from_crypto)
    }

    /// Unwraps what [`wrap`](Self::wrap) returned.
    ///
    /// # Errors
    /// CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID, CKR_KEY_TYPE_INCONSISTENT.
    pub fn unwrap(&self, padded: bool, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let key = self.aes()?;
        let data = if padded {
            wrap::unwrap_padded(&key, wrapped)
        } else {
            wrap::unwrap(&key, None, wrapped)
        };
        data.map_err(encrypted)
    }

    /// The block cipher's key that it is.
    pub(crate) fn block(&self) -> Result<BlockKey> {
        self.block_key().map(|(_, key)| key)
    }

    fn aes(&self) -> Result<BlockKey> {
        match self.block_key()? {
            (BlockCipher::Aes, key) => Ok(key),
            (BlockCipher::TripleDes | BlockCipher::Des, _) => Err(type_inconsistent("an AES key")),
        }
    }

    fn of_scheme<'a>(&self, scheme: &'a EncryptionScheme) -> Result<(BlockKey, &'a BlockMode)> {
        match scheme {
            EncryptionScheme::Block { cipher, mode } if cipher.takes(self.key_type) => {
                Ok((self.block_key()?.1, mode))
            }
            _ => Err(type_inconsistent("of the mechanism's type")),
        }
    }

    fn block_key(&self) -> Result<(BlockCipher, BlockKey)> {
        match self.key_type {
            CKK_AES => BlockKey::aes(&self.value).map(|key| (BlockCipher::Aes, key)),
            CKK_DES => BlockKey::des(&self.value).map(|key| (BlockCipher::Des, key)),
            CKK_DES2 | CKK_DES3 => {
                BlockKey::triple_des(&self.value).map(|key| (BlockCipher::TripleDes, key))
            }
            _ => return Err(type_inconsistent("a block cipher's key")),
        }
        .map_err(from_crypto)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("key_type", &self.key_type).finish_non_exhaustive()
    }
}

/// How long keys of a type are, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lengths {
    /// As AES has them.
    Aes,
    /// From 1 on.
    Any,
    /// One length, so that CKA_VALUE_LEN is not wanted.
    Only(usize),
}

impl Lengths {
    pub(crate) fn contain(self, length: usize) -> bool {
        match self {
            Self::Aes => matches!(length, 16 | 24 | 32),
            Self::Any => (1..=LONGEST).contains(&length),
            Self::Only(only) => length == only,
        }
    }
}

/// How long a new key of a type is to be, in bytes: `length` of them, or the type's only length if
/// `None`.
///
/// # Errors
/// As [`SecretKey::generate`].
pub(crate) fn length(key_type: u64, length: Option<u64>) -> Result<usize> {
    let lengths =
        lengths(key_type).ok_or_else(|| type_inconsistent("of a type that is offered"))?;
    match (lengths, length) {
        (Lengths::Only(only), None) => Ok(only),
        (Lengths::Only(only), Some(length)) if length == only as u64 => Ok(only),
        (Lengths::Only(_), Some(_)) => Err(Error::new(
            ErrorCode::TemplateInconsistent,
            "keys of that type have another length than CKA_VALUE_LEN",
        )),
        (_, None) => Err(Error::new(ErrorCode::TemplateIncomplete, "CKA_VALUE_LEN is missing")),
        (lengths, Some(length)) => usize::try_from(length)
            .ok()
            .filter(|length| lengths.contain(*length))
            .ok_or_else(|| {
                Error::new(
                    ErrorCode::KeySizeRange,
                    "keys of that type have not the length CKA_VALUE_LEN",
                )
            }),
    }
}

/// How long keys of a type are; `None` for types that are not offered.
pub(crate) fn lengths(key_type: u64) -> Option<Lengths> {
    Some(match key_type {
        CKK_AES => Lengths::Aes,
        CKK_DES => Lengths::Only(8),
        CKK_DES2 => Lengths::Only(16),
        CKK_DES3 => Lengths::Only(24),
        CKK_GENERIC_SECRET | CKK_HKDF => Lengths::Any,
        _ if Hash::ALL.into_iter().any(|hash| key_type_of_hmac(hash) == key_type) => Lengths::Any,
        _ => return None,
    })
}

/// What the library said of data that should have been decrypted.
fn encrypted(error: keyward_crypto::Error) -> Error {
    let mut error = from_crypto(error);
    if error.code == ErrorCode::DataLenRange {
        error.code = ErrorCode::EncryptedDataLenRange;
    }
    error
}

/// Bytes.
pub(super) const PREMASTER_SECRET: usize = 48;
/// The longest secret, in bytes.
const LONGEST: usize = 1 << 16;
