//! Whole stores on their way: from a backup, or from one store to another.
//!
//! The destination is empty at first. It becomes a store with the last thing
//! that is written, after everything was read back and found to open, and has
//! an incarnation of its own: modules that know the old one look anew.

mod copy;
mod restore;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::copy::{Copied, copy};
pub use self::restore::{Place, Restore, Restored, restore_into_folder, restore_into_store};
use crate::backup::{BackupError, Inventory};
use crate::config::{Config, StoreKind};
use crate::files::FileError;
use crate::init::InitError;
use crate::master::MasterKeyError;
use crate::server::{self, ServeError};
use crate::state::Unreadable;
use crate::store::load::{LoadError, Loader};
use crate::store::redb::{OpenError, Redb};
use crate::store::vault::{Unauthentic, Vault};
use crate::store::{Store, StoreError, Transaction, paths};

/// Why a store was not filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The backup cannot be used. Nothing was written.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder of the new service cannot be made. It is as it was.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A store cannot be opened. Nothing was written.
    #[error(transparent)]
    Open(#[from] ServeError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A master key is not to be had.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// Both configurations name the same store.
    #[error("both configurations name the store {0}; name another destination")]
    SameStore(String),
    /// The destination holds something. Nothing was written.
    #[error("the store {0} is not empty, and nothing was written; name one that is not there yet")]
    NotEmpty(String),
    /// An earlier attempt to fill the destination was cut off.
    #[error(
        "the store {0} is half written, by a restore or a copy that was cut off or is still under way; --resume deletes what is there of it and begins anew"
    )]
    HalfWritten(String),
    /// Writing failed in the middle.
    #[error(
        "the store {store} is half written, and no service takes it: {reason}; when that is mended, run this again with --resume"
    )]
    CutOff {
        /// The destination.
        store: String,
        /// What happened.
        reason: String,
    },
    /// The source holds a value that cannot be used. Nothing was written.
    #[error("the store {store} is damaged, and nothing was written: {reason}")]
    Damaged {
        /// The source.
        store: String,
        /// Which value.
        reason: String,
    },
    /// Somebody writes to the source.
    #[error(
        "the store {0} was changed while it was copied, and the copy is not used: stop all its replicas, and run this again with --resume"
    )]
    Changed(String),
    /// The configuration has another authority than the backup.
    #[error(
        "{authority} is not the authority of the backup, so no client would accept the service; restore into a new folder with --dir, which issues a server certificate"
    )]
    OtherAuthority {
        /// The configuration's.
        authority: PathBuf,
    },
    /// The new administrator's name is taken.
    #[error("the backup has an identity {0} already; name another with --admin-name")]
    NameTaken(String),
    /// The system refused a thread.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Takes an entry at a time from a source.
type Source<'a> = dyn FnMut() -> Result<Option<(String, Vec<u8>)>, TransferError> + 'a;

/// The empty store that a configuration names, made if it is a file that is not
/// there.
async fn destination(config: &Config) -> Result<Arc<dyn Store>, TransferError> {
    let path = &config.data;
    if config.store == StoreKind::Redb && !path.exists() {
        let written = |error| FileError::Write { path: path.clone(), error };
        // A kill in the middle leaves nothing under the store's own name that is
        // none.
        let mut draft = path.clone().into_os_string();
        draft.push(".partial");
        let draft = PathBuf::from(draft);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(written(error).into());
            }
            _ => {}
        }
        Redb::create(&draft, Transaction::default()).map_err(|error| match error {
            OpenError::InUse => ServeError::StoreInUse(path.clone()),
            OpenError::Failed(reason) => ServeError::Store { store: config.store_name(), reason },
        })?;
        fs::rename(&draft, path).map_err(written)?;
    }
    Ok(server::connect(config).await?)
}

/// A store that was filled and read back, and lacks nothing but the last word.
struct Filled<'a> {
    loader: Loader<'a>,
    name: &'a str,
    entries: u64,
}

/// Fills a store and reads it back. `name` is for messages.
async fn fill<'a>(
    store: &'a dyn Store,
    name: &'a str,
    resume: bool,
    next: &mut Source<'_>,
    vault: &Vault,
) -> Result<Filled<'a>, TransferError> {
    // One that does not answer is told from one that was half written.
    store.snapshot(paths::META).await.map_err(|error| unopened(name, &error))?;
    let cut_off = |error: &dyn std::fmt::Display| cut_off(name, error);
    let mut loader = Loader::begin(store, resume).await.map_err(|error| match error {
        LoadError::NotEmpty => TransferError::NotEmpty(name.to_owned()),
        LoadError::HalfWritten => TransferError::HalfWritten(name.to_owned()),
        LoadError::Store(error) => cut_off(&error),
    })?;
    let mut entries = 0;
    while let Some((key, value)) = next()? {
        loader.put(key, value).await.map_err(|error| cut_off(&error))?;
        entries += 1;
    }
    let mut inventory = Inventory::default();
    let mut found = 0;
    for (key, value) in loader.written().await.map_err(|error| cut_off(&error))? {
        inventory.add(vault, &key, &value).map_err(|error| cut_off(&error))?;
        found += 1;
    }
    if found != entries {
        return Err(cut_off(&format!("{entries} entries were written and {found} are there")));
    }
    Ok(Filled { loader, name, entries })
}

impl Filled<'_> {
    /// Makes it a store; answers how many entries it has.
    async fn finish(self, wrapped_data_key: Vec<u8>) -> Result<u64, TransferError> {
        let finished = self.loader.finish(wrapped_data_key).await;
        finished.map_err(|error| cut_off(self.name, &error))?;
        Ok(self.entries)
    }
}

fn cut_off(store: &str, error: &dyn std::fmt::Display) -> TransferError {
    TransferError::CutOff { store: store.to_owned(), reason: error.to_string() }
}

fn unopened(store: &str, error: &StoreError) -> TransferError {
    ServeError::Store { store: store.to_owned(), reason: error.to_string() }.into()
}

/// Runs something that waits.
fn wait_for<T>(work: impl Future<Output = Result<T, TransferError>>) -> Result<T, TransferError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Whether an entry goes along: not what a store says of itself.
fn is_carried(key: &str) -> bool {
    !key.starts_with(paths::META)
}

fn damaged(store: &str, error: &Unreadable) -> TransferError {
    TransferError::Damaged { store: store.to_owned(), reason: error.to_string() }
}

fn unwrapped(store: &str, error: &Unauthentic) -> TransferError {
    TransferError::Damaged { store: store.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
