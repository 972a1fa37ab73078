//! How objects are copied, changed, destroyed, hidden and gone.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::pkcs8::DecodePublicKey as _;

use crate::common::alone::{alone, service};
use crate::common::raw::{P256, P384};
use crate::host::{
    bytes, data_object, generate_ec, initialized, login, private_keys, public_key, refused, slot,
    user,
};

#[test]
fn objects_are_copied_from_session_to_token_and_back() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let (public, private) = generate_ec(&session, P256, false, b"copy");
        let spki = public_key(&session, public);
        let to_token = [Attribute::Token(true), Attribute::Label(b"copied".to_vec())];
        let copy = session.copy_object(private, &to_token).unwrap();
        let again = session.copy_object(copy, &[Attribute::Token(false)]).unwrap();
        let key = p256::ecdsa::VerifyingKey::from_public_key_der(&spki).unwrap();
        for handle in [private, copy, again] {
            assert_eq!(bytes(&session, handle, AttributeType::Id), b"copy");
            let signature = session.sign(&Mechanism::Ecdsa, handle, &[1; 32]).unwrap();
            let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
            key.verify_prehash(&[1; 32], &signature).unwrap();
        }
        assert_eq!(bytes(&session, copy, AttributeType::Label), b"copied");
        assert_eq!(bytes(&session, private, AttributeType::Label), b"");
        assert_ne!(
            bytes(&session, copy, AttributeType::UniqueId),
            bytes(&session, session.copy_object(copy, &[]).unwrap(), AttributeType::UniqueId)
        );
        // What a copy may not become.
        assert_eq!(
            refused(session.copy_object(copy, &[Attribute::Private(false)])),
            RvError::TemplateInconsistent
        );
        let loosened = refused(session.copy_object(copy, &[Attribute::Sensitive(false)]));
        assert!(matches!(loosened, RvError::AttributeReadOnly | RvError::TemplateInconsistent));
        let public = session.copy_object(public, &[Attribute::Token(true)]).unwrap();
        assert_eq!(public_key(&session, public), spki);
    });
}

#[test]
fn labels_and_ids_are_any_bytes() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let other = module.open_ro_session(slot(&module)).unwrap();
        let (token_key, _) = generate_ec(&session, P256, true, b"1");
        let (session_key, _) = generate_ec(&session, P256, false, b"2");
        let all: Vec<u8> = (0..=254).collect();
        for key in [token_key, session_key] {
            for value in
                [&all[..], &[0; 255], &[0], b"", "\u{fc}ml\u{e4}ut".as_bytes(), &[0xff, 0, 0xfe]]
            {
                session
                    .update_attributes(
                        key,
                        &[Attribute::Id(value.to_vec()), Attribute::Label(value.to_vec())],
                    )
                    .unwrap();
                assert_eq!(bytes(&session, key, AttributeType::Id), value);
                assert_eq!(bytes(&other, key, AttributeType::Label), value);
                let found = session.find_objects(&[
                    Attribute::Class(ObjectClass::PUBLIC_KEY),
                    Attribute::Id(value.to_vec()),
                    Attribute::Label(value.to_vec()),
                ]);
                assert!(found.unwrap().contains(&key), "{value:x?}");
            }
        }
    });
}

#[test]
fn changes_that_would_weaken_a_key_are_refused() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let read_only = module.open_ro_session(slot(&module)).unwrap();
        for token in [true, false] {
            let (public, private) = generate_ec(&session, P256, token, b"key");
            for attribute in [
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
                Attribute::Class(ObjectClass::DATA),
                Attribute::KeyType(KeyType::RSA),
                Attribute::Local(false),
                Attribute::AlwaysSensitive(false),
                Attribute::Token(!token),
                Attribute::Private(false),
                Attribute::EcParams(P384.to_vec()),
                Attribute::UniqueId(b"mine".to_vec()),
            ] {
                let name = format!("{attribute:?}");
                // Together with something harmless, which must not happen then.
                let changes = [Attribute::Label(b"changed".to_vec()), attribute];
                let rv = refused(session.update_attributes(private, &changes));
                assert_eq!(rv, RvError::AttributeReadOnly, "{name}");
                assert_eq!(bytes(&session, private, AttributeType::Label), b"", "{name}");
            }
            let label = [Attribute::Label(b"changed".to_vec())];
            if token {
                let rv = refused(read_only.update_attributes(public, &label));
                assert_eq!(rv, RvError::SessionReadOnly);
                let rv = refused(read_only.destroy_object(public));
                assert_eq!(rv, RvError::SessionReadOnly);
            }
            session.update_attributes(private, &[Attribute::Sign(false)]).unwrap();
            let signed = session.sign(&Mechanism::Ecdsa, private, &[1; 32]);
            assert_eq!(refused(signed), RvError::KeyFunctionNotPermitted);
        }
    });
}

#[test]
fn a_destroyed_object_is_gone_and_its_handle_is_not_used_again() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let mut seen = Vec::new();
        for token in [true, false, true, false] {
            let (public, private) = generate_ec(&session, P256, token, b"key");
            for handle in [public, private] {
                assert!(!seen.contains(&handle), "{handle} is used again");
                seen.push(handle);
                session.destroy_object(handle).unwrap();
                let rv = refused(session.destroy_object(handle));
                assert_eq!(rv, RvError::ObjectHandleInvalid);
                let read = session.get_attributes(handle, &[AttributeType::Class]);
                assert_eq!(refused(read), RvError::ObjectHandleInvalid);
            }
            assert_eq!(
                refused(session.sign(&Mechanism::Ecdsa, private, &[1; 32])),
                RvError::KeyHandleInvalid
            );
        }
        assert!(session.find_objects(&[]).unwrap().is_empty());
        let mut lasting = data_object(b"lasting", vec![1]);
        lasting.push(Attribute::Destroyable(false));
        let lasting = session.create_object(&lasting).unwrap();
        assert_eq!(refused(session.destroy_object(lasting)), RvError::ActionProhibited);
    });
}

#[test]
fn handles_survive_logout_and_private_objects_are_hidden_meanwhile() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let (public, private) = generate_ec(&session, P256, true, b"key");
        let (session_public, session_private) = generate_ec(&session, P256, false, b"key");
        session.logout().unwrap();
        let mut visible = session.find_objects(&[]).unwrap();
        visible.sort_by_key(ObjectHandle::handle);
        assert_eq!(visible, [public, session_public], "only what is public");
        let read = session.get_attributes(private, &[AttributeType::Class]);
        assert_eq!(refused(read), RvError::ObjectHandleInvalid);
        // The handle is a key's, so the host is told what would help.
        let signed = session.sign(&Mechanism::Ecdsa, private, &[1; 32]);
        assert_eq!(refused(signed), RvError::UserNotLoggedIn);
        let mut hidden = data_object(b"hidden", vec![1]);
        hidden.push(Attribute::Private(true));
        assert_eq!(refused(session.create_object(&hidden)), RvError::UserNotLoggedIn);
        login(&session);
        assert_eq!(private_keys(&session), [private]);
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        // Private session objects are gone for good.
        let gone = session.get_attributes(session_private, &[AttributeType::Class]);
        assert_eq!(refused(gone), RvError::ObjectHandleInvalid);
    });
}

#[test]
fn session_objects_go_with_their_session() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let keeper = user(&module);
        let session = module.open_rw_session(slot(&module)).unwrap();
        let (public, private) = generate_ec(&session, P256, false, b"key");
        // Other sessions of the application see them.
        keeper.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        assert_eq!(keeper.find_objects(&[Attribute::Token(false)]).unwrap().len(), 2);
        session.close().unwrap();
        assert!(keeper.find_objects(&[]).unwrap().is_empty());
        for handle in [public, private] {
            let read = keeper.get_attributes(handle, &[AttributeType::Class]);
            assert_eq!(refused(read), RvError::ObjectHandleInvalid);
        }
    });
}
