//! What fuzzing has found, once more and by name.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::common::alone::{alone, service};
use crate::common::raw::{Module, Template, call3, mechanism, ok};

/// The tag of a message goes to where the last call says, and has the length
/// that the first one said. The module wrote, and read, past a shorter place.
#[test]
fn a_tag_that_changes_its_length_within_a_message_is_refused() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let key = Template::new()
            .number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, CKK_AES)
            .bytes(CKA_VALUE, &[7; 16])
            .flag(CKA_ENCRYPT, true)
            .flag(CKA_DECRYPT, true);
        let key = module.create(session, key).unwrap();
        let (mut nonce, mut tag) = ([1; 12], [0xa5; 16]);
        let mut told = |bits| CK_GCM_MESSAGE_PARAMS {
            pIv: nonce.as_mut_ptr(),
            ulIvLen: 12,
            ulIvFixedBits: 0,
            ivGenerator: CKG_NO_GENERATE,
            pTag: tag.as_mut_ptr(),
            ulTagBits: bits,
        };
        let (mut long, mut short) = (told(128), told(32));
        let size = size_of_val(&long) as CK_ULONG;
        let (long, short) = ((&raw mut long).cast(), (&raw mut short).cast());
        let mut gcm = mechanism(CKM_AES_GCM);
        let (mut text, mut result, mut length) = ([3; 20], [0; 64], 64);
        let (text, result) = (text.as_mut_ptr(), result.as_mut_ptr());
        let last = CKF_END_OF_MESSAGE;

        ok(call3!(module, C_MessageEncryptInit(session, &raw mut gcm, key))).unwrap();
        ok(call3!(module, C_EncryptMessageBegin(session, long, size, null_mut(), 0))).unwrap();
        let rv = call3!(
            module,
            C_EncryptMessageNext(session, short, size, text, 20, result, &raw mut length, last)
        );
        assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);

        ok(call3!(module, C_MessageDecryptInit(session, &raw mut gcm, key))).unwrap();
        ok(call3!(module, C_DecryptMessageBegin(session, long, size, null_mut(), 0))).unwrap();
        let rv = call3!(
            module,
            C_DecryptMessageNext(session, short, size, text, 20, result, &raw mut length, last)
        );
        assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
        assert_eq!(tag, [0xa5; 16]);
    });
}
