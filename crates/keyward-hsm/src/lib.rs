//! HSMs behind the Keyward service: any PKCS#11 token, reached by its own
//! library.
//!
//! The library runs in a process of its own, the worker ([`worker::run`]): its
//! crash is not the service's, what hangs in it can be ended, and it never sees
//! the memory that holds the other keys. [`Hsm`] is the service's side: it starts the
//! worker, gives it work, ends it when it hangs, and starts it again.

mod abilities;
mod client;
mod config;
mod protocol;
mod said;
mod shown;
mod supervisor;
mod tokens;

pub mod attributes;
pub mod worker;

pub use abilities::Abilities;
pub use client::Hsm;
pub use config::{HsmConfig, PinSource, ReadPin};
pub use said::error_name;
pub use shown::shown;
pub use supervisor::Status;
pub use tokens::{Tokens, tokens};
