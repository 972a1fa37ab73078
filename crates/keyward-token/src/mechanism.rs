//! The mechanisms: which there are, what they take, and what they ask of a key.
//!
//! [`REGISTRY`] is the one list: C_GetMechanismList, C_GetMechanismInfo and the
//! operations all come from it, so that nothing is listed that does not work.

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

/// A mechanism as C_GetMechanismInfo tells it (section 5.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// CKM_...
    pub number: u64,
    /// The standard's name.
    pub name: &'static str,
    /// The smallest key, in bits; 0 where keys have no size.
    pub min_key_size: u64,
    /// The largest key, in bits.
    pub max_key_size: u64,
    /// CKF_...
    pub flags: u64,
    /// Listed in profile `tls` too.
    pub tls: bool,
    /// What it does.
    pub family: Family,
}

/// What a mechanism does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Makes an RSA key pair.
    RsaGeneration,
    /// Makes an EC key pair.
    EcGeneration,
    /// PKCS#1 v1.5; with a hash it digests the data itself.
    RsaPkcs(Option<Hash>),
    /// RSASSA-PSS; with a hash it digests the data itself.
    RsaPss(Option<Hash>),
    /// RSAES-OAEP.
    RsaOaep,
    /// RSA without padding.
    RsaX509,
    /// ECDSA; with a hash it digests the data itself.
    Ecdsa(Option<Hash>),
    /// A digest.
    Digest(Hash),
}

const RSA: (u64, u64) = (2048, 8192);
const EC: (u64, u64) = (224, 521);
const NONE: (u64, u64) = (0, 0);

const SIGN: u64 = CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY;
const RECOVER: u64 = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
const CRYPT: u64 = CKF_ENCRYPT | CKF_DECRYPT;
const EC_FLAGS: u64 = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;

macro_rules! registry {
    ($($name:ident $family:expr, $size:expr, $flags:expr, $tls:literal;)*) => {
        &[$(Mechanism {
            number: $name,
            name: stringify!($name),
            min_key_size: $size.0,
            max_key_size: $size.1,
            flags: $flags,
            tls: $tls,
            family: $family,
        }),*]
    };
}

/// Every mechanism, in the order in which it is listed.
pub const REGISTRY: &[Mechanism] = registry! {
    CKM_RSA_PKCS_KEY_PAIR_GEN Family::RsaGeneration, RSA, CKF_GENERATE_KEY_PAIR, false;
    CKM_EC_KEY_PAIR_GEN Family::EcGeneration, EC, CKF_GENERATE_KEY_PAIR | EC_FLAGS, false;
    CKM_RSA_PKCS Family::RsaPkcs(None), RSA, SIGN | RECOVER | CRYPT, true;
    CKM_RSA_PKCS_PSS Family::RsaPss(None), RSA, SIGN, true;
    CKM_ECDSA Family::Ecdsa(None), EC, SIGN | EC_FLAGS, true;
    CKM_RSA_X_509 Family::RsaX509, RSA, SIGN | RECOVER | CRYPT, false;
    CKM_RSA_PKCS_OAEP Family::RsaOaep, RSA, CRYPT, false;
    CKM_SHA1_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha1)), RSA, SIGN, false;
    CKM_SHA224_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha224)), RSA, SIGN, false;
    CKM_SHA256_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha256)), RSA, SIGN, false;
    CKM_SHA384_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha384)), RSA, SIGN, false;
    CKM_SHA512_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha512)), RSA, SIGN, false;
    CKM_SHA1_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha1)), RSA, SIGN, false;
    CKM_SHA224_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha224)), RSA, SIGN, false;
    CKM_SHA256_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha256)), RSA, SIGN, false;
    CKM_SHA384_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha384)), RSA, SIGN, false;
    CKM_SHA512_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha512)), RSA, SIGN, false;
    CKM_ECDSA_SHA1 Family::Ecdsa(Some(Hash::Sha1)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA224 Family::Ecdsa(Some(Hash::Sha224)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA256 Family::Ecdsa(Some(Hash::Sha256)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA384 Family::Ecdsa(Some(Hash::Sha384)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA512 Family::Ecdsa(Some(Hash::Sha512)), EC, SIGN | EC_FLAGS, false;
    CKM_SHA_1 Family::Digest(Hash::Sha1), NONE, CKF_DIGEST, false;
    CKM_SHA224 Family::Digest(Hash::Sha224), NONE, CKF_DIGEST, false;
    CKM_SHA256 Family::Digest(Hash::Sha256), NONE, CKF_DIGEST, false;
    CKM_SHA384 Family::Digest(Hash::Sha384), NONE, CKF_DIGEST, false;
    CKM_SHA512 Family::Digest(Hash::Sha512), NONE, CKF_DIGEST, false;
};

/// The mechanism with this number.
///
/// # Errors
/// CKR_MECHANISM_INVALID if there is none.
pub fn find(number: u64) -> Result<&'static Mechanism> {
    REGISTRY.iter().find(|mechanism| mechanism.number == number).ok_or_else(|| {
        Error::new(ErrorCode::MechanismInvalid, format!("mechanism {number:#x} is not offered"))
    })
}

/// A mechanism's parameter, read from its C structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// NULL.
    None,
    /// CK_RSA_PKCS_PSS_PARAMS.
    Pss {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// CKG_MGF1_SHA256 and the like.
        mgf: u64,
        /// Bytes.
        salt_length: u64,
    },
    /// CK_RSA_PKCS_OAEP_PARAMS.
    Oaep {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// CKG_MGF1_SHA256 and the like.
        mgf: u64,
        /// The encoding parameter, mostly empty.
        label: Vec<u8>,
    },
}

/// How a signature is made, once the data has been digested where the
/// mechanism digests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// EMSA-PKCS1-v1_5 around the input as it is.
    RsaPkcs,
    /// The input is a digest of `hash`.
    RsaPss {
        /// The digest's hash.
        hash: Hash,
        /// The mask generation function's hash.
        mgf1_hash: Hash,
        /// Bytes.
        salt_length: u32,
    },
    /// No padding.
    RsaX509,
    /// The input is a digest; the signature is r || s in fixed width.
    Ecdsa,
}

/// A signature or verification: what happens to the data, and the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signing {
    /// The data is digested with it first; `None`: the data is the input.
    pub hash: Option<Hash>,
    /// Around the digest stands a DER DigestInfo.
    pub digest_info: bool,
    /// What is then done with the key.
    pub scheme: SignatureScheme,
}

/// How something was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncryptionScheme {
    /// RSAES-PKCS1-v1_5.
    RsaPkcs,
    /// RSAES-OAEP.
    RsaOaep {
        /// The label's hash.
        hash: Hash,
        /// The mask generation function's hash.
        mgf1_hash: Hash,
        /// The label, mostly empty.
        label: Vec<u8>,
    },
    /// No padding.
    RsaX509,
}

impl Signing {
    /// What a mechanism with its parameter means for a signature.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it signs nothing, CKR_MECHANISM_PARAM_INVALID
    /// if the parameter does not fit.
    pub fn new(mechanism: u64, parameter: &Parameter) -> Result<Self> {
        let family = find(mechanism)?.family;
        Ok(match family {
            Family::RsaPkcs(hash) => Self {
                hash,
                digest_info: hash.is_some(),
                scheme: without(parameter, SignatureScheme::RsaPkcs)?,
            },
            Family::RsaX509 => Self {
                hash: None,
                digest_info: false,
                scheme: without(parameter, SignatureScheme::RsaX509)?,
            },
            Family::Ecdsa(hash) => Self {
                hash,
                digest_info: false,
                scheme: without(parameter, SignatureScheme::Ecdsa)?,
            },
            Family::RsaPss(hash) => {
                Self { hash, digest_info: false, scheme: pss(hash, parameter)? }
            }
            _ => return Err(not_for(mechanism, "sign")),
        })
    }

    /// The key type that the scheme needs.
    #[must_use]
    pub fn key_type(&self) -> u64 {
        self.scheme.key_type()
    }
}

impl SignatureScheme {
    /// The key type that the scheme needs.
    #[must_use]
    pub fn key_type(&self) -> u64 {
        match self {
            Self::Ecdsa => CKK_EC,
            _ => CKK_RSA,
        }
    }
}

impl EncryptionScheme {
    /// What a mechanism with its parameter means for an encryption.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it encrypts nothing,
    /// CKR_MECHANISM_PARAM_INVALID if the parameter does not fit.
    pub fn new(mechanism: u64, parameter: &Parameter) -> Result<Self> {
        match (find(mechanism)?.family, parameter) {
            (Family::RsaPkcs(None), _) => without(parameter, Self::RsaPkcs),
            (Family::RsaX509, _) => without(parameter, Self::RsaX509),
            (Family::RsaOaep, Parameter::Oaep { hash, mgf, label }) => Ok(Self::RsaOaep {
                hash: hash_of_mechanism(*hash)?,
                mgf1_hash: hash_of_mgf(*mgf)?,
                label: label.clone(),
            }),
            (Family::RsaOaep, _) => Err(parameter_invalid("CK_RSA_PKCS_OAEP_PARAMS is missing")),
            _ => Err(not_for(mechanism, "encrypt")),
        }
    }
}

fn without<T>(parameter: &Parameter, scheme: T) -> Result<T> {
    match parameter {
        Parameter::None => Ok(scheme),
        _ => Err(parameter_invalid("the mechanism takes no parameter")),
    }
}

fn pss(own: Option<Hash>, parameter: &Parameter) -> Result<SignatureScheme> {
    let Parameter::Pss { hash, mgf, salt_length } = parameter else {
        return Err(parameter_invalid("CK_RSA_PKCS_PSS_PARAMS is missing"));
    };
    let hash = hash_of_mechanism(*hash)?;
    if own.is_some_and(|own| own != hash) {
        return Err(parameter_invalid("hashAlg is not the hash of the mechanism"));
    }
    Ok(SignatureScheme::RsaPss {
        hash,
        mgf1_hash: hash_of_mgf(*mgf)?,
        salt_length: u32::try_from(*salt_length)
            .ok()
            .filter(|length| *length <= LONGEST_SALT)
            .ok_or_else(|| parameter_invalid("sLen is longer than any key allows"))?,
    })
}

/// More than any modulus that is offered has room for, in bytes.
const LONGEST_SALT: u32 = 1024;

/// The hash that a digest mechanism's number names, as in `hashAlg`.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID if it names none that is offered.
pub fn hash_of_mechanism(number: u64) -> Result<Hash> {
    Ok(match number {
        CKM_SHA_1 => Hash::Sha1,
        CKM_SHA224 => Hash::Sha224,
        CKM_SHA256 => Hash::Sha256,
        CKM_SHA384 => Hash::Sha384,
        CKM_SHA512 => Hash::Sha512,
        CKM_SHA3_224 => Hash::Sha3_224,
        CKM_SHA3_256 => Hash::Sha3_256,
        CKM_SHA3_384 => Hash::Sha3_384,
        CKM_SHA3_512 => Hash::Sha3_512,
        _ => return Err(parameter_invalid("hashAlg is not a hash that is offered")),
    })
}

fn hash_of_mgf(number: u64) -> Result<Hash> {
    Ok(match number {
        CKG_MGF1_SHA1 => Hash::Sha1,
        CKG_MGF1_SHA224 => Hash::Sha224,
        CKG_MGF1_SHA256 => Hash::Sha256,
        CKG_MGF1_SHA384 => Hash::Sha384,
        CKG_MGF1_SHA512 => Hash::Sha512,
        CKG_MGF1_SHA3_224 => Hash::Sha3_224,
        CKG_MGF1_SHA3_256 => Hash::Sha3_256,
        CKG_MGF1_SHA3_384 => Hash::Sha3_384,
        CKG_MGF1_SHA3_512 => Hash::Sha3_512,
        _ => return Err(parameter_invalid("mgf is not one that is offered")),
    })
}

fn parameter_invalid(why: &'static str) -> Error {
    Error::new(ErrorCode::MechanismParamInvalid, why)
}

fn not_for(mechanism: u64, purpose: &str) -> Error {
    Error::new(ErrorCode::MechanismInvalid, format!("mechanism {mechanism:#x} does not {purpose}"))
}

// ---- to and from the wire --------------------------------------------------

fn hash_to_wire(hash: Hash) -> i32 {
    (match hash {
        Hash::Sha1 => wire::Hash::Sha1,
        Hash::Sha224 => wire::Hash::Sha224,
        Hash::Sha256 => wire::Hash::Sha256,
        Hash::Sha384 => wire::Hash::Sha384,
        Hash::Sha512 => wire::Hash::Sha512,
        Hash::Sha3_224 => wire::Hash::Sha3224,
        Hash::Sha3_256 => wire::Hash::Sha3256,
        Hash::Sha3_384 => wire::Hash::Sha3384,
        Hash::Sha3_512 => wire::Hash::Sha3512,
        _ => wire::Hash::Unspecified,
    }) as i32
}

fn hash_from_wire(hash: i32) -> Result<Hash> {
    Ok(match wire::Hash::try_from(hash) {
        Ok(wire::Hash::Sha1) => Hash::Sha1,
        Ok(wire::Hash::Sha224) => Hash::Sha224,
        Ok(wire::Hash::Sha256) => Hash::Sha256,
        Ok(wire::Hash::Sha384) => Hash::Sha384,
        Ok(wire::Hash::Sha512) => Hash::Sha512,
        Ok(wire::Hash::Sha3224) => Hash::Sha3_224,
        Ok(wire::Hash::Sha3256) => Hash::Sha3_256,
        Ok(wire::Hash::Sha3384) => Hash::Sha3_384,
        Ok(wire::Hash::Sha3512) => Hash::Sha3_512,
        Ok(wire::Hash::Unspecified) | Err(_) => {
            return Err(parameter_invalid("the hash is not one that is offered"));
        }
    })
}

impl From<SignatureScheme> for wire::sign::Scheme {
    fn from(scheme: SignatureScheme) -> Self {
        match scheme {
            SignatureScheme::RsaPkcs => Self::RsaPkcs1(wire::Done {}),
            SignatureScheme::RsaX509 => Self::RsaX509(wire::Done {}),
            SignatureScheme::Ecdsa => Self::Ecdsa(wire::Done {}),
            SignatureScheme::RsaPss { hash, mgf1_hash, salt_length } => {
                Self::RsaPss(wire::RsaPss {
                    hash: hash_to_wire(hash),
                    mgf1_hash: hash_to_wire(mgf1_hash),
                    salt_length,
                })
            }
        }
    }
}

impl TryFrom<wire::sign::Scheme> for SignatureScheme {
    type Error = Error;

    fn try_from(scheme: wire::sign::Scheme) -> Result<Self> {
        Ok(match scheme {
            wire::sign::Scheme::RsaPkcs1(_) => Self::RsaPkcs,
            wire::sign::Scheme::RsaX509(_) => Self::RsaX509,
            wire::sign::Scheme::Ecdsa(_) => Self::Ecdsa,
            wire::sign::Scheme::RsaPss(pss) if pss.salt_length <= LONGEST_SALT => Self::RsaPss {
                hash: hash_from_wire(pss.hash)?,
                mgf1_hash: hash_from_wire(pss.mgf1_hash)?,
                salt_length: pss.salt_length,
            },
            wire::sign::Scheme::RsaPss(_) => {
                return Err(parameter_invalid("sLen is longer than any key allows"));
            }
        })
    }
}

impl From<EncryptionScheme> for wire::decrypt::Scheme {
    fn from(scheme: EncryptionScheme) -> Self {
        match scheme {
            EncryptionScheme::RsaPkcs => Self::RsaPkcs1(wire::Done {}),
            EncryptionScheme::RsaX509 => Self::RsaX509(wire::Done {}),
            EncryptionScheme::RsaOaep { hash, mgf1_hash, label } => Self::RsaOaep(wire::RsaOaep {
                hash: hash_to_wire(hash),
                mgf1_hash: hash_to_wire(mgf1_hash),
                label,
            }),
        }
    }
}

impl TryFrom<wire::decrypt::Scheme> for EncryptionScheme {
    type Error = Error;

    fn try_from(scheme: wire::decrypt::Scheme) -> Result<Self> {
        Ok(match scheme {
            wire::decrypt::Scheme::RsaPkcs1(_) => Self::RsaPkcs,
            wire::decrypt::Scheme::RsaX509(_) => Self::RsaX509,
            wire::decrypt::Scheme::RsaOaep(oaep) => Self::RsaOaep {
                hash: hash_from_wire(oaep.hash)?,
                mgf1_hash: hash_from_wire(oaep.mgf1_hash)?,
                label: oaep.label,
            },
        })
    }
}
