//! Where the service keeps what must outlive it: a small ordered key-value
//! interface with compare-and-set and transactions.
//!
//! [`redb`] is the embedded implementation. The interface asks for nothing that
//! etcd has not: every commit has a number greater than those before, a value
//! carries the number of the commit that wrote it last, and whoever watches is
//! told of the commits in their order.

pub(crate) mod load;
pub(crate) mod paths;
pub(crate) mod records;
pub(crate) mod redb;
pub(crate) mod vault;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

/// A value and the sequence number of the commit that wrote it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Versioned {
    pub(crate) value: Vec<u8>,
    pub(crate) version: u64,
}

/// What must hold of a key for a transaction to take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// There is no such key.
    Absent(String),
    /// The value is still the one that this commit wrote.
    Version(String, u64),
}

/// All of it happens, or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) checks: Vec<Check>,
    pub(crate) puts: Vec<(String, Vec<u8>)>,
    pub(crate) deletes: Vec<String>,
}

/// A transaction that took place.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) sequence: u64,
    pub(crate) puts: Vec<(String, Vec<u8>)>,
    pub(crate) deletes: Vec<String>,
}

/// What the store held after one commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The commit's number.
    pub(crate) sequence: u64,
    /// In the order of the keys.
    pub(crate) entries: Vec<(String, Versioned)>,
}

impl Snapshot {
    /// The value of `key`.
    pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
        let place = self.entries.binary_search_by(|(other, _)| other.as_str().cmp(key)).ok()?;
        Some(&self.entries[place].1.value)
    }
}

/// Is told of every commit, in order, before whoever made it is.
pub(crate) type Watcher = Arc<dyn Fn(&Commit) + Send + Sync>;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// A check failed; nothing was changed.
    #[error("somebody else changed the same thing at the same time")]
    Conflict,
    /// The store cannot be read or written. Whether a commit took place is not
    /// known.
    #[error("the store failed: {0}")]
    Unavailable(String),
}

/// What a store will have done.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// An ordered key-value store.
pub(crate) trait Store: Send + Sync {
    /// Its name in the configuration, as "redb".
    fn name(&self) -> &'static str;

    /// All that stands under a prefix, as it was after one commit.
    fn snapshot<'a>(&'a self, prefix: &'a str) -> Pending<'a, Snapshot>;

    /// Tells `watcher` of every commit from now on. One watcher is enough.
    fn watch(&self, watcher: Watcher);

    /// Makes a transaction durable and answers its sequence number, after the
    /// watcher was told of it.
    fn commit(&self, transaction: Transaction, deadline: Instant) -> Pending<'_, u64>;

    /// Ends what is under way and lets go of what it holds.
    fn close(&self);

    /// Why nothing can be written at present, if that is known.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// The most checks of a transaction, and the most puts and deletes together.
pub(crate) const MOST_OPERATIONS: usize = 100;
