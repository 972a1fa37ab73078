//! Random numbers for the host. AWS-LC's generator seeds itself; what the host
//! adds as a seed is mixed into what the host gets, and can make it no worse.

use std::sync::{Mutex, PoisonError};

use keyward_crypto::digest::{Digester, Hash};
use keyward_crypto::random;
use zeroize::Zeroizing;

/// The host's random numbers.
#[derive(Debug, Default)]
pub(crate) struct Random {
    /// The seeds so far, digested; `None`: there was none.
    pool: Mutex<Option<Zeroizing<Vec<u8>>>>,
}

impl Random {
    /// Mixes a seed in.
    pub(crate) fn seed(&self, seed: &[u8]) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pool.take().unwrap_or_default();
        *pool = Some(digest(&[&before, seed]));
    }

    /// Fills the buffer.
    pub(crate) fn fill(&self, buffer: &mut [u8]) {
        random::fill(buffer);
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = &mut *pool else { return };
        // The state moves on, so that no mask comes twice.
        *state = digest(&[state, b"next"]);
        let state = state.clone();
        drop(pool);
        for (count, block) in buffer.chunks_mut(HASH.length()).enumerate() {
            let mask = digest(&[&state, &count.to_be_bytes()]);
            block.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

fn digest(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut digester = Digester::new(HASH);
    parts.iter().for_each(|part| digester.update(part));
    digester.finish().into()
}

const HASH: Hash = Hash::Sha512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_never_makes_what_follows_predictable() {
        let (one, other) = (Random::default(), Random::default());
        let mut seen = std::collections::HashSet::new();
        for random in [&one, &other, &one] {
            random.seed(b"the same seed");
            for length in [1, 64, 65, 1000] {
                let mut buffer = vec![0; length];
                random.fill(&mut buffer);
                assert!(length == 1 || seen.insert(buffer), "numbers came twice");
            }
        }
    }

    #[test]
    fn a_seed_is_mixed_in() {
        let random = Random::default();
        assert!(random.pool.lock().unwrap().is_none());
        random.seed(b"a");
        let first = random.pool.lock().unwrap().clone();
        random.seed(b"b");
        assert_ne!(*random.pool.lock().unwrap(), first);
    }
}
