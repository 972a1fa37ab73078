//! Backups, and services that are made of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::place::{Place, free_address, json, openssl_agrees, secret_file};
use crate::common::run;

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn a_service_is_backed_up_verified_restored_and_signs_for_its_old_clients() {
    let mut place = Place::with_a_node();
    let file = place.at("first.backup");
    let told = json(&place.admin(["backup", "--out", &file, "--json"]));
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!Path::new(&place.at("first.backup.partial")).exists());

    let key = place.master_key();
    let seen = json(&run(["backup", "verify", &file, "--master-key", &key, "--json"]).fine());
    assert_eq!(seen["revision"], told["revision"]);
    assert_eq!(seen["entries"], told["entries"]);
    assert_eq!(seen["tokens"][0]["label"], "node");
    assert_eq!(seen["objects"]["private_keys"], 2);
    assert_eq!(seen["objects"]["public_keys"], 2);
    assert_eq!(seen["objects"]["certificates"], 1);
    let names: Vec<_> =
        seen["identities"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["admin", "node1"]);
    let shown = run(["backup", "verify", &file, "--master-key", &key]).fine();
    assert!(shown.contains("all of which decrypt and parse"), "{shown}");

    // The first service goes on; its change is not in the restored one.
    place.admin(["key", "generate", "--token", "node", "--type", "ec:p256", "--label", "later"]);
    let (listen, restored) = (free_address(), place.at("restored"));
    let told =
        run(["restore", &file, "--dir", &restored, "--listen", &listen, "--master-key", &key])
            .fine();
    assert!(told.contains("admin node1"), "{told}");
    assert!(told.contains("keyward serve --config"), "{told}");
    let again = run(["restore", &file, "--dir", &restored, "--master-key", &key]).failed(1);
    assert!(again.contains("already holds a service"), "{again}");
    place.stop();
    place.start("restored");
    openssl_agrees(&place, &place.node_at(&listen));
    let admin = place.at("restored/admin/client.toml");
    let tokens = json(&run(["token", "list", "--json", "--admin", &admin]).fine());
    assert_eq!(tokens[0]["objects"], 5);
}

#[test]
fn a_lost_machine_is_restored_by_the_passphrase_alone() {
    let mut place = Place::with_a_node();
    let (file, passphrase) = (place.at("keyward.backup"), place.at("passphrase"));
    let config = place.config("service");
    secret_file(&passphrase, "too short\n");
    let with_passphrase =
        ["backup", "--out", &file, "--passphrase-file", &passphrase, "--config", &config];
    let error = place.said(with_passphrase).failed(1);
    assert!(error.contains("fewer than 12"), "{error}");
    secret_file(&passphrase, &format!("{PASSPHRASE}\n"));
    place.admin(with_passphrase);
    let (again, key) = (place.at("again.backup"), place.master_key());
    let by_key =
        ["backup", "--out", &again, "--passphrase-file", &passphrase, "--master-key", &key];
    place.admin(by_key);
    run(["backup", "verify", &again, "--passphrase-file", &passphrase]).fine();
    // Another service's master key would make a file that nobody can restore.
    let other = place.at("other");
    run(["init", "--dir", &other]).fine();
    let out = place.at("other.backup");
    let error = place
        .said([
            "backup",
            "--out",
            &out,
            "--passphrase-file",
            &passphrase,
            "--config",
            &format!("{other}/keyward.toml"),
        ])
        .failed(1);
    assert!(error.contains("does not open"), "{error}");
    assert!(!Path::new(&out).exists() && !Path::new(&format!("{out}.partial")).exists());

    place.stop();
    fs::remove_dir_all(place.at("service")).unwrap();
    let wrong = place.at("wrong");
    secret_file(&wrong, "another passphrase");
    let error = run(["backup", "verify", &file, "--passphrase-file", &wrong]).failed(1);
    assert!(error.contains("the passphrase is not the one"), "{error}");
    let listen = free_address();
    let dir = place.at("new");
    let restore = ["restore", &file, "--dir", &dir, "--listen", &listen, "--passphrase-file"];
    let told = json(&run(restore.into_iter().chain([passphrase.as_str(), "--json"])).fine());
    assert_eq!(told["good_identities"].as_array().unwrap().len(), 2);
    place.start("new");
    openssl_agrees(&place, &place.node_at(&listen));
    let admin = told["admin_config"].as_str().unwrap();
    let identities = json(&run(["identity", "list", "--json", "--admin", admin]).fine());
    assert_eq!(identities.as_array().unwrap().len(), 3);
}

#[test]
fn what_is_wrong_with_a_backup_is_one_clear_sentence_and_nothing_is_written() {
    let place = Place::with_a_node();
    let file = place.backup("keyward.backup");
    let key = place.master_key();
    let content = fs::read(&file).unwrap();
    let (damaged, dir) = (place.at("damaged"), place.at("restored"));
    let other = place.at("other.key");
    secret_file(&other, &"ab".repeat(32));
    let mut flipped = content.clone();
    flipped[content.len() / 2] ^= 1;
    let cases: [(&[u8], &str, &str); 5] = [
        (&flipped, &key, "is damaged or incomplete"),
        (&content[..content.len() - 1], &key, "is damaged or incomplete"),
        (&content[..10], &key, "is no Keyward backup"),
        (b"something else", &key, "is no Keyward backup"),
        (&content, &other, "does not open"),
    ];
    for (bytes, key, sentence) in cases {
        fs::write(&damaged, bytes).unwrap();
        for command in [
            vec!["backup", "verify", &damaged, "--master-key", key],
            vec!["restore", &damaged, "--dir", &dir, "--master-key", key],
        ] {
            let error = run(&command).failed(1);
            assert!(error.contains(sentence), "{command:?}: {error}");
            assert_eq!(error.matches("keyward: error").count(), 1, "{error}");
            assert!(!Path::new(&dir).exists());
        }
    }
    let error = run(["backup", "verify", &file, "--passphrase-file", &other]).failed(1);
    assert!(error.contains("made without a passphrase"), "{error}");
    let error = place.said(["backup", "--out", &file]).failed(1);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), content);
    // One who may not: nothing is left behind.
    let out = place.at("node.backup");
    let node = place.at("node1/client.toml");
    let error = run(["backup", "--out", &out, "--admin", &node]).failed(1);
    assert!(error.contains("no administrator"), "{error}");
    assert!(!Path::new(&out).exists() && !Path::new(&format!("{out}.partial")).exists());
}

#[test]
fn a_store_is_filled_from_a_backup_only_while_it_is_empty() {
    let mut place = Place::with_a_node();
    let file = place.backup("keyward.backup");
    let config = place.config("service");
    let error = run(["restore", &file, "--into", &config]).failed(1);
    assert!(error.contains("in use"), "{error}");
    place.stop();
    for more in [None, Some("--resume")] {
        let restore = ["restore", &file, "--into", &config].into_iter();
        let error = run(restore.chain(more)).failed(1);
        assert!(error.contains("not empty"), "{error}");
    }
    place.start("service");
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
    place.stop();
    // The disk with the store is lost, the rest is there.
    fs::remove_file(place.at("service/store.redb")).unwrap();
    let admin = place.at("new-admin");
    run(["restore", &file, "--into", &config, "--new-admin", &admin]).fine();
    place.start("service");
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
    run(["token", "list", "--admin", &format!("{admin}/client.toml")]).fine();
    // A service of another authority is none that the clients would accept.
    let other = place.at("other");
    run(["init", "--dir", &other]).fine();
    fs::remove_file(place.at("other/store.redb")).unwrap();
    let key = place.master_key();
    let into = place.config("other");
    let error = run(["restore", &file, "--into", &into, "--master-key", &key]).failed(1);
    assert!(error.contains("is not the authority of the backup"), "{error}");
}
