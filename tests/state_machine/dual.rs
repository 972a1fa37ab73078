//! Two operations in one call, digests of keys, and operations that cannot be
//! saved.

use std::cell::Cell;
use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::common::alone::{alone, service};
use crate::common::raw::{Module, Template, call, mechanism};

/// RSA gives nothing before the end, so that what a part gives is nothing.
#[test]
fn a_part_is_digested_or_signed_and_encrypted_in_one_call() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let (mut rsa, mut sha, mut with_sha) =
            (mechanism(CKM_RSA_PKCS), mechanism(CKM_SHA256), mechanism(CKM_SHA256_RSA_PKCS));
        let (rsa, sha, with_sha) = (&raw mut rsa, &raw mut sha, &raw mut with_sha);
        let mut data = *b"in two parts";
        let (first, second) = (data.as_mut_ptr(), data[6..].as_ptr().cast_mut());
        let (mut buffer, length) = ([0_u8; 512], Cell::new(512));
        let (p, l) = (buffer.as_mut_ptr(), length.as_ptr());

        // Neither alone will do, and what is active goes on.
        assert_eq!(call!(module, C_DigestInit(session, sha)), CKR_OK);
        let rv = call!(module, C_DigestEncryptUpdate(session, first, 6, p, l));
        assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(call!(module, C_EncryptInit(session, rsa, public)), CKR_OK);
        let rv = call!(module, C_SignEncryptUpdate(session, first, 6, p, l));
        assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(call!(module, C_SignInit(session, with_sha, private)), CKR_OK);

        // A question for the length gives nothing to either.
        let rv = call!(module, C_DigestEncryptUpdate(session, first, 6, null_mut(), l));
        assert_eq!((rv, length.get()), (CKR_OK, 0));
        length.set(512);
        let rv = call!(module, C_DigestEncryptUpdate(session, first, 6, p, l));
        assert_eq!((rv, length.get()), (CKR_OK, 0));
        length.set(512);
        let rv = call!(module, C_SignEncryptUpdate(session, second, 6, p, l));
        assert_eq!((rv, length.get()), (CKR_OK, 0));
        // C_Digest and the like are for what came in one call.
        length.set(512);
        assert_eq!(call!(module, C_DigestUpdate(session, second, 6)), CKR_OK);
        assert_eq!(call!(module, C_DigestFinal(session, p, l)), CKR_OK);
        let whole = keyward_crypto::digest::Hash::Sha256.digest(b"in two parts");
        assert_eq!(buffer[..32], whole[..]);
        length.set(512);
        assert_eq!(call!(module, C_SignFinal(session, p, l)), CKR_OK);
        let signature = buffer[..256].to_vec();
        length.set(512);
        assert_eq!(call!(module, C_EncryptFinal(session, p, l)), CKR_OK);
        let mut encrypted = buffer[..256].to_vec();

        // Back again: the plaintext is there at the end only.
        assert_eq!(call!(module, C_DecryptInit(session, rsa, private)), CKR_OK);
        assert_eq!(call!(module, C_VerifyInit(session, with_sha, public)), CKR_OK);
        assert_eq!(call!(module, C_DigestInit(session, sha)), CKR_OK);
        let (input, rest) = (encrypted.as_mut_ptr(), encrypted[100..].as_ptr().cast_mut());
        length.set(512);
        let rv = call!(module, C_DecryptDigestUpdate(session, input, 100, p, l));
        assert_eq!((rv, length.get()), (CKR_OK, 0));
        length.set(512);
        let rv = call!(module, C_DecryptVerifyUpdate(session, rest, 156, p, l));
        assert_eq!((rv, length.get()), (CKR_OK, 0));
        length.set(512);
        assert_eq!(call!(module, C_DecryptFinal(session, p, l)), CKR_OK);
        assert_eq!(&buffer[..length.get() as usize], b"in two parts");
        assert_eq!(call!(module, C_VerifyUpdate(session, second, 6)), CKR_OK);
        let rv = call!(module, C_VerifyFinal(session, signature.as_ptr().cast_mut(), 256));
        assert_eq!(rv, CKR_OK);
    });
}

/// Sections 5.8 to 5.15: the call for the whole does not end what came in parts,
/// and leaves no operation behind.
#[test]
fn what_came_in_parts_ends_with_final() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        let (mut sha, mut with_sha) = (mechanism(CKM_SHA256), mechanism(CKM_SHA256_RSA_PKCS));
        let mut rsa = mechanism(CKM_RSA_PKCS);
        let (mut buffer, mut length) = ([1_u8; 512], 512);
        let (p, l) = (buffer.as_mut_ptr(), &raw mut length);
        let none = CKR_OPERATION_NOT_INITIALIZED;
        assert_eq!(call!(module, C_DigestInit(session, &raw mut sha)), CKR_OK);
        assert_eq!(call!(module, C_DigestUpdate(session, p, 1)), CKR_OK);
        assert_eq!(call!(module, C_Digest(session, p, 1, p, l)), none);
        assert_eq!(call!(module, C_DigestFinal(session, p, l)), none);
        assert_eq!(call!(module, C_SignInit(session, &raw mut with_sha, private)), CKR_OK);
        assert_eq!(call!(module, C_SignUpdate(session, p, 1)), CKR_OK);
        assert_eq!(call!(module, C_Sign(session, p, 1, p, l)), none);
        assert_eq!(call!(module, C_SignFinal(session, p, l)), none);
        assert_eq!(call!(module, C_VerifyInit(session, &raw mut with_sha, public)), CKR_OK);
        assert_eq!(call!(module, C_VerifyUpdate(session, p, 1)), CKR_OK);
        assert_eq!(call!(module, C_Verify(session, p, 1, p, 256)), none);
        assert_eq!(call!(module, C_VerifyFinal(session, p, 256)), none);
        assert_eq!(call!(module, C_EncryptInit(session, &raw mut rsa, public)), CKR_OK);
        assert_eq!(call!(module, C_EncryptUpdate(session, p, 1, p, l)), CKR_OK);
        assert_eq!(call!(module, C_Encrypt(session, p, 1, p, l)), none);
        assert_eq!(call!(module, C_EncryptFinal(session, p, l)), none);
    });
}

#[test]
fn a_key_is_digested_if_it_may_be_read() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let secret = |sensitive: bool| {
            let template = Template::new()
                .number(CKA_CLASS, CKO_SECRET_KEY)
                .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                .flag(CKA_SENSITIVE, sensitive)
                .bytes(CKA_VALUE, b"key");
            module.create(session, template).unwrap()
        };
        let (_, private) = module.generate_rsa(session, false);
        let mut sha = mechanism(CKM_SHA256);
        assert_eq!(call!(module, C_DigestInit(session, &raw mut sha)), CKR_OK);
        let mut data = *b"before";
        assert_eq!(call!(module, C_DigestUpdate(session, data.as_mut_ptr(), 6)), CKR_OK);
        for key in [secret(true), private] {
            assert_eq!(call!(module, C_DigestKey(session, key)), CKR_KEY_INDIGESTIBLE);
        }
        assert_eq!(call!(module, C_DigestKey(session, 0)), CKR_KEY_HANDLE_INVALID);
        assert_eq!(call!(module, C_DigestKey(session, secret(false))), CKR_OK);
        let (mut digest, mut length) = ([0; 32], 32);
        let rv = call!(module, C_DigestFinal(session, digest.as_mut_ptr(), &raw mut length));
        assert_eq!(rv, CKR_OK);
        assert_eq!(digest[..], keyward_crypto::digest::Hash::Sha256.digest(b"beforekey")[..]);
    });
}

#[test]
fn a_digest_is_saved_and_goes_on_elsewhere() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let other = module.open(0, 0).unwrap();
        let get = |session, state: &mut [u8]| {
            let mut length = state.len() as CK_ULONG;
            let state = if state.is_empty() { null_mut() } else { state.as_mut_ptr() };
            let rv = call!(module, C_GetOperationState(session, state, &raw mut length));
            (rv, length as usize)
        };
        let set = |session, state: &[u8]| {
            let (from, length) = (state.as_ptr().cast_mut(), state.len() as CK_ULONG);
            call!(module, C_SetOperationState(session, from, length, 0, 0))
        };
        assert_eq!(get(session, &mut []), (CKR_OPERATION_NOT_INITIALIZED, 0));
        for (number, name) in [(CKM_SHA_1, "sha1"), (CKM_SHA256, "sha256"), (CKM_SHA512, "sha512")]
        {
            let data: Vec<u8> = (0..300_u32).map(|byte| byte as u8).collect();
            let (head, tail) = data.split_at(201);
            let mut sha = mechanism(number);
            assert_eq!(call!(module, C_DigestInit(session, &raw mut sha)), CKR_OK);
            let update = |session, part: &[u8]| {
                let (from, length) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
                assert_eq!(call!(module, C_DigestUpdate(session, from, length)), CKR_OK);
            };
            update(session, head);
            let (rv, needed) = get(session, &mut []);
            assert_eq!(rv, CKR_OK);
            let mut state = vec![0; needed];
            assert_eq!(get(session, &mut state[1..]), (CKR_BUFFER_TOO_SMALL, needed));
            assert_eq!(get(session, &mut state), (CKR_OK, needed));
            // Where it was saved it goes on too.
            assert_eq!(set(other, &state), CKR_OK);
            let expected = crate::common::outside::OpenSsl::new().digest(name, &data);
            for session in [session, other] {
                update(session, tail);
                let (mut digest, mut length) = ([0; 64], 64);
                let out = digest.as_mut_ptr();
                let rv = call!(module, C_DigestFinal(session, out, &raw mut length));
                assert_eq!((rv, &digest[..length as usize]), (CKR_OK, &expected[..]), "{name}");
            }
            for wrong in [&state[1..], &state[..needed - 1], &[], &[9; 16]] {
                let rv = set(other, wrong);
                assert!(matches!(rv, CKR_SAVED_STATE_INVALID | CKR_ARGUMENTS_BAD), "{rv:#x}");
            }
            let from = state.as_mut_ptr();
            let rv = call!(module, C_SetOperationState(other, from, needed as CK_ULONG, 7, 0));
            assert_eq!(rv, CKR_KEY_NOT_NEEDED);
        }
        // What cannot be saved says so.
        let mut sha = mechanism(CKM_SHA3_256);
        assert_eq!(call!(module, C_DigestInit(session, &raw mut sha)), CKR_OK);
        assert_eq!(get(session, &mut []).0, CKR_STATE_UNSAVEABLE);
        let (_, private) = module.generate_rsa(session, false);
        module.sign_init(session, CKM_RSA_PKCS, private).unwrap();
        assert_eq!(get(session, &mut []).0, CKR_STATE_UNSAVEABLE);
    });
}
