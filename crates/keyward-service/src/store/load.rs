//! Fills an empty store, in as many transactions as it takes.
//!
//! [`LOADING_KEY`] is written first, and what makes it a store last: one that
//! was cut off in between is none, and says why.

use std::time::{Duration, Instant};

use super::paths::{CLOCK_KEY, DATA_KEY_KEY, FORMAT_KEY, INCARNATION_KEY, LOADING_KEY};
use super::vault::FORMAT;
use super::{Check, MOST_OPERATIONS, Snapshot, Store, StoreError, Transaction};

/// A store that is being filled.
pub(crate) struct Loader<'a> {
    store: &'a dyn Store,
    /// The version of [`LOADING_KEY`]: who has written it fills the store.
    mark: u64,
    batch: Transaction,
    /// Of the batch.
    bytes: usize,
}

/// Why a store cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is a store, or something else.
    #[error("it is not empty")]
    NotEmpty,
    /// Another attempt was cut off, or is under way.
    #[error("it is half written")]
    HalfWritten,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<'a> Loader<'a> {
    /// Begins to fill a store. With `resume` it may be one whose filling was cut
    /// off: what is there of it is deleted.
    pub(crate) async fn begin(store: &'a dyn Store, resume: bool) -> Result<Self, LoadError> {
        let Snapshot { entries, .. } = store.snapshot("").await?;
        let version = |wanted: &str| {
            let found = entries.iter().find(|(key, _)| key == wanted);
            found.map(|(_, versioned)| versioned.version)
        };
        let mark = version(LOADING_KEY);
        let own = |key: &str| key == CLOCK_KEY || key == LOADING_KEY;
        let rest: Vec<_> =
            entries.iter().map(|(key, _)| key).filter(|key| !own(key)).cloned().collect();
        let check = match mark {
            _ if version(FORMAT_KEY).is_some() => return Err(LoadError::NotEmpty),
            None if !rest.is_empty() => return Err(LoadError::NotEmpty),
            None => Check::Absent(LOADING_KEY.to_owned()),
            Some(_) if !resume => return Err(LoadError::HalfWritten),
            Some(version) => Check::Version(LOADING_KEY.to_owned(), version),
        };
        let mark = Transaction {
            checks: vec![check, Check::Absent(FORMAT_KEY.to_owned())],
            puts: vec![(LOADING_KEY.to_owned(), keyward_crypto::random::bytes::<32>().to_vec())],
            ..Transaction::default()
        };
        let mark = store.commit(mark, deadline()).await?;
        let mut loader = Self { store, mark, batch: Transaction::default(), bytes: 0 };
        for key in rest {
            loader.batch.deletes.push(key);
            loader.flush_if_full(0).await?;
        }
        loader.flush().await?;
        Ok(loader)
    }

    /// Adds an entry.
    pub(crate) async fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), LoadError> {
        let length = key.len() + value.len();
        self.flush_if_full(length).await?;
        self.bytes += length;
        self.batch.puts.push((key, value));
        Ok(())
    }

    /// All that was put so far, as it stands in the store.
    pub(crate) async fn written(
        &mut self,
    ) -> Result<impl Iterator<Item = (String, Vec<u8>)>, LoadError> {
        self.flush().await?;
        let entries = self.store.snapshot("").await?.entries;
        let own = |key: &str| key == CLOCK_KEY || key == LOADING_KEY;
        let entries = entries.into_iter().filter(move |(key, _)| !own(key));
        Ok(entries.map(|(key, versioned)| (key, versioned.value)))
    }

    /// Makes it a store, with an incarnation of its own.
    pub(crate) async fn finish(mut self, wrapped_data_key: Vec<u8>) -> Result<(), LoadError> {
        self.flush().await?;
        let incarnation = keyward_crypto::random::bytes::<8>().to_vec();
        for (key, value) in [
            (DATA_KEY_KEY, wrapped_data_key),
            (FORMAT_KEY, FORMAT.to_string().into_bytes()),
            (INCARNATION_KEY, incarnation),
        ] {
            self.batch.puts.push((key.to_owned(), value));
        }
        self.batch.deletes.push(LOADING_KEY.to_owned());
        self.flush().await
    }

    /// Writes the batch if so many bytes more are too many for it.
    async fn flush_if_full(&mut self, more: usize) -> Result<(), LoadError> {
        let operations = self.batch.puts.len() + self.batch.deletes.len();
        if operations >= MOST_OPERATIONS || (operations > 0 && self.bytes + more > MOST_BYTES) {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LoadError> {
        if self.batch.puts.is_empty() && self.batch.deletes.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        batch.checks.push(Check::Version(LOADING_KEY.to_owned(), self.mark));
        self.store.commit(batch, deadline()).await.map_err(|error| match error {
            // Somebody else has begun anew.
            StoreError::Conflict => LoadError::HalfWritten,
            other => other.into(),
        })?;
        Ok(())
    }
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// For one transaction.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a transaction: etcd takes 1.5 MiB with everything around the values.
const MOST_BYTES: usize = 1 << 20;
