//! Raw C calls in every order that hosts are known to make, and some that
//! none should: what the standard says of operations, buffers and arguments.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../crates/keyward-crypto/tests/common/mod.rs"]
mod vectors;

mod arguments;
mod authenticated_wrapping;
mod ciphers;
mod derivation;
mod dual;
mod hardware;
mod initialising;
mod known_answers;
mod leniency;
mod long_inputs;
mod message_ciphers;
mod newer_keys;
mod operations;
mod other_sources;
mod parameters;
mod policy;
mod recovery;
mod threads;
mod tls;
mod values;
mod versions;
mod wrapping;

use cryptoki_sys::CK_ULONG;

/// A digest to sign.
const DIGEST: [u8; 32] = [7; 32];

/// An object or session handle that nothing has.
const NOTHING: CK_ULONG = 0x7fff_fff0;

/// Where a key is: in the token, sealed, in the module.
const PLACES: [(bool, bool); 3] = [(true, true), (false, true), (false, false)];
