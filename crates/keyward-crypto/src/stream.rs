//! STREAM over AES-256-GCM: one long message in chunks, each opened and checked before the next
//! one is read.
//!
//! The construction is that of Hoang, Reyhanitabar, Rogaway and Vizár, "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (CRYPTO 2015), with the nonce as
//! age lays it out: an 88-bit counter, big-endian, and a byte that is 1 for the last chunk and 0
//! for all others. Chunks that were changed, left out, repeated, put in another order, cut off or
//! appended do not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, unless_out_of_memory};

/// What a sealed chunk is longer by than its plaintext, in bytes.
pub const STREAM_OVERHEAD: usize = 16;

/// Seals the chunks of one message.
///
/// Nonces are counted, so the key must be one that nothing else was or will be sealed with.
pub struct StreamSealer(Chunks);

/// Opens the chunks of one message, in their order.
pub struct StreamOpener(Chunks);

struct Chunks {
    key: LessSafeKey,
    /// Chunks so far.
    count: u64,
    /// The last chunk is behind.
    ended: bool,
}

impl StreamSealer {
    /// Sets up the key of one message.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Chunks::new(key))
    }

    /// Returns ciphertext (as long as `chunk`) and tag (16 bytes). `last` says that nothing follows.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] after the last chunk, and if `chunk` exceeds GCM's limit of some 64
    /// GiB.
    pub fn seal(&mut self, chunk: &[u8], last: bool) -> Result<Vec<u8>> {
        let nonce = self.0.next(last).ok_or(Error::DataLength)?;
        let mut sealed = Vec::with_capacity(chunk.len() + STREAM_OVERHEAD);
        sealed.extend_from_slice(chunk);
        let key = &self.0.key;
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .map_err(|_| Error::DataLength)?;
        Ok(sealed)
    }
}

impl StreamOpener {
    /// Sets up the key of one message.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Chunks::new(key))
    }

    /// Returns the plaintext of the next chunk. `last` is what whoever reads knows from elsewhere:
    /// nothing follows.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthentic`] if it is not the next chunk of this message, or is the last one and
    /// should not be, or the reverse.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Zeroizing<Vec<u8>>> {
        let nonce = self.0.next(last).ok_or(Error::Unauthentic)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let opened = self.0.key.open_in_place(nonce, Aad::empty(), &mut buffer);
        let length = opened.map_err(|_| Error::Unauthentic)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl Chunks {
    fn new(key: &[u8; 32]) -> Self {
        // The only other cause would be a wrong length, and the type excludes that.
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| OUT_OF_MEMORY);
        Self { key: LessSafeKey::new(unless_out_of_memory(key)), count: 0, ended: false }
    }

    fn next(&mut self, last: bool) -> Option<Nonce> {
        if self.ended {
            return None;
        }
        self.ended = last;
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 9..NONCE_LEN - 1].copy_from_slice(&self.count.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(last);
        self.count = self.count.checked_add(1)?;
        Some(Nonce::assume_unique_for_key(nonce))
    }
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(StreamSealer, StreamOpener);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut sealer = StreamSealer::new(&KEY);
        let last = chunks.len() - 1;
        let sealed = chunks.iter().enumerate();
        sealed.map(|(at, chunk)| sealer.seal(chunk, at == last).unwrap()).collect()
    }

    fn opened(chunks: &[Vec<u8>]) -> Result<Vec<u8>> {
        let mut opener = StreamOpener::new(&KEY);
        let mut whole = Vec::new();
        for (at, chunk) in chunks.iter().enumerate() {
            whole.extend_from_slice(&opener.open(chunk, at == chunks.len() - 1)?);
        }
        Ok(whole)
    }

    #[test]
    fn only_the_message_as_it_was_sealed_opens() {
        let chunks = sealed(&[b"one", b"two", b"three", b""]);
        assert_eq!(opened(&chunks).unwrap(), b"onetwothree");
        let mut damaged = vec![
            chunks[..3].to_vec(),
            chunks[1..].to_vec(),
            [&chunks[..1], &chunks[2..]].concat(),
            [&chunks[..2], &chunks[1..]].concat(),
            vec![chunks[1].clone(), chunks[0].clone(), chunks[2].clone(), chunks[3].clone()],
            [&chunks[..], &chunks[3..]].concat(),
        ];
        for (chunk, byte) in [(0, 0), (1, 3), (3, 15)] {
            let mut flipped = chunks.clone();
            flipped[chunk][byte] ^= 1;
            damaged.push(flipped);
        }
        for (number, message) in damaged.iter().enumerate() {
            assert_eq!(opened(message).unwrap_err(), Error::Unauthentic, "{number}");
        }
        assert!(StreamOpener::new(&[8; 32]).open(&chunks[0], false).is_err());
    }

    #[test]
    fn nothing_is_sealed_or_opened_after_the_last_chunk() {
        let mut sealer = StreamSealer::new(&KEY);
        let only = sealer.seal(b"x", true).unwrap();
        assert_eq!(sealer.seal(b"y", true), Err(Error::DataLength));
        let mut opener = StreamOpener::new(&KEY);
        opener.open(&only, true).unwrap();
        assert!(opener.open(&only, true).is_err());
    }

    /// The nonce is what the construction says: AES-256-GCM by the other key type agrees.
    #[test]
    fn the_nonce_is_a_counter_and_the_last_byte() {
        let chunks = sealed(&[b"first", b"second"]);
        let key = crate::SealingKey::new(&KEY);
        for (nonce, chunk, text) in [
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &chunks[0], b"first".as_slice()),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &chunks[1], b"second"),
        ] {
            assert_eq!(
                key.open(b"", &[&nonce, chunk.as_slice()].concat()).unwrap().as_slice(),
                text
            );
        }
    }
}
