//! RSA public keys: verification and encryption.

use std::fmt;

use aws_lc_sys::{RSA_NO_PADDING, RSA_PKCS1_PADDING, RSA_new_public_key, RSA_verify_pss_mgf1};

use super::{Direction, PKCS1_OVERHEAD, RsaKey, Transform, public};
use crate::digest::Hash;
use crate::error::{Error, Result};
use crate::ffi::{Owned, Pkey, check, number};

/// An RSA public key of 64 to 1024 bytes: shorter than a private one may be, to verify what is
/// old.
#[derive(Clone)]
pub struct RsaPublicKey(RsaKey);

impl RsaPublicKey {
    /// Builds a key from modulus and public exponent; leading zeros are allowed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if a number is even or out of range (the exponent has at most 33
    /// bits), [`Error::UnsupportedKeySize`].
    pub fn new(modulus: &[u8], public_exponent: &[u8]) -> Result<Self> {
        let [n, e] = [number(modulus)?, number(public_exponent)?];
        // SAFETY: both numbers are valid; RSA_new_public_key copies and checks them, and the caller
        // owns the result.
        let rsa = unsafe {
            Owned::new(
                RSA_new_public_key(n.as_ptr(), e.as_ptr()),
                Error::InvalidKey("the RSA modulus or public exponent is out of range"),
            )
        }?;
        Self::from_pkey(Pkey::from_rsa(&rsa)?)
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 5280).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not RSA, [`Error::UnsupportedKeySize`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        Self::from_pkey(Pkey::from_spki_der(der)?)
    }

    fn from_pkey(pkey: Pkey) -> Result<Self> {
        let key = RsaKey::new(pkey)?;
        if !PUBLIC_BITS.contains(&key.bits()) {
            return Err(Error::UnsupportedKeySize);
        }
        Ok(Self(key))
    }

    /// The DER SubjectPublicKeyInfo (RFC 5280), with the algorithm rsaEncryption.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.0.pkey.spki_der()
    }

    /// The modulus, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> Vec<u8> {
        self.0.modulus()
    }

    /// The public exponent, without leading zeros.
    #[must_use]
    pub fn public_exponent(&self) -> Vec<u8> {
        self.0.public_exponent()
    }

    /// The length of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.0.bits()
    }

    /// The length of the modulus in bytes: k, that of every signature and ciphertext.
    #[must_use]
    pub fn modulus_length(&self) -> usize {
        self.0.modulus_length()
    }

    /// Checks a signature that [`sign_pkcs1_raw`](super::RsaPrivateKey::sign_pkcs1_raw) made for
    /// the same `data`.
    ///
    /// # Errors
    ///
    /// [`Error::SignatureLength`], [`Error::SignatureInvalid`].
    pub fn verify_pkcs1_raw(&self, data: &[u8], signature: &[u8]) -> Result<()> {
        if self.recover_pkcs1(signature)? == data { Ok(()) } else { Err(Error::SignatureInvalid) }
    }

    /// Returns the data inside a PKCS#1 v1.5 signature (C_VerifyRecover with CKM_RSA_PKCS).
    ///
    /// # Errors
    ///
    /// [`Error::SignatureLength`], or [`Error::SignatureInvalid`] if the padding is not that of a
    /// signature.
    pub fn recover_pkcs1(&self, signature: &[u8]) -> Result<Vec<u8>> {
        self.0.check_length(signature, Error::SignatureLength)?;
        self.0
            .transform(Transform::Verify, RSA_PKCS1_PADDING, signature, Error::SignatureInvalid)
            .map(public)
    }

    /// Checks an RSASSA-PSS signature (RFC 8017 section 8.1) with a salt of exactly `salt_length`
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is not as long as `hash` makes them,
    /// [`Error::ParameterInvalid`] if hash and salt do not fit into the key,
    /// [`Error::SignatureLength`], [`Error::SignatureInvalid`].
    pub fn verify_pss(
        &self,
        hash: Hash,
        mgf_hash: Hash,
        salt_length: usize,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let salt_length = self.0.pss_salt_length(hash, salt_length, digest)?;
        self.0.check_length(signature, Error::SignatureLength)?;
        // SAFETY: the key is valid and this is no mutation of it; the buffers are valid for the
        // lengths passed along.
        let returned = unsafe {
            RSA_verify_pss_mgf1(
                self.0.rsa(),
                digest.as_ptr(),
                digest.len(),
                hash.evp(),
                mgf_hash.evp(),
                salt_length,
                signature.as_ptr(),
                signature.len(),
            )
        };
        check(returned, Error::SignatureInvalid)
    }

    /// Raises `input` to the public exponent: the public side of CKM_RSA_X_509. Returns k bytes.
    ///
    /// `input` has at most k bytes and counts as if zeros stood before it.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if it has more than k bytes, [`Error::DataInvalid`] if it is not below
    /// the modulus.
    pub fn raw(&self, input: &[u8]) -> Result<Vec<u8>> {
        let block = self.0.padded_block(input)?;
        self.0.transform(Transform::Encrypt, RSA_NO_PADDING, &block, Error::DataInvalid).map(public)
    }

    /// Encrypts at most k - 11 bytes by RSAES-PKCS1-v1_5 (RFC 8017 section 7.2).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `plaintext` is too long.
    pub fn encrypt_pkcs1(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        if plaintext.len() > self.modulus_length() - PKCS1_OVERHEAD {
            return Err(Error::DataLength);
        }
        let error = Error::Internal("RSA could not encrypt");
        self.0.transform(Transform::Encrypt, RSA_PKCS1_PADDING, plaintext, error).map(public)
    }

    /// Encrypts at most k - 2h - 2 bytes by RSAES-OAEP (RFC 8017 section 7.1), h being the length
    /// of `hash`.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `plaintext` is too long.
    pub fn encrypt_oaep(
        &self,
        hash: Hash,
        mgf_hash: Hash,
        label: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>> {
        if plaintext.len() + 2 * hash.length() + 2 > self.modulus_length() {
            return Err(Error::DataLength);
        }
        self.0.oaep(Direction::Encrypt, hash, mgf_hash, label, plaintext).map(public)
    }
}

impl PartialEq for RsaPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus() == other.modulus() && self.public_exponent() == other.public_exponent()
    }
}

impl Eq for RsaPublicKey {}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPublicKey").field("bits", &self.bits()).finish_non_exhaustive()
    }
}

const PUBLIC_BITS: std::ops::RangeInclusive<u32> = 505..=8192;
