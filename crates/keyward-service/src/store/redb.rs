//! The embedded store: one file, written by one thread.
//!
//! The thread takes all transactions that wait and commits them together: that
//! gives the order, and one fsync for many.

mod disk;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use self::disk::Disk;
use super::{
    Check, Commit, Health, Pending, Snapshot, Store, StoreError, Transaction, Update, Versioned,
    Watcher,
};

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
    disk: Arc<Disk>,
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
        let database = disk::create(path)?;
        let failed = |error: &dyn std::fmt::Display| OpenError::Failed(error.to_string());
        let mut batch = Batch::default();
        batch.write(&database, vec![transaction]).map_err(|error| failed(&error))?;
        batch.results.into_iter().try_for_each(|one| one.map(drop)).map_err(|error| failed(&error))
    }

    /// Opens a store that exists. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let disk = Arc::new(Disk::open(path)?);
        let watcher = Arc::new(Mutex::new(None));
        let (queue, jobs) = sync_channel(WAITING);
        let committer = Committer {
            disk: Arc::clone(&disk),
            watcher: Arc::clone(&watcher),
            unsettled: Vec::new(),
            rest: None,
        };
        let committer = std::thread::Builder::new()
            .name("keyward-store".to_owned())
            .spawn(move || committer.run(&jobs))
            .map_err(|error| OpenError::Failed(error.to_string()))?;
        Ok(Self {
            disk,
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
        let database = self.disk.database();
        Box::pin(async move {
            let database = database.ok_or_else(closed)?;
            tokio::task::spawn_blocking(move || read(&database))
                .await
                .map_err(|error| StoreError::Unavailable(error.to_string()))?
                .map_err(|error| StoreError::Unavailable(error.to_string()))
        })
    }
}

impl Store for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn snapshot<'a>(&'a self, prefix: &'a str) -> Pending<'a, Snapshot> {
        let prefix = prefix.to_owned();
        self.read(move |database| {
            let reading = database.begin_read()?;
            let sequences = reading.open_table(SEQUENCE)?;
            let sequence = sequences.get(())?.map_or(0, |stored| stored.value());
            let table = reading.open_table(DATA)?;
            let mut entries = Vec::new();
            for entry in table.range(prefix.as_str()..)? {
                let (key, stored) = entry?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                if let Some(versioned) = split(stored.value()) {
                    entries.push((key.value().to_owned(), versioned));
                }
            }
            Ok(Snapshot { sequence, entries })
        })
    }

    fn watch(&self, watcher: Watcher, _: u64) {
        // Nobody else writes the file: there is no commit to catch up with.
        *lock(&self.watcher) = Some(watcher);
    }

    fn commit(&self, transaction: Transaction, _: Instant) -> Pending<'_, u64> {
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

    fn catch_up(&self, _: Instant) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn health(&self) -> Health {
        Health { trouble: self.disk.trouble(), ..Health::default() }
    }

    fn close(&self) {
        // Without a sender the thread ends when it has done what waits.
        drop(lock(&self.queue).take());
        let committer = lock(&self.committer).take();
        if committer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the store ended by a panic");
        }
        self.disk.let_go();
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread that writes.
struct Committer {
    disk: Arc<Disk>,
    watcher: Arc<Mutex<Option<Watcher>>>,
    /// What a write would have done that failed: whether it has is known once
    /// the file is open again. Empty while it is open.
    unsettled: Vec<Commit>,
    /// After a failure the disk is left alone until then, and the answer is the
    /// same error.
    rest: Option<(Instant, StoreError)>,
}

impl Committer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Some(batch) = self.next(jobs) {
            let (transactions, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|job| (job.transaction, job.answer)).unzip();
            let results = self.commit(transactions);
            for (answer, result) in answers.into_iter().zip(results) {
                // Whoever asked may have gone away.
                let _ = answer.send(result);
            }
        }
    }

    /// What waits, at most [`BATCH`]; nothing, to try a disk that has failed;
    /// `None` when the thread is to end.
    fn next(&self, jobs: &Receiver<Job>) -> Option<Vec<Job>> {
        let first = match &self.rest {
            None => jobs.recv().ok()?,
            Some((until, _)) => {
                let left = until.saturating_duration_since(Instant::now());
                match jobs.recv_timeout(left) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        };
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        Some(batch)
    }

    /// Does transactions in their order; one result for each.
    fn commit(&mut self, transactions: Vec<Transaction>) -> Vec<Result<u64, StoreError>> {
        let count = transactions.len();
        if let Some((until, error)) = &self.rest
            && Instant::now() < *until
        {
            return vec![Err(error.clone()); count];
        }
        let started = Instant::now();
        let mut batch = Batch::default();
        let written =
            self.reopen().and_then(|database| batch.write_or_probe(&database, transactions));
        let error = match written {
            Ok(()) => {
                self.rest = None;
                self.disk.works();
                self.tell(&batch.commits);
                return batch.results;
            }
            Err(error) => self.disk.fails(&error),
        };
        // Opening it again shows at once, most of the time, what has become of
        // the write.
        self.disk.let_go();
        if !batch.commits.is_empty() {
            self.unsettled = batch.commits;
        }
        let happened = self.reopen().is_ok_and(|database| {
            batch
                .results
                .iter()
                .flatten()
                .last()
                .is_some_and(|last| sequence(&database).ok() == Some(*last))
        });
        let rest = (started.elapsed() * SHARE).max(REST);
        self.rest = Some((Instant::now() + rest, error.clone()));
        if happened { batch.results } else { vec![Err(error); count] }
    }

    /// The database, open. If it was not, the write that failed before is
    /// settled: it took place as a whole, or not at all.
    fn reopen(&mut self) -> Result<Arc<Database>, redb::Error> {
        let database = self.disk.reopened()?;
        if let Some(last) = self.unsettled.last() {
            if sequence(&database)? == last.sequence {
                tracing::warn!(sequence = last.sequence, "a write that seemed to fail took place");
                self.tell(&self.unsettled);
            }
            self.unsettled.clear();
        }
        Ok(database)
    }

    fn tell(&self, commits: &[Commit]) {
        if let Some(watcher) = lock(&self.watcher).clone() {
            for commit in commits {
                watcher(Update::Commit(commit));
            }
        }
    }
}

/// One durable write.
#[derive(Default)]
struct Batch {
    /// One for each transaction.
    results: Vec<Result<u64, StoreError>>,
    /// Those that are fine.
    commits: Vec<Commit>,
}

impl Batch {
    /// As [`Batch::write`]. Without a transaction something is written that
    /// changes nothing, to see whether it can be.
    fn write_or_probe(
        &mut self,
        database: &Database,
        transactions: Vec<Transaction>,
    ) -> Result<(), redb::Error> {
        let write = || match transactions.is_empty() {
            true => probe(database),
            false => self.write(database, transactions),
        };
        catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| {
            Err(redb::Error::Corrupted("the code that writes it panicked".to_owned()))
        })
    }

    /// Writes transactions in their order. A later one sees what an earlier one
    /// wrote.
    fn write(
        &mut self,
        database: &Database,
        transactions: Vec<Transaction>,
    ) -> Result<(), redb::Error> {
        let writing = database.begin_write()?;
        {
            let mut data = writing.open_table(DATA)?;
            let mut sequences = writing.open_table(SEQUENCE)?;
            let mut sequence = sequences.get(())?.map_or(0, |stored| stored.value());
            for mut transaction in transactions {
                if !holds(&data, &transaction.checks)? {
                    self.results.push(Err(StoreError::Conflict));
                    continue;
                }
                sequence += 1;
                for prefix in &transaction.prefix_deletes {
                    for entry in data.range(prefix.as_str()..)? {
                        let (key, _) = entry?;
                        if !key.value().starts_with(prefix) {
                            break;
                        }
                        transaction.deletes.push(key.value().to_owned());
                    }
                }
                for key in &transaction.deletes {
                    data.remove(key.as_str())?;
                }
                for (key, value) in &transaction.puts {
                    let mut stored = sequence.to_be_bytes().to_vec();
                    stored.extend_from_slice(value);
                    data.insert(key.as_str(), stored.as_slice())?;
                }
                self.results.push(Ok(sequence));
                let Transaction { puts, deletes, .. } = transaction;
                self.commits.push(Commit { sequence, puts, deletes });
            }
            sequences.insert((), sequence)?;
        }
        if self.commits.is_empty() {
            writing.abort()?;
        } else {
            // redb's default durability: the commit returns after the fsync.
            writing.commit()?;
        }
        Ok(())
    }
}

fn probe(database: &Database) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    {
        let mut sequences = writing.open_table(SEQUENCE)?;
        let sequence = sequences.get(())?.map_or(0, |stored| stored.value());
        sequences.insert((), sequence)?;
    }
    Ok(writing.commit()?)
}

/// The number of the last commit.
fn sequence(database: &Database) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(SEQUENCE)?;
    Ok(table.get(())?.map_or(0, |stored| stored.value()))
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

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A disk that has failed is tried again after this, or after this many times
/// what the last try took, so that repairing does not become all that is done.
const REST: Duration = Duration::from_secs(1);
const SHARE: u32 = 4;
/// The most transactions in one write.
const BATCH: usize = 256;
/// The most transactions that wait for the thread.
const WAITING: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{self, put};

    #[tokio::test]
    async fn it_keeps_the_contract_of_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        Redb::create(&path, put("start", b"")).unwrap();
        let store = Redb::open(&path).unwrap();
        contract::holds(&store).await;
        assert!(matches!(Redb::open(&path), Err(OpenError::InUse)));
        let before = store.snapshot("").await.unwrap();
        store.close();
        let late = store.commit(put("c", b""), contract::deadline()).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))));
        let store = Redb::open(&path).unwrap();
        let after = store.snapshot("").await.unwrap();
        assert_eq!((after.sequence, after.entries), (before.sequence, before.entries));
    }

    /// What a disk error may leave behind: a write that took place, of which
    /// nobody was told.
    #[tokio::test]
    async fn a_write_that_seemed_to_fail_is_told_of_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        Redb::create(&path, put("a", b"one")).unwrap();
        for happened in [true, false] {
            let disk = Arc::new(Disk::open(&path).unwrap());
            let told = Arc::new(Mutex::new(Vec::new()));
            let watcher: Watcher = Arc::new({
                let told = Arc::clone(&told);
                move |update| match update {
                    Update::Commit(commit) => told.lock().unwrap().push(commit.sequence),
                    Update::Everything(_) => panic!("nothing was missed"),
                }
            });
            let watcher = Arc::new(Mutex::new(Some(watcher)));
            let before = sequence(&disk.database().unwrap()).unwrap();
            let commit = |sequence| Commit { sequence, puts: Vec::new(), deletes: Vec::new() };
            let unsettled = if happened {
                let mut batch = Batch::default();
                batch.write(&disk.database().unwrap(), vec![put("b", b""), put("c", b"")]).unwrap();
                batch.commits
            } else {
                vec![commit(before + 1), commit(before + 2)]
            };
            disk.let_go();
            let rest = Some((Instant::now(), StoreError::Unavailable(String::new())));
            let mut committer = Committer { disk: Arc::clone(&disk), watcher, unsettled, rest };
            let next = committer.commit(vec![put("d", b"")]);
            let expected: Vec<u64> =
                (1..=if happened { 3 } else { 1 }).map(|n| before + n).collect();
            assert_eq!(next, [Ok(*expected.last().unwrap())]);
            assert_eq!(*told.lock().unwrap(), expected);
            assert!(committer.rest.is_none() && committer.unsettled.is_empty());
        }
    }
}
