//! Makes a new service in a folder of its own, or one more replica of a service
//! whose store is in etcd.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use prost::Message;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::bundle::{Bundle, certificate_pem};
use crate::clock;
use crate::config::Etcd;
use crate::engine::valid_name;
use crate::files::{self, FileError};
use crate::id::Id;
use crate::master::{self, MasterKeyError};
use crate::store::records::{CertificateRecord, IdentityRecord};
use crate::store::redb::Redb;
use crate::store::vault::{FORMAT, Secret, Vault};
use crate::store::{Transaction, paths};

mod config;
mod remote;

pub(crate) use self::config::write_config;
pub use self::remote::{Join, Joined, join};

/// What the new service is to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Its folder: not there yet, or empty.
    pub dir: PathBuf,
    /// The address to accept connections on.
    pub listen: SocketAddr,
    /// DNS names and IP addresses for the server's certificate, beside
    /// "keyward", "localhost", 127.0.0.1 and the address of `listen`.
    pub sans: Vec<String>,
    /// The name of the first administrator's identity.
    pub admin_name: String,
    /// Where etcd is, if the store is to be there.
    pub etcd: Option<Etcd>,
}

/// What was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// `keyward.toml`.
    pub config: PathBuf,
    /// The certificate of the authority, PEM.
    pub authority: PathBuf,
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// The server's private key, PEM.
    pub private_key: PathBuf,
    /// The master key: without it the store is lost.
    pub master_key: PathBuf,
    /// The store's file, unless the store is in etcd.
    pub data: Option<PathBuf>,
    /// The folder with the administrator's client configuration.
    pub admin: PathBuf,
    /// The administrator's `client.toml`.
    pub admin_config: PathBuf,
}

/// Why no service was made. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The folder holds a service.
    #[error(
        "{0} already holds a service; name another folder, or run `keyward serve --config {0}/keyward.toml`"
    )]
    Exists(PathBuf),
    /// The folder holds something else.
    #[error("{0} is not empty; name a folder that is empty or not there yet")]
    NotEmpty(PathBuf),
    /// etcd holds a store under this prefix already.
    #[error(
        "there is a store already under {0}; add a replica to it with `keyward init --join`, or name another prefix"
    )]
    StoreExists(String),
    /// etcd holds no store under this prefix that could be joined.
    #[error(
        "there is no store under {0}; make the first replica with `keyward init --store etcd`, without --join"
    )]
    NoStore(String),
    /// What etcd holds under this prefix is not a store yet, or never will be.
    #[error("{0} holds no store yet: {reason}", reason = paths::HALF_WRITTEN)]
    HalfWritten(String),
    /// The master key is not the one of the store.
    #[error(
        "the master key {0} is not the one of this store; take the master.key of a replica that works"
    )]
    WrongMasterKey(PathBuf),
    /// A name is not one that can be used.
    #[error("{0}")]
    Invalid(String),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The master key cannot be read.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A certificate or the store cannot be made.
    #[error("cannot make {what}: {error}")]
    Failed {
        /// What was to be made.
        what: &'static str,
        /// Why not.
        error: String,
    },
}

impl Options {
    /// A service in `dir` that listens on an address, with its store in the same
    /// folder and an administrator "admin".
    #[must_use]
    pub fn new(dir: PathBuf, listen: SocketAddr) -> Self {
        Self { dir, listen, sans: Vec::new(), admin_name: "admin".to_owned(), etcd: None }
    }
}

/// Makes a new service.
///
/// # Errors
/// Of each kind of [`InitError`]; the folder is then as it was.
pub fn init(options: &Options) -> Result<Report, InitError> {
    let dir = &options.dir;
    valid_name(&options.admin_name)
        .map_err(|error| InitError::Invalid(error.message.into_owned()))?;
    let etcd = options.etcd.as_ref().map(checked).transpose()?;
    in_folder(dir, |draft| {
        let transaction = write_all(options, etcd.as_ref(), draft)?;
        match &etcd {
            None => Redb::create(&draft.join(DATA), transaction)
                .map_err(|error| failed("the store", error))?,
            Some(etcd) => return remote::create(etcd, transaction, || publish(draft, dir)),
        }
        publish(draft, dir)
    })?;
    Ok(Report::of(dir))
}

impl Report {
    /// What a service's folder holds.
    pub(crate) fn of(dir: &Path) -> Self {
        let admin = dir.join(ADMIN);
        Self {
            config: dir.join(CONFIG),
            authority: dir.join(AUTHORITY),
            certificate: dir.join(CERTIFICATE),
            private_key: dir.join(PRIVATE_KEY),
            master_key: dir.join(MASTER_KEY),
            data: Some(dir.join(DATA)).filter(|data| data.exists()),
            admin_config: admin.join("client.toml"),
            admin,
        }
    }
}

/// Fills a folder by way of a draft, and leaves it as it was if that fails.
pub(crate) fn in_folder<E: From<InitError>>(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let existed = is_empty_folder(dir)?;
    files::make_folder(dir).map_err(InitError::from)?;
    let draft = dir.join(DRAFT);
    let made = files::make_folder(&draft)
        .map_err(|error| InitError::from(error).into())
        .and_then(|()| fill(&draft));
    if made.is_err() {
        // The folder was empty or not there: what is in it is the draft.
        let _ = fs::remove_dir_all(&draft);
        for name in PARTS {
            let _ = fs::remove_file(dir.join(name)).or_else(|_| fs::remove_dir_all(dir.join(name)));
        }
        if !existed {
            let _ = fs::remove_dir(dir);
        }
    }
    made
}

/// The settings with whole paths: the configuration is read from elsewhere.
pub(crate) fn checked(etcd: &Etcd) -> Result<Etcd, InitError> {
    let mut etcd = etcd.clone();
    etcd.check().map_err(|problem| InitError::Invalid(problem.replace("etcd.", "etcd ")))?;
    for file in [&mut etcd.authority, &mut etcd.certificate, &mut etcd.private_key] {
        let whole = file.canonicalize();
        *file = whole.map_err(|error| FileError::Read { path: file.clone(), error })?;
    }
    Ok(etcd)
}

/// Whether the folder is there; refused if there is something in it.
fn is_empty_folder(dir: &Path) -> Result<bool, InitError> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::Read { path: dir.to_owned(), error }.into()),
        Ok(mut entries) => {
            if dir.join(CONFIG).exists() || dir.join(DATA).exists() {
                return Err(InitError::Exists(dir.to_owned()));
            }
            if entries.next().is_some() {
                return Err(InitError::NotEmpty(dir.to_owned()));
            }
            Ok(true)
        }
    }
}

/// Writes the files of a new service; answers what its store begins with.
fn write_all(options: &Options, etcd: Option<&Etcd>, dir: &Path) -> Result<Transaction, InitError> {
    let (authority, authority_record) =
        Authority::create().map_err(|error| failed("the authority", error))?;
    write_server(&authority, options.listen, &options.sans, dir)?;
    let master = Zeroizing::new(keyward_crypto::random::bytes::<32>());
    write_master_key(&master, dir)?;

    let admin = Administrator::create(&authority, &options.admin_name)?;

    let (vault, wrapped) = Vault::create(&master).map_err(|error| failed("the store", error))?;
    let mut transaction = Transaction::default();
    let mut put = |path: &str, value: Vec<u8>| transaction.puts.push((path.to_owned(), value));
    put(paths::FORMAT_KEY, FORMAT.to_string().into_bytes());
    put(paths::INCARNATION_KEY, keyward_crypto::random::bytes::<8>().to_vec());
    put(paths::DATA_KEY_KEY, wrapped);
    let path = paths::AUTHORITY_KEY;
    let record = Zeroizing::new(authority_record.encode_to_vec());
    put(path, vault.seal(path, &record).map_err(|error| failed("the store", error))?);
    for (path, sealed) in admin.entries(&vault)? {
        put(&path, sealed);
    }

    admin.write(&authority, options.listen, &dir.join(ADMIN))?;
    write_config(options.listen, etcd, dir)?;
    Ok(transaction)
}

/// A new administrator.
pub(crate) struct Administrator {
    uid: Id,
    record: IdentityRecord,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Administrator {
    pub(crate) fn create(authority: &Authority, name: &str) -> Result<Self, InitError> {
        let uid = Id::random();
        let key = KeyPair::generate().map_err(|error| failed("the administrator", error))?;
        let (certificate, issued) = authority
            .identity(uid, name, &key, ADMIN_DAYS)
            .map_err(|error| failed("the administrator", error))?;
        let record = IdentityRecord {
            name: name.to_owned(),
            administrator: true,
            created: clock::seconds(),
            certificate_expires: issued.expires,
            certificates: vec![CertificateRecord {
                serial: issued.serial,
                expires: issued.expires,
            }],
            valid_days: ADMIN_DAYS,
            ..IdentityRecord::default()
        };
        Ok(Self { uid, record, certificate, key })
    }

    /// What a store has of it.
    pub(crate) fn entries(&self, vault: &Vault) -> Result<[(String, Vec<u8>); 2], InitError> {
        let seal = |path: String, plaintext: &[u8]| {
            let sealed =
                vault.seal(&path, plaintext).map_err(|error| failed("the store", error))?;
            Ok::<_, InitError>((path, sealed))
        };
        let name_path = paths::identity_name(&vault.hash("identity", self.record.name.as_bytes()));
        Ok([
            seal(paths::identity(self.uid), &self.record.encode_to_vec())?,
            seal(name_path, self.uid.as_bytes())?,
        ])
    }

    /// Writes its client configuration into a folder.
    pub(crate) fn write(
        &self,
        authority: &Authority,
        listen: SocketAddr,
        folder: &Path,
    ) -> Result<(), InitError> {
        let private_key = Zeroizing::new(self.key.serialize_pem());
        Bundle {
            endpoints: &[endpoint(listen).to_string()],
            server_name: "keyward",
            slots: &[],
            profile: "full",
            authority: authority.certificate(),
            certificate: &self.certificate,
            private_key: &private_key,
        }
        .write(folder)?;
        Ok(())
    }
}

/// Issues the server's certificate; writes it, its key and the authority's
/// certificate.
pub(crate) fn write_server(
    authority: &Authority,
    listen: SocketAddr,
    sans: &[String],
    dir: &Path,
) -> Result<(), InitError> {
    let (names, mut addresses) = split_sans(sans);
    if !listen.ip().is_unspecified() {
        addresses.push(listen.ip());
    }
    let (certificate, key) = authority
        .server(&names, &addresses)
        .map_err(|error| failed("the server's certificate", error))?;
    let key = Zeroizing::new(key.serialize_pem());
    files::write_new(&dir.join(PRIVATE_KEY), key.as_bytes(), files::SECRET)?;
    let pem = certificate_pem(&certificate);
    files::write_new(&dir.join(CERTIFICATE), pem.as_bytes(), files::PUBLIC)?;
    let pem = certificate_pem(authority.certificate());
    Ok(files::write_new(&dir.join(AUTHORITY), pem.as_bytes(), files::PUBLIC)?)
}

pub(crate) fn write_master_key(master_key: &Secret, dir: &Path) -> Result<(), InitError> {
    let text = master::text(master_key);
    Ok(files::write_new(&dir.join(MASTER_KEY), text.as_bytes(), files::SECRET)?)
}

/// Moves the parts to where they belong, the configuration last: where it is,
/// everything else is too.
pub(crate) fn publish(draft: &Path, dir: &Path) -> Result<(), InitError> {
    // A replica has no administrator, and a store in etcd no file.
    for name in PARTS.into_iter().filter(|name| draft.join(name).exists()) {
        let target = dir.join(name);
        fs::rename(draft.join(name), &target)
            .map_err(|error| FileError::Write { path: target, error })?;
    }
    fs::remove_dir(draft)
        .and_then(|()| fs::File::open(dir)?.sync_all())
        .map_err(|error| FileError::Write { path: dir.to_owned(), error }.into())
}

/// Names apart from addresses.
fn split_sans(sans: &[String]) -> (Vec<String>, Vec<IpAddr>) {
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for san in sans {
        match san.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(san.clone()),
        }
    }
    (names, addresses)
}

/// Where a client on this machine reaches what listens there.
fn endpoint(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port()))
    } else {
        listen
    }
}

pub(crate) fn failed(what: &'static str, error: impl std::fmt::Display) -> InitError {
    InitError::Failed { what, error: error.to_string() }
}

const DRAFT: &str = ".keyward-init";
const CONFIG: &str = "keyward.toml";
const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "server.pem";
const PRIVATE_KEY: &str = "server.key";
const MASTER_KEY: &str = "master.key";
pub(crate) const DATA: &str = "store.redb";
pub(crate) const ADMIN: &str = "admin";
const PARTS: [&str; 7] = [PRIVATE_KEY, CERTIFICATE, AUTHORITY, MASTER_KEY, DATA, ADMIN, CONFIG];

/// The life of the first administrator's certificate.
const ADMIN_DAYS: u32 = 3650;
