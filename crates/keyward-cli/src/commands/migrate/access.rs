//! What opens sources and targets: PINs and passwords, from files, the
//! environment or a person, and never from the command line.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use keyward_migrate::source::Source;
use keyward_migrate::{Access, Error, Libraries, Passwords, Pins, Uri};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::terminal::PinSource;

/// What opens a source.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "What opens the source")]
pub struct SourceSecrets {
    /// Passwords of keystores and of their entries, one a line, each tried on each; - is standard
    /// input [env: KEYWARD_MIGRATE_PASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The PIN of a source token; - is standard input [env: KEYWARD_MIGRATE_FROM_PIN]
    #[arg(long, value_name = "FILE")]
    from_pin_file: Option<PathBuf>,
}

/// What opens a target.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "What opens the target")]
pub struct TargetSecrets {
    /// The PIN of the target; - is standard input [env: KEYWARD_MIGRATE_TO_PIN]
    #[arg(long, value_name = "FILE")]
    to_pin_file: Option<PathBuf>,
}

/// What opens both.
#[derive(Args, Debug, Clone)]
pub struct Secrets {
    #[command(flatten)]
    source: SourceSecrets,
    #[command(flatten)]
    target: TargetSecrets,
}

impl Secrets {
    /// Opens source and target, in this order, and reads what is in them.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub fn open(
        &self,
        (from, to): (&[String], &str),
        libraries: &mut Libraries,
        access: Access<'_>,
    ) -> Result<(Source, Source)> {
        let source = self.source.open(from, libraries, access)?;
        Ok((source, self.target.open(to, libraries)?))
    }
}

impl SourceSecrets {
    /// Opens a source and reads what is in it.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(
        &self,
        names: &[String],
        libraries: &mut Libraries,
        access: Access<'_>,
    ) -> Result<Source> {
        let mut known = Vec::new();
        if let Some(file) = &self.password_file {
            let text = secret("password", "--password-file", Some(file), PASSWORD)?;
            known = Passwords::from_lines(&text);
        } else if let Ok(text) = std::env::var(PASSWORD) {
            known = Passwords::from_lines(&Zeroizing::new(text));
        }
        let ask = |what: &str| {
            let name = format!("password of {what}");
            secret(&name, "--password-file", None, PASSWORD)
                .map_err(|error| Error::password(error.to_string()))
        };
        let mut passwords = Passwords::new(known);
        if can_ask() {
            passwords = passwords.asking(Box::new(ask));
        }
        let pins = FilePin {
            name: "PIN of the source",
            flag: "--from-pin-file",
            file: self.from_pin_file.as_deref(),
            variable: "KEYWARD_MIGRATE_FROM_PIN",
        };
        Source::open(names, libraries, &pins, &mut passwords, access).map_err(failed)
    }
}

impl TargetSecrets {
    /// Opens a target and reads what is in it.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self, uri: &str, libraries: &mut Libraries) -> Result<Source> {
        let pins = FilePin {
            name: "PIN of the target",
            flag: "--to-pin-file",
            file: self.to_pin_file.as_deref(),
            variable: "KEYWARD_MIGRATE_TO_PIN",
        };
        if !Uri::is_one(uri) {
            return Err(Failure::usage(format!("{uri:?} is no token"))
                .hint("the target is a URI: 'pkcs11:token=LABEL?module-path=/PATH/TO/LIBRARY.so'")
                .into());
        }
        Source::token(uri, libraries, &pins, Access::Write).map_err(failed)
    }
}

/// The PIN of a source token's security officer.
///
/// # Errors
/// If it is given nowhere.
pub fn officers_pin(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let flag = "--from-so-pin-file";
    secret("SO PIN of the source", flag, file, "KEYWARD_MIGRATE_FROM_SO_PIN")
}

/// A library's error as this command tells one.
pub fn failed(error: Error) -> anyhow::Error {
    let failure = Failure::new(error.to_string());
    match error.next_step() {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}

struct FilePin<'a> {
    name: &'static str,
    flag: &'static str,
    file: Option<&'a Path>,
    variable: &'static str,
}

impl Pins for FilePin<'_> {
    fn user(&self, uri: &Uri) -> keyward_migrate::Result<Zeroizing<String>> {
        // What the command line says goes before what the URI says.
        let file = self.file.or(uri.pin_source.as_deref());
        secret(self.name, self.flag, file, self.variable).map_err(|error| {
            let hint = error
                .downcast_ref::<Failure>()
                .and_then(|failure| failure.hints().first().cloned());
            match hint {
                Some(hint) => Error::password(error.to_string()).hint(hint),
                None => Error::password(error.to_string()),
            }
        })
    }
}

fn secret(
    name: &str,
    flag: &str,
    file: Option<&Path>,
    variable: &str,
) -> Result<Zeroizing<String>> {
    PinSource {
        name,
        // There is none: it would be seen in the list of processes.
        flag: ("", None),
        file: (flag, file),
        variable: Some(variable),
        twice: false,
    }
    .read()
}

/// Whether there is a person to ask.
fn can_ask() -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").is_ok()
}

const PASSWORD: &str = "KEYWARD_MIGRATE_PASSWORD";
