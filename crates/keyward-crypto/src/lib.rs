//! AWS-LC behind safe functions.
//!
//! Keyward writes no cryptography. This crate is the glue between the rest of Keyward, which is
//! plain safe Rust, and AWS-LC: it takes `aws-lc-rs` where that has the call, and `aws-lc-sys`
//! where PKCS#11 needs one that it has not (raw RSA, PSS and OAEP with two different hashes, a
//! signature over a bare digest, private components).
//!
//! Three rules hold for everything here:
//!
//! - A value that exists is right: a key is checked when it is made, so no operation meets a
//!   half-built one.
//! - Private-key operations run in AWS-LC's constant-time code, RSA blinded and verified against
//!   faults.
//! - Secret bytes are returned as [`Zeroizing`](zeroize::Zeroizing) buffers, and no `Debug` shows
//!   them.
//!
//! Keys may be shared between threads and used by all of them at once. Cloning a key is cheap: it
//! counts a reference.

pub mod aead;
pub mod block;
pub mod ccm;
pub mod cmac;
mod curve;
pub mod dh;
pub mod digest;
pub mod dsa;
pub mod ec;
mod ec_der;
pub mod ed25519;
mod error;
mod ffi;
pub mod gcm;
pub mod hmac;
pub mod kdf;
mod key;
pub mod mac;
pub mod ml_dsa;
pub mod ml_kem;
pub mod password;
mod prime_curve;
pub mod random;
pub mod rsa;
mod search;
pub mod stream;
pub mod wrap;
pub mod x25519;

pub use crate::aead::SealingKey;
pub use crate::block::{BlockKey, Counter, Direction, Feedback};
pub use crate::cmac::Cmac;
pub use crate::dh::{DhGroup, DhPrivateKey};
pub use crate::digest::{Digester, Hash};
pub use crate::dsa::{DsaParameters, DsaPrivateKey, DsaPublicKey};
pub use crate::ec::{Curve, EcPrivateKey, EcPublicKey, signature_from_der, signature_to_der};
pub use crate::ed25519::{Ed25519PrivateKey, Ed25519PublicKey};
pub use crate::error::{Error, Result};
pub use crate::hmac::Hmac;
pub use crate::key::PrivateKey;
pub use crate::mac::{hkdf_sha256, hmac_sha256, hmac_sha256_verify};
pub use crate::ml_dsa::{MlDsa, MlDsaPrivateKey, MlDsaPublicKey};
pub use crate::ml_kem::{MlKem, MlKemPrivateKey, MlKemPublicKey};
pub use crate::rsa::{
    RsaPrimeComponents, RsaPrimes, RsaPrivateComponents, RsaPrivateKey, RsaPublicKey,
};
pub use crate::search::Stop;
pub use crate::stream::{STREAM_OVERHEAD, StreamOpener, StreamSealer};
pub use crate::x25519::{X25519PrivateKey, X25519PublicKey};
