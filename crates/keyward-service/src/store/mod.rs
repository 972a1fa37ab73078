//! Where the service keeps what must outlive it: a small ordered key-value
//! interface with compare-and-set and transactions.
//!
//! [`redb`] is the embedded implementation, [`etcd`] the one that many replicas
//! share. Every commit has a number greater than those before, a value carries
//! the number of the commit that wrote it last, and whoever watches is told of
//! the commits in their order.

#[cfg(test)]
mod contract;
pub(crate) mod etcd;
pub(crate) mod load;
pub(crate) mod paths;
pub(crate) mod records;
pub(crate) mod redb;
pub(crate) mod vault;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// All of it happens, or none. No key is put twice, and none that is put is
/// deleted. Where servers hang it may be sent to several: one that has no check
/// must bear being done twice, much later too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) checks: Vec<Check>,
    pub(crate) puts: Vec<(String, Vec<u8>)>,
    pub(crate) deletes: Vec<String>,
    /// All keys that begin with one of these are deleted.
    pub(crate) prefix_deletes: Vec<String>,
}

impl Transaction {
    /// Deletes the versions that were seen.
    pub(crate) fn delete_versions(&mut self, seen: Vec<(String, u64)>) {
        for (key, version) in seen {
            self.checks.push(Check::Version(key.clone(), version));
            self.deletes.push(key);
        }
    }
}

/// A transaction that took place.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) sequence: u64,
    pub(crate) puts: Vec<(String, Vec<u8>)>,
    /// Each key, those under a prefix too.
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

/// What a watcher is told.
#[derive(Debug)]
pub(crate) enum Update<'a> {
    /// A commit.
    Commit(&'a Commit),
    /// Commits were missed: this is everything, whatever was told before.
    Everything(Snapshot),
}

/// Is told of every commit, in order, before whoever made it is.
pub(crate) type Watcher = Arc<dyn Fn(Update<'_>) + Send + Sync>;

/// How a store does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Why it cannot be written just now.
    pub(crate) trouble: Option<String>,
    /// The servers that it consists of; none for an embedded one.
    pub(crate) members: Vec<MemberHealth>,
    /// How long a commit has been known of that the watcher was not told of
    /// yet.
    pub(crate) lag: Duration,
}

/// How one server of a store does.
#[derive(Clone, Debug)]
pub(crate) struct MemberHealth {
    pub(crate) endpoint: String,
    /// Why it did not answer the last time; `None` if it did.
    pub(crate) trouble: Option<String>,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// A check failed; nothing was changed. The watcher was told of what made
    /// it fail.
    #[error("somebody else changed the same thing at the same time")]
    Conflict,
    /// The store cannot be read or written. Whether a commit took place is not
    /// known.
    #[error("the store failed: {0}")]
    Unavailable(String),
    /// It was asked for what it does not do, now or later; nothing was changed.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// The transaction is larger than the store takes at once; nothing was
    /// changed.
    #[error("the change is larger than the store takes at once: {0}")]
    TooLarge(String),
}

/// What a store will have done.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// An ordered key-value store.
pub(crate) trait Store: Send + Sync {
    /// Its name in the configuration, as "redb".
    fn name(&self) -> &'static str;

    /// All that stands under a prefix, as it was after one commit.
    fn snapshot<'a>(&'a self, prefix: &'a str) -> Pending<'a, Snapshot>;

    /// Tells `watcher` of every commit after number `from`. There is one
    /// watcher. Called inside a tokio runtime.
    fn watch(&self, watcher: Watcher, from: u64);

    /// Makes a transaction durable and answers its number, after the watcher
    /// was told of it. At most [`MOST_OPERATIONS`] checks, and as many puts and
    /// deletes together. Who waits gives up at `deadline`; an answer comes
    /// before that where the store can say why it takes so long.
    fn commit(&self, transaction: Transaction, deadline: Instant) -> Pending<'_, u64>;

    /// Waits until the watcher was told of every commit that took place before
    /// this call.
    fn catch_up(&self, deadline: Instant) -> Pending<'_, ()>;

    /// How it does.
    fn health(&self) -> Health;

    /// Ends what is under way and lets go of what it holds.
    fn close(&self);
}

/// The most checks of a transaction, and the most puts and deletes together.
pub(crate) const MOST_OPERATIONS: usize = 100;
