//! What v3.0 and v3.2 added.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, P256, Rv, Template, call, call3, mechanism, ok};
use crate::common::{PIN, SO_PIN};

#[test]
fn each_list_says_its_version() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        // SAFETY: CK_INFO is made of numbers and text.
        let mut info: CK_INFO = unsafe { std::mem::zeroed() };
        assert_eq!(call!(module, C_GetInfo(&raw mut info)), CKR_OK);
        assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor), (2, 40));
        assert_eq!(call3!(module, C_GetInfo(&raw mut info)), CKR_OK);
        assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor), (3, 2));
        assert_eq!(call3!(module, C_GetInfo(null_mut())), CKR_ARGUMENTS_BAD);
    });
}

#[test]
fn c_session_cancel_ends_what_it_is_told_to() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let (mut rsa, mut sha) = (mechanism(CKM_RSA_PKCS), mechanism(CKM_SHA256));
        let (rsa, sha) = (&raw mut rsa, &raw mut sha);
        let mut signature = [0; 256];
        let s = signature.as_mut_ptr();
        let kinds: [(CK_FLAGS, &dyn Fn() -> CK_RV); 11] = [
            (CKF_SIGN, &|| call!(module, C_SignInit(session, rsa, private))),
            (CKF_VERIFY, &|| call!(module, C_VerifyInit(session, rsa, public))),
            (CKF_VERIFY, &|| call3!(module, C_VerifySignatureInit(session, rsa, public, s, 256))),
            (CKF_ENCRYPT, &|| call!(module, C_EncryptInit(session, rsa, public))),
            (CKF_DECRYPT, &|| call!(module, C_DecryptInit(session, rsa, private))),
            (CKF_DIGEST, &|| call!(module, C_DigestInit(session, sha))),
            (CKF_FIND_OBJECTS, &|| call!(module, C_FindObjectsInit(session, null_mut(), 0))),
            (CKF_SIGN_RECOVER, &|| call!(module, C_SignRecoverInit(session, rsa, private))),
            (CKF_VERIFY_RECOVER, &|| call!(module, C_VerifyRecoverInit(session, rsa, public))),
            (CKF_MESSAGE_SIGN, &|| call3!(module, C_MessageSignInit(session, rsa, private))),
            (CKF_MESSAGE_VERIFY, &|| call3!(module, C_MessageVerifyInit(session, rsa, public))),
        ];
        // Nothing under way is nothing to cancel.
        assert_eq!(call3!(module, C_SessionCancel(session, CK_FLAGS::MAX)), CKR_OK);
        for (flag, begin) in kinds {
            assert_eq!(begin(), CKR_OK, "{flag:#x}");
        }
        assert_eq!(call3!(module, C_SessionCancel(session, 0)), CKR_OK);
        for (_, begin) in kinds {
            assert_eq!(begin(), CKR_OPERATION_ACTIVE);
        }
        for (flag, begin) in kinds {
            assert_eq!(call3!(module, C_SessionCancel(session, flag)), CKR_OK);
            assert_eq!(begin(), CKR_OK, "{flag:#x}");
            // The others go on.
            for (other, begin) in kinds.iter().filter(|(other, _)| *other != flag) {
                assert_eq!(begin(), CKR_OPERATION_ACTIVE, "{flag:#x} has ended {other:#x}");
            }
            // Two kinds are verifications.
            let _ = (kinds[1].1)();
            let _ = (kinds[2].1)();
        }
        assert_eq!(call3!(module, C_SessionCancel(session, CK_FLAGS::MAX)), CKR_OK);
        for (flag, begin) in kinds {
            assert_eq!(begin(), CKR_OK, "{flag:#x}");
        }
        assert_eq!(call3!(module, C_SessionCancel(0, CKF_SIGN)), CKR_SESSION_HANDLE_INVALID);
    });
}

#[test]
fn c_login_user_knows_one_user() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.open(0, CKF_RW_SESSION).unwrap();
        let login = |user, pin: &str, name: &str| {
            let (pin, length) = (pin.as_ptr().cast_mut(), pin.len() as CK_ULONG);
            let (name, count) = (name.as_ptr().cast_mut(), name.len() as CK_ULONG);
            call3!(module, C_LoginUser(session, user, pin, length, name, count))
        };
        assert_eq!(login(CKU_USER, PIN, "alice"), CKR_ARGUMENTS_BAD);
        assert_eq!(login(CKU_USER, "4321", ""), CKR_PIN_INCORRECT);
        assert_eq!(login(CKU_CONTEXT_SPECIFIC, PIN, ""), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(login(CKU_USER, PIN, ""), CKR_OK);
        assert_eq!(login(CKU_USER, PIN, ""), CKR_USER_ALREADY_LOGGED_IN);
        assert_eq!(login(CKU_SO, SO_PIN, ""), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
        assert_eq!(call!(module, C_Logout(session)), CKR_OK);
    });
}

fn sign_message(module: &Module, session: CK_SESSION_HANDLE, data: &[u8]) -> Rv<Vec<u8>> {
    let (mut signature, mut length) = (vec![0; 512], 512);
    let (input, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    let result = signature.as_mut_ptr();
    ok(call3!(
        module,
        C_SignMessage(session, null_mut(), 0, input, count, result, &raw mut length)
    ))?;
    signature.truncate(length as usize);
    Ok(signature)
}

fn verify_message(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: &[u8],
    signature: &[u8],
) -> Rv {
    let (input, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    let (signature, length) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
    ok(call3!(module, C_VerifyMessage(session, null_mut(), 0, input, count, signature, length)))
}

#[test]
fn many_messages_are_signed_and_verified_in_one_process() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_ec(session, P256, true);
        let mut ecdsa = mechanism(CKM_ECDSA_SHA256);
        let (m, none) = (&raw mut ecdsa, null_mut());
        assert_eq!(sign_message(&module, session, b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_eq!(call3!(module, C_MessageSignInit(session, m, private)), CKR_OK);
        assert_eq!(call3!(module, C_MessageSignInit(session, m, private)), CKR_OPERATION_ACTIVE);
        assert_eq!(call3!(module, C_MessageVerifyInit(session, m, public)), CKR_OK);
        for message in [&b"one"[..], b"two", b""] {
            let signature = sign_message(&module, session, message).unwrap();
            verify_message(&module, session, message, &signature).unwrap();
            let wrong = verify_message(&module, session, b"else", &signature);
            assert_eq!(wrong, Err(CKR_SIGNATURE_INVALID));
            let wrong = verify_message(&module, session, message, &signature[1..]);
            assert_eq!(wrong, Err(CKR_SIGNATURE_LEN_RANGE));
            // It is a signature like any other.
            module.verify_with(session, CKM_ECDSA_SHA256, public, message, &signature).unwrap();
        }
        assert_eq!(service.count(TOKEN, "sign"), 3);

        // A message in parts; the length is asked for and the buffer too short.
        let (mut buffer, mut length) = ([0_u8; 64], 64);
        let (p, l) = (buffer.as_mut_ptr(), &raw mut length);
        let part = b"part".as_ptr().cast_mut();
        let next = |result, length| {
            call3!(module, C_SignMessageNext(session, none, 0, part, 4, result, length))
        };
        assert_eq!(next(null_mut(), null_mut()), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(call3!(module, C_SignMessageBegin(session, none, 0)), CKR_OK);
        assert_eq!(call3!(module, C_SignMessageBegin(session, none, 0)), CKR_OPERATION_ACTIVE);
        assert_eq!(sign_message(&module, session, b"x"), Err(CKR_OPERATION_ACTIVE));
        assert_eq!(next(null_mut(), null_mut()), CKR_OK);
        assert_eq!((next(null_mut(), l), length), (CKR_OK, 64));
        length = 63;
        assert_eq!((next(p, l), length), (CKR_BUFFER_TOO_SMALL, 64));
        assert_eq!((next(p, l), length), (CKR_OK, 64));
        let next = |signature, length| {
            call3!(module, C_VerifyMessageNext(session, none, 0, part, 4, signature, length))
        };
        assert_eq!(call3!(module, C_VerifyMessageBegin(session, none, 0)), CKR_OK);
        assert_eq!(next(null_mut(), 0), CKR_OK);
        assert_eq!(next(p, 64), CKR_OK);
        assert_eq!(next(p, 64), CKR_OPERATION_NOT_INITIALIZED);
        verify_message(&module, session, b"partpart", &buffer).unwrap();

        // An error ends the message, not the process.
        let mut stray = 0_u8;
        let parameter: CK_VOID_PTR = (&raw mut stray).cast();
        let rv = call3!(module, C_SignMessageBegin(session, parameter, 1));
        assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
        assert!(sign_message(&module, session, b"x").is_ok());
        assert_eq!(call3!(module, C_MessageSignFinal(session)), CKR_OK);
        assert_eq!(call3!(module, C_MessageSignFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(call3!(module, C_MessageVerifyFinal(session)), CKR_OK);
        assert_eq!(sign_message(&module, session, b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
    });
}

#[test]
fn a_key_that_is_gone_ends_the_messages() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, private) = module.generate_ec(session, P256, true);
        let mut ecdsa = mechanism(CKM_ECDSA_SHA256);
        let m = &raw mut ecdsa;
        assert_eq!(call3!(module, C_MessageSignInit(session, m, private)), CKR_OK);
        assert!(sign_message(&module, session, b"x").is_ok());
        assert_eq!(call!(module, C_DestroyObject(session, private)), CKR_OK);
        assert_eq!(sign_message(&module, session, b"x"), Err(CKR_KEY_HANDLE_INVALID));
        let mut wrong = mechanism(CKM_SHA256);
        let rv = call3!(module, C_MessageEncryptInit(session, &raw mut wrong, private));
        assert_eq!(rv, CKR_MECHANISM_INVALID);
    });
}

#[test]
fn a_signature_may_come_before_its_data() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_ec(session, P256, false);
        let mut good = module.sign_with(session, CKM_ECDSA_SHA256, private, b"data").unwrap();
        let mut ecdsa = mechanism(CKM_ECDSA_SHA256);
        let m = &raw mut ecdsa;
        let (mut data, p) = (*b"data", good.as_mut_ptr());
        let d = data.as_mut_ptr();
        let begin = |length| call3!(module, C_VerifySignatureInit(session, m, public, p, length));
        assert_eq!(begin(63), CKR_SIGNATURE_LEN_RANGE);
        let rv = call3!(module, C_VerifySignature(session, d, 4));
        assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(begin(64), CKR_OK);
        assert_eq!(begin(64), CKR_OPERATION_ACTIVE);
        assert_eq!(call3!(module, C_VerifySignature(session, d, 4)), CKR_OK);
        assert_eq!(begin(64), CKR_OK);
        assert_eq!(call3!(module, C_VerifySignature(session, d, 3)), CKR_SIGNATURE_INVALID);
        assert_eq!(begin(64), CKR_OK);
        for part in 0..2 {
            let part = data[2 * part..].as_ptr().cast_mut();
            assert_eq!(call3!(module, C_VerifySignatureUpdate(session, part, 2)), CKR_OK);
        }
        assert_eq!(call3!(module, C_VerifySignatureFinal(session)), CKR_OK);
        let rv = call3!(module, C_VerifySignatureFinal(session));
        assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
        // A null mechanism cancels.
        assert_eq!(begin(64), CKR_OK);
        let rv = call3!(module, C_VerifySignatureInit(session, null_mut(), 0, null_mut(), 0));
        assert_eq!(rv, CKR_OK);
        let rv = call3!(module, C_VerifySignature(session, d, 4));
        assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
    });
}

#[test]
fn there_are_no_asynchronous_sessions() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let refused = module.open(0, CKF_ASYNC_SESSION);
        assert_eq!(refused, Err(CKR_SESSION_ASYNC_NOT_SUPPORTED));
        let session = module.open(0, 0).unwrap();
        let mut flags = 7;
        let rv = call3!(
            module,
            C_GetSessionValidationFlags(session, CKS_LAST_VALIDATION_OK, &raw mut flags)
        );
        assert_eq!((rv, flags), (CKR_OK, 0));
        let rv = call3!(module, C_GetSessionValidationFlags(session, 99, &raw mut flags));
        assert_eq!(rv, CKR_ARGUMENTS_BAD);
    });
}

#[test]
fn profile_objects_are_shown_to_those_who_ask_for_them() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        module.generate_ec(session, P256, true);
        let find = |template: Template| module.find(session, template).unwrap();
        let all = find(Template::new());
        assert_eq!(all.len(), 2, "a list of the objects shows what nobody has made");

        let class = || Template::new().number(CKA_CLASS, CKO_PROFILE);
        let profiles = find(class());
        let number = |object| {
            let value = module.get(session, object, CKA_PROFILE_ID).unwrap();
            CK_ULONG::from_ne_bytes(value.try_into().unwrap())
        };
        let numbers: Vec<_> = profiles.iter().map(|object| number(*object)).collect();
        assert_eq!(numbers, [CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER]);
        let extended = class().number(CKA_PROFILE_ID, CKP_EXTENDED_PROVIDER);
        assert_eq!(find(extended), profiles[1..]);
        let other = class().number(CKA_PROFILE_ID, CKP_PUBLIC_CERTIFICATES_TOKEN);
        assert!(find(other).is_empty());
        // They are nobody's to change.
        let changed = module.set(session, profiles[0], Template::new().bytes(CKA_LABEL, b"x"));
        assert_eq!(changed, Err(CKR_ACTION_PROHIBITED));
        assert_eq!(module.destroy(session, profiles[0]), Err(CKR_ACTION_PROHIBITED));
        assert_eq!(find(class()), profiles);
    });
}
