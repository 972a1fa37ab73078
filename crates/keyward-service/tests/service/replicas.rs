//! Several services on one store in etcd: whatever one does the others know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::*;
use crate::etcd::Etcd;
use keyward_service::config::{Config, StoreKind};
use keyward_service::init::{InitError, Join, Options, init, join};
use keyward_service::transfer::{TransferError, copy};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, PinState, Revision};

/// Two replicas.
async fn pair() -> (Service, Service) {
    let first = Service::on(Etcd::shared(), |_| {}).await;
    let second = first.joined(None).await;
    (first, second)
}

async fn connect(service: &Service, identity: &Identity) -> Client {
    let mut client = service.connect(identity).await;
    client.token = "dev".to_owned();
    client
}

/// Asks until it goes well, for so long.
async fn within<T>(patience: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < patience, "not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_by_one_is_used_by_the_other() {
    let (first, second) = pair().await;
    let identity = first.token_and_identity().await;
    // Made a moment ago by way of the other one: it is let in all the same, and
    // finds the token.
    let mut there = connect(&second, &identity).await;
    there.login(PIN).await.unwrap();
    let mut here = connect(&first, &identity).await;
    let pair = here.generate(generate_p256(true)).await.unwrap_err();
    assert_eq!(pair.code, ErrorCode::UserNotLoggedIn);
    // A ticket of one is good for the other.
    here.ticket = there.ticket.clone();
    let request = here.request(generate_p256(true));
    let made = here.exchange(&request).await.unwrap();
    let revision = made.revision.unwrap();
    let Some(Answered::KeyPair(pair)) = made.result else { panic!() };
    let key = pair.private_key.unwrap();
    // By the revision it is there at once.
    let mut request = there.request(Operation::Sign(wire::Sign {
        key: Some(wire::Key { key: Some(by_id(&key)) }),
        input: vec![1; 32],
        scheme: Some(ecdsa()),
        ..wire::Sign::default()
    }));
    request.at_least = Some(revision);
    there.exchange(&request).await.unwrap();

    // Without one, within a second.
    let made = here.create_object(data("later", b"x", false)).await.unwrap();
    within(Duration::from_secs(1), async || {
        let (objects, _) = there.catalogue(None).await;
        objects.iter().any(|object| object.unique_id == made.unique_id).then_some(())
    })
    .await;
    // Sealed session objects too are every replica's.
    let sealed = here.generate(generate_p256(false)).await.unwrap().private_key.unwrap();
    there.sign(by_blob(&sealed), ecdsa(), &[1; 32]).await.unwrap();
    // A revocation ends the connections to the other one.
    let mut admin = first.admin().await;
    admin
        .ask(Operation::RevokeIdentity(wire::RevokeIdentity { name: "node-1".to_owned() }))
        .await
        .unwrap();
    assert!(there.is_closed().await);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_not_there_yet_is_waited_for_and_no_older_state_is_shown() {
    let (first, second) = pair().await;
    let identity = first.token_and_identity().await;
    let mut here = connect(&first, &identity).await;
    let mut there = connect(&second, &identity).await;
    here.login(PIN).await.unwrap();
    there.login(PIN).await.unwrap();
    for number in 0..30 {
        let request = here.request(Operation::CreateObject(wire::CreateObject {
            template: data(&number.to_string(), b"x", false),
        }));
        let revision = here.exchange(&request).await.unwrap().revision;
        let mut look = there.request(Operation::Catalogue(wire::Catalogue::default()));
        look.at_least = revision;
        let frames = there.frames(&look).await;
        let Some(Answered::Catalogue(part)) = &frames[0].result else { panic!("{number}") };
        assert_eq!(part.objects.len(), number + 1);
    }
    // One that never comes is not waited for longer than the client does.
    let mut look = there.request(Operation::Catalogue(wire::Catalogue::default()));
    let Revision { incarnation, sequence } = there.exchange(&look).await.unwrap().revision.unwrap();
    look.at_least = Some(Revision { incarnation, sequence: sequence + 1_000_000 });
    look.patience_ms = 500;
    let started = Instant::now();
    let error = there.exchange(&look).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RevisionBehind);
    assert!(started.elapsed() < Duration::from_secs(5));
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pins_are_counted_over_all_replicas() {
    let (first, second) = pair().await;
    let identity = first.token_and_identity().await;
    let mut here = connect(&first, &identity).await;
    let mut there = connect(&second, &identity).await;
    for _ in 0..5 {
        assert_eq!(here.login(b"wrong").await.unwrap_err().code, ErrorCode::PinIncorrect);
        assert_eq!(there.login(b"wrong").await.unwrap_err().code, ErrorCode::PinIncorrect);
    }
    for client in [&mut here, &mut there] {
        let locked = within(Duration::from_secs(1), async || client.login(PIN).await.err()).await;
        assert_eq!(locked.code, ErrorCode::PinLocked);
    }
    let mut admin = second.admin_of(&first).await;
    let unlock = Operation::UnlockToken(wire::UnlockToken::default());
    admin.token = "dev".to_owned();
    admin.ask(unlock).await.unwrap();
    within(Duration::from_secs(1), async || here.login(PIN).await.ok()).await;
    // Guesses at both at once are no more than the tries.
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..40 {
        let service = if number % 2 == 0 { &first } else { &second };
        let mut client = connect(service, &identity).await;
        guesses.spawn(async move { client.login(b"guess").await.unwrap_err().code });
    }
    let answers = guesses.join_all().await;
    let tried = answers.iter().filter(|code| **code == ErrorCode::PinIncorrect).count();
    assert_eq!(tried, 10, "{answers:?}");
    let token = admin.token_info().await;
    assert_eq!(token.pin_counts[0].wrong, 10);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_repeated_at_the_other_replica_happens_once() {
    let (first, second) = pair().await;
    let identity = first.token_and_identity().await;
    let mut here = connect(&first, &identity).await;
    let mut there = connect(&second, &identity).await;
    here.login(PIN).await.unwrap();
    there.ticket = here.ticket.clone();
    let object = |response: wire::Response| match response.result {
        Some(Answered::Object(made)) => made.object.unwrap().unique_id,
        _ => panic!("an answer to something else"),
    };
    for _ in 0..10 {
        let template = data("once", b"x", true);
        let request = here.request(Operation::CreateObject(wire::CreateObject { template }));
        let made = object(here.exchange(&request).await.unwrap());
        assert_eq!(object(there.exchange(&request).await.unwrap()), made);
        let destroy = Operation::DestroyObject(wire::DestroyObject { unique_id: made });
        let request = there.request(destroy);
        there.exchange(&request).await.unwrap();
        here.exchange(&request).await.unwrap();
        // At both at the same time.
        let template = data("twice", b"x", true);
        let request = here.request(Operation::CreateObject(wire::CreateObject { template }));
        let (one, two) = tokio::join!(here.exchange(&request), there.exchange(&request));
        assert_eq!(object(one.unwrap()), object(two.unwrap()));
    }
    let (objects, _) = here.catalogue(None).await;
    assert_eq!(objects.len(), 10);
    let login = Operation::Login(wire::Login {
        user_type: wire::UserType::User.into(),
        pin: Some(b"wrong".to_vec()),
        ..wire::Login::default()
    });
    let request = here.request(login);
    for place in [0, 1, 0] {
        let client = if place == 0 { &mut here } else { &mut there };
        let error = client.exchange(&request).await.map(drop).unwrap_err();
        assert_eq!(error.code, ErrorCode::PinIncorrect);
    }
    let (_, frames) = there.catalogue(None).await;
    let Some(Answered::Catalogue(part)) = &frames[0].result else { panic!() };
    assert_eq!(part.token.as_ref().unwrap().user_pin(), PinState::CountLow);
    let mut admin = first.admin().await;
    admin.token = "dev".to_owned();
    assert_eq!(admin.token_info().await.pin_counts[0].wrong, 1);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_500_objects_is_initialised_anew_and_deleted() {
    let (first, second) = pair().await;
    let identity = first.token_and_identity().await;
    let prefix = config(first.folder()).etcd.unwrap().prefix;
    let objects = || {
        let keys = etcd_keys(Etcd::shared(), &prefix);
        keys.iter().filter(|key| key.starts_with("object/")).count()
    };
    let mut admin = first.admin().await;
    admin.token = "dev".to_owned();
    let init_token = Operation::InitToken(wire::InitToken {
        label: "dev".to_owned(),
        so_pin: SO_PIN.to_vec(),
        ..wire::InitToken::default()
    });
    let delete = Operation::DeleteToken(wire::DeleteToken {});
    for last in [init_token, delete] {
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..10 {
            let service = if number % 2 == 0 { &first } else { &second };
            let mut client = service.admin_of(&first).await;
            client.token = "dev".to_owned();
            writers.spawn(async move {
                for _ in 0..50 {
                    client.create_object(data("d", b"x", true)).await.unwrap();
                }
            });
        }
        writers.join_all().await;
        assert_eq!(objects(), 500);
        admin.ask(last).await.unwrap();
        assert_eq!(objects(), 0);
    }
    let mut client = connect(&second, &identity).await;
    let gone = within(Duration::from_secs(1), async || client.login(PIN).await.err()).await;
    assert_eq!(gone.code, ErrorCode::TokenNotPresent);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_joins_with_the_right_master_key_only_and_nothing_is_overwritten() {
    let etcd = Etcd::shared();
    let folder = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let here = |name: &str| folder.path().join(name);
    let there = settings(etcd);
    let master_key = here("first/master.key");
    std::fs::write(here("master.key"), "11".repeat(32)).unwrap();
    std::fs::set_permissions(
        here("master.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let joining = |name: &str, key: &std::path::Path| {
        join(&Join::new(here(name), listen, there.clone(), key.to_owned()))
    };
    // There is nothing to join yet.
    assert!(matches!(joining("second", &here("master.key")), Err(InitError::NoStore(_))));
    let mut options = Options::new(here("first"), listen);
    options.etcd = Some(there.clone());
    init(&options).unwrap();
    let before = etcd.ctl(&["get", "--prefix", &there.prefix]);

    options.dir = here("again");
    assert!(matches!(init(&options), Err(InitError::StoreExists(_))));
    let wrong = joining("second", &here("master.key"));
    assert!(matches!(wrong, Err(InitError::WrongMasterKey(_))));
    for name in ["again", "second"] {
        assert!(!here(name).exists());
    }
    let joined = joining("second", &master_key).unwrap();
    assert_eq!(std::fs::read(&joined.master_key).unwrap(), std::fs::read(&master_key).unwrap());
    assert_ne!(
        std::fs::read(&joined.certificate).unwrap(),
        std::fs::read(here("first/server.pem")).unwrap()
    );
    assert!(matches!(joining("second", &master_key), Err(InitError::Exists(_))));
    assert_eq!(etcd.ctl(&["get", "--prefix", &there.prefix]), before);
    let config = Config::load(&joined.config).unwrap();
    assert_eq!(config.etcd.unwrap().prefix, there.prefix);

    // A folder that cannot be published takes the store back.
    let mut options = Options::new(here("file/service"), listen);
    options.etcd = Some(settings(etcd));
    std::fs::write(here("file"), "").unwrap();
    assert!(init(&options).is_err());
    assert!(etcd_keys(etcd, &options.etcd.unwrap().prefix).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_restarted_one_by_one_without_a_failed_signature() {
    let (mut first, mut second) = pair().await;
    let identity = first.token_and_identity().await;
    let mut user = connect(&first, &identity).await;
    user.login(PIN).await.unwrap();
    let key = user.generate(generate_p256(true)).await.unwrap().private_key.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = Arc::new(rust_client(folder.path(), &identity, &[&first, &second]));
    let login = wire::Request {
        token: "dev".to_owned(),
        operation: Some(Operation::Login(wire::Login {
            user_type: wire::UserType::User.into(),
            pin: Some(PIN.to_vec()),
            ..wire::Login::default()
        })),
        ..wire::Request::default()
    };
    let ticket = tokio::task::spawn_blocking({
        let client = Arc::clone(&client);
        move || client.call(login).unwrap()[0].ticket.clone()
    })
    .await
    .unwrap();
    let (stop, signed, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::default());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (client, ticket, key) = (Arc::clone(&client), ticket.clone(), key.clone());
            let (stop, signed) = (Arc::clone(&stop), Arc::clone(&signed));
            let failed: Arc<std::sync::Mutex<Vec<String>>> = Arc::clone(&failed);
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    let sign = wire::Sign {
                        key: Some(wire::Key { key: Some(by_id(&key)) }),
                        input: vec![1; 32],
                        scheme: Some(ecdsa()),
                        ..wire::Sign::default()
                    };
                    let request = wire::Request {
                        ticket: ticket.clone(),
                        token: "dev".to_owned(),
                        operation: Some(Operation::Sign(sign)),
                        ..wire::Request::default()
                    };
                    match client.call(request) {
                        Ok(_) => drop(signed.fetch_add(1, Relaxed)),
                        Err(error) => failed.lock().unwrap().push(error.to_string()),
                    }
                }
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        first = first.restart_in_place().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        second = second.restart_in_place().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Relaxed);
    tokio::task::spawn_blocking(|| threads.into_iter().for_each(|it| it.join().unwrap()))
        .await
        .unwrap();
    let failed = std::mem::take(&mut *failed.lock().unwrap());
    println!("{} signatures over six restarts, {} failed", signed.load(Relaxed), failed.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert!(signed.load(Relaxed) > 100);
    first.stop().await;
    second.stop().await;
}

/// The client that the module has, too.
fn rust_client(
    folder: &std::path::Path,
    identity: &Identity,
    services: &[&Service],
) -> keyward_client::Client {
    let endpoints: Vec<_> =
        services.iter().map(|service| format!("\"{}\"", service.address)).collect();
    let config = format!(
        "endpoints = [{}]\nserver_name = \"keyward\"\nauthority = \"ca.pem\"\n\
         certificate = \"identity.pem\"\nprivate_key = \"identity.key\"\n",
        endpoints.join(", ")
    );
    let pem = keyward_service::bundle::certificate_pem;
    for (name, content) in [
        ("client.toml", config),
        ("ca.pem", pem(&identity.authority)),
        ("identity.pem", pem(&identity.certificate)),
        ("identity.key", identity.key.clone()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let config = keyward_client::Config::load(&folder.join("client.toml")).unwrap();
    keyward_client::Client::new(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_copied_to_etcd_and_back() {
    let service = Service::in_folder(folder_in(None), |_| {}).await;
    let identity = service.token_and_identity().await;
    let mut user = connect(&service, &identity).await;
    user.login(PIN).await.unwrap();
    let key = user.generate(generate_p256(true)).await.unwrap().private_key.unwrap();
    let ticket = user.ticket.clone();
    let mut folder = service.stop().await;
    let file = config(folder.path());
    let mut remote = file.clone();
    remote.store = StoreKind::Etcd;
    remote.data = std::path::PathBuf::new();
    remote.etcd = Some(settings(Etcd::shared()));
    let mut back = file.clone();
    back.data = file.data.with_file_name("back.redb");
    for (from, to) in [(&file, &remote), (&remote, &back)] {
        let (from, to) = (from.clone(), to.clone());
        let copied =
            tokio::task::spawn_blocking(move || copy(&from, &to, false)).await.unwrap().unwrap();
        assert!(copied.entries > 5);
    }
    let again = {
        let (from, to) = (file.clone(), remote.clone());
        tokio::task::spawn_blocking(move || copy(&from, &to, false)).await.unwrap()
    };
    assert!(matches!(again.map(drop), Err(TransferError::NotEmpty(_))));
    // What each of them serves is the same: the ticket too.
    for store in [remote, back] {
        let text = std::fs::read_to_string(folder.path().join("service/keyward.toml")).unwrap();
        let first = text.lines().filter(|line| !line.starts_with("data = "));
        let mut text: Vec<_> =
            first.take_while(|line| *line != "[etcd]").map(str::to_owned).collect();
        let kind = text.iter().position(|line| line.starts_with("store = ")).unwrap();
        match &store.etcd {
            None => text[kind] = "store = \"redb\"\ndata = \"back.redb\"".to_owned(),
            Some(etcd) => {
                text[kind] = "store = \"etcd\"".to_owned();
                text.push(format!(
                    "[etcd]\nendpoints = {:?}\nprefix = {:?}\nauthority = {:?}\n\
                     certificate = {:?}\nprivate_key = {:?}",
                    etcd.endpoints, etcd.prefix, etcd.authority, etcd.certificate, etcd.private_key
                ));
            }
        }
        std::fs::write(folder.path().join("service/keyward.toml"), text.join("\n")).unwrap();
        let service = Service::in_folder(folder, |_| {}).await;
        let mut user = connect(&service, &identity).await;
        user.ticket = ticket.clone();
        user.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();
        assert_eq!(service.admin().await.status().await.store, service_store(&store));
        folder = service.stop().await;
    }
}

fn service_store(config: &Config) -> &'static str {
    if config.etcd.is_some() { "etcd" } else { "redb" }
}
