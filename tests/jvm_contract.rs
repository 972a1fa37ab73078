//! What SunPKCS11 and JSSE ask of a PKCS#11 module, point by point, each on each
//! JDK. The service's counters and the module's own list of calls are the
//! witnesses.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::jvm::{Console, Node, Plan, certify, module, pki};
use common::{PIN, run};

const TLS13: &str = "TLSv1.3 TLS_AES_128_GCM_SHA256";

on_each_jdk! {
    point_01_the_alias_is_the_certificates_label_and_the_key_is_found_by_its_id
    point_01_the_chain_is_found_by_subject
    point_02_one_key_is_one_entry_and_secret_keys_are_hidden
    point_03_keys_are_opaque_and_the_service_signs
    point_04_rsa_does_tls13_because_the_hashes_are_known
    point_05_the_jvm_keeps_digests_and_random_numbers_to_itself
    point_05_first_in_the_list_tls_works_and_costs_few_calls
    point_06_a_provider_of_java_security_outlives_an_outage_and_many_look_ups
    point_07_sixty_four_threads_get_their_sessions
    point_08_a_token_that_rests_on_the_certificate_wants_no_pin
    point_08_a_read_only_token_says_that_it_is_write_protected
    point_09_an_error_ends_the_operation_and_is_forgotten
    point_09_handles_and_login_survive_a_restart_of_the_service
    point_09_handles_survive_logout_and_login
    point_10_no_slot_is_removable
    point_11_a_label_may_begin_with_nss
    point_12_a_jvm_exits_without_c_finalize_and_with_threads_inside
    point_13_sessions_move_between_threads
    a_database_node_set_up_by_the_how_to_serves_and_dials
}

/// A JVM that has loaded the key store and made its TLS contexts.
fn ready(node: &Node, pin: &str) -> Console {
    let mut jvm = node.console();
    jvm.ask(&format!("load {pin}"));
    jvm.ask(&format!("entry {}", node.token.replace(' ', "_")));
    jvm.ask("tls");
    jvm
}

fn point_01_the_alias_is_the_certificates_label_and_the_key_is_found_by_its_id(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    // A key without a certificate is no entry.
    node.service
        .admin(&["key", "generate", "--token", "node1", "--type", "ec:p256", "--label", "bare"]);
    let mut jvm = node.console();
    assert_eq!(jvm.ask("load 1234")["aliases"], "[node1]");
    jvm.ask("entry node1");

    // Another label, the same id.
    node.service.admin(&["key", "rename", "--token", "node1", "node1", "another"]);
    assert_eq!(until(&mut jvm, |aliases| aliases != "[node1]"), "[another]");
    assert_eq!(jvm.ask("entry another")["is-key"], "true");
    jvm.ask("sign SHA256withECDSA 1 1");

    // A certificate without a label goes by its id.
    let id = "62617265"; // "bare"
    node.service.admin(&[
        "key", "generate", "--token", "node1", "--type", "ec:p256", "--label", "third", "--id", id,
    ]);
    let file = |end: &str| node.service.dir.path().join(format!("third.{end}"));
    node.service.admin(&[
        "cert",
        "request",
        "--token",
        "node1",
        "--key",
        "third",
        "--subject",
        "CN=third",
        "--out",
        file("csr").to_str().unwrap(),
    ]);
    certify(&pki(), &file("csr"), &file("chain"));
    run(Command::new("openssl")
        .args(["x509", "-outform", "DER", "-in"])
        .arg(file("chain"))
        .arg("-out")
        .arg(file("der")));
    let write = |file: &std::path::Path| {
        run(Command::new("pkcs11-tool")
            .env("KEYWARD_CONFIG", &node.config)
            .arg("--module")
            .arg(module())
            .args(["--login", "--pin", PIN, "--type", "cert", "--id", id, "--write-object"])
            .arg(file));
    };
    write(&file("der"));
    assert_eq!(until(&mut jvm, |aliases| aliases != "[another]"), "[another, bare]");
    assert_eq!(jvm.ask("entry bare")["is-key"], "true");
    jvm.ask("sign SHA256withECDSA 1 1");

    // A second certificate with that id: still the same key, under a longer name.
    run(Command::new("openssl")
        .args(["x509", "-outform", "DER", "-in"])
        .arg(pki().join("p256-server.pem"))
        .arg("-out")
        .arg(file("der")));
    write(&file("der"));
    let aliases = until(&mut jvm, |aliases| aliases != "[another, bare]");
    assert!(aliases.starts_with("[another, bare/cn=issuing ca,"), "{aliases}");
    jvm.finish();
}

/// Loads until the aliases are other ones: a change is seen within a second.
fn until(jvm: &mut Console, other: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let aliases = jvm.ask("load 1234")["aliases"].clone();
        if other(&aliases) || Instant::now() > deadline {
            return aliases;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn point_01_the_chain_is_found_by_subject(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let mut jvm = node.console();
    jvm.ask("load 1234");
    let entry = jvm.ask("entry node1");
    let subjects =
        ["CN=node1,O=Keyward tests", "CN=Issuing CA,O=Keyward tests", "CN=Root CA,O=Keyward tests"];
    let chain: Vec<String> = entry["chain"].split("; ").map(in_order).collect();
    assert_eq!(chain, subjects);
    jvm.finish();
}

/// The parts of a name, sorted: whoever made the request chose their order.
fn in_order(name: &str) -> String {
    let mut parts: Vec<&str> = name.split(',').collect();
    parts.sort_unstable();
    parts.join(",")
}

fn point_02_one_key_is_one_entry_and_secret_keys_are_hidden(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let secret = node.service.dir.path().join("secret");
    std::fs::write(&secret, [7; 32]).unwrap();
    run(Command::new("pkcs11-tool")
        .env("KEYWARD_CONFIG", &node.config)
        .arg("--module")
        .arg(module())
        .args(["--login", "--pin", PIN, "--type", "secrkey", "--key-type", "AES:32"])
        .args(["--label", "secret", "--id", "aa", "--write-object"])
        .arg(&secret));
    let mut jvm = node.console();
    assert_eq!(jvm.ask("load 1234")["aliases"], "[node1]");
    jvm.finish();
}

fn point_03_keys_are_opaque_and_the_service_signs(jdk: u32) {
    for kind in ["rsa:2048", "ec:p256"] {
        let node = Node::start(jdk, Plan { kind, ..Plan::default() });
        let mut jvm = node.console();
        jvm.ask("load 1234");
        let entry = jvm.ask("entry node1");
        assert_eq!(entry["encoded"], "null");
        assert!(entry["text"].contains("sensitive, unextractable"), "{entry:?}");
        jvm.ask("tls");
        jvm.ask(&format!("handshake 3 {TLS13}"));
        assert_eq!(node.asked("sign"), 6, "three of each side");
        jvm.finish();
    }
}

fn point_04_rsa_does_tls13_because_the_hashes_are_known(jdk: u32) {
    let node = Node::start(jdk, Plan { kind: "rsa:2048", ..Plan::default() });
    let mut jvm = ready(&node, PIN);
    jvm.ask(&format!("handshake 1 {TLS13}"));
    for hash in ["SHA-256", "SHA-384", "SHA-512"] {
        jvm.ask(&format!("sign RSASSA-PSS/{hash} 1 1"));
    }
    for scheme in ["SHA256withRSA", "SHA512withRSA"] {
        jvm.ask(&format!("sign {scheme} 1 1"));
    }
    // One call for the signature: what is not listed needs no C_SignUpdate.
    assert_eq!(node.called("C_SignUpdate"), 0);
    let unknown: Vec<_> = node
        .calls()
        .into_iter()
        .filter(|(function, rv)| function == "C_GetMechanismInfo" && rv != "CKR_OK")
        .collect();
    println!("JDK {jdk}: {} mechanisms asked for in vain", unknown.len());
    jvm.finish();
}

fn point_05_the_jvm_keeps_digests_and_random_numbers_to_itself(jdk: u32) {
    let node = Node::start(jdk, Plan { kind: "rsa:2048", ..Plan::default() });
    let mut jvm = node.console();
    jvm.ask("load 1234");
    let services = jvm.ask("services")["list"].clone();
    println!("JDK {jdk}: {services}");
    for service in services.split(',') {
        let kind = service.split('.').next().unwrap();
        assert!(
            ["KeyStore", "Signature", "KeyFactory", "AlgorithmParameters", "Cipher"]
                .contains(&kind)
                && (kind != "Cipher" || service.starts_with("Cipher.RSA")),
            "{service} would be taken from the JVM"
        );
    }
    assert!(services.contains("KeyStore.PKCS11") && services.contains("Signature.RSASSA-PSS"));
    jvm.finish();
}

fn point_05_first_in_the_list_tls_works_and_costs_few_calls(jdk: u32) {
    const COUNT: usize = 10;
    for (kind, suites) in [
        ("rsa:2048", &[TLS13, "TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"][..]),
        ("ec:p256", &[TLS13, "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]),
    ] {
        let node = Node::start(jdk, Plan { kind, ..Plan::default() });
        let mut jvm = node.bare_console();
        jvm.ask(&format!("provider {} first", node.cfg().display()));
        jvm.ask("load 1234");
        jvm.ask("tls");
        for suite in suites {
            jvm.ask(&format!("handshake 2 {suite}"));
            let (calls, signed) = (node.calls().len(), node.asked("sign"));
            jvm.ask(&format!("handshake {COUNT} {suite}"));
            let each = (node.calls().len() - calls) as f64 / COUNT as f64;
            println!("JDK {jdk}, {kind}, {suite}: {each} calls in a handshake, both sides");
            assert_eq!(node.asked("sign") - signed, 2 * COUNT as u64);
            assert!(each <= 16.0, "{kind}, {suite}: {each} calls in a handshake");
        }
        jvm.finish();
    }
}

fn point_06_a_provider_of_java_security_outlives_an_outage_and_many_look_ups(jdk: u32) {
    let mut node = Node::start(jdk, Plan::default());
    node.service.stop();
    let mut jvm = node.console();
    let looked = jvm.ask("lookups 40 1234");
    assert_eq!(looked["failed"], "40");
    assert!(looked["last"].contains("CKR_DEVICE_ERROR"), "{looked:?}");
    node.service.resume();
    assert_eq!(jvm.ask("load 1234")["provider"], "SunPKCS11-Keyward");
    jvm.ask("entry node1");
    jvm.ask("tls");
    jvm.ask(&format!("handshake 1 {TLS13}"));
    // The other wrapper, which a first C_Initialize that fails brings about,
    // makes one call at a time.
    assert_eq!(jvm.ask("wrapper")["class"], "sun.security.pkcs11.wrapper.PKCS11");
    jvm.finish();
}

fn point_07_sixty_four_threads_get_their_sessions(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    jvm.ask("sign SHA256withECDSA 10 64");
    assert_eq!(node.asked("sign"), 640);
    let other: u64 = node
        .service
        .counts("node1")
        .iter()
        .filter(|(name, _)| *name != "sign")
        .map(|(_, entry)| entry["count"].as_u64().unwrap())
        .sum();
    assert!(other <= 3, "sessions cost round trips: {:?}", node.service.counts("node1"));
    jvm.finish();
}

fn point_08_a_token_that_rests_on_the_certificate_wants_no_pin(jdk: u32) {
    let node = Node::start(jdk, Plan { login: "certificate", ..Plan::default() });
    for password in ["-", "whatever"] {
        let mut jvm = ready(&node, password);
        let signed = node.asked("sign");
        jvm.ask(&format!("handshake 1 {TLS13}"));
        assert_eq!(node.asked("sign") - signed, 2);
        jvm.finish();
    }
    assert_eq!(node.called("C_Login"), 0);
}

fn point_08_a_read_only_token_says_that_it_is_write_protected(jdk: u32) {
    let node = Node::start(jdk, Plan { grant: ":ro", ..Plan::default() });
    let mut jvm = ready(&node, PIN);
    let error = jvm.refused("store another");
    assert!(error.contains("write-protected"), "{error}");
    // The JDK reads it from the token's flags and does not try.
    let refused: Vec<_> = node.calls().into_iter().filter(|(_, rv)| rv.contains("WRITE")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    jvm.ask(&format!("handshake 1 {TLS13}"));
    jvm.finish();
}

fn point_09_an_error_ends_the_operation_and_is_forgotten(jdk: u32) {
    let mut node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    for _ in 0..2 {
        node.service.stop();
        let error = jvm.refused(&format!("handshake 1 {TLS13}"));
        assert!(error.contains("CKR_DEVICE_ERROR") || error.contains("alert"), "{error}");
        // All sessions of the pool and more.
        assert_eq!(jvm.tell("sign SHA256withECDSA 2 16")["failed"], "16");
        node.service.resume();
        jvm.ask(&format!("handshake 2 {TLS13}"));
        jvm.ask("sign SHA256withECDSA 2 16");
        jvm.ask("load 1234");
    }
    let calls = node.calls();
    assert!(calls.iter().any(|(function, rv)| function == "C_Sign" && rv == "CKR_DEVICE_ERROR"));
    for poison in
        ["CKR_OPERATION_ACTIVE", "CKR_SESSION_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID"]
    {
        assert!(!calls.iter().any(|(_, rv)| rv == poison), "{poison}");
    }
    assert_eq!(node.called("C_Login"), 1);
    jvm.finish();
}

fn point_09_handles_and_login_survive_a_restart_of_the_service(jdk: u32) {
    let mut node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    jvm.ask(&format!("handshake 1 {TLS13}"));
    node.service.kill();
    node.service.resume();
    // Nothing happened between: the JVM does not notice.
    jvm.ask(&format!("handshake 5 {TLS13}"));
    assert_eq!(node.asked("sign"), 10);
    assert_eq!(node.asked("login"), 0, "the login is the JVM's first one still");
    jvm.ask("load 1234");
    jvm.ask(&format!("handshake 1 {TLS13}"));
    jvm.finish();
}

fn point_09_handles_survive_logout_and_login(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    jvm.ask(&format!("handshake 1 {TLS13}"));
    jvm.ask("logout");
    assert_eq!(node.called("C_Logout"), 1);
    jvm.refused(&format!("handshake 1 {TLS13}"));
    jvm.ask("load 1234");
    // With the contexts of before.
    jvm.ask(&format!("handshake 2 {TLS13}"));
    jvm.finish();
}

fn point_10_no_slot_is_removable(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    let watched = |node: &Node| node.called("C_GetSlotInfo") + node.called("C_GetSessionInfo");
    let before = watched(&node);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(60));
        jvm.ask(&format!("handshake 1 {TLS13}"));
    }
    assert_eq!(watched(&node), before);
    jvm.finish();
}

fn point_11_a_label_may_begin_with_nss(jdk: u32) {
    let node = Node::start(jdk, Plan { token: "NSS-node", ..Plan::default() });
    let mut jvm = ready(&node, PIN);
    jvm.ask(&format!("handshake 1 {TLS13}"));
    assert_eq!(node.asked("sign"), 2);
    jvm.finish();
}

fn point_12_a_jvm_exits_without_c_finalize_and_with_threads_inside(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    jvm.ask("busy 8");
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    jvm.running.say("exit");
    jvm.finish();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(node.asked("sign") > 0);
    assert_eq!(node.called("C_Finalize"), 0);
    // And the service has done with it.
    let mut next = ready(&node, PIN);
    next.ask(&format!("handshake 1 {TLS13}"));
    next.finish();
}

fn point_13_sessions_move_between_threads(jdk: u32) {
    let node = Node::start(jdk, Plan::default());
    let mut jvm = ready(&node, PIN);
    jvm.ask("relay SHA256withECDSA 1");
    let opened = node.called("C_OpenSession");
    jvm.ask("relay SHA256withECDSA 10");
    assert_eq!(node.called("C_OpenSession"), opened, "the pool has one that is free");
    // What was begun and not ended does no harm: the JDK ends it, by a signature
    // that it throws away; one that knows v3 by C_SessionCancel.
    jvm.ask("abandon SHA256withECDSA 10");
    jvm.ask("relay SHA256withECDSA 3");
    let (thrown_away, cancelled) = if jdk < 25 { (10, 0) } else { (0, 10) };
    assert_eq!(node.asked("sign"), 1 + 10 + thrown_away + 3);
    assert_eq!(node.called("C_SessionCancel"), cancelled);
    jvm.finish();
}

fn a_database_node_set_up_by_the_how_to_serves_and_dials(jdk: u32) {
    let node = Node::start(jdk, Plan { kind: "rsa:2048", grant: ":ro", ..Plan::default() });
    let mut database = node.database();
    for (turn, suite) in [TLS13, "TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"].iter().enumerate()
    {
        database.say(&format!("listen main {suite}"));
        let port = database.next("listening")["port"].clone();
        database.say(&format!("dial main {port} {suite} 4 2"));
        let dialled = database.next("dialled");
        assert_eq!((&*dialled["done"], &*dialled["failed"]), ("4", "0"), "{dialled:?}");
        assert_eq!(node.asked("sign"), 8 * (turn as u64 + 1));
    }
    database.finish();
}
