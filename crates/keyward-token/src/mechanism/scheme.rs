//! What a mechanism with its parameter means for the data and for the key.

use cryptoki_sys::*;
use keyward_crypto::block::{Counter, Feedback};
use keyward_crypto::digest::Hash;
use keyward_wire::Result;

use super::derivation::tls_hash;
use super::{
    BlockCipher, Family, ModeName, Parameter, find, hash_of_mechanism, hash_of_mgf, not_for,
    parameter_invalid,
};

/// How a signature or an authentication code is made, once the data have been prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The input is a digest; the signature is r || s in fixed width.
    Dsa,
    /// Ed25519: the input is the message.
    Ed25519,
    /// Ed25519ctx: the input is the message.
    Ed25519Context(Vec<u8>),
    /// Ed25519ph, under a context that may be empty: the input is a SHA-512 digest.
    Ed25519Prehashed(Vec<u8>),
    /// ML-DSA: the input is mu.
    MlDsa,
    /// HMAC: the input is the message.
    Hmac {
        /// Its hash.
        hash: Hash,
        /// Of the code, in bytes.
        length: u32,
    },
    /// CMAC: the input is the message.
    Cmac {
        /// Its cipher.
        cipher: BlockCipher,
        /// Of the code, in bytes.
        length: u32,
    },
    /// verify_data of a Finished message: the input is the digest of the handshake.
    TlsMac {
        /// The hash of TLS 1.2's PRF; `None`: TLS 1.0's.
        hash: Option<Hash>,
        /// The server's; else the client's.
        server: bool,
        /// In bytes.
        length: u32,
    },
}

/// What becomes of the data before the key is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// Nothing.
    None,
    /// They are digested.
    Digest(Hash),
    /// They are digested, and a DER DigestInfo is put around the digest.
    DigestInfo(Hash),
    /// ML-DSA's mu is made of them, or of their digest.
    Mu {
        /// At most 255 bytes.
        context: Vec<u8>,
        /// HashML-DSA.
        hash: Option<MuHash>,
    },
}

/// HashML-DSA's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuHash {
    /// The data are digested with it.
    Of(Hash),
    /// The data are a digest made with it.
    Already(Hash),
}

/// A signature or verification: what happens to the data, and the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// What happens to the data.
    pub preparation: Preparation,
    /// What is then done with the key.
    pub scheme: SignatureScheme,
}

/// How something is encrypted.
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
    /// A block cipher.
    Block {
        /// The cipher.
        cipher: BlockCipher,
        /// Its mode.
        mode: BlockMode,
    },
}

/// A block cipher's mode with all that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockMode {
    /// Whole blocks, each for itself.
    Ecb,
    /// Whole blocks.
    Cbc {
        /// The initialisation vector, or the last block of ciphertext before.
        chain: Vec<u8>,
    },
    /// The end of a text, or all of it.
    CbcPad {
        /// As in CBC.
        chain: Vec<u8>,
    },
    /// Any length; but whole blocks if something follows.
    Ctr {
        /// Where it stands.
        counter: Counter,
    },
    /// OFB or CFB. Any length; but whole blocks if something follows.
    Feedback {
        /// What is fed back.
        feedback: Feedback,
        /// The initialisation vector, or what the steps before have left.
        chain: Vec<u8>,
    },
    /// A whole text.
    Gcm {
        /// The initialisation vector.
        iv: Vec<u8>,
        /// What is authenticated and not encrypted.
        associated: Vec<u8>,
        /// Bytes.
        tag_length: u32,
    },
    /// A whole text.
    Ccm {
        /// 7 to 13 bytes.
        nonce: Vec<u8>,
        /// What is authenticated and not encrypted.
        associated: Vec<u8>,
        /// Bytes.
        tag_length: u32,
    },
}

impl Signing {
    /// What a mechanism with its parameter means for a signature.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it signs nothing, CKR_MECHANISM_PARAM_INVALID
    /// if the parameter does not fit.
    pub fn new(mechanism: u64, parameter: &Parameter) -> Result<Self> {
        Self::of(find(mechanism)?.family, parameter)?.ok_or_else(|| not_for(mechanism, "sign"))
    }

    /// What a family with a parameter means; `None` if it signs nothing.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID.
    pub(crate) fn of(family: Family, parameter: &Parameter) -> Result<Option<Self>> {
        let digested = |hash: Option<Hash>| hash.map_or(Preparation::None, Preparation::Digest);
        let (preparation, scheme) = match family {
            Family::RsaPkcs(hash) => (
                hash.map_or(Preparation::None, Preparation::DigestInfo),
                without(parameter, SignatureScheme::RsaPkcs)?,
            ),
            Family::RsaX509 => (Preparation::None, without(parameter, SignatureScheme::RsaX509)?),
            Family::Ecdsa(hash) => (digested(hash), without(parameter, SignatureScheme::Ecdsa)?),
            Family::Dsa(hash) => (digested(hash), without(parameter, SignatureScheme::Dsa)?),
            Family::RsaPss(hash) => (digested(hash), pss(hash, parameter)?),
            Family::Eddsa => eddsa(parameter)?,
            Family::MlDsa => (ml_dsa(parameter, None, false)?, SignatureScheme::MlDsa),
            Family::HashMlDsa(hash) => (ml_dsa(parameter, hash, true)?, SignatureScheme::MlDsa),
            Family::Hmac { hash, general } => {
                let length = code_length(parameter, general, hash.length())?;
                (Preparation::None, SignatureScheme::Hmac { hash, length })
            }
            Family::Cmac { cipher, general } => {
                let length = code_length(parameter, general, cipher.block_length())?;
                (Preparation::None, SignatureScheme::Cmac { cipher, length })
            }
            Family::TlsMac => (Preparation::None, tls_mac(parameter)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { preparation, scheme }))
    }

    /// Whether a key of this type is one for the scheme.
    #[must_use]
    pub fn takes(&self, key_type: u64) -> bool {
        self.scheme.takes(key_type)
    }
}

impl SignatureScheme {
    /// Whether a key of this type is one for the scheme.
    #[must_use]
    pub fn takes(&self, key_type: u64) -> bool {
        match self {
            Self::RsaPkcs | Self::RsaPss { .. } | Self::RsaX509 => key_type == CKK_RSA,
            Self::Ecdsa => key_type == CKK_EC,
            Self::Dsa => key_type == CKK_DSA,
            Self::Ed25519 | Self::Ed25519Context(_) | Self::Ed25519Prehashed(_) => {
                key_type == CKK_EC_EDWARDS
            }
            Self::MlDsa => key_type == CKK_ML_DSA,
            Self::Hmac { hash, .. } => {
                key_type == CKK_GENERIC_SECRET || key_type == key_type_of_hmac(*hash)
            }
            Self::Cmac { cipher, .. } => cipher.takes(key_type),
            Self::TlsMac { .. } => key_type == CKK_GENERIC_SECRET,
        }
    }

    /// Whether it makes an authentication code with a secret key, not a signature with a private
    /// one.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        matches!(self, Self::Hmac { .. } | Self::Cmac { .. } | Self::TlsMac { .. })
    }
}

impl EncryptionScheme {
    /// What a mechanism with its parameter means for an encryption.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it encrypts nothing,
    /// CKR_MECHANISM_PARAM_INVALID if the parameter does not fit.
    pub fn new(mechanism: u64, parameter: &Parameter) -> Result<Self> {
        Self::of(find(mechanism)?.family, parameter)?.ok_or_else(|| not_for(mechanism, "encrypt"))
    }

    /// What a family with a parameter means; `None` if it encrypts nothing.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID.
    pub(crate) fn of(family: Family, parameter: &Parameter) -> Result<Option<Self>> {
        Ok(Some(match (family, parameter) {
            (Family::RsaPkcs(None), _) => without(parameter, Self::RsaPkcs)?,
            (Family::RsaX509, _) => without(parameter, Self::RsaX509)?,
            (Family::RsaOaep, Parameter::Oaep { hash, mgf, label }) => Self::RsaOaep {
                hash: hash_of_mechanism(*hash)?,
                mgf1_hash: hash_of_mgf(*mgf)?,
                label: label.clone(),
            },
            (Family::RsaOaep, _) => {
                return Err(parameter_invalid("CK_RSA_PKCS_OAEP_PARAMS is missing"));
            }
            (Family::Block { cipher, mode }, _) => {
                Self::Block { cipher, mode: block_mode(cipher, mode, parameter)? }
            }
            _ => return Ok(None),
        }))
    }

    /// Whether a key of this type is one for the scheme.
    #[must_use]
    pub fn takes(&self, key_type: u64) -> bool {
        match self {
            Self::RsaPkcs | Self::RsaOaep { .. } | Self::RsaX509 => key_type == CKK_RSA,
            Self::Block { cipher, .. } => cipher.takes(key_type),
        }
    }
}

/// CKK_SHA256_HMAC and the like.
#[must_use]
pub fn key_type_of_hmac(hash: Hash) -> u64 {
    match hash {
        Hash::Md5 => CKK_MD5_HMAC,
        Hash::Sha1 => CKK_SHA_1_HMAC,
        Hash::Sha224 => CKK_SHA224_HMAC,
        Hash::Sha256 => CKK_SHA256_HMAC,
        Hash::Sha384 => CKK_SHA384_HMAC,
        Hash::Sha512 => CKK_SHA512_HMAC,
        Hash::Sha512_224 => CKK_SHA512_224_HMAC,
        Hash::Sha512_256 => CKK_SHA512_256_HMAC,
        Hash::Sha3_224 => CKK_SHA3_224_HMAC,
        Hash::Sha3_256 => CKK_SHA3_256_HMAC,
        Hash::Sha3_384 => CKK_SHA3_384_HMAC,
        Hash::Sha3_512 => CKK_SHA3_512_HMAC,
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

fn eddsa(parameter: &Parameter) -> Result<(Preparation, SignatureScheme)> {
    Ok(match parameter {
        Parameter::None => (Preparation::None, SignatureScheme::Ed25519),
        Parameter::Eddsa { context, .. } if context.len() > LONGEST_CONTEXT => {
            return Err(parameter_invalid("the context is longer than 255 bytes"));
        }
        Parameter::Eddsa { prehashed: true, context } => {
            (Preparation::Digest(Hash::Sha512), SignatureScheme::Ed25519Prehashed(context.clone()))
        }
        // Some hosts always give the structure; a context of no bytes is for none of them
        // Ed25519ctx, which RFC 8032 section 5.1 does not want without one.
        Parameter::Eddsa { prehashed: false, context } if context.is_empty() => {
            (Preparation::None, SignatureScheme::Ed25519)
        }
        Parameter::Eddsa { prehashed: false, context } => {
            (Preparation::None, SignatureScheme::Ed25519Context(context.clone()))
        }
        _ => return Err(parameter_invalid("CK_EDDSA_PARAMS is wanted, or nothing")),
    })
}

fn ml_dsa(parameter: &Parameter, own: Option<Hash>, hashed: bool) -> Result<Preparation> {
    let (hedge, context, hash) = match parameter {
        Parameter::None => (CKH_HEDGE_PREFERRED, &Vec::new(), None),
        Parameter::SignContext { hedge, context, hash } => (*hedge, context, *hash),
        _ => return Err(parameter_invalid("CK_SIGN_ADDITIONAL_CONTEXT is wanted, or nothing")),
    };
    if !matches!(hedge, CKH_HEDGE_PREFERRED | CKH_HEDGE_REQUIRED) {
        return Err(parameter_invalid("deterministic signatures are not offered"));
    }
    if context.len() > LONGEST_CONTEXT {
        return Err(parameter_invalid("the context is longer than 255 bytes"));
    }
    let hash = match (hashed, own, hash) {
        (false, ..) => None,
        (true, Some(own), _) => Some(MuHash::Of(own)),
        (true, None, Some(number)) => Some(MuHash::Already(
            hash_of_mechanism(number)
                .ok()
                .filter(|hash| *hash != Hash::Sha1)
                .ok_or_else(|| parameter_invalid("hash is not one that HashML-DSA takes"))?,
        )),
        (true, None, None) => {
            return Err(parameter_invalid("CK_HASH_SIGN_ADDITIONAL_CONTEXT is missing"));
        }
    };
    Ok(Preparation::Mu { context: context.clone(), hash })
}

fn tls_mac(parameter: &Parameter) -> Result<SignatureScheme> {
    let Parameter::TlsMac { hash, length, server_or_client } = parameter else {
        return Err(parameter_invalid("CK_TLS_MAC_PARAMS is missing"));
    };
    let server = match server_or_client {
        1 => true,
        2 => false,
        _ => return Err(parameter_invalid("ulServerOrClient is neither 1 nor 2")),
    };
    let length = u32::try_from(*length)
        .ok()
        .filter(|length| (1..=LONGEST_TLS_MAC).contains(length))
        .ok_or_else(|| parameter_invalid("ulMacLength is not 1 to 256"))?;
    Ok(SignatureScheme::TlsMac { hash: tls_hash(*hash)?, server, length })
}

fn code_length(parameter: &Parameter, general: bool, most: usize) -> Result<u32> {
    let most = most as u64;
    let length = match (general, parameter) {
        (false, Parameter::None) => most,
        (true, Parameter::Number(length)) if (1..=most).contains(length) => *length,
        (true, Parameter::Number(_)) => {
            return Err(parameter_invalid("the code is never of that length"));
        }
        (false, _) => return Err(parameter_invalid("the mechanism takes no parameter")),
        (true, _) => return Err(parameter_invalid("CK_MAC_GENERAL_PARAMS is missing")),
    };
    // At most a digest's length.
    Ok(u32::try_from(length).unwrap_or(u32::MAX))
}

fn block_mode(cipher: BlockCipher, mode: ModeName, parameter: &Parameter) -> Result<BlockMode> {
    let chain = || match parameter {
        Parameter::Bytes(iv) if iv.len() == cipher.block_length() => Ok(iv.clone()),
        _ => Err(parameter_invalid("an initialisation vector as long as a block is wanted")),
    };
    let length = |length: u64| {
        u32::try_from(length).map_err(|_| parameter_invalid("the tag is never of that length"))
    };
    Ok(match (mode, parameter) {
        (ModeName::Ecb, _) => without(parameter, BlockMode::Ecb)?,
        (ModeName::Cbc, _) => BlockMode::Cbc { chain: chain()? },
        (ModeName::CbcPad, _) => BlockMode::CbcPad { chain: chain()? },
        (ModeName::Feedback(feedback), _) => BlockMode::Feedback { feedback, chain: chain()? },
        (ModeName::Ctr, Parameter::Counter { bits, block }) => BlockMode::Ctr {
            counter: u32::try_from(*bits)
                .ok()
                .and_then(|bits| Counter::new(*block, bits).ok())
                .ok_or_else(|| parameter_invalid("ulCounterBits is not from 1 to 128"))?,
        },
        (ModeName::Gcm, Parameter::Gcm { iv, associated, tag_bits }) => {
            if iv.is_empty() {
                return Err(parameter_invalid("GCM needs an initialisation vector"));
            }
            if !matches!(tag_bits, 32 | 64 | 96 | 104 | 112 | 120 | 128) {
                return Err(parameter_invalid("a GCM tag has 32, 64, or 96 to 128 bits"));
            }
            BlockMode::Gcm {
                iv: iv.clone(),
                associated: associated.clone(),
                tag_length: length(tag_bits / 8)?,
            }
        }
        (ModeName::Ccm, Parameter::Ccm { nonce, associated, mac_length, .. }) => {
            if !(7..=13).contains(&nonce.len()) {
                return Err(parameter_invalid("a CCM nonce has 7 to 13 bytes"));
            }
            if !matches!(mac_length, 4 | 6 | 8 | 10 | 12 | 14 | 16) {
                return Err(parameter_invalid("a CCM tag has 4, 6, 8, 10, 12, 14 or 16 bytes"));
            }
            BlockMode::Ccm {
                nonce: nonce.clone(),
                associated: associated.clone(),
                tag_length: length(*mac_length)?,
            }
        }
        (ModeName::Ctr, _) => return Err(parameter_invalid("CK_AES_CTR_PARAMS is missing")),
        (ModeName::Gcm, _) => return Err(parameter_invalid("CK_GCM_PARAMS is missing")),
        (ModeName::Ccm, _) => return Err(parameter_invalid("CK_CCM_PARAMS is missing")),
    })
}

/// Of verify_data, in bytes; TLS itself has 12.
pub(super) const LONGEST_TLS_MAC: u32 = 256;
/// More than any modulus that is offered has room for, in bytes.
pub(super) const LONGEST_SALT: u32 = 1024;

/// Of a signature's context, in bytes.
pub(super) const LONGEST_CONTEXT: usize = 255;
