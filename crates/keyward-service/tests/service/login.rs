//! Who may log in, how wrong PINs are counted, what a ticket is good for.

use std::time::{Duration, Instant};

use crate::common::*;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, PinState, UserType};

fn set_pin(user_type: UserType, old: &[u8], new: &[u8]) -> Operation {
    Operation::SetPin(wire::SetPin {
        user_type: user_type.into(),
        old_pin: old.to_vec(),
        new_pin: new.to_vec(),
    })
}

fn init_pin(new: &[u8]) -> Operation {
    Operation::InitPin(wire::InitPin { new_pin: new.to_vec() })
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pins_are_counted_per_identity_up_to_the_lock() {
    let service = Service::start().await;
    let first = service.token_and_identity().await;
    let mut admin = service.admin().await;
    let second = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let mut first = service.connect(&first).await;
    let mut second = service.connect(&second).await;
    first.token = "dev".to_owned();
    second.token = "dev".to_owned();

    let token = first.login(PIN).await.unwrap();
    assert_eq!(token.user_pin(), PinState::Fine);
    let good = first.ticket.clone();

    let expected = |wrong| match wrong {
        1..=8 => PinState::CountLow,
        9 => PinState::FinalTry,
        _ => PinState::Locked,
    };
    for wrong in 1..=10 {
        let error = first.login(b"wrong").await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PinIncorrect);
        let (_, frames) = first.catalogue(None).await;
        let Some(Answered::Catalogue(part)) = &frames[0].result else { panic!() };
        assert_eq!(part.token.as_ref().unwrap().user_pin(), expected(wrong), "{wrong}");
    }
    let started = Instant::now();
    assert_eq!(first.login(PIN).await.unwrap_err().code, ErrorCode::PinLocked);
    assert!(started.elapsed() < Duration::from_millis(500));

    // The other identity is not locked out, and the lock ended no ticket.
    second.login(PIN).await.unwrap();
    first.ticket = good;
    first.create_object(data("d", b"x", true)).await.unwrap();

    // Survives a restart; a new PIN ends it.
    let service = service.restart().await;
    let identity = service.admin().await.create_identity("node-3", &[("dev", false)]).await;
    let mut third = service.connect(&identity.unwrap()).await;
    third.token = "dev".to_owned();
    third.login(PIN).await.unwrap();
    let mut admin = service.admin().await;
    admin.token = "dev".to_owned();
    admin.ask(init_pin(b"another")).await.unwrap();
    third.login(b"another").await.unwrap();
    assert_eq!(third.login(PIN).await.unwrap_err().code, ErrorCode::PinIncorrect);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_get_no_more_tries_than_serial_ones() {
    let service = Service::with(|config| config.pins.tries = 3).await;
    let identity = service.token_and_identity().await;
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..12 {
        let mut client = service.connect(&identity).await;
        client.token = "dev".to_owned();
        guesses.spawn(async move {
            client.login(format!("guess-{number}").as_bytes()).await.unwrap_err().code
        });
    }
    let codes = guesses.join_all().await;
    let tried = codes.iter().filter(|code| **code == ErrorCode::PinIncorrect).count();
    let locked = codes.iter().filter(|code| **code == ErrorCode::PinLocked).count();
    assert_eq!((tried, locked), (3, 9), "{codes:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_pin_takes_the_count_back_and_writes_nothing_otherwise() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let token = client.login(PIN).await.unwrap();
    assert_eq!(client.login(b"oops").await.unwrap_err().code, ErrorCode::PinIncorrect);
    let after = client.login(PIN).await.unwrap();
    assert_eq!(after.user_pin(), PinState::Fine);
    assert_eq!(after.revision, token.revision);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_wrong_login_counts_once() {
    let service = Service::with(|config| config.pins.tries = 2).await;
    let identity = service.token_and_identity().await;
    let mut client = service.connect(&identity).await;
    client.token = "dev".to_owned();
    let request = client.request(Operation::Login(wire::Login {
        user_type: UserType::User.into(),
        pin: Some(b"wrong".to_vec()),
        ..wire::Login::default()
    }));
    for _ in 0..4 {
        let error = client.exchange(&request).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PinIncorrect);
    }
    client.login(PIN).await.unwrap();
    // The same id for something else is refused.
    let mut other = request.clone();
    other.operation = Some(generate_p256(true));
    assert_eq!(client.exchange(&other).await.unwrap_err().code, ErrorCode::Malformed);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_bound_to_identity_instance_and_token() {
    let service = Service::start().await;
    let ticket = service.user().await.ticket;
    let mut admin = service.admin().await;
    admin.create_token("other").await;
    let both = [("dev", false), ("other", false)];
    let second = admin.create_identity("node-2", &both).await.unwrap();
    let mut second = service.connect(&second).await;

    second.token = "dev".to_owned();
    second.login(PIN).await.unwrap();
    second.create_object(data("mine", b"x", true)).await.unwrap();
    let own = second.ticket.clone();

    let cases = [
        ("another identity's", ticket.clone(), "dev", vec![7; 16]),
        ("another token's", own.clone(), "other", vec![7; 16]),
        ("another instance's", own.clone(), "dev", vec![8; 16]),
        (
            "a forged one",
            Some(wire::Ticket { access: vec![1; 90], refresh: vec![2; 90] }),
            "dev",
            vec![7; 16],
        ),
        (
            "its parts exchanged",
            own.clone().map(|own| wire::Ticket { access: own.refresh, refresh: Vec::new() }),
            "dev",
            vec![7; 16],
        ),
    ];
    for (what, ticket, token, instance) in cases {
        second.ticket = ticket;
        second.token = token.to_owned();
        second.instance = instance;
        let error = second.create_object(data("d", b"x", true)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::TicketInvalid, "{what}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_access_part_is_renewed_on_the_way() {
    let service = Service::with(|config| config.deadlines.access_s = 0).await;
    let mut client = service.user().await;
    let first = client.ticket.clone().unwrap();
    let request = client.request(generate_p256(true));
    let response = client.exchange(&request).await.unwrap();
    assert!(response.ticket.is_some());
    // The first one's refresh part goes on holding.
    client.ticket = Some(first.clone());
    client.create_object(data("d", b"x", true)).await.unwrap();
    // Without its refresh part a stale ticket is nothing.
    client.ticket = Some(wire::Ticket { refresh: Vec::new(), ..first });
    let error = client.create_object(data("d", b"x", true)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TicketInvalid);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_change_ends_tickets_but_the_changers_own() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let old = client.ticket.clone();
    let request = client.request(set_pin(UserType::User, PIN, b"new pin"));
    client.exchange(&request).await.unwrap();
    client.create_object(data("d", b"x", true)).await.unwrap();
    // A repeat answers the same, with a ticket that holds.
    client.ticket = None;
    client.exchange(&request).await.unwrap();
    client.create_object(data("d", b"x", true)).await.unwrap();

    client.ticket = old;
    let error = client.create_object(data("d", b"x", true)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TicketInvalid);
    assert_eq!(client.login(PIN).await.unwrap_err().code, ErrorCode::PinIncorrect);
    client.login(b"new pin").await.unwrap();

    for (old, new, code) in [
        (&b"wrong"[..], &b"whatever"[..], ErrorCode::PinIncorrect),
        (b"new pin", b"abc", ErrorCode::PinLenRange),
    ] {
        let error = client.refusal(set_pin(UserType::User, old, new)).await;
        assert_eq!(error.code, code);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_security_officer_sets_the_users_pin_and_sees_nothing_private() {
    let service = Service::start().await;
    let mut client = service.user().await;
    client.create_object(data("private", b"x", true)).await.unwrap();
    client.create_object(data("public", b"x", false)).await.unwrap();
    assert_eq!(client.refusal(init_pin(b"4321")).await.code, ErrorCode::UserNotLoggedIn);
    client.login_as(UserType::SecurityOfficer, Some(SO_PIN)).await.unwrap();
    assert_eq!(client.catalogue(None).await.0.len(), 1);
    let error = client.create_object(data("d", b"x", true)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UserNotLoggedIn);
    client.ask(init_pin(b"4321")).await.unwrap();
    client.login(b"4321").await.unwrap();
    assert_eq!(client.catalogue(None).await.0.len(), 2);
    client.ask(set_pin(UserType::SecurityOfficer, SO_PIN, b"87654321")).await.unwrap();
    let error = client.login_as(UserType::SecurityOfficer, Some(SO_PIN)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::PinIncorrect);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_token_destroys_everything_and_frees_the_label() {
    let service = Service::start().await;
    let mut client = service.user().await;
    client.generate(generate_p256(true)).await.unwrap();
    let init = |pin: &[u8], label: &str| {
        Operation::InitToken(wire::InitToken {
            so_pin: pin.to_vec(),
            label: label.to_owned(),
            ..wire::InitToken::default()
        })
    };
    service.admin().await.create_token("taken").await;
    let cases = [
        (init(b"wrong wrong", "new"), ErrorCode::PinIncorrect),
        (init(SO_PIN, "taken"), ErrorCode::AlreadyExists),
        (init(SO_PIN, ""), ErrorCode::ArgumentsBad),
    ];
    for (operation, code) in cases {
        assert_eq!(client.refusal(operation).await.code, code);
    }
    assert_eq!(client.catalogue(None).await.0.len(), 2);

    let request = client.request(init(SO_PIN, "new                             "));
    client.exchange(&request).await.unwrap();
    // The old label is gone, and a repeat that still names it succeeds.
    client.exchange(&request).await.unwrap();
    client.token = "new".to_owned();
    let error = client.generate(generate_p256(true)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TicketInvalid);
    client.ticket = None;
    assert_eq!(client.catalogue(None).await.0.len(), 0);
    assert_eq!(client.login(PIN).await.unwrap_err().code, ErrorCode::UserPinNotInitialized);
    service.admin().await.create_token("dev").await;
    let service = service.restart().await;
    let mut admin = service.admin().await;
    admin.token = "new".to_owned();
    assert!(admin.catalogue(None).await.0.is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_alone_opens_a_token_of_that_mode() {
    let service = Service::start().await;
    let mut admin = service.admin().await;
    admin
        .ask(Operation::CreateToken(wire::CreateToken {
            label: "cert".to_owned(),
            login_mode: wire::LoginMode::Certificate.into(),
            so_pin: SO_PIN.to_vec(),
            user_pin: Vec::new(),
            ..wire::CreateToken::default()
        }))
        .await
        .unwrap();
    admin.create_token("dev").await;
    let grants = [("cert", false), ("dev", false)];
    let identity = admin.create_identity("node", &grants).await.unwrap();
    let mut client = service.connect(&identity).await;
    client.token = "cert".to_owned();
    client.create_object(data("d", b"x", true)).await.unwrap();
    client.login_as(UserType::User, None).await.unwrap();
    assert!(client.ticket.is_some());
    client.create_object(data("d", b"x", true)).await.unwrap();
    client.ticket = None;
    client.token = "dev".to_owned();
    let error = client.login_as(UserType::User, None).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ArgumentsBad);
    service.stop().await;
}
