//! A database node whose keys are in an HSM behind the service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

mod common;

use common::Service;
use common::jvm::{Cluster, KEYS};
use common::softhsm::{SoftHsm, faulty};
use common::stream::{Load, Stream};

/// The JDKs to run on: KEYWARD_JDKS, as "8 11 17 25"; the time that all of them
/// take is left to `make soak`.
fn jdks() -> Vec<u32> {
    let named = std::env::var("KEYWARD_JDKS").unwrap_or_else(|_| "17".to_owned());
    named.split_whitespace().map(|version| version.parse().unwrap()).collect()
}

#[test]
fn the_tls_matrix_passes_with_keys_in_an_hsm() {
    let hsm = SoftHsm::new();
    let service = Service::with_hsm(&hsm.section(&hsm.module(), ""));
    let cluster = Cluster::of(service, &KEYS, "full");
    let keys = hsm.tool(&["-O"]).matches("Private Key Object").count();
    assert_eq!(keys, 2 * KEYS.len(), "the keys are not in the HSM");
    for jdk in jdks() {
        println!("JDK {jdk}");
        cluster.passes_the_matrix(jdk);
    }
}

#[test]
fn a_jvm_sees_nothing_of_a_library_that_crashes_and_loses_its_sessions() {
    let hsm = SoftHsm::new();
    let service = Service::with_hsm(&hsm.section(&faulty(), ""));
    let cluster = Cluster::of(service, &[Load::EC.key], "tls");
    let mut stream = Stream::start(17, cluster, &Load { threads: 8, ..Load::EC });
    for fault in [
        "C_Sign once:crash",
        "C_SignInit once:0xb3",
        "C_Sign once:0x30",
        "C_SignInit once:0x101",
        "C_SignInit once:crash",
    ] {
        hsm.faults(fault);
        stream.goes_on(100);
    }
    let (end, _) = stream.end();
    println!("{} handshakes, slowest {} ms", end["done"], end["slowest-ms"]);
    assert_eq!(end["failed"], "0", "{end:?}");
}
