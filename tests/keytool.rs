//! keytool and jarsigner, as people type them, on each JDK. The referees are
//! openssl, the JDK's own software, and the service's catalogue.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::jvm::{Node, Plan, certify, jdk, pki};
use common::run;
use serde_json::Value;

on_each_jdk! {
    an_rsa_key_made_by_keytool_lives_its_whole_life
    an_ec_key_made_by_keytool_lives_its_whole_life
    an_rsa_key_made_in_the_token_lives_its_whole_life
    an_ec_key_made_in_the_token_lives_its_whole_life
    a_jks_file_is_brought_into_the_token
    a_pkcs12_file_is_brought_into_the_token
    a_key_without_a_label_goes_by_that_of_its_certificate
    jarsigner_signs_with_a_key_in_the_token
}

fn an_rsa_key_made_by_keytool_lives_its_whole_life(jdk: u32) {
    let words = ["-keyalg", "RSA", "-keysize", "2048"];
    whole_life(&Tools::new(jdk, Found::InTheList), "rsa-made", &words, "rsa:2048");
}

fn an_ec_key_made_by_keytool_lives_its_whole_life(jdk: u32) {
    let words = ["-keyalg", "EC", "-keysize", "256"];
    whole_life(&Tools::new(jdk, Found::ByClass), "ec-made", &words, "ec:p256");
}

fn an_rsa_key_made_in_the_token_lives_its_whole_life(jdk: u32) {
    let words = ["-keyalg", "RSA", "-keysize", "3072", "-providerName", "SunPKCS11-Keyward"];
    whole_life(&Tools::new(jdk, Found::InTheList), "rsa-token", &words, "rsa:3072");
}

fn an_ec_key_made_in_the_token_lives_its_whole_life(jdk: u32) {
    // 8 has no -addprovider and no -groupname.
    let (found, curve) = match jdk {
        8 => (Found::ByClass, ["-keysize", "384"]),
        11 => (Found::ByName, ["-keysize", "384"]),
        _ => (Found::ByName, ["-groupname", "secp384r1"]),
    };
    let words = [&["-keyalg", "EC"], &curve[..]].concat();
    whole_life(&Tools::new(jdk, found), "ec-token", &words, "ec:p384");
}

/// Generated, certified, looked at, renamed, deleted.
fn whole_life(tools: &Tools, alias: &str, how: &[&str], kind: &str) {
    let file = |end: &str| tools.file(&format!("{alias}.{end}"));
    let text = |end: &str| file(end).to_str().unwrap().to_owned();
    let mut generate = vec!["-genkeypair", "-alias", alias, "-dname", "CN=node1, O=Example"];
    generate.extend(how);
    tools.keytool(&generate);
    let key = tools.only_key();
    assert_eq!(key["type"], kind);
    assert_eq!((&key["sensitive"], &key["extractable"]), (&Value::Bool(true), &Value::Bool(false)));

    tools.keytool(&["-certreq", "-alias", alias, "-file", &text("csr")]);
    run(Command::new("openssl").args(["req", "-verify", "-noout", "-in"]).arg(file("csr")));
    certify(&pki(), &file("csr"), &file("chain"));
    tools.keytool(&["-importcert", "-noprompt", "-alias", alias, "-file", &text("chain")]);

    let listed = tools.keytool(&["-list", "-v"]);
    assert!(listed.contains(&format!("Alias name: {alias}")), "{listed}");
    assert!(listed.contains("Entry type: PrivateKeyEntry"), "{listed}");
    assert!(listed.contains("Certificate chain length: 3"), "{listed}");
    tools.keytool(&["-exportcert", "-rfc", "-alias", alias, "-file", &text("exported")]);
    assert_eq!(fingerprint(&file("exported")), fingerprint(&file("chain")));
    run(Command::new("openssl")
        .args(["verify", "-CAfile"])
        .arg(pki().join("root.pem"))
        .arg("-untrusted")
        .arg(pki().join("ca.pem"))
        .arg(file("exported")));
    let seen = tools.service(&["cert", "list", "--json"]);
    assert_eq!(seen.as_array().unwrap().len(), 3, "{seen}");

    tools.keytool(&["-changealias", "-alias", alias, "-destalias", "renamed"]);
    let listed = tools.keytool(&["-list"]);
    assert!(listed.contains("renamed, ") && !listed.contains(&format!("{alias}, ")), "{listed}");
    // It is the same key still, and it signs.
    assert_eq!(tools.only_key()["public_key_sha256"], key["public_key_sha256"]);
    tools.keytool(&["-certreq", "-alias", "renamed", "-file", &text("csr2")]);
    run(Command::new("openssl").args(["req", "-verify", "-noout", "-in"]).arg(file("csr2")));

    tools.keytool(&["-delete", "-alias", "renamed"]);
    assert_eq!(tools.service(&["key", "list", "--json"]).as_array().unwrap().len(), 0);
    assert!(tools.keytool(&["-list"]).contains("contains 0 entries"));
}

fn fingerprint(certificate: &Path) -> String {
    run(Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate))
}

fn a_jks_file_is_brought_into_the_token(jdk: u32) {
    let tools = Tools::new(jdk, Found::InTheList);
    let store = tools.file("old.jks");
    // By a JDK that makes JKS files as old as they come.
    run(common::jvm::jdk(17, "keytool")
        .args([
            "-importkeystore",
            "-noprompt",
            "-srcstoretype",
            "PKCS12",
            "-srcstorepass",
            "changeit",
        ])
        .args(["-deststoretype", "JKS", "-deststorepass", "changeit", "-srckeystore"])
        .arg(pki().join("p256-server.p12"))
        .arg("-destkeystore")
        .arg(&store));
    brought_in(&tools, &store, "JKS");
}

fn a_pkcs12_file_is_brought_into_the_token(jdk: u32) {
    let tools = Tools::new(jdk, Found::ByClass);
    brought_in(&tools, &pki().join("p256-server.p12"), "PKCS12");
}

fn brought_in(tools: &Tools, store: &Path, kind: &str) {
    run(tools
        .command("keytool")
        .args(["-importkeystore", "-noprompt", "-srckeystore"])
        .arg(store)
        .args(["-srcstoretype", kind, "-srcstorepass", "changeit"])
        .args(["-destkeystore", "NONE", "-deststoretype", "PKCS11", "-deststorepass", "1234"])
        .args(tools.provider("keytool")));
    // SunPKCS11 does not say that a key is sensitive: the token's defaults do,
    // and JSSE would sign in software if they did not.
    let key = tools.only_key();
    assert_eq!((&key["sensitive"], &key["extractable"]), (&Value::Bool(true), &Value::Bool(false)));
    let mut jvm = tools.node.console();
    assert_eq!(jvm.ask("load 1234")["aliases"], "[p256-server]");
    let entry = jvm.ask("entry p256-server");
    assert_eq!(entry["encoded"], "null");
    let leaf = run(Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in"])
        .arg(pki().join("p256-server.pem")));
    let subject = leaf.trim().strip_prefix("subject=").unwrap().to_owned();
    assert!(entry["chain"].starts_with(&subject), "{entry:?}");
    let before = tools.node.asked("sign");
    jvm.ask("tls");
    jvm.ask("handshake 1 TLSv1.3 TLS_AES_128_GCM_SHA256");
    assert_eq!(tools.node.asked("sign") - before, 2);
    jvm.finish();
}

/// SunPKCS11 looks at no label of a key: pkcs11-tool's keys may have none.
fn a_key_without_a_label_goes_by_that_of_its_certificate(jdk: u32) {
    let tools = Tools::new(jdk, Found::InTheList);
    let (key, certificate) = (tools.file("plain.key"), tools.file("plain.pem"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=plain", "-days", "30", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    let write = |kind: &str, file: &Path, label: &[&str]| {
        let form = if kind == "cert" { "x509" } else { "pkey" };
        let der = tools.file(&format!("{kind}.der"));
        run(Command::new("openssl")
            .args([form, "-outform", "DER", "-in"])
            .arg(file)
            .arg("-out")
            .arg(&der));
        run(Command::new("pkcs11-tool")
            .env("KEYWARD_CONFIG", &tools.node.config)
            .arg("--module")
            .arg(common::jvm::module())
            .args(["--login", "--pin", "1234", "--type", kind, "--id", "f00d", "--write-object"])
            .arg(der)
            .args(label));
    };
    write("privkey", &key, &[]);
    write("cert", &certificate, &["--label", "by-certificate"]);
    let seen = tools.only_key();
    assert_eq!((&seen["label"], &seen["name"]), (&Value::from(""), &Value::from("by-certificate")));

    let listed = tools.keytool(&["-list"]);
    assert!(listed.contains("by-certificate, PrivateKeyEntry"), "{listed}");
    let request = tools.file("plain.csr");
    let before = tools.node.asked("sign");
    tools.keytool(&["-certreq", "-alias", "by-certificate", "-file", request.to_str().unwrap()]);
    assert_eq!(tools.node.asked("sign") - before, 1);
    run(Command::new("openssl").args(["req", "-verify", "-noout", "-in"]).arg(&request));

    // Both go by the new alias then, and are deleted by it.
    tools.keytool(&["-changealias", "-alias", "by-certificate", "-destalias", "other"]);
    assert_eq!(tools.only_key()["name"], "other");
    tools.keytool(&["-delete", "-alias", "other"]);
    assert!(tools.keytool(&["-list"]).contains("contains 0 entries"));
}

fn jarsigner_signs_with_a_key_in_the_token(jdk: u32) {
    let tools = Tools::new(jdk, if jdk == 8 { Found::ByClass } else { Found::ByName });
    let file = |name: &str| tools.file(name);
    tools.keytool(&[
        "-genkeypair",
        "-alias",
        "signer",
        "-keyalg",
        "RSA",
        "-keysize",
        "2048",
        "-dname",
        "CN=signer",
        "-providerName",
        "SunPKCS11-Keyward",
    ]);
    std::fs::write(file("content"), "what is signed").unwrap();
    run(common::jvm::jdk(17, "jar").current_dir(tools.node.service.dir.path()).args([
        "cf",
        "plain.jar",
        "content",
    ]));
    let before = tools.node.asked("sign");
    run(tools
        .command("jarsigner")
        .args(["-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "1234"])
        .args(tools.provider("jarsigner"))
        .arg("-signedjar")
        .arg(file("signed.jar"))
        .arg(file("plain.jar"))
        .arg("signer"));
    assert_eq!(tools.node.asked("sign") - before, 1);
    // No token is needed to verify: by this JDK, and by another one.
    for mut verifier in [common::jvm::jdk(jdk, "jarsigner"), common::jvm::jdk(17, "jarsigner")] {
        let told = run(verifier.args(["-verify", "-verbose"]).arg(file("signed.jar")));
        assert!(told.contains("jar verified"), "{told}");
    }
    // One that was changed is not.
    std::fs::write(file("content"), "something else").unwrap();
    run(common::jvm::jdk(17, "jar").current_dir(tools.node.service.dir.path()).args([
        "uf",
        "signed.jar",
        "content",
    ]));
    let refused =
        common::jvm::jdk(jdk, "jarsigner").arg("-verify").arg(file("signed.jar")).output().unwrap();
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("jar verified"));
}

/// How the tools are told of the provider.
#[derive(Clone, Copy)]
enum Found {
    /// It is in the JVM's list, by `java.security`.
    InTheList,
    /// `-providerClass`, which all JDKs know.
    ByClass,
    /// `-addprovider`, new in Java 9.
    ByName,
}

/// A token that is empty, and the tools of a JDK for it.
struct Tools {
    node: Node,
    jdk: u32,
    found: Found,
}

impl Tools {
    fn new(jdk: u32, found: Found) -> Self {
        let node = Node::without_key(jdk, Plan { profile: "full", ..Plan::default() });
        Self { node, jdk, found }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.node.service.dir.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = jdk(self.jdk, program);
        command.env("KEYWARD_CONFIG", &self.node.config);
        command
    }

    fn provider(&self, program: &str) -> Vec<String> {
        let words: &[&str] = match (self.found, program) {
            (Found::InTheList, _) => {
                return vec![format!(
                    "-J-Djava.security.properties={}",
                    self.node.security().display()
                )];
            }
            (Found::ByClass, _) => {
                &["-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg"]
            }
            (Found::ByName, "jarsigner") => &["-addProvider", "SunPKCS11", "-providerArg"],
            (Found::ByName, _) => &["-addprovider", "SunPKCS11", "-providerArg"],
        };
        let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        words.push(self.node.cfg().display().to_string());
        words
    }

    /// Runs keytool on the token; it must exit with 0. Gives back all it says.
    fn keytool(&self, words: &[&str]) -> String {
        let output: Output = self
            .command("keytool")
            .args(words)
            .args(["-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "1234"])
            .args(self.provider("keytool"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "keytool {words:?}: {said}");
        said
    }

    /// What the service has, of this token.
    fn service(&self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.extend(["--token", &self.node.token]);
        serde_json::from_str(&self.node.service.admin(&all)).unwrap()
    }

    fn only_key(&self) -> Value {
        let keys = self.service(&["key", "list", "--json"]);
        assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
        keys[0].clone()
    }
}
