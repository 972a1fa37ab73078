//! Connections: who gets one, what ends it, what it does not hold up.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::*;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, Request, frame};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

fn hello() -> Operation {
    Operation::Hello(wire::Hello { software: "a test".to_owned() })
}

fn revoke(name: &str) -> Operation {
    Operation::RevokeIdentity(wire::RevokeIdentity { name: name.to_owned() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_does_not_hold_up_a_quick_one() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let slow = client.request(generate_rsa(4096));
    let quick = client.request(hello());
    client.send(&slow).await;
    client.send(&quick).await;
    assert_eq!(client.receive().await.unwrap().id, quick.id);
    assert_eq!(client.receive().await.unwrap().id, slow.id);

    // Many at once, each answered once.
    let requests: Vec<_> = (0..200).map(|_| client.request(hello())).collect();
    let mut all = Vec::new();
    for request in &requests {
        all.extend(frame::encode(request).unwrap());
    }
    client.stream.write_all(&all).await.unwrap();
    client.stream.flush().await.unwrap();
    let mut seen = Vec::new();
    for _ in &requests {
        seen.push(client.receive().await.unwrap().id);
    }
    seen.sort_unstable();
    assert!(seen.iter().eq(requests.iter().map(|request| &request.id)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_closes_its_connection_and_no_other() {
    let service = Service::start().await;
    let mut good = service.admin().await;
    let too_long = u32::try_from(frame::LIMIT + 1).unwrap().to_be_bytes().to_vec();
    let no_message = [&6_u32.to_be_bytes()[..], &[0xff; 6]].concat();
    for bad in [too_long, no_message, b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut client = service.admin().await;
        client.stream.write_all(&bad).await.unwrap();
        client.stream.flush().await.unwrap();
        assert!(client.is_closed().await);
    }
    good.ask(hello()).await.unwrap();

    // An operation of a later version is an answer, not an end.
    let later = Request { id: 77, ..Request::default() };
    let error = good.exchange(&later).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::OperationUnknown);
    good.ask(hello()).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_identities_of_this_authority_with_this_protocol_get_in() {
    let service = Service::start().await;
    let admin = service.admin_identity();

    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::default().self_signed(&key).unwrap();
    let stranger = Identity {
        certificate: own.der().clone(),
        key: key.serialize_pem(),
        authority: admin.authority.clone(),
    };
    // In TLS 1.3 a client learns of it with its first read.
    if let Ok(mut client) = Client::connect(service.address, &stranger).await {
        assert!(client.is_closed().await);
    }
    assert!(Client::connect_with(service.address, &admin, b"http/1.1").await.is_err());

    // The server's own certificate is no identity.
    let server = Identity {
        certificate: rustls_pki_types::pem::PemObject::from_pem_file(
            service.dir.join("server.pem"),
        )
        .unwrap(),
        key: std::fs::read_to_string(service.dir.join("server.key")).unwrap(),
        authority: admin.authority.clone(),
    };
    if let Ok(mut client) = Client::connect(service.address, &server).await {
        assert!(client.is_closed().await);
    }

    // A connection that says nothing holds up nobody.
    let silent = TcpStream::connect(service.address).await.unwrap();
    service.admin().await.ask(hello()).await.unwrap();
    drop(silent);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_identity_loses_its_connections_and_gets_no_new_one() {
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut client = service.connect(&identity).await;
    client.ask(hello()).await.unwrap();
    let mut admin = service.admin().await;
    let error = admin.create_identity("node-1", &[]).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists);
    admin.ask(revoke("node-1")).await.unwrap();
    assert!(client.is_closed().await);

    let mut again = service.connect(&identity).await;
    let response = again.receive().await.unwrap();
    assert_eq!(response.id, 0);
    let Some(Answered::Failure(failure)) = response.result else { panic!() };
    assert_eq!(failure.code(), ErrorCode::IdentityRevoked);
    assert!(again.is_closed().await);

    assert_eq!(admin.refusal(revoke("node-1")).await.code, ErrorCode::NotFound);
    assert_eq!(admin.refusal(revoke("admin")).await.code, ErrorCode::NotPermitted);
    // The name is free for a new identity.
    let fresh = admin.create_identity("node-1", &[("dev", false)]).await.unwrap();
    service.connect(&fresh).await.ask(hello()).await.unwrap();

    let service = service.restart().await;
    let mut again = service.connect(&identity).await;
    assert!(again.is_closed().await);
    let mut admin = service.admin().await;
    let Answered::Identities(list) =
        admin.ask(Operation::ListIdentities(wire::ListIdentities {})).await.unwrap()
    else {
        panic!()
    };
    let shown: Vec<_> =
        list.identities.iter().map(|one| (one.name.as_str(), one.revoked)).collect();
    assert_eq!(shown, [("admin", false), ("node-1", true), ("node-1", false)]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished_when_the_service_stops() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let request = client.request(generate_rsa(3072));
    client.send(&request).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let (_, response) = tokio::join!(service.stop(), client.receive());
    let response = response.unwrap();
    assert_eq!(response.id, request.id);
    assert!(response.draining);
    assert!(matches!(response.result, Some(Answered::KeyPair(_))));
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_no_answers_is_let_go() {
    let service = Service::with(|config| config.deadlines.write_ms = 300).await;
    let mut client = service.user().await;
    let big = vec![0x5a; 300 << 10];
    for number in 0..10 {
        client.create_object(data(&format!("big-{number}"), &big, true)).await.unwrap();
    }
    for _ in 0..64 {
        let request = client.request(Operation::Catalogue(wire::Catalogue::default()));
        client.send(&request).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut admin = service.admin().await;
    let status = admin.status().await;
    assert_eq!(status.connections, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_without_a_certificate_take_no_place_of_those_with_one() {
    let service = Service::with(|config| {
        config.limits.connections = 2;
        config.limits.handshakes = 4;
        config.deadlines.handshake_ms = 20_000;
    })
    .await;
    let mut halting = Vec::new();
    for _ in 0..3 {
        halting.push(halting_in(&service, "127.0.0.1").await);
    }
    let quick = Duration::from_secs(5);
    let mut first = tokio::time::timeout(quick, service.admin()).await.unwrap();
    let mut second = tokio::time::timeout(quick, service.admin()).await.unwrap();
    first.ask(hello()).await.unwrap();
    second.ask(hello()).await.unwrap();
    // One more is told to come later, so that it may try another replica.
    let response = service.admin().await.receive().await.unwrap();
    assert_eq!(response.id, 0);
    let Some(Answered::Failure(failure)) = response.result else { panic!() };
    assert_eq!(failure.code(), ErrorCode::Later);
    assert!(failure.retry_after_ms > 0);
    drop(first);
    let mut tries = 0;
    while service.admin().await.ask(hello()).await.is_err() {
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // With all handshakes taken, those who are in go on.
    for _ in 0..2 {
        halting.push(halting_in(&service, "127.0.0.1").await);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    second.ask(hello()).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(300), service.admin());
    assert!(waiting.await.is_err());
    halting.clear();
    tokio::time::timeout(quick, service.admin()).await.unwrap();
    service.stop().await;
}

/// A peer that begins to shake hands and does not go on.
async fn halting_in(service: &Service, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(service.address).await.unwrap();
    stream.write_all(&[0x16, 3, 1]).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_keeps_another_from_shaking_hands_and_silence_keeps_nobody() {
    let service = Service::with(|config| {
        config.limits.handshakes = 4;
        config.deadlines.handshake_ms = 20_000;
    })
    .await;
    let quick = Duration::from_secs(5);
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(service.address).await.unwrap());
    }
    tokio::time::timeout(quick, service.admin()).await.unwrap();
    drop(silent);

    let mut halting = Vec::new();
    for _ in 0..100 {
        halting.push(halting_in(&service, "127.0.0.2").await);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..3 {
        let mut admin = tokio::time::timeout(quick, service.admin()).await.unwrap();
        admin.ask(hello()).await.unwrap();
        halting.push(halting_in(&service, "127.0.0.2").await);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed_and_one_that_speaks_is_not() {
    let service = Service::with(|config| config.deadlines.idle_s = 1).await;
    let mut silent = service.admin().await;
    silent.ask(hello()).await.unwrap();
    let mut speaking = service.admin().await;
    let started = std::time::Instant::now();
    let closed = tokio::spawn(async move { silent.is_closed().await });
    while started.elapsed() < Duration::from_millis(2500) {
        speaking.ask(hello()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(closed.is_finished());
    assert_eq!(speaking.status().await.connections, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_all_connections_gives_one_to_who_has_none() {
    let service = Service::with(|config| config.limits.connections = 4).await;
    let identity = service.token_and_identity().await;
    // The administrator's connection that made the identity is gone by now, or
    // makes room.
    let mut many = Vec::new();
    for _ in 0..4 {
        let mut client = service.connect(&identity).await;
        client.ask(hello()).await.unwrap();
        many.push(client);
    }
    // One more of the same is told to come later.
    let response = service.connect(&identity).await.receive().await.unwrap();
    let Some(Answered::Failure(failure)) = response.result else { panic!() };
    assert_eq!((response.id, failure.code()), (0, ErrorCode::Later));
    let mut admin = service.admin().await;
    admin.ask(hello()).await.unwrap();
    // It was the oldest that had to go; its client makes another later.
    assert!(many.remove(0).is_closed().await);
    for client in &mut many {
        client.ask(hello()).await.unwrap();
    }
    service.stop().await;
}

/// A peer that sends much and reads nothing: no more than the limit is taken
/// from it, and nobody else has to wait.
#[tokio::test(flavor = "multi_thread")]
async fn long_requests_are_bounded_and_hold_up_no_short_ones() {
    let service = Service::with(|config| {
        config.limits.request_mib = 1;
        config.limits.request_kib_per_connection = 64;
    })
    .await;
    let mut client = service.user().await;
    let mut stalled = service.admin().await;
    // The head of a long frame, which takes all the memory for long ones.
    let head = u32::try_from(frame::LIMIT).unwrap().to_be_bytes();
    stalled.stream.write_all(&head).await.unwrap();
    stalled.stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        client.ask(hello()).await.unwrap();
    }
    let long = client.request(Operation::CreateObject(wire::CreateObject {
        template: data("long", &vec![0x5a; 200 << 10], true),
    }));
    client.send(&long).await;
    let early = tokio::time::timeout(Duration::from_millis(300), client.receive()).await;
    assert!(early.is_err(), "a long request was read beyond the limit");
    drop(stalled);
    assert_eq!(client.receive().await.unwrap().id, long.id);
    // The bound of a connection is no bound for one request, nor for many.
    let mut requests = Vec::new();
    for number in 0..6 {
        requests.push(client.request(Operation::CreateObject(wire::CreateObject {
            template: data(&format!("long-{number}"), &vec![0x5a; 200 << 10], true),
        })));
    }
    for request in &requests {
        client.send(request).await;
    }
    for _ in &requests {
        let response = client.receive().await.unwrap();
        assert!(matches!(response.result, Some(Answered::Object(_))));
    }
    service.stop().await;
}
