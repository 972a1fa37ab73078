//! Keystores as keytool of each JDK and OpenSSL write them are read whole, with
//! the keys that those who wrote them find in them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cryptoki_sys::{CKA_KEY_TYPE, CKA_VALUE, CKK_AES, CKK_DES3, CKK_GENERIC_SECRET};
use keyward_migrate::Passwords;
use keyward_migrate::error::Kind;
use keyward_migrate::file::{self, Content, Keystore};
use keyward_migrate::material::fingerprint;
use zeroize::Zeroizing;

use super::hsm::{P256, openssl, self_signed};
use crate::common::jvm::{Record, of_kind, program, record};

crate::on_each_jdk! {
    what_keytool_writes_is_read
}

fn what_keytool_writes_is_read(jdk: u32) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut keytool = Keytool::new(jdk, folder.path());
    let (rsa, ec) = (["-keyalg", "RSA", "-keysize", "2048"], ["-keyalg", "EC", "-keysize", "256"]);
    keytool.pair("a.jks", "JKS", "Node One", &rsa, "other-one");
    keytool.pair("a.jks", "JKS", "zwei \u{1f600}\u{e4}", &ec, "changeit");
    keytool.trusted("a.jks", "JKS");
    keytool.pair("b.jceks", "JCEKS", "rsa", &rsa, "changeit");
    keytool.pair("b.jceks", "JCEKS", "ec", &ec, "other-one");
    for (alias, algorithm) in [("aes", "AES"), ("des", "DESede"), ("hmac", "HmacSHA256")] {
        keytool.secret("b.jceks", "JCEKS", alias, algorithm);
    }
    keytool.pair("c.p12", "PKCS12", "rsa", &rsa, "changeit");
    keytool.pair("c.p12", "PKCS12", "ec \u{1f600}", &ec, "changeit");
    keytool.secret("c.p12", "PKCS12", "aes", "AES");
    keytool.trusted("c.p12", "PKCS12");
    keytool.line(&["password", &text(&file("c.p12")), "PKCS12", STORE, "rsa", STORE, "own-one"]);
    // What 8 does, where later ones are asked for it.
    keytool.line(&["property", "keystore.pkcs12.legacy", ""]);
    keytool.pair("d.p12", "PKCS12", "rsa", &rsa, "changeit");
    keytool.trusted("d.p12", "PKCS12");
    let mut expected = BTreeMap::new();
    for (name, kind, key) in [
        ("a.jks", "JKS", "other-one"),
        ("b.jceks", "JCEKS", STORE),
        ("c.p12", "PKCS12", STORE),
        ("d.p12", "PKCS12", STORE),
    ] {
        expected.insert(name, (kind, key));
    }
    keytool.line(&["dump", &text(&file("d.p12")), "PKCS12", STORE, STORE]);
    keytool.line(&["dump", &text(&file("b2.jceks")), "JCEKS", STORE, STORE]);
    let records = keytool.run();
    for (name, (kind, _)) in expected {
        let keystore = read(&file(name), &[STORE, "other-one", "own-one"]).unwrap();
        assert_eq!(keystore.kind, kind, "{name}");
        for entry in &keystore.entries {
            match &entry.content {
                // The certificate is keytool's word for which key it is.
                Content::Key { pair, chain } => {
                    assert_eq!(spki(&chain[0]), pair.info, "{name} {}", entry.name);
                }
                Content::Secret(key) => {
                    let (key_type, length) = match entry.name.as_str() {
                        "aes" => (CKK_AES, 32),
                        "des" => (CKK_DES3, 24),
                        _ => (CKK_GENERIC_SECRET, 32),
                    };
                    assert_eq!(key.number(CKA_KEY_TYPE), Some(key_type), "{}", entry.name);
                    assert_eq!(key.bytes(CKA_VALUE).unwrap().len(), length, "{}", entry.name);
                }
                Content::Certificate(_) => assert!(entry.name.starts_with("trust")),
                Content::Closed { error, .. } => panic!("{name} {}: {error}", entry.name),
            }
        }
    }
    let names = |name: &str| {
        let keystore = read(&file(name), &[STORE, "other-one", "own-one"]).unwrap();
        let mut names: Vec<_> = keystore.entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    };
    assert_eq!(names("a.jks"), ["node one", "trusted", "zwei \u{1f600}\u{e4}"]);
    assert_eq!(names("b.jceks"), ["aes", "des", "ec", "hmac", "rsa"]);
    assert_eq!(names("c.p12"), ["aes", "ec \u{1f600}", "rsa", "trusted"]);
    // Java itself says what the keys are.
    for record in of_kind(&records, "entry") {
        let name =
            if record["key"].is_empty() || record["chain"] != "0" { "d.p12" } else { "b2.jceks" };
        let keystore = read(&file(name), &[STORE]).unwrap();
        let entry = keystore.entries.iter().find(|entry| entry.name == record["alias"]).unwrap();
        match &entry.content {
            Content::Secret(key) => {
                assert_eq!(fingerprint(key.bytes(CKA_VALUE).unwrap()), record["key"]);
            }
            Content::Key { chain, .. } => {
                assert_eq!(chain.len().to_string(), record["chain"]);
                assert_eq!(fingerprint(&chain[0]), record["certificate"]);
            }
            Content::Certificate(der) => assert_eq!(fingerprint(der), record["certificate"]),
            Content::Closed { error, .. } => panic!("{error}"),
        }
    }
    refused_with_reason(&file("a.jks"));
    refused_with_reason(&file("b.jceks"));
    refused_with_reason(&file("c.p12"));
    refused_with_reason(&file("d.p12"));
    // Without the entry's own password the rest is read all the same.
    let keystore = read(&file("c.p12"), &[STORE]).unwrap();
    let closed: Vec<_> = keystore
        .entries
        .iter()
        .filter(|entry| matches!(&entry.content, Content::Closed { error, .. } if error.kind() == Kind::Password))
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(closed, ["rsa"]);
}

/// A wrong password, a file cut off anywhere, and changed bytes: an error that
/// names the file, and the same for every wrong password.
fn refused_with_reason(path: &Path) {
    let whole = std::fs::read(path).unwrap();
    let wrong = read(path, &["not it", ""]).unwrap_err();
    assert_eq!(wrong.kind(), Kind::Password);
    assert_eq!(
        wrong.to_string(),
        format!("{}: the password is wrong, or the file was changed", path.display())
    );
    let changed = path.with_extension("changed");
    for cut in [4, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&changed, &whole[..cut]).unwrap();
        let error = read(&changed, &[STORE]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: ", changed.display())), "{error}");
        assert_ne!(error.kind(), Kind::Password, "{cut} of {}: {error}", path.display());
    }
    for at in (100..whole.len()).step_by(whole.len() / 7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&changed, &bytes).unwrap();
        assert!(read(&changed, &[STORE, "other-one"]).is_err(), "byte {at} of {}", path.display());
    }
    std::fs::remove_file(changed).unwrap();
}

#[test]
fn what_openssl_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let at = |name: &str| folder.join(name);
    self_signed(folder, "rsa:2048", "r", ("r.key", "r.crt"));
    openssl(folder, "ecparam -name secp384r1 -genkey -noout -out e.key");
    openssl(folder, "req -x509 -key e.key -out e.crt -subj /CN=e -days 9");
    openssl(folder, "genpkey -algorithm ed25519 -out d.key");
    let info = |key: &str| {
        let output = Command::new("openssl")
            .args(["pkey", "-pubout", "-outform", "DER", "-in", key])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let export = "pkcs12 -export -inkey r.key -in r.crt -passout";
    for (out, more) in [
        ("new.p12", "-name r"),
        ("old.p12", "-legacy"),
        ("old3.p12", "-legacy -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES"),
        ("old128.p12", "-legacy -keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-2DES"),
        ("plain.p12", "-keypbe NONE -certpbe NONE"),
        ("nomac.p12", "-nomac"),
        ("sha512.p12", "-macalg sha512 -keypbe aes-128-cbc -certpbe aes-192-cbc"),
    ] {
        openssl(folder, &format!("{export} pass:{STORE} -out {out} {more}"));
    }
    openssl(folder, &format!("{export} pass: -out empty.p12"));
    for (out, words) in [
        ("p8.pem", "pkcs8 -topk8"),
        ("p8-sha1.pem", "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1"),
        ("p8-scrypt.pem", "pkcs8 -topk8 -scrypt"),
        ("p8-v1.pem", "pkcs8 -topk8 -v1 PBE-SHA1-3DES"),
        ("p8-md5.pem", "pkcs8 -topk8 -v1 PBE-MD5-DES -provider legacy -provider default"),
        ("p8-des.pem", "pkcs8 -topk8 -v1 PBE-SHA1-DES -provider legacy -provider default"),
        ("p8.der", "pkcs8 -topk8 -outform DER"),
        ("p1-aes.pem", "rsa -traditional -aes256"),
        ("p1-des.pem", "rsa -traditional -des3"),
    ] {
        openssl(folder, &format!("{words} -in r.key -passout pass:{STORE} -out {out}"));
    }
    openssl(folder, "rsa -in r.key -traditional -out p1.pem");
    openssl(folder, "rsa -in r.key -traditional -outform DER -out p1.der");
    let (rsa, ec) = (info("r.key"), info("e.key"));
    for name in [
        "new.p12",
        "old.p12",
        "old3.p12",
        "old128.p12",
        "plain.p12",
        "nomac.p12",
        "sha512.p12",
        "empty.p12",
        "r.key",
        "p8.pem",
        "p8-sha1.pem",
        "p8-scrypt.pem",
        "p8-v1.pem",
        "p8-md5.pem",
        "p8-des.pem",
        "p8.der",
        "p1.pem",
        "p1-aes.pem",
        "p1-des.pem",
    ] {
        let keystore = read(&at(name), &["wrong", "", STORE]).unwrap();
        assert_eq!(keystore.entries.len(), 1, "{name}");
        let Content::Key { pair, chain } = &keystore.entries[0].content else {
            panic!("{name}: {:?}", keystore.entries[0]);
        };
        assert_eq!(pair.info, rsa, "{name}");
        assert_eq!(chain.len(), usize::from(name.ends_with(".p12")), "{name}");
        if !["r.key", "plain.p12", "empty.p12", "p1.pem"].contains(&name) {
            let without = read(&at(name), &["wrong"]);
            let closed = match without {
                Err(error) => error.kind(),
                Ok(keystore) => match &keystore.entries[0].content {
                    Content::Closed { error, .. } => error.kind(),
                    _ => panic!("{name} opens with any password"),
                },
            };
            assert_eq!(closed, Kind::Password, "{name}");
        }
    }
    for (name, wanted) in [("e.key", ec), ("d.key", info("d.key"))] {
        let keystore = read(&at(name), &[]).unwrap();
        let Content::Key { pair, .. } = &keystore.entries[0].content else { panic!("{name}") };
        assert_eq!(pair.info, wanted, "{name}");
    }
    // Blocks as mail programs and old Macs leave them.
    for (name, from, to) in
        [("mac.pem", "\n", "\r"), ("dos.pem", "\n", "\r\n"), ("in.pem", "\n", "\n    ")]
    {
        for source in ["r.key", "p1-aes.pem"] {
            let text = std::fs::read_to_string(at(source)).unwrap();
            std::fs::write(at(name), text.replace(from, to)).unwrap();
            let keystore = read(&at(name), &[STORE]).unwrap();
            assert!(matches!(keystore.entries[0].content, Content::Key { .. }), "{name} {source}");
        }
    }
    let (files, others) = file::files_below(folder).unwrap();
    assert!(files.contains(&at("new.p12")) && files.contains(&at("p8-md5.pem")), "{files:?}");
    assert!(!files.contains(&at("p1.der")) && others > 0);
}

#[test]
fn a_file_that_asks_for_endless_work_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.p12");
    self_signed(folder.path(), P256, "x", ("k", "c"));
    let words = "pkcs12 -export -inkey k -in c -out x.p12 -iter 65535 -passout pass:";
    openssl(folder.path(), &format!("{words}{STORE}"));
    let mut bytes = std::fs::read(&path).unwrap();
    // The last number of the file is the MAC's iterations: 00 ff ff in three bytes.
    let length = bytes.len();
    assert_eq!(bytes[length - 5..], [2, 3, 0, 0xff, 0xff]);
    bytes[length - 3] = 0x7f;
    std::fs::write(&path, bytes).unwrap();
    let error = read(&path, &[STORE]).unwrap_err().to_string();
    assert!(error.contains("8388607 iterations"), "{error}");
}

pub const STORE: &str = "changeit";

fn read(path: &Path, passwords: &[&str]) -> keyward_migrate::Result<Keystore> {
    let known = passwords.iter().map(|word| Zeroizing::new((*word).to_owned())).collect();
    file::read(path, &mut Passwords::new(known))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn spki(certificate: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(certificate).unwrap().1.public_key().raw.to_vec()
}

/// keytool's calls, done by one JVM.
pub struct Keytool {
    jdk: u32,
    folder: PathBuf,
    lines: String,
}

impl Keytool {
    pub fn new(jdk: u32, folder: &Path) -> Self {
        Self { jdk, folder: folder.to_owned(), lines: String::new() }
    }

    pub fn line(&mut self, words: &[&str]) {
        self.lines += &words.join("\t");
        self.lines.push('\n');
    }

    pub fn keytool(&mut self, store: &str, kind: &str, words: &[&str]) {
        let file = text(&self.folder.join(store));
        let common = ["-keystore", &file, "-storetype", kind, "-storepass", STORE, "-noprompt"];
        self.line(&[&["keytool"], words, &common].concat());
    }

    pub fn pair(&mut self, store: &str, kind: &str, alias: &str, how: &[&str], password: &str) {
        let words =
            ["-genkeypair", "-alias", alias, "-dname", "CN=node1, O=Example", "-keypass", password];
        self.keytool(store, kind, &[&words[..], how].concat());
    }

    fn secret(&mut self, store: &str, kind: &str, alias: &str, algorithm: &str) {
        let size = if algorithm == "DESede" { "168" } else { "256" };
        let words = [
            "-genseckey",
            "-alias",
            alias,
            "-keyalg",
            algorithm,
            "-keysize",
            size,
            "-keypass",
            STORE,
        ];
        self.keytool(store, kind, &words);
        if kind == "JCEKS" && algorithm != "HmacSHA256" {
            self.keytool("b2.jceks", kind, &words);
        }
    }

    /// A certificate of an authority.
    fn trusted(&mut self, store: &str, kind: &str) {
        let pem = self.folder.join("ca.crt");
        if !pem.exists() {
            self_signed(&self.folder, P256, "Authority", ("ca.key", "ca.crt"));
        }
        self.keytool(store, kind, &["-importcert", "-alias", "trusted", "-file", &text(&pem)]);
    }

    pub fn run(self) -> Vec<Record> {
        let options: &[&str] = match self.jdk {
            8 => &[],
            _ => &["--add-exports=java.base/sun.security.tools.keytool=ALL-UNNAMED"],
        };
        let mut child = program(self.jdk, "Keytool", options, Path::new("/nonexistent"))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(self.lines.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(record).collect()
    }
}
