//! Backups of a running service, and what its clients see of a restored one.

use std::path::{Path, PathBuf};

use crate::common::*;
use keyward_service::backup::{Key, Summary, verify};
use keyward_service::master::Master;
use keyward_service::transfer::{Place, Restore, Restored, restore_into_folder};
use keyward_wire::catalogue_result::State;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, UserType};

fn operation() -> Operation {
    Operation::Backup(wire::Backup::default())
}

/// The file that a service makes.
async fn backup(admin: &mut Client) -> Vec<u8> {
    let request = admin.request(operation());
    let parts = admin.frames(&request).await.into_iter().map(|frame| match frame.result {
        Some(Answered::Backup(part)) => part.bytes,
        _ => panic!("an answer to something else"),
    });
    parts.flatten().collect()
}

fn master_key(dir: &Path) -> Key {
    Key::Master(Master::file(dir.join("master.key")))
}

fn summary(dir: &Path, file: &[u8]) -> Summary {
    let path = dir.join("backup");
    std::fs::write(&path, file).unwrap();
    verify(&path, &master_key(dir)).unwrap()
}

async fn restored(file: PathBuf, key: Key) -> (tempfile::TempDir, Restored) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("service");
    let restore = Restore { file, key, admin_name: None };
    let listen = "127.0.0.1:0".parse().unwrap();
    let made = tokio::task::spawn_blocking(move || {
        restore_into_folder(&restore, &Place::new(dir.clone(), listen)).unwrap().0
    });
    (folder, made.await.unwrap())
}

fn set_pin(old: &[u8], new: &[u8]) -> Operation {
    Operation::SetPin(wire::SetPin {
        user_type: UserType::User.into(),
        old_pin: old.to_vec(),
        new_pin: new.to_vec(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_service_goes_on_with_logins_of_its_pin_and_never_with_those_of_a_later_one() {
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut admin = service.admin().await;
    let revoked_later = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let mut before = service.connect(&identity).await;
    before.token = "dev".to_owned();
    before.login(PIN).await.unwrap();
    let pair = before.generate(generate_p256(true)).await.unwrap();
    let key = pair.private_key.unwrap();
    let (_, frames) = before.catalogue(None).await;
    let known = frames[0].revision;

    let file = service.dir.join("backup");
    std::fs::write(&file, backup(&mut admin).await).unwrap();

    // Afterwards: a login of the same PIN, another PIN and its logins, an object
    // more, and an identity less.
    let mut same_pin = service.connect(&identity).await;
    same_pin.token = "dev".to_owned();
    same_pin.login(PIN).await.unwrap();
    let mut later_pin = service.connect(&identity).await;
    later_pin.token = "dev".to_owned();
    later_pin.ask(set_pin(PIN, b"later")).await.unwrap();
    later_pin.login(b"later").await.unwrap();
    let lost = later_pin.create_object(data("lost", b"x", true)).await.unwrap();
    let revoke = wire::RevokeIdentity { name: "node-2".to_owned() };
    admin.ask(Operation::RevokeIdentity(revoke)).await.unwrap();

    let (folder, told) = restored(file, master_key(&service.dir)).await;
    let good: Vec<_> = told.summary.identities.iter().filter(|one| one.is_good()).collect();
    let names: Vec<_> = good.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["admin", "node-1", "node-2"]);
    service.stop().await;
    let service = Service::in_folder(folder, |_| {}).await;
    // The old certificates, the new server certificate.
    let mut clients = Vec::new();
    for (client, works) in [(&before, true), (&same_pin, true), (&later_pin, false)] {
        let mut again = service.connect(&identity).await;
        (again.token, again.ticket) = (client.token.clone(), client.ticket.clone());
        let signed = again.sign(by_id(&key), ecdsa(), &[1; 32]).await;
        match works {
            true => drop(signed.unwrap()),
            false => assert_eq!(signed.unwrap_err().code, ErrorCode::TicketInvalid),
        }
        clients.push(again);
    }
    let (objects, frames) = clients[0].catalogue(known).await;
    let Some(Answered::Catalogue(part)) = &frames[0].result else { panic!() };
    assert_eq!(part.state(), State::Complete, "a new incarnation is another revision");
    assert_ne!(frames[0].revision.unwrap().incarnation, known.unwrap().incarnation);
    assert!(objects.iter().all(|object| object.unique_id != lost.unique_id));

    // The next PIN of the restored token ends the logins of the first one, and
    // brings none of the PIN that was set after the backup to life.
    clients[0].ask(set_pin(PIN, b"restored")).await.unwrap();
    for client in &mut clients[1..] {
        let refused = client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TicketInvalid);
        client.login(b"restored").await.unwrap();
        client.sign(by_id(&key), ecdsa(), &[1; 32]).await.unwrap();
    }
    service
        .connect(&revoked_later)
        .await
        .ask(Operation::Hello(wire::Hello::default()))
        .await
        .unwrap();
    // The administrator that the restore has made.
    service.admin().await.status().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writes_is_of_one_moment() {
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut client = service.connect(&identity).await;
        client.token = "dev".to_owned();
        client.login(PIN).await.unwrap();
        writers.spawn(async move {
            let mut made: u64 = 0;
            loop {
                // Both halves in one change.
                let made_one = client.generate(generate_p256(true)).await;
                if made_one.is_err() || made >= 200 {
                    return made;
                }
                made += 1;
            }
        });
    }
    let mut admin = service.admin().await;
    let mut last = (0, 0);
    for _ in 0..20 {
        let summary = summary(&service.dir, &backup(&mut admin).await);
        let objects = summary.objects;
        assert_eq!(objects.private_keys, objects.public_keys);
        let now = (summary.info.sequence, objects.private_keys);
        assert!(now.0 >= last.0 && now.1 >= last.1, "{now:?} after {last:?}");
        last = now;
    }
    let made: u64 = writers.join_all().await.into_iter().sum();
    let summary = summary(&service.dir, &backup(&mut admin).await);
    assert_eq!(summary.objects.private_keys, made + 3);
    assert_eq!((summary.tokens.len(), summary.identities.len()), (1, 2));
    assert!(last.1 > 0, "nothing was written while backups were made");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_for_administrators_and_one_at_a_time() {
    let service = Service::start().await;
    let mut user = service.user().await;
    assert_eq!(user.refusal(operation()).await.code, ErrorCode::NotPermitted);
    let mut admin = service.admin().await;
    let wrapped = wire::Backup { wrapped_master_key: vec![0xff; 100] };
    assert_eq!(admin.refusal(Operation::Backup(wrapped)).await.code, ErrorCode::Malformed);

    // More than the buffers between both ends hold.
    let content = vec![b'x'; 390 << 10];
    for number in 0..60 {
        user.create_object(data(&number.to_string(), &content, true)).await.unwrap();
    }
    let request = admin.request(operation());
    admin.send(&request).await;
    let first = admin.receive().await.unwrap();
    assert!(first.more);
    let mut other = service.admin().await;
    assert_eq!(other.refusal(operation()).await.code, ErrorCode::Later);
    // Others go on meanwhile.
    other.status().await;
    while admin.receive().await.unwrap().more {}
    assert_eq!(summary(&service.dir, &backup(&mut other).await).objects.data, 60);
    // One that nobody takes any more gives its turn back.
    let request = admin.request(operation());
    admin.send(&request).await;
    admin.receive().await.unwrap();
    drop(admin);
    let mut tries = 0;
    while let Err(error) = other.ask(operation()).await {
        assert_eq!(error.code, ErrorCode::Later);
        tries += 1;
        assert!(tries < 500, "the turn is never given back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(other);
    service.stop().await;
}
