//! Keys that come out of keys: what comes out is what the vectors of others and
//! OpenSSL say, and what may not be read cannot be read after it either.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::NOTHING;
use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, P256, P384, P521, Rv, Template, mechanism, mechanism_with};
use crate::vectors::{hex, wycheproof};

const X25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

pub const KEY: [u8; 32] = *b"thirty-two bytes are a long key.";

pub fn placed(
    class: CK_OBJECT_CLASS,
    kind: CK_KEY_TYPE,
    (token, sensitive): (bool, bool),
) -> Template {
    Template::new()
        .number(CKA_CLASS, class)
        .number(CKA_KEY_TYPE, kind)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_EXTRACTABLE, !sensitive)
        .flag(CKA_DERIVE, true)
}

pub fn secret(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: (bool, bool),
    value: &[u8],
) -> CK_OBJECT_HANDLE {
    let template = placed(CKO_SECRET_KEY, CKK_GENERIC_SECRET, place);
    module.create(session, template.bytes(CKA_VALUE, value)).unwrap()
}

/// A key that can be read afterwards.
pub fn readable(length: Option<usize>) -> Template {
    let template = Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
        .flag(CKA_SENSITIVE, false)
        .flag(CKA_EXTRACTABLE, true);
    match length {
        Some(length) => template.number(CKA_VALUE_LEN, length as CK_ULONG),
        None => template,
    }
}

pub fn ecdh(kdf: CK_EC_KDF_TYPE, shared: &[u8], public: &[u8]) -> CK_ECDH1_DERIVE_PARAMS {
    CK_ECDH1_DERIVE_PARAMS {
        kdf,
        ulSharedDataLen: shared.len() as CK_ULONG,
        pSharedData: if shared.is_empty() { null_mut() } else { shared.as_ptr().cast_mut() },
        ulPublicDataLen: public.len() as CK_ULONG,
        pPublicData: public.as_ptr().cast_mut(),
    }
}

pub fn string_data(data: &[u8]) -> CK_KEY_DERIVATION_STRING_DATA {
    CK_KEY_DERIVATION_STRING_DATA { pData: data.as_ptr().cast_mut(), ulLen: data.len() as CK_ULONG }
}

pub fn derived(
    module: &Module,
    session: CK_SESSION_HANDLE,
    m: &mut CK_MECHANISM,
    base: CK_OBJECT_HANDLE,
    length: Option<usize>,
) -> Rv<Vec<u8>> {
    let key = module.derive(session, m, base, readable(length))?;
    module.get(session, key, CKA_VALUE)
}

#[test]
fn agreements_are_those_of_wycheproof_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, kind, curve) in [
            ("ecdh_secp256r1_ecpoint", CKK_EC, P256),
            ("ecdh_secp384r1_ecpoint", CKK_EC, P384),
            ("ecdh_secp521r1_ecpoint", CKK_EC, P521),
            ("x25519", CKK_EC_MONTGOMERY, X25519),
        ] {
            for (at, case) in wycheproof(file).into_iter().enumerate() {
                let (public, shared) = (case.bytes("public"), case.bytes("shared"));
                for place in if at % 8 == 0 { &PLACES[..] } else { &PLACES[2..] } {
                    let template = placed(CKO_PRIVATE_KEY, kind, *place)
                        .bytes(CKA_EC_PARAMS, curve)
                        .bytes(CKA_VALUE, &case.bytes("private"));
                    let Ok(base) = module.create(session, template) else {
                        assert!(!case.is_valid(), "{}", case.name);
                        continue;
                    };
                    let mut parameter = ecdh(CKD_NULL, b"", &public);
                    for number in [CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE] {
                        let mut m = mechanism_with(number, &mut parameter);
                        match derived(&module, session, &mut m, base, None) {
                            Ok(value) => {
                                assert_ne!(case.result, "invalid", "{}", case.name);
                                assert_eq!(value, shared, "{}", case.name);
                            }
                            Err(rv) => {
                                assert!(!case.is_valid(), "{}: {rv:#x}", case.name);
                                assert_eq!(rv, CKR_PUBLIC_KEY_INVALID, "{}", case.name);
                            }
                        }
                    }
                    if case.is_valid() {
                        // The front is what is cut off.
                        let mut m = mechanism_with(CKM_ECDH1_DERIVE, &mut parameter);
                        let short = derived(&module, session, &mut m, base, Some(16)).unwrap();
                        assert_eq!(short, shared[shared.len() - 16..]);
                        let long = derived(&module, session, &mut m, base, Some(shared.len() + 1));
                        assert_eq!(long, Err(CKR_KEY_SIZE_RANGE));
                    }
                }
            }
        }
        assert!(service.count(TOKEN, "derive_key") > 100, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn hkdf_is_that_of_wycheproof_wherever_the_keys_are() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, hash) in [
            ("hkdf_sha1", CKM_SHA_1),
            ("hkdf_sha256", CKM_SHA256),
            ("hkdf_sha384", CKM_SHA384),
            ("hkdf_sha512", CKM_SHA512),
        ] {
            for (at, case) in wycheproof(file).into_iter().enumerate() {
                let (mut salt, mut info) = (case.bytes("salt"), case.bytes("info"));
                let (ikm, expected) = (case.bytes("ikm"), case.bytes("okm"));
                let parameter =
                    |extract, expand, salt: &mut [u8], info: &mut [u8]| CK_HKDF_PARAMS {
                        bExtract: CK_BBOOL::from(extract),
                        bExpand: CK_BBOOL::from(expand),
                        prfHashMechanism: hash,
                        ulSaltType: if salt.is_empty() {
                            CKF_HKDF_SALT_NULL
                        } else {
                            CKF_HKDF_SALT_DATA
                        },
                        pSalt: salt.as_mut_ptr(),
                        ulSaltLen: salt.len() as CK_ULONG,
                        hSaltKey: 0,
                        pInfo: info.as_mut_ptr(),
                        ulInfoLen: info.len() as CK_ULONG,
                    };
                for place in if at % 8 == 0 { &PLACES[..] } else { &PLACES[2..] } {
                    let base = secret(&module, session, *place, &ikm);
                    let length = Some(case.number("size"));
                    let mut both = parameter(true, true, &mut salt, &mut info);
                    let mut m = mechanism_with(CKM_HKDF_DERIVE, &mut both);
                    let value = derived(&module, session, &mut m, base, length);
                    if !case.is_valid() {
                        assert_eq!(value, Err(CKR_KEY_SIZE_RANGE), "{}", case.name);
                        continue;
                    }
                    assert_eq!(value.unwrap(), expected, "{}", case.name);
                    // In two steps, with a key between that nobody reads.
                    let mut one = parameter(true, false, &mut salt, &mut info);
                    let mut m = mechanism_with(CKM_HKDF_DERIVE, &mut one);
                    let between = placed(CKO_SECRET_KEY, CKK_HKDF, *place);
                    let between = module.derive(session, &mut m, base, between).unwrap();
                    let mut other = parameter(false, true, &mut [], &mut info);
                    let mut m = mechanism_with(CKM_HKDF_DERIVE, &mut other);
                    let value = derived(&module, session, &mut m, between, length);
                    assert_eq!(value.unwrap(), expected, "{}", case.name);
                    // As data, and with a key for its salt.
                    let mut m = mechanism_with(CKM_HKDF_DATA, &mut both);
                    let template =
                        Template::new().number(CKA_VALUE_LEN, expected.len() as CK_ULONG);
                    let data = module.derive(session, &mut m, base, template).unwrap();
                    assert_eq!(module.get(session, data, CKA_VALUE).unwrap(), expected);
                    let class = module.get(session, data, CKA_CLASS).unwrap();
                    assert_eq!(class, CKO_DATA.to_ne_bytes());
                    if !salt.is_empty() {
                        both.ulSaltType = CKF_HKDF_SALT_KEY;
                        both.hSaltKey = secret(&module, session, *place, &salt);
                        let mut m = mechanism_with(CKM_HKDF_DERIVE, &mut both);
                        let value = derived(&module, session, &mut m, base, length);
                        assert_eq!(value.unwrap(), expected, "{}", case.name);
                    }
                }
            }
        }
    });
}

/// What the command `openssl kdf` gives.
pub fn kdf(openssl: &OpenSsl, name: &str, length: usize, options: &[&str]) -> Vec<u8> {
    let length = length.to_string();
    let mut arguments = vec!["kdf", "-keylen", &length, "-binary", "-out", "derived"];
    options.iter().for_each(|option| arguments.extend(["-kdfopt", option]));
    arguments.push(name);
    openssl.run(&arguments).unwrap();
    openssl.read("derived")
}

#[test]
fn kdfs_are_those_of_openssl() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let hexkey = format!("hexkey:{}", hex(&KEY));
        for place in PLACES {
            let base = secret(&module, session, place, &KEY);
            // X9.63 over an agreement whose secret is known.
            let case = wycheproof("ecdh_secp256r1_ecpoint").remove(0);
            let private = placed(CKO_PRIVATE_KEY, CKK_EC, place)
                .bytes(CKA_EC_PARAMS, P256)
                .bytes(CKA_VALUE, &case.bytes("private"));
            let private = module.create(session, private).unwrap();
            let hexsecret = format!("hexsecret:{}", hex(&case.bytes("shared")));
            for (number, digest) in [
                (CKD_SHA1_KDF, "digest:SHA1"),
                (CKD_SHA224_KDF, "digest:SHA224"),
                (CKD_SHA256_KDF, "digest:SHA256"),
                (CKD_SHA384_KDF, "digest:SHA384"),
                (CKD_SHA512_KDF, "digest:SHA512"),
                (CKD_SHA3_256_KDF, "digest:SHA3-256"),
            ] {
                let public = case.bytes("public");
                let mut parameter = ecdh(number, b"shared", &public);
                let mut m = mechanism_with(CKM_ECDH1_DERIVE, &mut parameter);
                let value = derived(&module, session, &mut m, private, Some(75)).unwrap();
                let expected = kdf(&openssl, "X963KDF", 75, &[digest, &hexsecret, "info:shared"]);
                assert_eq!(value, expected, "{digest}");
                // It gives any length, so one has to be said.
                let any = derived(&module, session, &mut m, private, None);
                assert_eq!(any, Err(CKR_TEMPLATE_INCOMPLETE));
            }
            // SP 800-108: counter, label, zero, context, length.
            let mut counter = CK_SP800_108_COUNTER_FORMAT { bLittleEndian: 0, ulWidthInBits: 32 };
            let mut length = CK_SP800_108_DKM_LENGTH_FORMAT {
                dkmLengthMethod: CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS,
                bLittleEndian: 0,
                ulWidthInBits: 32,
            };
            let mut label = *b"label\0context";
            let field = |kind, value: *mut std::ffi::c_void, length: usize| CK_PRF_DATA_PARAM {
                type_: kind,
                pValue: value,
                ulValueLen: length as CK_ULONG,
            };
            let mut fields = [
                field(
                    CK_SP800_108_ITERATION_VARIABLE,
                    (&raw mut counter).cast(),
                    size_of::<CK_SP800_108_COUNTER_FORMAT>(),
                ),
                field(CK_SP800_108_BYTE_ARRAY, label.as_mut_ptr().cast(), label.len()),
                field(
                    CK_SP800_108_DKM_LENGTH,
                    (&raw mut length).cast(),
                    size_of::<CK_SP800_108_DKM_LENGTH_FORMAT>(),
                ),
            ];
            let aes = placed(CKO_SECRET_KEY, CKK_AES, place).bytes(CKA_VALUE, &KEY);
            let aes = module.create(session, aes).unwrap();
            for (prf, key, mac) in [
                (CKM_SHA256_HMAC, base, ["mac:HMAC", "digest:SHA256"]),
                (CKM_SHA512_HMAC, base, ["mac:HMAC", "digest:SHA512"]),
                (CKM_AES_CMAC, aes, ["mac:CMAC", "cipher:AES-256-CBC"]),
            ] {
                let mut parameter = CK_SP800_108_KDF_PARAMS {
                    prfType: prf,
                    ulNumberOfDataParams: fields.len() as CK_ULONG,
                    pDataParams: fields.as_mut_ptr(),
                    ulAdditionalDerivedKeys: 0,
                    pAdditionalDerivedKeys: null_mut(),
                };
                let mut m = mechanism_with(CKM_SP800_108_COUNTER_KDF, &mut parameter);
                let value = derived(&module, session, &mut m, key, Some(100)).unwrap();
                let options = [mac[0], mac[1], &hexkey, "salt:label", "info:context"];
                assert_eq!(value, kdf(&openssl, "KBKDF", 100, &options), "{mac:?}");
                parameter.ulNumberOfDataParams = 0;
                let before = field(CK_SP800_108_ITERATION_VARIABLE, null_mut(), 0);
                let counted = CK_PRF_DATA_PARAM { type_: CK_SP800_108_COUNTER, ..fields[0] };
                let mut fed = [before, counted, fields[1], fields[2]];
                // As long as the PRF's output, which OpenSSL insists on.
                let mut iv = match prf {
                    CKM_SHA256_HMAC => vec![6_u8; 32],
                    CKM_SHA512_HMAC => vec![6; 64],
                    _ => vec![6; 16],
                };
                let mut feedback = CK_SP800_108_FEEDBACK_KDF_PARAMS {
                    prfType: prf,
                    ulNumberOfDataParams: fed.len() as CK_ULONG,
                    pDataParams: fed.as_mut_ptr(),
                    ulIVLen: iv.len() as CK_ULONG,
                    pIV: iv.as_mut_ptr(),
                    ulAdditionalDerivedKeys: 0,
                    pAdditionalDerivedKeys: null_mut(),
                };
                let mut m = mechanism_with(CKM_SP800_108_FEEDBACK_KDF, &mut feedback);
                let value = derived(&module, session, &mut m, key, Some(100)).unwrap();
                let seed = format!("hexseed:{}", hex(&iv));
                let options = [&options[..], &["mode:feedback", &seed]].concat();
                assert_eq!(value, kdf(&openssl, "KBKDF", 100, &options), "{mac:?}");
                let mut without = [counted, fields[1]];
                feedback.ulNumberOfDataParams = without.len() as CK_ULONG;
                feedback.pDataParams = without.as_mut_ptr();
                let mut m = mechanism_with(CKM_SP800_108_FEEDBACK_KDF, &mut feedback);
                let nothing = derived(&module, session, &mut m, key, Some(100));
                assert_eq!(nothing, Err(CKR_MECHANISM_PARAM_INVALID));
                let mut m = mechanism_with(CKM_SP800_108_COUNTER_KDF, &mut parameter);
                let nothing = derived(&module, session, &mut m, key, Some(100));
                assert_eq!(nothing, Err(CKR_MECHANISM_PARAM_INVALID));
            }
            // The PRF of TLS 1.2.
            let (mut client, mut server) = ([1_u8; 32], [2_u8; 32]);
            let randoms = CK_SSL3_RANDOM_DATA {
                pClientRandom: client.as_mut_ptr(),
                ulClientRandomLen: 32,
                pServerRandom: server.as_mut_ptr(),
                ulServerRandomLen: 32,
            };
            let premaster = [&[3, 3][..], &[7; 46]].concat();
            let premaster_key = secret(&module, session, place, &premaster);
            let hexseed = format!("hexseed:{}{}", hex(&client), hex(&server));
            let hexsecret = format!("hexsecret:{}", hex(&premaster));
            let prf = |length, label: &str, seed: &str| {
                let label = format!("seed:{label}");
                kdf(&openssl, "TLS1-PRF", length, &["digest:SHA256", &hexsecret, &label, seed])
            };
            let mut version = CK_VERSION { major: 0, minor: 0 };
            let mut parameter = CK_TLS12_MASTER_KEY_DERIVE_PARAMS {
                RandomInfo: randoms,
                pVersion: &raw mut version,
                prfHashMechanism: CKM_SHA256,
            };
            let mut m = mechanism_with(CKM_TLS12_MASTER_KEY_DERIVE, &mut parameter);
            let value = derived(&module, session, &mut m, premaster_key, None).unwrap();
            assert_eq!(value, prf(48, "master secret", &hexseed));
            assert_eq!((version.major, version.minor), (3, 3), "{place:?}");
            let mut digest = [5_u8; 32];
            let mut parameter = CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS {
                prfHashMechanism: CKM_SHA256,
                pSessionHash: digest.as_mut_ptr(),
                ulSessionHashLen: 32,
                pVersion: null_mut(),
            };
            let number = CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH;
            let mut m = mechanism_with(number, &mut parameter);
            let value = derived(&module, session, &mut m, premaster_key, None).unwrap();
            let session_hash = format!("hexseed:{}", hex(&digest));
            assert_eq!(value, prf(48, "extended master secret", &session_hash));
            let mut label = *b"key expansion";
            let mut parameter = CK_TLS_KDF_PARAMS {
                prfMechanism: CKM_SHA256,
                pLabel: label.as_mut_ptr(),
                ulLabelLength: label.len() as CK_ULONG,
                RandomInfo: randoms,
                pContextData: null_mut(),
                ulContextDataLength: 0,
            };
            let mut m = mechanism_with(CKM_TLS12_KDF, &mut parameter);
            let value = derived(&module, session, &mut m, premaster_key, Some(72)).unwrap();
            assert_eq!(value, prf(72, "key expansion", &hexseed));
        }
    });
}

#[test]
fn simple_derivations_are_what_they_say() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let data: Vec<u8> = (0..48).collect();
        openssl.file("blocks", &data);
        for place in PLACES {
            let readable_base = !place.1;
            let base = secret(&module, session, place, &KEY);
            let other = secret(&module, session, place, b"another");
            let aes = placed(CKO_SECRET_KEY, CKK_AES, place).bytes(CKA_VALUE, &KEY);
            let aes = module.create(session, aes).unwrap();
            let mut string = string_data(&data);
            let mut cbc = CK_AES_CBC_ENCRYPT_DATA_PARAMS {
                iv: [9; 16],
                pData: data.as_ptr().cast_mut(),
                length: data.len() as CK_ULONG,
            };
            let (mut handle, mut bit): (CK_OBJECT_HANDLE, CK_ULONG) = (other, 21);
            let encrypted = |mode: &str, iv: &[&str]| {
                let key = hex(&KEY);
                let arguments = ["enc", mode, "-nopad", "-K", &key, "-in", "blocks"];
                openssl.run(&[&arguments[..], iv].concat()).unwrap()
            };
            let iv = "09".repeat(16);
            let bits: Vec<u8> = (0..4).map(|at| KEY[2 + at] << 5 | KEY[3 + at] >> 3).collect();
            let xored: Vec<u8> = KEY.iter().zip(&data).map(|(one, other)| one ^ other).collect();
            let cases = [
                (
                    mechanism_with(CKM_CONCATENATE_BASE_AND_KEY, &mut handle),
                    base,
                    None,
                    [&KEY[..], b"another"].concat(),
                    true,
                ),
                (
                    mechanism_with(CKM_CONCATENATE_BASE_AND_DATA, &mut string),
                    base,
                    Some(40),
                    [&KEY[..], &data[..8]].concat(),
                    true,
                ),
                (
                    mechanism_with(CKM_CONCATENATE_DATA_AND_BASE, &mut string),
                    base,
                    None,
                    [&data[..], &KEY].concat(),
                    true,
                ),
                (mechanism_with(CKM_XOR_BASE_AND_DATA, &mut string), base, None, xored, true),
                (mechanism_with(CKM_EXTRACT_KEY_FROM_KEY, &mut bit), base, Some(4), bits, true),
                (
                    mechanism(CKM_SHA256_KEY_DERIVATION),
                    base,
                    None,
                    openssl.digest("sha256", &KEY),
                    true,
                ),
                (
                    mechanism(CKM_SHA512_224_KEY_DERIVATION),
                    base,
                    None,
                    openssl.digest("sha512-224", &KEY),
                    true,
                ),
                (
                    mechanism(CKM_SHA512_256_KEY_DERIVATION),
                    base,
                    None,
                    openssl.digest("sha512-256", &KEY),
                    true,
                ),
                (
                    mechanism(CKM_SHA3_224_KEY_DERIVATION),
                    base,
                    None,
                    openssl.digest("sha3-224", &KEY),
                    true,
                ),
                (
                    mechanism(CKM_SHA1_KEY_DERIVATION),
                    base,
                    Some(16),
                    openssl.digest("sha1", &KEY)[..16].to_vec(),
                    true,
                ),
                (
                    mechanism_with(CKM_AES_ECB_ENCRYPT_DATA, &mut string),
                    aes,
                    None,
                    encrypted("-aes-256-ecb", &[]),
                    false,
                ),
                (
                    mechanism_with(CKM_AES_CBC_ENCRYPT_DATA, &mut cbc),
                    aes,
                    None,
                    encrypted("-aes-256-cbc", &["-iv", &iv]),
                    false,
                ),
            ];
            for (mut m, base, length, expected, shows) in cases {
                let key = module.derive(session, &mut m, base, readable(length)).unwrap();
                let said = module.get(session, key, CKA_VALUE);
                let number = m.mechanism;
                if shows && !readable_base {
                    // It would show the base, and is what the base is.
                    assert_eq!(said, Err(CKR_ATTRIBUTE_SENSITIVE), "{number:#x}");
                    let extractable = module.get(session, key, CKA_EXTRACTABLE).unwrap();
                    assert_eq!(extractable, [CK_FALSE], "{number:#x}");
                } else {
                    assert_eq!(said.unwrap(), expected, "{number:#x} {place:?}");
                }
                // Readable or not, it is that key.
                let code = |key| module.sign_with(session, CKM_SHA256_HMAC, key, b"x").unwrap();
                let same = secret(&module, session, (false, false), &expected);
                assert_eq!(code(key), code(same), "{number:#x} {place:?}");
                assert_eq!(module.get(session, key, CKA_LOCAL).unwrap(), [CK_FALSE]);
            }
        }
    });
}

#[test]
fn what_may_not_be_derived_is_not() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let data = [1; 16];
        let mut string = string_data(&data);
        for place in PLACES {
            let base = secret(&module, session, place, &KEY);
            let mut m = mechanism_with(CKM_CONCATENATE_BASE_AND_DATA, &mut string);
            let mut derive = |base, template| module.derive(session, &mut m, base, template);
            assert!(derive(base, readable(None)).is_ok());
            assert_eq!(derive(NOTHING, readable(None)), Err(CKR_KEY_HANDLE_INVALID));
            assert_eq!(derive(base, readable(Some(49))), Err(CKR_KEY_SIZE_RANGE));
            let aes =
                || Template::new().number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES);
            assert_eq!(derive(base, aes()), Err(CKR_TEMPLATE_INCOMPLETE));
            let value = aes().number(CKA_VALUE_LEN, 32).bytes(CKA_VALUE, &KEY);
            assert_eq!(derive(base, value), Err(CKR_TEMPLATE_INCONSISTENT));
            let private = Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY);
            assert_eq!(
                derive(base, private.number(CKA_KEY_TYPE, CKK_EC)),
                Err(CKR_ATTRIBUTE_VALUE_INVALID)
            );
            // A bare template gives a key that is guarded like a generated one.
            let guarded = derive(base, aes().number(CKA_VALUE_LEN, 32)).unwrap();
            for (attribute, value) in
                [(CKA_SENSITIVE, true), (CKA_EXTRACTABLE, false), (CKA_PRIVATE, true)]
            {
                let got = module.get(session, guarded, attribute).unwrap();
                assert_eq!(got, [CK_BBOOL::from(value)]);
            }
            let mut inner = Template::new().flag(CKA_ENCRYPT, false);
            let strict = placed(CKO_SECRET_KEY, CKK_GENERIC_SECRET, place).bytes(CKA_VALUE, &KEY);
            let strict = strict.templates(CKA_DERIVE_TEMPLATE, &mut inner);
            let strict = module.create(session, strict).unwrap();
            let contrary = readable(None).flag(CKA_ENCRYPT, true);
            assert_eq!(derive(strict, contrary), Err(CKR_TEMPLATE_INCONSISTENT));
            let key = derive(strict, readable(None)).unwrap();
            assert_eq!(module.get(session, key, CKA_ENCRYPT).unwrap(), [CK_FALSE]);
            module.set(session, base, Template::new().flag(CKA_DERIVE, false)).unwrap();
            assert_eq!(derive(base, readable(None)), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
            let mut parameter = ecdh(CKD_NULL, b"", &[4; 65]);
            let mut m = mechanism_with(CKM_ECDH1_DERIVE, &mut parameter);
            let unfit = module.derive(session, &mut m, strict, readable(None));
            assert_eq!(unfit, Err(CKR_KEY_TYPE_INCONSISTENT));
        }
        let mut m = mechanism(CKM_SHA256);
        let refused = module.derive(session, &mut m, NOTHING, readable(None));
        assert_eq!(refused, Err(CKR_MECHANISM_INVALID));
        assert!(service.count(TOKEN, "derive_key") >= 4);
    });
}
