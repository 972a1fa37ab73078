//! What SunPKCS11 asks for when JSSE makes the keys of a TLS connection: the same
//! comes of it as of the JDK's own provider.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use common::jvm::{Node, Plan, module, of_kind, program, records};
use common::{PIN, run};

on_each_jdk! {
    the_keys_of_a_connection_are_those_of_the_jdk
}

/// The generators' parameters are no API.
const EXPORTS: &str = "java.base/sun.security.internal.spec=ALL-UNNAMED";

fn the_keys_of_a_connection_are_those_of_the_jdk(jdk: u32) {
    let node = Node::without_key(jdk, Plan { profile: "full", ..Plan::default() });
    node.service.admin(&["token", "set-policy", &node.token, "compat"]);
    let exports = ["--add-exports", EXPORTS];
    let options = if jdk > 8 { &exports[..] } else { &[] };
    let library = module().display().to_string();
    let asked = || ["derive_key", "derive_keys", "sign"].map(|operation| node.asked(operation));
    for (sensitive, extractable) in [(false, true), (true, false)] {
        let before = asked();
        let attributes = format!(
            "attributes(*,CKO_SECRET_KEY,*) = {{ CKA_SENSITIVE = {sensitive} \
             CKA_EXTRACTABLE = {extractable} }}"
        );
        let mut command = program(jdk, "TlsKeys", options, &node.config);
        let arguments = ["--library", &library, "--pin", PIN, "--tls10", "--attributes"];
        let all = records(command.args(arguments).arg(attributes));
        let compared = of_kind(&all, "compared");
        assert!(compared.iter().all(|one| one["same"] == "true"), "{compared:#?}");
        // Two hashes of TLS 1.2 and TLS 1.0, with two kinds of premaster secret each.
        assert_eq!(compared.len(), 81, "{all:#?}");
        let masters = compared.iter().filter(|one| one["what"] == "master");
        assert_eq!(masters.clone().count(), 6);
        for master in masters {
            assert_eq!(master["readable"], extractable.to_string());
        }
        // What nobody may read is made in the service; what is for the host stays there.
        for (before, after) in before.into_iter().zip(asked()) {
            assert_eq!(after > before, sensitive, "{before} {after}");
        }
    }
}

#[test]
fn the_profile_tls_shows_a_jvm_none_of_it() {
    let node = Node::without_key(17, Plan::default());
    let library = module().display().to_string();
    let mut command = program(17, "TlsKeys", &["--add-exports", EXPORTS], &node.config);
    let output = run(command.args(["--library", &library, "--pin", PIN, "--tls10"]));
    for generator in ["SunTls12MasterSecret", "SunTlsMasterSecret"] {
        assert!(output.contains(&format!("record=absent\talgorithm={generator}")), "{output}");
    }
    assert!(!output.contains("record=compared"), "{output}");
}
