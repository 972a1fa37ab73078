//! The error that travels: a code and a sentence.

use std::borrow::Cow;

use crate::{ErrorCode, Failure};

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What a program acts on.
    pub code: ErrorCode,
    /// What a person reads: one sentence, no secret in it.
    pub message: Cow<'static, str>,
    /// With [`ErrorCode::Later`]: milliseconds to wait before the next try.
    pub retry_after_ms: u32,
}

impl Error {
    /// An error with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: 0 }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code(),
            message: Cow::Owned(failure.message),
            retry_after_ms: failure.retry_after_ms,
        }
    }
}

/// A result whose error can travel.
pub type Result<T> = std::result::Result<T, Error>;
