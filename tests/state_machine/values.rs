//! Handles, attributes and templates that are not what they should be.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::NOTHING;
use crate::common::alone::{alone, service};
use crate::common::raw::{Module, P256, Template, call, mechanism};

#[test]
fn handles_that_are_no_handles() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_rsa(session, false);
        for stranger in [0, NOTHING, CK_ULONG::MAX] {
            assert_eq!(
                module.sign_init(stranger, CKM_RSA_PKCS, private),
                Err(CKR_SESSION_HANDLE_INVALID)
            );
            assert_eq!(
                module.sign_init(session, CKM_RSA_PKCS, stranger),
                Err(CKR_KEY_HANDLE_INVALID)
            );
            assert_eq!(module.get(session, stranger, CKA_CLASS), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(
                module.set(session, stranger, Template::new()),
                Err(CKR_OBJECT_HANDLE_INVALID)
            );
            assert_eq!(
                module.copy(session, stranger, Template::new()),
                Err(CKR_OBJECT_HANDLE_INVALID)
            );
            assert_eq!(
                call!(module, C_DestroyObject(session, stranger)),
                CKR_OBJECT_HANDLE_INVALID
            );
            assert_eq!(call!(module, C_CloseSession(stranger)), CKR_SESSION_HANDLE_INVALID);
        }
        assert_eq!(module.open(NOTHING, 0), Err(CKR_SLOT_ID_INVALID));
        // A key of the wrong kind.
        assert_eq!(module.sign_init(session, CKM_RSA_PKCS, public), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(module.sign_init(session, CKM_ECDSA, private), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(module.sign_init(session, CKM_AES_CBC, private), Err(CKR_MECHANISM_INVALID));
        assert_eq!(module.sign_init(session, CKM_SHA256, private), Err(CKR_MECHANISM_INVALID));
        assert_eq!(
            module.sign_init(session, CKM_RSA_PKCS_PSS, private),
            Err(CKR_MECHANISM_PARAM_INVALID)
        );
        // A session that was.
        let closed = module.open(0, 0).unwrap();
        assert_eq!(call!(module, C_CloseSession(closed)), CKR_OK);
        assert_eq!(call!(module, C_CloseSession(closed)), CKR_SESSION_HANDLE_INVALID);
        assert_ne!(module.open(0, 0).unwrap(), closed);
    });
}

#[test]
fn attributes_are_all_dealt_with_whatever_becomes_of_one() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, key) = module.generate_rsa(session, true);
        let read = |entries: &mut [CK_ATTRIBUTE]| {
            let count = entries.len() as CK_ULONG;
            call!(module, C_GetAttributeValue(session, key, entries.as_mut_ptr(), count))
        };
        let entry = |attribute, value: &mut [u8]| CK_ATTRIBUTE {
            type_: attribute,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let (mut class, mut bits, mut secret, mut modulus, mut exponent) =
            ([0; 8], [0; 8], [0; 256], [0; 256], [0; 16]);
        let mut entries = [
            entry(CKA_CLASS, &mut class),
            entry(CKA_PRIVATE_EXPONENT, &mut secret),
            entry(CKA_VALUE_LEN, &mut bits),
            entry(CKA_MODULUS, &mut modulus[..10]),
            entry(CKA_PUBLIC_EXPONENT, &mut exponent),
            CK_ATTRIBUTE { type_: CKA_MODULUS, pValue: null_mut(), ulValueLen: 77 },
        ];
        assert_eq!(read(&mut entries), CKR_ATTRIBUTE_SENSITIVE);
        let lengths: Vec<CK_ULONG> = entries.iter().map(|entry| entry.ulValueLen).collect();
        let not_there = CK_UNAVAILABLE_INFORMATION;
        assert_eq!(lengths, [8, not_there, not_there, not_there, 3, 256]);
        assert_eq!(CK_ULONG::from_ne_bytes(class), CKO_PRIVATE_KEY);
        assert_eq!(exponent[..3], [1, 0, 1]);
        assert_eq!((secret, modulus), ([0; 256], [0; 256]), "nothing else is written to");

        assert_eq!(
            read(&mut [entry(CKA_MODULUS, &mut modulus[..255]), entry(CKA_CLASS, &mut class)]),
            CKR_BUFFER_TOO_SMALL
        );
        assert_eq!(
            read(&mut [entry(CKA_VALUE_LEN, &mut bits), entry(CKA_CLASS, &mut class)]),
            CKR_ATTRIBUTE_TYPE_INVALID
        );
        assert_eq!(read(&mut [entry(CKA_MODULUS, &mut modulus)]), CKR_OK);
        assert_ne!(modulus[0], 0);
        assert_eq!(read(&mut []), CKR_OK);
        // Each secret part of an RSA key.
        for part in [
            CKA_PRIVATE_EXPONENT,
            CKA_PRIME_1,
            CKA_PRIME_2,
            CKA_EXPONENT_1,
            CKA_EXPONENT_2,
            CKA_COEFFICIENT,
        ] {
            assert_eq!(module.get(session, key, part), Err(CKR_ATTRIBUTE_SENSITIVE), "{part:#x}");
        }
        let (_, ec) = module.generate_ec(session, P256, false);
        assert_eq!(module.get(session, ec, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    });
}

#[test]
fn memory_need_not_be_aligned() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, key) = module.generate_ec(session, P256, false);
        let mut memory = vec![0_u8; 4096];
        // An odd address.
        let odd = memory.as_ptr().align_offset(16) + 1;
        let place = |memory: &mut [u8], offset: usize| memory[odd + offset..].as_mut_ptr();
        let value = place(&mut memory, 1024);
        let entries = place(&mut memory, 0).cast::<CK_ATTRIBUTE>();
        let class = CKO_PRIVATE_KEY;
        // SAFETY: all of it is inside `memory`.
        unsafe {
            value.copy_from(class.to_ne_bytes().as_ptr(), 8);
            for index in 0..2 {
                entries.add(index).write_unaligned(CK_ATTRIBUTE {
                    type_: if index == 0 { CKA_CLASS } else { CKA_KEY_TYPE },
                    pValue: value.add(index * 9).cast(),
                    ulValueLen: 8,
                });
            }
        }
        let count = place(&mut memory, 2049).cast::<CK_ULONG>();
        let handles = place(&mut memory, 2060).cast::<CK_OBJECT_HANDLE>();
        assert_eq!(call!(module, C_FindObjectsInit(session, entries, 1)), CKR_OK);
        assert_eq!(call!(module, C_FindObjects(session, handles, 8, count)), CKR_OK);
        // SAFETY: as above.
        let (count, found) = unsafe { (count.read_unaligned(), handles.read_unaligned()) };
        assert_eq!((count, found), (1, key));
        assert_eq!(call!(module, C_GetAttributeValue(session, key, entries, 2)), CKR_OK);
        // SAFETY: as above.
        let kind = unsafe { value.add(9).cast::<CK_ULONG>().read_unaligned() };
        assert_eq!(kind, CKK_EC);
        // Mechanism, length and structures.
        let place_of_mechanism = place(&mut memory, 3001).cast::<CK_MECHANISM>();
        // SAFETY: as above.
        unsafe { place_of_mechanism.write_unaligned(mechanism(CKM_ECDSA)) };
        assert_eq!(call!(module, C_SignInit(session, place_of_mechanism, key)), CKR_OK);
        let length = place(&mut memory, 3101).cast::<CK_ULONG>();
        // SAFETY: as above.
        unsafe { length.write_unaligned(64) };
        let signature = place(&mut memory, 3201);
        assert_eq!(call!(module, C_Sign(session, value, 32, signature, length)), CKR_OK);
        let info = place(&mut memory, 3501).cast::<CK_SESSION_INFO>();
        assert_eq!(call!(module, C_GetSessionInfo(session, info)), CKR_OK);
        let slots = place(&mut memory, 3701).cast::<CK_SLOT_ID>();
        assert_eq!(call!(module, C_GetSlotList(CK_TRUE, slots, length)), CKR_OK);
    });
}

#[test]
fn templates_that_make_no_sense_are_refused() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let data = || Template::new().number(CKA_CLASS, CKO_DATA);
        for (template, expected) in [
            (Template::new(), CKR_TEMPLATE_INCOMPLETE),
            (Template::new().number(CKA_CLASS, 0x1234), CKR_ATTRIBUTE_VALUE_INVALID),
            (Template::new().bytes(CKA_CLASS, &[0; 4]), CKR_ATTRIBUTE_VALUE_INVALID),
            (data().bytes(CKA_TOKEN, &[1, 1]), CKR_ATTRIBUTE_VALUE_INVALID),
            (data().bytes(CKA_LABEL, b"a").bytes(CKA_LABEL, b"b"), CKR_TEMPLATE_INCONSISTENT),
            (data().flag(CKA_SENSITIVE, true), CKR_ATTRIBUTE_TYPE_INVALID),
            (data().bytes(CKA_UNIQUE_ID, b"mine"), CKR_ATTRIBUTE_READ_ONLY),
            (Template::new().number(CKA_CLASS, CKO_CERTIFICATE), CKR_TEMPLATE_INCOMPLETE),
            (
                Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY).number(CKA_KEY_TYPE, CKK_EC),
                CKR_TEMPLATE_INCOMPLETE,
            ),
        ] {
            assert_eq!(module.create(session, template), Err(expected));
        }
        // A template that is far too long, and a value that is.
        let mut handle = 0;
        let mut entry =
            CK_ATTRIBUTE { type_: CKA_LABEL, pValue: null_mut(), ulValueLen: CK_ULONG::MAX };
        let rv = call!(module, C_CreateObject(session, &raw mut entry, 1, &raw mut handle));
        assert_eq!(rv, CKR_ATTRIBUTE_VALUE_INVALID);
        let rv =
            call!(module, C_CreateObject(session, &raw mut entry, CK_ULONG::MAX, &raw mut handle));
        assert_eq!(rv, CKR_ARGUMENTS_BAD);
    });
}
