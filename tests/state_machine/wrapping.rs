//! Keys that carry keys: what comes out is what the vectors of others say, and
//! nothing comes out that may not.

use cryptoki_sys::*;

use crate::NOTHING;
use crate::PLACES;
use crate::common::SO_PIN;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, P256, Rv, Template, mechanism, mechanism_with};
use crate::vectors::wycheproof;

pub fn secret(kind: CK_KEY_TYPE, (token, sensitive): (bool, bool)) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, kind)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_EXTRACTABLE, true)
}

fn readable(kind: CK_KEY_TYPE) -> Template {
    secret(kind, (false, false))
}

fn oaep(
    hash: CK_MECHANISM_TYPE,
    mgf: CK_RSA_PKCS_MGF_TYPE,
    label: &[u8],
) -> CK_RSA_PKCS_OAEP_PARAMS {
    CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: hash,
        mgf,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: label.as_ptr().cast_mut().cast(),
        ulSourceDataLen: label.len() as CK_ULONG,
    }
}

/// An RSA pair that may wrap and unwrap: public, private.
fn rsa(
    module: &Module,
    session: CK_SESSION_HANDLE,
    token: bool,
) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let public =
        Template::new().number(CKA_MODULUS_BITS, 2048).flag(CKA_TOKEN, token).flag(CKA_WRAP, true);
    let private = Template::new().flag(CKA_TOKEN, token).flag(CKA_UNWRAP, true);
    module.generate(session, CKM_RSA_PKCS_KEY_PAIR_GEN, public, private).unwrap()
}

#[test]
fn aes_key_wrap_says_what_wycheproof_says_wherever_the_keys_are() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, number) in [
            ("aes_wrap", CKM_AES_KEY_WRAP),
            ("aes_kwp", CKM_AES_KEY_WRAP_KWP),
            ("aes_kwp", CKM_AES_KEY_WRAP_PAD),
        ] {
            let mut m = mechanism(number);
            for (at, case) in wycheproof(file).into_iter().enumerate() {
                let (value, wrapped) = (case.bytes("msg"), case.bytes("ct"));
                // All in the module, and every tenth in each pair of places.
                let remote = at % 10 == 0;
                let places = if remote { &PLACES[..] } else { &PLACES[2..] };
                for place in places {
                    let key = secret(CKK_AES, *place).bytes(CKA_VALUE, &case.bytes("key"));
                    let key = module.create(session, key).unwrap();
                    let unwrapped =
                        module.unwrap(session, &mut m, key, &wrapped, readable(CKK_GENERIC_SECRET));
                    if !case.is_valid() || value.is_empty() {
                        let rv = unwrapped.unwrap_err();
                        assert!(
                            matches!(rv, CKR_WRAPPED_KEY_INVALID | CKR_WRAPPED_KEY_LEN_RANGE),
                            "{}: {rv:#x}",
                            case.name
                        );
                        continue;
                    }
                    let unwrapped = unwrapped.unwrap();
                    assert_eq!(module.get(session, unwrapped, CKA_VALUE).unwrap(), value);
                    for carried in places {
                        let carried = secret(CKK_GENERIC_SECRET, *carried);
                        let carried = carried.bytes(CKA_VALUE, &value);
                        let carried = module.create(session, carried).unwrap();
                        let again = module.wrap(session, &mut m, key, carried).unwrap();
                        assert_eq!(again, wrapped, "{}", case.name);
                    }
                }
            }
        }
        assert!(service.count(TOKEN, "wrap_key") > 100, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn openssl_unwraps_what_rsa_wraps_and_the_other_way_round() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let value = *b"a key of AES, 32 bytes in length";
        // A key of OpenSSL's: what the module wraps for it OpenSSL opens.
        openssl
            .run(&["genpkey", "-algorithm", "RSA", "-outform", "DER", "-out", "rsa.der"])
            .unwrap();
        let modulus = openssl
            .run(&["rsa", "-inform", "DER", "-in", "rsa.der", "-noout", "-modulus"])
            .unwrap();
        let modulus = String::from_utf8(modulus).unwrap();
        let modulus = crate::vectors::unhex(modulus.trim().strip_prefix("Modulus=").unwrap());
        let theirs = Template::new()
            .number(CKA_CLASS, CKO_PUBLIC_KEY)
            .number(CKA_KEY_TYPE, CKK_RSA)
            .flag(CKA_WRAP, true)
            .bytes(CKA_MODULUS, &modulus)
            .bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1]);
        let theirs = module.create(session, theirs).unwrap();
        let (public, private) = rsa(&module, session, true);
        let (_, sealed) = rsa(&module, session, false);
        let own = module.get(session, public, CKA_PUBLIC_KEY_INFO).unwrap();
        let label = b"\x01label";
        let mut sha1 = oaep(CKM_SHA_1, CKG_MGF1_SHA1, b"");
        let mut mixed = oaep(CKM_SHA384, CKG_MGF1_SHA256, label);
        let pad = "rsa_padding_mode:oaep";
        let options = [
            vec!["rsa_padding_mode:pkcs1"],
            vec![pad],
            vec![pad, "rsa_oaep_md:sha384", "rsa_mgf1_md:sha256", "rsa_oaep_label:016c6162656c"],
        ];
        for (mut m, options) in [
            mechanism(CKM_RSA_PKCS),
            mechanism_with(CKM_RSA_PKCS_OAEP, &mut sha1),
            mechanism_with(CKM_RSA_PKCS_OAEP, &mut mixed),
        ]
        .into_iter()
        .zip(options)
        {
            for place in PLACES {
                let key = module.create(session, secret(CKK_AES, place).bytes(CKA_VALUE, &value));
                let key = key.unwrap();
                let wrapped = module.wrap(session, &mut m, theirs, key).unwrap();
                openssl.file("wrapped", &wrapped);
                let mut arguments = vec!["pkeyutl", "-decrypt", "-keyform", "DER", "-inkey"];
                arguments.extend(["rsa.der", "-in", "wrapped"]);
                options.iter().for_each(|option| arguments.extend(["-pkeyopt", option]));
                assert_eq!(openssl.run(&arguments).unwrap(), value, "{options:?} {place:?}");
                // And what OpenSSL wraps for a key of the token.
                let wrapped = openssl.encrypt(&own, &options, &value);
                let template = secret(CKK_AES, place);
                let unwrapped = module.unwrap(session, &mut m, private, &wrapped, template);
                let unwrapped = unwrapped.unwrap();
                let says = |key| {
                    let data = b"sixteen bytes...";
                    module.sign_with(session, CKM_AES_CMAC, key, data).unwrap()
                };
                assert_eq!(says(unwrapped), says(key));
                let get = |attribute| module.get(session, unwrapped, attribute).unwrap();
                for attribute in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE] {
                    assert_eq!(get(attribute), [CK_FALSE], "{attribute:#x}");
                }
                assert_eq!(get(CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION.to_ne_bytes());
                assert_eq!(get(CKA_VALUE_LEN), 32_u64.to_ne_bytes());
            }
            // What is for the other key is not for this one.
            if m.mechanism == CKM_RSA_PKCS_OAEP {
                let wrapped = openssl.encrypt(&own, &options, &value);
                let refused = module.unwrap(session, &mut m, sealed, &wrapped, readable(CKK_AES));
                assert_eq!(refused, Err(CKR_WRAPPED_KEY_INVALID));
            }
        }
        assert!(service.count(TOKEN, "unwrap_key") > 8);
    });
}

/// Whoever sends what is no wrapped key learns nothing of how it is none.
#[test]
fn rsa_pkcs_unwraps_everything_to_something() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let (public, private) = rsa(&module, session, true);
        let own = module.get(session, public, CKA_PUBLIC_KEY_INFO).unwrap();
        let mut m = mechanism(CKM_RSA_PKCS);
        let mut unwrap = |wrapped: &[u8], template| -> Rv<Vec<u8>> {
            let key = module.unwrap(session, &mut m, private, wrapped, template)?;
            module.get(session, key, CKA_VALUE)
        };
        // No padding, padding around what is no AES key, one that has another length.
        let bare = openssl.encrypt(&own, &["rsa_padding_mode:none"], &[7; 256]);
        let odd = openssl.encrypt(&own, &["rsa_padding_mode:pkcs1"], &[7; 15]);
        let other = openssl.encrypt(&own, &["rsa_padding_mode:pkcs1"], &[7; 16]);
        for wrapped in [&bare, &odd, &other] {
            let template = || readable(CKK_AES).number(CKA_VALUE_LEN, 32);
            let value = unwrap(wrapped, template()).unwrap();
            assert_eq!(value.len(), 32);
            assert_eq!(unwrap(wrapped, template()).unwrap(), value, "always the same");
            assert_ne!(value[..16], [7; 16]);
        }
        assert!(matches!(unwrap(&bare, readable(CKK_AES)).unwrap().len(), 16 | 24 | 32));
        assert_eq!(unwrap(&other, readable(CKK_AES)).unwrap(), [7; 16]);
        assert_eq!(unwrap(&odd, readable(CKK_GENERIC_SECRET)).unwrap(), [7; 15]);
        assert!(!unwrap(&bare, readable(CKK_GENERIC_SECRET)).unwrap().is_empty());
        // What can be told without the key is told.
        assert_eq!(unwrap(&bare[1..], readable(CKK_AES)), Err(CKR_WRAPPED_KEY_LEN_RANGE));
        assert_eq!(unwrap(&[0xff; 256], readable(CKK_AES)), Err(CKR_WRAPPED_KEY_INVALID));
    });
}

#[test]
fn private_keys_travel_as_pkcs8_and_work_afterwards() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let value = [0x42; 32];
        let (public, private) = rsa(&module, session, true);
        let (mut iv, mut hashes) = ([9_u8; 16], oaep(CKM_SHA256, CKG_MGF1_SHA256, b""));
        let mut both =
            CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: 256, pOAEPParams: &raw mut hashes };
        let pair = |kind, template: Template| {
            let private = Template::new()
                .flag(CKA_EXTRACTABLE, true)
                .flag(CKA_SIGN, true)
                .flag(CKA_TOKEN, true);
            module.generate(session, kind, template.flag(CKA_VERIFY, true), private).unwrap()
        };
        let carried = [
            (CKK_RSA, CKM_SHA256_RSA_PKCS, {
                pair(CKM_RSA_PKCS_KEY_PAIR_GEN, Template::new().number(CKA_MODULUS_BITS, 2048))
            }),
            (CKK_EC, CKM_ECDSA_SHA256, {
                pair(CKM_EC_KEY_PAIR_GEN, Template::new().bytes(CKA_EC_PARAMS, P256))
            }),
        ];
        for place in PLACES {
            let aes = secret(CKK_AES, place).bytes(CKA_VALUE, &value);
            let aes = module.create(session, aes).unwrap();
            for (mut m, wrapping, unwrapping) in [
                (mechanism(CKM_AES_KEY_WRAP_KWP), aes, aes),
                (mechanism_with(CKM_AES_CBC_PAD, &mut iv), aes, aes),
                (mechanism_with(CKM_RSA_AES_KEY_WRAP, &mut both), public, private),
            ] {
                for (kind, signs, (verifies, key)) in carried {
                    let wrapped = module.wrap(session, &mut m, wrapping, key).unwrap();
                    let template = || {
                        Template::new()
                            .number(CKA_CLASS, CKO_PRIVATE_KEY)
                            .number(CKA_KEY_TYPE, kind)
                            .flag(CKA_TOKEN, place.0)
                            .flag(CKA_SENSITIVE, place.1)
                            .flag(CKA_SIGN, true)
                    };
                    let got = module.unwrap(session, &mut m, unwrapping, &wrapped, template());
                    let got = got.unwrap();
                    let signature = module.sign_with(session, signs, got, b"data").unwrap();
                    let verified =
                        module.verify_with(session, signs, verifies, b"data", &signature);
                    assert_eq!(verified, Ok(()), "{:#x} {kind} {place:?}", m.mechanism);
                    for attribute in [CKA_PUBLIC_KEY_INFO, CKA_KEY_TYPE] {
                        let of = |key| module.get(session, key, attribute).unwrap();
                        assert_eq!(of(got), of(key));
                    }
                    let mut changed = wrapped.clone();
                    *changed.last_mut().unwrap() ^= 1;
                    let refused = module.unwrap(session, &mut m, unwrapping, &changed, template());
                    assert_eq!(refused, Err(CKR_WRAPPED_KEY_INVALID), "{:#x}", m.mechanism);
                    if m.mechanism == CKM_AES_CBC_PAD {
                        openssl.file("wrapped", &wrapped);
                        let (key, iv) = ("42".repeat(32), "09".repeat(16));
                        let arguments = ["-d", "-K", &key, "-iv", &iv, "-in", "wrapped"];
                        let arguments = [&["enc", "-aes-256-cbc", "-out", "p8"], &arguments[..]];
                        openssl.run(&arguments.concat()).unwrap();
                        let read = ["pkey", "-inform", "DER", "-in", "p8", "-pubout", "-outform"];
                        let read = openssl.run(&[&read[..], &["DER"]].concat()).unwrap();
                        let own = module.get(session, verifies, CKA_PUBLIC_KEY_INFO).unwrap();
                        assert_eq!(read, own);
                    }
                }
            }
        }
        assert!(service.count(TOKEN, "unwrap_key") > 20);
    });
}

#[test]
fn blocks_that_are_filled_up_are_cut_off_again() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let mut iv = [3_u8; 16];
        let value = [5; 24];
        for place in PLACES {
            let aes = secret(CKK_AES, place).bytes(CKA_VALUE, &[1; 16]);
            let aes = module.create(session, aes).unwrap();
            let key = secret(CKK_AES, place).bytes(CKA_VALUE, &value);
            let key = module.create(session, key).unwrap();
            for mut m in [mechanism(CKM_AES_ECB), mechanism_with(CKM_AES_CBC, &mut iv)] {
                let wrapped = module.wrap(session, &mut m, aes, key).unwrap();
                assert_eq!(wrapped.len(), 32);
                for (template, length) in [
                    (readable(CKK_AES).number(CKA_VALUE_LEN, 24), 24),
                    (readable(CKK_GENERIC_SECRET), 32),
                ] {
                    let got = module.unwrap(session, &mut m, aes, &wrapped, template).unwrap();
                    let got = module.get(session, got, CKA_VALUE).unwrap();
                    assert_eq!((got.len(), &got[..24]), (length, &value[..]));
                }
            }
        }
        let (_, private) = rsa(&module, session, false);
        let aes = module.create(session, readable(CKK_AES).bytes(CKA_VALUE, &[1; 16])).unwrap();
        let mut m = mechanism(CKM_AES_ECB);
        assert_eq!(module.wrap(session, &mut m, aes, private), Err(CKR_KEY_NOT_WRAPPABLE));
    });
}

#[test]
fn what_may_not_be_wrapped_is_not() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let mut m = mechanism(CKM_AES_KEY_WRAP);
        for place in PLACES {
            let create = |template: Template, value: &[u8]| {
                module.create(session, template.bytes(CKA_VALUE, value)).unwrap()
            };
            let aes = create(secret(CKK_AES, place), &[1; 16]);
            let plain = create(secret(CKK_AES, place), &[2; 16]);
            let generic = create(secret(CKK_GENERIC_SECRET, place), &[1; 16]);
            let odd = create(secret(CKK_GENERIC_SECRET, place), &[1; 17]);
            let (public, _) = rsa(&module, session, false);
            let mut wrap = |wrapping, key| module.wrap(session, &mut m, wrapping, key);
            assert!(wrap(aes, plain).is_ok());
            assert_eq!(wrap(NOTHING, plain), Err(CKR_WRAPPING_KEY_HANDLE_INVALID));
            assert_eq!(wrap(aes, NOTHING), Err(CKR_KEY_HANDLE_INVALID));
            assert_eq!(wrap(generic, plain), Err(CKR_WRAPPING_KEY_TYPE_INCONSISTENT));
            assert_eq!(wrap(public, plain), Err(CKR_WRAPPING_KEY_TYPE_INCONSISTENT));
            assert_eq!(wrap(aes, public), Err(CKR_KEY_NOT_WRAPPABLE));
            let mut buffer = [0; 64];
            let mut length = 64;
            let (mut one, out) = (mechanism(CKM_AES_KEY_WRAP), buffer.as_mut_ptr());
            let rv = crate::common::raw::call!(
                module,
                C_WrapKey(session, &raw mut one, aes, odd, out, &raw mut length)
            );
            assert_eq!(rv, CKR_KEY_SIZE_RANGE);
            // The wrapping key says which keys it carries.
            let mut inner = Template::new().number(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
            let picky = secret(CKK_AES, place).templates(CKA_WRAP_TEMPLATE, &mut inner);
            let picky = create(picky, &[1; 16]);
            assert_eq!(wrap(picky, plain), Err(CKR_KEY_HANDLE_INVALID));
            assert!(wrap(picky, generic).is_ok());
            // The key says whether it is carried.
            let set = |key, attribute, on| {
                module.set(session, key, Template::new().flag(attribute, on)).unwrap();
            };
            set(aes, CKA_WRAP, false);
            assert_eq!(wrap(aes, plain), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
            set(aes, CKA_WRAP, true);
            set(plain, CKA_WRAP_WITH_TRUSTED, true);
            assert_eq!(wrap(aes, plain), Err(CKR_KEY_NOT_WRAPPABLE));
            set(plain, CKA_EXTRACTABLE, false);
            assert_eq!(wrap(aes, plain), Err(CKR_KEY_UNEXTRACTABLE));
        }
        let mut m = mechanism(CKM_SHA256_HMAC);
        assert_eq!(module.wrap(session, &mut m, NOTHING, NOTHING), Err(CKR_MECHANISM_INVALID));
        let failed = service.counts(TOKEN)["wrap_key"]["failed"].as_u64().unwrap();
        assert_eq!(failed, 2, "only what depends on the value is found out there");
    });
}

#[test]
fn what_is_unwrapped_is_what_the_template_and_the_key_say() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let mut m = mechanism(CKM_AES_KEY_WRAP);
        for place in PLACES {
            let mut inner = Template::new().flag(CKA_EXTRACTABLE, false).flag(CKA_SIGN, false);
            let aes = secret(CKK_AES, place).bytes(CKA_VALUE, &[1; 16]);
            let aes = aes.templates(CKA_UNWRAP_TEMPLATE, &mut inner);
            let aes = module.create(session, aes).unwrap();
            let key = readable(CKK_AES).bytes(CKA_VALUE, &[2; 16]);
            let key = module.create(session, key).unwrap();
            let wrapped = module.wrap(session, &mut m, aes, key).unwrap();
            let bare =
                || Template::new().number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES);
            let mut unwrap = |key, wrapped: &[u8], template| {
                module.unwrap(session, &mut m, key, wrapped, template)
            };
            let got = unwrap(aes, &wrapped, bare()).unwrap();
            let get = |attribute| module.get(session, got, attribute);
            assert_eq!(get(CKA_EXTRACTABLE).unwrap(), [CK_FALSE]);
            assert_eq!(get(CKA_SIGN).unwrap(), [CK_FALSE]);
            assert_eq!(get(CKA_SENSITIVE).unwrap(), [CK_TRUE]);
            assert_eq!(get(CKA_PRIVATE).unwrap(), [CK_TRUE]);
            assert_eq!(get(CKA_TOKEN).unwrap(), [CK_FALSE]);
            assert_eq!(get(CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
            for (template, expected) in [
                (bare().flag(CKA_SIGN, true), CKR_TEMPLATE_INCONSISTENT),
                (bare().bytes(CKA_VALUE, &[1; 16]), CKR_TEMPLATE_INCONSISTENT),
                (bare().flag(CKA_LOCAL, true), CKR_ATTRIBUTE_READ_ONLY),
                (bare().number(CKA_VALUE_LEN, 17), CKR_KEY_SIZE_RANGE),
                (bare().number(CKA_VALUE_LEN, 32), CKR_WRAPPED_KEY_INVALID),
                (bare().bytes(CKA_CHECK_VALUE, &[1, 2, 3]), CKR_ATTRIBUTE_VALUE_INVALID),
                (Template::new().number(CKA_CLASS, CKO_SECRET_KEY), CKR_TEMPLATE_INCOMPLETE),
                (Template::new().number(CKA_KEY_TYPE, CKK_AES), CKR_TEMPLATE_INCOMPLETE),
            ] {
                assert_eq!(unwrap(aes, &wrapped, template), Err(expected), "{place:?}");
            }
            assert_eq!(unwrap(aes, &wrapped[1..], bare()), Err(CKR_WRAPPED_KEY_LEN_RANGE));
            let invalid = unwrap(NOTHING, &wrapped, bare());
            assert_eq!(invalid, Err(CKR_UNWRAPPING_KEY_HANDLE_INVALID));
            let (_, private) = rsa(&module, session, false);
            let unfit = unwrap(private, &wrapped, bare());
            assert_eq!(unfit, Err(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT));
            module.set(session, aes, Template::new().flag(CKA_UNWRAP, false)).unwrap();
            let refused = unwrap(aes, &wrapped, bare());
            assert_eq!(refused, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
    });
}

#[test]
fn the_security_officer_says_which_key_is_trusted() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let trusted = Template::new().flag(CKA_TRUSTED, true);
        let public = |template: Template| template.flag(CKA_PRIVATE, false);
        let wrapping = public(secret(CKK_AES, (true, true))).bytes(CKA_VALUE, &[1; 16]);
        let wrapping = wrapping.flag(CKA_DECRYPT, false).bytes(CKA_LABEL, b"trusted");
        let wrapping = module.create(session, wrapping).unwrap();
        let refused = module.set(session, wrapping, Template::new().flag(CKA_TRUSTED, true));
        assert_eq!(refused, Err(CKR_ATTRIBUTE_READ_ONLY));
        let refused = module
            .create(session, readable(CKK_AES).bytes(CKA_VALUE, &[1; 16]).flag(CKA_TRUSTED, true));
        assert_eq!(refused, Err(CKR_ATTRIBUTE_READ_ONLY));
        let logout = || assert_eq!(crate::common::raw::call!(module, C_Logout(session)), CKR_OK);
        logout();
        module.login_as(session, CKU_SO, SO_PIN).unwrap();
        module.set(session, wrapping, trusted).unwrap();
        logout();
        module.login(session, crate::common::PIN).unwrap();
        assert_eq!(module.get(session, wrapping, CKA_TRUSTED).unwrap(), [CK_TRUE]);
        let mut m = mechanism(CKM_AES_KEY_WRAP);
        for place in PLACES {
            let key = secret(CKK_AES, place).bytes(CKA_VALUE, &[2; 16]);
            let key = module.create(session, key.flag(CKA_WRAP_WITH_TRUSTED, true)).unwrap();
            assert!(module.wrap(session, &mut m, wrapping, key).is_ok(), "{place:?}");
            // A copy is another key, which the officer has not seen.
            let copy = module.copy(session, wrapping, Template::new()).unwrap();
            assert_eq!(module.wrap(session, &mut m, copy, key), Err(CKR_KEY_NOT_WRAPPABLE));
        }
        // The user does not make it one that gives away what it carries.
        let opened = module.set(session, wrapping, Template::new().flag(CKA_DECRYPT, true));
        assert_eq!(opened, Err(CKR_ATTRIBUTE_READ_ONLY));
        module.set(session, wrapping, Template::new().flag(CKA_UNWRAP, false)).unwrap();
    });
}
