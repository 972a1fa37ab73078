//! Messages that are encrypted and authenticated one by one: what Wycheproof
//! says of GCM and CCM, whole and in parts, wherever the key is.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, Rv, Template, call, call3, mechanism, ok};
use crate::vectors::wycheproof;

fn aes(
    module: &Module,
    session: CK_SESSION_HANDLE,
    (token, sensitive): (bool, bool),
    value: &[u8],
) -> CK_OBJECT_HANDLE {
    let template = Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_AES)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .bytes(CKA_VALUE, value);
    module.create(session, template).unwrap()
}

pub fn gcm(
    iv: &mut [u8],
    generator: CK_GENERATOR_FUNCTION,
    tag: &mut [u8],
) -> CK_GCM_MESSAGE_PARAMS {
    CK_GCM_MESSAGE_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: iv.len() as CK_ULONG,
        ulIvFixedBits: 0,
        ivGenerator: generator,
        pTag: tag.as_mut_ptr(),
        ulTagBits: 8 * tag.len() as CK_ULONG,
    }
}

pub fn ccm(nonce: &mut [u8], length: usize, tag: &mut [u8]) -> CK_CCM_MESSAGE_PARAMS {
    CK_CCM_MESSAGE_PARAMS {
        ulDataLen: length as CK_ULONG,
        pNonce: nonce.as_mut_ptr(),
        ulNonceLen: nonce.len() as CK_ULONG,
        ulNonceFixedBits: 0,
        nonceGenerator: CKG_NO_GENERATE,
        pMAC: tag.as_mut_ptr(),
        ulMACLen: tag.len() as CK_ULONG,
    }
}

/// One message, in parts of this length if there is one.
pub fn message<P>(
    module: &Module,
    session: CK_SESSION_HANDLE,
    encrypt: bool,
    parameter: &mut P,
    associated: &[u8],
    data: &[u8],
    parts: Option<usize>,
) -> Rv<Vec<u8>> {
    let list = module.list_3_2();
    let (whole, begin, next) = if encrypt {
        (list.C_EncryptMessage, list.C_EncryptMessageBegin, list.C_EncryptMessageNext)
    } else {
        (list.C_DecryptMessage, list.C_DecryptMessageBegin, list.C_DecryptMessageNext)
    };
    let (p, size) = (std::ptr::from_mut(parameter).cast(), size_of::<P>() as CK_ULONG);
    let (aad, aad_length) = (associated.as_ptr().cast_mut(), associated.len() as CK_ULONG);
    let mut output = vec![0; data.len() + 1];
    let mut length = output.len() as CK_ULONG;
    let (out, l) = (output.as_mut_ptr(), &raw mut length);
    // SAFETY: all pointers are valid for the lengths beside them.
    unsafe {
        let Some(parts) = parts else {
            let (input, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            let whole = whole.unwrap();
            let mut needed = 0;
            let n = &raw mut needed;
            ok(whole(session, p, size, aad, aad_length, input, count, null_mut(), n))?;
            assert_eq!(needed as usize, data.len());
            ok(whole(session, p, size, aad, aad_length, input, count, out, l))?;
            output.truncate(length as usize);
            return Ok(output);
        };
        ok(begin.unwrap()(session, p, size, aad, aad_length))?;
        let mut chunks = data.chunks(parts).peekable();
        while let Some(part) = chunks.next() {
            let (input, count) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
            let last = chunks.peek().is_none();
            length = output.len() as CK_ULONG;
            let next = next.unwrap();
            if last && data.len() > 1 {
                // Too short by one: nothing is lost.
                length = data.len() as CK_ULONG - 1;
                let rv = next(session, p, size, input, count, out, l, CKF_END_OF_MESSAGE);
                assert_eq!((rv, length as usize), (CKR_BUFFER_TOO_SMALL, data.len()));
            }
            let flags = if last { CKF_END_OF_MESSAGE } else { 0 };
            ok(next(session, p, size, input, count, out, l, flags))?;
            assert!(last || length == 0);
        }
    }
    output.truncate(length as usize);
    Ok(output)
}

#[test]
fn messages_are_those_of_wycheproof_wherever_the_key_is() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, number) in [("aes_gcm", CKM_AES_GCM), ("aes_ccm", CKM_AES_CCM)] {
            for (at, case) in wycheproof(file).into_iter().enumerate() {
                let (aad, text, sealed) = (case.bytes("aad"), case.bytes("msg"), case.bytes("ct"));
                let expected = case.bytes("tag");
                for place in if at % 20 == 0 { &PLACES[..] } else { &PLACES[2..] } {
                    let key = aes(&module, session, *place, &case.bytes("key"));
                    let mut m = mechanism(number);
                    let m = &raw mut m;
                    let list = module.list_3_2();
                    let begin = |init: CK_C_MessageEncryptInit| {
                        // SAFETY: the mechanism is valid.
                        unsafe { init.unwrap()(session, m, key) }
                    };
                    assert_eq!(begin(list.C_MessageEncryptInit), CKR_OK);
                    assert_eq!(begin(list.C_MessageEncryptInit), CKR_OPERATION_ACTIVE);
                    assert_eq!(begin(list.C_MessageDecryptInit), CKR_OK);
                    for parts in [None, Some(7)] {
                        if parts.is_some() && text.is_empty() {
                            continue;
                        }
                        let (mut iv, mut tag) = (case.bytes("iv"), vec![0; expected.len()]);
                        let run = |encrypt, iv: &mut [u8], tag: &mut [u8], data: &[u8]| {
                            if number == CKM_AES_GCM {
                                let mut p = gcm(iv, CKG_NO_GENERATE, tag);
                                message(&module, session, encrypt, &mut p, &aad, data, parts)
                            } else {
                                let mut p = ccm(iv, data.len(), tag);
                                message(&module, session, encrypt, &mut p, &aad, data, parts)
                            }
                        };
                        let done = run(true, &mut iv, &mut tag, &text);
                        if case.is_valid() {
                            assert_eq!(done.unwrap(), sealed, "{}", case.name);
                            assert_eq!(tag, expected, "{}", case.name);
                        }
                        let opened = run(false, &mut iv, &mut expected.clone(), &sealed);
                        match opened {
                            Ok(opened) => {
                                assert_ne!(case.result, "invalid", "{}", case.name);
                                assert_eq!(opened, text, "{}", case.name);
                            }
                            Err(rv) => {
                                assert!(!case.is_valid(), "{}: {rv:#x}", case.name);
                                let known = [CKR_AEAD_DECRYPT_FAILED, CKR_MECHANISM_PARAM_INVALID];
                                assert!(known.contains(&rv), "{}: {rv:#x}", case.name);
                            }
                        }
                    }
                    assert_eq!(call3!(module, C_MessageEncryptFinal(session)), CKR_OK);
                    assert_eq!(call3!(module, C_MessageDecryptFinal(session)), CKR_OK);
                    let again = call3!(module, C_MessageDecryptFinal(session));
                    assert_eq!(again, CKR_OPERATION_NOT_INITIALIZED);
                }
            }
        }
        assert!(service.count(TOKEN, "encrypt") > 20, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn nonces_are_generated_and_messages_do_not_mix() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let key = aes(&module, session, PLACES[0], &[1; 16]);
        let mut m = mechanism(CKM_AES_GCM);
        assert_eq!(call3!(module, C_MessageEncryptInit(session, &raw mut m, key)), CKR_OK);
        assert_eq!(call3!(module, C_MessageDecryptInit(session, &raw mut m, key)), CKR_OK);
        let mut seen = std::collections::HashSet::new();
        for generator in [CKG_GENERATE, CKG_GENERATE_RANDOM] {
            for parts in [None, Some(2)] {
                let (mut iv, mut tag) = ([0xaa_u8; 12], [0_u8; 16]);
                let mut p = gcm(&mut iv, generator, &mut tag);
                p.ulIvFixedBits = 20;
                let run = |encrypt, p: &mut CK_GCM_MESSAGE_PARAMS, data: &[u8]| {
                    message(&module, session, encrypt, p, b"aad", data, parts)
                };
                let sealed = run(true, &mut p, b"a message").unwrap();
                assert_eq!(iv[..2], [0xaa; 2]);
                assert_eq!(iv[2] & 0xf0, 0xa0);
                assert!(seen.insert(iv));
                let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut tag);
                assert_eq!(run(false, &mut p, &sealed).unwrap(), b"a message");
                // What is wrong once is no reason to refuse the next.
                let mut wrong = tag;
                wrong[3] ^= 1;
                let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut wrong);
                assert_eq!(run(false, &mut p, &sealed), Err(CKR_AEAD_DECRYPT_FAILED));
                let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut tag);
                assert_eq!(run(false, &mut p, &sealed).unwrap(), b"a message");
            }
        }
        let (mut iv, mut tag) = ([0_u8; 12], [0_u8; 16]);
        for (generator, fixed) in
            [(CKG_GENERATE_COUNTER, 0), (CKG_GENERATE_COUNTER_XOR, 0), (CKG_GENERATE, 33), (77, 0)]
        {
            let mut p = gcm(&mut iv, generator, &mut tag);
            p.ulIvFixedBits = fixed;
            let refused = message(&module, session, true, &mut p, b"", b"data", None);
            assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID), "{generator} {fixed}");
        }
        // A message in parts has to end before another begins.
        let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut tag);
        let (p, size) = ((&raw mut p).cast(), size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG);
        let begin = || call3!(module, C_EncryptMessageBegin(session, p, size, null_mut(), 0));
        assert_eq!((begin(), begin()), (CKR_OK, CKR_OPERATION_ACTIVE));
        assert_eq!(call3!(module, C_SessionCancel(session, CKF_MESSAGE_ENCRYPT)), CKR_OK);
        assert_eq!(begin(), CKR_OPERATION_NOT_INITIALIZED);
        let mut ecb = mechanism(CKM_AES_ECB);
        let rv = call3!(module, C_MessageEncryptInit(session, &raw mut ecb, key));
        assert_eq!(rv, CKR_MECHANISM_INVALID);
        module.set(session, key, Template::new().flag(CKA_ENCRYPT, false)).unwrap();
        let rv = call3!(module, C_MessageEncryptInit(session, &raw mut m, key));
        assert_eq!(rv, CKR_KEY_FUNCTION_NOT_PERMITTED);
        assert_eq!(call!(module, C_CloseSession(session)), CKR_OK);
    });
}
