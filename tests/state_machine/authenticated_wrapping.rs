//! C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated: what Wycheproof says of GCM
//! and CCM, wherever the keys are; what was changed unwraps to nothing.

use cryptoki_sys::*;

use crate::PLACES;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, P256, Template, mechanism, mechanism_with};
use crate::message_ciphers::{ccm, gcm};
use crate::vectors::wycheproof;
use crate::wrapping::secret;

fn wrapping_key(
    module: &Module,
    session: CK_SESSION_HANDLE,
    place: (bool, bool),
    value: &[u8],
) -> CK_OBJECT_HANDLE {
    let template = secret(CKK_AES, place).bytes(CKA_VALUE, value);
    module.create(session, template.flag(CKA_WRAP, true).flag(CKA_UNWRAP, true)).unwrap()
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
                            let made =
                                module.wrap_authenticated(session, m, (working, carried), &aad);
                            assert_eq!(made.unwrap(), sealed, "{}", case.name);
                        });
                        assert_eq!(tag, expected, "{}", case.name);
                    }
                    let (mut iv, mut tag) = (case.bytes("iv"), expected.clone());
                    with(&mut iv, &mut tag, &mut |m: &mut CK_MECHANISM| {
                        let template = secret(CKK_GENERIC_SECRET, PLACES[2]);
                        let both = (&sealed[..], Some(&aad[..]));
                        match module.unwrap_with(session, m, working, both, template) {
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
        let wrapped =
            module.wrap_authenticated(session, &mut m, (working, private), b"for whom").unwrap();
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
            module.unwrap_with(session, &mut m, working, (wrapped, Some(aad)), wanted())
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
        let wrong = module.wrap_authenticated(session, &mut m, (working, private), b"");
        assert_eq!(wrong, Err(CKR_MECHANISM_PARAM_INVALID));
        for number in [CKM_AES_CBC_PAD, CKM_AES_KEY_WRAP_KWP, CKM_RSA_PKCS, 0x7fff_0000] {
            let mut m = mechanism(number);
            let wrong = module.wrap_authenticated(session, &mut m, (working, private), b"");
            assert_eq!(wrong, Err(CKR_MECHANISM_INVALID));
        }
    });
}

/// CK_GCM_WRAP_PARAMS and CK_CCM_WRAP_PARAMS: the tag follows the wrapped key, and the
/// nonce may be the module's own.
#[test]
fn c_wrap_key_takes_the_wrapping_structures() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let value = [0x5a; 24];
        let mut aad = *b"for whom";
        for place in PLACES {
            let working = wrapping_key(&module, session, place, &[9; 32]);
            let carried = secret(CKK_GENERIC_SECRET, place).bytes(CKA_VALUE, &value);
            let carried = module.create(session, carried).unwrap();
            for number in [CKM_AES_GCM, CKM_AES_CCM] {
                // As encryption has it: what is wrapped is the key's value.
                let plain = |nonce: &mut [u8; 12], aad: &mut [u8; 8], call: &mut Call<'_>| {
                    if number == CKM_AES_GCM {
                        let mut p = CK_GCM_PARAMS {
                            pIv: nonce.as_mut_ptr(),
                            ulIvLen: 12,
                            ulIvBits: 96,
                            pAAD: aad.as_mut_ptr(),
                            ulAADLen: 8,
                            ulTagBits: 128,
                        };
                        call(&mut mechanism_with(number, &mut p));
                    } else {
                        let mut p = CK_CCM_PARAMS {
                            ulDataLen: value.len() as CK_ULONG,
                            pNonce: nonce.as_mut_ptr(),
                            ulNonceLen: 12,
                            pAAD: aad.as_mut_ptr(),
                            ulAADLen: 8,
                            ulMACLen: 16,
                        };
                        call(&mut mechanism_with(number, &mut p));
                    }
                };
                let with = |nonce: &mut [u8; 12],
                            aad: &mut [u8; 8],
                            generator: CK_GENERATOR_FUNCTION,
                            call: &mut Call<'_>| {
                    if number == CKM_AES_GCM {
                        let mut p = CK_GCM_WRAP_PARAMS {
                            pIv: nonce.as_mut_ptr(),
                            ulIvLen: 12,
                            ulIvFixedBits: 8,
                            ivGenerator: generator,
                            pAAD: aad.as_mut_ptr(),
                            ulAADLen: 8,
                            ulTagBits: 128,
                        };
                        call(&mut mechanism_with(number, &mut p));
                    } else {
                        // The length is the token's to say.
                        let mut p = CK_CCM_WRAP_PARAMS {
                            ulDataLen: 0,
                            pNonce: nonce.as_mut_ptr(),
                            ulNonceLen: 12,
                            ulNonceFixedBits: 8,
                            nonceGenerator: generator,
                            pAAD: aad.as_mut_ptr(),
                            ulAADLen: 8,
                            ulMACLen: 16,
                        };
                        call(&mut mechanism_with(number, &mut p));
                    }
                };
                let mut seen = Vec::new();
                for generator in [CKG_NO_GENERATE, CKG_GENERATE, CKG_GENERATE_RANDOM] {
                    let (mut nonce, mut wrapped) = ([7; 12], Vec::new());
                    with(&mut nonce, &mut aad, generator, &mut |m| {
                        wrapped = module.wrap(session, m, working, carried).unwrap();
                    });
                    assert_eq!(nonce == [7; 12], generator == CKG_NO_GENERATE);
                    assert_eq!((nonce[0], wrapped.len()), (7, value.len() + 16));
                    let mut same = Vec::new();
                    plain(&mut nonce, &mut aad, &mut |m| {
                        same = module.wrap(session, m, working, carried).unwrap();
                    });
                    assert_eq!(wrapped, same, "{number:#x} {place:?}");
                    // What the generator says is nothing to unwrapping, and nothing is written.
                    let before = nonce;
                    with(&mut nonce, &mut aad, generator, &mut |m| {
                        let template = secret(CKK_GENERIC_SECRET, PLACES[2]);
                        let key = module.unwrap(session, m, working, &wrapped, template).unwrap();
                        assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), value);
                        let template = secret(CKK_GENERIC_SECRET, PLACES[2]);
                        let mut wrong = wrapped.clone();
                        wrong[3] ^= 1;
                        let key = module.unwrap(session, m, working, &wrong, template);
                        assert_eq!(key, Err(CKR_WRAPPED_KEY_INVALID));
                    });
                    assert_eq!(nonce, before);
                    seen.push(nonce);
                }
                assert!(seen[0] != seen[1] && seen[1] != seen[2]);
                with(&mut [7; 12], &mut aad, CKG_GENERATE_COUNTER, &mut |m| {
                    let refused = module.wrap(session, m, working, carried);
                    assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID));
                });
            }
        }
    });
}

type Call<'a> = dyn FnMut(&mut CK_MECHANISM) + 'a;
