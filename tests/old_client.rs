//! The crate `pkcs11`, which nobody maintains any more and which many programs
//! still use: an old client must go on working.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use common::PIN;
use common::alone::{TOKEN, alone, service};
use common::outside::{OpenSsl, ecdsa_der};
use pkcs11::Ctx;
use pkcs11::errors::Error;
use pkcs11::types::*;

const P256: &[u8] = common::raw::P256;

#[test]
fn an_old_client_finds_its_key_and_signs() {
    alone(|| {
        let service = service();
        service.admin(&["key", "generate", "--token", TOKEN, "--type", "rsa:2048", "--label", "k"]);
        // It looks functions up by name and checks the version that
        // C_GetInfo tells.
        let context = Ctx::new_and_initialize(common::module()).unwrap();
        let info = context.get_info().unwrap();
        assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor), (2, 40));
        let slots = context.get_slot_list(true).unwrap();
        assert_eq!(slots, [0]);
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let session = context.open_session(slots[0], flags, None, None).unwrap();
        match context.login(session, CKU_USER, Some("4321")) {
            Err(Error::Pkcs11(rv)) => assert_eq!(rv, CKR_PIN_INCORRECT),
            other => panic!("{other:?}"),
        }
        context.login(session, CKU_USER, Some(PIN)).unwrap();

        let key = find(&context, session, CKO_PRIVATE_KEY);
        let public = find(&context, session, CKO_PUBLIC_KEY);
        let message = b"signed by an old client".to_vec();
        let mechanism = mechanism(CKM_SHA256_RSA_PKCS);
        context.sign_init(session, &mechanism, key).unwrap();
        let signature = context.sign(session, &message).unwrap();
        let openssl = OpenSsl::new();
        let digest = openssl.digest("sha256", &message);
        let spki = value(&context, session, public, CKA_PUBLIC_KEY_INFO);
        let options = ["rsa_padding_mode:pkcs1", "digest:sha256"];
        openssl.verify(&spki, &options, &digest, &signature).unwrap();
        let other = openssl.digest("sha256", b"something else");
        openssl.verify(&spki, &options, &other, &signature).unwrap_err();
        context.verify_init(session, &mechanism, public).unwrap();
        context.verify(session, &message, &signature).unwrap();
        assert_eq!(service.count(TOKEN, "sign"), 1);
        context.logout(session).unwrap();
        context.close_session(session).unwrap();
    });
}

#[test]
fn an_old_client_makes_a_key() {
    alone(|| {
        let _service = service();
        let mut context = Ctx::new_and_initialize(common::module()).unwrap();
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let session = context.open_session(0, flags, None, None).unwrap();
        context.login(session, CKU_USER, Some(PIN)).unwrap();
        let (yes, curve) = (CK_TRUE, P256.to_vec());
        let token = CK_ATTRIBUTE::new(CKA_TOKEN).with_bool(&yes);
        let (public, private) = context
            .generate_key_pair(
                session,
                &mechanism(CKM_EC_KEY_PAIR_GEN),
                &[token, CK_ATTRIBUTE::new(CKA_EC_PARAMS).with_bytes(&curve)],
                &[token, CK_ATTRIBUTE::new(CKA_SIGN).with_bool(&yes)],
            )
            .unwrap();
        let openssl = OpenSsl::new();
        let digest = openssl.digest("sha384", b"message");
        context.sign_init(session, &mechanism(CKM_ECDSA), private).unwrap();
        let signature = context.sign(session, &digest).unwrap();
        let spki = value(&context, session, public, CKA_PUBLIC_KEY_INFO);
        openssl.verify(&spki, &[], &digest, &ecdsa_der(&signature)).unwrap();
        context.destroy_object(session, private).unwrap();
        context.destroy_object(session, public).unwrap();
        context.finalize().unwrap();
    });
}

fn mechanism(number: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: number, pParameter: std::ptr::null_mut(), ulParameterLen: 0 }
}

fn find(context: &Ctx, session: CK_SESSION_HANDLE, class: CK_OBJECT_CLASS) -> CK_OBJECT_HANDLE {
    let template = [CK_ATTRIBUTE::new(CKA_CLASS).with_ck_ulong(&class)];
    context.find_objects_init(session, &template).unwrap();
    let found = context.find_objects(session, 10).unwrap();
    context.find_objects_final(session).unwrap();
    assert_eq!(found.len(), 1);
    found[0]
}

fn value(
    context: &Ctx,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attribute: CK_ATTRIBUTE_TYPE,
) -> Vec<u8> {
    let mut template = vec![CK_ATTRIBUTE::new(attribute)];
    context.get_attribute_value(session, object, &mut template).unwrap();
    let mut value = vec![0_u8; template[0].ulValueLen as usize];
    template[0].pValue = value.as_mut_ptr().cast();
    context.get_attribute_value(session, object, &mut template).unwrap();
    value
}
