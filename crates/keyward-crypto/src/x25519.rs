//! X25519: key agreement over Montgomery's curve 25519 (RFC 7748).
//!
//! AWS-LC has no X448.

use std::fmt;

use aws_lc_sys::{
    EVP_PKEY_X25519, X25519, X25519_PRIVATE_KEY_LEN, X25519_PUBLIC_VALUE_LEN,
    X25519_SHARED_KEY_LEN, X25519_public_from_private,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{Pkey, check};
use crate::random;

/// An X25519 private key.
#[derive(Clone)]
pub struct X25519PrivateKey {
    bytes: Zeroizing<[u8; X25519_PRIVATE_KEY_LEN as usize]>,
}

impl X25519PrivateKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; X25519_PRIVATE_KEY_LEN as usize]);
        random::fill(&mut *bytes);
        Self { bytes }
    }

    /// Takes the 32 secret bytes of RFC 7748 section 5; those bits that the function sets and
    /// clears itself may be anything.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes: [u8; X25519_PRIVATE_KEY_LEN as usize] = bytes
            .try_into()
            .map_err(|_| Error::InvalidKey("an X25519 private key has 32 bytes"))?;
        Ok(Self { bytes: Zeroizing::new(bytes) })
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 8410), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not X25519.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_pkcs8_der(der)?;
        if pkey.id() != EVP_PKEY_X25519 {
            return Err(Error::InvalidKey("it is not an X25519 key"));
        }
        Self::from_bytes(&pkey.raw_private_key()?)
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 8410 section 7), not encrypted.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + self.bytes.len()));
        der.extend_from_slice(PKCS8_PREFIX);
        der.extend_from_slice(&*self.bytes);
        der
    }

    /// The 32 secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &*self.bytes
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> X25519PublicKey {
        let mut bytes = [0; X25519_PUBLIC_VALUE_LEN as usize];
        // SAFETY: both have the lengths that the function asks for.
        unsafe { X25519_public_from_private(bytes.as_mut_ptr(), self.bytes.as_ptr()) };
        X25519PublicKey { bytes }
    }

    /// The 32 bytes that both sides share, without a KDF.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if `peer` is one of the few points that give zero whatever the
    /// key (RFC 7748 section 6.1).
    pub fn agree(&self, peer: &X25519PublicKey) -> Result<Zeroizing<Vec<u8>>> {
        let mut shared = Zeroizing::new(vec![0; X25519_SHARED_KEY_LEN as usize]);
        // SAFETY: the three have the lengths that the function asks for.
        let returned =
            unsafe { X25519(shared.as_mut_ptr(), self.bytes.as_ptr(), peer.bytes.as_ptr()) };
        check(returned, Error::ParameterInvalid("the other side's X25519 key has small order"))?;
        Ok(shared)
    }
}

impl fmt::Debug for X25519PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X25519PrivateKey").finish_non_exhaustive()
    }
}

/// An X25519 public key: any 32 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct X25519PublicKey {
    bytes: [u8; X25519_PUBLIC_VALUE_LEN as usize],
}

impl X25519PublicKey {
    /// Takes the 32 bytes of RFC 7748 section 5.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes =
            bytes.try_into().map_err(|_| Error::InvalidKey("an X25519 public key has 32 bytes"))?;
        Ok(Self { bytes })
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 8410).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not X25519.
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_spki_der(der)?;
        if pkey.id() != EVP_PKEY_X25519 {
            return Err(Error::InvalidKey("it is not an X25519 key"));
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
}

/// PrivateKeyInfo { 0, { 1.3.101.110 }, OCTET STRING { OCTET STRING of 32 bytes } } up to these.
const PKCS8_PREFIX: &[u8] =
    &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20];

/// SubjectPublicKeyInfo { { 1.3.101.110 }, BIT STRING of 32 bytes } up to these.
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 3, 0x21, 0];
