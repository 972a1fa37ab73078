//! Objects and keys: made, found, used, kept, and by whom.

use crate::common::*;
use cryptoki_sys::*;
use keyward_wire::catalogue_result::State;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::signature::Verifier;
use sha2::{Digest, Sha256};

fn copy(source: wire::key::Key, template: Vec<wire::Attribute>) -> Operation {
    let source = Some(wire::Key { key: Some(source) });
    Operation::CopyObject(wire::CopyObject { source, template })
}

fn set(object: wire::key::Key, template: Vec<wire::Attribute>) -> Operation {
    let object = Some(wire::Key { key: Some(object) });
    Operation::SetAttributes(wire::SetAttributes { object, template })
}

fn destroy(object: &wire::Object) -> Operation {
    Operation::DestroyObject(wire::DestroyObject { unique_id: object.unique_id.clone() })
}

fn object(answered: Answered) -> wire::Object {
    match answered {
        Answered::Object(made) => made.object.unwrap(),
        _ => panic!("no object"),
    }
}

/// Checks an ECDSA signature with another library.
fn verify_p256(public: &wire::Object, digest: &[u8], signature: &[u8]) {
    let point = value(public, CKA_EC_POINT);
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point[2..]).unwrap();
    let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
    key.verify_prehash(digest, &signature).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_verify_elsewhere_and_decryption_undoes_encryption() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let message = b"a message";
    let digest = Sha256::digest(message);

    let pair = client.generate(generate_p256(true)).await.unwrap();
    let (public, private) = (pair.public_key.unwrap(), pair.private_key.unwrap());
    assert!(private.attributes.iter().all(|attribute| attribute.r#type != CKA_VALUE));
    let signature = client.sign(by_id(&private), ecdsa(), &digest).await.unwrap();
    verify_p256(&public, &digest, &signature.value);

    let pair = client.generate(generate_rsa(2048)).await.unwrap();
    let (public, private) = (pair.public_key.unwrap(), pair.private_key.unwrap());
    let number = |attribute| rsa::BoxedUint::from_be_slice_vartime(&value(&public, attribute));
    let rsa_public = rsa::PublicKey::new(number(CKA_MODULUS), number(CKA_PUBLIC_EXPONENT)).unwrap();
    let mut digest_info = vec![
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    digest_info.extend_from_slice(&digest);
    let pkcs1 = wire::sign::Scheme::RsaPkcs1(wire::Done {});
    let signature = client.sign(by_id(&private), pkcs1, &digest_info).await.unwrap();
    let signature = rsa::pkcs1v15::Signature::try_from(signature.value.as_slice()).unwrap();
    rsa::pkcs1v15::VerifyingKey::<Sha256>::new(rsa_public.clone())
        .verify(message, &signature)
        .unwrap();

    let pss = wire::sign::Scheme::RsaPss(wire::RsaPss {
        hash: wire::Hash::Sha256.into(),
        mgf1_hash: wire::Hash::Sha256.into(),
        salt_length: 32,
    });
    let signature = client.sign(by_id(&private), pss, &digest).await.unwrap();
    let signature = rsa::pss::Signature::try_from(signature.value.as_slice()).unwrap();
    rsa::pss::VerifyingKey::<Sha256>::new(rsa_public).verify(message, &signature).unwrap();

    let public_key = keyward_crypto::RsaPublicKey::new(
        &value(&public, CKA_MODULUS),
        &value(&public, CKA_PUBLIC_EXPONENT),
    )
    .unwrap();
    let decrypt = |input| {
        Operation::Decrypt(wire::Decrypt {
            key: Some(wire::Key { key: Some(by_id(&private)) }),
            input,
            scheme: Some(wire::decrypt::Scheme::RsaPkcs1(wire::Done {})),
            ..wire::Decrypt::default()
        })
    };
    let encrypted = public_key.encrypt_pkcs1(message).unwrap();
    let Answered::Plaintext(plain) = client.ask(decrypt(encrypted)).await.unwrap() else {
        panic!()
    };
    assert_eq!(plain.value, message);
    assert_eq!(client.refusal(decrypt(vec![1; 255])).await.code, ErrorCode::EncryptedDataLenRange);

    let error = client.sign(by_id(&public), ecdsa(), &digest).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyTypeInconsistent);
    let error = client.sign(by_id(&private), ecdsa(), &digest).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyTypeInconsistent);
    client.ask(set(by_id(&private), vec![boolean(CKA_SIGN, false)])).await.unwrap();
    let pkcs1 = wire::sign::Scheme::RsaPkcs1(wire::Done {});
    let error = client.sign(by_id(&private), pkcs1, &digest_info).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyFunctionNotPermitted);

    let status = service.admin().await.status().await;
    let dev = status.tokens.iter().find(|token| token.token == "dev").unwrap();
    let sign = dev.operations.iter().find(|counted| counted.operation == "sign").unwrap();
    assert_eq!((sign.count, sign.failed), (6, 3));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_happens_once_however_often_it_is_asked_for() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let request = client.request(generate_p256(true));
    let first = client.exchange(&request).await.unwrap().result;
    assert!(client.exchange(&request).await.unwrap().result == first);

    // Copies that overtake each other, on two connections.
    let mut admin = service.admin().await;
    let identity = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let mut one = service.connect(&identity).await;
    let mut two = service.connect(&identity).await;
    one.token = "dev".to_owned();
    one.login(PIN).await.unwrap();
    let request = one.request(generate_rsa(2048));
    let (a, b) = tokio::join!(one.exchange(&request), two.exchange(&request));
    assert!(a.unwrap().result == b.unwrap().result);

    let (objects, _) = client.catalogue(None).await;
    assert_eq!(objects.len(), 4);

    // And after a restart; a destroyed object stays destroyed, and is no error.
    let request = client.request(destroy(&objects[0]));
    client.exchange(&request).await.unwrap();
    client.exchange(&request).await.unwrap();
    assert_eq!(client.refusal(destroy(&objects[0])).await.code, ErrorCode::ObjectHandleInvalid);
    let mut without_id = client.request(generate_p256(true));
    without_id.operation_id.clear();
    let error = client.exchange(&without_id).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::Malformed);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything_and_tickets_go_on() {
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut client = service.connect(&identity).await;
    client.token = "dev".to_owned();
    client.login(PIN).await.unwrap();
    let request = client.request(generate_p256(true));
    let made = client.exchange(&request).await.unwrap();
    let Some(Answered::KeyPair(pair)) = made.result.clone() else { panic!() };
    let (before, frames) = client.catalogue(None).await;
    let ticket = client.ticket.clone();

    let service = service.restart().await;
    let mut client = service.connect(&identity).await;
    client.token = "dev".to_owned();
    client.ticket = ticket;
    let (after, frames_after) = client.catalogue(None).await;
    assert!(before == after);
    assert_eq!(frames[0].revision, frames_after[0].revision);
    assert_eq!(made.revision, frames_after[0].revision);
    let signature =
        client.sign(by_id(pair.private_key.as_ref().unwrap()), ecdsa(), &[5; 32]).await.unwrap();
    verify_p256(pair.public_key.as_ref().unwrap(), &[5; 32], &signature.value);
    assert!(client.exchange(&request).await.unwrap().result == made.result);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_comes_in_frames_unless_it_is_known_or_too_large() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let big = vec![0x5a; 200 << 10];
    let mut last = None;
    for number in 0..12 {
        let template = data(&format!("big-{number}"), &big, number % 2 == 0);
        let request = client.request(Operation::CreateObject(wire::CreateObject { template }));
        last = client.exchange(&request).await.unwrap().revision;
    }
    let (objects, frames) = client.catalogue(None).await;
    assert_eq!(objects.len(), 12);
    assert!(frames.len() >= 3);
    assert!(frames.iter().all(|frame| frame.revision == last));
    let (objects, frames) = client.catalogue(last).await;
    assert!(objects.is_empty() && frames.len() == 1);
    let state = |frame: &wire::Response| match &frame.result {
        Some(Answered::Catalogue(part)) => part.state(),
        _ => panic!("no catalogue"),
    };
    assert_eq!(state(&frames[0]), State::Unchanged);

    // Only what is public, without a ticket.
    let ticket = client.ticket.take();
    assert_eq!(client.catalogue(None).await.0.len(), 6);
    client.ticket = ticket;

    // With the login, in one exchange.
    let login = Operation::Login(wire::Login {
        user_type: wire::UserType::User.into(),
        pin: Some(PIN.to_vec()),
        want_catalogue: true,
        ..wire::Login::default()
    });
    let request = client.request(login);
    let frames = client.frames(&request).await;
    assert!(matches!(frames[0].result, Some(Answered::Login(_))));
    assert!(frames[0].ticket.is_some());
    let count: usize = frames[1..]
        .iter()
        .map(|frame| match &frame.result {
            Some(Answered::Catalogue(part)) => part.objects.len(),
            _ => panic!("no catalogue"),
        })
        .sum();
    assert_eq!(count, 12);

    for number in 12..24 {
        client.create_object(data(&format!("big-{number}"), &big, true)).await.unwrap();
    }
    let (objects, frames) = client.catalogue(None).await;
    assert!(objects.is_empty() && frames.len() == 1);
    assert_eq!(state(&frames[0]), State::TooLarge);

    let too_long = data("too long", &vec![1; 500 << 10], true);
    let error = client.create_object(too_long).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceMemory);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_goes_on_where_its_cursor_says() {
    let service = Service::start().await;
    let mut client = service.user().await;
    for number in 0..25 {
        let label = if number % 5 == 0 { "other" } else { "wanted" };
        client.create_object(data(label, &[number], number % 2 == 0)).await.unwrap();
    }
    let mut search = async |label: &str, most, private: bool| {
        let mut found = Vec::new();
        let mut cursor = Vec::new();
        let ticket = client.ticket.clone();
        if !private {
            client.ticket = None;
        }
        loop {
            let find = Operation::Find(wire::Find {
                template: vec![bytes(CKA_LABEL, label.as_bytes())],
                cursor,
                most,
                ..wire::Find::default()
            });
            let Answered::Find(page) = client.ask(find).await.unwrap() else { panic!() };
            assert!(page.objects.len() <= most as usize);
            found.extend(page.objects.into_iter().map(|object| object.unique_id));
            cursor = page.cursor;
            if cursor.is_empty() {
                client.ticket = ticket;
                return found;
            }
        }
    };
    let found = search("wanted", 3, true).await;
    assert_eq!(found.len(), 20);
    assert!(found.is_sorted());
    assert_eq!(search("wanted", 100, true).await, found);
    assert_eq!(search("wanted", 4, false).await.len(), 10);
    assert_eq!(search("none", 4, true).await.len(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_key_travels_sealed_and_only_its_owner_can_use_it() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let pair = client.generate(generate_p256(false)).await.unwrap();
    let (public, private) = (pair.public_key.unwrap(), pair.private_key.unwrap());
    assert!(private.unique_id.is_empty() && public.sealed.is_empty());
    assert!(private.attributes.iter().all(|attribute| attribute.r#type != CKA_VALUE));
    let signature = client.sign(by_blob(&private), ecdsa(), &[3; 32]).await.unwrap();
    verify_p256(&public, &[3; 32], &signature.value);
    assert!(signature.sealed.is_empty());
    assert!(client.catalogue(None).await.0.is_empty());

    let changed =
        object(client.ask(set(by_blob(&private), vec![boolean(CKA_SIGN, false)])).await.unwrap());
    let error = client.sign(by_blob(&changed), ecdsa(), &[3; 32]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyFunctionNotPermitted);
    let kept =
        object(client.ask(copy(by_blob(&private), vec![boolean(CKA_TOKEN, true)])).await.unwrap());
    let signature = client.sign(by_id(&kept), ecdsa(), &[4; 32]).await.unwrap();
    verify_p256(&public, &[4; 32], &signature.value);
    let back =
        object(client.ask(copy(by_id(&kept), vec![boolean(CKA_TOKEN, false)])).await.unwrap());
    let signature = client.sign(by_blob(&back), ecdsa(), &[4; 32]).await.unwrap();
    verify_p256(&public, &[4; 32], &signature.value);

    // Another instance of the same identity, another token, another identity.
    let mut admin = service.admin().await;
    admin.create_token("other").await;
    let grants = [("dev", false), ("other", false)];
    let identity = admin.create_identity("node-2", &grants).await.unwrap();
    let mut second = service.connect(&identity).await;
    for (token, instance) in [("dev", vec![7; 16]), ("other", vec![7; 16]), ("dev", vec![8; 16])] {
        second.token = token.to_owned();
        second.instance = instance;
        second.login(PIN).await.unwrap();
        let error = second.sign(by_blob(&private), ecdsa(), &[3; 32]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::KeyHandleInvalid);
    }
    client.instance = vec![8; 16];
    client.login(PIN).await.unwrap();
    let error = client.sign(by_blob(&private), ecdsa(), &[3; 32]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyHandleInvalid);
    // After the logout a private one is not used.
    client.instance = vec![7; 16];
    client.ticket = None;
    let error = client.sign(by_blob(&private), ecdsa(), &[3; 32]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::KeyHandleInvalid);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_changed_copied_and_seen_as_the_rules_say() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let made = client.create_object(data("first", b"value", true)).await.unwrap();
    let changed =
        object(client.ask(set(by_id(&made), vec![bytes(CKA_LABEL, b"second")])).await.unwrap());
    assert_eq!(value(&changed, CKA_LABEL), b"second");
    assert_eq!(changed.unique_id, made.unique_id);
    let copied =
        object(client.ask(copy(by_id(&made), vec![bytes(CKA_LABEL, b"third")])).await.unwrap());
    assert_ne!(copied.unique_id, made.unique_id);

    let ticket = client.ticket.take();
    assert!(client.catalogue(None).await.0.is_empty());
    for operation in [set(by_id(&made), Vec::new()), copy(by_id(&made), Vec::new()), destroy(&made)]
    {
        assert_eq!(client.refusal(operation).await.code, ErrorCode::ObjectHandleInvalid);
    }
    let error = client.create_object(data("d", b"x", true)).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::UserNotLoggedIn);
    client.ticket = ticket;

    // One that may only read.
    let mut admin = service.admin().await;
    let identity = admin.create_identity("reader", &[("dev", true)]).await.unwrap();
    let mut reader = service.connect(&identity).await;
    reader.token = "dev".to_owned();
    assert!(reader.login(PIN).await.unwrap().read_only);
    assert_eq!(reader.catalogue(None).await.0.len(), 2);
    for operation in [
        set(by_id(&made), vec![bytes(CKA_LABEL, b"x")]),
        copy(by_id(&made), Vec::new()),
        destroy(&made),
        generate_p256(true),
    ] {
        assert_eq!(reader.refusal(operation).await.code, ErrorCode::TokenWriteProtected);
    }
    reader.generate(generate_p256(false)).await.unwrap();
    client.ask(destroy(&made)).await.unwrap();
    assert_eq!(client.catalogue(None).await.0.len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_sees_nothing_that_it_was_not_given() {
    let service = Service::start().await;
    let mut admin = service.admin().await;
    admin.create_token("dev").await;
    admin.create_token("secret").await;
    let identity = admin.create_identity("node", &[("dev", false)]).await.unwrap();
    let mut client = service.connect(&identity).await;
    let Answered::Tokens(list) =
        client.ask(Operation::ListTokens(wire::ListTokens {})).await.unwrap()
    else {
        panic!()
    };
    let labels: Vec<_> = list.tokens.iter().map(|token| token.label.as_str()).collect();
    assert_eq!(labels, ["dev"]);
    // One that is there and one that is not look the same.
    for token in ["secret", "nowhere"] {
        client.token = token.to_owned();
        let error = client.login(PIN).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::TokenNotPresent);
        let error = client.sign(wire::key::Key::UniqueId("0".into()), ecdsa(), &[]).await;
        assert_eq!(error.unwrap_err().code, ErrorCode::TokenNotPresent);
    }
    client.token.clear();
    for operation in [
        Operation::Status(wire::Status {}),
        Operation::ListIdentities(wire::ListIdentities {}),
        Operation::RevokeIdentity(wire::RevokeIdentity { name: "admin".to_owned() }),
        Operation::CreateToken(wire::CreateToken::default()),
        Operation::CreateIdentity(wire::CreateIdentity::default()),
    ] {
        assert_eq!(client.refusal(operation).await.code, ErrorCode::NotPermitted);
    }
    // The administrator sees all, and uses keys without a PIN.
    admin.token = "secret".to_owned();
    let pair = admin.generate(generate_p256(true)).await.unwrap();
    admin.sign(by_id(&pair.private_key.unwrap()), ecdsa(), &[1; 32]).await.unwrap();
    let Answered::Tokens(list) =
        admin.ask(Operation::ListTokens(wire::ListTokens {})).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(list.tokens.len(), 2);
    service.stop().await;
}
