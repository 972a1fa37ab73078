//! A JVM that served TLS from a JKS file serves it from Keyward afterwards.

use std::path::Path;
use std::process::Command;

use super::hsm::{Hsm, keyward_uri};
use super::keystores::{Keytool, STORE};
use crate::common::jvm::{certify, module, of_kind, pki, program, records};
use crate::common::{PIN, Service, run};

crate::on_each_jdk! {
    a_jks_file_is_replaced_by_a_token_and_its_peers_see_the_same_certificate
}

fn a_jks_file_is_replaced_by_a_token_and_its_peers_see_the_same_certificate(jdk: u32) {
    let hsm = Hsm::new(&["unused"]);
    let service = Service::start();
    service.token("node1");
    let config = service.identity("node1", &["node1"], &["--profile", "full"]);
    let jks = hsm.file("node1.jks");
    make_keystore(jdk, &jks);
    let store = |name: &str, place: &str| format!("store name={name} {place}\n");
    let file = store("file", &format!("file={} password={STORE}", jks.display()));
    let before = handshakes(jdk, &hsm, &config, &file, "file");
    assert_eq!(before.0, "present");

    hsm.plan(jks.to_str().unwrap(), &keyward_uri("node1"), "plan.toml", Some(&config));
    for words in [
        &["run", "plan.toml"][..],
        &["verify", "plan.toml", "--signing-key", "key.pem", "--out", "manifest.json"],
    ] {
        run(hsm.migrate(words).env("KEYWARD_CONFIG", &config));
    }
    let place = format!("library={} slot=0 pin={PIN}", module().display());
    let signed = service.count("node1", "sign");
    let after = handshakes(jdk, &hsm, &config, &store("token", &place), "token");
    assert_eq!(after.0, "null", "the key can be read");
    assert!(service.count("node1", "sign") > signed, "JSSE signed in software");
    assert_eq!((&before.1, &before.2), (&after.1, &after.2), "another certificate or chain");
    // Byte for byte the certificate that the file has.
    run(service
        .admin_command()
        .args(["cert", "export", "--token", "node1", "node1", "--out"])
        .arg(hsm.file("own.pem")));
    let own = |source: &Path| {
        run(Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(source))
    };
    assert_eq!(own(&hsm.file("own.pem")), own(&hsm.file("node1.pem")));
}

/// A server with one store against a client with a key of its own: whether Java
/// can read the server's key, its subject, and its chain's length.
fn handshakes(
    jdk: u32,
    hsm: &Hsm,
    config: &Path,
    store: &str,
    name: &str,
) -> (String, String, String) {
    let pki = pki();
    let client = pki.join("p256-client.p12");
    let root = pki.join("root.jks");
    let text = format!(
        "{store}store name=client file={} password=changeit\n\
         trust name=root file={} password=changeit\n\
         defaults server-trust=root client-trust=root kmf=SunX509 count=2 bytes=4096\n\
         case name=one server={name} client=client protocol=TLSv1.2 suite=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n",
        client.display(),
        root.display()
    );
    let setup = hsm.file(&format!("{name}.setup"));
    std::fs::write(&setup, text).unwrap();
    let all = records(program(jdk, "Handshakes", &[], config).arg("--setup").arg(setup));
    let case = of_kind(&all, "case")[0];
    assert_eq!(case["pass"], "true", "{case:?}");
    let store = *of_kind(&all, "store").iter().find(|store| store["name"] == name).unwrap();
    (store["encoded"].clone(), store["subject"].clone(), store["chain"].clone())
}

/// What an operator of DSE has: keytool's JKS, the key certified by an authority.
fn make_keystore(jdk: u32, jks: &Path) {
    let folder = jks.parent().unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let csr = folder.join("node1.csr");
    let mut keytool = Keytool::new(jdk, folder);
    keytool.pair("node1.jks", "JKS", "node1", &["-keyalg", "RSA", "-keysize", "2048"], STORE);
    keytool.keytool("node1.jks", "JKS", &["-certreq", "-alias", "node1", "-file", &text(&csr)]);
    keytool.run();
    let chain = folder.join("node1.pem");
    certify(&pki(), &csr, &chain);
    let mut keytool = Keytool::new(jdk, folder);
    keytool.keytool(
        "node1.jks",
        "JKS",
        &["-importcert", "-alias", "node1", "-file", &text(&chain)],
    );
    keytool.run();
}
