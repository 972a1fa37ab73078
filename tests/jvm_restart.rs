//! The service is restarted in the middle of a stream of handshakes. Nothing in
//! a JVM recovers once a PKCS#11 session is really gone, so none may be.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::sync::{Mutex, PoisonError};

use common::jvm::{Cluster, KEYS, Running};

/// One at a time: each is to have both processors.
static TURN: Mutex<()> = Mutex::new(());

on_each_jdk! {
    a_jvm_sees_nothing_of_a_service_that_is_stopped_and_started
    a_jvm_sees_nothing_of_a_service_that_is_killed_and_started
}

fn a_jvm_sees_nothing_of_a_service_that_is_stopped_and_started(jdk: u32) {
    restarted(jdk, if jdk < 25 { "rsa2048" } else { "p256" }, Cluster::stop_and_start);
}

fn a_jvm_sees_nothing_of_a_service_that_is_killed_and_started(jdk: u32) {
    restarted(jdk, if jdk < 25 { "p256" } else { "rsa2048" }, Cluster::kill_and_start);
}

impl Cluster {
    fn stop_and_start(&mut self) {
        self.service.stop();
        self.service.resume();
    }

    fn kill_and_start(&mut self) {
        self.service.kill();
        self.service.resume();
    }
}

fn restarted(jdk: u32, key: &str, restart: fn(&mut Cluster)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let kind = KEYS.into_iter().find(|(name, _)| *name == key).unwrap();
    let mut cluster = Cluster::start(&[kind], "tls");
    let setup = cluster.setup(
        "stream",
        &format!(
            "case name=stream server={key}-server client={key}-client server-trust=root \
             client-trust=root protocol=TLSv1.3 suite=TLS_AES_128_GCM_SHA256 bytes=64\n"
        ),
    );
    let mut stream = Running::start(
        cluster
            .program(jdk, "HandshakeStream")
            .args(["--case", "stream", "--threads", "4", "--seconds", "120", "--setup"])
            .arg(setup),
    );
    let signatures = |cluster: &Cluster| cluster.service.count(&format!("{key}-server"), "sign");
    progress(&mut stream);
    for _ in 0..3 {
        restart(&mut cluster);
        // The counters begin anew with the process: what they say was done by
        // the new one.
        while signatures(&cluster) < 20 {
            progress(&mut stream);
        }
    }
    stream.go_on();
    let end = stream.next("end");
    println!("JDK {jdk}, {key}: {} handshakes, slowest {} ms", end["done"], end["slowest-ms"]);
    assert_eq!(end["failed"], "0");
    stream.finish();
}

/// The stream goes on: the next word of it, which comes several times a second
/// until its time is up.
fn progress(stream: &mut Running) {
    let record = stream.next("progress");
    assert_eq!(record["failed"], "0", "{record:?}");
}
