//! Raw C calls in every order that hosts are known to make, and some that
//! none should: what the standard says of operations, buffers and arguments.

mod common;

use std::collections::{HashMap, HashSet};
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::alone::{TOKEN, alone, service};
use common::raw::{Module, P256, Rv, Template, mechanism, ok};
use cryptoki_sys::*;
use libloading::Library;

/// A digest to sign.
const DIGEST: [u8; 32] = [7; 32];

/// An object or session handle that nothing has.
const NOTHING: CK_ULONG = 0x7fff_fff0;

// ---- operations --------------------------------------------------------------

#[test]
fn an_operation_is_begun_once() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let mut sha = mechanism(CKM_SHA256);
        let rsa = &raw mut rsa;
        let sha = &raw mut sha;
        let begin = |what: &str| match what {
            "sign" => call!(module, C_SignInit(session, rsa, private)),
            "verify" => call!(module, C_VerifyInit(session, rsa, public)),
            "encrypt" => call!(module, C_EncryptInit(session, rsa, public)),
            "decrypt" => call!(module, C_DecryptInit(session, rsa, private)),
            "digest" => call!(module, C_DigestInit(session, sha)),
            _ => call!(module, C_FindObjectsInit(session, null_mut(), 0)),
        };
        let all = ["sign", "verify", "encrypt", "decrypt", "digest", "find"];
        // One of each kind may be active at the same time.
        for what in all {
            assert_eq!(begin(what), CKR_OK, "{what}");
        }
        for what in all {
            assert_eq!(begin(what), CKR_OPERATION_ACTIVE, "{what}");
        }
        // What is refused does not end what is active.
        assert!(module.sign(session, b"input").is_ok());
        assert_eq!(call!(module, C_FindObjectsFinal(session)), CKR_OK);
        assert_eq!(begin("find"), CKR_OK);
    });
}

#[test]
fn a_null_mechanism_cancels() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let none: CK_MECHANISM_PTR = null_mut();
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let mut sha = mechanism(CKM_SHA256);
        let (mut buffer, mut length) = ([0_u8; 512], 512);
        let (buffer, length) = (buffer.as_mut_ptr(), &raw mut length);
        assert_eq!(call!(module, C_SignInit(session, &raw mut rsa, private)), CKR_OK);
        assert_eq!(call!(module, C_SignInit(session, none, 0)), CKR_OK);
        assert_eq!(
            call!(module, C_Sign(session, buffer, 1, buffer, length)),
            CKR_OPERATION_NOT_INITIALIZED
        );
        assert_eq!(call!(module, C_VerifyInit(session, &raw mut rsa, public)), CKR_OK);
        assert_eq!(call!(module, C_VerifyInit(session, none, 0)), CKR_OK);
        assert_eq!(
            call!(module, C_Verify(session, buffer, 1, buffer, 256)),
            CKR_OPERATION_NOT_INITIALIZED
        );
        assert_eq!(call!(module, C_EncryptInit(session, &raw mut rsa, public)), CKR_OK);
        assert_eq!(call!(module, C_EncryptInit(session, none, 0)), CKR_OK);
        assert_eq!(
            call!(module, C_Encrypt(session, buffer, 1, buffer, length)),
            CKR_OPERATION_NOT_INITIALIZED
        );
        assert_eq!(call!(module, C_DecryptInit(session, &raw mut rsa, private)), CKR_OK);
        assert_eq!(call!(module, C_DecryptInit(session, none, 0)), CKR_OK);
        assert_eq!(
            call!(module, C_Decrypt(session, buffer, 256, buffer, length)),
            CKR_OPERATION_NOT_INITIALIZED
        );
        assert_eq!(call!(module, C_DigestInit(session, &raw mut sha)), CKR_OK);
        assert_eq!(call!(module, C_DigestInit(session, none)), CKR_OK);
        assert_eq!(
            call!(module, C_Digest(session, buffer, 1, buffer, length)),
            CKR_OPERATION_NOT_INITIALIZED
        );
    });
}

#[test]
fn a_failed_operation_is_over_and_the_session_works_again() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let (rsa_public, rsa) = module.generate_rsa(session, true);
        let (_, ec) = module.generate_ec(session, P256, true);
        let too_long = [1; 300];
        for (number, key, data, expected) in [
            (CKM_RSA_PKCS, rsa, &too_long[..], CKR_DATA_LEN_RANGE),
            (CKM_RSA_X_509, rsa, &too_long[..], CKR_DATA_LEN_RANGE),
            (CKM_ECDSA, ec, &[][..], CKR_DATA_LEN_RANGE),
        ] {
            let failed = module.sign_with(session, number, key, data);
            assert_eq!(failed, Err(expected), "{number:#x}");
            assert_eq!(module.sign(session, data), Err(CKR_OPERATION_NOT_INITIALIZED));
            assert!(module.sign_with(session, number, key, &[1; 32]).is_ok(), "{number:#x}");
        }
        // A signature that is wrong, or of a wrong length.
        let good = module.sign_with(session, CKM_SHA256_RSA_PKCS, rsa, b"data").unwrap();
        let mut wrong = good.clone();
        wrong[20] ^= 1;
        let verify = |signature: &[u8]| {
            module.verify_with(session, CKM_SHA256_RSA_PKCS, rsa_public, b"data", signature)
        };
        assert_eq!(verify(&wrong), Err(CKR_SIGNATURE_INVALID));
        assert_eq!(verify(&good[1..]), Err(CKR_SIGNATURE_LEN_RANGE));
        assert_eq!(verify(&good), Ok(()));
        // Ciphertext that is none.
        let decrypt = |input: &mut [u8]| {
            let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
                hashAlg: CKM_SHA256,
                mgf: CKG_MGF1_SHA256,
                source: CKZ_DATA_SPECIFIED,
                pSourceData: null_mut(),
                ulSourceDataLen: 0,
            };
            let mut mechanism = CK_MECHANISM {
                mechanism: CKM_RSA_PKCS_OAEP,
                pParameter: (&raw mut oaep).cast(),
                ulParameterLen: size_of::<CK_RSA_PKCS_OAEP_PARAMS>() as CK_ULONG,
            };
            assert_eq!(call!(module, C_DecryptInit(session, &raw mut mechanism, rsa)), CKR_OK);
            let (mut output, mut length) = ([0; 256], 256);
            let count = input.len() as CK_ULONG;
            call!(module, C_Decrypt(session, input.as_mut_ptr(), count, output.as_mut_ptr(), &raw mut length))
        };
        assert_eq!(decrypt(&mut [0x11; 256]), CKR_ENCRYPTED_DATA_INVALID);
        assert_eq!(decrypt(&mut [0x11; 255]), CKR_ENCRYPTED_DATA_LEN_RANGE);
        assert!(service.count(TOKEN, "sign") >= 4);
    });
}

#[test]
fn a_length_query_and_a_short_buffer_keep_the_signature_and_ask_nobody() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for (number, key, length) in [
            (CKM_ECDSA, module.generate_ec(session, P256, true).1, 64),
            (CKM_RSA_PKCS, module.generate_rsa(session, true).1, 256),
        ] {
            let before = service.count(TOKEN, "sign");
            module.sign_init(session, number, key).unwrap();
            let data = DIGEST.as_ptr().cast_mut();
            let mut needed = 0;
            assert_eq!(call!(module, C_Sign(session, data, 32, null_mut(), &raw mut needed)), CKR_OK);
            assert_eq!(needed, length);
            let mut buffer = [0xaa; 512];
            let mut short = length - 1;
            let rv = call!(module, C_Sign(session, data, 32, buffer.as_mut_ptr(), &raw mut short));
            assert_eq!((rv, short), (CKR_BUFFER_TOO_SMALL, length));
            assert_eq!(buffer, [0xaa; 512]);
            assert_eq!(service.count(TOKEN, "sign"), before);
            let rv = call!(module, C_Sign(session, data, 32, buffer.as_mut_ptr(), &raw mut short));
            assert_eq!((rv, short), (CKR_OK, length));
            assert!(buffer[length as usize..].iter().all(|byte| *byte == 0xaa));
            assert_eq!(service.count(TOKEN, "sign"), before + 1);
        }
    });
}

#[test]
fn a_short_buffer_in_decrypt_does_not_ask_the_service_again() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, true);
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let (mut secret, mut encrypted) = (*b"forty-two", [0; 256]);
        let mut length = 256;
        assert_eq!(call!(module, C_EncryptInit(session, &raw mut rsa, public)), CKR_OK);
        let rv = call!(module, C_Encrypt(
            session, secret.as_mut_ptr(), 9, encrypted.as_mut_ptr(), &raw mut length
        ));
        assert_eq!((rv, length), (CKR_OK, 256));

        assert_eq!(call!(module, C_DecryptInit(session, &raw mut rsa, private)), CKR_OK);
        let input = encrypted.as_mut_ptr();
        let mut length = 0;
        assert_eq!(call!(module, C_Decrypt(session, input, 256, null_mut(), &raw mut length)), CKR_OK);
        assert!((9..=256).contains(&length), "{length}");
        let mut buffer = [0; 256];
        for short in [0, 1, 8] {
            let mut length = short;
            let rv = call!(module, C_Decrypt(session, input, 256, buffer.as_mut_ptr(), &raw mut length));
            assert_eq!((rv, length), (CKR_BUFFER_TOO_SMALL, 9));
        }
        let mut length = 9;
        let rv = call!(module, C_Decrypt(session, input, 256, buffer.as_mut_ptr(), &raw mut length));
        assert_eq!((rv, length, &buffer[..9]), (CKR_OK, 9, &b"forty-two"[..]));
        assert_eq!(service.count(TOKEN, "decrypt"), 1);
        let rv = call!(module, C_Decrypt(session, input, 256, buffer.as_mut_ptr(), &raw mut length));
        assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
    });
}

#[test]
fn data_may_come_in_parts() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_ec(session, P256, true);
        module.sign_init(session, CKM_ECDSA_SHA256, private).unwrap();
        let data: Vec<u8> = (0..100_000_u32).map(|byte| byte as u8).collect();
        for part in data.chunks(7919) {
            let rv = call!(module, C_SignUpdate(session, part.as_ptr().cast_mut(), part.len() as CK_ULONG));
            assert_eq!(rv, CKR_OK);
        }
        let mut length = 0;
        assert_eq!(call!(module, C_SignFinal(session, null_mut(), &raw mut length)), CKR_OK);
        assert_eq!(length, 64);
        let mut signature = [0; 64];
        assert_eq!(call!(module, C_SignFinal(session, signature.as_mut_ptr(), &raw mut length)), CKR_OK);
        module.verify_with(session, CKM_ECDSA_SHA256, public, &data, &signature).unwrap();
        let mut ecdsa = mechanism(CKM_ECDSA_SHA256);
        assert_eq!(call!(module, C_VerifyInit(session, &raw mut ecdsa, public)), CKR_OK);
        for part in data.chunks(1000) {
            let rv = call!(module, C_VerifyUpdate(session, part.as_ptr().cast_mut(), part.len() as CK_ULONG));
            assert_eq!(rv, CKR_OK);
        }
        assert_eq!(call!(module, C_VerifyFinal(session, signature.as_mut_ptr(), 64)), CKR_OK);
        // Nothing at all is data too.
        let empty = module.sign_with(session, CKM_ECDSA_SHA256, private, b"").unwrap();
        module.verify_with(session, CKM_ECDSA_SHA256, public, b"", &empty).unwrap();
    });
}

// ---- arguments ---------------------------------------------------------------

type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64) -> CK_RV;

/// Calls a function by name with these arguments and zeros behind them, which
/// the C calling conventions of our platforms let it ignore.
fn by_name(library: &Library, name: &str, arguments: &[u64]) -> CK_RV {
    let mut all = [0; 9];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f, g, h, i] = all;
    // SAFETY: every pointer among the arguments is null or valid.
    unsafe { library.get::<Any>(name.as_bytes()).unwrap()(a, b, c, d, e, f, g, h, i) }
}

#[test]
fn nothing_works_before_c_initialize() {
    alone(|| {
        // SAFETY: the module runs nothing when it is loaded.
        let library = unsafe { Library::new(common::module()) }.unwrap();
        for (name, arguments) in keyward_pkcs11::abi::FUNCTIONS {
            let expected = match *name {
                "C_Initialize" => continue,
                "C_GetFunctionList" => CKR_ARGUMENTS_BAD,
                _ => CKR_CRYPTOKI_NOT_INITIALIZED,
            };
            assert_eq!(by_name(&library, name, &[]), expected, "{name} with zeros");
            // Lengths without pointers.
            let lengths: Vec<u64> = arguments
                .iter()
                .map(|(_, kind)| u64::from(*kind == "CK_ULONG"))
                .collect();
            let rv = by_name(&library, name, &lengths);
            assert_eq!(rv, expected, "{name} with lengths");
        }
    });
}

#[test]
fn zeros_in_every_argument_are_refused_and_do_no_harm() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        // SAFETY: the module is loaded already.
        let library = unsafe { Library::new(common::module()) }.unwrap();
        for (name, arguments) in keyward_pkcs11::abi::FUNCTIONS {
            if matches!(*name, "C_Initialize" | "C_Finalize") {
                continue;
            }
            let rv = by_name(&library, name, &[]);
            let expected: &[CK_RV] = match arguments[0].0 {
                "hSession" => &[CKR_SESSION_HANDLE_INVALID, CKR_FUNCTION_NOT_SUPPORTED],
                _ => match *name {
                    "C_OpenSession" => &[CKR_SESSION_PARALLEL_NOT_SUPPORTED],
                    "C_GetMechanismInfo" => &[CKR_ARGUMENTS_BAD],
                    "C_CloseAllSessions" => &[CKR_OK],
                    // Blocking is not offered.
                    "C_WaitForSlotEvent" => &[CKR_FUNCTION_NOT_SUPPORTED],
                    _ => &[CKR_ARGUMENTS_BAD],
                },
            };
            assert!(expected.contains(&rv), "{name}: {rv:#x}");
        }
        assert!(module.open(0, 0).is_ok());
    });
}

/// What each function says to a good session (S), slot (0) or key (K) and
/// null for every pointer, with a length of 1 where one is asked for.
#[test]
fn null_pointers_are_bad_arguments() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let s = module.user();
        let (_, k) = module.generate_rsa(s, false);
        let wrong = CKR_ARGUMENTS_BAD;
        let idle = CKR_OPERATION_NOT_INITIALIZED;
        let later = CKR_FUNCTION_NOT_SUPPORTED;
        let serial = CKF_SERIAL_SESSION;
        let table: &[(&str, &[u64], CK_RV)] = &[
            ("C_GetInfo", &[], wrong),
            ("C_GetFunctionList", &[], wrong),
            ("C_GetSlotList", &[1, 0, 0], wrong),
            ("C_GetSlotInfo", &[0, 0], wrong),
            ("C_GetTokenInfo", &[0, 0], wrong),
            ("C_WaitForSlotEvent", &[CKF_DONT_BLOCK, 0, 0], CKR_NO_EVENT),
            ("C_GetMechanismList", &[0, 0, 0], wrong),
            ("C_GetMechanismInfo", &[0, CKM_RSA_PKCS, 0], wrong),
            ("C_InitToken", &[0, 0, 1, 0], wrong),
            ("C_InitPIN", &[s, 0, 1], CKR_USER_NOT_LOGGED_IN),
            ("C_SetPIN", &[s, 0, 1, 0, 1], wrong),
            ("C_OpenSession", &[0, serial, 0, 0, 0], wrong),
            ("C_GetSessionInfo", &[s, 0], wrong),
            ("C_GetOperationState", &[s, 0, 0], later),
            ("C_SetOperationState", &[s, 0, 1, 0, 0], later),
            ("C_Login", &[s, CKU_USER, 0, 1], CKR_USER_ALREADY_LOGGED_IN),
            ("C_CreateObject", &[s, 0, 1, 0], wrong),
            ("C_CopyObject", &[s, k, 0, 1, 0], wrong),
            ("C_GetObjectSize", &[s, k, 0], wrong),
            ("C_GetAttributeValue", &[s, k, 0, 1], wrong),
            ("C_SetAttributeValue", &[s, k, 0, 1], wrong),
            ("C_FindObjectsInit", &[s, 0, 1], wrong),
            ("C_FindObjects", &[s, 0, 1, 0], wrong),
            ("C_FindObjectsFinal", &[s], idle),
            ("C_EncryptInit", &[s, 0, k], CKR_OK),
            ("C_Encrypt", &[s, 0, 1, 0, 0], idle),
            ("C_EncryptUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_EncryptFinal", &[s, 0, 0], idle),
            ("C_DecryptInit", &[s, 0, k], CKR_OK),
            ("C_Decrypt", &[s, 0, 1, 0, 0], idle),
            ("C_DecryptUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_DecryptFinal", &[s, 0, 0], idle),
            ("C_DigestInit", &[s, 0], CKR_OK),
            ("C_Digest", &[s, 0, 1, 0, 0], idle),
            ("C_DigestUpdate", &[s, 0, 1], idle),
            ("C_DigestKey", &[s, k], later),
            ("C_DigestFinal", &[s, 0, 0], idle),
            ("C_SignInit", &[s, 0, k], CKR_OK),
            ("C_Sign", &[s, 0, 1, 0, 0], idle),
            ("C_SignUpdate", &[s, 0, 1], idle),
            ("C_SignFinal", &[s, 0, 0], idle),
            ("C_SignRecoverInit", &[s, 0, k], later),
            ("C_SignRecover", &[s, 0, 1, 0, 0], later),
            ("C_VerifyInit", &[s, 0, k], CKR_OK),
            ("C_Verify", &[s, 0, 1, 0, 1], idle),
            ("C_VerifyUpdate", &[s, 0, 1], idle),
            ("C_VerifyFinal", &[s, 0, 1], idle),
            ("C_VerifyRecoverInit", &[s, 0, k], later),
            ("C_VerifyRecover", &[s, 0, 1, 0, 0], later),
            ("C_DigestEncryptUpdate", &[s, 0, 1, 0, 0], later),
            ("C_DecryptDigestUpdate", &[s, 0, 1, 0, 0], later),
            ("C_SignEncryptUpdate", &[s, 0, 1, 0, 0], later),
            ("C_DecryptVerifyUpdate", &[s, 0, 1, 0, 0], later),
            ("C_GenerateKey", &[s, 0, 0, 1, 0], later),
            ("C_GenerateKeyPair", &[s, 0, 0, 1, 0, 1, 0, 0], wrong),
            ("C_WrapKey", &[s, 0, k, k, 0, 0], later),
            ("C_UnwrapKey", &[s, 0, k, 0, 1, 0, 1, 0], later),
            ("C_DeriveKey", &[s, 0, k, 0, 1, 0], later),
            ("C_SeedRandom", &[s, 0, 1], CKR_RANDOM_SEED_NOT_SUPPORTED),
            ("C_GenerateRandom", &[s, 0, 1], wrong),
            ("C_GetFunctionStatus", &[s], CKR_FUNCTION_NOT_PARALLEL),
            ("C_CancelFunction", &[s], CKR_FUNCTION_NOT_PARALLEL),
            // These end something, so they come last.
            ("C_DestroyObject", &[s, 0], CKR_OBJECT_HANDLE_INVALID),
            ("C_Logout", &[s], CKR_OK),
            ("C_CloseSession", &[s], CKR_OK),
            ("C_CloseAllSessions", &[0], CKR_OK),
            ("C_Initialize", &[], CKR_CRYPTOKI_ALREADY_INITIALIZED),
            ("C_Finalize", &[], CKR_OK),
        ];
        // SAFETY: the module is loaded already.
        let library = unsafe { Library::new(common::module()) }.unwrap();
        for (name, arguments, expected) in table {
            let rv = by_name(&library, name, arguments);
            assert_eq!(rv, *expected, "{name}: {rv:#x}, not {expected:#x}");
        }
        let listed: HashSet<&str> = table.iter().map(|(name, ..)| *name).collect();
        for (name, _) in keyward_pkcs11::abi::FUNCTIONS {
            assert!(listed.contains(name), "{name} is missing in the table");
        }
    });
}

#[test]
fn null_pointers_in_the_middle_of_an_operation_end_it() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let mut sha = mechanism(CKM_SHA256);
        let (rsa, sha) = (&raw mut rsa, &raw mut sha);
        let (mut buffer, mut length) = ([0_u8; 512], 512);
        let (p, l) = (buffer.as_mut_ptr(), &raw mut length);
        let none: CK_BYTE_PTR = null_mut();
        let sign = || assert_eq!(call!(module, C_SignInit(session, rsa, private)), CKR_OK);
        let verify = || assert_eq!(call!(module, C_VerifyInit(session, rsa, public)), CKR_OK);
        let encrypt = || assert_eq!(call!(module, C_EncryptInit(session, rsa, public)), CKR_OK);
        let decrypt = || assert_eq!(call!(module, C_DecryptInit(session, rsa, private)), CKR_OK);
        let digest = || assert_eq!(call!(module, C_DigestInit(session, sha)), CKR_OK);
        let bad = CKR_ARGUMENTS_BAD;
        sign();
        assert_eq!(call!(module, C_Sign(session, none, 1, p, l)), bad);
        sign();
        assert_eq!(call!(module, C_Sign(session, p, 1, p, null_mut())), bad);
        sign();
        assert_eq!(call!(module, C_SignUpdate(session, none, 1)), bad);
        sign();
        assert_eq!(call!(module, C_SignFinal(session, p, null_mut())), bad);
        verify();
        assert_eq!(call!(module, C_Verify(session, none, 1, p, 256)), bad);
        verify();
        assert_eq!(call!(module, C_Verify(session, p, 1, none, 256)), bad);
        verify();
        assert_eq!(call!(module, C_VerifyUpdate(session, none, 1)), bad);
        verify();
        assert_eq!(call!(module, C_VerifyFinal(session, none, 256)), bad);
        encrypt();
        assert_eq!(call!(module, C_Encrypt(session, none, 1, p, l)), bad);
        encrypt();
        assert_eq!(call!(module, C_Encrypt(session, p, 1, none, null_mut())), bad);
        encrypt();
        assert_eq!(call!(module, C_EncryptUpdate(session, p, 1, p, null_mut())), bad);
        decrypt();
        assert_eq!(call!(module, C_Decrypt(session, none, 256, p, l)), bad);
        decrypt();
        assert_eq!(call!(module, C_DecryptUpdate(session, none, 1, p, l)), bad);
        digest();
        assert_eq!(call!(module, C_Digest(session, none, 1, p, l)), bad);
        digest();
        assert_eq!(call!(module, C_DigestUpdate(session, none, 1)), bad);
        digest();
        assert_eq!(call!(module, C_DigestFinal(session, p, null_mut())), bad);
        digest();
        // A length that no memory has.
        assert_eq!(call!(module, C_DigestUpdate(session, p, CK_ULONG::MAX)), bad);
    });
}

#[test]
fn handles_that_are_no_handles() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        for stranger in [0, NOTHING, CK_ULONG::MAX] {
            assert_eq!(module.sign_init(stranger, CKM_RSA_PKCS, private), Err(CKR_SESSION_HANDLE_INVALID));
            assert_eq!(module.sign_init(session, CKM_RSA_PKCS, stranger), Err(CKR_KEY_HANDLE_INVALID));
            assert_eq!(module.get(session, stranger, CKA_CLASS), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(module.set(session, stranger, Template::new()), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(module.copy(session, stranger, Template::new()), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(
                call!(module, C_DestroyObject(session, stranger)),
                CKR_OBJECT_HANDLE_INVALID
            );
            assert_eq!(call!(module, C_CloseSession(stranger)), CKR_SESSION_HANDLE_INVALID);
        }
        assert_eq!(module.open(NOTHING, 0), Err(CKR_SLOT_ID_INVALID));
        // A key of the wrong kind.
        assert_eq!(module.sign_init(session, CKM_RSA_PKCS, public), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(module.sign_init(session, CKM_ECDSA, private), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(module.sign_init(session, CKM_AES_CBC, private), Err(CKR_MECHANISM_INVALID));
        assert_eq!(module.sign_init(session, CKM_SHA256, private), Err(CKR_MECHANISM_INVALID));
        assert_eq!(
            module.sign_init(session, CKM_RSA_PKCS_PSS, private),
            Err(CKR_MECHANISM_PARAM_INVALID)
        );
        // A session that was.
        let closed = module.open(0, 0).unwrap();
        assert_eq!(call!(module, C_CloseSession(closed)), CKR_OK);
        assert_eq!(call!(module, C_CloseSession(closed)), CKR_SESSION_HANDLE_INVALID);
        assert_ne!(module.open(0, 0).unwrap(), closed);
    });
}

#[test]
fn attributes_are_all_dealt_with_whatever_becomes_of_one() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, key) = module.generate_rsa(session, true);
        let read = |entries: &mut [CK_ATTRIBUTE]| {
            let count = entries.len() as CK_ULONG;
            call!(module, C_GetAttributeValue(session, key, entries.as_mut_ptr(), count))
        };
        let entry = |attribute, value: &mut [u8]| CK_ATTRIBUTE {
            type_: attribute,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let (mut class, mut bits, mut secret, mut modulus, mut exponent) =
            ([0; 8], [0; 8], [0; 256], [0; 256], [0; 16]);
        let mut entries = [
            entry(CKA_CLASS, &mut class),
            entry(CKA_PRIVATE_EXPONENT, &mut secret),
            entry(CKA_VALUE_LEN, &mut bits),
            entry(CKA_MODULUS, &mut modulus[..10]),
            entry(CKA_PUBLIC_EXPONENT, &mut exponent),
            CK_ATTRIBUTE { type_: CKA_MODULUS, pValue: null_mut(), ulValueLen: 77 },
        ];
        assert_eq!(read(&mut entries), CKR_ATTRIBUTE_SENSITIVE);
        let lengths: Vec<CK_ULONG> = entries.iter().map(|entry| entry.ulValueLen).collect();
        let not_there = CK_UNAVAILABLE_INFORMATION;
        assert_eq!(lengths, [8, not_there, not_there, not_there, 3, 256]);
        assert_eq!(CK_ULONG::from_ne_bytes(class), CKO_PRIVATE_KEY);
        assert_eq!(exponent[..3], [1, 0, 1]);
        assert_eq!((secret, modulus), ([0; 256], [0; 256]), "nothing else is written to");

        assert_eq!(
            read(&mut [entry(CKA_MODULUS, &mut modulus[..255]), entry(CKA_CLASS, &mut class)]),
            CKR_BUFFER_TOO_SMALL
        );
        assert_eq!(
            read(&mut [entry(CKA_VALUE_LEN, &mut bits), entry(CKA_CLASS, &mut class)]),
            CKR_ATTRIBUTE_TYPE_INVALID
        );
        assert_eq!(read(&mut [entry(CKA_MODULUS, &mut modulus)]), CKR_OK);
        assert_ne!(modulus[0], 0);
        assert_eq!(read(&mut []), CKR_OK);
        // Each secret part of an RSA key.
        for part in [
            CKA_PRIVATE_EXPONENT,
            CKA_PRIME_1,
            CKA_PRIME_2,
            CKA_EXPONENT_1,
            CKA_EXPONENT_2,
            CKA_COEFFICIENT,
        ] {
            assert_eq!(module.get(session, key, part), Err(CKR_ATTRIBUTE_SENSITIVE), "{part:#x}");
        }
        let (_, ec) = module.generate_ec(session, P256, false);
        assert_eq!(module.get(session, ec, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    });
}

#[test]
fn memory_need_not_be_aligned() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, key) = module.generate_ec(session, P256, false);
        let mut memory = vec![0_u8; 4096];
        // An odd address.
        let odd = memory.as_ptr().align_offset(16) + 1;
        let place = |memory: &mut [u8], offset: usize| {
            memory[odd + offset..].as_mut_ptr()
        };
        let value = place(&mut memory, 1024);
        let entries = place(&mut memory, 0).cast::<CK_ATTRIBUTE>();
        let class = CKO_PRIVATE_KEY;
        // SAFETY: all of it is inside `memory`.
        unsafe {
            value.copy_from(class.to_ne_bytes().as_ptr(), 8);
            for index in 0..2 {
                entries.add(index).write_unaligned(CK_ATTRIBUTE {
                    type_: if index == 0 { CKA_CLASS } else { CKA_KEY_TYPE },
                    pValue: value.add(index * 9).cast(),
                    ulValueLen: 8,
                });
            }
        }
        let count = place(&mut memory, 2049).cast::<CK_ULONG>();
        let handles = place(&mut memory, 2060).cast::<CK_OBJECT_HANDLE>();
        assert_eq!(call!(module, C_FindObjectsInit(session, entries, 1)), CKR_OK);
        assert_eq!(call!(module, C_FindObjects(session, handles, 8, count)), CKR_OK);
        // SAFETY: as above.
        let (count, found) = unsafe { (count.read_unaligned(), handles.read_unaligned()) };
        assert_eq!((count, found), (1, key));
        assert_eq!(call!(module, C_GetAttributeValue(session, key, entries, 2)), CKR_OK);
        // SAFETY: as above.
        let kind = unsafe { value.add(9).cast::<CK_ULONG>().read_unaligned() };
        assert_eq!(kind, CKK_EC);
        // Mechanism, length and structures.
        let place_of_mechanism = place(&mut memory, 3001).cast::<CK_MECHANISM>();
        // SAFETY: as above.
        unsafe { place_of_mechanism.write_unaligned(mechanism(CKM_ECDSA)) };
        assert_eq!(call!(module, C_SignInit(session, place_of_mechanism, key)), CKR_OK);
        let length = place(&mut memory, 3101).cast::<CK_ULONG>();
        // SAFETY: as above.
        unsafe { length.write_unaligned(64) };
        let signature = place(&mut memory, 3201);
        assert_eq!(call!(module, C_Sign(session, value, 32, signature, length)), CKR_OK);
        let info = place(&mut memory, 3501).cast::<CK_SESSION_INFO>();
        assert_eq!(call!(module, C_GetSessionInfo(session, info)), CKR_OK);
        let slots = place(&mut memory, 3701).cast::<CK_SLOT_ID>();
        assert_eq!(call!(module, C_GetSlotList(CK_TRUE, slots, length)), CKR_OK);
    });
}

#[test]
fn templates_that_make_no_sense_are_refused() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let data = || Template::new().number(CKA_CLASS, CKO_DATA);
        for (template, expected) in [
            (Template::new(), CKR_TEMPLATE_INCOMPLETE),
            (Template::new().number(CKA_CLASS, 0x1234), CKR_ATTRIBUTE_VALUE_INVALID),
            (Template::new().bytes(CKA_CLASS, &[0; 4]), CKR_ATTRIBUTE_VALUE_INVALID),
            (data().bytes(CKA_TOKEN, &[1, 1]), CKR_ATTRIBUTE_VALUE_INVALID),
            (data().bytes(CKA_LABEL, b"a").bytes(CKA_LABEL, b"b"), CKR_TEMPLATE_INCONSISTENT),
            (data().flag(CKA_SENSITIVE, true), CKR_ATTRIBUTE_TYPE_INVALID),
            (data().bytes(CKA_UNIQUE_ID, b"mine"), CKR_ATTRIBUTE_READ_ONLY),
            (
                Template::new().number(CKA_CLASS, CKO_CERTIFICATE),
                CKR_TEMPLATE_INCOMPLETE,
            ),
            (
                Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY).number(CKA_KEY_TYPE, CKK_EC),
                CKR_TEMPLATE_INCOMPLETE,
            ),
        ] {
            assert_eq!(module.create(session, template), Err(expected));
        }
        // A template that is far too long, and a value that is.
        let mut handle = 0;
        let mut entry = CK_ATTRIBUTE { type_: CKA_LABEL, pValue: null_mut(), ulValueLen: CK_ULONG::MAX };
        let rv = call!(module, C_CreateObject(session, &raw mut entry, 1, &raw mut handle));
        assert_eq!(rv, CKR_ATTRIBUTE_VALUE_INVALID);
        let rv = call!(module, C_CreateObject(session, &raw mut entry, CK_ULONG::MAX, &raw mut handle));
        assert_eq!(rv, CKR_ARGUMENTS_BAD);
    });
}

// ---- initialising -----------------------------------------------------------

unsafe extern "C" fn create_mutex(_: CK_VOID_PTR_PTR) -> CK_RV {
    CKR_OK
}

unsafe extern "C" fn use_mutex(_: CK_VOID_PTR) -> CK_RV {
    CKR_OK
}

#[test]
fn c_initialize_takes_what_the_standard_allows() {
    alone(|| {
        let _service = service();
        let module = Module::load(&common::module());
        let none = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: 0,
            pReserved: null_mut(),
        };
        let all = CK_C_INITIALIZE_ARGS {
            CreateMutex: Some(create_mutex),
            DestroyMutex: Some(use_mutex),
            LockMutex: Some(use_mutex),
            UnlockMutex: Some(use_mutex),
            ..none
        };
        let mut elsewhere = 0_u8;
        let reserved: CK_VOID_PTR = (&raw mut elsewhere).cast();
        for (arguments, expected) in [
            (none, CKR_OK),
            (CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..none }, CKR_OK),
            (CK_C_INITIALIZE_ARGS { flags: CKF_LIBRARY_CANT_CREATE_OS_THREADS, ..none }, CKR_OK),
            (
                CK_C_INITIALIZE_ARGS {
                    flags: CKF_LIBRARY_CANT_CREATE_OS_THREADS | CKF_OS_LOCKING_OK,
                    ..all
                },
                CKR_OK,
            ),
            (CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..all }, CKR_OK),
            (all, CKR_CANT_LOCK),
            (CK_C_INITIALIZE_ARGS { LockMutex: None, ..all }, CKR_ARGUMENTS_BAD),
            (CK_C_INITIALIZE_ARGS { CreateMutex: Some(create_mutex), ..none }, CKR_ARGUMENTS_BAD),
            (CK_C_INITIALIZE_ARGS { pReserved: reserved, ..none }, CKR_ARGUMENTS_BAD),
        ] {
            let mut arguments = arguments;
            let rv = call!(module, C_Initialize((&raw mut arguments).cast()));
            assert_eq!(rv, expected, "{arguments:?}");
            if rv == CKR_OK {
                assert_eq!(module.finalize(), CKR_OK);
            }
        }
        assert_eq!(call!(module, C_Initialize(null_mut())), CKR_OK);
        assert_eq!(call!(module, C_Initialize(null_mut())), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_eq!(call!(module, C_Finalize(reserved)), CKR_ARGUMENTS_BAD);
        assert_eq!(module.finalize(), CKR_OK);
        assert_eq!(module.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
    });
}

#[test]
fn sessions_and_login_do_not_outlive_c_finalize() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, key) = module.generate_ec(session, P256, true);
        assert_eq!(module.finalize(), CKR_OK);
        assert_eq!(module.sign_init(session, CKM_ECDSA, key), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
        assert_eq!(module.initialize(), CKR_OK);
        assert_eq!(module.sign_init(session, CKM_ECDSA, key), Err(CKR_SESSION_HANDLE_INVALID));
        let session = module.open(0, 0).unwrap();
        let private = || Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY);
        assert!(module.find(session, private()).unwrap().is_empty());
        let session = module.user();
        let found = module.find(session, private()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(module.sign_with(session, CKM_ECDSA, found[0], &DIGEST).is_ok());
    });
}

// ---- threads ----------------------------------------------------------------

#[test]
fn sixty_four_threads_sign_with_one_key() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_ec(session, P256, true);
        let together = Barrier::new(64);
        std::thread::scope(|scope| {
            for thread in 0..64_u8 {
                let (module, together) = (&module, &together);
                scope.spawn(move || {
                    together.wait();
                    for round in 0..8 {
                        let own = module.open(0, 0).unwrap();
                        let digest = [thread, round].repeat(16);
                        let signature = module.sign_with(own, CKM_ECDSA, private, &digest).unwrap();
                        module.verify_with(own, CKM_ECDSA, public, &digest, &signature).unwrap();
                        assert_eq!(call!(module, C_CloseSession(own)), CKR_OK);
                    }
                });
            }
        });
        assert_eq!(service.count(TOKEN, "sign"), 64 * 8);
    });
}

#[test]
fn one_session_in_many_threads_does_no_harm() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, private) = module.generate_ec(session, P256, false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let rv = module.sign_with(session, CKM_ECDSA, private, &DIGEST);
                        let fine = matches!(
                            rv,
                            Ok(_) | Err(CKR_OPERATION_ACTIVE | CKR_OPERATION_NOT_INITIALIZED)
                        );
                        assert!(fine, "{rv:?}");
                    }
                });
            }
        });
        let _ = call!(module, C_SignInit(session, null_mut(), 0));
        assert!(module.sign_with(session, CKM_ECDSA, private, &DIGEST).is_ok());
    });
}

#[test]
fn c_finalize_while_threads_sign() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        module.generate_ec(session, P256, true);
        assert_eq!(module.finalize(), CKR_OK);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        // What a thread may hear whose session, login or
                        // library was taken away under it.
                        let once = || -> Rv {
                            let own = module.open(0, 0)?;
                            let found =
                                module.find(own, Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY));
                            let key = *found?.first().ok_or(CKR_KEY_HANDLE_INVALID)?;
                            module.sign_with(own, CKM_ECDSA, key, &DIGEST)?;
                            ok(call!(module, C_CloseSession(own)))
                        };
                        let mut seen = HashMap::<CK_RV, u32>::new();
                        while !over.load(Ordering::Relaxed) {
                            *seen.entry(once().err().unwrap_or(CKR_OK)).or_default() += 1;
                        }
                        seen
                    })
                })
                .collect();
            let before = service.count(TOKEN, "sign");
            for round in 1..=20 {
                assert_eq!(module.initialize(), CKR_OK);
                let session = module.open(0, CKF_RW_SESSION).unwrap();
                let _ = module.login(session, common::PIN);
                // The threads are at it.
                let deadline = Instant::now() + Duration::from_secs(10);
                while round % 5 == 0 && service.count(TOKEN, "sign") < before + 8 * round {
                    assert!(Instant::now() < deadline, "no thread signs");
                }
                assert_eq!(module.finalize(), CKR_OK);
            }
            over.store(true, Ordering::Relaxed);
            let allowed = [
                CKR_OK,
                CKR_CRYPTOKI_NOT_INITIALIZED,
                CKR_SESSION_HANDLE_INVALID,
                CKR_KEY_HANDLE_INVALID,
                CKR_USER_NOT_LOGGED_IN,
                CKR_OPERATION_NOT_INITIALIZED,
                CKR_OPERATION_ACTIVE,
            ];
            for thread in threads {
                let seen = thread.join().unwrap();
                assert!(seen.keys().all(|rv| allowed.contains(rv)), "{seen:x?}");
                assert!(seen.contains_key(&CKR_CRYPTOKI_NOT_INITIALIZED), "{seen:x?}");
            }
        });
        assert_eq!(module.initialize(), CKR_OK);
        let session = module.user();
        let found = module.find(session, Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY));
        module.sign_with(session, CKM_ECDSA, found.unwrap()[0], &DIGEST).unwrap();
    });
}

#[test]
fn c_initialize_in_many_threads_succeeds_in_one() {
    alone(|| {
        let _service = service();
        let module = Module::load(&common::module());
        let together = Barrier::new(16);
        let succeeded: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        match module.initialize() {
                            CKR_OK => 1,
                            CKR_CRYPTOKI_ALREADY_INITIALIZED => 0,
                            rv => panic!("{rv:#x}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(succeeded, 1);
    });
}
