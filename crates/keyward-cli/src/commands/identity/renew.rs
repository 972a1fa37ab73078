//! `keyward identity renew`: a new certificate and key for an identity that
//! goes on.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use keyward_client::Config;
use keyward_crypto::ec::{Curve, EcPrivateKey};
use keyward_service::bundle::{certificate_pem, write_identity};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{IdentityResult, RenewIdentity, RevokeCertificates};
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
        // What cannot be replaced is to be known before there is a new one.
        let key_file = Replacement::prepare(&config.private_key)?;
        let certificate_file = Replacement::prepare(&config.certificate)?;
        let key = NewKey::generate()?;
        let result = self.ask(&admin, "", &key)?;
        let certificate = certificate_pem(&result.certificate);
        replace(&[(key_file, &key.pem), (certificate_file, &certificate)])?;

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

/// A file that is to be replaced, and the new one beside it.
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
        let new = NamedTempFile::new_in(folder).with_context(failed)?;
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
}

/// Replaces all files. Each of them is whole at any time; that they fit together
/// is so before the first and after the last step, which follow upon each other
/// at once. Who reads in between sees two that do not fit, and reads again.
fn replace(files: &[(Replacement, &str); 2]) -> Result<()> {
    for (file, content) in files {
        let failed = || format!("{} cannot be written", file.target.display());
        file.new.as_file().write_all(content.as_bytes()).with_context(failed)?;
        file.new.as_file().sync_all().with_context(failed)?;
    }
    for (file, _) in files {
        fs::rename(file.new.path(), &file.target)
            .with_context(|| format!("{} cannot be replaced", file.target.display()))?;
    }
    for (file, _) in files {
        let folder = file.target.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).context("the folder")?;
    }
    Ok(())
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
