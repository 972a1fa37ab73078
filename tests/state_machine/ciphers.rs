//! Secret keys: made, encrypting, authenticating; with a key in the token, with
//! one that the module carries sealed, and with one that is in the module. The
//! answers are those of OpenSSL and of the standards' own examples.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, Rv, Template, call, ok};
use crate::vectors::hex;

pub const KEY: [u8; 16] = *b"sixteen byte key";
const IV: [u8; 16] = *b"initial  vector!";

pub fn secret(kind: CK_KEY_TYPE, value: &[u8], (token, sensitive): (bool, bool)) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, kind)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_ENCRYPT, true)
        .flag(CKA_DECRYPT, true)
        .flag(CKA_SIGN, true)
        .flag(CKA_VERIFY, true)
        .bytes(CKA_VALUE, value)
}

fn with(number: CK_MECHANISM_TYPE, parameter: &mut [u8]) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: number,
        pParameter: if parameter.is_empty() { null_mut() } else { parameter.as_mut_ptr().cast() },
        ulParameterLen: parameter.len() as CK_ULONG,
    }
}

/// Encrypts or decrypts, in parts of this length if there is one.
pub fn run(
    module: &Module,
    session: CK_SESSION_HANDLE,
    encrypt: bool,
    mechanism: &mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    data: &[u8],
    parts: Option<usize>,
) -> Rv<Vec<u8>> {
    let list = module.list();
    let m = std::ptr::from_mut(mechanism);
    let (init, whole, update, end) = if encrypt {
        (list.C_EncryptInit, list.C_Encrypt, list.C_EncryptUpdate, list.C_EncryptFinal)
    } else {
        (list.C_DecryptInit, list.C_Decrypt, list.C_DecryptUpdate, list.C_DecryptFinal)
    };
    let mut output = Vec::new();
    // SAFETY: all pointers are valid for the lengths beside them.
    unsafe {
        ok(init.unwrap()(session, m, key))?;
        let chunks: Vec<&[u8]> = parts.map_or(vec![data], |length| data.chunks(length).collect());
        for chunk in chunks {
            let (input, count) = (chunk.as_ptr().cast_mut(), chunk.len() as CK_ULONG);
            let function = if parts.is_none() { whole } else { update }.unwrap();
            let mut needed = 0;
            ok(function(session, input, count, null_mut(), &raw mut needed))?;
            if needed > 0 {
                // Too short by one: nothing is lost.
                let mut short = vec![0; needed as usize - 1];
                let mut length = short.len() as CK_ULONG;
                let rv = function(session, input, count, short.as_mut_ptr(), &raw mut length);
                if rv == CKR_OK {
                    // The bound was a bound.
                    output.extend_from_slice(&short[..length as usize]);
                    continue;
                }
                if rv != CKR_BUFFER_TOO_SMALL {
                    return Err(rv);
                }
            }
            let mut buffer = vec![0; needed as usize + 1];
            let mut length = needed;
            ok(function(session, input, count, buffer.as_mut_ptr(), &raw mut length))?;
            output.extend_from_slice(&buffer[..length as usize]);
        }
        if parts.is_some() {
            let mut buffer = vec![0; data.len() + 32];
            let mut length = buffer.len() as CK_ULONG;
            ok(end.unwrap()(session, buffer.as_mut_ptr(), &raw mut length))?;
            output.extend_from_slice(&buffer[..length as usize]);
        }
    }
    Ok(output)
}

#[test]
fn aes_says_what_openssl_says_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let openssl = OpenSsl::new();
        let module = Module::initialized();
        let session = module.user();
        let whole: Vec<u8> = (0..4096_u32).map(|byte| (byte * 7) as u8).collect();
        let odd = &whole[..1003];
        openssl.file("whole", &whole);
        openssl.file("odd", odd);
        // CK_AES_CTR_PARAMS: all bits count.
        let counter = [&128_u64.to_ne_bytes()[..], &IV].concat();
        for (number, parameter, name, padding) in [
            (CKM_AES_ECB, vec![], "-aes-128-ecb", "-nopad"),
            (CKM_AES_CBC, IV.to_vec(), "-aes-128-cbc", "-nopad"),
            (CKM_AES_CBC_PAD, IV.to_vec(), "-aes-128-cbc", ""),
            (CKM_AES_CTR, counter.clone(), "-aes-128-ctr", ""),
            (CKM_AES_OFB, IV.to_vec(), "-aes-128-ofb", ""),
            (CKM_AES_CFB128, IV.to_vec(), "-aes-128-cfb", ""),
            (CKM_AES_CFB8, IV.to_vec(), "-aes-128-cfb8", ""),
            (CKM_AES_CFB1, IV.to_vec(), "-aes-128-cfb1", ""),
        ] {
            let (file, data) =
                if padding.is_empty() { ("odd", odd) } else { ("whole", &whole[..]) };
            let (key, iv) = (hex(&KEY), hex(&IV));
            let mut arguments = vec!["enc", name, "-K", &key, "-in", file];
            if number != CKM_AES_ECB {
                arguments.extend(["-iv", &iv]);
            }
            if !padding.is_empty() {
                arguments.push(padding);
            }
            let expected = openssl.run(&arguments).unwrap();
            for place in PLACES {
                let key = module.create(session, secret(CKK_AES, &KEY, place)).unwrap();
                for parts in [None, Some(1000), Some(16), Some(33)] {
                    // A small part is a question each: not for all of it.
                    let few = place.1 && parts.is_some_and(|length| length < 1000);
                    if few && number != CKM_AES_CBC_PAD {
                        continue;
                    }
                    let mut parameter = parameter.clone();
                    let mut m = with(number, &mut parameter);
                    let done = run(&module, session, true, &mut m, key, data, parts).unwrap();
                    assert!(done == expected, "{number:#x} {place:?} {parts:?} encrypts wrongly");
                    let back = run(&module, session, false, &mut m, key, &done, parts).unwrap();
                    assert!(back == data, "{number:#x} {place:?} {parts:?} decrypts wrongly");
                }
            }
        }
        assert!(service.count(TOKEN, "encrypt") > 8 && service.count(TOKEN, "decrypt") > 8);
        // More than a step, and more than a frame.
        let long = vec![9; 1_200_000];
        let key = module.create(session, secret(CKK_AES, &KEY, (true, true))).unwrap();
        let local = module.create(session, secret(CKK_AES, &KEY, (false, false))).unwrap();
        for (number, parameter) in [(CKM_AES_CBC_PAD, IV.to_vec()), (CKM_AES_CTR, counter)] {
            let (mut one, mut other) = (parameter.clone(), parameter);
            let there =
                run(&module, session, true, &mut with(number, &mut one), key, &long, None).unwrap();
            let here =
                run(&module, session, true, &mut with(number, &mut other), local, &long, None)
                    .unwrap();
            assert!(there == here, "{number:#x} over several steps");
        }
    });
}

/// Hosts ask for the length first, and learn then that the data cannot be taken.
#[test]
fn no_length_is_told_of_data_that_cannot_be_taken() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let blocks = |number, length: CK_ULONG| {
            let refused = !length.is_multiple_of(16);
            (number, IV.to_vec(), length, refused, refused)
        };
        // The example of "AES with Counter": two bits that start at 1 count three blocks.
        let counter = [&2_u64.to_ne_bytes()[..], &[0; 15], &[1]].concat();
        let cases = [
            (CKM_AES_ECB, Vec::new(), 17, true, true),
            blocks(CKM_AES_CBC, 32),
            blocks(CKM_AES_CBC, 33),
            (CKM_AES_CBC_PAD, IV.to_vec(), 33, false, true),
            (CKM_AES_CTR, counter.clone(), 48, false, false),
            (CKM_AES_CTR, counter.clone(), 49, true, true),
        ];
        let mut data = [7; 64];
        for place in PLACES {
            let key = module.create(session, secret(CKK_AES, &KEY, place)).unwrap();
            for (number, parameter, length, encrypts, decrypts) in &cases {
                let mut parameter = parameter.clone();
                let mut m = with(*number, &mut parameter);
                let (data, length, mut told) = (data.as_mut_ptr(), *length, 0);
                assert_eq!(call!(module, C_EncryptInit(session, &raw mut m, key)), CKR_OK);
                let rv = call!(module, C_Encrypt(session, data, length, null_mut(), &raw mut told));
                assert_eq!(rv, if *encrypts { CKR_DATA_LEN_RANGE } else { CKR_OK }, "{number:#x}");
                assert_eq!(call!(module, C_DecryptInit(session, &raw mut m, key)), CKR_OK);
                let rv = call!(module, C_Decrypt(session, data, length, null_mut(), &raw mut told));
                let refused = if *decrypts { CKR_ENCRYPTED_DATA_LEN_RANGE } else { CKR_OK };
                assert_eq!(rv, refused, "{number:#x}");
                let both = CKF_ENCRYPT | CKF_DECRYPT;
                let list = module.list_3_2();
                // SAFETY: the session is open.
                assert_eq!(unsafe { list.C_SessionCancel.unwrap()(session, both) }, CKR_OK);
            }
            // In parts: the counter's last block is the end.
            let mut parameter = counter.clone();
            let mut m = with(CKM_AES_CTR, &mut parameter);
            assert_eq!(call!(module, C_EncryptInit(session, &raw mut m, key)), CKR_OK);
            let (mut output, data) = ([0; 64], data.as_mut_ptr());
            let mut part = |length| {
                let (output, mut room) = (output.as_mut_ptr(), 64);
                call!(module, C_EncryptUpdate(session, data, length, output, &raw mut room))
            };
            assert_eq!([part(48), part(1)], [CKR_OK, CKR_DATA_LEN_RANGE]);
        }
    });
}

#[test]
fn des_and_triple_des_say_what_openssl_says_wherever_the_key_is() {
    alone(|| {
        let service = service();
        service.admin(&["token", "set-policy", TOKEN, "compat"]);
        let openssl = OpenSsl::new();
        let module = Module::initialized();
        let session = module.user();
        // Bytes of odd parity, three different keys.
        let bytes: Vec<u8> =
            (0..24_u8).map(|byte| (byte << 1) | (byte.count_ones() as u8 & 1 ^ 1)).collect();
        let data = [3; 1000];
        openssl.file("data", &data);
        // DES is Triple DES with one key three times.
        let one = bytes[..8].repeat(3);
        for (number, kind, iv, name) in [
            (CKM_DES3_ECB, CKK_DES3, &[][..], "-des-ede3"),
            (CKM_DES3_CBC, CKK_DES3, &IV[..8], "-des-ede3-cbc"),
            (CKM_DES3_CBC_PAD, CKK_DES3, &IV[..8], "-des-ede3-cbc"),
            (CKM_DES_ECB, CKK_DES, &[], "-des-ede3"),
            (CKM_DES_CBC, CKK_DES, &IV[..8], "-des-ede3-cbc"),
            (CKM_DES_CBC_PAD, CKK_DES, &IV[..8], "-des-ede3-cbc"),
        ] {
            let (value, theirs) =
                if kind == CKK_DES { (&bytes[..8], &one) } else { (&bytes[..], &bytes) };
            let (key, vector) = (hex(theirs), hex(iv));
            let mut arguments = vec!["enc", name, "-K", &key, "-in", "data"];
            if !iv.is_empty() {
                arguments.extend(["-iv", &vector]);
            }
            if !matches!(number, CKM_DES3_CBC_PAD | CKM_DES_CBC_PAD) {
                arguments.push("-nopad");
            }
            let expected = openssl.run(&arguments).unwrap();
            for place in PLACES {
                let key = module.create(session, secret(kind, value, place)).unwrap();
                let mut parameter = iv.to_vec();
                let mut m = with(number, &mut parameter);
                let done = run(&module, session, true, &mut m, key, &data, Some(100)).unwrap();
                assert!(done == expected, "{number:#x} {place:?} encrypts wrongly");
                let back = run(&module, session, false, &mut m, key, &done, None).unwrap();
                assert!(back == data, "{number:#x} {place:?} decrypts wrongly");
            }
        }
        for (number, kind, length) in
            [(CKM_DES_KEY_GEN, CKK_DES, 8), (CKM_DES3_KEY_GEN, CKK_DES3, 24)]
        {
            let readable = Template::new().flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true);
            let key = module.generate_key(session, number, readable).unwrap();
            let value = module.get(session, key, CKA_VALUE).unwrap();
            assert_eq!(value.len(), length, "{kind:#x}");
            assert!(value.iter().all(|byte| byte.count_ones() % 2 == 1), "odd parity");
        }
    });
}

/// Test cases 4 of the GCM specification and 1 of NIST SP 800-38C.
#[test]
fn gcm_and_ccm_say_what_their_standards_say() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                .collect()
        };
        let mut iv = bytes("cafebabefacedbaddecaf888");
        let mut associated = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let mut gcm = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: iv.len() as CK_ULONG,
            ulIvBits: 96,
            pAAD: associated.as_mut_ptr(),
            ulAADLen: associated.len() as CK_ULONG,
            ulTagBits: 128,
        };
        let (mut nonce, mut header) = (bytes("10111213141516"), bytes("0001020304050607"));
        let mut ccm = CK_CCM_PARAMS {
            ulDataLen: 4,
            pNonce: nonce.as_mut_ptr(),
            ulNonceLen: nonce.len() as CK_ULONG,
            pAAD: header.as_mut_ptr(),
            ulAADLen: header.len() as CK_ULONG,
            ulMACLen: 4,
        };
        let gcm = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut gcm).cast(),
            ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
        };
        let ccm = CK_MECHANISM {
            mechanism: CKM_AES_CCM,
            pParameter: (&raw mut ccm).cast(),
            ulParameterLen: size_of::<CK_CCM_PARAMS>() as CK_ULONG,
        };
        for (mut m, key, plain, expected) in [
            (
                gcm,
                "feffe9928665731c6d6a8f9467308308",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                 1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                 21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091\
                 5bc94fbc3221a5db94fae95ae7121a47",
            ),
            (ccm, "404142434445464748494a4b4c4d4e4f", "20212223", "7162015b4dac255d"),
        ] {
            let (plain, expected) = (bytes(plain), bytes(expected));
            for place in PLACES {
                let key = module.create(session, secret(CKK_AES, &bytes(key), place)).unwrap();
                for parts in [None, Some(3)] {
                    let done = run(&module, session, true, &mut m, key, &plain, parts).unwrap();
                    assert_eq!(done, expected, "{place:?} {parts:?}");
                    let back = run(&module, session, false, &mut m, key, &done, parts).unwrap();
                    assert_eq!(back, plain, "{place:?} {parts:?}");
                    let mut wrong = done.clone();
                    wrong[0] ^= 1;
                    let back = run(&module, session, false, &mut m, key, &wrong, parts);
                    assert_eq!(back, Err(CKR_ENCRYPTED_DATA_INVALID));
                }
            }
        }
    });
}

/// RFC 4231 case 2 and RFC 4493 example 2.
#[test]
fn codes_are_those_of_the_rfcs_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let hmac = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
            0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
            0x64, 0xec, 0x38, 0x43,
        ];
        let cmac = [
            0x07, 0x0a, 0x16, 0xb4, 0x6b, 0x4d, 0x41, 0x44, 0xf7, 0x9b, 0xdd, 0x9d, 0xd0, 0x4a,
            0x28, 0x7c,
        ];
        let aes = [
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf,
            0x4f, 0x3c,
        ];
        let block = [
            0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93,
            0x17, 0x2a,
        ];
        let said = b"what do ya want for nothing?";
        for place in PLACES {
            for (kind, key, number, data, code) in [
                (CKK_GENERIC_SECRET, &b"Jefe"[..], CKM_SHA256_HMAC, &said[..], &hmac[..]),
                (CKK_AES, &aes[..], CKM_AES_CMAC, &block[..], &cmac[..]),
            ] {
                let key = module.create(session, secret(kind, key, place)).unwrap();
                assert_eq!(module.sign_with(session, number, key, data).unwrap(), code);
                module.verify_with(session, number, key, data, code).unwrap();
                let mut wrong = code.to_vec();
                wrong[3] ^= 1;
                let verified = module.verify_with(session, number, key, data, &wrong);
                assert_eq!(verified, Err(CKR_SIGNATURE_INVALID));
                let verified = module.verify_with(session, number, key, data, &code[1..]);
                assert_eq!(verified, Err(CKR_SIGNATURE_LEN_RANGE));
                // What a key may not do it does not.
                module.set(session, key, Template::new().flag(CKA_SIGN, false)).unwrap();
                let refused = module.sign_with(session, number, key, data);
                assert_eq!(refused, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
                module.verify_with(session, number, key, data, code).unwrap();
            }
        }
        assert!(service.count(TOKEN, "verify") >= 8, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn keys_are_generated() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let generate = |number, length: CK_ULONG, (token, sensitive): (bool, bool)| {
            let mut template = Template::new()
                .number(CKA_VALUE_LEN, length)
                .flag(CKA_TOKEN, token)
                .flag(CKA_SENSITIVE, sensitive)
                .flag(CKA_EXTRACTABLE, !sensitive)
                .flag(CKA_ENCRYPT, true)
                .flag(CKA_DECRYPT, true);
            let mut array = template.array();
            let (mut mechanism, mut key) = (with(number, &mut []), 0);
            let count = array.len() as CK_ULONG;
            let (m, array) = (&raw mut mechanism, array.as_mut_ptr());
            ok(call!(module, C_GenerateKey(session, m, array, count, &raw mut key))).map(|()| key)
        };
        for place in PLACES {
            for (number, length, kind) in [
                (CKM_AES_KEY_GEN, 32, CKK_AES),
                (CKM_GENERIC_SECRET_KEY_GEN, 20, CKK_GENERIC_SECRET),
            ] {
                let key = generate(number, length, place).unwrap();
                let get = |attribute| module.get(session, key, attribute);
                assert_eq!(get(CKA_KEY_TYPE).unwrap(), kind.to_ne_bytes());
                assert_eq!(get(CKA_VALUE_LEN).unwrap(), length.to_ne_bytes());
                assert_eq!(get(CKA_LOCAL).unwrap(), [CK_TRUE]);
                assert_eq!(get(CKA_KEY_GEN_MECHANISM).unwrap(), number.to_ne_bytes());
                assert_eq!(get(CKA_ALWAYS_SENSITIVE).unwrap(), [CK_BBOOL::from(place.1)]);
                if place.1 {
                    assert_eq!(get(CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
                } else {
                    assert_eq!(get(CKA_VALUE).unwrap().len(), length as usize);
                }
                if kind == CKK_AES {
                    let (mut iv, data) = (IV, b"not even a block");
                    let mut m = with(CKM_AES_CBC_PAD, &mut iv);
                    let done = run(&module, session, true, &mut m, key, data, None).unwrap();
                    let back = run(&module, session, false, &mut m, key, &done, None).unwrap();
                    assert_eq!(back, data);
                }
            }
        }
        assert_eq!(service.count(TOKEN, "generate_key"), 4);
        assert_eq!(generate(CKM_AES_KEY_GEN, 17, PLACES[0]), Err(CKR_KEY_SIZE_RANGE));
        assert_eq!(generate(CKM_RSA_PKCS, 16, PLACES[0]), Err(CKR_MECHANISM_INVALID));
    });
}
