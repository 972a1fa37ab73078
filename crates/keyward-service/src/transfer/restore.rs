//! From a backup to a service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

use super::{TransferError, destination, fill, wait_for};
use crate::authority::Authority;
use crate::backup::{BackupError, Inventory, Key, Reader, Summary};
use crate::config::{Config, Etcd};
use crate::engine::valid_name;
use crate::files::FileError;
use crate::init::{self, ADMIN, Administrator, DATA, InitError, Report, failed};
use crate::server::tls::certificates;
use crate::store::etcd::Etcd as RemoteStore;
use crate::store::redb::Redb;
use crate::store::vault::Vault;
use crate::store::{Store, Transaction};

/// What is to be restored.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// What opens it.
    pub key: Key,
    /// The name of a new administrator's identity; `None`: one with the time in
    /// it. Those of the backup are good as well, if their keys are still there.
    pub admin_name: Option<String>,
}

/// What was restored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// What was in the backup.
    pub summary: Summary,
    /// The new administrator's name.
    pub admin_name: String,
    /// The new administrator's `client.toml`, if a folder for it was named.
    pub admin_config: Option<PathBuf>,
}

/// A backup that was found to be whole, on its way.
struct Source {
    reader: Reader,
    summary: Summary,
    authority: Authority,
    admin_name: String,
    admin: Administrator,
}

/// Where a service is made of a backup.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Place {
    /// Its folder: empty, or not there yet.
    pub dir: PathBuf,
    /// The address to accept connections on.
    pub listen: SocketAddr,
    /// As [`Options::sans`](init::Options::sans).
    pub sans: Vec<String>,
    /// Where etcd is, if the store is to be there.
    pub etcd: Option<Etcd>,
    /// What an attempt that was cut off has left in etcd is deleted.
    pub resume: bool,
}

impl Place {
    /// A folder that has its store in it.
    #[must_use]
    pub fn new(dir: PathBuf, listen: SocketAddr) -> Self {
        Self { dir, listen, sans: Vec::new(), etcd: None, resume: false }
    }
}

/// Makes a service in a folder, as [`init`](init::init) does, of a backup: with
/// its authority, its master key, and a server certificate that its clients
/// accept.
///
/// # Errors
/// [`TransferError`]; the folder is then as it was.
pub fn restore_into_folder(
    restore: &Restore,
    place: &Place,
) -> Result<(Restored, Report), TransferError> {
    let dir = &place.dir;
    let etcd = place.etcd.as_ref().map(init::checked).transpose()?;
    let mut restored = None;
    init::in_folder(dir, |draft| {
        let source = Source::open(restore)?;
        let (master, wrapped) = source.reader.keys();
        init::write_server(&source.authority, place.listen, &place.sans, draft)?;
        init::write_master_key(master, draft)?;
        source.admin.write(&source.authority, place.listen, &draft.join(ADMIN))?;
        init::write_config(place.listen, etcd.as_ref(), draft)?;
        let (store, name): (Box<dyn Store>, _) = match &etcd {
            Some(etcd) => (Box::new(RemoteStore::new(etcd)?), etcd.name()),
            None => {
                let data = draft.join(DATA);
                let store = Redb::create(&data, Transaction::default())
                    .and_then(|()| Redb::open(&data))
                    .map_err(|error| failed("the store", error))?;
                (Box::new(store), dir.join(DATA).display().to_string())
            }
        };
        // The store is none before there is a folder that belongs to it.
        let publish = || Ok(init::publish(draft, dir)?);
        source.fill(&*store, &name, place.resume, wrapped.to_vec(), publish)?;
        restored = Some(source.restored(Some(dir.join(ADMIN))));
        Ok::<_, TransferError>(())
    })?;
    let restored = restored.ok_or_else(|| failed("the service", "it was not made"))?;
    Ok((restored, Report::of(dir)))
}

/// Fills the empty store that a configuration names from a backup. The data key
/// is wrapped by the configuration's master key, whatever it was wrapped by. In
/// `admin_folder` the new administrator's client configuration is written.
///
/// # Errors
/// [`TransferError`]; a destination that is half written is no store.
pub fn restore_into_store(
    restore: &Restore,
    config: &Config,
    admin_folder: Option<&Path>,
    resume: bool,
) -> Result<Restored, TransferError> {
    let source = Source::open(restore)?;
    let expected = source.authority.certificate();
    if !certificates(&config.authority)?.contains(expected) {
        return Err(TransferError::OtherAuthority { authority: config.authority.clone() });
    }
    let (master, wrapped) = source.reader.keys();
    let new_master = config.master().read()?;
    let wrapped = Vault::wrap_anew(master, wrapped, &new_master)
        .map_err(|_| BackupError::Damaged(restore.file.clone()))?;
    let store = wait_for(destination(config))?;
    source.fill(&*store, &config.store_name(), resume, wrapped, || match admin_folder {
        Some(folder) => Ok(source.admin.write(&source.authority, config.listen, folder)?),
        None => Ok(()),
    })?;
    Ok(source.restored(admin_folder.map(Path::to_owned)))
}

impl Source {
    /// Reads the whole backup before anything is written.
    fn open(restore: &Restore) -> Result<Self, TransferError> {
        let path = &restore.file;
        let mut whole = Reader::open(path, &restore.key)?;
        let mut inventory = Inventory::default();
        while let Some((key, value)) = whole.next_entry()? {
            inventory
                .add(whole.vault(), &key, &value)
                .map_err(|_| BackupError::Unreadable { path: path.clone(), key })?;
        }
        let authority = inventory
            .take_authority()
            .ok_or_else(|| FileError::content(path, "holds no authority: it is no whole store"))?;
        let summary = inventory.summary(whole.info());
        let admin_name = restore.admin_name.clone().unwrap_or_else(default_name);
        valid_name(&admin_name).map_err(|error| InitError::Invalid(error.message.into_owned()))?;
        if summary.identities.iter().any(|identity| identity.name == admin_name) {
            return Err(TransferError::NameTaken(admin_name));
        }
        let admin = Administrator::create(&authority, &admin_name)?;
        Ok(Self { reader: whole.again()?, summary, authority, admin_name, admin })
    }

    /// Fills a store, which becomes one after `before_last` has gone well.
    fn fill(
        &self,
        store: &dyn Store,
        name: &str,
        resume: bool,
        wrapped: Vec<u8>,
        before_last: impl FnOnce() -> Result<(), TransferError>,
    ) -> Result<(), TransferError> {
        let mut reader = self.reader.again()?;
        let vault = self.reader.vault();
        let mut more = self.admin.entries(vault)?.into_iter();
        let mut next = || match reader.next_entry()? {
            Some(entry) => Ok(Some(entry)),
            None => Ok(more.next()),
        };
        let filled = wait_for(async {
            let filled = fill(store, name, resume, &mut next, vault).await?;
            before_last()?;
            filled.finish(wrapped).await
        });
        store.close();
        filled.map(drop)
    }

    fn restored(self, admin: Option<PathBuf>) -> Restored {
        Restored {
            summary: self.summary,
            admin_name: self.admin_name,
            admin_config: admin.map(|folder| folder.join("client.toml")),
        }
    }
}

fn default_name() -> String {
    let form = format_description!("[year][month][day]-[hour][minute][second]");
    let now = OffsetDateTime::now_utc().format(form).unwrap_or_default();
    format!("restored-{now}")
}
