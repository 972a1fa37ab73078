//! Keys that carry keys and come out of keys, as a client that is no module of
//! ours may ask for them: the service itself keeps the rules.

use crate::common::*;
use cryptoki_sys::*;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode};

fn secret(more: &[wire::Attribute]) -> Vec<wire::Attribute> {
    let own = [number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_AES)];
    [&own[..], more].concat()
}

fn key(key: wire::key::Key) -> Option<wire::Key> {
    Some(wire::Key { key: Some(key) })
}

fn plain(attributes: Vec<wire::Attribute>) -> wire::key::Key {
    wire::key::Key::Plain(wire::Attributes { attributes })
}

fn aes_key_wrap() -> Option<wire::Wrapping> {
    let wrap = wire::AesKeyWrap { padded: false, initial_value: Vec::new() };
    Some(wire::Wrapping { scheme: Some(wire::wrapping::Scheme::AesKeyWrap(wrap)) })
}

fn wrap(wrapping_key: wire::key::Key, carried: wire::key::Key) -> Operation {
    Operation::WrapKey(wire::WrapKey {
        wrapping_key: key(wrapping_key),
        key: key(carried),
        wrapping: aes_key_wrap(),
        mechanism: None,
    })
}

fn unwrap(unwrapping_key: wire::key::Key, wrapped: &[u8], more: &[wire::Attribute]) -> Operation {
    Operation::UnwrapKey(wire::UnwrapKey {
        unwrapping_key: key(unwrapping_key),
        wrapping: aes_key_wrap(),
        wrapped: wrapped.to_vec(),
        template: secret(more),
        mechanism: None,
    })
}

fn digest_of(base: wire::key::Key, more: &[wire::Attribute]) -> Operation {
    let scheme = wire::derivation::Scheme::Digest(wire::Hash::Sha256 as i32);
    Operation::DeriveKey(wire::DeriveKey {
        base: key(base),
        other: None,
        derivation: Some(wire::Derivation { scheme: Some(scheme) }),
        template: secret(more),
        mechanism: None,
    })
}

fn has_value(object: &wire::Object) -> bool {
    object.attributes.iter().any(|attribute| attribute.r#type == CKA_VALUE)
}

async fn made(client: &mut Client, operation: Operation) -> wire::Object {
    match client.ask(operation).await.unwrap() {
        Answered::Object(made) => made.object.unwrap(),
        _ => panic!("no object"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_lets_no_key_out_that_may_not_go() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let guarded = [
        boolean(CKA_TOKEN, true),
        boolean(CKA_SENSITIVE, true),
        boolean(CKA_EXTRACTABLE, true),
        boolean(CKA_WRAP_WITH_TRUSTED, true),
        bytes(CKA_VALUE, &[7; 16]),
    ];
    let guarded = client.create_object(secret(&guarded)).await.unwrap();
    // One of the caller's own making trusts itself.
    let own = || {
        plain(secret(&[
            boolean(CKA_WRAP, true),
            boolean(CKA_UNWRAP, true),
            boolean(CKA_TRUSTED, true),
            bytes(CKA_VALUE, &[1; 16]),
        ]))
    };
    let refused = client.refusal(wrap(own(), by_id(&guarded))).await;
    assert_eq!(refused.code, ErrorCode::KeyNotWrappable);
    let kept = [boolean(CKA_TOKEN, true), bytes(CKA_VALUE, &[7; 16])];
    let kept = client.create_object(secret(&kept)).await.unwrap();
    let refused = client.refusal(wrap(own(), by_id(&kept))).await;
    assert_eq!(refused.code, ErrorCode::KeyUnextractable);
    // What may go goes, and comes back unreadable.
    let carried = [boolean(CKA_EXTRACTABLE, true), bytes(CKA_VALUE, &[7; 16])];
    let Ok(Answered::Wrapped(wrapped)) = client.ask(wrap(own(), plain(secret(&carried)))).await
    else {
        panic!()
    };
    let back = made(&mut client, unwrap(own(), &wrapped.value, &[])).await;
    assert!(!has_value(&back) && !back.sealed.is_empty() && back.unique_id.is_empty());
    // A digest of a sensitive key is sensitive, whatever is asked for.
    let open = [boolean(CKA_SENSITIVE, false), boolean(CKA_EXTRACTABLE, true)];
    let open = [&open[..], &[number(CKA_VALUE_LEN, 32)]].concat();
    let derived = made(&mut client, digest_of(by_id(&kept), &open)).await;
    assert!(!has_value(&derived) && !derived.sealed.is_empty());
    // A key that only the client has works there in everything else.
    let sign =
        client.sign(own(), wire::sign::Scheme::Cmac(wire::Cmac { cipher: 1, length: 16 }), b"x");
    assert_eq!(sign.await.unwrap_err().code, ErrorCode::Malformed);
    // The blob is this client's alone.
    client.instance = vec![8; 16];
    client.login(PIN).await.unwrap();
    let stolen = client.refusal(digest_of(by_blob(&back), &[])).await;
    assert_eq!(stolen.code, ErrorCode::KeyHandleInvalid);
    let stolen = client.refusal(wrap(by_blob(&back), plain(secret(&carried)))).await;
    assert_eq!(stolen.code, ErrorCode::WrappingKeyHandleInvalid);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_unwrapping_makes_one_key() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let own = || {
        plain(secret(&[
            boolean(CKA_WRAP, true),
            boolean(CKA_UNWRAP, true),
            boolean(CKA_EXTRACTABLE, true),
            bytes(CKA_VALUE, &[1; 16]),
        ]))
    };
    let Ok(Answered::Wrapped(wrapped)) = client.ask(wrap(own(), own())).await else { panic!() };
    let token = [boolean(CKA_TOKEN, true)];
    let request = client.request(unwrap(own(), &wrapped.value, &token));
    let first = client.exchange(&request).await.unwrap().result;
    let second = client.exchange(&request).await.unwrap().result;
    let id = |answered| match answered {
        Some(Answered::Object(made)) => made.object.unwrap().unique_id,
        _ => panic!("no object"),
    };
    assert_eq!(id(first), id(second));
    assert_eq!(client.token_info().await.objects, 1);
    service.stop().await;
}
