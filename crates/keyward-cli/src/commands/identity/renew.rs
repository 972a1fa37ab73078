//! `keyward identity renew`: a new certificate and key for an identity that
//! goes on.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use keyward_client::{Config, identity_key, pending_key};
use keyward_crypto::ec::{Curve, EcPrivateKey};
use keyward_service::bundle::{certificate_pem, write_identity};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{IdentityResult, RenewIdentity, RevokeCertificates};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;
use tempfile::NamedTempFile;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{IdentityView, certificate_request, refuse_occupied};
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{self, moment};
use crate::selector::from_hex;
use crate::terminal::{self, quote};
use crate::x509::certificate::{Certificate, to_pem};

/// `keyward identity renew`.
#[derive(Args, Debug)]
pub struct Renew {
    /// The identity's name; with --out
    #[arg(requires = "out", required_unless_present = "client", conflicts_with = "client")]
    name: Option<String>,
    /// The folder to make, with ca.pem, identity.pem and identity.key
    #[arg(long, value_name = "DIR", requires = "name")]
    out: Option<PathBuf>,
    /// The client.toml of the identity that renews itself; its files are replaced
    #[arg(long = "config", value_name = "FILE")]
    client: Option<PathBuf>,
    /// How long the certificate is good for [default: as long as the identity was made for]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    valid_days: Option<u32>,
    /// End the identity's earlier certificates, and the connections made with them
    #[arg(long)]
    revoke_old: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What `--json` shows.
#[derive(Serialize)]
struct Renewed {
    #[serde(flatten)]
    identity: IdentityView,
    authority: String,
    certificate: String,
    private_key: String,
}

impl Renew {
    pub(super) fn run(self) -> Result<()> {
        match (&self.client, &self.name, &self.out) {
            (Some(client), ..) => self.renew_itself(client),
            (None, Some(name), Some(out)) => self.renew_another(name, out),
            // The command line was checked for that.
            _ => Err(Failure::usage("neither a name with --out is given nor --config").into()),
        }
    }

    fn renew_another(&self, name: &str, out: &Path) -> Result<()> {
        refuse_occupied(out)?;
        let admin = Admin::open(&self.admin)?;
        let key = NewKey::generate()?;
        let result = self.ask(&admin, name, &key)?;
        let written = write_identity(out, &result.authority, &result.certificate, &key.pem)
            .map_err(|error| {
                Failure::from_error(&error).hint("nothing has ended: renew it again")
            })?;
        if self.revoke_old {
            revoke_old(&admin, name, &result.certificate)?;
        }
        self.tell(&result, [&written.authority, &written.certificate, &written.private_key])?;
        if !self.json {
            terminal::hint(
                "put identity.key and identity.pem in the place of the old ones on its machine; a \
                 running JVM takes them with its next connection",
            );
        }
        Ok(())
    }

    fn renew_itself(&self, path: &Path) -> Result<()> {
        let admin = Admin::of_client(path)?;
        let config = admin.config();
        refuse_expired(config)?;
        let _lock = only_one(&config.private_key)?;
        finish_what_was_cut_short(config)?;
        // What cannot be replaced is to be known before there is a new one.
        if config.private_key.canonicalize().ok() == config.certificate.canonicalize().ok() {
            return Err(Failure::new(format!(
                "{} holds both certificate and key, and cannot be replaced in one step",
                config.certificate.display()
            ))
            .hint("keep them in two files, as `identity create` does")
            .into());
        }
        let key_file = Replacement::prepare(&config.private_key)?;
        let certificate_file = Replacement::prepare(&config.certificate)?;
        let key = NewKey::generate()?;
        let result = self.ask(&admin, "", &key)?;
        let certificate = certificate_pem(&result.certificate);
        replace(certificate_file, &certificate, key_file, &key.pem)?;

        let renewed = Admin::of_client(path)?;
        renewed.hello().context("the new certificate is in place and does not work")?;
        if self.revoke_old {
            revoke_old(&renewed, "", &result.certificate)?;
        }
        self.tell(&result, [&config.authority, &config.certificate, &config.private_key])
    }

    fn ask(&self, admin: &Admin, name: &str, key: &NewKey) -> Result<IdentityResult> {
        let operation = Operation::RenewIdentity(RenewIdentity {
            name: name.to_owned(),
            certificate_request: key.request.clone(),
            valid_days: self.valid_days.unwrap_or(0),
        });
        admin.one("", operation, |answer| match answer {
            Answer::Identity(result) => Some(result),
            _ => None,
        })
    }

    fn tell(&self, result: &IdentityResult, files: [&Path; 3]) -> Result<()> {
        let identity = result.identity.as_ref().context("the service gave no identity")?;
        if self.json {
            let [authority, certificate, private_key] =
                files.map(|file| file.display().to_string());
            let identity = IdentityView::of(identity);
            return output::json(&Renewed { identity, authority, certificate, private_key });
        }
        terminal::note(&format!(
            "identity {:?} has a new certificate in {}; it expires {}",
            identity.name,
            files[1].display(),
            output::day(&moment(identity.certificate_expires))
        ));
        if self.revoke_old {
            terminal::note("its earlier certificates are good no longer");
        }
        Ok(())
    }
}

/// A key, and the request for its certificate.
struct NewKey {
    pem: Zeroizing<String>,
    request: Vec<u8>,
}

impl NewKey {
    fn generate() -> Result<Self> {
        let key = EcPrivateKey::generate(Curve::P256)?;
        Ok(Self {
            pem: Zeroizing::new(to_pem("PRIVATE KEY", &key.to_pkcs8_der())),
            // The service writes its own name for it into the certificate.
            request: certificate_request(&key, "renewed")?,
        })
    }
}

/// Refuses to renew what another process is renewing, until the file is closed.
fn only_one(private_key: &Path) -> Result<File> {
    let folder = private_key.canonicalize().ok().and_then(|key| key.parent().map(Path::to_owned));
    let folder = folder.unwrap_or_else(|| PathBuf::from("/"));
    let shown = folder.display();
    let file = File::open(&folder).with_context(|| format!("cannot read {shown}"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            Err(Failure::new(format!("another process is renewing the identity in {shown}"))
                .hint("it takes a moment: look whether its certificate is a new one")
                .into())
        }
        Err(error) => Err(error).with_context(|| format!("{shown} cannot be locked")),
    }
}

/// A renewal that ended after it replaced the certificate has left the key
/// beside its place.
fn finish_what_was_cut_short(config: &Config) -> Result<()> {
    let pending = pending_key(&config.private_key);
    if identity_key(config).map_err(|error| Failure::from_error(&error))? == pending {
        let target = config.private_key.canonicalize().context("the key's place")?;
        put(&pending, &target)?;
    }
    Ok(())
}

/// A file that is to be replaced, and the new one beside it, `.new` behind its
/// name.
struct Replacement {
    target: PathBuf,
    new: NamedTempFile,
}

impl Replacement {
    /// A new file beside the old one, with its owner and mode.
    fn prepare(path: &Path) -> Result<Self> {
        let failed = || format!("{} cannot be replaced", path.display());
        // A link goes on pointing to where it points.
        let target = path.canonicalize().with_context(failed)?;
        let old = fs::metadata(&target).with_context(failed)?;
        let folder = target.parent().unwrap_or(Path::new("/"));
        let name = target.file_name().unwrap_or_default();
        // Of a renewal that was cut short before it replaced anything.
        match fs::remove_file(pending_key(&target)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
        .with_context(failed)?;
        let new = tempfile::Builder::new()
            .prefix(name)
            .suffix(".new")
            .rand_bytes(0)
            .tempfile_in(folder)
            .with_context(failed)?;
        let made = new.as_file().metadata().with_context(failed)?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid())).with_context(|| {
                let user = old.uid();
                format!("{}: run this as its owner (user {user}) or as root", failed())
            })?;
        }
        let mode = Permissions::from_mode(old.mode() & 0o777);
        new.as_file().set_permissions(mode).with_context(failed)?;
        Ok(Self { target, new })
    }

    /// Writes the new file, to the disk.
    fn write(&self, content: &str) -> Result<()> {
        let mut file = self.new.as_file();
        file.write_all(content.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("{} cannot be written", self.new.path().display()))
    }

    /// The new file, which stays if this process ends, and its place.
    fn keep(self) -> Result<(PathBuf, PathBuf)> {
        let (_, new) = self.new.keep().context("the new file cannot be kept")?;
        Ok((new, self.target))
    }
}

/// Replaces certificate and key. The identity can be used at any time: the new
/// key is where a client looks for it ([`pending_key`]) before the certificate
/// changes, and until it is in its place.
fn replace(certificate: Replacement, pem: &str, key: Replacement, key_pem: &str) -> Result<()> {
    certificate.write(pem)?;
    key.write(key_pem)?;
    let (new_key, key) = key.keep()?;
    sync_folder(&new_key)?;
    if let Err(error) = put(certificate.new.path(), &certificate.target) {
        // The old one is in place, and its key too.
        let _ = fs::remove_file(&new_key);
        return Err(error);
    }
    put(&new_key, &key)
}

/// Moves a file to its place, on the disk too when this returns.
fn put(new: &Path, target: &Path) -> Result<()> {
    fs::rename(new, target).with_context(|| format!("{} cannot be replaced", target.display()))?;
    sync_folder(target)
}

fn sync_folder(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).context("the folder")
}

fn revoke_old(admin: &Admin, name: &str, certificate: &[u8]) -> Result<()> {
    let serial_number = Certificate::from_der(certificate)?.serial_number;
    let keep = from_hex(&serial_number).context("a certificate without a serial number")?;
    let name = name.to_owned();
    admin.done("", Operation::RevokeCertificates(RevokeCertificates { name, keep }))
}

/// Nobody gets as far as the service with a certificate that has expired.
fn refuse_expired(config: &Config) -> Result<()> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let certificates = Certificate::read_file(&config.certificate)?;
    match certificates.first() {
        Some(certificate) if certificate.not_after < now => Err(Failure::new(format!(
            "the certificate in {} has expired",
            config.certificate.display()
        ))
        .hint(format!(
            "an administrator renews it: keyward identity renew {} --out DIR",
            certificate.subject.strip_prefix("CN=").map_or_else(|| "NAME".to_owned(), quote)
        ))
        .into()),
        _ => Ok(()),
    }
}
