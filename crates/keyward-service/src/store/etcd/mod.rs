//! The store that many replicas share: etcd.
//!
//! A commit's number is etcd's revision, a value's version its `mod_revision`.
//! Every transaction also writes [`CLOCK_KEY`], so that one read tells the last
//! commit of anybody, deletions too, whatever else etcd serves.
//!
//! An outcome that is not known, because a member died or did not answer, is
//! found out: the transaction is sent again elsewhere. If it took place the
//! first time its checks fail the second time, and one of the values that it
//! wrote stands there: sealed values are never the same twice.

mod members;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio::sync::{Notify, watch as channel};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use self::members::Members;
use super::paths::CLOCK_KEY;
use super::{
    Check, Health, MOST_OPERATIONS, Pending, Snapshot, Store, StoreError, Transaction, Versioned,
    Watcher,
};
use crate::config::Etcd as Settings;
use crate::files::FileError;

/// The store in etcd.
pub(crate) struct Etcd {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What the store shares with its watch.
struct Shared {
    members: Members,
    /// Stands before each key.
    prefix: String,
    /// For reading all that there is.
    patience: Duration,
    /// The last commit that the watcher was told of.
    applied: channel::Sender<u64>,
    /// Somebody waits for what the watch tells.
    watched: AtomicBool,
    /// The last commit that is known of.
    latest: AtomicU64,
    /// Since when more is known of than the watcher was told.
    behind: Mutex<Option<Instant>>,
    /// Why the last look at all members failed.
    trouble: Mutex<Option<String>>,
    /// The place of the member that the watch goes by.
    watching: AtomicUsize,
    /// The watch is to be made anew, with another member.
    renew: Notify,
    /// Everything is to be read again: etcd went back in time.
    rolled_back: AtomicBool,
}

impl Etcd {
    /// Reads the files that the settings name. Nothing is connected yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, FileError> {
        let shared = Shared {
            members: Members::new(settings)?,
            prefix: settings.prefix.clone(),
            patience: settings.request() * 10,
            applied: channel::Sender::new(0),
            watched: AtomicBool::new(false),
            latest: AtomicU64::new(0),
            behind: Mutex::new(None),
            trouble: Mutex::new(None),
            watching: AtomicUsize::new(0),
            renew: Notify::new(),
            rolled_back: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), tasks: Mutex::new(Vec::new()) })
    }
}

impl Store for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn snapshot<'a>(&'a self, prefix: &'a str) -> Pending<'a, Snapshot> {
        Box::pin(self.shared.snapshot(prefix))
    }

    fn watch(&self, watcher: Watcher, from: u64) {
        let shared = &self.shared;
        shared.told(from);
        shared.watched.store(true, Relaxed);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(tokio::spawn(watch::run(Arc::clone(shared), watcher)));
        tasks.push(tokio::spawn(watch::look_after(Arc::clone(shared))));
    }

    fn commit(&self, transaction: Transaction, deadline: Instant) -> Pending<'_, u64> {
        Box::pin(self.shared.commit(transaction, deadline))
    }

    fn catch_up(&self, deadline: Instant) -> Pending<'_, ()> {
        Box::pin(async move {
            let latest = self.shared.clock(deadline).await?;
            self.shared.wait(latest, deadline).await
        })
    }

    fn health(&self) -> Health {
        let shared = &self.shared;
        Health {
            trouble: lock(&shared.trouble).clone(),
            members: shared.members.health(),
            lag: lock(&shared.behind).map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    fn close(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    async fn commit(&self, transaction: Transaction, deadline: Instant) -> Result<u64, StoreError> {
        fits(&transaction)?;
        let marker = transaction
            .puts
            .iter()
            .filter(|(key, value)| {
                value.len() >= SEALED && transaction.checks.contains(&Check::Absent(key.clone()))
            })
            .chain(transaction.puts.iter().filter(|(_, value)| value.len() >= SEALED))
            .next()
            .cloned();
        let asked = self.transaction(&transaction, marker.as_ref());
        let answer = self
            .members
            .ask(deadline, |client| {
                let asked = asked.clone();
                async move { client.kv_client().txn(asked).await }
            })
            .await
            .inspect_err(|error| {
                if let StoreError::Unavailable(reason) = error {
                    // Until the next look at the members.
                    *lock(&self.trouble) = Some(reason.clone());
                }
            })?;
        if answer.succeeded() {
            let sequence = answer.header().map_or(0, |header| number(header.revision()));
            self.wait(sequence, deadline).await?;
            return Ok(sequence);
        }
        let [clock, marked] = found(&answer);
        if let (Some(marked), Some((_, value))) = (&marked, &marker)
            && marked.value() == value
        {
            let sequence = number(marked.mod_revision());
            self.wait(sequence, deadline).await?;
            return Ok(sequence);
        }
        // What made it fail is to be seen by whoever plans anew.
        self.wait(clock.map_or(0, |clock| number(clock.mod_revision())), deadline).await?;
        Err(StoreError::Conflict)
    }

    fn transaction(&self, transaction: &Transaction, marker: Option<&(String, Vec<u8>)>) -> Txn {
        let checks: Vec<_> = transaction
            .checks
            .iter()
            .map(|check| match check {
                Check::Absent(key) => Compare::create_revision(self.key(key), CompareOp::Equal, 0),
                Check::Version(key, version) => {
                    let version = i64::try_from(*version).unwrap_or(i64::MAX);
                    Compare::mod_revision(self.key(key), CompareOp::Equal, version)
                }
            })
            .collect();
        let puts = transaction.puts.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let changes: Vec<_> = puts
            .chain([(CLOCK_KEY, b"".as_slice())])
            .map(|(key, value)| TxnOp::put(self.key(key), value, None))
            .chain(transaction.deletes.iter().map(|key| TxnOp::delete(self.key(key), None)))
            .chain(transaction.prefix_deletes.iter().map(|prefix| {
                TxnOp::delete(self.key(prefix), Some(DeleteOptions::new().with_prefix()))
            }))
            .collect();
        let marker = marker.map_or(CLOCK_KEY, |(key, _)| key);
        let looks: Vec<_> = [CLOCK_KEY, marker].map(|key| TxnOp::get(self.key(key), None)).to_vec();
        Txn::new().when(checks).and_then(changes).or_else(looks)
    }

    /// All that stands under a prefix, page by page at one revision.
    async fn snapshot(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let from = self.key(prefix);
        let end = after_all(&from);
        let mut snapshot = Snapshot::default();
        let mut start = from;
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(i64::try_from(snapshot.sequence).unwrap_or(i64::MAX));
            let deadline = Instant::now() + self.patience;
            let answer = self
                .members
                .ask(deadline, |client| {
                    let asked = (start.clone(), options.clone());
                    async move {
                        let mut kv = client.kv_client().max_decoding_message_size(LONGEST);
                        kv.get(asked.0, Some(asked.1)).await
                    }
                })
                .await?;
            if snapshot.sequence == 0 {
                snapshot.sequence = answer.header().map_or(0, |header| number(header.revision()));
            }
            for found in answer.kvs() {
                let versioned = Versioned {
                    value: found.value().to_vec(),
                    version: number(found.mod_revision()),
                };
                if let Some(key) = self.stripped(found.key()) {
                    snapshot.entries.push((key, versioned));
                }
            }
            match answer.kvs().last() {
                // The next key after this one.
                Some(last) if answer.more() => start = [last.key(), &[0]].concat(),
                _ => return Ok(snapshot),
            }
        }
    }

    /// The number of the last commit of anybody.
    async fn clock(&self, deadline: Instant) -> Result<u64, StoreError> {
        let key = self.key(CLOCK_KEY);
        let answer = self
            .members
            .ask(deadline, |client| {
                let key = key.clone();
                async move { client.kv_client().get(key, None).await }
            })
            .await?;
        let latest = answer.kvs().first().map_or(0, |found| number(found.mod_revision()));
        self.known(latest);
        Ok(latest)
    }

    /// Waits until the watcher was told of a commit, if there is one.
    async fn wait(&self, sequence: u64, deadline: Instant) -> Result<(), StoreError> {
        self.known(sequence);
        if !self.watched.load(Relaxed) {
            return Ok(());
        }
        let mut applied = self.applied.subscribe();
        loop {
            let told = applied.wait_for(|applied| *applied >= sequence);
            let patience = (Instant::now() + SILENCE).min(deadline);
            if timeout_at(patience.into(), told).await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Unavailable(
                    "etcd has not told this replica in time of what was changed".to_owned(),
                ));
            }
            self.renew.notify_waiters();
        }
    }

    /// Notes that there is a commit of this number.
    fn known(&self, sequence: u64) {
        self.latest.fetch_max(sequence, Relaxed);
        let mut behind = lock(&self.behind);
        if behind.is_none() && self.latest.load(Relaxed) > *self.applied.borrow() {
            *behind = Some(Instant::now());
        }
    }

    /// Notes that the watcher was told of all commits up to this number.
    fn told(&self, sequence: u64) {
        self.applied.send_replace(sequence);
        if self.latest.load(Relaxed) <= sequence {
            *lock(&self.behind) = None;
        }
    }

    /// Notes that the store is what it was at this commit, whatever was known
    /// of later ones.
    fn restarted(&self, sequence: u64) {
        self.rolled_back.store(false, Relaxed);
        self.latest.store(sequence, Relaxed);
        self.told(sequence);
    }

    fn key(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    fn stripped(&self, key: &[u8]) -> Option<String> {
        let key = key.strip_prefix(self.prefix.as_bytes())?;
        Some(std::str::from_utf8(key).ok()?.to_owned())
    }
}

/// What the looks of a transaction that failed have found.
fn found(answer: &TxnResponse) -> [Option<KeyValue>; 2] {
    let mut looks = answer.op_responses().into_iter();
    [(); 2].map(|()| match looks.next() {
        Some(TxnOpResponse::Get(got)) => got.kvs().first().cloned(),
        _ => None,
    })
}

fn fits(transaction: &Transaction) -> Result<(), StoreError> {
    let Transaction { checks, puts, deletes, prefix_deletes } = transaction;
    let changes = puts.len() + deletes.len() + prefix_deletes.len();
    if checks.len().max(changes) > MOST_OPERATIONS {
        return Err(StoreError::TooLarge(format!(
            "etcd takes {MOST_OPERATIONS} changes, and this is {changes}"
        )));
    }
    let bytes: usize = puts.iter().map(|(key, value)| key.len() + value.len() + OVERHEAD).sum();
    if bytes > MOST_BYTES {
        return Err(StoreError::TooLarge(format!(
            "etcd takes {} KiB, and this is {} KiB",
            MOST_BYTES >> 10,
            bytes.div_ceil(1 << 10)
        )));
    }
    Ok(())
}

/// The first key after all that begin with `prefix`. No key of a store ends in
/// a byte 255.
fn after_all(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// etcd's numbers are never negative.
fn number(signed: i64) -> u64 {
    u64::try_from(signed).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The least length of a sealed value: with its random part it is like no other.
const SEALED: usize = 28;
/// A watch that tells nothing of a commit for so long is made anew.
const SILENCE: Duration = Duration::from_millis(700);
/// Keys in one answer.
const PAGE: i64 = 256;
/// Of an answer, in bytes: etcd sends what has piled up for a watch at once.
const LONGEST: usize = 1 << 30;
/// etcd's own default limit is 1.5 MiB with everything around it.
const MOST_BYTES: usize = 1400 << 10;
/// Around each value, in bytes; on the safe side.
const OVERHEAD: usize = 128;
