//! Moves keys, certificates and secret keys from keystore files and PKCS#11
//! tokens to another PKCS#11 token, and proves that they arrived.
//!
//! The steps are the modules, in this order: [`source`] lists what is there,
//! [`inventory`] says what that is, [`planning`] makes a [`plan`] of how each object
//! goes or why it cannot, [`run`] does it under a [`journal`], [`verify`] proves it
//! in a signed [`manifest`], [`rollback`] takes it back.
//!
//! A Keyward token is a PKCS#11 token like any other here, reached through
//! `libkeyward_pkcs11.so`.

mod der;
pub mod error;
pub mod file;
pub mod inventory;
pub mod journal;
pub mod manifest;
pub mod material;
pub mod object;
pub mod password;
pub mod plan;
pub mod planning;
mod probe;
pub mod report;
pub mod rollback;
pub mod run;
pub mod source;
pub mod token;
pub mod transport;
pub mod uri;
pub mod verify;
mod way_out;
pub mod x509;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use error::{Error, Result};
pub use inventory::Inventory;
pub use object::Object;
pub use password::Passwords;
pub use source::Source;
pub use token::{Access, Libraries, Pins, Token};
pub use uri::Uri;

/// A moment, in seconds since 1970, as RFC 3339 text in UTC.
fn moment(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_default()
}
