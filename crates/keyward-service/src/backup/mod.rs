//! Backups: a service's whole store in one encrypted file.
//!
//! A running service makes one of a single revision and sends it to an
//! administrator (`engine/backup.rs`); what was sealed in the store stays
//! sealed as it is, and all of it is sealed once more, by a key that is derived
//! from the data key. Whoever has the master key, or the passphrase that it was
//! wrapped by, reads it: [`verify`] looks at everything, and
//! [`transfer`](crate::transfer) makes a service of it.

mod format;
mod inventory;
mod passphrase;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

use prost::Message;
use zeroize::Zeroizing;

use self::format::{HeaderRecord, PassphraseRecord};
pub(crate) use self::inventory::Inventory;
pub use self::inventory::{IdentitySummary, Objects, Summary, TokenSummary};
pub(crate) use self::reader::Reader;
pub(crate) use self::writer::Writer;
use crate::files::FileError;
use crate::master::{Master, MasterKeyError};

/// What a backup is opened by.
#[derive(Clone, Debug)]
pub enum Key {
    /// The service's master key.
    Master(Master),
    /// A passphrase's bytes, if it was made with one.
    Passphrase(Zeroizing<Vec<u8>>),
}

/// What a backup says of itself without a key. It is sure only once the backup
/// was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Name and version of the service that made it.
    pub software: String,
    /// The store's random number.
    pub incarnation: u64,
    /// The number of the last change that is in it.
    pub sequence: u64,
    /// How many entries of the store it holds.
    pub entries: u64,
    /// Whether a passphrase opens it.
    pub passphrase: bool,
}

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The master key cannot be read.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// It is something else.
    #[error("{0} is no Keyward backup, or its beginning is damaged")]
    NotABackup(PathBuf),
    /// A later version made it.
    #[error("{0} was made by a later version of Keyward; use that version or a newer one")]
    TooNew(PathBuf),
    /// It is not what was written.
    #[error("{0} is damaged or incomplete; take another copy of it, or an earlier backup")]
    Damaged(PathBuf),
    /// The master key is another service's, or was changed since.
    #[error(
        "the master key {master_key} does not open {path}; use the master key that the service had when the backup was made"
    )]
    WrongMasterKey {
        /// The backup.
        path: PathBuf,
        /// The key's file, or the name of its credential.
        master_key: PathBuf,
    },
    /// It was made with another passphrase.
    #[error("the passphrase is not the one of {0}")]
    WrongPassphrase(PathBuf),
    /// It was made without one.
    #[error("{0} was made without a passphrase; it is opened by the service's master key")]
    NoPassphrase(PathBuf),
    /// The file is whole, and still a value in it cannot be used.
    #[error("{path} is whole, but holds a value that does not decrypt or does not parse: {key}")]
    Unreadable {
        /// The backup.
        path: PathBuf,
        /// The value's key in the store.
        key: String,
    },
    /// A passphrase that is to wrap a master key is too short.
    #[error(
        "the passphrase has fewer than {SHORTEST_PASSPHRASE} characters; it is all that keeps the keys from whoever finds the file"
    )]
    ShortPassphrase,
}

impl Info {
    fn of(header: &HeaderRecord) -> Self {
        Self {
            created: header.created,
            software: header.software.clone(),
            incarnation: header.incarnation,
            sequence: header.sequence,
            entries: header.entries,
            passphrase: header.passphrase.is_some(),
        }
    }
}

/// Reads what a backup says of itself.
///
/// # Errors
/// [`BackupError`] if it is none.
pub fn info(path: &Path) -> Result<Info, BackupError> {
    Ok(Info::of(&reader::header(path)?.0.record))
}

/// Reads a whole backup and sees to it that every value in it decrypts and
/// parses. Memory is bounded: entries are looked at one by one.
///
/// # Errors
/// Of each kind of [`BackupError`].
pub fn verify(path: &Path, key: &Key) -> Result<Summary, BackupError> {
    let mut reader = Reader::open(path, key)?;
    let mut inventory = Inventory::default();
    while let Some((key, value)) = reader.next_entry()? {
        inventory
            .add(reader.vault(), &key, &value)
            .map_err(|_| BackupError::Unreadable { path: path.to_owned(), key })?;
    }
    Ok(inventory.summary(reader.info()))
}

/// Wraps a master key by a passphrase, for [`keyward_wire::Backup`]. Takes about
/// a second of a processor, and 256 MiB.
///
/// # Errors
/// [`BackupError::MasterKey`], [`BackupError::ShortPassphrase`].
pub fn wrap_master_key(master: &Master, passphrase: &str) -> Result<Vec<u8>, BackupError> {
    if passphrase.chars().count() < SHORTEST_PASSPHRASE {
        return Err(BackupError::ShortPassphrase);
    }
    let key = master.read()?;
    let record = passphrase::wrap(passphrase.as_bytes(), &key).ok_or_else(|| {
        FileError::content(master.name(), "cannot be wrapped: there is no memory for it")
    })?;
    Ok(record.encode_to_vec())
}

/// A wrapped master key as it came over the wire.
pub(crate) fn wrapped_master_key(encoded: &[u8]) -> Option<Option<PassphraseRecord>> {
    if encoded.is_empty() {
        return Some(None);
    }
    if encoded.len() > LONGEST_WRAPPED {
        return None;
    }
    PassphraseRecord::decode(encoded).ok().map(Some)
}

/// In characters.
const SHORTEST_PASSPHRASE: usize = 12;
/// Of an encoded record, in bytes.
const LONGEST_WRAPPED: usize = 1024;

#[cfg(test)]
mod tests;
