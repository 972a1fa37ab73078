//! The service from outside: a plain client speaks the wire with it. One binary,
//! since linking takes longer than the tests.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod backup;
mod common;
mod identities;
mod login;
mod objects;
mod start;
mod tokens;
mod wire;
