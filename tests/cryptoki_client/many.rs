//! Certificates, and tokens with many or large objects.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::P256;
use crate::host::{
    bytes, certificate, data_object, generate_ec, initialized, login, private_keys, refused, user,
};

#[test]
fn certificates_are_described_by_what_is_in_them() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let openssl = OpenSsl::new();
        let value = openssl.certificate("one");
        let one = session.create_object(&certificate(value.clone())).unwrap();
        let subject = bytes(&session, one, AttributeType::Subject);
        assert!(subject.ends_with(b"one"), "CN=one");
        assert_eq!(subject, bytes(&session, one, AttributeType::Issuer), "it is self-signed");
        assert_eq!(bytes(&session, one, AttributeType::Value), value);
        let mut with_subject = certificate(openssl.certificate("two"));
        with_subject.extend([Attribute::Subject(b"given".to_vec()), Attribute::Id(vec![2])]);
        let two = session.create_object(&with_subject).unwrap();
        assert_eq!(bytes(&session, two, AttributeType::Subject), b"given");
        let by_subject = |subject: Vec<u8>| {
            session
                .find_objects(&[
                    Attribute::Class(ObjectClass::CERTIFICATE),
                    Attribute::Subject(subject),
                ])
                .unwrap()
        };
        assert_eq!(by_subject(subject), [one]);
        assert_eq!(by_subject(b"given".to_vec()), [two]);
        assert!(by_subject(b"nobody".to_vec()).is_empty());
        let rv = refused(session.create_object(&certificate(b"not DER".to_vec())));
        assert_eq!(rv, RvError::AttributeValueInvalid);
    });
}

#[test]
fn three_hundred_certificates_are_found_in_pages_and_one_by_one() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        let value = OpenSsl::new().certificate("many");
        let mut handles = Vec::new();
        for number in 0..300_u16 {
            let mut template = certificate(value.clone());
            template.push(Attribute::Id(number.to_be_bytes().to_vec()));
            handles.push(session.create_object(&template).unwrap());
        }
        let class = [Attribute::Class(ObjectClass::CERTIFICATE)];
        for page in [1, 7, 300, 1000] {
            let page = std::num::NonZeroUsize::new(page).unwrap();
            let mut found: Vec<ObjectHandle> = session
                .iter_objects_with_cache_size(&class, page)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            found.sort_by_key(ObjectHandle::handle);
            assert_eq!(found, handles, "in pages of {page}");
        }
        let before = service.counts(TOKEN);
        for number in 0..300_u16 {
            let id = Attribute::Id(number.to_be_bytes().to_vec());
            let found = session.find_objects(&[class[0].clone(), id]).unwrap();
            assert_eq!(found, [handles[usize::from(number)]]);
        }
        // Searches in a known catalogue ask at most whether it is still right,
        // once a second.
        let asked =
            service.count(TOKEN, "catalogue") - before["catalogue"]["count"].as_u64().unwrap();
        assert!(asked <= 10, "{asked} questions for 300 searches");
        // A search that was begun is over when it is said to be.
        let mut search = session.iter_objects(&class).unwrap();
        assert!(search.next().is_some());
        drop(search);
        assert_eq!(session.find_objects(&class).unwrap().len(), 300);
    });
}

/// More than the 4 MiB up to which the catalogue comes as a whole.
#[test]
fn a_token_of_more_than_four_mebibytes_is_searched_from_afar() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        for number in 0..25_u8 {
            let value = vec![number; 200_000];
            session.create_object(&data_object(&[number], value)).unwrap();
        }
        let (_, private) = generate_ec(&session, P256, true, b"key");
        session.logout().unwrap();
        login(&session);
        let all = session.find_objects(&[Attribute::Class(ObjectClass::DATA)]).unwrap();
        assert_eq!(all.len(), 25);
        assert!(service.count(TOKEN, "find") > 0, "{:?}", service.counts(TOKEN));
        for number in [0, 13, 24] {
            let found = session.find_objects(&[Attribute::Label(vec![number])]).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(bytes(&session, found[0], AttributeType::Value), vec![number; 200_000]);
        }
        // Handles that were told before the logout mean the same.
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        assert_eq!(private_keys(&session), [private]);
        // So they do after a change that drops what was looked at.
        let listed = session.find_objects(&[Attribute::Label(vec![7])]).unwrap()[0];
        service
            .admin(&["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "new"]);
        let (other, _) = generate_ec(&session, P256, true, b"other");
        assert_eq!(session.find_objects(&[Attribute::Label(b"new".to_vec())]).unwrap().len(), 2);
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        assert_eq!(bytes(&session, listed, AttributeType::Label), [7]);
        session.destroy_object(other).unwrap();
        let gone = session.get_attributes(other, &[AttributeType::Class]);
        assert_eq!(refused(gone), RvError::ObjectHandleInvalid);
        let found = session.find_objects(&[Attribute::Label(vec![13])]).unwrap();
        session.destroy_object(found[0]).unwrap();
        assert!(session.find_objects(&[Attribute::Label(vec![13])]).unwrap().is_empty());
        assert_eq!(session.find_objects(&[Attribute::Class(ObjectClass::DATA)]).unwrap().len(), 24);
    });
}
