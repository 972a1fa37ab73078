//! Why a master key is not to be had.

use std::io;
use std::path::PathBuf;

use crate::files::FileError;

/// Why a master key is not to be had, or cannot be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// What holds it cannot be read or written, or holds something else.
    #[error(transparent)]
    File(#[from] FileError),
    /// The HSM is not there.
    #[error("the HSM {hsm:?}, which seals the master key, cannot be asked: {trouble}")]
    Away {
        /// Its name.
        hsm: String,
        /// What is in the way.
        trouble: String,
    },
    /// The HSM did not take the PIN.
    #[error(
        "the HSM {hsm:?}, which seals the master key, did not take the PIN: {trouble}; it was tried once, and each try counts there: put the right one in its place before the next"
    )]
    PinRefused {
        /// Its name.
        hsm: String,
        /// What it said.
        trouble: String,
    },
    /// The key that sealed it is not in the HSM.
    #[error(
        "the key {key} that sealed {file} is not in the HSM {hsm:?} any more, or not in this token: {tokens}; bring it back by the HSM's own means, or take the copy of the master key that was kept elsewhere"
    )]
    KeyGone {
        /// What holds the sealed key.
        file: PathBuf,
        /// The HSM's name.
        hsm: String,
        /// Its label and CKA_ID.
        key: String,
        /// What sealed it, and what is there.
        tokens: String,
    },
    /// The HSM does not decrypt it.
    #[error(
        "{file} was changed, or the key {key} of the HSM {hsm:?} is another than the one that sealed it: {reason}; take another copy of it"
    )]
    NotOpened {
        /// What holds the sealed key.
        file: PathBuf,
        /// The HSM's name.
        hsm: String,
        /// Its label and CKA_ID.
        key: String,
        /// What the HSM said.
        reason: String,
    },
    /// The HSM does not do what is asked of it, or has no key that could.
    #[error("the HSM {hsm:?} does not seal the master key: {reason}")]
    Unfit {
        /// Its name.
        hsm: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// No HSM, or not one, is meant.
    #[error("{0}")]
    Which(String),
    /// The system refused a thread.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}
