//! Keys that come of what Triple DES and DES encrypt, of passwords, and of their private halves.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, P384, Template, call, mechanism, mechanism_with, ok};
use crate::derivation::{KEY, derived, kdf, placed, secret, string_data};
use crate::vectors::hex;

/// What a DES key encrypts is a key; as a DES key it gets odd parity.
#[test]
fn des_keys_derive_what_openssl_encrypts() {
    alone(|| {
        let service = service();
        service.admin(&["token", "set-policy", TOKEN, "compat"]);
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let data: Vec<u8> = (0..24).collect();
        openssl.file("blocks", &data);
        let triple: Vec<u8> = KEY[..24].to_vec();
        for (kind, value, theirs, numbers) in [
            (
                CKK_DES3,
                &triple[..],
                triple.clone(),
                [CKM_DES3_ECB_ENCRYPT_DATA, CKM_DES3_CBC_ENCRYPT_DATA],
            ),
            (
                CKK_DES2,
                &triple[..16],
                [&triple[..16], &triple[..8]].concat(),
                [CKM_DES3_ECB_ENCRYPT_DATA, CKM_DES3_CBC_ENCRYPT_DATA],
            ),
            (
                CKK_DES,
                &triple[..8],
                triple[..8].repeat(3),
                [CKM_DES_ECB_ENCRYPT_DATA, CKM_DES_CBC_ENCRYPT_DATA],
            ),
        ] {
            let key = hex(&theirs);
            let encrypted = |mode: &str, iv: &[&str]| {
                let arguments = ["enc", mode, "-nopad", "-K", &key, "-in", "blocks"];
                openssl.run(&[&arguments[..], iv].concat()).unwrap()
            };
            let ecb = encrypted("-des-ede3", &[]);
            let cbc = encrypted("-des-ede3-cbc", &["-iv", "0909090909090909"]);
            for place in PLACES {
                let base = placed(CKO_SECRET_KEY, kind, place).bytes(CKA_VALUE, value);
                let base = module.create(session, base).unwrap();
                let mut string = string_data(&data);
                let mut with_iv = CK_DES_CBC_ENCRYPT_DATA_PARAMS {
                    iv: [9; 8],
                    pData: data.as_ptr().cast_mut(),
                    length: data.len() as CK_ULONG,
                };
                let mut mechanisms = [
                    mechanism_with(numbers[0], &mut string),
                    mechanism_with(numbers[1], &mut with_iv),
                ];
                for (m, expected) in mechanisms.iter_mut().zip([&ecb, &cbc]) {
                    let value = derived(&module, session, m, base, None).unwrap();
                    assert_eq!(value, *expected, "{kind:#x} {place:?}");
                    let des = Template::new()
                        .number(CKA_KEY_TYPE, CKK_DES3)
                        .flag(CKA_SENSITIVE, false)
                        .flag(CKA_EXTRACTABLE, true);
                    let des = module.derive(session, m, base, des).unwrap();
                    let value = module.get(session, des, CKA_VALUE).unwrap();
                    let odd = |byte: &u8| {
                        let even = byte & 0xfe;
                        even | u8::from(even.count_ones().is_multiple_of(2))
                    };
                    assert_eq!(value, expected.iter().map(odd).collect::<Vec<_>>());
                }
                let mut part = string_data(&data[..7]);
                let mut m = mechanism_with(numbers[0], &mut part);
                let refused = derived(&module, session, &mut m, base, None);
                assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID));
            }
        }
    });
}

#[test]
fn keys_come_of_passwords_as_openssl_makes_them() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let generate = |parameter: &mut CK_PKCS5_PBKD2_PARAMS2, mut template: Template| {
            let mut m = mechanism_with(CKM_PKCS5_PBKD2, parameter);
            let (mut array, mut key) = (template.array(), 0);
            let (count, array) = (array.len() as CK_ULONG, array.as_mut_ptr());
            let rv = call!(module, C_GenerateKey(session, &raw mut m, array, count, &raw mut key));
            ok(rv).map(|()| key)
        };
        for (prf, digest) in [
            (CKP_PKCS5_PBKD2_HMAC_SHA1, "digest:SHA1"),
            (CKP_PKCS5_PBKD2_HMAC_SHA256, "digest:SHA256"),
            (CKP_PKCS5_PBKD2_HMAC_SHA512, "digest:SHA512"),
        ] {
            let mut parameter = CK_PKCS5_PBKD2_PARAMS2 {
                saltSource: CKZ_SALT_SPECIFIED,
                pSaltSourceData: b"sixteen of salt.".as_ptr().cast_mut().cast(),
                ulSaltSourceDataLen: 16,
                iterations: 1234,
                prf,
                pPrfData: null_mut(),
                ulPrfDataLen: 0,
                pPassword: b"a password".as_ptr().cast_mut(),
                ulPasswordLen: 10,
            };
            let options = [digest, "pass:a password", "salt:sixteen of salt.", "iter:1234"];
            let expected = kdf(&openssl, "PBKDF2", 32, &options);
            let same = secret(&module, session, (false, false), &expected);
            let code = |key| module.sign_with(session, CKM_SHA256_HMAC, key, b"x").unwrap();
            for (token, sensitive) in PLACES {
                let key = Template::new()
                    .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                    .number(CKA_VALUE_LEN, 32)
                    .flag(CKA_TOKEN, token)
                    .flag(CKA_SENSITIVE, sensitive)
                    .flag(CKA_EXTRACTABLE, !sensitive);
                let key = generate(&mut parameter, key).unwrap();
                assert_eq!(code(key), code(same), "{digest} {sensitive}");
                assert_eq!(module.get(session, key, CKA_LOCAL).unwrap(), [CK_TRUE]);
                let made = module.get(session, key, CKA_KEY_GEN_MECHANISM).unwrap();
                assert_eq!(made, CKM_PKCS5_PBKD2.to_ne_bytes());
            }
            let aes = || Template::new().number(CKA_KEY_TYPE, CKK_AES);
            assert_eq!(generate(&mut parameter, aes()), Err(CKR_TEMPLATE_INCOMPLETE));
            let odd = generate(&mut parameter, aes().number(CKA_VALUE_LEN, 17));
            assert_eq!(odd, Err(CKR_KEY_SIZE_RANGE));
            for iterations in [0, 10_000_001] {
                parameter.iterations = iterations;
                let refused = generate(&mut parameter, aes().number(CKA_VALUE_LEN, 16));
                assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID));
            }
        }
        assert!(service.count(TOKEN, "generate_key") >= 6);
    });
}

#[test]
fn a_private_key_gives_its_public_half_again() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let mut m = mechanism(CKM_PUB_KEY_FROM_PRIV_KEY);
        for (token, sensitive) in PLACES {
            let private = || {
                Template::new()
                    .flag(CKA_TOKEN, token)
                    .flag(CKA_SENSITIVE, sensitive)
                    .flag(CKA_EXTRACTABLE, !sensitive)
                    .bytes(CKA_ID, b"id")
            };
            for (pair, public, sign) in [
                (
                    CKM_RSA_PKCS_KEY_PAIR_GEN,
                    Template::new().number(CKA_MODULUS_BITS, 2048),
                    CKM_SHA256_RSA_PKCS,
                ),
                (CKM_EC_KEY_PAIR_GEN, Template::new().bytes(CKA_EC_PARAMS, P384), CKM_ECDSA_SHA384),
                (
                    CKM_EC_EDWARDS_KEY_PAIR_GEN,
                    Template::new().bytes(CKA_EC_PARAMS, &[0x06, 0x03, 0x2b, 0x65, 0x70]),
                    CKM_EDDSA,
                ),
            ] {
                let (_, private) = module.generate(session, pair, public, private()).unwrap();
                let signature = module.sign_with(session, sign, private, b"data").unwrap();
                for stored in [false, true] {
                    let template = Template::new().flag(CKA_TOKEN, stored);
                    let public = module.derive(session, &mut m, private, template).unwrap();
                    module.verify_with(session, sign, public, b"data", &signature).unwrap();
                    let of = |attribute| module.get(session, public, attribute).unwrap();
                    assert_eq!(of(CKA_CLASS), CKO_PUBLIC_KEY.to_ne_bytes());
                    assert_eq!((of(CKA_ID), of(CKA_LOCAL)), (b"id".to_vec(), vec![CK_FALSE]));
                    module.destroy(session, public).unwrap();
                }
                let other = Template::new().number(CKA_KEY_TYPE, CKK_DSA);
                let refused = module.derive(session, &mut m, private, other);
                assert_eq!(refused, Err(CKR_TEMPLATE_INCONSISTENT), "{sign:#x}");
            }
        }
        let secret = secret(&module, session, (false, false), &KEY);
        let refused = module.derive(session, &mut m, secret, Template::new());
        assert_eq!(refused, Err(CKR_KEY_TYPE_INCONSISTENT));
    });
}
