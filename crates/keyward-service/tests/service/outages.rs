//! Services whose etcd is away, in part or altogether.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::etcd::Etcd;
use keyward_service::{ServeError, serve};
use keyward_wire::request::Operation;
use keyward_wire::{self as wire, ErrorCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::sync::watch::{self, Sender};

/// Longer than anything takes that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does something that takes a while, without holding up the services.
async fn meanwhile<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Asks until it goes well; each attempt as a client that waits two seconds.
async fn at_last(client: &mut Client, operation: Operation) {
    let mut request = client.request(operation);
    request.patience_ms = 2_000;
    let started = Instant::now();
    while let Err(error) = client.exchange(&request).await {
        assert_eq!(error.code, ErrorCode::StoreUnavailable, "{error}");
        assert!(started.elapsed() < PATIENCE, "{error}");
    }
}

/// Why an operation fails for a client that waits two seconds; in time.
async fn refusal(client: &mut Client, operation: Operation) -> wire::Error {
    let mut request = client.request(operation);
    request.patience_ms = 2_000;
    let started = Instant::now();
    let error = client.exchange(&request).await.map(drop).unwrap_err();
    // It comes before the two seconds are over; the rest is for slow machines.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    error
}

fn create() -> Operation {
    Operation::CreateObject(wire::CreateObject { template: data("d", b"x", true) })
}

fn login(pin: &[u8]) -> Operation {
    Operation::Login(wire::Login {
        user_type: wire::UserType::User.into(),
        pin: Some(pin.to_vec()),
        ..wire::Login::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_signatures_go_on_without_a_majority_and_writes_say_why_not() {
    let etcd = Arc::new(meanwhile(|| Etcd::start(3)).await);
    let service = Service::on(&etcd, |config| config.deadlines.access_s = 1).await;
    let mut user = service.user().await;
    let mut admin = service.admin().await;
    let other = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let mut other = service.connect(&other).await;
    other.token = "dev".to_owned();
    let key = user.generate(generate_p256(true)).await.unwrap().private_key.unwrap();
    let both = Arc::clone(&etcd);
    meanwhile(move || [0, 1].map(|place| both.kill(place))).await;

    // The access part of the ticket runs out, and is renewed from memory.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let ticket = user.ticket.clone();
    for _ in 0..50 {
        user.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();
    }
    assert_ne!(user.ticket, ticket);
    assert!(!user.catalogue(None).await.0.is_empty());
    let error = refusal(&mut user, create()).await;
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    assert!(error.message.contains("etcd"), "{error}");
    user.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();

    let revoke = Operation::RevokeIdentity(wire::RevokeIdentity { name: "node-2".to_owned() });
    assert_eq!(refusal(&mut admin, revoke).await.code, ErrorCode::StoreUnavailable);
    // A right PIN needs nothing that would have to be written.
    other.login(PIN).await.unwrap();

    let status = admin.status().await;
    assert!(status.store_trouble.contains("etcd"), "{}", status.store_trouble);
    let status = status.store_status.unwrap();
    assert_eq!(status.members.iter().filter(|member| !member.trouble.is_empty()).count(), 3);

    let one = Arc::clone(&etcd);
    meanwhile(move || one.start_again(0)).await;
    at_last(&mut other, create()).await;
    let started = Instant::now();
    while !admin.status().await.store_trouble.is_empty() {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pins_that_cannot_be_counted_are_tries_all_the_same() {
    let etcd = Arc::new(meanwhile(|| Etcd::start(1)).await);
    let service = Service::on(&etcd, |config| config.pins.tries = 3).await;
    let identity = service.token_and_identity().await;
    let connect = async || {
        let mut client = service.connect(&identity).await;
        client.token = "dev".to_owned();
        client
    };
    let mut client = connect().await;
    let one = Arc::clone(&etcd);
    meanwhile(move || one.kill(0)).await;
    // A repeat of the same attempt is the same try.
    let mut request = client.request(login(b"wrong"));
    request.patience_ms = 1_000;
    for _ in 0..4 {
        let error = client.exchange(&request).await.map(drop).unwrap_err();
        assert_eq!(error.code, ErrorCode::StoreUnavailable);
    }
    // The right PIN is a login: nothing was counted yet. It forgets what is in
    // memory only, as it would in the store.
    client.login(PIN).await.unwrap();
    // Two more, by somebody who hangs up before the answer.
    for pin in [b"guess-1", b"guess-2"] {
        let mut hasty = connect().await;
        let mut request = hasty.request(login(pin));
        request.patience_ms = 500;
        hasty.send(&request).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        drop(hasty);
    }
    let error = refusal(&mut client, login(b"guess-3")).await;
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    for pin in [b"guess-4".as_slice(), PIN] {
        let error = refusal(&mut client, login(pin)).await;
        assert_eq!(error.code, ErrorCode::PinLocked, "{error}");
    }
    // When etcd is back they are counted, and the first one's repeat is answered
    // without being counted again.
    let one = Arc::clone(&etcd);
    meanwhile(move || {
        one.start_again(0);
        one.wait_for_leader();
    })
    .await;
    let mut admin = service.admin().await;
    admin.token = "dev".to_owned();
    let started = Instant::now();
    while admin.token_info().await.pin_counts.first().is_none_or(|count| !count.locked) {
        assert!(started.elapsed() < PATIENCE);
        let _ = client.login(PIN).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(admin.token_info().await.pin_counts[0].wrong, 3);
    assert_eq!(client.login(PIN).await.unwrap_err().code, ErrorCode::PinLocked);
    admin.ask(Operation::UnlockToken(wire::UnlockToken::default())).await.unwrap();
    client.login(PIN).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_or_hangs_costs_no_signature_and_writes_go_on() {
    let etcd = Arc::new(meanwhile(|| Etcd::start(3)).await);
    let first = Service::on(&etcd, |_| {}).await;
    let second = first.joined(None).await;
    let identity = first.token_and_identity().await;
    let mut clients = Vec::new();
    for service in [&first, &second] {
        let mut client = service.connect(&identity).await;
        client.token = "dev".to_owned();
        client.login(PIN).await.unwrap();
        clients.push(client);
    }
    let key = clients[0].generate(generate_p256(true)).await.unwrap().private_key.unwrap();
    at_last(&mut clients[1], create()).await;
    for frozen in [false, true] {
        let one = Arc::clone(&etcd);
        let leader = meanwhile(move || {
            let leader = one.wait_for_leader();
            if frozen {
                one.freeze(leader)
            } else {
                one.kill(leader)
            }
            leader
        })
        .await;
        for client in &mut clients {
            client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();
            at_last(client, create()).await;
            client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();
        }
        let one = Arc::clone(&etcd);
        meanwhile(move || {
            if frozen {
                one.thaw(leader)
            } else {
                one.start_again(leader)
            }
            one.wait_for_leader();
        })
        .await;
    }
    // Nothing happened twice, and both know the same: two keys, five objects.
    for client in &mut clients {
        let started = Instant::now();
        while client.catalogue(None).await.0.len() != 7 {
            assert!(started.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_cut_off_shows_nothing_older_and_learns_what_it_missed() {
    let etcd = Arc::new(meanwhile(|| Etcd::start(1)).await);
    let first = Service::on(&etcd, |_| {}).await;
    let cut = Cut::before(&etcd.endpoints()[0]).await;
    let second = first.joined(Some(vec![cut.endpoint()])).await;
    let identity = first.token_and_identity().await;
    let mut admin = first.admin().await;
    let gone = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let mut gone = second.connect(&gone).await;
    let mut here = first.connect(&identity).await;
    let mut there = second.connect(&identity).await;
    for client in [&mut gone, &mut here, &mut there] {
        client.token = "dev".to_owned();
        client.login(PIN).await.unwrap();
    }
    let key = here.generate(generate_p256(true)).await.unwrap().private_key.unwrap();
    at_last(&mut there, create()).await;
    cut.set(true);

    let request = here.request(create());
    let revision = here.exchange(&request).await.unwrap().revision;
    admin
        .ask(Operation::RevokeIdentity(wire::RevokeIdentity { name: "node-2".to_owned() }))
        .await
        .unwrap();
    let mut look = there.request(Operation::Catalogue(wire::Catalogue::default()));
    look.at_least = revision;
    look.patience_ms = 1_000;
    let error = there.exchange(&look).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::RevisionBehind);
    there.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();
    gone.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();

    // etcd forgets what the replica missed: it must read everything again.
    let one = Arc::clone(&etcd);
    meanwhile(move || one.compact()).await;
    cut.set(false);
    assert!(gone.is_closed().await);
    look.patience_ms = 20_000;
    there.exchange(&look).await.unwrap();
    assert_eq!(there.catalogue(None).await.0.len(), 4);
    at_last(&mut there, create()).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_before_etcd_waits_for_it_and_not_for_ever() {
    let etcd = Arc::new(meanwhile(|| Etcd::start(1)).await);
    let service = Service::on(&etcd, |_| {}).await;
    let folder = service.stop().await;
    let one = Arc::clone(&etcd);
    meanwhile(move || one.kill(0)).await;

    let mut impatient = config(folder.path());
    impatient.etcd.as_mut().unwrap().start_s = 1;
    let error = tokio::time::timeout(
        PATIENCE,
        serve(impatient, |_| panic!("it started"), std::future::pending()),
    )
    .await
    .unwrap()
    .unwrap_err();
    assert!(matches!(&error, ServeError::Store { .. }), "{error}");
    assert!(error.to_string().contains("etcd does not answer"), "{error}");

    // Told to stop while it waits it stops.
    let stopped = serve(config(folder.path()), |_| panic!("it started"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
    });
    let stopped = tokio::time::timeout(Duration::from_secs(5), stopped).await.unwrap();
    assert!(matches!(stopped, Err(ServeError::Stopped(_))));

    let (ready, mut started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let waits = config(folder.path());
    let task = tokio::spawn(serve(waits, |address| ready.send(address).unwrap(), async {
        let _ = stopped.await;
    }));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(started.try_recv().is_err());
    let one = Arc::clone(&etcd);
    meanwhile(move || one.start_again(0)).await;
    tokio::time::timeout(PATIENCE, started).await.unwrap().unwrap();
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();
}

/// A wire to a member of etcd that can be cut.
struct Cut {
    address: SocketAddr,
    cut: Sender<bool>,
}

impl Cut {
    async fn before(endpoint: &str) -> Self {
        let target: SocketAddr = endpoint.strip_prefix("https://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, state) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                if *state.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { address, cut }
    }

    fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    fn set(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}
