//! `keyward master-key`: into the seal of an HSM, out of it, from one to the next.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use keyward_service::config::Config;
use keyward_service::files::FileError;
use keyward_service::master::{self, Master, MasterKeyError, Means, Moved, Sealed, Target};
use serde_json::json;

use crate::failure::Failure;
use crate::output;
use crate::service_config::{self, PATH};
use crate::terminal;

/// Keep a service's master key sealed by a key in an HSM
#[derive(Subcommand, Debug)]
pub enum MasterKeyCommand {
    Seal(SealArgs),
    Unseal(UnsealArgs),
    Show(ShowArgs),
}

/// Which master key.
#[derive(Args, Debug)]
struct Source {
    /// The service's configuration: its master key, and its [[hsm]]
    #[arg(long, value_name = "FILE", default_value = PATH)]
    config: PathBuf,
    /// The master key in this file, sealed or not, instead of the configuration's
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Write the master key, sealed by a key in an HSM, to a new file
#[derive(Args, Debug)]
#[command(
    after_long_help = "The key in the HSM is an AES-256 key that never leaves it, or an RSA key where the HSM has no AES-GCM;\nit is made if it is not there. The HSM has opened the new file before that gets its name, and nothing\nis replaced. The store does not change, and the service may run: it reads the new file when it starts\nanew with a configuration that names it. The master key may be sealed already, by another key or HSM.\n\nExamples:\n  keyward master-key seal --out /etc/keyward/master.sealed\n  keyward master-key seal --hsm new --key keyward-master-2 --out /etc/keyward/master-2.sealed"
)]
pub struct SealArgs {
    #[command(flatten)]
    source: Source,
    /// The name of the [[hsm]] in the configuration [default: the only one]
    #[arg(long, value_name = "NAME")]
    hsm: Option<String>,
    /// The label (CKA_LABEL) of the key in the HSM
    #[arg(long, value_name = "LABEL", default_value = "keyward-master")]
    key: String,
    /// How it is sealed [default: as the key there does, else AES-GCM if the HSM can]
    #[arg(long, value_enum)]
    mechanism: Option<MechanismArg>,
    /// The file to write; one that is there is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a master key is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MechanismArg {
    /// By an AES-256 key: CKM_AES_GCM
    AesGcm,
    /// By an RSA key: CKM_RSA_PKCS_OAEP
    RsaOaep,
}

/// Write the master key as it is to a new file
#[derive(Args, Debug)]
#[command(
    after_long_help = "Who has the file has the master key: keep it where copies of the store are not.\n\nExamples:\n  keyward master-key unseal --out /mnt/safe/master.key\n  keyward master-key unseal --from /etc/keyward/master.sealed --out /etc/keyward/master.key"
)]
pub struct UnsealArgs {
    #[command(flatten)]
    source: Source,
    /// The file to write; one that is there is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Open the master key, and say where it is and what seals it
#[derive(Args, Debug)]
#[command(
    after_long_help = "The check value says whether two master keys are the same, and nothing else.\n\nExamples:\n  keyward master-key show\n  keyward master-key show --from /mnt/safe/master.key"
)]
pub struct ShowArgs {
    #[command(flatten)]
    source: Source,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl MasterKeyCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// If the master key, the HSM or its key is not to be had, or the file is
    /// there already.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Seal(args) => args.run(),
            Self::Unseal(args) => args.run(),
            Self::Show(args) => args.run(),
        }
    }
}

impl Source {
    fn open(&self) -> Result<(Config, Master)> {
        let config = service_config::load(&self.config)?;
        let master = match &self.from {
            Some(file) => config.master_in(file.clone()).map_err(failure)?,
            None => config.master(),
        };
        Ok((config, master))
    }
}

impl SealArgs {
    fn run(self) -> Result<()> {
        let (config, from) = self.source.open()?;
        let means = self.mechanism.map(|mechanism| match mechanism {
            MechanismArg::AesGcm => Means::AesGcm,
            MechanismArg::RsaOaep => Means::RsaOaep,
        });
        let target = Target { hsm: self.hsm, key: self.key, means };
        let moved = master::seal(&config, &from, &target, &self.out).map_err(failure)?;
        let Some((hsm, sealed, made)) = &moved.sealed else {
            return Err(Failure::new("the master key was not sealed").into());
        };
        if self.json {
            let mut view = view(&moved.file, &moved.check, Some((hsm, sealed)));
            view["key_made"] = (*made).into();
            return output::json(&view);
        }
        terminal::note(&format!(
            "wrote {}, which the HSM {hsm} has opened: sealed by the key {:?}{} of its token {:?} \
             ({})",
            moved.file.display(),
            sealed.key,
            if *made { ", made now," } else { "" },
            sealed.token,
            sealed.mechanism(),
        ));
        let name = relative(&moved.file, &self.source.config);
        terminal::hint(&format!(
            "{} names it so: master_key = {{ seal = \"pkcs11\", file = {}, hsm = {} }}",
            self.source.config.display(),
            quoted(&name),
            quoted(hsm),
        ));
        if !from.is_sealed() {
            terminal::hint(&format!(
                "when the service has started so, keep {} in a safe place only: it is the key \
                 itself, and what helps if the HSM is lost",
                from.name().display()
            ));
        }
        Ok(())
    }
}

impl UnsealArgs {
    fn run(self) -> Result<()> {
        let (_, from) = self.source.open()?;
        let moved: Moved = master::unseal(&from, &self.out).map_err(failure)?;
        if self.json {
            return output::json(&view(&moved.file, &moved.check, None));
        }
        terminal::note(&format!("wrote {}: the master key as it is", moved.file.display()));
        terminal::hint("who has this file and a copy of the store has all keys");
        Ok(())
    }
}

impl ShowArgs {
    fn run(self) -> Result<()> {
        let (_, from) = self.source.open()?;
        let shown = master::show(&from).map_err(failure)?;
        let sealed = shown.sealed.as_ref().map(|(hsm, sealed)| (hsm.as_str(), sealed));
        if self.json {
            return output::json(&view(from.name(), &shown.check, sealed));
        }
        let mut pairs = vec![("master key", from.name().display().to_string())];
        match sealed {
            Some((hsm, sealed)) => pairs.extend([
                (
                    "sealed by",
                    format!("the key {:?} (CKA_ID {})", sealed.key, output::hex(&sealed.id)),
                ),
                ("of the token", format!("{:?} (serial number {})", sealed.token, sealed.serial)),
                ("by", sealed.mechanism().to_owned()),
                ("opened by", format!("the HSM {hsm}, just now")),
            ]),
            None => pairs.push(("sealed by", "nothing: it is the key itself".to_owned())),
        }
        pairs.push(("check value", shown.check));
        output::pairs(&pairs)
    }
}

fn view(file: &Path, check: &str, sealed: Option<(&str, &Sealed)>) -> serde_json::Value {
    let mut view = json!({
        "file": file.display().to_string(),
        "check_value": check,
        "sealed": sealed.is_some(),
    });
    if let Some((hsm, sealed)) = sealed {
        view["hsm"] = hsm.into();
        view["token"] = sealed.token.clone().into();
        view["serial"] = sealed.serial.clone().into();
        view["key"] = sealed.key.clone().into();
        view["id"] = output::hex(&sealed.id).into();
        view["mechanism"] = sealed.mechanism().into();
    }
    view
}

/// How the configuration names a file: as short as it may.
fn relative(file: &Path, config: &Path) -> String {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = config.canonicalize().ok().and_then(|config| Some(config.parent()?.to_owned()));
    let short = folder.as_deref().and_then(|folder| file.strip_prefix(folder).ok());
    short.unwrap_or(&file).display().to_string()
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn failure(error: MasterKeyError) -> Failure {
    let failure = Failure::from_error(&error);
    match error {
        MasterKeyError::File(FileError::Write { path, error })
            if error.kind() == io::ErrorKind::AlreadyExists =>
        {
            let is_draft = path.extension().is_some_and(|extension| extension == "partial");
            failure.hint(match is_draft {
                true => "another run writes there, or was cut off: then delete it",
                false => "nothing is replaced: name a file that is not there yet",
            })
        }
        _ => failure,
    }
}
