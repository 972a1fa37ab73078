//! Operations: how they begin, go on and end.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::DIGEST;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, P256, call, mechanism};

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
            call!(
                module,
                C_Decrypt(session, input.as_mut_ptr(), count, output.as_mut_ptr(), &raw mut length)
            )
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
            assert_eq!(
                call!(module, C_Sign(session, data, 32, null_mut(), &raw mut needed)),
                CKR_OK
            );
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
        let rv = call!(
            module,
            C_Encrypt(session, secret.as_mut_ptr(), 9, encrypted.as_mut_ptr(), &raw mut length)
        );
        assert_eq!((rv, length), (CKR_OK, 256));

        assert_eq!(call!(module, C_DecryptInit(session, &raw mut rsa, private)), CKR_OK);
        let input = encrypted.as_mut_ptr();
        let mut length = 0;
        assert_eq!(
            call!(module, C_Decrypt(session, input, 256, null_mut(), &raw mut length)),
            CKR_OK
        );
        assert!((9..=256).contains(&length), "{length}");
        let mut buffer = [0; 256];
        for short in [0, 1, 8] {
            let mut length = short;
            let rv =
                call!(module, C_Decrypt(session, input, 256, buffer.as_mut_ptr(), &raw mut length));
            assert_eq!((rv, length), (CKR_BUFFER_TOO_SMALL, 9));
        }
        let mut length = 9;
        let rv =
            call!(module, C_Decrypt(session, input, 256, buffer.as_mut_ptr(), &raw mut length));
        assert_eq!((rv, length, &buffer[..9]), (CKR_OK, 9, &b"forty-two"[..]));
        assert_eq!(service.count(TOKEN, "decrypt"), 1);
        let rv =
            call!(module, C_Decrypt(session, input, 256, buffer.as_mut_ptr(), &raw mut length));
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
            let rv = call!(
                module,
                C_SignUpdate(session, part.as_ptr().cast_mut(), part.len() as CK_ULONG)
            );
            assert_eq!(rv, CKR_OK);
        }
        let mut length = 0;
        assert_eq!(call!(module, C_SignFinal(session, null_mut(), &raw mut length)), CKR_OK);
        assert_eq!(length, 64);
        let mut signature = [0; 64];
        assert_eq!(
            call!(module, C_SignFinal(session, signature.as_mut_ptr(), &raw mut length)),
            CKR_OK
        );
        module.verify_with(session, CKM_ECDSA_SHA256, public, &data, &signature).unwrap();
        let mut ecdsa = mechanism(CKM_ECDSA_SHA256);
        assert_eq!(call!(module, C_VerifyInit(session, &raw mut ecdsa, public)), CKR_OK);
        for part in data.chunks(1000) {
            let rv = call!(
                module,
                C_VerifyUpdate(session, part.as_ptr().cast_mut(), part.len() as CK_ULONG)
            );
            assert_eq!(rv, CKR_OK);
        }
        assert_eq!(call!(module, C_VerifyFinal(session, signature.as_mut_ptr(), 64)), CKR_OK);
        // Nothing at all is data too.
        let empty = module.sign_with(session, CKM_ECDSA_SHA256, private, b"").unwrap();
        module.verify_with(session, CKM_ECDSA_SHA256, public, b"", &empty).unwrap();
    });
}
