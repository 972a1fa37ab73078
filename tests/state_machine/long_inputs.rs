//! Data that are longer than a frame of the wire, for keys that are in the
//! service: up to 16 MiB, whole and in parts; the answers are OpenSSL's.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::ciphers::{KEY, run, secret};
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, Rv, Template, call, call3, mechanism, mechanism_with, ok};
use crate::message_ciphers::{gcm, message};
use crate::newer_keys::ED25519;
use crate::vectors::hex;

/// The most that one operation takes, in bytes.
const MOST: usize = 16 << 20;

/// In the token, and sealed.
const PLACES: [(bool, bool); 2] = [(true, true), (false, true)];

/// No two frames' worth of it are alike.
fn data() -> Vec<u8> {
    (0..MOST / 4).flat_map(|at| (at as u32).wrapping_mul(0x9e37_79b1).to_le_bytes()).collect()
}

/// Signs in parts.
fn sign_in_parts(
    module: &Module,
    session: CK_SESSION_HANDLE,
    number: CK_MECHANISM_TYPE,
    key: CK_OBJECT_HANDLE,
    data: &[u8],
    part: usize,
) -> Rv<Vec<u8>> {
    module.sign_init(session, number, key)?;
    for part in data.chunks(part) {
        let (bytes, length) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        ok(call!(module, C_SignUpdate(session, bytes, length)))?;
    }
    let mut signature = vec![0; 64];
    let mut length = signature.len() as CK_ULONG;
    ok(call!(module, C_SignFinal(session, signature.as_mut_ptr(), &raw mut length)))?;
    signature.truncate(length as usize);
    Ok(signature)
}

#[test]
fn codes_and_signatures_of_16_mib_are_openssls() {
    alone(|| {
        let service = service();
        let openssl = OpenSsl::new();
        let module = Module::initialized();
        let session = module.user();
        let data = data();
        openssl.file("data", &data);
        let key = format!("hexkey:{}", hex(&KEY));
        let hmac = ["-macopt", &key, "-macopt", "digest:SHA256", "-in", "data", "-binary", "HMAC"];
        let cmac =
            ["-macopt", &key, "-macopt", "cipher:AES-128-CBC", "-in", "data", "-binary", "CMAC"];
        for (kind, number, arguments) in
            [(CKK_GENERIC_SECRET, CKM_SHA256_HMAC, &hmac[..]), (CKK_AES, CKM_AES_CMAC, &cmac[..])]
        {
            let expected = openssl.run(&[&["mac"], arguments].concat()).unwrap();
            for place in PLACES {
                let key = module.create(session, secret(kind, &KEY, place)).unwrap();
                let code = module.sign_with(session, number, key, &data).unwrap();
                assert_eq!(code, expected, "{number:#x} {place:?}");
                let code = sign_in_parts(&module, session, number, key, &data, 3 << 20).unwrap();
                assert_eq!(code, expected, "{number:#x} {place:?} in parts");
                module.verify_with(session, number, key, &data, &code).unwrap();
                let verified = module.verify_with(session, number, key, &data[1..], &code);
                assert_eq!(verified, Err(CKR_SIGNATURE_INVALID));
            }
        }
        // Message by message, and one of them is short.
        let key = module.create(session, secret(CKK_GENERIC_SECRET, &KEY, PLACES[0])).unwrap();
        let mut m = mechanism(CKM_SHA256_HMAC);
        assert_eq!(call3!(module, C_MessageSignInit(session, &raw mut m, key)), CKR_OK);
        for data in [&data[..2_000_000], &data[..9]] {
            let (bytes, length) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            let mut code = [0; 32];
            let (mut size, code_at) = (32, code.as_mut_ptr());
            let s = &raw mut size;
            let rv =
                call3!(module, C_SignMessage(session, null_mut(), 0, bytes, length, code_at, s));
            assert_eq!(rv, CKR_OK);
            module.verify_with(session, CKM_SHA256_HMAC, key, data, &code).unwrap();
        }
        let public = Template::new().bytes(CKA_EC_PARAMS, ED25519);
        let private = Template::new().flag(CKA_TOKEN, true);
        let (public, private) =
            module.generate(session, CKM_EC_EDWARDS_KEY_PAIR_GEN, public, private).unwrap();
        let signature = module.sign_with(session, CKM_EDDSA, private, &data).unwrap();
        let point = module.get(session, public, CKA_PUBLIC_KEY_INFO).unwrap();
        openssl.file("public", &point);
        openssl.file("signature", &signature);
        let verify = [
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            "public",
            "-keyform",
            "DER",
            "-in",
            "data",
            "-sigfile",
            "signature",
        ];
        openssl.run(&verify).unwrap();
        // Each counts once, however many frames it came in.
        assert_eq!(service.count(TOKEN, "sign"), 11, "{:?}", service.counts(TOKEN));
        assert_eq!(service.count(TOKEN, "verify"), 10, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn gcm_of_16_mib_goes_both_ways() {
    alone(|| {
        let service = service();
        let openssl = OpenSsl::new();
        let module = Module::initialized();
        let session = module.user();
        let data = data();
        openssl.file("data", &data);
        let mut iv = *b"twelve bytes";
        // The first counter block of the text (NIST SP 800-38D, section 7.1).
        let counter = [&iv[..], &[0, 0, 0, 2]].concat();
        let (key, counter) = (hex(&KEY), hex(&counter));
        let arguments = ["enc", "-aes-128-ctr", "-K", &key, "-iv", &counter, "-in", "data"];
        let expected = openssl.run(&arguments).unwrap();
        let local = module.create(session, secret(CKK_AES, &KEY, (false, false))).unwrap();
        let mut p = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        let mut m = mechanism_with(CKM_AES_GCM, &mut p);
        for place in PLACES {
            let key = module.create(session, secret(CKK_AES, &KEY, place)).unwrap();
            for parts in [None, Some(5_000_000)] {
                let sealed = run(&module, session, true, &mut m, key, &data, parts).unwrap();
                assert!(sealed[..MOST] == expected, "{place:?} {parts:?}");
                // The tag is checked by a key that is not in the service.
                let opened = run(&module, session, false, &mut m, local, &sealed, None).unwrap();
                assert!(opened == data, "{place:?} {parts:?}");
                let opened = run(&module, session, false, &mut m, key, &sealed, parts).unwrap();
                assert!(opened == data, "{place:?} {parts:?}");
            }
            let begin = call3!(module, C_MessageEncryptInit(session, &raw mut m, key));
            assert_eq!(begin, CKR_OK);
            let mut tag = [0; 16];
            let mut own = iv;
            let mut p = gcm(&mut own, CKG_NO_GENERATE, &mut tag);
            let whole = message(&module, session, true, &mut p, b"", &data, None).unwrap();
            assert!(whole == expected, "{place:?} as a message");
            assert_eq!(call3!(module, C_MessageEncryptFinal(session)), CKR_OK);
        }
        assert!(service.count(TOKEN, "decrypt") >= 4, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn one_byte_more_is_too_much_and_ends_the_operation() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let data = vec![7; MOST + 1];
        for place in [PLACES[0], (false, false)] {
            let key = module.create(session, secret(CKK_AES, &KEY, place)).unwrap();
            let number = CKM_AES_CMAC;
            let refused = module.sign_with(session, number, key, &data);
            assert_eq!(refused, Err(CKR_DATA_LEN_RANGE), "{place:?}");
            let refused = sign_in_parts(&module, session, number, key, &data, MOST);
            assert_eq!(refused, Err(CKR_DATA_LEN_RANGE), "{place:?}");
            // It has ended.
            let again = module.sign(session, &data[..9]);
            assert_eq!(again, Err(CKR_OPERATION_NOT_INITIALIZED));
            let (mut iv, mut tag) = ([0; 12], [0; 16]);
            let mut p = CK_GCM_PARAMS {
                pIv: iv.as_mut_ptr(),
                ulIvLen: 12,
                ulIvBits: 96,
                pAAD: null_mut(),
                ulAADLen: 0,
                ulTagBits: 128,
            };
            let mut m = mechanism_with(CKM_AES_GCM, &mut p);
            for parts in [None, Some(MOST)] {
                let refused = run(&module, session, true, &mut m, key, &data, parts);
                assert_eq!(refused, Err(CKR_DATA_LEN_RANGE), "{place:?} {parts:?}");
                let longer = [&data[..], &tag].concat();
                let refused = run(&module, session, false, &mut m, key, &longer, parts);
                assert_eq!(refused, Err(CKR_ENCRYPTED_DATA_LEN_RANGE), "{place:?} {parts:?}");
            }
            let begin = call3!(module, C_MessageEncryptInit(session, &raw mut m, key));
            assert_eq!(begin, CKR_OK);
            let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut tag);
            let refused = message(&module, session, true, &mut p, b"", &data, None);
            assert_eq!(refused, Err(CKR_DATA_LEN_RANGE), "{place:?} as a message");
            assert_eq!(call3!(module, C_MessageEncryptFinal(session)), CKR_OK);
            // What is associated goes ahead, and has to fit into a frame.
            if place.0 {
                let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut tag);
                let begin = call3!(module, C_MessageEncryptInit(session, &raw mut m, key));
                assert_eq!(begin, CKR_OK);
                let refused = message(&module, session, true, &mut p, &data, b"text", None);
                assert_eq!(refused, Err(CKR_DATA_LEN_RANGE));
                assert_eq!(call3!(module, C_MessageEncryptFinal(session)), CKR_OK);
            }
            module.sign_with(session, number, key, &data[..9]).unwrap();
        }
        // The module itself says so: nothing was sent.
        assert_eq!(service.count(TOKEN, "sign"), 1, "{:?}", service.counts(TOKEN));
        assert_eq!(service.count(TOKEN, "encrypt"), 0, "{:?}", service.counts(TOKEN));
    });
}
