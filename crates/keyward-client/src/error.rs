//! Why a call failed.

use keyward_wire::{self as wire, ErrorCode};

use crate::config::ConfigError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service answered and said no.
    #[error(transparent)]
    Service(#[from] wire::Error),
    /// No endpoint answered in time.
    #[error("no answer from the Keyward service ({endpoints}) in {attempts} attempt(s): {last}")]
    Unreachable {
        /// The endpoints, comma-separated.
        endpoints: String,
        /// How many connections were tried or used.
        attempts: u32,
        /// What happened last.
        last: String,
    },
    /// All connections were in use for the whole time.
    #[error(
        "all {} connections to the Keyward service are in use and none came free in time",
        crate::CONNECTIONS
    )]
    Busy,
    /// Module and service do not accept each other.
    #[error("the connection to the Keyward service is refused: {reason}")]
    Refused {
        /// The endpoint, and what TLS says.
        reason: String,
    },
    /// The files that the config names cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A call's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The code for a program to act on; [`ErrorCode::Unavailable`] if the
    /// service did not answer.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Service(error) => error.code,
            Self::Unreachable { .. } | Self::Busy | Self::Refused { .. } | Self::Config(_) => {
                ErrorCode::Unavailable
            }
        }
    }

    /// What to do about it, if something general can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("is the service running, and is the endpoint in client.toml right?")
            }
            Self::Busy => Some("the service is slow, or this process asks too much of it at once"),
            Self::Service(error) => match error.code {
                ErrorCode::IdentityRevoked => {
                    Some("an administrator makes a new one with `keyward identity create`")
                }
                ErrorCode::TokenNotPresent => Some(
                    "`keyward token list` shows the tokens, `keyward identity list` who may use them",
                ),
                _ => None,
            },
            Self::Refused { .. } => Some(
                "in client.toml, is `authority` the service's, `server_name` a name in its \
                 certificate, and `certificate` one that the service issued and that is not over?",
            ),
            Self::Config(_) => None,
        }
    }
}
