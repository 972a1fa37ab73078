//! The embedded store: one file, written by one thread.
//!
//! The thread takes all transactions that wait and commits them together: that
//! gives the order, and one fsync for many.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use super::{Check, Commit, Pending, Store, StoreError, Transaction, Versioned, Watcher};

/// Keys, and values behind the number of the commit that wrote them (u64,
/// big-endian).
const DATA: TableDefinition<&str, &[u8]> = TableDefinition::new("data");
/// The number of the last commit.
const SEQUENCE: TableDefinition<(), u64> = TableDefinition::new("sequence");

/// Why the store's file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Another process, most likely another service, has it open.
    #[error("another process has it open")]
    InUse,
    /// Not there, not readable, not a store.
    #[error("{0}")]
    Failed(String),
}

/// The store in one file.
pub(crate) struct Redb {
    database: Arc<Mutex<Option<Arc<Database>>>>,
    queue: Mutex<Option<SyncSender<Job>>>,
    watcher: Arc<Mutex<Option<Watcher>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

struct Job {
    transaction: Transaction,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

impl Redb {
    /// Makes a new store whose first commit is `transaction`. Blocks.
    pub(crate) fn create(path: &Path, transaction: Transaction) -> Result<(), OpenError> {
        // redb takes an empty file for a new one and leaves its mode alone.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| OpenError::Failed(error.to_string()))?;
        let database = Builder::new().create(path).map_err(open_error)?;
        let (result, _) = write(&database, vec![transaction])
            .map_err(|error| OpenError::Failed(error.to_string()))?;
        result
            .into_iter()
            .try_for_each(|one| one.map(drop))
            .map_err(|error| OpenError::Failed(error.to_string()))
    }

    /// Opens a store that exists. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let database =
            Arc::new(Builder::new().set_cache_size(CACHE_BYTES).open(path).map_err(open_error)?);
        let watcher = Arc::new(Mutex::new(None));
        let (queue, jobs) = sync_channel(WAITING);
        let committer = std::thread::Builder::new()
            .name("keyward-store".to_owned())
            .spawn({
                let database = Arc::clone(&database);
                let watcher = Arc::clone(&watcher);
                move || run(&database, &jobs, &watcher)
            })
            .map_err(|error| OpenError::Failed(error.to_string()))?;
        Ok(Self {
            database: Arc::new(Mutex::new(Some(database))),
            queue: Mutex::new(Some(queue)),
            watcher,
            committer: Mutex::new(Some(committer)),
        })
    }

    /// Runs a read on a thread that may block.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Pending<'_, T> {
        let database = lock(&self.database).clone();
        Box::pin(async move {
            let database = database.ok_or_else(closed)?;
            tokio::task::spawn_blocking(move || read(&database))
                .await
                .map_err(|error| StoreError::Unavailable(error.to_string()))?
                .map_err(|error| unavailable(&error))
        })
    }
}

impl Store for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn value<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Versioned>> {
        let key = key.to_owned();
        self.read(move |database| {
            let table = database.begin_read()?.open_table(DATA)?;
            Ok(table.get(key.as_str())?.and_then(|stored| split(stored.value())))
        })
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> Pending<'a, Vec<(String, Versioned)>> {
        let prefix = prefix.to_owned();
        self.read(move |database| {
            let table = database.begin_read()?.open_table(DATA)?;
            let mut found = Vec::new();
            for entry in table.range(prefix.as_str()..)? {
                let (key, stored) = entry?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                if let Some(versioned) = split(stored.value()) {
                    found.push((key.value().to_owned(), versioned));
                }
            }
            Ok(found)
        })
    }

    fn watch(&self, watcher: Watcher) {
        *lock(&self.watcher) = Some(watcher);
    }

    fn commit(&self, transaction: Transaction) -> Pending<'_, u64> {
        let (answer, answered) = oneshot::channel();
        let queue = lock(&self.queue).clone();
        Box::pin(async move {
            let queue = queue.ok_or_else(closed)?;
            queue.try_send(Job { transaction, answer }).map_err(|error| match error {
                TrySendError::Full(_) => {
                    StoreError::Unavailable("too many changes wait for the disk".to_owned())
                }
                TrySendError::Disconnected(_) => closed(),
            })?;
            answered.await.map_err(|_| closed())?
        })
    }

    fn sequence(&self) -> Pending<'_, u64> {
        self.read(|database| {
            let table = database.begin_read()?.open_table(SEQUENCE)?;
            Ok(table.get(())?.map_or(0, |stored| stored.value()))
        })
    }

    fn close(&self) {
        // Without a sender the thread ends when it has done what waits.
        drop(lock(&self.queue).take());
        let committer = lock(&self.committer).take();
        if committer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the store ended by a panic");
        }
        drop(lock(&self.database).take());
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.close();
    }
}

/// The committer thread.
fn run(database: &Database, jobs: &Receiver<Job>, watcher: &Mutex<Option<Watcher>>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let (transactions, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.transaction, job.answer)).unzip();
        match write(database, transactions) {
            Ok((results, commits)) => {
                if let Some(watcher) = lock(watcher).clone() {
                    for commit in &commits {
                        watcher(commit);
                    }
                }
                for (answer, result) in answers.into_iter().zip(results) {
                    // Whoever asked may have gone away.
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be written");
                let error = unavailable(&error);
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

type Written = (Vec<Result<u64, StoreError>>, Vec<Commit>);

/// Writes transactions in their order, in one durable write. A later one sees
/// what an earlier one wrote.
fn write(database: &Database, transactions: Vec<Transaction>) -> Result<Written, redb::Error> {
    let mut results = Vec::with_capacity(transactions.len());
    let mut commits = Vec::with_capacity(transactions.len());
    let writing = database.begin_write()?;
    {
        let mut data = writing.open_table(DATA)?;
        let mut sequences = writing.open_table(SEQUENCE)?;
        let mut sequence = sequences.get(())?.map_or(0, |stored| stored.value());
        for transaction in transactions {
            if !holds(&data, &transaction.checks)? {
                results.push(Err(StoreError::Conflict));
                continue;
            }
            sequence += 1;
            for key in &transaction.deletes {
                data.remove(key.as_str())?;
            }
            for (key, value) in &transaction.puts {
                let mut stored = sequence.to_be_bytes().to_vec();
                stored.extend_from_slice(value);
                data.insert(key.as_str(), stored.as_slice())?;
            }
            results.push(Ok(sequence));
            commits.push(Commit { sequence, puts: transaction.puts, deletes: transaction.deletes });
        }
        sequences.insert((), sequence)?;
    }
    if commits.is_empty() {
        writing.abort()?;
    } else {
        // redb's default durability: the commit returns after the fsync.
        writing.commit()?;
    }
    Ok((results, commits))
}

fn holds(
    data: &impl ReadableTable<&'static str, &'static [u8]>,
    checks: &[Check],
) -> Result<bool, redb::Error> {
    for check in checks {
        let (key, expected) = match check {
            Check::Absent(key) => (key, None),
            Check::Version(key, version) => (key, Some(*version)),
        };
        let actual = data
            .get(key.as_str())?
            .and_then(|stored| split(stored.value()))
            .map(|versioned| versioned.version);
        if actual != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

fn split(stored: &[u8]) -> Option<Versioned> {
    let (version, value) = stored.split_first_chunk::<8>()?;
    Some(Versioned { value: value.to_vec(), version: u64::from_be_bytes(*version) })
}

fn open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::InUse
        }
        other => OpenError::Failed(other.to_string()),
    }
}

fn unavailable(error: &redb::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything is read once, at the start, so a small cache is enough.
const CACHE_BYTES: usize = 16 << 20;
/// The most transactions in one write.
const BATCH: usize = 256;
/// The most transactions that wait for the thread.
const WAITING: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &[u8]) -> Transaction {
        Transaction { puts: vec![(key.to_owned(), value.to_vec())], ..Transaction::default() }
    }

    #[tokio::test]
    async fn a_commit_is_there_after_opening_again_and_checks_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        Redb::create(&path, put("a/1", b"one")).unwrap();
        let store = Redb::open(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        store.watch(Arc::new({
            let told = Arc::clone(&told);
            move |commit| told.lock().unwrap().push(commit.sequence)
        }));
        assert_eq!(store.commit(put("a/2", b"two")).await, Ok(2));
        let mut late = put("a/2", b"late");
        late.checks.push(Check::Version("a/2".to_owned(), 1));
        assert_eq!(store.commit(late).await, Err(StoreError::Conflict));
        let mut twice = put("a/2", b"twice");
        twice.checks.push(Check::Absent("a/2".to_owned()));
        assert_eq!(store.commit(twice).await, Err(StoreError::Conflict));
        let mut right = put("b", b"three");
        right.checks.push(Check::Version("a/2".to_owned(), 2));
        right.deletes.push("a/1".to_owned());
        assert_eq!(store.commit(right).await, Ok(3));
        assert_eq!(*told.lock().unwrap(), [2, 3]);
        assert!(matches!(Redb::open(&path), Err(OpenError::InUse)));
        store.close();
        assert!(store.commit(put("c", b"")).await.is_err());

        let store = Redb::open(&path).unwrap();
        assert_eq!(store.sequence().await, Ok(3));
        let found = store.scan("a/").await.unwrap();
        assert_eq!(found, [("a/2".to_owned(), Versioned { value: b"two".to_vec(), version: 2 })]);
        assert_eq!(store.value("a/1").await, Ok(None));
    }

    #[tokio::test]
    async fn of_transactions_that_exclude_each_other_one_takes_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        Redb::create(&path, put("start", b"")).unwrap();
        let store = Redb::open(&path).unwrap();
        let attempts: Vec<_> = (0..20)
            .map(|_| {
                let mut transaction = put("only", b"once");
                transaction.checks.push(Check::Absent("only".to_owned()));
                store.commit(transaction)
            })
            .collect();
        let mut won = 0;
        for attempt in attempts {
            won += u32::from(attempt.await.is_ok());
        }
        assert_eq!(won, 1);
    }
}
