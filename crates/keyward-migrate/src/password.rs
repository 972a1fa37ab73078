//! The passwords that keystores and their entries are tried with.

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Asks a person for the password of what is named.
pub type Ask<'a> = Box<dyn Fn(&str) -> Result<Zeroizing<String>> + 'a>;

/// Passwords that may fit. Each is tried on each file and each entry: the nodes
/// of a cluster often have different ones, and an entry may have its own.
#[derive(Default)]
pub struct Passwords<'a> {
    known: Vec<Zeroizing<String>>,
    ask: Option<Ask<'a>>,
}

impl<'a> Passwords<'a> {
    /// Passwords that are known beforehand.
    pub fn new(known: Vec<Zeroizing<String>>) -> Self {
        Self { known, ask: None }
    }

    /// One on each line.
    #[must_use]
    pub fn from_lines(text: &str) -> Vec<Zeroizing<String>> {
        text.lines().map(|line| Zeroizing::new(line.to_owned())).collect()
    }

    /// Someone who is asked where none of the others fits.
    #[must_use]
    pub fn asking(self, ask: Ask<'a>) -> Self {
        Self { ask: Some(ask), ..self }
    }

    /// Tries `first`, then the known ones, then asks. `open` says by an error of
    /// [`Kind::Password`](crate::error::Kind::Password) that a password is not the
    /// right one; any other result is final.
    ///
    /// # Errors
    /// What `open` says last, or that no password is known.
    pub(crate) fn open<T>(
        &mut self,
        what: &str,
        first: &[&str],
        open: impl Fn(&str) -> Result<T>,
    ) -> Result<(T, Zeroizing<String>)> {
        let wrong = |error: &Error| error.kind() == crate::error::Kind::Password;
        let mut last = None;
        let tried = first.iter().copied();
        for password in tried.chain(self.known.iter().map(|known| known.as_str())) {
            match open(password) {
                Ok(value) => return Ok((value, Zeroizing::new(password.to_owned()))),
                Err(error) if wrong(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let Some(ask) = &self.ask else {
            return Err(last.unwrap_or_else(|| {
                Error::password("a password is needed")
                    .hint("give it by --password-file, KEYWARD_MIGRATE_PASSWORD, or on a terminal")
            }));
        };
        let password = ask(what)?;
        let value = open(&password)?;
        self.known.push(password.clone());
        Ok((value, password))
    }
}

/// What is said of every password that does not fit, whatever betrays it.
pub(crate) fn wrong() -> Error {
    Error::password("the password is wrong, or the file was changed")
}
