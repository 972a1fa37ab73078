//! A key and its certificate are replaced under a JVM that runs: what it loaded
//! before goes on with the old key, what it loads afterwards has the new one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::jvm::{Console, Node, Plan, certify, pki};
use common::{PIN, run};
use serde_json::Value;

on_each_jdk! {
    a_key_is_replaced_under_a_running_jvm
}

/// Another load of the keystore sees a change after this at the latest.
const SEEN_AFTER: Duration = Duration::from_millis(1100);

const TLS13: &str = "TLSv1.3 TLS_AES_128_GCM_SHA256";

fn a_key_is_replaced_under_a_running_jvm(jdk: u32) {
    let kind = if matches!(jdk, 8 | 17) { "ec:p256" } else { "rsa:2048" };
    let node = Node::start(jdk, Plan { kind, ..Plan::default() });
    let mut console = node.console();
    let handshake = |console: &mut Console, name: &str| {
        console.ask(&format!("handshake 3 {TLS13} {name}"))["peer"].clone()
    };
    let load = |console: &mut Console| {
        std::thread::sleep(SEEN_AFTER);
        assert_eq!(console.ask(&format!("load {PIN}"))["aliases"], "[node1]");
        let entry = console.ask("entry node1");
        assert_eq!(entry["encoded"], "null");
        entry["chain"].split("; ").count()
    };
    assert_eq!(load(&mut console), 3);
    console.ask("tls old SunX509");
    // This key manager looks the key up again for each handshake, by CKA_ID.
    console.ask("tls old-pkix PKIX");
    let old = serial_number(&node);
    assert_eq!(handshake(&mut console, "old"), old);
    assert_eq!(handshake(&mut console, "old-pkix"), old);
    console.ask(&format!("stream {TLS13} old"));

    // The new key waits, and nobody sees it.
    let file = |name: &str| node.config.with_file_name(name);
    rotate(&node, "--out", &file("new.csr"));
    assert_eq!(load(&mut console), 3);
    assert_eq!(states(&node), ["current", "pending"]);

    // A certificate that is for another key changes nothing.
    let wrong = node.service.dir.path().join("node1.chain");
    let refused = command(&node, "--certificate", &wrong).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("is not for the new key of \"node1\""), "{said}");
    assert_eq!(states(&node), ["current", "pending"]);
    assert_eq!(load(&mut console), 3);
    assert_eq!(serial_number(&node), old);

    certify(&pki(), &file("new.csr"), &file("new.chain"));
    rotate(&node, "--certificate", &file("new.chain"));
    assert_eq!(states(&node), ["current", "superseded"]);
    let new = serial_number(&node);
    assert_ne!(new, old);
    // Before anybody loads the keystore anew, a lookup by CKA_ID finds the old
    // key; the catalogue behind it is a new one already.
    std::thread::sleep(SEEN_AFTER);
    assert_eq!(handshake(&mut console, "old-pkix"), old);
    assert_eq!(load(&mut console), 3);
    console.ask("tls new SunX509");
    let before = node.asked("sign");
    assert_eq!(handshake(&mut console, "new"), new);
    assert_eq!(handshake(&mut console, "old"), old);
    // All keystores of a provider are one: this key manager goes along.
    assert_eq!(handshake(&mut console, "old-pkix"), new);
    let streamed = console.ask("unstream");
    assert_eq!(streamed["failed"], "0", "{streamed:?}");
    assert!(streamed["done"].parse::<u64>().unwrap() > 0, "{streamed:?}");
    assert!(node.asked("sign") >= before + 18, "JSSE signed in software");
    println!("JDK {jdk}, {kind}: {} handshakes with the old key meanwhile", streamed["done"]);

    node.service.admin(&["key", "retire", "--token", &node.token, "node1", "--yes"]);
    assert_eq!(states(&node), ["current"]);
    let error = console.refused(&format!("handshake 1 {TLS13} old"));
    println!("JDK {jdk}: {error}");
    for name in ["new", "old-pkix"] {
        assert_eq!(handshake(&mut console, name), new);
    }
    assert_eq!(load(&mut console), 3);
    let log = std::fs::read_to_string(file("module.log")).unwrap();
    assert!(log.contains("was it retired?"), "{log}");
    console.finish();
}

fn command(node: &Node, option: &str, file: &PathBuf) -> Command {
    let mut command = node.service.admin_command();
    command.args(["key", "rotate", "--token", &node.token, "node1", option]).arg(file);
    command
}

fn rotate(node: &Node, option: &str, file: &PathBuf) {
    run(&mut command(node, option, file));
}

fn keys(node: &Node) -> Vec<Value> {
    let keys = node.service.admin(&["key", "list", "--token", &node.token, "--json"]);
    serde_json::from_str(&keys).unwrap()
}

fn states(node: &Node) -> Vec<String> {
    keys(node).iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

/// Of the certificate of the key in use, as Java writes it.
fn serial_number(node: &Node) -> String {
    let serial = keys(node)[0]["certificates"][0]["serial_number"].as_str().unwrap().to_owned();
    serial.trim_start_matches('0').to_owned()
}
