//! Keyward's PKCS#11 module, `libkeyward_pkcs11.so`.
//!
//! A host process (a JVM, nginx, ssh ...) loads it and sees slots, tokens and
//! keys; the keys are in the Keyward service and stay there. Inside a host the
//! module is quiet: it starts no thread, prints nothing unless told to, raises
//! no signal, lets no panic out and waits for nothing without a deadline.
//!
//! From the outside in:
//! - [`abi`] is the C interface: pointers are checked and turned into values
//!   here, and nowhere else. All functions come from one table.
//! - [`library`] is what C_Initialize makes: config, slots, sessions.
//! - [`session`] holds a session's operations, [`object`] the handles, the
//!   catalogue and the session objects of a slot.
//! - [`offline`] shows what a token showed while the service is away.
//! - [`remote`] asks the service.
//!
//! References to sections are to PKCS#11 v3.1.

pub mod abi;
mod error;
mod library;
mod log;
mod object;
mod offline;
mod random;
mod remote;
mod session;
mod slot;
