//! What a mechanism with its parameter means for the derivation of a key.

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::{
    BlockCipher, BlockMode, DataField, Derived, EncryptionScheme, Family, Parameter, Salt, find,
    hash_of_mechanism, not_for, parameter_invalid,
};

/// How a key is derived. A second key that takes part is not in here.
#[derive(Clone, PartialEq, Eq)]
pub enum DerivationScheme {
    /// ECDH, or X25519.
    Ecdh {
        /// The other side's public key.
        peer: Vec<u8>,
        /// X9.63's; `None`: the secret as it is.
        kdf: Option<Kdf>,
    },
    /// Diffie-Hellman modulo a prime.
    Dh {
        /// The other side's public value.
        peer: Vec<u8>,
    },
    /// HKDF.
    Hkdf {
        /// Its hash.
        hash: Hash,
        /// The first step.
        extract: Option<HkdfSalt>,
        /// The second step, with its info.
        expand: Option<Vec<u8>>,
    },
    /// SP 800-108 in counter mode.
    CounterMode {
        /// What it builds on.
        prf: PrfName,
        /// What goes into the PRF, in this order.
        fields: Vec<DataField>,
    },
    /// SP 800-108 in feedback mode.
    FeedbackMode {
        /// What it builds on.
        prf: PrfName,
        /// What goes into the PRF, in this order.
        fields: Vec<DataField>,
        /// What stands for the block before the first.
        iv: Vec<u8>,
    },
    /// The key between data.
    Data {
        /// Before it.
        before: Zeroizing<Vec<u8>>,
        /// After it.
        after: Zeroizing<Vec<u8>>,
    },
    /// The key, then the second one.
    Key,
    /// The key and data, as far as both go.
    Xor(Zeroizing<Vec<u8>>),
    /// The key's bits from this one on, the most significant one of the first byte being 0; after
    /// the last the first follows.
    Extract(u64),
    /// The key's digest.
    Digest(Hash),
    /// Data that the key encrypts, in whole blocks.
    Encryption {
        /// ECB or CBC.
        scheme: EncryptionScheme,
        /// The data.
        data: Zeroizing<Vec<u8>>,
    },
    /// The PRF of TLS.
    TlsPrf {
        /// TLS 1.2's with this hash; `None`: TLS 1.0's.
        hash: Option<Hash>,
        /// The label.
        label: Vec<u8>,
        /// The randoms and what follows them.
        seed: Vec<u8>,
        /// How much it gives, in bytes; `None`: as the template says.
        length: Option<usize>,
        /// The key is a premaster secret, which begins with a version that the host wants to know.
        tells_version: bool,
    },
}

/// The KDF of ANSI X9.63.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// Its hash.
    pub hash: Hash,
    /// What both sides know.
    pub shared: Vec<u8>,
}

/// The salt of HKDF, free of handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HkdfSalt {
    /// As many zeros as a digest has bytes, if they are none.
    Data(Vec<u8>),
    /// The value of the second key.
    Key,
}

/// What SP 800-108 builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PrfName {
    Hmac(Hash),
    Cmac(BlockCipher),
}

impl DerivationScheme {
    /// What a mechanism with its parameter means, and the handle of the second key.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it derives nothing, CKR_MECHANISM_PARAM_INVALID if the parameter
    /// does not fit.
    pub fn new(number: u64, parameter: &Parameter) -> Result<(Self, Option<u64>)> {
        let Family::Derivation(derived) = find(number)?.family else {
            return Err(not_for(number, "derive a key"));
        };
        Self::of(number, derived, parameter)
    }

    pub(crate) fn of(
        number: u64,
        derived: Derived,
        parameter: &Parameter,
    ) -> Result<(Self, Option<u64>)> {
        let mut other = None;
        let scheme = match (derived, parameter) {
            (Derived::Ecdh, Parameter::Ecdh { kdf, shared, public }) => {
                Self::Ecdh { peer: public.clone(), kdf: x963(*kdf, shared)? }
            }
            (Derived::Dh, Parameter::Bytes(public)) => Self::Dh { peer: public.clone() },
            (Derived::Hkdf, Parameter::Hkdf { extract, expand, hash, salt, info }) => {
                if !extract && !expand {
                    return Err(parameter_invalid("HKDF without a step does nothing"));
                }
                let salt = match salt {
                    Salt::None => HkdfSalt::Data(Vec::new()),
                    Salt::Data(data) => HkdfSalt::Data(data.clone()),
                    Salt::Key(handle) => {
                        other = extract.then_some(*handle);
                        HkdfSalt::Key
                    }
                };
                Self::Hkdf {
                    hash: hash_of_mechanism(*hash)?,
                    extract: extract.then_some(salt),
                    expand: expand.then(|| info.clone()),
                }
            }
            (Derived::CounterMode, Parameter::CounterMode { prf, fields }) => {
                may_count(fields)?;
                Self::CounterMode { prf: prf_of(*prf)?, fields: fields.clone() }
            }
            (Derived::FeedbackMode, Parameter::FeedbackMode { prf, fields, iv }) => {
                may_feed_back(fields)?;
                Self::FeedbackMode { prf: prf_of(*prf)?, fields: fields.clone(), iv: iv.clone() }
            }
            (Derived::BaseAndKey, Parameter::Key(handle)) => {
                other = Some(*handle);
                Self::Key
            }
            (Derived::BaseAndData, Parameter::StringData(data)) => {
                Self::Data { before: Zeroizing::default(), after: data.clone() }
            }
            (Derived::DataAndBase, Parameter::StringData(data)) => {
                Self::Data { before: data.clone(), after: Zeroizing::default() }
            }
            (Derived::Xor, Parameter::StringData(data)) => Self::Xor(data.clone()),
            (Derived::Extract, Parameter::Number(bit)) => Self::Extract(*bit),
            (Derived::Digest(hash), Parameter::None) => Self::Digest(hash),
            (Derived::Encryption { cipher, .. }, Parameter::Encryption { iv, data }) => {
                let mode = match iv {
                    None => BlockMode::Ecb,
                    Some(iv) => BlockMode::Cbc { chain: iv.clone() },
                };
                if data.is_empty() || !data.len().is_multiple_of(cipher.block_length()) {
                    return Err(parameter_invalid("the data are not whole blocks"));
                }
                let scheme = EncryptionScheme::Block { cipher, mode };
                Self::Encryption { scheme, data: data.clone() }
            }
            (Derived::Tls12Master, Parameter::TlsMaster { hash, client_random, server_random }) => {
                Self::TlsPrf {
                    hash: Some(hash_of_mechanism(*hash)?),
                    label: MASTER_LABEL.to_vec(),
                    seed: [&client_random[..], server_random].concat(),
                    length: Some(MASTER_SECRET),
                    tells_version: number == CKM_TLS12_MASTER_KEY_DERIVE,
                }
            }
            (Derived::Tls12ExtendedMaster, Parameter::TlsExtendedMaster { hash, session_hash }) => {
                Self::TlsPrf {
                    hash: Some(hash_of_mechanism(*hash)?),
                    label: b"extended master secret".to_vec(),
                    seed: session_hash.clone(),
                    length: Some(MASTER_SECRET),
                    tells_version: number == CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE,
                }
            }
            (
                Derived::TlsKdf,
                Parameter::TlsKdf { hash, label, client_random, server_random, context },
            ) => {
                let mut seed = [&client_random[..], server_random].concat();
                if let Some(context) = context {
                    // RFC 5705 section 4.
                    let length = u16::try_from(context.len()).map_err(|_| {
                        parameter_invalid("the context is longer than 65,535 bytes")
                    })?;
                    seed.extend(length.to_be_bytes());
                    seed.extend(context);
                }
                Self::TlsPrf {
                    hash: tls_hash(*hash)?,
                    label: label.clone(),
                    seed,
                    length: None,
                    tells_version: false,
                }
            }
            (Derived::Tls10Master, Parameter::TlsMaster { client_random, server_random, .. }) => {
                Self::TlsPrf {
                    hash: None,
                    label: MASTER_LABEL.to_vec(),
                    seed: [&client_random[..], server_random].concat(),
                    length: Some(MASTER_SECRET),
                    tells_version: number == CKM_TLS_MASTER_KEY_DERIVE,
                }
            }
            (
                Derived::TlsKeys { .. },
                Parameter::TlsKeys { hash, client_random, server_random, .. },
            ) => Self::TlsPrf {
                hash: tls_hash(*hash)?,
                label: KEYS_LABEL.to_vec(),
                // The other way round (RFC 5246 section 6.3).
                seed: [&server_random[..], client_random].concat(),
                length: None,
                tells_version: false,
            },
            (Derived::TlsPrf, Parameter::TlsPrf { seed, label, .. }) => Self::TlsPrf {
                hash: None,
                label: label.clone(),
                seed: seed.clone(),
                length: None,
                tells_version: false,
            },
            _ => return Err(parameter_invalid("the mechanism's parameter is missing")),
        };
        Ok((scheme, other))
    }

    /// Whether a key of this class and type is one to start from.
    #[must_use]
    pub fn takes(&self, class: u64, key_type: u64) -> bool {
        match self {
            Self::Ecdh { .. } => {
                class == CKO_PRIVATE_KEY && matches!(key_type, CKK_EC | CKK_EC_MONTGOMERY)
            }
            Self::Dh { .. } => class == CKO_PRIVATE_KEY && key_type == CKK_DH,
            Self::Encryption { scheme, .. } => class == CKO_SECRET_KEY && scheme.takes(key_type),
            Self::CounterMode { prf: PrfName::Cmac(cipher), .. }
            | Self::FeedbackMode { prf: PrfName::Cmac(cipher), .. } => {
                class == CKO_SECRET_KEY && cipher.takes(key_type)
            }
            _ => class == CKO_SECRET_KEY,
        }
    }

    /// Whether a second key takes part.
    #[must_use]
    pub fn takes_two(&self) -> bool {
        matches!(self, Self::Key | Self::Hkdf { extract: Some(HkdfSalt::Key), .. })
    }

    /// Whether the new key gives the old one away, or a part of it: then it is as sensitive.
    #[must_use]
    pub fn shows_the_key(&self) -> bool {
        matches!(
            self,
            Self::Data { .. } | Self::Key | Self::Xor(_) | Self::Extract(_) | Self::Digest(_)
        )
    }
}

/// Names only: what is in them may be secret.
impl std::fmt::Debug for DerivationScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ecdh { .. } => "Ecdh",
            Self::Dh { .. } => "Dh",
            Self::Hkdf { .. } => "Hkdf",
            Self::CounterMode { .. } => "CounterMode",
            Self::FeedbackMode { .. } => "FeedbackMode",
            Self::Data { .. } => "Data",
            Self::Key => "Key",
            Self::Xor(_) => "Xor",
            Self::Extract(_) => "Extract",
            Self::Digest(_) => "Digest",
            Self::Encryption { .. } => "Encryption",
            Self::TlsPrf { .. } => "TlsPrf",
        })
    }
}

fn x963(kdf: u64, shared: &[u8]) -> Result<Option<Kdf>> {
    let hash = match kdf {
        CKD_NULL if shared.is_empty() => return Ok(None),
        CKD_NULL => return Err(parameter_invalid("CKD_NULL takes no shared data")),
        CKD_SHA1_KDF => Hash::Sha1,
        CKD_SHA224_KDF => Hash::Sha224,
        CKD_SHA256_KDF => Hash::Sha256,
        CKD_SHA384_KDF => Hash::Sha384,
        CKD_SHA512_KDF => Hash::Sha512,
        CKD_SHA3_224_KDF => Hash::Sha3_224,
        CKD_SHA3_256_KDF => Hash::Sha3_256,
        CKD_SHA3_384_KDF => Hash::Sha3_384,
        CKD_SHA3_512_KDF => Hash::Sha3_512,
        _ => return Err(parameter_invalid("kdf is not one that is offered")),
    };
    Ok(Some(Kdf { hash, shared: shared.to_vec() }))
}

/// The hash of TLS's PRF. The older one is MD5's and SHA-1's together, and is asked for by a number
/// of its own.
pub(super) fn tls_hash(number: u64) -> Result<Option<Hash>> {
    if number == CKM_TLS_PRF { Ok(None) } else { hash_of_mechanism(number).map(Some) }
}

fn prf_of(number: u64) -> Result<PrfName> {
    Ok(match number {
        CKM_AES_CMAC => PrfName::Cmac(BlockCipher::Aes),
        CKM_SHA_1_HMAC => PrfName::Hmac(Hash::Sha1),
        CKM_SHA224_HMAC => PrfName::Hmac(Hash::Sha224),
        CKM_SHA256_HMAC => PrfName::Hmac(Hash::Sha256),
        CKM_SHA384_HMAC => PrfName::Hmac(Hash::Sha384),
        CKM_SHA512_HMAC => PrfName::Hmac(Hash::Sha512),
        CKM_SHA3_224_HMAC => PrfName::Hmac(Hash::Sha3_224),
        CKM_SHA3_256_HMAC => PrfName::Hmac(Hash::Sha3_256),
        CKM_SHA3_384_HMAC => PrfName::Hmac(Hash::Sha3_384),
        CKM_SHA3_512_HMAC => PrfName::Hmac(Hash::Sha3_512),
        _ => return Err(parameter_invalid("prfType is not one that is offered")),
    })
}

/// Whether the fields make sense: one counter, at least, and numbers of whole bytes.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID.
pub(crate) fn may_count(fields: &[DataField]) -> Result<()> {
    match well_formed(fields)? {
        (1, 0) => Ok(()),
        _ => Err(Error::new(
            ErrorCode::MechanismParamInvalid,
            "CK_SP800_108_ITERATION_VARIABLE stands once among the data, for the counter",
        )),
    }
}

/// The same in feedback mode: the block before, once, and a counter at most.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID.
pub(crate) fn may_feed_back(fields: &[DataField]) -> Result<()> {
    match well_formed(fields)? {
        (0 | 1, 1) => Ok(()),
        _ => Err(Error::new(
            ErrorCode::MechanismParamInvalid,
            "CK_SP800_108_ITERATION_VARIABLE stands once among the data, and \
             CK_SP800_108_COUNTER once at most",
        )),
    }
}

/// How many counters there are, and how often the block before.
fn well_formed(fields: &[DataField]) -> Result<(usize, usize)> {
    let (mut counters, mut before) = (0, 0);
    for field in fields {
        match field {
            DataField::Counter { bits: 8 | 16 | 24 | 32, .. } => counters += 1,
            DataField::Counter { .. } => {
                return Err(parameter_invalid("a counter has 8, 16, 24 or 32 bits"));
            }
            DataField::Length { bits, .. } if (8..=64).contains(bits) && bits % 8 == 0 => {}
            DataField::Length { .. } => {
                return Err(parameter_invalid("a length has 8 to 64 bits, in whole bytes"));
            }
            DataField::Bytes(_) => {}
            DataField::Before => before += 1,
        }
    }
    Ok((counters, before))
}

const MASTER_LABEL: &[u8] = b"master secret";
/// RFC 5246 section 6.3.
pub(super) const KEYS_LABEL: &[u8] = b"key expansion";
/// Bytes (RFC 5246 section 8.1).
const MASTER_SECRET: usize = 48;
