//! Moves keys, certificates and secret keys from keystore files and PKCS#11
//! tokens to another PKCS#11 token, and proves that they arrived.
//!
//! The steps are the modules, in this order: [`source`] lists what is there,
//! [`inventory`] says what that is, [`plan`] how each object goes or why it
//! cannot, [`run`] does it under a [`journal`], [`verify`] proves it in a signed
//! [`manifest`], [`rollback`] takes it back.
//!
//! A Keyward token is a PKCS#11 token like any other here, reached through
//! `libkeyward_pkcs11.so`.

mod der;
pub mod error;
pub mod file;
pub mod material;
pub mod password;

pub use error::{Error, Result};
pub use password::Passwords;
