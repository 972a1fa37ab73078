//! A digest in the making as bytes, to go on with later or elsewhere.
//!
//! Of SHA-1 and SHA-2 AWS-LC's headers say what the state is; of SHA-3 they do not.

use aws_lc_sys::{SHA_CTX, SHA256_CTX, SHA512_CTX};

use super::{Digester, Hash};
use crate::error::{Error, Result};

impl Digester {
    /// The state: what hash it is, its chaining value, how many bytes have come, and those that
    /// are not digested yet. `None` for MD5 and SHA-3.
    #[must_use]
    pub fn state(&self) -> Option<Vec<u8>> {
        let (chain, bytes, rest) = match Kind::of(self.hash)? {
            Kind::Sha1 => {
                // SAFETY: an initialised context of SHA-1 has its state behind this pointer, and
                // nothing changes it meanwhile.
                let state = unsafe { &*(*self.context.as_ptr()).md_data.cast::<SHA_CTX>() };
                (words(&state.h), count(state.Nh, state.Nl), &state.data[..])
            }
            Kind::Sha256 => {
                // SAFETY: as above, for SHA-224 and SHA-256.
                let state = unsafe { &*(*self.context.as_ptr()).md_data.cast::<SHA256_CTX>() };
                (words(&state.h), count(state.Nh, state.Nl), &state.data[..])
            }
            Kind::Sha512 => {
                // SAFETY: as above, for the larger ones.
                let state = unsafe { &*(*self.context.as_ptr()).md_data.cast::<SHA512_CTX>() };
                let chain = state.h.iter().flat_map(|word| word.to_be_bytes()).collect();
                let bits = u128::from(state.Nh) << 64 | u128::from(state.Nl);
                (chain, u64::try_from(bits / 8).ok()?, &state.p[..])
            }
        };
        let buffered = (bytes % rest.len() as u64) as usize;
        let mut state = vec![VERSION, number(self.hash)];
        state.extend(chain);
        state.extend(bytes.to_be_bytes());
        state.extend_from_slice(&rest[..buffered]);
        Some(state)
    }

    /// Goes on from what [`state`](Self::state) gave.
    ///
    /// # Errors
    ///
    /// [`Error::DataInvalid`] if it is no such state.
    pub fn from_state(state: &[u8]) -> Result<Self> {
        let [VERSION, hash, rest @ ..] = state else { return Err(Error::DataInvalid) };
        let hash = Hash::ALL
            .into_iter()
            .find(|known| number(*known) == *hash)
            .ok_or(Error::DataInvalid)?;
        let kind = Kind::of(hash).ok_or(Error::DataInvalid)?;
        let (chain, rest) = rest.split_at_checked(kind.chain()).ok_or(Error::DataInvalid)?;
        let (bytes, rest) = rest.split_first_chunk().ok_or(Error::DataInvalid)?;
        let bytes = u64::from_be_bytes(*bytes);
        if rest.len() as u64 != bytes % kind.block() || bytes > MOST_BYTES {
            return Err(Error::DataInvalid);
        }
        let digester = Self::new(hash);
        let (high, low) = ((bytes >> 29) as u32, (bytes << 3) as u32);
        match kind {
            Kind::Sha1 => {
                // SAFETY: as in `state`; nobody else has this context. What is buffered is shorter
                // than a block, which `num` says.
                let state = unsafe { &mut *(*digester.context.as_ptr()).md_data.cast::<SHA_CTX>() };
                put_words(chain, &mut state.h);
                (state.Nh, state.Nl, state.num) = (high, low, rest.len() as u32);
                state.data[..rest.len()].copy_from_slice(rest);
            }
            Kind::Sha256 => {
                // SAFETY: as above.
                let state =
                    unsafe { &mut *(*digester.context.as_ptr()).md_data.cast::<SHA256_CTX>() };
                put_words(chain, &mut state.h);
                (state.Nh, state.Nl, state.num) = (high, low, rest.len() as u32);
                state.data[..rest.len()].copy_from_slice(rest);
            }
            Kind::Sha512 => {
                // SAFETY: as above.
                let state =
                    unsafe { &mut *(*digester.context.as_ptr()).md_data.cast::<SHA512_CTX>() };
                for (word, bytes) in state.h.iter_mut().zip(chain.as_chunks().0) {
                    *word = u64::from_be_bytes(*bytes);
                }
                (state.Nh, state.Nl, state.num) = (0, bytes << 3, rest.len() as u32);
                state.p[..rest.len()].copy_from_slice(rest);
            }
        }
        Ok(digester)
    }
}

/// Hashes with states alike.
#[derive(Clone, Copy)]
enum Kind {
    Sha1,
    Sha256,
    Sha512,
}

impl Kind {
    fn of(hash: Hash) -> Option<Self> {
        Some(match hash {
            Hash::Sha1 => Self::Sha1,
            Hash::Sha224 | Hash::Sha256 => Self::Sha256,
            Hash::Sha384 | Hash::Sha512 | Hash::Sha512_224 | Hash::Sha512_256 => Self::Sha512,
            Hash::Md5 | Hash::Sha3_224 | Hash::Sha3_256 | Hash::Sha3_384 | Hash::Sha3_512 => {
                return None;
            }
        })
    }

    /// The length of the chaining value, in bytes.
    fn chain(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The length of a block, in bytes.
    fn block(self) -> u64 {
        match self {
            Self::Sha1 | Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A hash's number in a state. It never changes.
fn number(hash: Hash) -> u8 {
    match hash {
        Hash::Md5 => 0,
        Hash::Sha1 => 1,
        Hash::Sha224 => 2,
        Hash::Sha256 => 3,
        Hash::Sha384 => 4,
        Hash::Sha512 => 5,
        Hash::Sha512_224 => 6,
        Hash::Sha512_256 => 7,
        Hash::Sha3_224 => 8,
        Hash::Sha3_256 => 9,
        Hash::Sha3_384 => 10,
        Hash::Sha3_512 => 11,
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn put_words(bytes: &[u8], words: &mut [u32]) {
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
}

/// Bytes, of a number of bits in two halves.
fn count(high: u32, low: u32) -> u64 {
    (u64::from(high) << 32 | u64::from(low)) >> 3
}

/// Of the form.
const VERSION: u8 = 1;

/// So that the number of bits fits into 64 (FIPS 180-4 section 5.1).
const MOST_BYTES: u64 = u64::MAX >> 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_goes_on_from_its_state() {
        let data: Vec<u8> = (0..1000_u32).map(|byte| byte as u8).collect();
        for hash in Hash::ALL {
            for at in [0, 1, 63, 64, 65, 127, 128, 129, 300, 999] {
                let mut digester = Digester::new(hash);
                digester.update(&data[..at]);
                let Some(state) = digester.state() else {
                    assert!(Kind::of(hash).is_none());
                    continue;
                };
                let mut other = Digester::from_state(&state).unwrap();
                assert_eq!(other.state().unwrap(), state);
                other.update(&data[at..]);
                assert_eq!(other.finish(), hash.digest(&data), "{hash} {at}");
                for cut in 0..state.len() {
                    assert!(Digester::from_state(&state[..cut]).is_err());
                }
                let longer = [&state[..], &[0]].concat();
                assert!(Digester::from_state(&longer).is_err());
            }
        }
        assert!(Digester::from_state(&[2, 3]).is_err());
        let mut endless = vec![1, 3];
        endless.extend([0; 32]);
        endless.extend((u64::MAX - 63).to_be_bytes());
        assert!(Digester::from_state(&endless).is_err());
    }
}
