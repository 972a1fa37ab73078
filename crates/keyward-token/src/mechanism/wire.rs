//! Schemes to and from the wire.

use keyward_crypto::block::{Counter, Feedback};
use keyward_crypto::digest::Hash;
use keyward_wire::feedback_mode::Kind;
use keyward_wire::{self as wire, Error, Result};

use super::scheme::{LONGEST_CONTEXT, LONGEST_SALT, LONGEST_TLS_MAC};
use super::{BlockCipher, BlockMode, EncryptionScheme, SignatureScheme, parameter_invalid};

/// The two names of each hash.
macro_rules! hashes {
    ($($ours:ident $theirs:ident,)*) => {
        pub(crate) fn hash_to_wire(hash: Hash) -> i32 {
            (match hash {
                $(Hash::$ours => wire::Hash::$theirs,)*
            }) as i32
        }

        pub(crate) fn hash_from_wire(hash: i32) -> Result<Hash> {
            Ok(match wire::Hash::try_from(hash) {
                $(Ok(wire::Hash::$theirs) => Hash::$ours,)*
                Ok(wire::Hash::Unspecified) | Err(_) => {
                    return Err(parameter_invalid("the hash is not one that is offered"));
                }
            })
        }
    };
}

hashes! {
    Md5 Md5,
    Sha1 Sha1,
    Sha224 Sha224,
    Sha256 Sha256,
    Sha384 Sha384,
    Sha512 Sha512,
    Sha512_224 Sha512224,
    Sha512_256 Sha512256,
    Sha3_224 Sha3224,
    Sha3_256 Sha3256,
    Sha3_384 Sha3384,
    Sha3_512 Sha3512,
}

pub(super) fn optional_hash_from_wire(hash: i32) -> Result<Option<Hash>> {
    if hash == wire::Hash::Unspecified as i32 {
        return Ok(None);
    }
    hash_from_wire(hash).map(Some)
}

pub(super) fn cipher_to_wire(cipher: BlockCipher) -> i32 {
    (match cipher {
        BlockCipher::Aes => wire::BlockCipher::Aes,
        BlockCipher::TripleDes => wire::BlockCipher::TripleDes,
        BlockCipher::Des => wire::BlockCipher::Des,
    }) as i32
}

pub(super) fn cipher_from_wire(cipher: i32) -> Result<BlockCipher> {
    match wire::BlockCipher::try_from(cipher) {
        Ok(wire::BlockCipher::Aes) => Ok(BlockCipher::Aes),
        Ok(wire::BlockCipher::TripleDes) => Ok(BlockCipher::TripleDes),
        Ok(wire::BlockCipher::Des) => Ok(BlockCipher::Des),
        Ok(wire::BlockCipher::Unspecified) | Err(_) => {
            Err(parameter_invalid("the block cipher is not one that is offered"))
        }
    }
}

impl From<SignatureScheme> for wire::sign::Scheme {
    fn from(scheme: SignatureScheme) -> Self {
        match scheme {
            SignatureScheme::RsaPkcs => Self::RsaPkcs1(wire::Done {}),
            SignatureScheme::RsaX509 => Self::RsaX509(wire::Done {}),
            SignatureScheme::Ecdsa => Self::Ecdsa(wire::Done {}),
            SignatureScheme::Dsa => Self::Dsa(wire::Done {}),
            SignatureScheme::MlDsa => Self::MlDsa(wire::Done {}),
            SignatureScheme::RsaPss { hash, mgf1_hash, salt_length } => {
                Self::RsaPss(wire::RsaPss {
                    hash: hash_to_wire(hash),
                    mgf1_hash: hash_to_wire(mgf1_hash),
                    salt_length,
                })
            }
            SignatureScheme::Ed25519 => ed25519(wire::ed25519::Variant::Pure, Vec::new()),
            SignatureScheme::Ed25519Context(context) => {
                ed25519(wire::ed25519::Variant::Context, context)
            }
            SignatureScheme::Ed25519Prehashed(context) => {
                ed25519(wire::ed25519::Variant::Prehashed, context)
            }
            SignatureScheme::Hmac { hash, length } => {
                Self::Hmac(wire::Hmac { hash: hash_to_wire(hash), length })
            }
            SignatureScheme::Cmac { cipher, length } => {
                Self::Cmac(wire::Cmac { cipher: cipher_to_wire(cipher), length })
            }
            SignatureScheme::TlsMac { hash, server, length } => Self::TlsMac(wire::TlsMac {
                hash: hash.map_or(wire::Hash::Unspecified as i32, hash_to_wire),
                server,
                length,
            }),
        }
    }
}

fn ed25519(variant: wire::ed25519::Variant, context: Vec<u8>) -> wire::sign::Scheme {
    wire::sign::Scheme::Ed25519(wire::Ed25519 { variant: variant as i32, context })
}

impl TryFrom<wire::sign::Scheme> for SignatureScheme {
    type Error = Error;

    fn try_from(scheme: wire::sign::Scheme) -> Result<Self> {
        Ok(match scheme {
            wire::sign::Scheme::RsaPkcs1(_) => Self::RsaPkcs,
            wire::sign::Scheme::RsaX509(_) => Self::RsaX509,
            wire::sign::Scheme::Ecdsa(_) => Self::Ecdsa,
            wire::sign::Scheme::Dsa(_) => Self::Dsa,
            wire::sign::Scheme::MlDsa(_) => Self::MlDsa,
            wire::sign::Scheme::RsaPss(pss) if pss.salt_length <= LONGEST_SALT => Self::RsaPss {
                hash: hash_from_wire(pss.hash)?,
                mgf1_hash: hash_from_wire(pss.mgf1_hash)?,
                salt_length: pss.salt_length,
            },
            wire::sign::Scheme::RsaPss(_) => {
                return Err(parameter_invalid("sLen is longer than any key allows"));
            }
            wire::sign::Scheme::Ed25519(ed25519) if ed25519.context.len() <= LONGEST_CONTEXT => {
                match ed25519.variant() {
                    wire::ed25519::Variant::Pure => Self::Ed25519,
                    wire::ed25519::Variant::Context => Self::Ed25519Context(ed25519.context),
                    wire::ed25519::Variant::Prehashed => Self::Ed25519Prehashed(ed25519.context),
                    wire::ed25519::Variant::Unspecified => {
                        return Err(parameter_invalid("the variant of Ed25519 is not known"));
                    }
                }
            }
            wire::sign::Scheme::Ed25519(_) => {
                return Err(parameter_invalid("the context is longer than 255 bytes"));
            }
            wire::sign::Scheme::Hmac(hmac) => {
                let hash = hash_from_wire(hmac.hash)?;
                Self::Hmac { hash, length: code_length(hmac.length, hash.length())? }
            }
            wire::sign::Scheme::Cmac(cmac) => {
                let cipher = cipher_from_wire(cmac.cipher)?;
                Self::Cmac { cipher, length: code_length(cmac.length, cipher.block_length())? }
            }
            wire::sign::Scheme::TlsMac(mac) => Self::TlsMac {
                hash: optional_hash_from_wire(mac.hash)?,
                server: mac.server,
                length: code_length(mac.length, LONGEST_TLS_MAC as usize)?,
            },
        })
    }
}

fn code_length(length: u32, most: usize) -> Result<u32> {
    if length == 0 || length as usize > most {
        return Err(parameter_invalid("the code is never of that length"));
    }
    Ok(length)
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
            EncryptionScheme::Block { cipher, mode } => {
                Self::Block(wire::Block { cipher: cipher_to_wire(cipher), mode: Some(mode.into()) })
            }
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
            wire::decrypt::Scheme::Block(block) => Self::Block {
                cipher: cipher_from_wire(block.cipher)?,
                mode: block
                    .mode
                    .ok_or_else(|| parameter_invalid("the mode is missing"))?
                    .try_into()?,
            },
        })
    }
}

impl From<BlockMode> for wire::block::Mode {
    fn from(mode: BlockMode) -> Self {
        match mode {
            BlockMode::Ecb => Self::Ecb(wire::Done {}),
            BlockMode::Cbc { chain } => Self::Cbc(chain),
            BlockMode::CbcPad { chain } => Self::CbcPad(chain),
            BlockMode::Feedback { feedback, chain } => {
                let kind = match feedback {
                    Feedback::Ofb => Kind::Ofb,
                    Feedback::Cfb1 => Kind::Cfb1,
                    Feedback::Cfb8 => Kind::Cfb8,
                    Feedback::Cfb128 => Kind::Cfb128,
                };
                Self::Feedback(wire::FeedbackMode { kind: kind as i32, chain })
            }
            BlockMode::Ctr { counter } => {
                Self::Ctr(wire::Ctr { block: counter.block().to_vec(), bits: counter.bits() })
            }
            BlockMode::Gcm { iv, associated, tag_length } => {
                Self::Gcm(wire::Aead { nonce: iv, associated, tag_length })
            }
            BlockMode::Ccm { nonce, associated, tag_length } => {
                Self::Ccm(wire::Aead { nonce, associated, tag_length })
            }
        }
    }
}

impl TryFrom<wire::block::Mode> for BlockMode {
    type Error = Error;

    /// Lengths are checked where the cipher is used.
    fn try_from(mode: wire::block::Mode) -> Result<Self> {
        Ok(match mode {
            wire::block::Mode::Ecb(_) => Self::Ecb,
            wire::block::Mode::Cbc(chain) => Self::Cbc { chain },
            wire::block::Mode::CbcPad(chain) => Self::CbcPad { chain },
            wire::block::Mode::Ctr(ctr) => Self::Ctr {
                counter: ctr
                    .block
                    .try_into()
                    .ok()
                    .and_then(|block| Counter::new(block, ctr.bits).ok())
                    .ok_or_else(|| parameter_invalid("it is not a counter"))?,
            },
            wire::block::Mode::Feedback(mode) => {
                let feedback = match mode.kind() {
                    Kind::Ofb => Feedback::Ofb,
                    Kind::Cfb1 => Feedback::Cfb1,
                    Kind::Cfb8 => Feedback::Cfb8,
                    Kind::Cfb128 => Feedback::Cfb128,
                    Kind::Unspecified => {
                        return Err(parameter_invalid("what is fed back is not known"));
                    }
                };
                Self::Feedback { feedback, chain: mode.chain }
            }
            wire::block::Mode::Gcm(wire::Aead { nonce, associated, tag_length }) => {
                Self::Gcm { iv: nonce, associated, tag_length }
            }
            wire::block::Mode::Ccm(wire::Aead { nonce, associated, tag_length }) => {
                Self::Ccm { nonce, associated, tag_length }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_schemes_survive_the_wire() {
        let hash = Hash::Sha3_384;
        for scheme in [
            SignatureScheme::RsaPkcs,
            SignatureScheme::RsaX509,
            SignatureScheme::RsaPss { hash, mgf1_hash: Hash::Sha512_256, salt_length: 7 },
            SignatureScheme::Ecdsa,
            SignatureScheme::Dsa,
            SignatureScheme::MlDsa,
            SignatureScheme::Ed25519,
            SignatureScheme::Ed25519Context(vec![1]),
            SignatureScheme::Ed25519Prehashed(vec![]),
            SignatureScheme::Hmac { hash: Hash::Md5, length: 16 },
            SignatureScheme::Cmac { cipher: BlockCipher::TripleDes, length: 8 },
            SignatureScheme::TlsMac { hash: Some(hash), server: true, length: 12 },
            SignatureScheme::TlsMac { hash: None, server: false, length: 256 },
        ] {
            let wire = wire::sign::Scheme::from(scheme.clone());
            assert_eq!(SignatureScheme::try_from(wire).unwrap(), scheme);
        }
        for hash in Hash::ALL {
            assert_eq!(hash_from_wire(hash_to_wire(hash)).unwrap(), hash);
        }
    }

    #[test]
    fn signature_schemes_that_cannot_be_are_refused() {
        let hmac = |length| wire::Hmac { hash: wire::Hash::Sha1 as i32, length };
        for scheme in [
            wire::sign::Scheme::Hmac(hmac(0)),
            wire::sign::Scheme::Hmac(hmac(21)),
            wire::sign::Scheme::Cmac(wire::Cmac { cipher: 0, length: 16 }),
            wire::sign::Scheme::TlsMac(wire::TlsMac { hash: 3, server: true, length: 257 }),
            wire::sign::Scheme::Ed25519(wire::Ed25519 { variant: 0, context: vec![] }),
            wire::sign::Scheme::Ed25519(wire::Ed25519 { variant: 3, context: vec![0; 256] }),
            wire::sign::Scheme::RsaPss(wire::RsaPss { hash: 3, mgf1_hash: 3, salt_length: 1025 }),
        ] {
            assert!(SignatureScheme::try_from(scheme.clone()).is_err(), "{scheme:?}");
        }
    }

    #[test]
    fn encryption_schemes_survive_the_wire() {
        let cipher = BlockCipher::Aes;
        let block = |mode| EncryptionScheme::Block { cipher, mode };
        for scheme in [
            EncryptionScheme::RsaPkcs,
            EncryptionScheme::RsaX509,
            block(BlockMode::Ecb),
            block(BlockMode::Cbc { chain: vec![1; 16] }),
            block(BlockMode::CbcPad { chain: vec![2; 16] }),
            block(BlockMode::Ctr { counter: Counter::new([3; 16], 33).unwrap() }),
            block(BlockMode::Feedback { feedback: Feedback::Ofb, chain: vec![7; 16] }),
            block(BlockMode::Feedback { feedback: Feedback::Cfb1, chain: vec![7; 16] }),
            block(BlockMode::Feedback { feedback: Feedback::Cfb8, chain: vec![7; 16] }),
            block(BlockMode::Feedback { feedback: Feedback::Cfb128, chain: vec![7; 16] }),
            block(BlockMode::Gcm { iv: vec![4], associated: vec![5], tag_length: 12 }),
            block(BlockMode::Ccm { nonce: vec![6; 7], associated: vec![], tag_length: 4 }),
        ] {
            let wire = wire::decrypt::Scheme::from(scheme.clone());
            assert_eq!(EncryptionScheme::try_from(wire).unwrap(), scheme);
        }
        let bad = wire::Ctr { block: vec![0; 16], bits: 129 };
        assert!(BlockMode::try_from(wire::block::Mode::Ctr(bad)).is_err());
    }
}
