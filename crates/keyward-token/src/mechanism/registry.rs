//! The lists.

use cryptoki_sys::*;
use keyward_crypto::Feedback;
use keyward_crypto::digest::Hash;

use super::{BlockCipher, Derived, Family, Mechanism, ModeName};

const RSA: (u64, u64) = (2048, 8192);
const EC: (u64, u64) = (224, 521);
const CURVE_25519: (u64, u64) = (255, 255);
/// FIPS 204 and 203 have sizes of public keys; PKCS#11 v3.2 counts those in bytes.
const ML_DSA: (u64, u64) = (1312, 2592);
const ML_KEM: (u64, u64) = (800, 1568);
const DSA: (u64, u64) = (1024, 3072);
const DH: (u64, u64) = (1024, 8192);
const AES: (u64, u64) = (16, 32);
const DES2: (u64, u64) = (16, 16);
const DES1: (u64, u64) = (8, 8);
const DES: (u64, u64) = (16, 24);
const DES3: (u64, u64) = (24, 24);
/// A premaster or master secret.
const TLS: (u64, u64) = (48, 48);
const SECRET: (u64, u64) = (1, 1 << 16);
const NONE: (u64, u64) = (0, 0);

const SIGN: u64 = CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY;
const RECOVER: u64 = CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
const CRYPT: u64 = CKF_ENCRYPT | CKF_DECRYPT;
const MESSAGES: u64 = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
const WRAP: u64 = CKF_WRAP | CKF_UNWRAP;
const EC_FLAGS: u64 = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;
const OKP_FLAGS: u64 = CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME;

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

const fn hmac(hash: Hash) -> Family {
    Family::Hmac { hash, general: false }
}

const fn hmac_general(hash: Hash) -> Family {
    Family::Hmac { hash, general: true }
}

const fn aes(mode: ModeName) -> Family {
    Family::Block { cipher: BlockCipher::Aes, mode }
}

const fn triple_des(mode: ModeName) -> Family {
    Family::Block { cipher: BlockCipher::TripleDes, mode }
}

const fn des(mode: ModeName) -> Family {
    Family::Block { cipher: BlockCipher::Des, mode }
}

const fn tls_keys(tls12: bool, safe: bool) -> Family {
    Family::Derivation(Derived::TlsKeys { tls12, safe })
}

const fn encrypted(cipher: BlockCipher, cbc: bool) -> Family {
    Family::Derivation(Derived::Encryption { cipher, cbc })
}

/// Every mechanism that works from end to end, in the order in which it is listed.
pub const REGISTRY: &[Mechanism] = registry! {
    CKM_RSA_PKCS_KEY_PAIR_GEN Family::PairGeneration(CKK_RSA), RSA, CKF_GENERATE_KEY_PAIR, false;
    CKM_EC_KEY_PAIR_GEN Family::PairGeneration(CKK_EC), EC, CKF_GENERATE_KEY_PAIR | EC_FLAGS, false;
    CKM_RSA_PKCS Family::RsaPkcs(None), RSA, SIGN | RECOVER | CRYPT | WRAP, true;
    CKM_RSA_PKCS_PSS Family::RsaPss(None), RSA, SIGN, true;
    CKM_ECDSA Family::Ecdsa(None), EC, SIGN | EC_FLAGS, true;
    CKM_RSA_X_509 Family::RsaX509, RSA, SIGN | RECOVER | CRYPT, false;
    CKM_RSA_PKCS_OAEP Family::RsaOaep, RSA, CRYPT | WRAP, false;
    CKM_RSA_AES_KEY_WRAP Family::RsaAesKeyWrap, RSA, WRAP, false;
    CKM_SHA1_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha1)), RSA, SIGN, false;
    CKM_SHA224_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha224)), RSA, SIGN, false;
    CKM_SHA256_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha256)), RSA, SIGN, false;
    CKM_SHA384_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha384)), RSA, SIGN, false;
    CKM_SHA512_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha512)), RSA, SIGN, false;
    CKM_SHA3_224_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha3_224)), RSA, SIGN, false;
    CKM_SHA3_256_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha3_256)), RSA, SIGN, false;
    CKM_SHA3_384_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha3_384)), RSA, SIGN, false;
    CKM_SHA3_512_RSA_PKCS Family::RsaPkcs(Some(Hash::Sha3_512)), RSA, SIGN, false;
    CKM_SHA1_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha1)), RSA, SIGN, false;
    CKM_SHA224_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha224)), RSA, SIGN, false;
    CKM_SHA256_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha256)), RSA, SIGN, false;
    CKM_SHA384_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha384)), RSA, SIGN, false;
    CKM_SHA512_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha512)), RSA, SIGN, false;
    CKM_SHA3_224_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha3_224)), RSA, SIGN, false;
    CKM_SHA3_256_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha3_256)), RSA, SIGN, false;
    CKM_SHA3_384_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha3_384)), RSA, SIGN, false;
    CKM_SHA3_512_RSA_PKCS_PSS Family::RsaPss(Some(Hash::Sha3_512)), RSA, SIGN, false;
    CKM_ECDSA_SHA1 Family::Ecdsa(Some(Hash::Sha1)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA224 Family::Ecdsa(Some(Hash::Sha224)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA256 Family::Ecdsa(Some(Hash::Sha256)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA384 Family::Ecdsa(Some(Hash::Sha384)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA512 Family::Ecdsa(Some(Hash::Sha512)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA3_224 Family::Ecdsa(Some(Hash::Sha3_224)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA3_256 Family::Ecdsa(Some(Hash::Sha3_256)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA3_384 Family::Ecdsa(Some(Hash::Sha3_384)), EC, SIGN | EC_FLAGS, false;
    CKM_ECDSA_SHA3_512 Family::Ecdsa(Some(Hash::Sha3_512)), EC, SIGN | EC_FLAGS, false;
    CKM_SHA_1 Family::Digest(Hash::Sha1), NONE, CKF_DIGEST, false;
    CKM_SHA224 Family::Digest(Hash::Sha224), NONE, CKF_DIGEST, false;
    CKM_SHA256 Family::Digest(Hash::Sha256), NONE, CKF_DIGEST, false;
    CKM_SHA384 Family::Digest(Hash::Sha384), NONE, CKF_DIGEST, false;
    CKM_SHA512 Family::Digest(Hash::Sha512), NONE, CKF_DIGEST, false;
    CKM_SHA512_224 Family::Digest(Hash::Sha512_224), NONE, CKF_DIGEST, false;
    CKM_SHA512_256 Family::Digest(Hash::Sha512_256), NONE, CKF_DIGEST, false;
    CKM_SHA3_224 Family::Digest(Hash::Sha3_224), NONE, CKF_DIGEST, false;
    CKM_SHA3_256 Family::Digest(Hash::Sha3_256), NONE, CKF_DIGEST, false;
    CKM_SHA3_384 Family::Digest(Hash::Sha3_384), NONE, CKF_DIGEST, false;
    CKM_SHA3_512 Family::Digest(Hash::Sha3_512), NONE, CKF_DIGEST, false;
    CKM_AES_KEY_GEN Family::SecretGeneration(CKK_AES), AES, CKF_GENERATE, false;
    CKM_GENERIC_SECRET_KEY_GEN
        Family::SecretGeneration(CKK_GENERIC_SECRET), SECRET, CKF_GENERATE, false;
    CKM_SHA_1_KEY_GEN Family::SecretGeneration(CKK_SHA_1_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA224_KEY_GEN Family::SecretGeneration(CKK_SHA224_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA256_KEY_GEN Family::SecretGeneration(CKK_SHA256_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA384_KEY_GEN Family::SecretGeneration(CKK_SHA384_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA512_KEY_GEN Family::SecretGeneration(CKK_SHA512_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA512_224_KEY_GEN
        Family::SecretGeneration(CKK_SHA512_224_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA512_256_KEY_GEN
        Family::SecretGeneration(CKK_SHA512_256_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA3_224_KEY_GEN Family::SecretGeneration(CKK_SHA3_224_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA3_256_KEY_GEN Family::SecretGeneration(CKK_SHA3_256_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA3_384_KEY_GEN Family::SecretGeneration(CKK_SHA3_384_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA3_512_KEY_GEN Family::SecretGeneration(CKK_SHA3_512_HMAC), SECRET, CKF_GENERATE, false;
    CKM_SHA_1_HMAC hmac(Hash::Sha1), SECRET, SIGN, false;
    CKM_SHA_1_HMAC_GENERAL hmac_general(Hash::Sha1), SECRET, SIGN, false;
    CKM_SHA224_HMAC hmac(Hash::Sha224), SECRET, SIGN, false;
    CKM_SHA224_HMAC_GENERAL hmac_general(Hash::Sha224), SECRET, SIGN, false;
    CKM_SHA256_HMAC hmac(Hash::Sha256), SECRET, SIGN, false;
    CKM_SHA256_HMAC_GENERAL hmac_general(Hash::Sha256), SECRET, SIGN, false;
    CKM_SHA384_HMAC hmac(Hash::Sha384), SECRET, SIGN, false;
    CKM_SHA384_HMAC_GENERAL hmac_general(Hash::Sha384), SECRET, SIGN, false;
    CKM_SHA512_HMAC hmac(Hash::Sha512), SECRET, SIGN, false;
    CKM_SHA512_HMAC_GENERAL hmac_general(Hash::Sha512), SECRET, SIGN, false;
    CKM_SHA512_224_HMAC hmac(Hash::Sha512_224), SECRET, SIGN, false;
    CKM_SHA512_224_HMAC_GENERAL hmac_general(Hash::Sha512_224), SECRET, SIGN, false;
    CKM_SHA512_256_HMAC hmac(Hash::Sha512_256), SECRET, SIGN, false;
    CKM_SHA512_256_HMAC_GENERAL hmac_general(Hash::Sha512_256), SECRET, SIGN, false;
    CKM_SHA3_224_HMAC hmac(Hash::Sha3_224), SECRET, SIGN, false;
    CKM_SHA3_224_HMAC_GENERAL hmac_general(Hash::Sha3_224), SECRET, SIGN, false;
    CKM_SHA3_256_HMAC hmac(Hash::Sha3_256), SECRET, SIGN, false;
    CKM_SHA3_256_HMAC_GENERAL hmac_general(Hash::Sha3_256), SECRET, SIGN, false;
    CKM_SHA3_384_HMAC hmac(Hash::Sha3_384), SECRET, SIGN, false;
    CKM_SHA3_384_HMAC_GENERAL hmac_general(Hash::Sha3_384), SECRET, SIGN, false;
    CKM_SHA3_512_HMAC hmac(Hash::Sha3_512), SECRET, SIGN, false;
    CKM_SHA3_512_HMAC_GENERAL hmac_general(Hash::Sha3_512), SECRET, SIGN, false;
    CKM_AES_CMAC Family::Cmac { cipher: BlockCipher::Aes, general: false }, AES, SIGN, false;
    CKM_AES_CMAC_GENERAL Family::Cmac { cipher: BlockCipher::Aes, general: true }, AES, SIGN, false;
    CKM_AES_ECB aes(ModeName::Ecb), AES, CRYPT | WRAP, false;
    CKM_AES_CBC aes(ModeName::Cbc), AES, CRYPT | WRAP, false;
    CKM_AES_CBC_PAD aes(ModeName::CbcPad), AES, CRYPT | WRAP, false;
    CKM_AES_CTR aes(ModeName::Ctr), AES, CRYPT, false;
    CKM_AES_GCM aes(ModeName::Gcm), AES, CRYPT | MESSAGES | WRAP, false;
    CKM_AES_CCM aes(ModeName::Ccm), AES, CRYPT | MESSAGES | WRAP, false;
    CKM_AES_OFB aes(ModeName::Feedback(Feedback::Ofb)), AES, CRYPT, false;
    CKM_AES_CFB128 aes(ModeName::Feedback(Feedback::Cfb128)), AES, CRYPT, false;
    CKM_AES_CFB8 aes(ModeName::Feedback(Feedback::Cfb8)), AES, CRYPT, false;
    CKM_AES_CFB1 aes(ModeName::Feedback(Feedback::Cfb1)), AES, CRYPT, false;
    CKM_AES_KEY_WRAP Family::KeyWrap { padded: false }, AES, WRAP, false;
    CKM_AES_KEY_WRAP_KWP Family::KeyWrap { padded: true }, AES, WRAP, false;
    CKM_AES_KEY_WRAP_PAD Family::KeyWrap { padded: true }, AES, WRAP, false;
    CKM_DES2_KEY_GEN Family::SecretGeneration(CKK_DES2), DES2, CKF_GENERATE, false;
    CKM_DES3_KEY_GEN Family::SecretGeneration(CKK_DES3), DES3, CKF_GENERATE, false;
    CKM_MD5_RSA_PKCS Family::RsaPkcs(Some(Hash::Md5)), RSA, SIGN, false;
    CKM_MD5 Family::Digest(Hash::Md5), NONE, CKF_DIGEST, false;
    CKM_MD5_HMAC hmac(Hash::Md5), SECRET, SIGN, false;
    CKM_MD5_HMAC_GENERAL hmac_general(Hash::Md5), SECRET, SIGN, false;
    CKM_DES3_CMAC Family::Cmac { cipher: BlockCipher::TripleDes, general: false }, DES, SIGN, false;
    CKM_DES3_CMAC_GENERAL
        Family::Cmac { cipher: BlockCipher::TripleDes, general: true }, DES, SIGN, false;
    CKM_DES3_ECB triple_des(ModeName::Ecb), DES, CRYPT | WRAP, false;
    CKM_DES3_CBC triple_des(ModeName::Cbc), DES, CRYPT | WRAP, false;
    CKM_DES3_CBC_PAD triple_des(ModeName::CbcPad), DES, CRYPT | WRAP, false;
    CKM_DES3_ECB_ENCRYPT_DATA encrypted(BlockCipher::TripleDes, false), DES, CKF_DERIVE, false;
    CKM_DES3_CBC_ENCRYPT_DATA encrypted(BlockCipher::TripleDes, true), DES, CKF_DERIVE, false;
    CKM_DES_KEY_GEN Family::SecretGeneration(CKK_DES), DES1, CKF_GENERATE, false;
    CKM_DES_ECB des(ModeName::Ecb), DES1, CRYPT | WRAP, false;
    CKM_DES_CBC des(ModeName::Cbc), DES1, CRYPT | WRAP, false;
    CKM_DES_CBC_PAD des(ModeName::CbcPad), DES1, CRYPT | WRAP, false;
    CKM_DES_ECB_ENCRYPT_DATA encrypted(BlockCipher::Des, false), DES1, CKF_DERIVE, false;
    CKM_DES_CBC_ENCRYPT_DATA encrypted(BlockCipher::Des, true), DES1, CKF_DERIVE, false;
    CKM_EC_MONTGOMERY_KEY_PAIR_GEN
        Family::PairGeneration(CKK_EC_MONTGOMERY), CURVE_25519, CKF_GENERATE_KEY_PAIR | OKP_FLAGS,
        false;
    CKM_PUB_KEY_FROM_PRIV_KEY Family::Derivation(Derived::PublicKey), NONE, CKF_DERIVE, false;
    CKM_PKCS5_PBKD2 Family::PasswordGeneration, SECRET, CKF_GENERATE, false;
    CKM_HKDF_KEY_GEN Family::SecretGeneration(CKK_HKDF), SECRET, CKF_GENERATE, false;
    CKM_ECDH1_DERIVE Family::Derivation(Derived::Ecdh), EC, CKF_DERIVE | EC_FLAGS, false;
    CKM_ECDH1_COFACTOR_DERIVE Family::Derivation(Derived::Ecdh), EC, CKF_DERIVE | EC_FLAGS, false;
    CKM_HKDF_DERIVE Family::Derivation(Derived::Hkdf), SECRET, CKF_DERIVE, false;
    CKM_HKDF_DATA Family::Derivation(Derived::Hkdf), SECRET, CKF_DERIVE, false;
    CKM_SP800_108_COUNTER_KDF Family::Derivation(Derived::CounterMode), SECRET, CKF_DERIVE, false;
    CKM_SP800_108_FEEDBACK_KDF Family::Derivation(Derived::FeedbackMode), SECRET, CKF_DERIVE, false;
    CKM_CONCATENATE_BASE_AND_KEY Family::Derivation(Derived::BaseAndKey), SECRET, CKF_DERIVE, false;
    CKM_CONCATENATE_BASE_AND_DATA
        Family::Derivation(Derived::BaseAndData), SECRET, CKF_DERIVE, false;
    CKM_CONCATENATE_DATA_AND_BASE
        Family::Derivation(Derived::DataAndBase), SECRET, CKF_DERIVE, false;
    CKM_XOR_BASE_AND_DATA Family::Derivation(Derived::Xor), SECRET, CKF_DERIVE, false;
    CKM_EXTRACT_KEY_FROM_KEY Family::Derivation(Derived::Extract), SECRET, CKF_DERIVE, false;
    CKM_SHA1_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha1)), SECRET, CKF_DERIVE, false;
    CKM_SHA224_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha224)), SECRET, CKF_DERIVE, false;
    CKM_SHA256_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha256)), SECRET, CKF_DERIVE, false;
    CKM_SHA384_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha384)), SECRET, CKF_DERIVE, false;
    CKM_SHA512_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha512)), SECRET, CKF_DERIVE, false;
    CKM_SHA512_224_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha512_224)), SECRET, CKF_DERIVE, false;
    CKM_SHA512_256_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha512_256)), SECRET, CKF_DERIVE, false;
    CKM_SHA3_224_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha3_224)), SECRET, CKF_DERIVE, false;
    CKM_SHA3_256_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha3_256)), SECRET, CKF_DERIVE, false;
    CKM_SHA3_384_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha3_384)), SECRET, CKF_DERIVE, false;
    CKM_SHA3_512_KEY_DERIVATION
        Family::Derivation(Derived::Digest(Hash::Sha3_512)), SECRET, CKF_DERIVE, false;
    CKM_AES_ECB_ENCRYPT_DATA encrypted(BlockCipher::Aes, false), AES, CKF_DERIVE, false;
    CKM_AES_CBC_ENCRYPT_DATA encrypted(BlockCipher::Aes, true), AES, CKF_DERIVE, false;
    CKM_TLS12_MASTER_KEY_DERIVE Family::Derivation(Derived::Tls12Master), SECRET, CKF_DERIVE, false;
    CKM_TLS12_MASTER_KEY_DERIVE_DH
        Family::Derivation(Derived::Tls12Master), SECRET, CKF_DERIVE, false;
    CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE
        Family::Derivation(Derived::Tls12ExtendedMaster), SECRET, CKF_DERIVE, false;
    CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH
        Family::Derivation(Derived::Tls12ExtendedMaster), SECRET, CKF_DERIVE, false;
    CKM_TLS12_KDF Family::Derivation(Derived::TlsKdf), SECRET, CKF_DERIVE, false;
    CKM_TLS_KDF Family::Derivation(Derived::TlsKdf), SECRET, CKF_DERIVE, false;
    CKM_TLS12_KEY_AND_MAC_DERIVE tls_keys(true, false), SECRET, CKF_DERIVE, false;
    CKM_TLS12_KEY_SAFE_DERIVE tls_keys(true, true), SECRET, CKF_DERIVE, false;
    CKM_TLS12_MAC Family::TlsMac, SECRET, CKF_SIGN | CKF_VERIFY, false;
    CKM_TLS_MAC Family::TlsMac, SECRET, CKF_SIGN | CKF_VERIFY, false;
    CKM_TLS_PRE_MASTER_KEY_GEN Family::PremasterGeneration, TLS, CKF_GENERATE, false;
    CKM_TLS_MASTER_KEY_DERIVE Family::Derivation(Derived::Tls10Master), TLS, CKF_DERIVE, false;
    CKM_TLS_MASTER_KEY_DERIVE_DH
        Family::Derivation(Derived::Tls10Master), SECRET, CKF_DERIVE, false;
    CKM_TLS_KEY_AND_MAC_DERIVE tls_keys(false, false), SECRET, CKF_DERIVE, false;
    CKM_TLS_PRF Family::Derivation(Derived::TlsPrf), SECRET, CKF_DERIVE, false;
    CKM_EC_EDWARDS_KEY_PAIR_GEN
        Family::PairGeneration(CKK_EC_EDWARDS), CURVE_25519, CKF_GENERATE_KEY_PAIR | OKP_FLAGS, false;
    CKM_ML_DSA_KEY_PAIR_GEN
        Family::PairGeneration(CKK_ML_DSA), ML_DSA, CKF_GENERATE_KEY_PAIR, false;
    CKM_ML_KEM_KEY_PAIR_GEN
        Family::PairGeneration(CKK_ML_KEM), ML_KEM, CKF_GENERATE_KEY_PAIR, false;
    CKM_EDDSA Family::Eddsa, CURVE_25519, SIGN | OKP_FLAGS, false;
    CKM_ML_DSA Family::MlDsa, ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA Family::HashMlDsa(None), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA224 Family::HashMlDsa(Some(Hash::Sha224)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA256 Family::HashMlDsa(Some(Hash::Sha256)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA384 Family::HashMlDsa(Some(Hash::Sha384)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA512 Family::HashMlDsa(Some(Hash::Sha512)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA3_224 Family::HashMlDsa(Some(Hash::Sha3_224)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA3_256 Family::HashMlDsa(Some(Hash::Sha3_256)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA3_384 Family::HashMlDsa(Some(Hash::Sha3_384)), ML_DSA, SIGN, false;
    CKM_HASH_ML_DSA_SHA3_512 Family::HashMlDsa(Some(Hash::Sha3_512)), ML_DSA, SIGN, false;
    CKM_ML_KEM Family::MlKem, ML_KEM, CKF_ENCAPSULATE | CKF_DECAPSULATE, false;
    CKM_DSA_KEY_PAIR_GEN Family::PairGeneration(CKK_DSA), DSA, CKF_GENERATE_KEY_PAIR, false;
    CKM_DH_PKCS_KEY_PAIR_GEN Family::PairGeneration(CKK_DH), DH, CKF_GENERATE_KEY_PAIR, false;
    CKM_DSA_PARAMETER_GEN Family::ParameterGeneration(CKK_DSA), DSA, CKF_GENERATE, false;
    CKM_DH_PKCS_PARAMETER_GEN Family::ParameterGeneration(CKK_DH), DH, CKF_GENERATE, false;
    CKM_DSA Family::Dsa(None), DSA, SIGN, false;
    CKM_DSA_SHA1 Family::Dsa(Some(Hash::Sha1)), DSA, SIGN, false;
    CKM_DSA_SHA224 Family::Dsa(Some(Hash::Sha224)), DSA, SIGN, false;
    CKM_DSA_SHA256 Family::Dsa(Some(Hash::Sha256)), DSA, SIGN, false;
    CKM_DSA_SHA384 Family::Dsa(Some(Hash::Sha384)), DSA, SIGN, false;
    CKM_DSA_SHA512 Family::Dsa(Some(Hash::Sha512)), DSA, SIGN, false;
    CKM_DH_PKCS_DERIVE Family::Derivation(Derived::Dh), DH, CKF_DERIVE, false;
};

/// Mechanisms that no call reaches yet, with the flags that they will have. They are not offered.
pub const PREPARED: &[Mechanism] = registry! {};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_mechanism_stands_in_one_list_once() {
        let all: Vec<_> =
            REGISTRY.iter().chain(PREPARED).map(|mechanism| mechanism.number).collect();
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn what_is_prepared_is_not_found() {
        for mechanism in PREPARED {
            assert!(super::super::find(mechanism.number).is_err(), "{}", mechanism.name);
        }
    }
}
