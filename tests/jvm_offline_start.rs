//! A JVM that starts while the service is away loads its keystore from a
//! snapshot, and shakes hands once the service is back, without another load.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::time::{Duration, Instant};

use common::jvm::{Node, Plan};

const HANDSHAKE: &str = "handshake 1 TLSv1.3 TLS_AES_128_GCM_SHA256";
const SETTING: &str = "offline_start = { file = \"node1.snapshot\", hours = 1 }\n";

#[test]
fn a_jvm_starts_without_the_service_and_shakes_hands_when_it_is_back() {
    let mut node = Node::start(17, Plan { login: "certificate", ..Plan::default() });
    let plain = std::fs::read_to_string(&node.config).unwrap();
    let deadlines = "[deadlines]\nrequest_ms = 1000\ncall_ms = 2000\n";
    let plain = plain.replacen("[deadlines]\n", deadlines, 1);
    std::fs::write(&node.config, format!("{plain}{SETTING}")).unwrap();
    let snapshot = node.config.with_file_name("node1.snapshot");

    let mut jvm = node.console();
    assert_eq!(jvm.ask("load -")["aliases"], "[node1]");
    let chain = jvm.ask("entry node1")["chain"].clone();
    jvm.ask("tls");
    let peer = jvm.ask(HANDSHAKE)["peer"].clone();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !snapshot.exists() {
        assert!(Instant::now() < deadline, "no snapshot is written: {}", node.log());
        jvm.ask(HANDSHAKE);
    }
    jvm.finish();
    // One question more than without it, and only because there was none.
    assert_eq!((node.asked("snapshot"), node.asked("catalogue")), (1, 1));

    node.service.stop();
    let mut jvm = node.console();
    let loaded = jvm.ask("load -");
    println!("loaded without the service after {} ms", loaded["ms"]);
    assert_eq!(loaded["aliases"], "[node1]");
    let entry = jvm.ask("entry node1");
    assert_eq!(entry["encoded"], "null");
    assert_eq!(entry["chain"], chain);
    assert_eq!(chain.split("; ").count(), 3);
    jvm.ask("tls");
    let error = jvm.refused(HANDSHAKE);
    println!("a handshake without the service: {error}");
    let log = node.log();
    assert!(log.contains("shows the token as it was"), "{log}");
    assert!(log.contains("C_Sign CKR_DEVICE_ERROR"), "{log}");

    node.service.resume();
    // The contexts of before.
    assert_eq!(jvm.ask(HANDSHAKE)["peer"], peer);
    assert!(node.asked("sign") >= 2, "JSSE signed in software");
    assert_eq!(jvm.ask("load -")["aliases"], "[node1]");
    jvm.finish();

    // Without the setting a load fails, whatever file there is.
    std::fs::write(&node.config, plain).unwrap();
    node.service.stop();
    let mut jvm = node.console();
    let error = jvm.refused("load -");
    assert!(error.contains("CKR_DEVICE_ERROR"), "{error}");
    jvm.finish();
}
