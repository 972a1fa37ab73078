//! Backups, restores and copies, as an operator types them; then a node goes on
//! with what it had.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../../../tests/common/etcd.rs"]
mod etcd;

mod copies;
mod place;
mod restore;
