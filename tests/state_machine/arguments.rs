//! Null pointers and zeros in every argument of every function.

use std::collections::HashSet;
use std::ptr::null_mut;

use cryptoki_sys::*;
use libloading::Library;

use crate::common;
use crate::common::alone::{alone, service};
use crate::common::raw::{Module, call, mechanism};

type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> CK_RV;

/// Calls a function by name with these arguments and zeros behind them, which
/// the C calling conventions of our platforms let it ignore.
fn by_name(library: &Library, name: &str, arguments: &[u64]) -> CK_RV {
    let mut all = [0; 10];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f, g, h, i, j] = all;
    // SAFETY: every pointer among the arguments is null or valid.
    unsafe { library.get::<Any>(name.as_bytes()).unwrap()(a, b, c, d, e, f, g, h, i, j) }
}

#[test]
fn nothing_works_before_c_initialize() {
    alone(|| {
        // SAFETY: the module runs nothing when it is loaded.
        let library = unsafe { Library::new(common::module()) }.unwrap();
        for (name, arguments) in keyward_pkcs11::abi::functions() {
            let expected = match *name {
                "C_Initialize" => continue,
                "C_GetFunctionList" | "C_GetInterfaceList" | "C_GetInterface" => CKR_ARGUMENTS_BAD,
                _ => CKR_CRYPTOKI_NOT_INITIALIZED,
            };
            assert_eq!(by_name(&library, name, &[]), expected, "{name} with zeros");
            // Lengths without pointers.
            let lengths: Vec<u64> =
                arguments.iter().map(|(_, kind)| u64::from(*kind == "CK_ULONG")).collect();
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
        for (name, arguments) in keyward_pkcs11::abi::functions() {
            if matches!(*name, "C_Initialize" | "C_Finalize") {
                continue;
            }
            let rv = by_name(&library, name, &[]);
            let expected: &[CK_RV] = match arguments[0].0 {
                "hSession" => &[CKR_SESSION_HANDLE_INVALID],
                _ => match *name {
                    "C_OpenSession" => &[CKR_SESSION_PARALLEL_NOT_SUPPORTED],
                    "C_GetMechanismInfo" => &[CKR_ARGUMENTS_BAD],
                    "C_CloseAllSessions" => &[CKR_OK],
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
        let serial = CKF_SERIAL_SESSION;
        let table: &[(&str, &[u64], CK_RV)] = &[
            ("C_GetInfo", &[], wrong),
            ("C_GetFunctionList", &[], wrong),
            ("C_GetSlotList", &[1, 0, 0], wrong),
            ("C_GetSlotInfo", &[0, 0], wrong),
            ("C_GetTokenInfo", &[0, 0], wrong),
            ("C_WaitForSlotEvent", &[CKF_DONT_BLOCK, 0, 0], wrong),
            ("C_GetMechanismList", &[0, 0, 0], wrong),
            ("C_GetMechanismInfo", &[0, CKM_RSA_PKCS, 0], wrong),
            ("C_InitToken", &[0, 0, 1, 0], wrong),
            ("C_InitPIN", &[s, 0, 1], CKR_USER_NOT_LOGGED_IN),
            ("C_SetPIN", &[s, 0, 1, 0, 1], wrong),
            ("C_OpenSession", &[0, serial, 0, 0, 0], wrong),
            ("C_GetSessionInfo", &[s, 0], wrong),
            ("C_GetOperationState", &[s, 0, 0], wrong),
            ("C_SetOperationState", &[s, 0, 1, 0, 0], wrong),
            ("C_SetOperationState", &[s, 0, 0, 0, 0], wrong),
            ("C_GetAttributeValue", &[s, 0, 0, 1], wrong),
            ("C_Login", &[s, CKU_USER, 0, 1], CKR_USER_ALREADY_LOGGED_IN),
            ("C_CreateObject", &[s, 0, 1, 0], wrong),
            ("C_CopyObject", &[s, k, 0, 1, 0], wrong),
            ("C_GetObjectSize", &[s, k, 0], wrong),
            ("C_GetAttributeValue", &[s, k, 0, 1], wrong),
            ("C_SetAttributeValue", &[s, k, 0, 1], wrong),
            ("C_FindObjectsInit", &[s, 0, 1], wrong),
            ("C_FindObjects", &[s, 0, 1, 0], wrong),
            ("C_FindObjectsFinal", &[s], idle),
            ("C_EncryptInit", &[s, 0, k], wrong),
            ("C_Encrypt", &[s, 0, 1, 0, 0], idle),
            ("C_EncryptUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_EncryptFinal", &[s, 0, 0], idle),
            ("C_DecryptInit", &[s, 0, k], wrong),
            ("C_Decrypt", &[s, 0, 1, 0, 0], idle),
            ("C_DecryptUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_DecryptFinal", &[s, 0, 0], idle),
            ("C_DigestInit", &[s, 0], wrong),
            ("C_Digest", &[s, 0, 1, 0, 0], idle),
            ("C_DigestUpdate", &[s, 0, 1], idle),
            ("C_DigestKey", &[s, k], idle),
            ("C_DigestFinal", &[s, 0, 0], idle),
            ("C_SignInit", &[s, 0, k], wrong),
            ("C_Sign", &[s, 0, 1, 0, 0], idle),
            ("C_SignUpdate", &[s, 0, 1], idle),
            ("C_SignFinal", &[s, 0, 0], idle),
            ("C_SignRecoverInit", &[s, 0, k], wrong),
            ("C_SignRecover", &[s, 0, 1, 0, 0], idle),
            ("C_VerifyInit", &[s, 0, k], wrong),
            ("C_Verify", &[s, 0, 1, 0, 1], idle),
            ("C_VerifyUpdate", &[s, 0, 1], idle),
            ("C_VerifyFinal", &[s, 0, 1], idle),
            ("C_VerifyRecoverInit", &[s, 0, k], wrong),
            ("C_VerifyRecover", &[s, 0, 1, 0, 0], idle),
            ("C_DigestEncryptUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_DecryptDigestUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_SignEncryptUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_DecryptVerifyUpdate", &[s, 0, 1, 0, 0], idle),
            ("C_GenerateKey", &[s, 0, 0, 1, 0], wrong),
            ("C_GenerateKeyPair", &[s, 0, 0, 1, 0, 1, 0, 0], wrong),
            ("C_WrapKey", &[s, 0, k, k, 0, 0], wrong),
            ("C_UnwrapKey", &[s, 0, k, 0, 1, 0, 1, 0], wrong),
            ("C_DeriveKey", &[s, 0, k, 0, 1, 0], wrong),
            ("C_SeedRandom", &[s, 0, 1], wrong),
            ("C_GenerateRandom", &[s, 0, 1], wrong),
            ("C_GetFunctionStatus", &[s], CKR_FUNCTION_NOT_PARALLEL),
            ("C_CancelFunction", &[s], CKR_FUNCTION_NOT_PARALLEL),
            ("C_GetInterfaceList", &[0, 0], wrong),
            ("C_GetInterface", &[0, 0, 0, 0], wrong),
            ("C_LoginUser", &[s, CKU_USER, 0, 1, 0, 1], wrong),
            ("C_SessionCancel", &[s, 0], CKR_OK),
            ("C_MessageEncryptInit", &[s, 0, k], wrong),
            ("C_EncryptMessage", &[s, 0, 1, 0, 1, 0, 1, 0, 0], idle),
            ("C_EncryptMessageBegin", &[s, 0, 1, 0, 1], idle),
            ("C_EncryptMessageNext", &[s, 0, 1, 0, 1, 0, 0, 0], idle),
            ("C_MessageEncryptFinal", &[s], idle),
            ("C_MessageDecryptInit", &[s, 0, k], wrong),
            ("C_DecryptMessage", &[s, 0, 1, 0, 1, 0, 1, 0, 0], idle),
            ("C_DecryptMessageBegin", &[s, 0, 1, 0, 1], idle),
            ("C_DecryptMessageNext", &[s, 0, 1, 0, 1, 0, 0, 0], idle),
            ("C_MessageDecryptFinal", &[s], idle),
            ("C_MessageSignInit", &[s, 0, k], wrong),
            ("C_SignMessage", &[s, 0, 1, 0, 1, 0, 0], idle),
            ("C_SignMessageBegin", &[s, 0, 1], idle),
            ("C_SignMessageNext", &[s, 0, 1, 0, 1, 0, 0], idle),
            ("C_MessageSignFinal", &[s], idle),
            ("C_MessageVerifyInit", &[s, 0, k], wrong),
            ("C_VerifyMessage", &[s, 0, 1, 0, 1, 0, 1], idle),
            ("C_VerifyMessageBegin", &[s, 0, 1], idle),
            ("C_VerifyMessageNext", &[s, 0, 1, 0, 1, 0, 1], idle),
            ("C_MessageVerifyFinal", &[s], idle),
            ("C_EncapsulateKey", &[s, 0, k, 0, 1, 0, 0, 0], wrong),
            ("C_DecapsulateKey", &[s, 0, k, 0, 1, 0, 1, 0], wrong),
            ("C_VerifySignatureInit", &[s, 0, k, 0, 1], wrong),
            ("C_VerifySignature", &[s, 0, 1], idle),
            ("C_VerifySignatureUpdate", &[s, 0, 1], idle),
            ("C_VerifySignatureFinal", &[s], idle),
            ("C_GetSessionValidationFlags", &[s, CKS_LAST_VALIDATION_OK, 0], wrong),
            ("C_AsyncComplete", &[s, 0, 0], idle),
            ("C_AsyncGetID", &[s, 0, 0], idle),
            ("C_AsyncJoin", &[s, 0, 1, 0, 1], CKR_SAVED_STATE_INVALID),
            ("C_WrapKeyAuthenticated", &[s, 0, k, k, 0, 1, 0, 0], wrong),
            ("C_UnwrapKeyAuthenticated", &[s, 0, k, 0, 1, 0, 1, 0, 1, 0], wrong),
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
        for (name, _) in keyward_pkcs11::abi::functions() {
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
