//! The mechanisms: which there are, what they take, and what they ask of a key.
//!
//! [`REGISTRY`] is the one list: C_GetMechanismList, C_GetMechanismInfo and the operations all come
//! from it, so that nothing is listed that does not work. [`PREPARED`] has those that no call reaches
//! yet: each moves to the first list when its way through module, wire and service is there. What
//! they do is in keyward-crypto and in `key`.

pub mod declared;
mod derivation;
mod material;
mod parameter;
mod policy;
mod registry;
mod scheme;
mod wire;
mod wire_derivation;
mod wrapping;

pub use derivation::{DerivationScheme, HkdfSalt, Kdf, PrfName};
pub use material::Material;
pub use parameter::{DataField, Parameter, Salt};
pub use policy::{Offer, Policy};
pub use registry::{PREPARED, REGISTRY};
pub use scheme::{
    BlockMode, EncryptionScheme, MuHash, Preparation, SignatureScheme, Signing, key_type_of_hmac,
};
pub use wrapping::WrappingScheme;

pub(crate) use wire::{hash_from_wire, hash_to_wire};

use cryptoki_sys::*;
use keyward_crypto::Feedback;
use keyward_crypto::digest::Hash;
use keyward_wire::{Error, ErrorCode, Result};

/// A mechanism as C_GetMechanismInfo tells it (section 5.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// CKM_...
    pub number: u64,
    /// The standard's name.
    pub name: &'static str,
    /// The smallest key in the mechanism's unit, which is bits for key pairs and bytes for secret
    /// keys; 0 where keys have no size.
    pub min_key_size: u64,
    /// The largest key, in the same unit.
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
    /// Makes a key pair of this type, CKK_RSA and the like.
    PairGeneration(u64),
    /// Makes a secret key of this type, CKK_AES and the like.
    SecretGeneration(u64),
    /// Makes the premaster secret of a TLS that agrees by RSA.
    PremasterGeneration,
    /// Makes a secret key out of a password, by PBKDF2.
    PasswordGeneration,
    /// Makes domain parameters for keys of this type, CKK_DSA or CKK_DH.
    ParameterGeneration(u64),
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
    /// DSA; with a hash it digests the data itself.
    Dsa(Option<Hash>),
    /// EdDSA, pure, with a context or prehashed.
    Eddsa,
    /// ML-DSA.
    MlDsa,
    /// HashML-DSA over data that the mechanism digests itself; `None`: over a digest whose hash the
    /// parameter names.
    HashMlDsa(Option<Hash>),
    /// HMAC; `general`: of the length that the parameter says.
    Hmac {
        /// Its hash.
        hash: Hash,
        /// As said.
        general: bool,
    },
    /// CMAC; `general`: of the length that the parameter says.
    Cmac {
        /// Its cipher.
        cipher: BlockCipher,
        /// As said.
        general: bool,
    },
    /// verify_data of TLS's Finished messages.
    TlsMac,
    /// Encrypts with a block cipher.
    Block {
        /// The cipher.
        cipher: BlockCipher,
        /// Its mode.
        mode: ModeName,
    },
    /// AES key wrap; `padded`: RFC 5649.
    KeyWrap {
        /// As said.
        padded: bool,
    },
    /// An ephemeral AES key by OAEP, and the key wrapped with it.
    RsaAesKeyWrap,
    /// ML-KEM.
    MlKem,
    /// Derives a key.
    Derivation(Derived),
    /// A digest.
    Digest(Hash),
}

/// A block cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BlockCipher {
    Aes,
    TripleDes,
    Des,
}

/// A block cipher's mode, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standards' own")]
pub enum ModeName {
    Ecb,
    Cbc,
    CbcPad,
    Ctr,
    Gcm,
    Ccm,
    Feedback(Feedback),
}

/// How a key is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// ECDH with CK_ECDH1_DERIVE_PARAMS. All curves offered have the cofactor 1, but for X25519,
    /// which multiplies by its own.
    Ecdh,
    /// Diffie-Hellman modulo a prime.
    Dh,
    /// HKDF.
    Hkdf,
    /// SP 800-108 in counter mode.
    CounterMode,
    /// SP 800-108 in feedback mode.
    FeedbackMode,
    /// A private key's public half.
    PublicKey,
    /// The key, then another.
    BaseAndKey,
    /// The key, then data.
    BaseAndData,
    /// Data, then the key.
    DataAndBase,
    /// The key and data.
    Xor,
    /// Some bits of the key.
    Extract,
    /// The digest of the key.
    Digest(Hash),
    /// Data that the key encrypts.
    Encryption {
        /// The cipher.
        cipher: BlockCipher,
        /// By CBC; else by ECB.
        cbc: bool,
    },
    /// The master secret of TLS 1.2.
    Tls12Master,
    /// The same, bound to the handshake (RFC 7627).
    Tls12ExtendedMaster,
    /// TLS 1.2's PRF with a label of the caller's.
    TlsKdf,
    /// The master secret of TLS 1.0 and 1.1.
    Tls10Master,
    /// The keys that a connection of TLS encrypts and authenticates with: several at once.
    TlsKeys {
        /// Of TLS 1.2; else of 1.0 and 1.1.
        tls12: bool,
        /// Without initialisation vectors, which would show a part of what is derived.
        safe: bool,
    },
    /// The PRF of TLS 1.0 and 1.1, which gives bytes, no key.
    TlsPrf,
}

impl Derived {
    /// Whether what is derived is not one key but several, or none.
    #[must_use]
    pub fn gives_parts(self) -> bool {
        matches!(self, Self::TlsKeys { .. } | Self::TlsPrf)
    }
}

impl BlockCipher {
    /// Whether keys of a type are this cipher's.
    #[must_use]
    pub fn takes(self, key_type: u64) -> bool {
        match self {
            Self::Aes => key_type == CKK_AES,
            Self::TripleDes => matches!(key_type, CKK_DES2 | CKK_DES3),
            Self::Des => key_type == CKK_DES,
        }
    }

    /// The length of a block in bytes.
    #[must_use]
    pub fn block_length(self) -> usize {
        match self {
            Self::Aes => 16,
            Self::TripleDes | Self::Des => 8,
        }
    }
}

/// The mechanism with this number, whatever a token's policy says.
///
/// # Errors
/// CKR_MECHANISM_INVALID if there is none.
pub fn find(number: u64) -> Result<&'static Mechanism> {
    REGISTRY.iter().find(|mechanism| mechanism.number == number).ok_or_else(|| {
        Error::new(ErrorCode::MechanismInvalid, format!("mechanism {number:#x} is not offered"))
    })
}

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
        CKM_SHA512_224 => Hash::Sha512_224,
        CKM_SHA512_256 => Hash::Sha512_256,
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
