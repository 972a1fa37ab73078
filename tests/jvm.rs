//! What a database node does: a JVM serves and dials TLS with keys that are in
//! the service. Each test asks the service afterwards whether the private-key
//! work was really done there: JSSE falls back to software without a word when
//! it can read a key.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::process::Command;
use std::sync::OnceLock;

use common::jvm::{Cluster, KEYS, Running, of_kind, records};
use common::{repository, run};

/// One for all tests: making RSA keys takes its time.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&KEYS, "full"))
}

on_each_jdk! {
    the_tls_matrix_passes_and_the_service_does_the_private_key_work
    a_handshake_costs_one_request_on_each_side
    a_node_with_one_key_starts_with_three_round_trips_at_most
    a_wrong_pin_is_told_and_the_right_one_works_afterwards
    sixty_four_threads_sign_with_one_key_and_openssl_agrees
    keys_are_generated_imported_used_and_deleted
}

fn the_tls_matrix_passes_and_the_service_does_the_private_key_work(jdk: u32) {
    cluster().passes_the_matrix(jdk);
}

fn a_handshake_costs_one_request_on_each_side(jdk: u32) {
    const COUNT: u64 = 10;
    // A client of its own, so that what others do at the same time does not
    // count.
    static ALONE: OnceLock<Cluster> = OnceLock::new();
    let cluster = ALONE.get_or_init(|| Cluster::start(&[KEYS[0], KEYS[3]], "full"));
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);

    let suites = [
        ("rsa2048", "TLSv1.3", "TLS_AES_128_GCM_SHA256", "SunX509", "sign"),
        ("rsa2048", "TLSv1.3", "TLS_AES_128_GCM_SHA256", "PKIX", "sign"),
        ("rsa2048", "TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "SunX509", "sign"),
        ("rsa2048", "TLSv1.2", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "SunX509", "sign"),
        ("rsa2048", "TLSv1.2", "TLS_RSA_WITH_AES_128_CBC_SHA", "SunX509", "decrypt"),
        ("p256", "TLSv1.3", "TLS_AES_128_GCM_SHA256", "SunX509", "sign"),
        ("p256", "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "SunX509", "sign"),
    ];
    let mut cases = "defaults server-trust=root client-trust=root\n".to_owned();
    for (index, (key, protocol, suite, kmf, _)) in suites.iter().enumerate() {
        cases += &format!(
            "case name=c{index} server={key}-server client={key}-client protocol={protocol} \
             suite={suite} kmf={kmf} count={COUNT}\n"
        );
    }
    let setup = cluster.setup(&format!("counted-{jdk}"), &cases);
    let mut program =
        Running::start(cluster.program(jdk, "Handshakes").arg("--pause").arg("--setup").arg(setup));
    program.next("pause");
    let counts = |key: &str| {
        ["server", "client"].map(|side| cluster.service.counts(&format!("{key}-{side}")))
    };
    for (key, protocol, suite, kmf, server_operation) in suites {
        let [server, client] = counts(key);
        program.go_on();
        assert_eq!(program.next("case")["pass"], "true");
        program.next("pause");
        let [server_after, client_after] = counts(key);
        for (before, after, operation) in
            [(server, server_after, server_operation), (client, client_after, "sign")]
        {
            for (name, now) in &after {
                let now = now["count"].as_u64().unwrap();
                let then = before.get(name).map_or(0, |entry| entry["count"].as_u64().unwrap());
                // The PKIX key manager takes the key anew for each handshake:
                // one search, so at most one look at the revision a second.
                let allowed = match name.as_str() {
                    name if name == operation => COUNT..=COUNT,
                    "catalogue" => 0..=if kmf == "PKIX" { COUNT } else { 0 },
                    _ => 0..=0,
                };
                assert!(
                    allowed.contains(&(now - then)),
                    "{protocol} {suite} {kmf}: {} of {name}, {allowed:?} expected",
                    now - then
                );
            }
        }
    }
    program.go_on();
    program.finish();
}

fn a_node_with_one_key_starts_with_three_round_trips_at_most(jdk: u32) {
    let cluster = cluster();
    let token = "p384-server";
    let total = |token: &str| -> u64 {
        let counts = cluster.service.counts(token);
        counts.values().map(|entry| entry["count"].as_u64().unwrap()).sum()
    };
    // What concerns no token comes from all tests; the module asks for the list
    // of tokens once for C_GetTokenInfo.
    let before = total(token);
    let all = records(cluster.program(jdk, "KeyStoreDump").args(cluster.token_options(token)));
    assert_eq!(of_kind(&all, "entry").len(), 1, "{all:?}");
    let made = total(token) - before;
    println!("JDK {jdk}: {made} requests for the token and one for the list of tokens");
    let round_trips = made + 1;
    assert!(round_trips <= 3, "{round_trips} round trips");
}

fn a_wrong_pin_is_told_and_the_right_one_works_afterwards(jdk: u32) {
    let cluster = cluster();
    let mut command = cluster.program(jdk, "WrongPin");
    let all = records(command.args(cluster.token_options("p521-server")).args([
        "--wrong-pin",
        "4321",
        "--times",
        "2",
    ]));
    for refused in of_kind(&all, "refused") {
        assert_eq!(refused["as-expected"], "true", "{refused:?}");
        assert!(refused["error"].contains("CKR_PIN_INCORRECT"), "{refused:?}");
    }
    assert_eq!(of_kind(&all, "refused").len(), 2);
    assert_eq!(of_kind(&all, "loaded").len(), 1);
}

fn sixty_four_threads_sign_with_one_key_and_openssl_agrees(jdk: u32) {
    let cluster = cluster();
    for token in ["rsa2048-client", "p256-client"] {
        let out = cluster.service.dir.path().join(format!("signatures-{token}-{jdk}"));
        let before = cluster.service.count(token, "sign");
        let mut command = cluster.program(jdk, "SignThreads");
        command.args(cluster.token_options(token)).args([
            "--threads",
            "64",
            "--count",
            "5",
            "--out",
        ]);
        let all = records(command.arg(&out));
        let mut made = 0;
        for record in of_kind(&all, "signatures") {
            assert_eq!(record["done"], "320", "{record:?}");
            made += 320;
        }
        assert!(made > 0);
        // The matrix may run at the same time, so there can be more.
        assert!(cluster.service.count(token, "sign") - before >= made);
        run(Command::new(repository("tests/jvm/verify-signatures.sh")).arg(&out));
    }
}

fn keys_are_generated_imported_used_and_deleted(jdk: u32) {
    let cluster = cluster();
    let mut command = cluster.program(jdk, "Lifecycle");
    let prefix = format!("life-{jdk}");
    let all = records(command.args(cluster.token_options("scratch")).args(["--prefix", &prefix]));
    let lives = of_kind(&all, "life");
    assert_eq!(lives.len(), 4);
    assert!(lives.iter().all(|life| life["pass"] == "true"), "{lives:#?}");
    assert!(cluster.service.count("scratch", "sign") > 0);
}
