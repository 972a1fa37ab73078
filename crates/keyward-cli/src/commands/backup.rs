//! `keyward backup`: a running service's whole store in one encrypted file.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use keyward_service::backup::{self, Info, Key, Objects, Summary};
use keyward_service::files::{self, FileError};
use keyward_service::master::Master;
use keyward_wire::Backup;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::service_config::{self, PATH as CONFIG};
use crate::terminal::{self, PinSource, quote};

/// Write all that a running service holds into one encrypted file
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "The file is of one moment, and is opened by the service's master key. With a passphrase the\nmaster key goes into it as well: then nothing else is needed to restore a lost machine, and this\ncommand must be run where the master key is.\n\nExamples:\n  keyward backup --out /var/backups/keyward-2027-01-31.backup\n  keyward backup --out keyward.backup --passphrase-file /root/backup-passphrase\n  keyward backup verify keyward.backup"
)]
pub struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// The file to write; one that is there is not replaced
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
    /// Ask for a passphrase and put the master key into the file, wrapped by it
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
    /// As --passphrase, from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// With a passphrase: the master key, in a file [default: the one that the configuration names]
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// With a passphrase: the service's configuration, to find its master key
    // Not `config`: that is the administrator's.
    #[arg(long = "config", value_name = "FILE", default_value = CONFIG)]
    service_config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Subcommand, Debug)]
enum BackupCommand {
    Verify(VerifyArgs),
}

/// Read a whole backup and say what is in it
#[derive(Args, Debug)]
#[command(
    after_long_help = "Every value is decrypted and parsed; nothing is written, and no service is asked.\n\nExamples:\n  keyward backup verify keyward.backup\n  keyward backup verify keyward.backup --passphrase-file /root/backup-passphrase --json"
)]
struct VerifyArgs {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What opens a backup.
#[derive(Args, Debug)]
#[command(next_help_heading = "What opens the backup")]
pub struct KeyArgs {
    /// The master key, in a file [default: the one that the configuration names]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase", "passphrase_file"])]
    master_key: Option<PathBuf>,
    /// Ask for the passphrase that the backup was made with
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
    /// As --passphrase, from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The service's configuration, to find its master key
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// What a summary looks like to a program.
#[derive(Serialize)]
struct SummaryView {
    file: String,
    #[serde(flatten)]
    info: InfoView,
    objects: ObjectsView,
    tokens: Vec<TokenView>,
    identities: Vec<IdentityView>,
}

#[derive(Serialize)]
struct InfoView {
    created: String,
    software: String,
    incarnation: String,
    revision: u64,
    entries: u64,
    passphrase: bool,
}

#[derive(Serialize)]
struct TokenView {
    label: String,
    serial: String,
    objects: ObjectsView,
}

#[derive(Serialize)]
struct ObjectsView {
    private_keys: u64,
    public_keys: u64,
    certificates: u64,
    secret_keys: u64,
    data: u64,
    others: u64,
}

/// An identity of a backup.
#[derive(Serialize)]
pub struct IdentityView {
    name: String,
    administrator: bool,
    revoked: bool,
    certificate_expires: String,
}

impl BackupArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If the service cannot be reached or refuses, or the file cannot be
    /// written; none is left behind then.
    pub fn run(self) -> Result<()> {
        if let Some(BackupCommand::Verify(args)) = self.command {
            return args.run();
        }
        let Some(out) = self.out else {
            return Err(Failure::usage("--out is missing").into());
        };
        if out.symlink_metadata().is_ok() {
            return Err(exists(&out).into());
        }
        let admin = Admin::open(&self.admin)?;
        let mut check = None;
        let mut wrapped = Vec::new();
        if self.passphrase || self.passphrase_file.is_some() {
            let master = master_key(self.master_key.as_deref(), &self.service_config)?;
            let passphrase = passphrase(self.passphrase_file.as_deref(), true)?;
            wrapped = backup::wrap_master_key(&master, &passphrase)
                .map_err(|error| Failure::from_error(&error))?;
            check = Some(Key::Master(master));
        }
        let partial = partial(&out);
        let written = write(&admin, wrapped, &partial)
            // Nobody should learn on the day of need that the passphrase wraps
            // another service's key.
            .and_then(|()| match &check {
                Some(key) => verified(&partial, key).map(drop),
                None => Ok(()),
            })
            .and_then(|()| publish(&partial, &out));
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        written?;
        let info = backup::info(&out).map_err(|error| Failure::from_error(&error))?;
        let bytes = fs::metadata(&out)?.len();
        if self.json {
            let mut view = serde_json::to_value(InfoView::of(&info))?;
            view["file"] = out.display().to_string().into();
            view["bytes"] = bytes.into();
            return output::json(&view);
        }
        terminal::note(&format!(
            "wrote {}: revision {}, {} entries, {bytes} bytes",
            out.display(),
            info.sequence,
            info.entries
        ));
        if !info.passphrase {
            terminal::hint(
                "it is opened by the service's master key only: keep a copy of that elsewhere",
            );
        }
        Ok(())
    }
}

impl VerifyArgs {
    fn run(self) -> Result<()> {
        let summary = verified(&self.file, &self.key.read()?)?;
        if self.json {
            return output::json(&SummaryView::of(&self.file, &summary));
        }
        let Info { created, software, incarnation, sequence, entries, passphrase, .. } =
            &summary.info;
        output::pairs(&[
            ("made", output::moment(*created)),
            ("by", software.clone()),
            ("revision", format!("{sequence} of incarnation {incarnation:016x}")),
            ("entries", format!("{entries}, all of which decrypt and parse")),
            ("opened by", opened_by(*passphrase).to_owned()),
            ("objects", summary.objects.all().to_string()),
        ])?;
        output::print("\n")?;
        let mut table =
            Table::new(["TOKEN", "PRIVATE KEYS", "PUBLIC KEYS", "CERTIFICATES", "OTHER"]);
        for token in &summary.tokens {
            let Objects { private_keys, public_keys, certificates, .. } = token.objects;
            let rest = token.objects.all() - private_keys - public_keys - certificates;
            let counts = [private_keys, public_keys, certificates, rest].map(|n| n.to_string());
            table.row([vec![token.label.clone()], counts.to_vec()].concat());
        }
        table.print("it holds no token")?;
        output::print("\n")?;
        let mut table = Table::new(["IDENTITY", "ADMINISTRATOR", "REVOKED", "CERTIFICATE UNTIL"]);
        for identity in &summary.identities {
            table.row([
                identity.name.clone(),
                output::yes_no(identity.administrator).to_owned(),
                output::yes_no(identity.revoked).to_owned(),
                output::day(&output::moment(identity.certificate_expires)).to_owned(),
            ]);
        }
        table.print("it holds no identity")
    }
}

impl KeyArgs {
    /// Reads what opens the backup.
    ///
    /// # Errors
    /// If it is not there.
    pub fn read(&self) -> Result<Key> {
        if self.passphrase || self.passphrase_file.is_some() {
            let passphrase = passphrase(self.passphrase_file.as_deref(), false)?;
            return Ok(Key::Passphrase(Zeroizing::new(passphrase.as_bytes().to_vec())));
        }
        Ok(Key::Master(master_key(self.master_key.as_deref(), &self.config)?))
    }

    /// Takes the master key from this configuration unless told otherwise.
    pub fn with_config(mut self, config: &Path) -> Self {
        config.clone_into(&mut self.config);
        self
    }
}

/// Has the service make a backup and writes it to a new file.
fn write(admin: &Admin, wrapped_master_key: Vec<u8>, path: &Path) -> Result<()> {
    let mut file = create(path)?;
    let failed = || format!("{} cannot be written", path.display());
    admin
        .backup(Backup { wrapped_master_key }, |part| file.write_all(part).with_context(failed))?;
    file.sync_all().with_context(failed)
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let failure = Failure::new(format!("{} cannot be written: {error}", path.display()));
        match error.kind() {
            ErrorKind::AlreadyExists => failure.hint(format!(
                "another backup is being written there, or was cut off: then rm {}",
                quote(&path.display().to_string())
            )),
            _ => failure,
        }
        .into()
    })
}

/// Gives the file its name, unless that is taken.
fn publish(partial: &Path, out: &Path) -> Result<()> {
    files::publish(partial, out).map_err(|error| match &error {
        FileError::Write { error, .. } if error.kind() == ErrorKind::AlreadyExists => exists(out),
        _ => Failure::from_error(&error),
    })?;
    Ok(())
}

fn partial(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn exists(out: &Path) -> Failure {
    Failure::new(format!("{} exists already", out.display()))
        .hint("a backup replaces no file: name one that is not there yet")
}

fn verified(file: &Path, key: &Key) -> Result<Summary> {
    Ok(backup::verify(file, key).map_err(|error| Failure::from_error(&error))?)
}

fn master_key(file: Option<&Path>, config: &Path) -> Result<Master> {
    if let Some(file) = file {
        return Ok(Master::file(file.to_owned()));
    }
    let config = service_config::load(config).map_err(|failure| {
        failure.hint("the master key is found by the service's configuration, which --config names")
    })?;
    Ok(config.master())
}

fn passphrase(file: Option<&Path>, twice: bool) -> Result<Zeroizing<String>> {
    PinSource {
        name: "passphrase",
        flag: ("", None),
        file: ("--passphrase-file", file),
        variable: None,
        twice,
    }
    .read()
}

fn opened_by(passphrase: bool) -> &'static str {
    if passphrase { "the master key, or the passphrase" } else { "the master key" }
}

impl SummaryView {
    fn of(file: &Path, summary: &Summary) -> Self {
        let tokens = summary.tokens.iter().map(|token| TokenView {
            label: token.label.clone(),
            serial: token.serial.clone(),
            objects: ObjectsView::of(token.objects),
        });
        Self {
            file: file.display().to_string(),
            info: InfoView::of(&summary.info),
            objects: ObjectsView::of(summary.objects),
            tokens: tokens.collect(),
            identities: identities(summary, |_| true),
        }
    }
}

/// Those identities that `wanted` says.
pub fn identities(
    summary: &Summary,
    wanted: impl Fn(&backup::IdentitySummary) -> bool,
) -> Vec<IdentityView> {
    let chosen = summary.identities.iter().filter(|identity| wanted(identity));
    let view = |identity: &backup::IdentitySummary| IdentityView {
        name: identity.name.clone(),
        administrator: identity.administrator,
        revoked: identity.revoked,
        certificate_expires: output::moment(identity.certificate_expires),
    };
    chosen.map(view).collect()
}

impl InfoView {
    fn of(info: &Info) -> Self {
        Self {
            created: output::moment(info.created),
            software: info.software.clone(),
            incarnation: format!("{:016x}", info.incarnation),
            revision: info.sequence,
            entries: info.entries,
            passphrase: info.passphrase,
        }
    }
}

impl ObjectsView {
    fn of(objects: Objects) -> Self {
        let Objects { private_keys, public_keys, certificates, secret_keys, data, others, .. } =
            objects;
        Self { private_keys, public_keys, certificates, secret_keys, data, others }
    }
}
