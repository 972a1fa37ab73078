//! AES-256-GCM for data at rest and for blobs that travel through other hands.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, unless_out_of_memory};

/// A key that seals: what it sealed can be neither read nor changed without it.
///
/// Every seal draws a random 96-bit nonce, so one key is good for 2^32 seals (NIST SP 800-38D
/// section 8.3).
pub struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    /// Sets up the key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // The only other cause would be a wrong length, and the type excludes that.
        Self(unless_out_of_memory(
            RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| OUT_OF_MEMORY),
        ))
    }

    /// Returns nonce (12 bytes), ciphertext (as long as `plaintext`) and tag (16 bytes).
    ///
    /// `aad` is not part of the result and has to be the same in [`open`](Self::open): put the
    /// context into it.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `plaintext` exceeds GCM's limit of some 64 GiB.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        // The nonce is known only afterwards, so the text is encrypted where it will stay, behind
        // the nonce's place.
        let mut sealed = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LENGTH);
        sealed.resize(NONCE_LEN, 0);
        sealed.extend_from_slice(plaintext);
        let (nonce, tag) = self
            .0
            .seal_in_place_separate_tag(Aad::from(aad), &mut sealed[NONCE_LEN..])
            .map_err(|_| Error::DataLength)?;
        sealed[..NONCE_LEN].copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Returns the plaintext of what [`seal`](Self::seal) returned for the same `aad`.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthentic`] if `sealed` or `aad` was changed, or another key sealed it.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Unauthentic)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Unauthentic)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(aad), &mut buffer)
            .map_err(|_| Error::Unauthentic)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").finish_non_exhaustive()
    }
}

/// Bytes of a GCM tag.
const TAG_LENGTH: usize = 16;
