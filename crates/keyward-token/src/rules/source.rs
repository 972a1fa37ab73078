//! What C_GenerateKey makes a secret key of.

use std::fmt;

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_crypto::password::pbkdf2;
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use zeroize::Zeroizing;

use crate::key::from_crypto;
use crate::mechanism::{Parameter, hash_from_wire, hash_to_wire};

/// What a new secret key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Chance alone.
    Random,
    /// The version of TLS that the client has offered, and chance.
    Premaster([u8; 2]),
    /// A password.
    Password(Password),
}

/// PBKDF2 with HMAC (RFC 8018 section 5.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    hash: Hash,
    salt: Vec<u8>,
    /// 1 to [`MOST_ITERATIONS`].
    iterations: u32,
    password: Zeroizing<Vec<u8>>,
}

impl KeySource {
    /// What a parameter of C_GenerateKey says.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID.
    pub fn of(parameter: &Parameter) -> Result<Self> {
        Ok(match parameter {
            Parameter::Version(version) => Self::Premaster(*version),
            Parameter::Password { prf, salt, iterations, password } => {
                let hash = hash_of_prf(*prf)?;
                let (salt, password) = (salt.clone(), password.clone());
                Self::Password(Password::new(hash, salt, *iterations, password)?)
            }
            _ => Self::Random,
        })
    }

    /// What a request says.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID.
    pub fn of_wire(generate: &wire::GenerateKey) -> Result<Self> {
        if let Some(wire::Pbkdf2 { hash, salt, iterations, password }) = &generate.password {
            let (salt, password) = (salt.clone(), password.clone().into());
            let hash = hash_from_wire(*hash)?;
            return Ok(Self::Password(Password::new(hash, salt, *iterations, password)?));
        }
        match generate.version.as_slice() {
            [] => Ok(Self::Random),
            &[major, minor] => Ok(Self::Premaster([major, minor])),
            _ => Err(invalid("a version has two bytes")),
        }
    }

    /// Says it in a request.
    pub fn put(&self, generate: &mut wire::GenerateKey) {
        match self {
            Self::Random => {}
            Self::Premaster(version) => generate.version = version.to_vec(),
            Self::Password(Password { hash, salt, iterations, password }) => {
                generate.password = Some(wire::Pbkdf2 {
                    hash: hash_to_wire(*hash),
                    salt: salt.clone(),
                    iterations: (*iterations).into(),
                    password: password.to_vec(),
                });
            }
        }
    }

    /// The same with as little work as there can be: for a key that is made to see what it would be
    /// like.
    #[must_use]
    pub fn draft(&self) -> Self {
        match self {
            Self::Password(password) => {
                Self::Password(Password { iterations: 1, ..password.clone() })
            }
            other => other.clone(),
        }
    }

    /// Whether it keeps a processor busy for longer than a signature does.
    #[must_use]
    pub fn takes_long(&self) -> bool {
        matches!(self, Self::Password(_))
    }
}

impl Password {
    fn new(
        hash: Hash,
        salt: Vec<u8>,
        iterations: u64,
        password: Zeroizing<Vec<u8>>,
    ) -> Result<Self> {
        let iterations = u32::try_from(iterations)
            .ok()
            .filter(|iterations| (1..=MOST_ITERATIONS).contains(iterations))
            .ok_or_else(|| invalid("PBKDF2 takes 1 to 10,000,000 iterations"))?;
        Ok(Self { hash, salt, iterations, password })
    }

    pub(super) fn derive(&self, length: usize) -> Result<Zeroizing<Vec<u8>>> {
        pbkdf2(self.hash, &self.password, &self.salt, self.iterations, length).map_err(from_crypto)
    }
}

/// Names only: what is in it is secret.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").finish_non_exhaustive()
    }
}

fn hash_of_prf(prf: u64) -> Result<Hash> {
    Ok(match prf {
        CKP_PKCS5_PBKD2_HMAC_SHA1 => Hash::Sha1,
        CKP_PKCS5_PBKD2_HMAC_SHA224 => Hash::Sha224,
        CKP_PKCS5_PBKD2_HMAC_SHA256 => Hash::Sha256,
        CKP_PKCS5_PBKD2_HMAC_SHA384 => Hash::Sha384,
        CKP_PKCS5_PBKD2_HMAC_SHA512 => Hash::Sha512,
        CKP_PKCS5_PBKD2_HMAC_SHA512_224 => Hash::Sha512_224,
        CKP_PKCS5_PBKD2_HMAC_SHA512_256 => Hash::Sha512_256,
        _ => return Err(invalid("prf is not one that is offered")),
    })
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorCode::MechanismParamInvalid, why)
}

/// Some seconds of one processor.
const MOST_ITERATIONS: u32 = 10_000_000;
