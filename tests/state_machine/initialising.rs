//! C_Initialize and C_Finalize.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::DIGEST;
use crate::common;
use crate::common::alone::{alone, service};
use crate::common::raw::{Module, P256, Template, call};

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
