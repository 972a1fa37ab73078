//! The client's side of the Keyward wire.
//!
//! [`Client`] sends one request and waits for its answer. It starts no thread,
//! has no async runtime and raises no signal, since it lives inside somebody
//! else's process; it may be called from many threads at once. It keeps up to
//! [`CONNECTIONS`] connections, repeats a request elsewhere when a connection
//! breaks, and every wait in it has a deadline.
//!
//! ```no_run
//! use keyward_client::{Client, Config};
//! use keyward_wire::{Hello, Request, request::Operation};
//!
//! let client = Client::new(Config::load("/etc/keyward/client.toml".as_ref())?);
//! let answer = client.call(Request {
//!     operation: Some(Operation::Hello(Hello::default())),
//!     ..Request::default()
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod call;
pub mod config;
mod connection;
mod deadline;
mod dial;
mod endpoint;
mod errand;
mod error;
mod opening;
mod outage;
mod pool;
pub mod snapshot;
mod stream;
mod streamed;
mod tls;

pub use call::Client;
pub use config::{Config, ConfigError};
pub use errand::{Errand, Progress};
pub use error::{Error, Result};
pub use pool::CONNECTIONS;
pub use streamed::StreamError;
pub use tls::{identity_key, pending_key};
