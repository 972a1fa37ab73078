//! An error with what to do next.

use std::error::Error;
use std::fmt;

/// What happened, to what, and what to do next: one sentence each, without a
/// full stop, as [`crate::terminal`] prints them.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    hints: Vec<String>,
    code: u8,
}

impl Failure {
    /// A failure told in one sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hints: Vec::new(), code: FAILURE }
    }

    /// What a library's error says, brought into one sentence; what follows a
    /// semicolon is what to do, and becomes a hint.
    pub fn from_error(error: &impl Error) -> Self {
        let text = error.to_string();
        // A TOML error shows the line that is wrong; its number is enough.
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| {
                !line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|')
            })
            .filter(|line| !line.is_empty())
            .collect();
        let sentence = lines.join(": ");
        match sentence.split_once("; ") {
            Some((what, remedy)) => Self::new(what).hint(remedy),
            None => Self::new(sentence),
        }
    }

    /// A failure for which the command line is to blame.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(sentence).with_code(USAGE)
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The hints, in the order in which they were added.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for Failure {}

/// The exit code of whatever has none of its own.
pub const FAILURE: u8 = 1;
/// The exit code for a wrong command line.
pub const USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_many_lines_becomes_one_sentence_and_a_remedy_a_hint() {
        let text = "k.toml: TOML parse error at line 3, column 1\n  |\n3 | lisen = 1\n  | ^^^^^\nunknown field `lisen`\n";
        let failure = Failure::from_error(&std::io::Error::other(text));
        assert_eq!(
            failure.to_string(),
            "k.toml: TOML parse error at line 3, column 1: unknown field `lisen`"
        );
        let failure =
            Failure::from_error(&std::io::Error::other("a is exposed; run `chmod 600 a`"));
        assert_eq!(failure.to_string(), "a is exposed");
        assert_eq!(failure.hints(), ["run `chmod 600 a`"]);
    }
}
