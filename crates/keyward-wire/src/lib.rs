//! What both ends of a Keyward connection share: the schema, the frames and
//! the error codes.
//!
//! The schema stands in `proto/keyward.proto` and is the reference for the
//! meaning of every field. This crate adds the frame ([`frame`]), the error
//! that travels ([`Error`]) and a `Debug` that shows no secret.

pub mod error;
pub mod frame;
mod operation;
pub mod parts;
mod redact;

pub use error::{Error, Result};

/// The messages of `proto/keyward.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/keyward.v1.rs"));
}

pub use generated::*;

/// The protocol's name in the TLS handshake (ALPN).
pub const ALPN: &[u8] = b"keyward/1";

/// A catalogue longer than this, in bytes of encoded objects, is not sent whole.
pub const CATALOGUE_LIMIT: usize = 4 << 20;

/// What the service's key signs of a snapshot stands behind this.
pub const SNAPSHOT_CONTEXT: &[u8] = b"keyward snapshot 1\0";

/// What stands before an identity's identifier in its certificate.
pub const IDENTITY_URI: &str = "urn:keyward:identity:";

impl SignedSnapshot {
    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(content: &[u8]) -> Vec<u8> {
        [SNAPSHOT_CONTEXT, content].concat()
    }
}

impl Failure {
    /// The failure that tells the peer of `error`.
    #[must_use]
    pub fn from_error(error: &Error) -> Self {
        Self {
            code: error.code as i32,
            message: error.message.clone().into_owned(),
            retry_after_ms: error.retry_after_ms,
        }
    }
}
