//! A token with 500 key entries: loading it costs a handful of round trips,
//! whatever the number of keys.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use common::PIN;
use common::jvm::{Cluster, module, of_kind, records};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, CertificateType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

const ENTRIES: usize = 500;

#[test]
fn a_node_with_five_hundred_key_entries_starts_with_six_round_trips_at_most() {
    let cluster = Cluster::start(&[], "full");
    fill(&cluster);
    for jdk in [8, 11, 17, 25] {
        let requests = |counts: serde_json::Map<String, serde_json::Value>| -> u64 {
            counts.values().map(|entry| entry["count"].as_u64().unwrap()).sum()
        };
        let before = requests(cluster.service.counts("scratch"));
        let listed = cluster.service.count("", "list_tokens");
        let mut command = cluster.program(jdk, "KeyStoreDump");
        command.args(cluster.token_options("scratch")).arg("--quiet");
        let all = records(&mut command);
        let end = of_kind(&all, "end")[0];
        assert_eq!((&*end["aliases"], &*end["keys"]), ("500", "500"));
        let made = requests(cluster.service.counts("scratch")) - before
            + cluster.service.count("", "list_tokens")
            - listed;
        println!("JDK {jdk}: {made} round trips for {ENTRIES} key entries");
        assert!(made <= 6, "{made}");
    }
}

fn fill(cluster: &Cluster) {
    // SAFETY: this process has one test, and no other thread reads variables.
    unsafe { std::env::set_var("KEYWARD_CONFIG", &cluster.config) };
    let module = Pkcs11::new(module()).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let session = module.open_rw_session(module.get_all_slots().unwrap()[0]).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    let certificate = std::fs::read_to_string(cluster.pki.join("p256-server.pem")).unwrap();
    let certificate = pem_to_der(&certificate);
    let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    for number in 0..ENTRIES {
        let alias = format!("key-{number:03}").into_bytes();
        session
            .generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &[Attribute::EcParams(p256.clone())],
                &[Attribute::Token(true), Attribute::Id(alias.clone())],
            )
            .unwrap();
        session
            .create_object(&[
                Attribute::Token(true),
                Attribute::Class(ObjectClass::CERTIFICATE),
                Attribute::CertificateType(CertificateType::X_509),
                Attribute::Value(certificate.clone()),
                Attribute::Label(alias.clone()),
                Attribute::Id(alias),
            ])
            .unwrap();
    }
}

/// The first certificate.
fn pem_to_der(pem: &str) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
