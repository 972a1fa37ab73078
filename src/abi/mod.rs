//! The C interface of PKCS#11: v2.40, v3.0 and v3.2.
//!
//! Pointers are checked and turned into values here, and only here. What is
//! common to all functions is written once: the table in [`table`] makes the
//! exported symbols, the function lists and the trace line of each call, and
//! leads it through [`process`], where panics, forks and a missing
//! C_Initialize are caught.

mod arguments;
mod asynchronous;
mod digest;
mod dual;
mod encryption;
#[cfg(test)]
mod faults;
mod general;
#[cfg(test)]
mod header;
mod interface;
mod key;
mod message;
mod message_cipher;
mod object;
mod operation;
mod parameter;
mod process;
mod random;
mod recover;
mod session;
mod signature;
mod slot;
mod state;
mod table;
mod template;
mod wrapping;

pub use table::*;
