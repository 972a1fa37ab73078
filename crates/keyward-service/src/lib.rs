//! The Keyward service: it holds the keys of a cluster and uses them for those
//! who may.
//!
//! [`init`](init::init) makes a service in a folder, [`run`] and [`serve`] run
//! it. The wire is that of `keyward-wire`, objects and mechanisms are those of
//! `keyward-token`; here are the listener, identities, tokens and the store.

mod authority;
mod clock;
mod counters;
mod engine;
mod hsm_pin;
mod id;
mod pin;
mod runtime;
mod server;
mod signer;
mod state;
mod store;
mod workers;

pub mod backup;
pub mod bundle;
pub mod config;
pub mod files;
pub mod init;
pub mod master;
pub mod transfer;

pub use config::Config;
pub use server::{ServeError, run, serve};

/// Name and version of this software.
const SOFTWARE: &str = concat!("keyward ", env!("CARGO_PKG_VERSION"));
