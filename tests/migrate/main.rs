//! `keyward migrate` from end to end: keystores of four JDKs and of OpenSSL,
//! SoftHSM tokens, Keyward tokens. The referees are keytool, OpenSSL,
//! pkcs11-tool and JVMs.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

#[path = "../common/mod.rs"]
mod common;

mod cut_off;
mod hsm;
mod jvm;
mod keystores;
mod mistakes;
mod tokens;
