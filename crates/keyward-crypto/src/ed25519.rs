//! Ed25519: signatures over Edwards's curve 25519 (RFC 8032), pure, with a context, and prehashed.
//!
//! AWS-LC has no Ed448.

use std::fmt;

use aws_lc_sys::{
    ED25519_PUBLIC_KEY_LEN, ED25519_SIGNATURE_LEN, ED25519_keypair_from_seed, ED25519_sign,
    ED25519_verify, ED25519ctx_sign, ED25519ctx_verify, ED25519ph_sign_digest,
    ED25519ph_verify_digest, EVP_PKEY_ED25519,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{Pkey, check};
use crate::random;

/// Which of RFC 8032's three schemes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant<'a> {
    /// Ed25519: the message as it is.
    Pure,
    /// Ed25519ctx: the message under a context of 1 to 255 bytes.
    Context(&'a [u8]),
    /// Ed25519ph: the SHA-512 digest of the message, under a context of at most 255 bytes.
    Prehashed(&'a [u8]),
}

/// An Ed25519 private key together with its public one.
#[derive(Clone)]
pub struct Ed25519PrivateKey {
    /// The seed, then the public key: AWS-LC's form of a private key.
    pair: Zeroizing<[u8; 64]>,
}

impl Ed25519PrivateKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        random::fill(&mut *seed);
        Self::expand(&seed)
    }

    /// Builds a key from its 32 secret bytes (RFC 8032 section 5.1.5; CKA_VALUE).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_seed(seed: &[u8]) -> Result<Self> {
        let seed: &[u8; SEED_LENGTH] = seed
            .try_into()
            .map_err(|_| Error::InvalidKey("an Ed25519 private key has 32 bytes"))?;
        Ok(Self::expand(seed))
    }

    fn expand(seed: &[u8; SEED_LENGTH]) -> Self {
        let mut public = [0; ED25519_PUBLIC_KEY_LEN as usize];
        let mut pair = Zeroizing::new([0; 64]);
        // SAFETY: the three have the lengths that the function asks for.
        unsafe {
            ED25519_keypair_from_seed(public.as_mut_ptr(), pair.as_mut_ptr(), seed.as_ptr());
        }
        Self { pair }
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 8410), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not Ed25519.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        Self::from_pkey(&Pkey::from_pkcs8_der(der)?)
    }

    pub(crate) fn from_pkey(pkey: &Pkey) -> Result<Self> {
        if pkey.id() != EVP_PKEY_ED25519 {
            return Err(Error::InvalidKey("it is not an Ed25519 key"));
        }
        Self::from_seed(&pkey.raw_private_key()?)
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 8410 section 7), not encrypted.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + SEED_LENGTH));
        der.extend_from_slice(PKCS8_PREFIX);
        der.extend_from_slice(self.seed());
        der
    }

    /// The 32 secret bytes.
    #[must_use]
    pub fn seed(&self) -> &[u8] {
        &self.pair[..SEED_LENGTH]
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> Ed25519PublicKey {
        let mut bytes = [0; ED25519_PUBLIC_KEY_LEN as usize];
        bytes.copy_from_slice(&self.pair[SEED_LENGTH..]);
        Ed25519PublicKey { bytes }
    }

    /// Signs `input`: the message, or for [`Variant::Prehashed`] its SHA-512 digest. Returns 64
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if the context has a length that the scheme does not allow,
    /// [`Error::DataLength`] if a digest is not 64 bytes long.
    pub fn sign(&self, variant: Variant<'_>, input: &[u8]) -> Result<Vec<u8>> {
        variant.check(input)?;
        let mut signature = vec![0; ED25519_SIGNATURE_LEN as usize];
        let key = self.pair.as_ptr();
        // SAFETY: signature and key have the lengths that the functions ask for, message and
        // context are valid for theirs, and a digest was checked to have 64 bytes.
        let returned = unsafe {
            match variant {
                Variant::Pure => {
                    ED25519_sign(signature.as_mut_ptr(), input.as_ptr(), input.len(), key)
                }
                Variant::Context(context) => ED25519ctx_sign(
                    signature.as_mut_ptr(),
                    input.as_ptr(),
                    input.len(),
                    key,
                    context.as_ptr(),
                    context.len(),
                ),
                Variant::Prehashed(context) => ED25519ph_sign_digest(
                    signature.as_mut_ptr(),
                    input.as_ptr(),
                    key,
                    context.as_ptr(),
                    context.len(),
                ),
            }
        };
        check(returned, Error::Internal("an Ed25519 signature could not be made"))?;
        Ok(signature)
    }
}

impl fmt::Debug for Ed25519PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519PrivateKey").finish_non_exhaustive()
    }
}

/// An Ed25519 public key: 32 bytes that encode a point. A signature under bytes that encode none
/// does not verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ed25519PublicKey {
    bytes: [u8; ED25519_PUBLIC_KEY_LEN as usize],
}

impl Ed25519PublicKey {
    /// Takes the 32 bytes of RFC 8032 section 5.1.5.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes
            .try_into()
            .map_err(|_| Error::InvalidKey("an Ed25519 public key has 32 bytes"))?;
        Ok(Self { bytes })
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 8410).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not Ed25519.
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_spki_der(der)?;
        if pkey.id() != EVP_PKEY_ED25519 {
            return Err(Error::InvalidKey("it is not an Ed25519 key"));
        }
        Self::from_bytes(&pkey.raw_public_key()?)
    }

    /// The DER SubjectPublicKeyInfo (RFC 8410 section 4).
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX, &self.bytes].concat()
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks a signature over `input`, which is as for [`Ed25519PrivateKey::sign`].
    ///
    /// # Errors
    ///
    /// As for signing; [`Error::SignatureLength`] if it has not 64 bytes,
    /// [`Error::SignatureInvalid`].
    pub fn verify(&self, variant: Variant<'_>, input: &[u8], signature: &[u8]) -> Result<()> {
        variant.check(input)?;
        if signature.len() != ED25519_SIGNATURE_LEN as usize {
            return Err(Error::SignatureLength);
        }
        let key = self.bytes.as_ptr();
        // SAFETY: as in `Ed25519PrivateKey::sign`.
        let returned = unsafe {
            match variant {
                Variant::Pure => {
                    ED25519_verify(input.as_ptr(), input.len(), signature.as_ptr(), key)
                }
                Variant::Context(context) => ED25519ctx_verify(
                    input.as_ptr(),
                    input.len(),
                    signature.as_ptr(),
                    key,
                    context.as_ptr(),
                    context.len(),
                ),
                Variant::Prehashed(context) => ED25519ph_verify_digest(
                    input.as_ptr(),
                    signature.as_ptr(),
                    key,
                    context.as_ptr(),
                    context.len(),
                ),
            }
        };
        check(returned, Error::SignatureInvalid)
    }
}

impl Variant<'_> {
    fn check(self, input: &[u8]) -> Result<()> {
        match self {
            Self::Context(context) if !(1..=LONGEST_CONTEXT).contains(&context.len()) => {
                Err(Error::ParameterInvalid("the context of Ed25519ctx has 1 to 255 bytes"))
            }
            Self::Prehashed(context) if context.len() > LONGEST_CONTEXT => {
                Err(Error::ParameterInvalid("the context of Ed25519ph has at most 255 bytes"))
            }
            Self::Prehashed(_) if input.len() != DIGEST_LENGTH => Err(Error::DataLength),
            _ => Ok(()),
        }
    }
}

/// Bytes.
const SEED_LENGTH: usize = 32;

/// Bytes of a SHA-512 digest.
const DIGEST_LENGTH: usize = 64;

/// Bytes (RFC 8032 section 8.3: its length is one octet).
const LONGEST_CONTEXT: usize = 255;

/// PrivateKeyInfo { 0, { 1.3.101.112 }, OCTET STRING { OCTET STRING of 32 bytes } } up to these.
const PKCS8_PREFIX: &[u8] =
    &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// SubjectPublicKeyInfo { { 1.3.101.112 }, BIT STRING of 32 bytes } up to these.
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
