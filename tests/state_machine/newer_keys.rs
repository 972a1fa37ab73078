//! The newer keys: Ed25519, ML-DSA, ML-KEM, wherever they are. The answers are
//! those of Wycheproof and of OpenSSL.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::NOTHING;
use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, Rv, Template, call, call3, mechanism, mechanism_with, ok};
use crate::vectors::{Case, wycheproof};

pub const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

fn private(kind: CK_KEY_TYPE, (token, sensitive): (bool, bool)) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_PRIVATE_KEY)
        .number(CKA_KEY_TYPE, kind)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_EXTRACTABLE, !sensitive)
}

fn public(kind: CK_KEY_TYPE) -> Template {
    Template::new().number(CKA_CLASS, CKO_PUBLIC_KEY).number(CKA_KEY_TYPE, kind)
}

fn sign(
    module: &Module,
    session: CK_SESSION_HANDLE,
    m: &mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    data: &[u8],
) -> Rv<Vec<u8>> {
    let m = std::ptr::from_mut(m);
    ok(call!(module, C_SignInit(session, m, key)))?;
    let mut signature = vec![0; 5000];
    let (mut length, out) = (signature.len() as CK_ULONG, signature.as_mut_ptr());
    let (input, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    ok(call!(module, C_Sign(session, input, count, out, &raw mut length)))?;
    signature.truncate(length as usize);
    // In parts it is as good, and the parts' borders make no difference.
    ok(call!(module, C_SignInit(session, m, key)))?;
    for part in data.chunks(7) {
        let (input, count) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        ok(call!(module, C_SignUpdate(session, input, count)))?;
    }
    let mut again = vec![0; signature.len()];
    ok(call!(module, C_SignFinal(session, again.as_mut_ptr(), &raw mut length)))?;
    assert_eq!(length as usize, signature.len());
    Ok(again)
}

fn eddsa(prehashed: bool, context: &[u8]) -> CK_EDDSA_PARAMS {
    CK_EDDSA_PARAMS {
        phFlag: CK_BBOOL::from(prehashed),
        ulContextDataLen: context.len() as CK_ULONG,
        pContextData: if context.is_empty() { null_mut() } else { context.as_ptr().cast_mut() },
    }
}

fn with_context(context: &[u8]) -> CK_SIGN_ADDITIONAL_CONTEXT {
    CK_SIGN_ADDITIONAL_CONTEXT {
        hedgeVariant: CKH_HEDGE_PREFERRED,
        pContext: context.as_ptr().cast_mut(),
        ulContextLen: context.len() as CK_ULONG,
    }
}

#[test]
fn ed25519_is_that_of_wycheproof_and_openssl() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        for case in wycheproof("ed25519") {
            let key = public(CKK_EC_EDWARDS)
                .bytes(CKA_EC_PARAMS, ED25519)
                .bytes(CKA_EC_POINT, &case.bytes("publicKey"));
            let key = module.create(session, key).unwrap();
            let (message, signature) = (case.bytes("msg"), case.bytes("sig"));
            let mut m = mechanism(CKM_EDDSA);
            let verified = module.verify_by(session, &mut m, key, &message, &signature);
            assert_eq!(verified.is_ok(), case.is_valid(), "{}", case.name);
        }
        // RFC 8032 sections 7.2 and 7.3.
        let bytes = crate::vectors::unhex;
        let (mut context, mut hashed) = (eddsa(false, b"foo"), eddsa(true, b""));
        for (mut m, seed, message, expected) in [
            (
                mechanism_with(CKM_EDDSA, &mut context),
                "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
                "f726936d19c800494e3fdaff20b276a8",
                "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a\
                 8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
            ),
            (
                mechanism_with(CKM_EDDSA, &mut hashed),
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "616263",
                "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41\
                 31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
            ),
        ] {
            for place in PLACES {
                let key = private(CKK_EC_EDWARDS, place)
                    .bytes(CKA_EC_PARAMS, ED25519)
                    .bytes(CKA_VALUE, &bytes(seed));
                let key = module.create(session, key).unwrap();
                let signature = sign(&module, session, &mut m, key, &bytes(message)).unwrap();
                assert_eq!(signature, bytes(expected), "{place:?}");
            }
        }
        // A new pair: OpenSSL verifies, and a certificate's key is the same.
        for place in PLACES {
            let pair = (
                Template::new().bytes(CKA_EC_PARAMS, ED25519).flag(CKA_TOKEN, place.0),
                Template::new().flag(CKA_TOKEN, place.0).flag(CKA_SENSITIVE, place.1),
            );
            let kind = CKM_EC_EDWARDS_KEY_PAIR_GEN;
            let (public, private) = module.generate(session, kind, pair.0, pair.1).unwrap();
            let mut m = mechanism(CKM_EDDSA);
            let signature = sign(&module, session, &mut m, private, b"a message").unwrap();
            let info = module.get(session, public, CKA_PUBLIC_KEY_INFO).unwrap();
            openssl.file("public.der", &info);
            openssl.file("message", b"a message");
            openssl.file("signature", &signature);
            let check = ["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey"];
            let files = ["public.der", "-in", "message", "-sigfile", "signature"];
            openssl.run(&[&check[..], &files].concat()).unwrap();
            // OpenSC and GnuTLS read it with an OCTET STRING around it and not otherwise.
            let point = module.get(session, public, CKA_EC_POINT).unwrap();
            assert_eq!((point.len(), &point[..2]), (34, &[4, 32][..]));
            let kind = module.get(session, private, CKA_KEY_TYPE).unwrap();
            assert_eq!(kind, CKK_EC_EDWARDS.to_ne_bytes());
        }
        assert!(service.count(TOKEN, "sign") > 8, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn ml_dsa_is_that_of_wycheproof_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for (size, set) in [(44, CKP_ML_DSA_44), (65, CKP_ML_DSA_65), (87, CKP_ML_DSA_87)] {
            let public = |case: &Case| {
                let key = public(CKK_ML_DSA).number(CKA_PARAMETER_SET, set);
                module.create(session, key.bytes(CKA_VALUE, &case.bytes("publicKey")))
            };
            for case in wycheproof(&format!("mldsa_{size}_verify")) {
                let Ok(key) = public(&case) else {
                    assert!(!case.is_valid(), "{}", case.name);
                    continue;
                };
                let context = case.bytes("ctx");
                let mut parameter = with_context(&context);
                let mut m = mechanism_with(CKM_ML_DSA, &mut parameter);
                let (message, signature) = (case.bytes("msg"), case.bytes("sig"));
                let verified = module.verify_by(session, &mut m, key, &message, &signature);
                assert_eq!(verified.is_ok(), case.is_valid(), "{}", case.name);
            }
            let cases = wycheproof(&format!("mldsa_{size}_sign_seed"));
            let case = cases.iter().find(|case| case.is_valid()).unwrap();
            let verifies = public(case).unwrap();
            for place in PLACES {
                let key = private(CKK_ML_DSA, place)
                    .number(CKA_PARAMETER_SET, set)
                    .bytes(CKA_SEED, &case.bytes("privateSeed"));
                let key = module.create(session, key).unwrap();
                let mut parameter = with_context(b"context");
                let mut hash = CK_HASH_SIGN_ADDITIONAL_CONTEXT {
                    hedgeVariant: CKH_HEDGE_REQUIRED,
                    pContext: null_mut(),
                    ulContextLen: 0,
                    hash: CKM_SHA256,
                };
                for mut m in [
                    mechanism(CKM_ML_DSA),
                    mechanism_with(CKM_ML_DSA, &mut parameter),
                    mechanism_with(CKM_HASH_ML_DSA_SHA512, &mut parameter),
                    mechanism(CKM_HASH_ML_DSA_SHA3_256),
                    mechanism_with(CKM_HASH_ML_DSA, &mut hash),
                ] {
                    let data = [7; 32];
                    let signature = sign(&module, session, &mut m, key, &data).unwrap();
                    let verified = module.verify_by(session, &mut m, verifies, &data, &signature);
                    assert_eq!(verified, Ok(()), "{:#x} {place:?}", m.mechanism);
                    let mut wrong = signature.clone();
                    wrong[100] ^= 1;
                    let refused = module.verify_by(session, &mut m, verifies, &data, &wrong);
                    assert_eq!(refused, Err(CKR_SIGNATURE_INVALID));
                }
                parameter.hedgeVariant = CKH_DETERMINISTIC_REQUIRED;
                let mut m = mechanism_with(CKM_ML_DSA, &mut parameter);
                let refused = sign(&module, session, &mut m, key, b"data");
                assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID));
            }
            let pair = module.generate(
                session,
                CKM_ML_DSA_KEY_PAIR_GEN,
                Template::new().number(CKA_PARAMETER_SET, set).flag(CKA_TOKEN, true),
                Template::new().flag(CKA_TOKEN, true),
            );
            let (public, private) = pair.unwrap();
            let mut m = mechanism(CKM_ML_DSA);
            let signature = sign(&module, session, &mut m, private, b"data").unwrap();
            assert_eq!(module.verify_by(session, &mut m, public, b"data", &signature), Ok(()));
        }
        assert!(service.count(TOKEN, "sign") > 50, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn ml_kem_is_that_of_wycheproof_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let secret = |(token, sensitive): (bool, bool)| {
            Template::new()
                .number(CKA_KEY_TYPE, CKK_AES)
                .flag(CKA_TOKEN, token)
                .flag(CKA_SENSITIVE, sensitive)
                .flag(CKA_EXTRACTABLE, !sensitive)
        };
        let open = |key, ciphertext: &[u8], mut template: Template| -> Rv<CK_OBJECT_HANDLE> {
            let (mut m, mut made) = (mechanism(CKM_ML_KEM), 0);
            let mut array = template.array();
            let (count, array) = (array.len() as CK_ULONG, array.as_mut_ptr());
            let (sent, length) = (ciphertext.as_ptr().cast_mut(), ciphertext.len() as CK_ULONG);
            let (m, out) = (&raw mut m, &raw mut made);
            ok(call3!(module, C_DecapsulateKey(session, m, key, array, count, sent, length, out)))?;
            Ok(made)
        };
        let send = |key, mut template: Template| -> Rv<(CK_OBJECT_HANDLE, Vec<u8>)> {
            let (mut m, mut made, mut length) = (mechanism(CKM_ML_KEM), 0, 0);
            let mut array = template.array();
            let (count, array) = (array.len() as CK_ULONG, array.as_mut_ptr());
            let (m, out, l) = (&raw mut m, &raw mut made, &raw mut length);
            let none = null_mut();
            ok(call3!(module, C_EncapsulateKey(session, m, key, array, count, none, l, out)))?;
            let mut sent = vec![0; length as usize];
            length -= 1;
            let to = sent.as_mut_ptr();
            let rv = call3!(module, C_EncapsulateKey(session, m, key, array, count, to, l, out));
            assert_eq!((rv, length as usize, made), (CKR_BUFFER_TOO_SMALL, sent.len(), 0));
            ok(call3!(module, C_EncapsulateKey(session, m, key, array, count, to, l, out)))?;
            Ok((made, sent))
        };
        let code = |key| module.sign_with(session, CKM_AES_CMAC, key, b"data").unwrap();
        for (size, set) in [(512, CKP_ML_KEM_512), (768, CKP_ML_KEM_768), (1024, CKP_ML_KEM_1024)] {
            for case in wycheproof(&format!("mlkem_{size}")) {
                for place in PLACES {
                    let key = private(CKK_ML_KEM, place)
                        .number(CKA_PARAMETER_SET, set)
                        .bytes(CKA_SEED, &case.bytes("seed"));
                    let Ok(key) = module.create(session, key) else {
                        assert!(!case.is_valid(), "{}", case.name);
                        continue;
                    };
                    let opened = open(key, &case.bytes("c"), secret((false, false)));
                    let value = opened.and_then(|made| module.get(session, made, CKA_VALUE));
                    match value {
                        Ok(value) => assert_eq!(value, case.bytes("K"), "{}", case.name),
                        Err(rv) => {
                            assert!(!case.is_valid(), "{}", case.name);
                            assert_eq!(rv, CKR_ENCRYPTED_DATA_LEN_RANGE, "{}", case.name);
                        }
                    }
                }
            }
            for place in PLACES {
                let pair = module.generate(
                    session,
                    CKM_ML_KEM_KEY_PAIR_GEN,
                    Template::new().number(CKA_PARAMETER_SET, set).flag(CKA_TOKEN, place.0),
                    Template::new().flag(CKA_TOKEN, place.0).flag(CKA_SENSITIVE, place.1),
                );
                let (public, private) = pair.unwrap();
                for wanted in PLACES {
                    let (here, sent) = send(public, secret(wanted)).unwrap();
                    let there = open(private, &sent, secret(wanted)).unwrap();
                    assert_eq!(code(here), code(there), "{place:?} {wanted:?}");
                    let get = |attribute| module.get(session, there, attribute);
                    assert_eq!(get(CKA_LOCAL).unwrap(), [CK_FALSE]);
                    assert_eq!(get(CKA_ALWAYS_SENSITIVE).unwrap(), [CK_FALSE]);
                    assert_eq!(get(CKA_VALUE).is_err(), wanted.1);
                }
                let short = secret(place).number(CKA_VALUE_LEN, 16);
                assert_eq!(send(public, short).map(drop), Err(CKR_KEY_SIZE_RANGE));
                let unfit = send(private, secret(place)).map(drop);
                assert_eq!(unfit, Err(CKR_KEY_TYPE_INCONSISTENT));
                assert_eq!(open(NOTHING, &[1], secret(place)), Err(CKR_KEY_HANDLE_INVALID));
                module.set(session, private, Template::new().flag(CKA_DECAPSULATE, false)).unwrap();
                let refused = open(private, &[1], secret(place));
                assert_eq!(refused, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
            }
        }
        assert!(service.count(TOKEN, "encapsulate_key") >= 18, "{:?}", service.counts(TOKEN));
        assert!(service.count(TOKEN, "decapsulate_key") >= 18);
    });
}
