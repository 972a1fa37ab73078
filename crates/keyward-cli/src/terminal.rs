//! How `keyward` talks to a person.
//!
//! - Prompts go to the terminal itself, and answers come from it, so that
//!   standard input and output stay free for data.
//! - Everything else that is said goes to standard error: `keyward: error: ...`,
//!   `keyward: warning: ...`, `keyward: hint: ...`, and plain `keyward: ...`.
//! - Standard output carries what was asked for and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Says why the command failed, and what to do next.
pub fn error(error: &anyhow::Error) {
    eprintln!("keyward: error: {}", sentence(error));
    for hint in hints(error) {
        eprintln!("keyward: hint: {hint}");
    }
}

/// Says something that may be a mistake.
pub fn warning(text: &str) {
    eprintln!("keyward: warning: {text}");
}

/// Says what to do next.
pub fn hint(text: &str) {
    eprintln!("keyward: hint: {text}");
}

/// Says what was done.
pub fn note(text: &str) {
    eprintln!("keyward: {text}");
}

/// Asks before something is destroyed. `yes` is the answer given on the command
/// line.
///
/// # Errors
/// If the answer is no, or there is no terminal to ask on.
pub fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let Some(mut terminal) = terminal() else {
        return Err(Failure::new(
            "this is done only after a question, and there is no terminal to ask on",
        )
        .hint(format!("{question} If so, add --yes"))
        .into());
    };
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    BufReader::new(terminal).read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was changed").into()),
    }
}

/// Where a PIN comes from: the flag, else the file, else the environment, else
/// the terminal.
pub struct PinSource<'a> {
    /// As messages name it: "SO PIN", "user PIN".
    pub name: &'a str,
    /// The flag's name and value.
    pub flag: (&'a str, Option<&'a str>),
    /// The flag that names a file, and the file; `-` is standard input.
    pub file: (&'a str, Option<&'a Path>),
    /// The environment variable.
    pub variable: Option<&'a str>,
    /// Ask twice, because a mistyped PIN could not be used.
    pub twice: bool,
}

impl PinSource<'_> {
    /// The PIN.
    ///
    /// # Errors
    /// If it is given nowhere and there is no terminal to ask on, or its file
    /// can be read by others.
    pub fn read(&self) -> Result<Zeroizing<String>> {
        if let (flag, Some(pin)) = self.flag {
            warning(&format!(
                "a PIN after {flag} can be seen in the list of processes; {} keeps it out",
                self.file.0
            ));
            return Ok(Zeroizing::new(pin.to_owned()));
        }
        if let Some(file) = self.file.1 {
            return self.of_file(file);
        }
        if let Some(pin) = self.variable.and_then(|name| std::env::var(name).ok()) {
            return Ok(Zeroizing::new(pin));
        }
        if terminal().is_none() {
            let variable = self.variable.map(|name| format!(", {name}")).unwrap_or_default();
            return Err(Failure::new(format!("no {} is given", self.name))
                .hint(format!(
                    "give it by {}{variable}, or run this on a terminal and be asked",
                    self.file.0
                ))
                .into());
        }
        self.ask()
    }

    fn of_file(&self, file: &Path) -> Result<Zeroizing<String>> {
        let mut pin = Zeroizing::new(String::new());
        if file == Path::new("-") {
            io::stdin().read_to_string(&mut pin).context("standard input")?;
        } else {
            let mut opened = open_secret(file)?;
            opened
                .read_to_string(&mut pin)
                .with_context(|| format!("{} cannot be read", file.display()))?;
        }
        let length = pin.trim_end_matches(['\r', '\n']).len();
        pin.truncate(length);
        if pin.is_empty() {
            return Err(Failure::new(format!("{} holds no {}", file.display(), self.name)).into());
        }
        Ok(pin)
    }

    fn ask(&self) -> Result<Zeroizing<String>> {
        let ask = |prompt: String| -> Result<Zeroizing<String>> {
            Ok(Zeroizing::new(
                rpassword::prompt_password(prompt).context("the terminal cannot be read")?,
            ))
        };
        let pin = ask(format!("{}: ", capital(self.name)))?;
        if self.twice && *ask(format!("{} again: ", capital(self.name)))? != *pin {
            return Err(Failure::new(format!("the two entries of the {} differ", self.name)).into());
        }
        Ok(pin)
    }
}

/// Opens a file with a secret in it.
///
/// # Errors
/// If it cannot be opened, or others than its owner can read it.
pub fn open_secret(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    refuse_exposed(path, &file)?;
    Ok(file)
}

/// Refuses a file with a secret in it that others than its owner can read.
///
/// # Errors
/// If it is one.
pub fn refuse_exposed(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::new(format!(
            "{} holds a secret and others can read it",
            path.display()
        ))
        .hint(format!("chmod 600 {}", quote(&path.display().to_string())))
        .into());
    }
    Ok(())
}

/// Writes data to a file, or to standard output if none is named or it is `-`.
///
/// # Errors
/// What the system says.
pub fn write_data(out: Option<&PathBuf>, data: &[u8]) -> Result<()> {
    match out {
        Some(path) if path != Path::new("-") => {
            fs::write(path, data).with_context(|| format!("{} cannot be written", path.display()))
        }
        _ => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(data)?;
            Ok(stdout.flush()?)
        }
    }
}

/// `text` as one word of a POSIX shell.
pub fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@,+%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The whole chain of causes as one sentence; a cause that its effect has
/// already told is not told again.
fn sentence(error: &anyhow::Error) -> String {
    let mut whole = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if whole.contains(&cause) {
            continue;
        }
        if !whole.is_empty() {
            whole.push_str(": ");
        }
        whole.push_str(&cause);
    }
    whole
}

fn hints(error: &anyhow::Error) -> Vec<String> {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>())
        .flat_map(|failure| failure.hints().iter().cloned())
        .collect()
}

fn terminal() -> Option<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").ok()
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell_only_where_they_must_be() {
        for (text, quoted) in [
            ("/tmp/a-b_c.toml", "/tmp/a-b_c.toml"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn a_cause_told_already_is_not_told_again() {
        let error =
            anyhow::anyhow!("no such file").context("a.pem: no such file").context("reading");
        assert_eq!(sentence(&error), "reading: a.pem: no such file");
    }
}
