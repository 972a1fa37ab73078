//! Signatures that hold their data. What OpenSSL makes of them is looked at in
//! tests/tools.rs.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, P256, Rv, Template, call, mechanism, ok};

/// C_SignRecover in one call.
fn sign(module: &Module, session: CK_SESSION_HANDLE, data: &[u8]) -> Rv<Vec<u8>> {
    let mut signature = vec![0; 512];
    let mut length = signature.len() as CK_ULONG;
    let (input, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    ok(call!(
        module,
        C_SignRecover(session, input, count, signature.as_mut_ptr(), &raw mut length)
    ))?;
    signature.truncate(length as usize);
    Ok(signature)
}

/// C_VerifyRecover with a buffer of this length: the code and the length told.
fn recover(
    module: &Module,
    session: CK_SESSION_HANDLE,
    signature: &[u8],
    buffer: Option<&mut [u8]>,
) -> (CK_RV, CK_ULONG) {
    let mut length = buffer.as_ref().map_or(0, |buffer| buffer.len() as CK_ULONG);
    let buffer = buffer.map_or(null_mut(), <[u8]>::as_mut_ptr);
    let (input, count) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
    let rv = call!(module, C_VerifyRecover(session, input, count, buffer, &raw mut length));
    (rv, length)
}

#[test]
fn a_signature_gives_its_data_back() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let mut signatures = 0;
        for token in [true, false] {
            let (public, private) = module.generate_rsa(session, token);
            for (number, data, recovered) in [
                (CKM_RSA_PKCS, vec![5; 100], vec![5; 100]),
                (CKM_RSA_PKCS, vec![], vec![]),
                (CKM_RSA_X_509, vec![6; 200], [vec![0; 56], vec![6; 200]].concat()),
            ] {
                let mut mechanism = mechanism(number);
                let m = &raw mut mechanism;
                let begin = || call!(module, C_SignRecoverInit(session, m, private));
                assert_eq!(begin(), CKR_OK);
                // The length is told, and a short buffer keeps the operation.
                let (input, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
                let mut length = 0;
                let rv = call!(
                    module,
                    C_SignRecover(session, input, count, null_mut(), &raw mut length)
                );
                assert_eq!((rv, length), (CKR_OK, 256));
                let (mut short, mut length) = ([0; 255], 255);
                let rv = call!(
                    module,
                    C_SignRecover(session, input, count, short.as_mut_ptr(), &raw mut length)
                );
                assert_eq!((rv, length), (CKR_BUFFER_TOO_SMALL, 256));
                let signature = sign(&module, session, &data).unwrap();
                signatures += 1;
                assert_eq!(sign(&module, session, &data), Err(CKR_OPERATION_NOT_INITIALIZED));

                let begin = || call!(module, C_VerifyRecoverInit(session, m, public));
                assert_eq!(begin(), CKR_OK);
                assert_eq!(begin(), CKR_OPERATION_ACTIVE);
                let told = recovered.len() as CK_ULONG;
                assert_eq!(recover(&module, session, &signature, None), (CKR_OK, told));
                if !recovered.is_empty() {
                    let mut short = vec![0; recovered.len() - 1];
                    let rv = recover(&module, session, &signature, Some(&mut short));
                    assert_eq!(rv, (CKR_BUFFER_TOO_SMALL, told));
                }
                let mut buffer = vec![0xaa; 256];
                let rv = recover(&module, session, &signature, Some(&mut buffer));
                assert_eq!(rv, (CKR_OK, told));
                assert_eq!(buffer[..recovered.len()], recovered[..]);
                let rv = recover(&module, session, &signature, Some(&mut buffer));
                assert_eq!(rv.0, CKR_OPERATION_NOT_INITIALIZED);
            }
        }
        assert_eq!(service.count(TOKEN, "sign"), signatures);
    });
}

#[test]
fn what_is_no_signature_is_told_before_a_short_buffer_is() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let mut short = [0; 1];
        for (signature, expected) in [
            (vec![0x11; 256], CKR_SIGNATURE_INVALID),
            (vec![0xff; 256], CKR_SIGNATURE_INVALID),
            (vec![0x11; 255], CKR_SIGNATURE_LEN_RANGE),
            (vec![], CKR_SIGNATURE_LEN_RANGE),
        ] {
            assert_eq!(call!(module, C_VerifyRecoverInit(session, &raw mut rsa, public)), CKR_OK);
            let rv = recover(&module, session, &signature, Some(&mut short));
            assert_eq!(rv.0, expected);
            assert_eq!(
                recover(&module, session, &signature, None).0,
                CKR_OPERATION_NOT_INITIALIZED
            );
        }
        // Who may, and with what.
        for number in [CKM_SHA256_RSA_PKCS, CKM_RSA_PKCS_OAEP, CKM_SHA256, 0x7fff_0001] {
            let mut other = mechanism(number);
            let rv = call!(module, C_SignRecoverInit(session, &raw mut other, private));
            let fine = [CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID];
            assert!(fine.contains(&rv), "{number:#x}: {rv:#x}");
        }
        let (_, ec) = module.generate_ec(session, P256, false);
        let mut ecdsa = mechanism(CKM_ECDSA);
        assert_eq!(
            call!(module, C_SignRecoverInit(session, &raw mut ecdsa, ec)),
            CKR_MECHANISM_INVALID
        );
        module.set(session, private, Template::new().flag(CKA_SIGN_RECOVER, false)).unwrap();
        assert_eq!(
            call!(module, C_SignRecoverInit(session, &raw mut rsa, private)),
            CKR_KEY_FUNCTION_NOT_PERMITTED
        );
        assert!(module.sign_with(session, CKM_RSA_PKCS, private, b"data").is_ok());
    });
}

/// The service looks at CKA_SIGN_RECOVER, not at what the module says of it.
#[test]
fn a_key_that_signs_only_with_recovery() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, private) = module.generate_rsa(session, true);
        module.set(session, private, Template::new().flag(CKA_SIGN, false)).unwrap();
        let signed = module.sign_with(session, CKM_RSA_PKCS, private, b"data");
        assert_eq!(signed, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
        let mut rsa = mechanism(CKM_RSA_PKCS);
        assert_eq!(call!(module, C_SignRecoverInit(session, &raw mut rsa, private)), CKR_OK);
        assert!(sign(&module, session, b"data").is_ok());
    });
}
