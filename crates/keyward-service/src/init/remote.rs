//! A store in etcd: made, or joined by one more replica.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use prost::Message;

use super::{
    AUTHORITY, CERTIFICATE, CONFIG, InitError, MASTER_KEY, PRIVATE_KEY, checked, failed, in_folder,
    publish, write_config, write_master_key, write_server,
};
use crate::authority::Authority;
use crate::config::Etcd as Settings;
use crate::master::Master;
use crate::runtime;
use crate::store::etcd::Etcd;
use crate::store::records::AuthorityRecord;
use crate::store::vault::Vault;
use crate::store::{Check, Store, StoreError, Transaction, paths};

/// One more replica of a service whose store is in etcd.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Join {
    /// Its folder: not there yet, or empty.
    pub dir: PathBuf,
    /// The address to accept connections on.
    pub listen: SocketAddr,
    /// As [`Options::sans`](super::Options::sans).
    pub sans: Vec<String>,
    /// Where etcd is.
    pub etcd: Settings,
    /// A copy of the master key of the replicas that are there.
    pub master_key: PathBuf,
}

/// The files of a replica that joined.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Joined {
    /// `keyward.toml`.
    pub config: PathBuf,
    /// The certificate of the authority, PEM.
    pub authority: PathBuf,
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// The server's private key, PEM.
    pub private_key: PathBuf,
    /// The replica's copy of the master key.
    pub master_key: PathBuf,
}

impl Join {
    /// A replica in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, listen: SocketAddr, etcd: Settings, master_key: PathBuf) -> Self {
        Self { dir, listen, sans: Vec::new(), etcd, master_key }
    }
}

/// Adds a replica: the store's authority issues its server certificate. Nothing
/// is changed in etcd.
///
/// # Errors
/// Of each kind of [`InitError`]; the folder is then as it was.
pub fn join(options: &Join) -> Result<Joined, InitError> {
    let etcd = checked(&options.etcd)?;
    let master = Master::file(options.master_key.clone()).read()?;
    let store = Etcd::new(&etcd)?;
    let snapshot = in_runtime(store.snapshot(""))?.map_err(|error| reached(&error))?;
    let no_store = || match snapshot.value(paths::LOADING_KEY) {
        Some(_) => InitError::HalfWritten(etcd.name()),
        None => InitError::NoStore(etcd.name()),
    };
    let wrapped = snapshot.value(paths::DATA_KEY_KEY).ok_or_else(no_store)?;
    let vault = Vault::open(&master, wrapped)
        .map_err(|_| InitError::WrongMasterKey(options.master_key.clone()))?;
    let sealed = snapshot.value(paths::AUTHORITY_KEY).ok_or_else(no_store)?;
    let record = vault
        .open_value(paths::AUTHORITY_KEY, sealed)
        .map_err(|error| failed("the authority", error))?;
    let record = AuthorityRecord::decode(record.as_slice())
        .map_err(|error| failed("the authority", error))?;
    let authority = Authority::open(&record).map_err(|error| failed("the authority", error))?;
    let dir = &options.dir;
    in_folder(dir, |draft| {
        write_server(&authority, options.listen, &options.sans, draft)?;
        write_master_key(&master, draft)?;
        write_config(options.listen, Some(&etcd), draft)?;
        publish(draft, dir)
    })?;
    Ok(Joined {
        config: dir.join(CONFIG),
        authority: dir.join(AUTHORITY),
        certificate: dir.join(CERTIFICATE),
        private_key: dir.join(PRIVATE_KEY),
        master_key: dir.join(MASTER_KEY),
    })
}

/// Makes a store, and then what goes with it; the store is taken back if that
/// fails.
pub(super) fn create(
    settings: &Settings,
    mut transaction: Transaction,
    then: impl FnOnce() -> Result<(), InitError>,
) -> Result<(), InitError> {
    let store = Etcd::new(settings)?;
    let format = paths::FORMAT_KEY.to_owned();
    for key in [paths::FORMAT_KEY, paths::DATA_KEY_KEY, paths::LOADING_KEY] {
        transaction.checks.push(Check::Absent(key.to_owned()));
    }
    let keys: Vec<_> = transaction.puts.iter().map(|(key, _)| key.clone()).collect();
    let deadline = Instant::now() + PATIENCE;
    let made = match in_runtime(store.commit(transaction, deadline))? {
        Ok(sequence) => sequence,
        Err(StoreError::Conflict) => {
            let there = in_runtime(store.snapshot(paths::LOADING_KEY))?;
            return Err(match there {
                Ok(found) if !found.entries.is_empty() => InitError::HalfWritten(settings.name()),
                _ => InitError::StoreExists(settings.name()),
            });
        }
        Err(error) => return Err(reached(&error)),
    };
    then().inspect_err(|_| {
        let undo = Transaction {
            checks: vec![Check::Version(format, made)],
            deletes: keys,
            ..Transaction::default()
        };
        // What it was undone for is what matters to whoever asked.
        let _ = in_runtime(store.commit(undo, Instant::now() + PATIENCE));
    })
}

fn reached(error: &StoreError) -> InitError {
    failed("the store", error)
}

fn in_runtime<F: Future<Output: Send> + Send>(work: F) -> Result<F::Output, InitError> {
    runtime::wait_for(|| work).map_err(|error| failed("the store", error))
}

const PATIENCE: Duration = Duration::from_secs(10);
