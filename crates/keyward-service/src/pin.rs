//! PINs and their hashes.

use std::time::Instant;

use argon2::{Algorithm, Argon2, Params, Version};
use keyward_crypto::random;
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use crate::store::records::PinRecord;

/// A PIN on its way to its hash; wiped when dropped.
pub(crate) type Pin = Zeroizing<Vec<u8>>;

/// A PIN that may be set: 4 to 255 bytes.
///
/// # Errors
/// CKR_PIN_LEN_RANGE.
pub(crate) fn acceptable(pin: Vec<u8>) -> Result<Pin> {
    let pin = Zeroizing::new(pin);
    if LENGTHS.contains(&pin.len()) {
        Ok(pin)
    } else {
        Err(Error::new(ErrorCode::PinLenRange, "a PIN is 4 to 255 bytes long"))
    }
}

/// Hashes a PIN: some 20 ms of a processor.
pub(crate) fn hash(pin: &[u8]) -> Result<PinRecord> {
    let salt = random::bytes::<16>();
    let mut record = PinRecord {
        memory: MEMORY_KIB,
        passes: PASSES,
        lanes: 1,
        salt: salt.to_vec(),
        hash: Vec::new(),
    };
    record.hash = compute(&record, pin)?.to_vec();
    Ok(record)
}

/// Whether it is the PIN that was hashed. Takes as long as [`hash`].
pub(crate) fn verify(record: &PinRecord, pin: &[u8]) -> Result<bool> {
    let started = Instant::now();
    let computed = compute(record, pin)?;
    tracing::trace!(elapsed = ?started.elapsed(), "a PIN was hashed");
    let difference =
        computed.iter().zip(&record.hash).fold(0, |difference, (a, b)| difference | (a ^ b));
    Ok(record.hash.len() == computed.len() && difference == 0)
}

fn compute(record: &PinRecord, pin: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let mut hash = Zeroizing::new([0; 32]);
    Params::new(record.memory, record.passes, record.lanes, Some(hash.len()))
        .and_then(|params| {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                pin,
                &record.salt,
                &mut *hash,
            )
        })
        .map_err(|error| Error::new(ErrorCode::Internal, format!("cannot hash a PIN: {error}")))?;
    Ok(hash)
}

/// Of a PIN, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=255;

// Some 20 ms: guessing is stopped by the counters, and many nodes that start at
// once must not be stopped by the hash.
const MEMORY_KIB: u32 = 12 * 1024;
const PASSES: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pin_itself_verifies() {
        let record = hash(b"1234").unwrap();
        assert!(verify(&record, b"1234").unwrap());
        assert!(!verify(&record, b"1235").unwrap());
        assert!(!verify(&record, b"").unwrap());
        assert_ne!(hash(b"1234").unwrap().hash, record.hash);
    }

    #[test]
    fn lengths_out_of_range_are_refused() {
        for (length, fine) in [(3, false), (4, true), (255, true), (256, false)] {
            assert_eq!(acceptable(vec![b'x'; length]).is_ok(), fine, "{length}");
        }
    }
}
