//! What goes wrong, to what, and what to do.

use std::fmt;

/// An error in one sentence, with what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    sentence: String,
    hint: Option<String>,
    kind: Kind,
}

/// What an error means for what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This object, file or argument is at fault.
    Fault,
    /// A password is wrong, or none is given.
    Password,
    /// The token is gone, full or not usable: nothing else would succeed either.
    Token,
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// One object, file or argument is at fault.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: None, kind: Kind::Fault }
    }

    /// A password is wrong or missing.
    pub fn password(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Password, ..Self::new(sentence) }
    }

    /// The token as a whole cannot be used.
    pub fn token(sentence: impl Into<String>) -> Self {
        Self { kind: Kind::Token, ..Self::new(sentence) }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says to what it happened.
    #[must_use]
    pub fn of(self, what: impl fmt::Display) -> Self {
        Self { sentence: format!("{what}: {}", self.sentence), ..self }
    }

    /// What to do next, if there is something.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What it means for what comes after it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Error {}

impl From<keyward_crypto::Error> for Error {
    fn from(error: keyward_crypto::Error) -> Self {
        Self::new(error.to_string())
    }
}
