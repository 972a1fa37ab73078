//! Schemes as `cryptoki` has them.

use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_token::mechanism::{
    BlockCipher, BlockMode, EncryptionScheme, SignatureScheme, WrappingScheme,
};
use keyward_wire::{Error, ErrorCode, Result};

/// How a signature or code is made; and of how many bytes, where the HSM makes a
/// longer one.
pub(super) fn signing(scheme: &SignatureScheme) -> Result<(Mechanism<'_>, Option<usize>)> {
    let cut = |length: u32| Some(length as usize);
    Ok(match scheme {
        SignatureScheme::RsaPkcs => (Mechanism::RsaPkcs, None),
        SignatureScheme::RsaX509 => (Mechanism::RsaX509, None),
        SignatureScheme::RsaPss { hash, mgf1_hash, salt_length } => {
            let parameters = PkcsPssParams {
                hash_alg: digest(*hash)?,
                mgf: mgf(*mgf1_hash)?,
                s_len: u64::from(*salt_length).into(),
            };
            (Mechanism::RsaPkcsPss(parameters), None)
        }
        SignatureScheme::Ecdsa => (Mechanism::Ecdsa, None),
        SignatureScheme::Ed25519 => (eddsa(EddsaSignatureScheme::Ed25519), None),
        SignatureScheme::Ed25519Context(context) => {
            (eddsa(EddsaSignatureScheme::Ed25519ctx(context)), None)
        }
        SignatureScheme::Hmac { hash, length } => {
            let mechanism = match hash {
                Hash::Sha1 => Mechanism::Sha1Hmac,
                Hash::Sha224 => Mechanism::Sha224Hmac,
                Hash::Sha256 => Mechanism::Sha256Hmac,
                Hash::Sha384 => Mechanism::Sha384Hmac,
                Hash::Sha512 => Mechanism::Sha512Hmac,
                _ => return Err(not_offered()),
            };
            (mechanism, cut(*length))
        }
        SignatureScheme::Cmac { cipher: BlockCipher::Aes, length } => {
            (Mechanism::AesCMac, cut(*length))
        }
        _ => return Err(not_offered()),
    })
}

fn eddsa(scheme: EddsaSignatureScheme<'_>) -> Mechanism<'_> {
    Mechanism::Eddsa(EddsaParams::new(scheme))
}

/// How something is encrypted. `iv` is a copy of a GCM scheme's, which some HSMs write to.
pub(super) fn encryption<'a>(
    scheme: &'a EncryptionScheme,
    iv: &'a mut Vec<u8>,
) -> Result<Mechanism<'a>> {
    Ok(match scheme {
        EncryptionScheme::RsaPkcs => Mechanism::RsaPkcs,
        EncryptionScheme::RsaX509 => Mechanism::RsaX509,
        EncryptionScheme::RsaOaep { hash, mgf1_hash, label } => {
            Mechanism::RsaPkcsOaep(oaep(*hash, *mgf1_hash, label)?)
        }
        EncryptionScheme::Block { cipher: BlockCipher::Aes, mode } => aes(mode, iv)?,
        EncryptionScheme::Block { .. } => return Err(not_offered()),
    })
}

/// How a key is unwrapped.
pub(super) fn unwrapping<'a>(
    scheme: &'a WrappingScheme,
    iv: &'a mut Vec<u8>,
) -> Result<Mechanism<'a>> {
    match scheme {
        WrappingScheme::Encryption(scheme) => encryption(scheme, iv),
        WrappingScheme::KeyWrap { padded: false, initial: None } => Ok(Mechanism::AesKeyWrap),
        WrappingScheme::KeyWrap { padded: true, initial: None } => Ok(Mechanism::AesKeyWrapPad),
        _ => Err(not_offered()),
    }
}

fn oaep(hash: Hash, mgf1_hash: Hash, label: &[u8]) -> Result<PkcsOaepParams<'_>> {
    let source = match label {
        [] => PkcsOaepSource::empty(),
        label => PkcsOaepSource::data_specified(label),
    };
    Ok(PkcsOaepParams::new(digest(hash)?, mgf(mgf1_hash)?, source))
}

fn aes<'a>(mode: &'a BlockMode, copy: &'a mut Vec<u8>) -> Result<Mechanism<'a>> {
    let block = |chain: &[u8]| chain.try_into().map_err(|_| not_offered());
    Ok(match mode {
        BlockMode::Ecb => Mechanism::AesEcb,
        BlockMode::Cbc { chain } => Mechanism::AesCbc(block(chain)?),
        BlockMode::CbcPad { chain } => Mechanism::AesCbcPad(block(chain)?),
        BlockMode::Gcm { iv, associated, tag_length } => {
            copy.clone_from(iv);
            let bits = u64::from(8 * tag_length).into();
            let parameters = GcmParams::new(copy, associated, bits).map_err(|_| not_offered())?;
            Mechanism::AesGcm(parameters)
        }
        _ => return Err(not_offered()),
    })
}

/// How a key or a pair is made.
pub(super) fn generation(mechanism: CK_MECHANISM_TYPE) -> Result<Mechanism<'static>> {
    Ok(match mechanism {
        CKM_RSA_PKCS_KEY_PAIR_GEN => Mechanism::RsaPkcsKeyPairGen,
        CKM_EC_KEY_PAIR_GEN => Mechanism::EccKeyPairGen,
        CKM_EC_EDWARDS_KEY_PAIR_GEN => Mechanism::EccEdwardsKeyPairGen,
        CKM_AES_KEY_GEN => Mechanism::AesKeyGen,
        CKM_GENERIC_SECRET_KEY_GEN => Mechanism::GenericSecretKeyGen,
        _ => return Err(not_offered()),
    })
}

fn digest(hash: Hash) -> Result<MechanismType> {
    Ok(match hash {
        Hash::Sha1 => MechanismType::SHA1,
        Hash::Sha224 => MechanismType::SHA224,
        Hash::Sha256 => MechanismType::SHA256,
        Hash::Sha384 => MechanismType::SHA384,
        Hash::Sha512 => MechanismType::SHA512,
        _ => return Err(not_offered()),
    })
}

fn mgf(hash: Hash) -> Result<PkcsMgfType> {
    Ok(match hash {
        Hash::Sha1 => PkcsMgfType::MGF1_SHA1,
        Hash::Sha224 => PkcsMgfType::MGF1_SHA224,
        Hash::Sha256 => PkcsMgfType::MGF1_SHA256,
        Hash::Sha384 => PkcsMgfType::MGF1_SHA384,
        Hash::Sha512 => PkcsMgfType::MGF1_SHA512,
        _ => return Err(not_offered()),
    })
}

pub(super) fn not_offered() -> Error {
    Error::new(ErrorCode::MechanismInvalid, "keys in an HSM do not do that")
}
