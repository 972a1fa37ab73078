//! What administrators do with tokens: unlock them, destroy them.

use crate::common::*;
use cryptoki_sys::*;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, PinState, UserType};

fn unlock(identity: &str) -> Operation {
    Operation::UnlockToken(wire::UnlockToken { identity: identity.to_owned() })
}

fn delete() -> Operation {
    Operation::DeleteToken(wire::DeleteToken {})
}

/// Who has wrong PINs in the token, as the list of tokens shows it.
async fn counts(client: &mut Client) -> Vec<(String, UserType, u32, bool)> {
    let Answered::Tokens(list) =
        client.ask(Operation::ListTokens(wire::ListTokens {})).await.unwrap()
    else {
        panic!()
    };
    let counts = list.tokens.into_iter().flat_map(|token| token.pin_counts);
    counts.map(|one| (one.identity.clone(), one.user_type(), one.wrong, one.locked)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unlocking_forgets_wrong_pins_and_ends_no_ticket() {
    let service = Service::with(|config| config.pins.tries = 3).await;
    let mut first = service.user().await;
    let mut admin = service.admin().await;
    admin.token = "dev".to_owned();
    let second = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let mut second = service.connect(&second).await;
    second.token = "dev".to_owned();

    for _ in 0..3 {
        first.login(b"wrong").await.unwrap_err();
        first.login_as(UserType::SecurityOfficer, Some(b"wrong")).await.unwrap_err();
    }
    second.login(b"wrong").await.unwrap_err();
    assert_eq!(first.login(PIN).await.unwrap_err().code, ErrorCode::PinLocked);
    assert_eq!(
        counts(&mut admin).await,
        [
            ("node-1".to_owned(), UserType::User, 3, true),
            ("node-1".to_owned(), UserType::SecurityOfficer, 3, true),
            ("node-2".to_owned(), UserType::User, 1, false),
        ]
    );
    // Others are not told.
    assert!(counts(&mut second).await.is_empty());
    assert_eq!(second.refusal(unlock("")).await.code, ErrorCode::NotPermitted);
    assert_eq!(admin.refusal(unlock("nobody")).await.code, ErrorCode::NotFound);

    admin.ask(unlock("node-1")).await.unwrap();
    assert_eq!(counts(&mut admin).await, [("node-2".to_owned(), UserType::User, 1, false)]);
    // The ticket from before the lock goes on, and PINs are what they were.
    first.create_object(data("d", b"x", true)).await.unwrap();
    let token = first.login(PIN).await.unwrap();
    assert_eq!((token.user_pin(), token.so_pin()), (PinState::Fine, PinState::Fine));
    first.login_as(UserType::SecurityOfficer, Some(SO_PIN)).await.unwrap();
    admin.ask(unlock("")).await.unwrap();
    assert!(counts(&mut admin).await.is_empty());
    admin.ask(unlock("")).await.unwrap();

    // A revoked identity has nothing to unlock.
    second.login(b"wrong").await.unwrap_err();
    let revoke = wire::RevokeIdentity { name: "node-2".to_owned() };
    admin.ask(Operation::RevokeIdentity(revoke)).await.unwrap();
    assert!(counts(&mut admin).await.is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_token_is_gone_with_everything_that_belonged_to_it() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let pair = client.generate(generate_p256(true)).await.unwrap();
    let key = pair.private_key.unwrap();
    client.login_as(UserType::SecurityOfficer, Some(b"wrong")).await.unwrap_err();
    let mut admin = service.admin().await;
    admin.token = "dev".to_owned();
    assert_eq!(client.refusal(delete()).await.code, ErrorCode::NotPermitted);
    client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();

    let request = admin.request(delete());
    for _ in 0..2 {
        // A repeat is the same deletion.
        admin.exchange(&request).await.unwrap();
    }
    assert_eq!(admin.refusal(delete()).await.code, ErrorCode::TokenNotPresent);
    let error = client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TokenNotPresent);

    // One of the same label is another one: no grant, no ticket, no object.
    admin.token.clear();
    let token = admin.create_token("dev").await;
    assert_eq!((token.objects, token.pin_counts.len()), (0, 0));
    let error = client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TokenNotPresent);
    let Answered::Identities(list) =
        admin.ask(Operation::ListIdentities(wire::ListIdentities {})).await.unwrap()
    else {
        panic!()
    };
    assert!(list.identities.iter().all(|identity| identity.grants.is_empty()));
    let status = admin.status().await;
    assert_eq!(status.tokens.iter().filter(|one| one.token.is_empty()).count(), 1);

    // Nothing of it comes back with the next start.
    let folder = service.stop().await;
    let rest: Vec<_> = store_keys(&config(folder.path()))
        .into_iter()
        .filter(|key| ["object/", "pin/"].iter().any(|kind| key.starts_with(kind)))
        .collect();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_made_while_a_token_goes_do_not_stay_behind() {
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut admin = service.admin().await;
    admin.token = "dev".to_owned();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = service.connect(&identity).await;
        client.token = "dev".to_owned();
        client.login(PIN).await.unwrap();
        writers.spawn(
            async move { while client.create_object(data("d", b"x", true)).await.is_ok() {} },
        );
    }
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    // Under others' changes it may be told to come later.
    let mut tries = 0;
    while admin.ask(delete()).await.is_err() {
        tries += 1;
        assert!(tries < 100);
    }
    writers.join_all().await;
    let folder = service.stop().await;
    let keys = store_keys(&config(folder.path()));
    assert!(!keys.iter().any(|key| key.starts_with("object/")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_allows_no_mechanism_does_nothing() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let Operation::GenerateKeyPair(mut generate) = generate_p256(true) else { panic!() };
    let allowed = |numbers: &[u64]| wire::Attribute {
        r#type: CKA_ALLOWED_MECHANISMS,
        value: Some(wire::attribute::Value::Numbers(wire::Numbers { numbers: numbers.to_vec() })),
    };
    for (list, fine) in [(&[CKM_ECDSA][..], true), (&[], false)] {
        let mut one = generate.clone();
        one.private_template.push(allowed(list));
        let pair = client.generate(Operation::GenerateKeyPair(one)).await.unwrap();
        let signed = client.sign(by_id(&pair.private_key.unwrap()), ecdsa(), &[1; 32]).await;
        assert_eq!(
            signed.map(drop).map_err(|error| error.code),
            match fine {
                true => Ok(()),
                false => Err(ErrorCode::MechanismInvalid),
            }
        );
    }
    generate.private_template.clear();
    service.stop().await;
}
