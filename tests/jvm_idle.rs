//! A JVM that did nothing for a long while: the service has closed the
//! connection, the ticket has run out, the node's certificate is another one.
//! The next handshake works, and the JVM has not logged in again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::jvm::{Console, Node, Plan};
use common::{keyward, run};

on_each_jdk! {
    handshakes_go_on_after_idling_and_with_a_renewed_certificate
}

const HANDSHAKE: &str = "handshake 2 TLSv1.3 TLS_AES_128_GCM_SHA256";

fn handshakes_go_on_after_idling_and_with_a_renewed_certificate(jdk: u32) {
    let mut node = Node::start(jdk, Plan::default());
    deadlines(&mut node, "idle_s = 1\naccess_s = 600\n");
    let mut jvm = node.console();
    jvm.ask("load 1234");
    jvm.ask("tls");
    go_on(&node, &mut jvm, 2);

    // The connection was closed by the service meanwhile.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(connections(&node), 0, "the idle limit was not applied");
    go_on(&node, &mut jvm, 4);

    // The ticket's access part has run out.
    deadlines(&mut node, "idle_s = 0\naccess_s = 1\n");
    go_on(&node, &mut jvm, 2);
    std::thread::sleep(Duration::from_millis(2500));
    go_on(&node, &mut jvm, 4);

    // Both at once.
    deadlines(&mut node, "idle_s = 1\naccess_s = 1\n");
    std::thread::sleep(Duration::from_millis(2500));
    go_on(&node, &mut jvm, 2);

    // Another certificate, another key; what is connected stays so, and the
    // next connection is made with the new one.
    let folder = node.config.parent().unwrap().to_owned();
    let before = std::fs::read(folder.join("identity.pem")).unwrap();
    run(Command::new(keyward()).args(["identity", "renew", "--config"]).arg(&node.config));
    assert_ne!(std::fs::read(folder.join("identity.pem")).unwrap(), before);
    go_on(&node, &mut jvm, 4);
    std::thread::sleep(Duration::from_millis(2500));
    go_on(&node, &mut jvm, 6);
    jvm.ask("load 1234");
    jvm.ask(HANDSHAKE);

    assert_eq!(node.called("C_Login"), 1);
    let failed: Vec<_> = node
        .calls()
        .into_iter()
        .filter(|(function, rv)| function.starts_with("C_Sign") && rv != "CKR_OK")
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    jvm.finish();
}

/// Two handshakes, which cost two signatures each, as counted since the start.
fn go_on(node: &Node, jvm: &mut Console, handshakes: u64) {
    jvm.ask(HANDSHAKE);
    assert_eq!(node.asked("sign"), 2 * handshakes);
}

/// Starts the service again with other deadlines.
fn deadlines(node: &mut Node, lines: &str) {
    node.service.stop();
    let file = node.service.path().join("keyward.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // The file names each setting in a comment.
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("idle_s") && !line.starts_with("access_s"))
        .collect();
    let text = kept.join("\n").replacen("[deadlines]\n", &format!("[deadlines]\n{lines}"), 1);
    assert!(text.contains(lines), "keyward.toml has no [deadlines]");
    std::fs::write(&file, text).unwrap();
    node.service.resume();
}

/// Connections of the node: all but the one that asks.
fn connections(node: &Node) -> u64 {
    let status: serde_json::Value =
        serde_json::from_str(&node.service.admin(&["status", "--json"])).unwrap();
    status["connections"].as_u64().unwrap() - 1
}
