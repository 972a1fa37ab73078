//! C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated: what Wycheproof says of GCM
//! and CCM, wherever the keys are; what was changed unwraps to nothing.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, P256, Rv, Template, call3, mechanism, mechanism_with, ok};
use crate::message_ciphers::{ccm, gcm};
use crate::vectors::wycheproof;

fn secret(kind: CK_KEY_TYPE, (token, sensitive): (bool, bool)) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, kind)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_EXTRACTABLE, true)
}

fn wrapping_key(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: (bool, bool),
    value: &[u8],
) -> CK_OBJECT_HANDLE {
    let template = secret(CKK_AES, place).bytes(CKA_VALUE, value);
    module.create(session, template.flag(CKA_WRAP, true).flag(CKA_UNWRAP, true)).unwrap()
}

/// Asked for the length first, then with a buffer that is too short.
fn wrap(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: &mut CK_MECHANISM,
    (wrapping, key): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    associated: &[u8],
) -> Rv<Vec<u8>> {
    let m = std::ptr::from_mut(mechanism);
    let (aad, more) = (associated.as_ptr().cast_mut(), associated.len() as CK_ULONG);
    let once = |buffer: *mut u8, length: &mut CK_ULONG| {
        let l = std::ptr::from_mut(length);
        call3!(module, C_WrapKeyAuthenticated(session, m, wrapping, key, aad, more, buffer, l))
    };
    let mut needed = 0;
    ok(once(null_mut(), &mut needed))?;
    let mut wrapped = vec![0; needed as usize];
    let mut length = needed - 1;
    assert_eq!(once(wrapped.as_mut_ptr(), &mut length), CKR_BUFFER_TOO_SMALL);
    assert_eq!(length, needed);
    ok(once(wrapped.as_mut_ptr(), &mut length))?;
    assert_eq!(length, needed);
    Ok(wrapped)
}

fn unwrap(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: &mut CK_MECHANISM,
    unwrapping: CK_OBJECT_HANDLE,
    (wrapped, associated): (&[u8], &[u8]),
    mut template: Template,
) -> Rv<CK_OBJECT_HANDLE> {
    let mut array = template.array();
    let mut key = 0;
    ok(call3!(
        module,
        C_UnwrapKeyAuthenticated(
            session,
            std::ptr::from_mut(mechanism),
            unwrapping,
            wrapped.as_ptr().cast_mut(),
            wrapped.len() as CK_ULONG,
            array.as_mut_ptr(),
            array.len() as CK_ULONG,
            associated.as_ptr().cast_mut(),
            associated.len() as CK_ULONG,
            &raw mut key,
        )
    ))?;
    Ok(key)
}

#[test]
fn wrapped_keys_are_what_wycheproof_says_wherever_the_keys_are() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        for (file, number) in [("aes_gcm", CKM_AES_GCM), ("aes_ccm", CKM_AES_CCM)] {
            for (at, case) in wycheproof(file).into_iter().enumerate() {
                let (value, sealed) = (case.bytes("msg"), case.bytes("ct"));
                let (aad, expected) = (case.bytes("aad"), case.bytes("tag"));
                if value.is_empty() {
                    continue;
                }
                let places = if at % 20 == 0 { &PLACES[..] } else { &PLACES[2..] };
                for place in places {
                    let working = wrapping_key(&module, session, *place, &case.bytes("key"));
                    let with =
                        |iv: &mut Vec<u8>,
                         tag: &mut Vec<u8>,
                         call: &mut dyn FnMut(&mut CK_MECHANISM)| {
                            if number == CKM_AES_GCM {
                                let mut p = gcm(iv, CKG_NO_GENERATE, tag);
                                call(&mut mechanism_with(number, &mut p));
                            } else {
                                let mut p = ccm(iv, value.len(), tag);
                                call(&mut mechanism_with(number, &mut p));
                            }
                        };
                    for carried in places.iter().filter(|_| case.is_valid()) {
                        let carried = secret(CKK_GENERIC_SECRET, *carried);
                        let carried = carried.bytes(CKA_VALUE, &value);
                        let carried = module.create(session, carried).unwrap();
                        let (mut iv, mut tag) = (case.bytes("iv"), vec![0; expected.len()]);
                        with(&mut iv, &mut tag, &mut |m: &mut CK_MECHANISM| {
                            let made = wrap(&module, session, m, (working, carried), &aad);
                            assert_eq!(made.unwrap(), sealed, "{}", case.name);
                        });
                        assert_eq!(tag, expected, "{}", case.name);
                    }
                    let (mut iv, mut tag) = (case.bytes("iv"), expected.clone());
                    with(&mut iv, &mut tag, &mut |m: &mut CK_MECHANISM| {
                        let template = secret(CKK_GENERIC_SECRET, PLACES[2]);
                        let both = (&sealed[..], &aad[..]);
                        match unwrap(&module, session, m, working, both, template) {
                            Ok(key) => {
                                assert_ne!(case.result, "invalid", "{}", case.name);
                                assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), value);
                            }
                            Err(rv) => {
                                assert!(!case.is_valid(), "{}: {rv:#x}", case.name);
                                let known = [CKR_WRAPPED_KEY_INVALID, CKR_MECHANISM_PARAM_INVALID];
                                assert!(known.contains(&rv), "{}: {rv:#x}", case.name);
                            }
                        }
                    });
                }
            }
        }
        assert!(service.count(TOKEN, "wrap_key") > 20, "{:?}", service.counts(TOKEN));
        assert!(service.count(TOKEN, "unwrap_key") > 10, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn a_private_key_is_carried_under_a_nonce_of_the_modules_own() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let working = wrapping_key(&module, session, PLACES[0], &[9; 32]);
        let private = Template::new().flag(CKA_EXTRACTABLE, true);
        let public = Template::new().bytes(CKA_EC_PARAMS, P256);
        let (public, private) =
            module.generate(session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap();

        let (mut iv, mut tag) = ([0_u8; 12], [0_u8; 16]);
        let mut p = gcm(&mut iv, CKG_GENERATE, &mut tag);
        let mut m = mechanism_with(CKM_AES_GCM, &mut p);
        let wrapped = wrap(&module, session, &mut m, (working, private), b"for whom").unwrap();
        assert_ne!((iv, tag), ([0; 12], [0; 16]));

        let wanted = || {
            Template::new()
                .number(CKA_CLASS, CKO_PRIVATE_KEY)
                .number(CKA_KEY_TYPE, CKK_EC)
                .flag(CKA_SIGN, true)
        };
        let open = |iv: [u8; 12], tag: [u8; 16], wrapped: &[u8], aad: &[u8]| {
            let (mut iv, mut tag) = (iv, tag);
            let mut p = gcm(&mut iv, CKG_NO_GENERATE, &mut tag);
            let mut m = mechanism_with(CKM_AES_GCM, &mut p);
            unwrap(&module, session, &mut m, working, (wrapped, aad), wanted())
        };
        let key = open(iv, tag, &wrapped, b"for whom").unwrap();
        let signature = module.sign_with(session, CKM_ECDSA, key, &[7; 32]).unwrap();
        module.verify_with(session, CKM_ECDSA, public, &[7; 32], &signature).unwrap();

        // Whatever is changed, nothing comes of it.
        let changed = |mut bytes: Vec<u8>| {
            bytes[3] ^= 1;
            bytes
        };
        let (other_iv, other_tag) = (changed(iv.to_vec()), changed(tag.to_vec()));
        let (other_iv, other_tag) = (other_iv.try_into().unwrap(), other_tag.try_into().unwrap());
        for result in [
            open(other_iv, tag, &wrapped, b"for whom"),
            open(iv, other_tag, &wrapped, b"for whom"),
            open(iv, tag, &changed(wrapped.clone()), b"for whom"),
            open(iv, tag, &wrapped, b"for wham"),
            open(iv, tag, &wrapped, b""),
        ] {
            assert_eq!(result, Err(CKR_WRAPPED_KEY_INVALID));
        }

        // A tag longer than any is not looked for, and other mechanisms have none.
        p.ulTagBits = 1 << 40;
        let mut m = mechanism_with(CKM_AES_GCM, &mut p);
        let wrong = wrap(&module, session, &mut m, (working, private), b"");
        assert_eq!(wrong, Err(CKR_MECHANISM_PARAM_INVALID));
        for number in [CKM_AES_CBC_PAD, CKM_AES_KEY_WRAP_KWP, CKM_RSA_PKCS, 0x7fff_0000] {
            let wrong = wrap(&module, session, &mut mechanism(number), (working, private), b"");
            assert_eq!(wrong, Err(CKR_MECHANISM_INVALID));
        }
    });
}
