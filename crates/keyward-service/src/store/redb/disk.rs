//! The store's file: opened, and opened anew after it has failed.
//!
//! After an error of the disk redb lets nobody write through the same handle
//! again, so the committer lets go of it and opens the file once more, which
//! repairs it as after a crash. What the failed write has become is known then.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::{Builder, Database, DatabaseError, StorageError};

use super::{OpenError, lock};
use crate::store::StoreError;

/// The file and the database in it.
pub(super) struct Disk {
    path: PathBuf,
    /// `None` after a failure until it is opened anew, and once it is closed.
    database: Mutex<Option<Arc<Database>>>,
    /// Why nothing can be written at present.
    trouble: Mutex<Option<String>>,
}

impl Disk {
    /// Opens a file that exists, and reads all of it to see that it is whole.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let database = match open(path, true) {
            // The check writes its result. A full disk must not keep a service
            // from starting: whatever it can read it can serve.
            Err(error) if is_full(&error) => open(path, false),
            other => other,
        };
        let database = Mutex::new(Some(Arc::new(database.map_err(|error| refusal(&error))?)));
        Ok(Self { path: path.to_owned(), database, trouble: Mutex::new(None) })
    }

    /// The database, if it is open.
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        lock(&self.database).clone()
    }

    /// The database, opened anew if it had to be let go of.
    pub(super) fn reopened(&self) -> Result<Arc<Database>, DatabaseError> {
        let mut current = lock(&self.database);
        if let Some(database) = &*current {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(open(&self.path, false)?);
        *current = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Lets go of the file.
    pub(super) fn let_go(&self) {
        drop(lock(&self.database).take());
    }

    /// Remembers why nothing can be written; the log says so once.
    pub(super) fn fails(&self, error: &redb::Error) -> StoreError {
        let reason = format!("{} cannot be written: {}", self.path.display(), plain(error));
        let new = lock(&self.trouble).replace(reason.clone()).is_none();
        if new {
            tracing::error!(
                reason,
                hint = hint(error),
                "the store takes no changes; reads and private-key work go on, and changes are \
                 tried again every now and then"
            );
        }
        StoreError::Unavailable(reason)
    }

    /// Something was written.
    pub(super) fn works(&self) {
        if lock(&self.trouble).take().is_some() {
            tracing::info!(path = %self.path.display(), "the store takes changes again");
        }
    }

    /// Why nothing can be written at present.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }
}

/// A new database in an empty file.
pub(super) fn create(path: &Path) -> Result<Database, OpenError> {
    Builder::new().create(path).map_err(|error| refusal(&error))
}

fn open(path: &Path, check: bool) -> Result<Database, DatabaseError> {
    let open =
        || Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check).open(path);
    // redb says that it may panic over a file that something else has changed.
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        Err(DatabaseError::Storage(StorageError::Corrupted("it makes no sense".to_owned())))
    })
}

fn is_full(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Storage(StorageError::Io(error))
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Why a file is not opened at the start.
fn refusal(error: &DatabaseError) -> OpenError {
    const DAMAGED: &str = "the file is no store, or is damaged; put a backup in its place";
    OpenError::Failed(match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            return OpenError::InUse;
        }
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied; the user that the service \
                runs as must be able to read and write it"
                .to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => {
                "its file system is read-only; the service has to write".to_owned()
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => DAMAGED.to_owned(),
            _ => error.to_string(),
        },
        DatabaseError::Storage(StorageError::Corrupted(what)) => format!("{DAMAGED} ({what})"),
        other => other.to_string(),
    })
}

/// What the system says, without the words that redb puts before it.
fn plain(error: &redb::Error) -> String {
    match error {
        redb::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn hint(error: &redb::Error) -> &'static str {
    let kind = match error {
        redb::Error::Io(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on its file system; nothing has to be restarted"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the system's log says why the file system is read-only; once it is writable again \
             nothing has to be restarted"
        }
        _ => "the system's log may say more; nothing has to be restarted once the disk works",
    }
}

/// Everything is read once, at the start, so a small cache is enough.
const CACHE_BYTES: usize = 16 << 20;
