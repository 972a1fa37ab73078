//! A store is copied, on its machine and into etcd, and nobody takes half of one
//! for a store.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use keyward_wire::attribute::Value as Attr;
use keyward_wire::request::Operation;
use keyward_wire::{Attribute, CreateObject};

use super::place::{Node, Place, json, openssl_agrees};
use crate::common::{keyward, run, serve};
use crate::etcd;

#[test]
fn a_copy_is_served_like_the_original() {
    let mut place = Place::with_a_node();
    let (from, to) = (place.config("service"), place.at("service/new.toml"));
    let text = fs::read_to_string(&from).unwrap();
    fs::write(&to, text.replace("store.redb", "new.redb")).unwrap();
    let copy = ["store", "copy", "--from", &from, "--to", &to];
    let error = run(copy).failed(1);
    assert!(error.contains("in use by another process"), "{error}");
    place.stop();
    let told = json(&run(copy.into_iter().chain(["--json"])).fine());
    assert!(told["entries"].as_u64().unwrap() > 10, "{told}");
    let error = run(copy).failed(1);
    assert!(error.contains("not empty"), "{error}");
    place.child = Some(serve(&to));
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
}

/// Killed at any point of a copy, the destination is either whole or refused,
/// and `--resume` makes it whole.
#[test]
fn a_copy_that_is_killed_leaves_no_half_store_that_serves() {
    let mut place = Place::with_a_node();
    fill(&place.node_at(&place.listen.clone()));
    place.stop();
    let from = place.config("service");
    let text = fs::read_to_string(&from).unwrap();
    let mut halves = 0;
    for round in 0..12 {
        let to = place.at(&format!("service/{round}.toml"));
        let data = place.at(&format!("service/{round}.redb"));
        fs::write(&to, text.replace("store.redb", &format!("{round}.redb"))).unwrap();
        let copy = ["store", "copy", "--from", &from, "--to", &to];
        let mut child = keyward(copy).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !Path::new(&data).exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_micros(200));
        }
        // Each round is cut at another point.
        std::thread::sleep(Duration::from_millis(3 * round));
        child.kill().unwrap();
        let finished = child.wait().unwrap().success();
        if !finished {
            let said = refusal(&to);
            // Cut off before its first commit it is no store, and afterwards a
            // half one; a kill behind the last commit came too late.
            halves += u32::from(said.as_ref().is_some_and(|said| said.contains("half written")));
            if said.is_some() {
                run(copy.into_iter().chain(["--resume"])).fine();
            }
        }
        place.child = Some(serve(&to));
        let node = place.node_at(&place.listen.clone());
        assert_eq!(node.objects(&node.login()).len(), 5 + FILLED);
        place.stop();
    }
    assert!(halves > 0, "no kill has hit the middle of a copy");
}

/// From one machine into etcd and back, by copies and by a backup: each is killed
/// in the middle first, and what is there then nobody takes for a store.
#[test]
fn a_service_moves_into_etcd_and_back_whatever_is_killed_on_the_way() {
    let mut place = Place::with_a_node();
    fill(&place.node_at(&place.listen.clone()));
    let objects = place.node_at(&place.listen.clone()).contents();
    let file = place.at("service.backup");
    place.admin(["backup", "--out", &file]);
    place.stop();
    let etcd = etcd::Etcd::start(1);
    let from = place.config("service");
    let text = fs::read_to_string(&from).unwrap();
    let folder = place.folder.path().to_owned();
    let config = |name: &str| {
        let path = folder.join(format!("service/{name}.toml"));
        let text = text.replace("store = \"redb\"\ndata", "store = \"etcd\"\n# was: data");
        let members = etcd.endpoints();
        let rest = format!(
            "\n[etcd]\nendpoints = {members:?}\nauthority = {:?}\ncertificate = {:?}\n\
             private_key = {:?}\nprefix = \"/{name}/\"\n",
            etcd.authority(),
            etcd.certificate(),
            etcd.private_key(),
        );
        fs::write(&path, text + &rest).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let copied = config("copied");
    let copy = ["store", "copy", "--from", &from, "--to", &copied];
    halve(&etcd, "/copied/", &copy, &copied);
    let joined = place.at("joined");
    let members = etcd.endpoints().join(",");
    let [authority, certificate, private_key] =
        [etcd.authority(), etcd.certificate(), etcd.private_key()]
            .map(|path| path.to_str().unwrap().to_owned());
    let remote = [
        "--store",
        "etcd",
        "--etcd-endpoints",
        &members,
        "--etcd-authority",
        &authority,
        "--etcd-certificate",
        &certificate,
        "--etcd-private-key",
        &private_key,
        "--etcd-prefix",
    ];
    let key = place.master_key();
    let join = ["init", "--join", "--dir", &joined, "--master-key", &key];
    let error = run(join.into_iter().chain(remote).chain(["/copied/"])).failed(1);
    assert!(error.contains("half written"), "{error}");
    run(copy.into_iter().chain(["--resume"])).fine();
    place.child = Some(serve(&copied));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
    place.stop();

    let restored = config("restored");
    let restore = ["restore", &file, "--into", &restored, "--master-key", &key];
    halve(&etcd, "/restored/", &restore, &restored);
    run(restore.into_iter().chain(["--resume"])).fine();
    place.child = Some(serve(&restored));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    place.stop();

    // A machine that is gone: a new folder, with its store in etcd.
    let gone = place.at("gone");
    let listen = place.listen.clone();
    let new = ["restore", &file, "--dir", &gone, "--listen", &listen, "--master-key", &key];
    let new: Vec<_> = new.into_iter().chain(remote).chain(["/gone/"]).collect();
    run(new.clone()).fine();
    place.child = Some(serve(place.config("gone")));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    place.stop();
    fs::remove_dir_all(&gone).unwrap();
    let error = run(new).failed(1);
    assert!(error.contains("not empty"), "{error}");
    assert!(!Path::new(&gone).exists());

    let back = place.at("service/back.toml");
    fs::write(&back, text.replace("store.redb", "back.redb")).unwrap();
    run(["store", "copy", "--from", &copied, "--to", &back]).fine();
    place.child = Some(serve(&back));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
}

/// Kills a command in the middle of filling a store under `prefix`, and sees
/// that no service takes what is there.
fn halve(etcd: &etcd::Etcd, prefix: &str, command: &[&str], config: &str) {
    let mut delay = Duration::from_millis(20);
    let keys = || etcd.ctl(&["get", "--prefix", prefix, "--keys-only"]);
    for round in 0.. {
        assert!(round < 80, "no kill has hit the middle");
        let resume = (round > 0).then_some("--resume");
        let mut child = keyward(command.iter().copied().chain(resume))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = keys();
        if found.contains("meta/format") {
            etcd.ctl(&["del", "--prefix", prefix]);
            delay /= 2;
        } else if found.contains("meta/loading") && found.contains("object/") {
            break;
        } else {
            delay += Duration::from_millis(7);
        }
    }
    let before = keys();
    let said = refusal(config).unwrap();
    assert!(said.contains("half written"), "{said}");
    let error = run(command.iter().copied()).failed(1);
    assert!(error.contains("half written") && error.contains("--resume"), "{error}");
    assert_eq!(keys(), before, "nothing was touched");
}

/// Why a service does not start; `None` if it does.
fn refusal(config: &str) -> Option<String> {
    let mut child = keyward(["serve", "--announce", "--config", config])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    if line.starts_with("ready") {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    Some(String::from_utf8(output.stderr).unwrap())
}

const FILLED: usize = 1600;

/// Makes so many objects.
fn fill(node: &Node) {
    let ticket = node.login();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..FILLED / 8 {
                    let attribute = |r#type, value| Attribute { r#type, value: Some(value) };
                    let template = vec![
                        attribute(CKA_CLASS, Attr::Number(CKO_DATA)),
                        attribute(CKA_TOKEN, Attr::Boolean(true)),
                        attribute(CKA_VALUE, Attr::Bytes(vec![0x5a; 400])),
                    ];
                    node.ask(Some(&ticket), Operation::CreateObject(CreateObject { template }));
                }
            });
        }
    });
}
