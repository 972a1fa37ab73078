//! What others know of each family of mechanisms, through the C interface:
//! Wycheproof's cases for signatures, RSA encryption, ciphers and codes, NIST's
//! examples for digests and the plain modes. Agreement, derivation, wrapping,
//! messages and the newer keys are in files of their own.

use cryptoki_sys::*;

use crate::PLACES;
use crate::ciphers::{run, secret};
use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{
    Module, P256, P384, P521, Rv, Template, call, mechanism, mechanism_with, ok,
};
use crate::vectors::{Case, hex, unhex, wycheproof};

const P224: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21];
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// Says of a verification what Wycheproof says of it.
fn judge(case: &Case, verified: Rv) {
    match (case.result.as_str(), verified) {
        ("valid", verified) => assert_eq!(verified, Ok(()), "{}", case.name),
        ("invalid", Ok(())) => panic!("{} was believed", case.name),
        (_, Ok(()) | Err(CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE)) => {}
        (_, Err(rv)) => panic!("{}: {rv:#x}", case.name),
    }
}

fn public(kind: CK_KEY_TYPE) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_PUBLIC_KEY)
        .number(CKA_KEY_TYPE, kind)
        .flag(CKA_VERIFY, true)
}

fn rsa_public(case: &Case) -> Template {
    public(CKK_RSA)
        .bytes(CKA_MODULUS, &case.bytes("modulus"))
        .bytes(CKA_PUBLIC_EXPONENT, &case.bytes("exponent"))
}

/// The private key of a case, with its primes if the case has them.
fn rsa_private(case: &Case, (token, sensitive): (bool, bool), primes: bool) -> Template {
    let mut template = Template::new()
        .number(CKA_CLASS, CKO_PRIVATE_KEY)
        .number(CKA_KEY_TYPE, CKK_RSA)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_SIGN, true)
        .flag(CKA_DECRYPT, true)
        .bytes(CKA_MODULUS, &case.bytes("n"))
        .bytes(CKA_PUBLIC_EXPONENT, &case.bytes("e"))
        .bytes(CKA_PRIVATE_EXPONENT, &case.bytes("d"));
    if primes {
        for (attribute, field) in [
            (CKA_PRIME_1, "p"),
            (CKA_PRIME_2, "q"),
            (CKA_EXPONENT_1, "dp"),
            (CKA_EXPONENT_2, "dq"),
            (CKA_COEFFICIENT, "qi"),
        ] {
            template = template.bytes(attribute, &case.bytes(field));
        }
    }
    template
}

/// All places for the first case and each tenth after it, else only the module.
fn places(at: usize) -> &'static [(bool, bool)] {
    if at.is_multiple_of(10) { &PLACES } else { &PLACES[2..] }
}

#[test]
fn ecdsa_on_every_curve() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, curve, number) in [
            ("ecdsa_secp224r1_sha224_p1363", P224, CKM_ECDSA_SHA224),
            ("ecdsa_secp256r1_sha256_p1363", P256, CKM_ECDSA_SHA256),
            ("ecdsa_secp384r1_sha384_p1363", P384, CKM_ECDSA_SHA384),
            ("ecdsa_secp521r1_sha512_p1363", P521, CKM_ECDSA_SHA512),
            ("ecdsa_secp256k1_sha256_p1363", SECP256K1, CKM_ECDSA_SHA256),
        ] {
            for case in wycheproof(file) {
                let point = case.bytes("publicKey");
                let point = match point.len() {
                    length @ 0..128 => [&[4, length as u8], &point[..]].concat(),
                    length => [&[4, 0x81, length as u8], &point[..]].concat(),
                };
                let template =
                    public(CKK_EC).bytes(CKA_EC_PARAMS, curve).bytes(CKA_EC_POINT, &point);
                let key = module.create(session, template).unwrap();
                let (message, signature) = (case.bytes("msg"), case.bytes("sig"));
                judge(&case, module.verify_with(session, number, key, &message, &signature));
                module.destroy(session, key).unwrap();
            }
        }
    });
}

#[test]
fn rsa_signatures_with_every_hash() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, number) in [
            ("rsa_signature_2048_sha224", CKM_SHA224_RSA_PKCS),
            ("rsa_signature_2048_sha256", CKM_SHA256_RSA_PKCS),
            ("rsa_signature_2048_sha384", CKM_SHA384_RSA_PKCS),
            ("rsa_signature_2048_sha512", CKM_SHA512_RSA_PKCS),
            ("rsa_signature_2048_sha3_224", CKM_SHA3_224_RSA_PKCS),
            ("rsa_signature_2048_sha3_384", CKM_SHA3_384_RSA_PKCS),
            ("rsa_signature_2048_sha3_512", CKM_SHA3_512_RSA_PKCS),
        ] {
            for case in wycheproof(file) {
                let key = module.create(session, rsa_public(&case)).unwrap();
                let (message, signature) = (case.bytes("msg"), case.bytes("sig"));
                judge(&case, module.verify_with(session, number, key, &message, &signature));
            }
        }
        for (file, number, hash, mgf, salt) in [
            ("sha1_mgf1_20", CKM_SHA1_RSA_PKCS_PSS, CKM_SHA_1, CKG_MGF1_SHA1, 20),
            ("sha256_mgf1_0", CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 0),
            ("sha256_mgf1_32", CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32),
            ("sha256_mgf1sha1_20", CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA1, 20),
            ("sha384_mgf1_48", CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA384, 48),
        ] {
            let mut parameter = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt };
            let mut m = mechanism_with(number, &mut parameter);
            for case in wycheproof(&format!("rsa_pss_2048_{file}")) {
                let key = module.create(session, rsa_public(&case)).unwrap();
                let (message, signature) = (case.bytes("msg"), case.bytes("sig"));
                judge(&case, module.verify_by(session, &mut m, key, &message, &signature));
            }
        }
    });
}

/// The private keys of these cases come without their primes.
#[test]
fn rsa_signs_as_wycheproof_does_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for case in wycheproof("rsa_pkcs1_2048_sig_gen") {
            let number = match case.text("sha") {
                "SHA-1" => CKM_SHA1_RSA_PKCS,
                "SHA-224" => CKM_SHA224_RSA_PKCS,
                "SHA-256" => CKM_SHA256_RSA_PKCS,
                "SHA-384" => CKM_SHA384_RSA_PKCS,
                "SHA-512" => CKM_SHA512_RSA_PKCS,
                other => panic!("{other}"),
            };
            for place in PLACES {
                let key = module.create(session, rsa_private(&case, place, false)).unwrap();
                let signature = module.sign_with(session, number, key, &case.bytes("msg"));
                let signature = signature.map(|signature| hex(&signature));
                assert_eq!(signature, Ok(hex(&case.bytes("sig"))), "{} {place:?}", case.name);
            }
        }
        assert!(service.count(TOKEN, "sign") >= 14, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn rsa_decrypts_as_wycheproof_says_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let decrypts = |case: &Case, at: usize, m: &mut CK_MECHANISM| {
            for place in places(at) {
                let key = module.create(session, rsa_private(case, *place, true)).unwrap();
                let text = run(&module, session, false, m, key, &case.bytes("ct"), None);
                match text {
                    Ok(text) if case.is_valid() => assert_eq!(text, case.bytes("msg")),
                    Err(CKR_ENCRYPTED_DATA_INVALID | CKR_ENCRYPTED_DATA_LEN_RANGE)
                        if !case.is_valid() => {}
                    other => panic!("{} {place:?}: {other:x?}", case.name),
                }
            }
        };
        for (file, hash, mgf) in [
            ("sha1_mgf1sha1", CKM_SHA_1, CKG_MGF1_SHA1),
            ("sha224_mgf1sha224", CKM_SHA224, CKG_MGF1_SHA224),
            ("sha256_mgf1sha1", CKM_SHA256, CKG_MGF1_SHA1),
            ("sha256_mgf1sha256", CKM_SHA256, CKG_MGF1_SHA256),
            ("sha384_mgf1sha384", CKM_SHA384, CKG_MGF1_SHA384),
            ("sha512_mgf1sha512", CKM_SHA512, CKG_MGF1_SHA512),
        ] {
            let cases = wycheproof(&format!("rsa_oaep_2048_{file}"));
            for (at, case) in cases.into_iter().enumerate() {
                let mut label = case.bytes("label");
                let mut parameter = CK_RSA_PKCS_OAEP_PARAMS {
                    hashAlg: hash,
                    mgf,
                    source: CKZ_DATA_SPECIFIED,
                    pSourceData: label.as_mut_ptr().cast(),
                    ulSourceDataLen: label.len() as CK_ULONG,
                };
                decrypts(&case, at, &mut mechanism_with(CKM_RSA_PKCS_OAEP, &mut parameter));
            }
        }
        for (at, case) in wycheproof("rsa_pkcs1_2048").into_iter().enumerate() {
            decrypts(&case, at, &mut mechanism(CKM_RSA_PKCS));
        }
        assert!(service.count(TOKEN, "decrypt") >= 7, "{:?}", service.counts(TOKEN));
    });
}

/// Both ways, at once and in parts, by the mechanism that each case makes of its fields.
fn ciphers(file: &str, mut with: impl FnMut(&Case, usize, &mut dyn FnMut(&mut CK_MECHANISM))) {
    let _service = service();
    let module = Module::initialized();
    let session = module.user();
    for (at, case) in wycheproof(file).into_iter().enumerate() {
        let (text, sealed) = (case.bytes("msg"), [case.bytes("ct"), case.optional("tag")].concat());
        for place in places(2 * at) {
            let key = module.create(session, secret(CKK_AES, &case.bytes("key"), *place)).unwrap();
            with(&case, text.len(), &mut |m| {
                for parts in [None, Some(5)] {
                    let about = format!("{} {place:?} {parts:?}", case.name);
                    let opened = run(&module, session, false, m, key, &sealed, parts);
                    let done = run(&module, session, true, m, key, &text, parts);
                    if case.is_valid() {
                        assert_eq!(
                            (opened, done),
                            (Ok(text.clone()), Ok(sealed.clone())),
                            "{about}"
                        );
                    } else {
                        // A vector that is refused is refused in both directions.
                        assert!(opened.is_err(), "{about}: {opened:x?}");
                        if done.is_ok() {
                            assert!(matches!(
                                opened,
                                Err(CKR_ENCRYPTED_DATA_INVALID | CKR_ENCRYPTED_DATA_LEN_RANGE)
                            ));
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn aes_cbc_with_padding() {
    alone(|| {
        ciphers("aes_cbc_pkcs5", |case, _, run| {
            run(&mut mechanism_with(CKM_AES_CBC_PAD, &mut case.bytes("iv")[..]));
        });
    });
}

#[test]
fn aes_gcm() {
    alone(|| {
        ciphers("aes_gcm", |case, _, run| {
            let (mut iv, mut aad) = (case.bytes("iv"), case.bytes("aad"));
            let mut parameter = CK_GCM_PARAMS {
                pIv: iv.as_mut_ptr(),
                ulIvLen: iv.len() as CK_ULONG,
                ulIvBits: 8 * iv.len() as CK_ULONG,
                pAAD: aad.as_mut_ptr(),
                ulAADLen: aad.len() as CK_ULONG,
                ulTagBits: case.number("tagSize") as CK_ULONG,
            };
            run(&mut mechanism_with(CKM_AES_GCM, &mut parameter));
        });
    });
}

#[test]
fn aes_ccm() {
    alone(|| {
        ciphers("aes_ccm", |case, length, run| {
            let (mut nonce, mut aad) = (case.bytes("iv"), case.bytes("aad"));
            let mut parameter = CK_CCM_PARAMS {
                ulDataLen: length as CK_ULONG,
                pNonce: nonce.as_mut_ptr(),
                ulNonceLen: nonce.len() as CK_ULONG,
                pAAD: aad.as_mut_ptr(),
                ulAADLen: aad.len() as CK_ULONG,
                ulMACLen: case.number("tagSize") as CK_ULONG / 8,
            };
            run(&mut mechanism_with(CKM_AES_CCM, &mut parameter));
        });
    });
}

#[test]
fn authentication_codes_with_every_hash() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, kind, number) in [
            ("aes_cmac", CKK_AES, CKM_AES_CMAC_GENERAL),
            ("hmac_sha1", CKK_GENERIC_SECRET, CKM_SHA_1_HMAC_GENERAL),
            ("hmac_sha224", CKK_GENERIC_SECRET, CKM_SHA224_HMAC_GENERAL),
            ("hmac_sha256", CKK_GENERIC_SECRET, CKM_SHA256_HMAC_GENERAL),
            ("hmac_sha384", CKK_GENERIC_SECRET, CKM_SHA384_HMAC_GENERAL),
            ("hmac_sha512", CKK_GENERIC_SECRET, CKM_SHA512_HMAC_GENERAL),
            ("hmac_sha512_224", CKK_GENERIC_SECRET, CKM_SHA512_224_HMAC_GENERAL),
            ("hmac_sha512_256", CKK_GENERIC_SECRET, CKM_SHA512_256_HMAC_GENERAL),
            ("hmac_sha3_224", CKK_GENERIC_SECRET, CKM_SHA3_224_HMAC_GENERAL),
            ("hmac_sha3_256", CKK_GENERIC_SECRET, CKM_SHA3_256_HMAC_GENERAL),
            ("hmac_sha3_384", CKK_GENERIC_SECRET, CKM_SHA3_384_HMAC_GENERAL),
            ("hmac_sha3_512", CKK_GENERIC_SECRET, CKM_SHA3_512_HMAC_GENERAL),
        ] {
            for (at, case) in wycheproof(file).into_iter().enumerate() {
                let (message, tag) = (case.bytes("msg"), case.bytes("tag"));
                let mut length = case.number("tagSize") as CK_ULONG / 8;
                let mut m = mechanism_with(number, &mut length);
                for place in places(2 * at) {
                    // AES keys of other lengths are among the invalid ones.
                    let template = secret(kind, &case.bytes("key"), *place);
                    let Ok(key) = module.create(session, template) else {
                        assert!(!case.is_valid(), "{}", case.name);
                        continue;
                    };
                    judge(&case, module.verify_by(session, &mut m, key, &message, &tag));
                    if case.is_valid() {
                        let signed = module.sign_by(session, &mut m, key, &message);
                        assert_eq!(signed, Ok(tag.clone()), "{} {place:?}", case.name);
                    }
                }
            }
        }
    });
}

/// Of `abc`: FIPS 180-4 and FIPS 202, as NIST's page of examples has them.
const DIGESTS: [(CK_MECHANISM_TYPE, &str); 7] = [
    (CKM_SHA_1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (CKM_SHA224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
    (CKM_SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        CKM_SHA384,
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
         8086072ba1e7cc2358baeca134c825a7",
    ),
    (
        CKM_SHA512,
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (CKM_SHA512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
    (CKM_SHA3_256, "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
];

#[test]
fn digests_of_nist() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        for (number, expected) in DIGESTS {
            let mut m = mechanism(number);
            let mut data = *b"abc";
            let mut digest = vec![0; 64];
            let mut length = digest.len() as CK_ULONG;
            let (d, l) = (digest.as_mut_ptr(), &raw mut length);
            ok(call!(module, C_DigestInit(session, &raw mut m))).unwrap();
            ok(call!(module, C_Digest(session, data.as_mut_ptr(), 3, d, l))).unwrap();
            assert_eq!(hex(&digest[..length as usize]), expected, "{number:#x}");
            ok(call!(module, C_DigestInit(session, &raw mut m))).unwrap();
            for byte in &mut data {
                ok(call!(module, C_DigestUpdate(session, byte, 1))).unwrap();
            }
            ok(call!(module, C_DigestFinal(session, d, l))).unwrap();
            assert_eq!(hex(&digest[..length as usize]), expected, "{number:#x} in parts");
        }
    });
}

/// SP 800-38A, appendix F: the first two blocks of AES-128 in each mode.
#[test]
fn plain_modes_of_nist() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let text = unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mut iv = unhex("000102030405060708090a0b0c0d0e0f");
        let counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let mut counter = CK_AES_CTR_PARAMS { ulCounterBits: 128, cb: counter.try_into().unwrap() };
        for (mut m, expected) in [
            (
                mechanism(CKM_AES_ECB),
                "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf",
            ),
            (
                mechanism_with(CKM_AES_CBC, &mut iv[..]),
                "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
            ),
            (
                mechanism_with(CKM_AES_CTR, &mut counter),
                "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
            ),
        ] {
            for place in PLACES {
                let key = unhex("2b7e151628aed2a6abf7158809cf4f3c");
                let key = module.create(session, secret(CKK_AES, &key, place)).unwrap();
                for parts in [None, Some(7)] {
                    let sealed = run(&module, session, true, &mut m, key, &text, parts).unwrap();
                    assert_eq!(hex(&sealed), expected, "{:#x} {place:?} {parts:?}", {
                        m.mechanism
                    });
                    let opened = run(&module, session, false, &mut m, key, &sealed, parts);
                    assert_eq!(opened, Ok(text.clone()));
                }
            }
        }
    });
}
