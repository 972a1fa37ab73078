//! The module with the crate `cryptoki` as its host: what a token does, and
//! that what it makes is right in the eyes of others.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

#[path = "../common/mod.rs"]
mod common;

mod ciphers;
mod host;
mod identities;
mod keys;
mod login;
mod many;
mod objects;
mod signatures;
