//! The master key, wrapped by a passphrase: argon2id makes the key that seals
//! it.

use argon2::{Algorithm, Argon2, Params, Version};
use keyward_crypto::{SealingKey, random};
use zeroize::Zeroizing;

use super::format::PassphraseRecord;
use crate::store::vault::Secret;

/// Why a passphrase does not give the master key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WrongPassphrase {
    Wrong,
    /// The record is none that this program makes.
    Unusable,
}

/// Wraps a master key. Takes about a second of a processor.
pub(super) fn wrap(passphrase: &[u8], master: &Secret) -> Option<PassphraseRecord> {
    let salt = random::bytes::<16>().to_vec();
    let mut record = PassphraseRecord {
        memory: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt,
        master_key: Vec::new(),
    };
    let key = derive(&record, passphrase)?;
    record.master_key = SealingKey::new(&key).seal(CONTEXT, &**master).ok()?;
    Some(record)
}

/// The master key of a record. Takes as long as [`wrap`].
pub(super) fn unwrap(
    record: &PassphraseRecord,
    passphrase: &[u8],
) -> Result<Secret, WrongPassphrase> {
    // Whoever made the file must not be able to have this take a day, or all
    // memory.
    if record.memory > MOST_MEMORY_KIB || record.passes > MOST_PASSES || record.lanes > MOST_LANES {
        return Err(WrongPassphrase::Unusable);
    }
    let key = derive(record, passphrase).ok_or(WrongPassphrase::Unusable)?;
    let master = SealingKey::new(&key)
        .open(CONTEXT, &record.master_key)
        .map_err(|_| WrongPassphrase::Wrong)?;
    let master: [u8; 32] = master.as_slice().try_into().map_err(|_| WrongPassphrase::Unusable)?;
    Ok(Zeroizing::new(master))
}

fn derive(record: &PassphraseRecord, passphrase: &[u8]) -> Option<Secret> {
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(record.memory, record.passes, record.lanes, Some(key.len())).ok()?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &record.salt, &mut *key)
        .ok()?;
    Some(key)
}

/// What is authenticated with a wrapped master key.
const CONTEXT: &[u8] = b"keyward backup: master key";

// Four times the memory of RFC 9106's second recommended choice: a file that
// lies about for years may be guessed at without anybody counting.
const MEMORY_KIB: u32 = 256 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// RFC 9106's first recommended choice has 2 GiB.
const MOST_MEMORY_KIB: u32 = 2 << 20;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_itself_gives_the_key_and_a_record_cannot_ask_for_everything() {
        let master = Zeroizing::new([5; 32]);
        let record = wrap(b"correct horse battery", &master).unwrap();
        assert_eq!(*unwrap(&record, b"correct horse battery").unwrap(), *master);
        assert_eq!(unwrap(&record, b"correct horse").unwrap_err(), WrongPassphrase::Wrong);
        for greedy in [
            PassphraseRecord { memory: u32::MAX, ..record.clone() },
            PassphraseRecord { passes: 1 << 20, ..record.clone() },
            PassphraseRecord { lanes: 1000, ..record.clone() },
        ] {
            assert_eq!(unwrap(&greedy, b"x").unwrap_err(), WrongPassphrase::Unusable);
        }
    }
}
