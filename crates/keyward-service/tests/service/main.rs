//! The service from outside: a plain client speaks the wire with it. One binary,
//! since linking takes longer than the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod backup;
mod common;
#[allow(dead_code, reason = "not every test program uses all of it")]
#[path = "../../../../tests/common/etcd.rs"]
mod etcd;
mod fuzz;
mod identities;
mod keys_of_keys;
mod login;
mod long;
mod objects;
mod outages;
mod policy;
mod replicas;
mod rotation;
#[path = "../../../../tests/common/seeded.rs"]
mod seeded;
mod snapshots;
mod start;
mod tokens;
mod wire;
