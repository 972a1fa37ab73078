//! The tools that people use: OpenSC's pkcs11-tool, GnuTLS's p11tool,
//! OpenSSH. What they make is checked by OpenSSL. What runs on SoftHSM too is in
//! clients.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use common::alone::output_within;
use common::outside::{OpenSsl, ecdsa_der, tool};
use common::{PIN, Service, module};

const TOKEN: &str = "tools";
const PATIENCE: Duration = Duration::from_secs(30);

/// A service with one token, and a folder for the tools' files.
struct Host {
    service: Service,
    config: PathBuf,
    openssl: OpenSsl,
}

impl Host {
    fn new() -> Self {
        let service = Service::start();
        service.token(TOKEN);
        let config = service.identity("client", &[TOKEN], &[]);
        Self { service, config, openssl: OpenSsl::new() }
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = tool(name);
        command
            .args(arguments)
            .current_dir(self.openssl.path(""))
            .env("KEYWARD_CONFIG", &self.config);
        output_within(&mut command, PATIENCE)
    }

    /// What a tool says, which must succeed.
    #[track_caller]
    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.start(name, arguments);
        assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
        text(&output)
    }

    /// pkcs11-tool with the user logged in.
    #[track_caller]
    fn pkcs11(&self, arguments: &[&str]) -> String {
        let path = module();
        let mut all = vec!["--module", path.to_str().unwrap(), "--login", "--pin", PIN];
        all.extend(arguments);
        self.run("pkcs11-tool", &all)
    }

    fn generate(&self, kind: &str, label: &str, id: &str) {
        self.pkcs11(&["--keypairgen", "--key-type", kind, "--label", label, "--id", id]);
    }

    /// The public key in DER, as p11tool reads it: pkcs11-tool 0.23 cannot
    /// read one of P-384 from any module.
    fn public_key(&self, id: &str) -> Vec<u8> {
        let provider = format!("--provider={}", module().display());
        let url = format!("pkcs11:token={TOKEN};id=%{id};type=public");
        let pem = self.run("p11tool", &[&provider, "--export", &url]);
        self.openssl.file("public.pem", pem.as_bytes());
        self.openssl.run(&["pkey", "-pubin", "-in", "public.pem", "-outform", "DER"]).unwrap()
    }

    fn sign(&self, id: &str, mechanism: &str, more: &[&str], data: &[u8]) -> Vec<u8> {
        self.openssl.file("data-to-sign", data);
        let mut all = vec!["--sign", "--id", id, "--mechanism", mechanism];
        all.extend(["-i", "data-to-sign", "-o", "signed"]);
        all.extend(more);
        self.pkcs11(&all);
        self.openssl.read("signed")
    }
}

fn text(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}

#[test]
fn pkcs11_tool_makes_keys_and_signs_with_them() {
    let host = Host::new();
    let openssl = &host.openssl;
    host.generate("rsa:2048", "an RSA key", "01");
    for (curve, id) in [("EC:prime256v1", "02"), ("EC:secp384r1", "03"), ("EC:secp521r1", "04")] {
        host.generate(curve, "an EC key", id);
    }
    assert_eq!(host.service.count(TOKEN, "generate_key_pair"), 4);
    let listed = host.pkcs11(&["--list-objects"]);
    assert_eq!(listed.matches("Private Key Object; RSA").count(), 1, "{listed}");
    assert_eq!(listed.matches("Private Key Object; EC").count(), 3, "{listed}");
    assert_eq!(listed.matches("Public Key Object").count(), 4, "{listed}");
    assert_eq!(
        listed.matches("sensitive, always sensitive, never extractable").count(),
        4,
        "{listed}"
    );

    let message = b"signed by pkcs11-tool";
    let digest = openssl.digest("sha256", message);
    let rsa = host.public_key("01");
    let pkcs1 = "rsa_padding_mode:pkcs1";
    let signature = host.sign("01", "RSA-PKCS", &[], message);
    openssl.verify(&rsa, &[pkcs1], message, &signature).unwrap();
    openssl.verify(&rsa, &[pkcs1], b"something else", &signature).unwrap_err();
    let signature = host.sign("01", "SHA256-RSA-PKCS", &[], message);
    openssl.verify(&rsa, &[pkcs1, "digest:sha256"], &digest, &signature).unwrap();
    let pss = ["rsa_padding_mode:pss", "digest:sha256", "rsa_pss_saltlen:32"];
    let parameters = ["--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256", "--salt-len", "32"];
    let signature = host.sign("01", "RSA-PKCS-PSS", &parameters, &digest);
    openssl.verify(&rsa, &pss, &digest, &signature).unwrap();
    let signature = host.sign("01", "SHA256-RSA-PKCS-PSS", &parameters[2..], message);
    openssl.verify(&rsa, &pss, &digest, &signature).unwrap();
    for id in ["02", "03", "04"] {
        let public = host.public_key(id);
        let signature = host.sign(id, "ECDSA", &[], &digest);
        openssl.verify(&public, &[], &digest, &ecdsa_der(&signature)).unwrap();
        let signature = host.sign(id, "ECDSA-SHA256", &["--signature-format", "openssl"], message);
        openssl.verify(&public, &[], &digest, &signature).unwrap();
    }
    assert_eq!(host.service.count(TOKEN, "sign"), 4 + 3 * 2);
}

#[test]
fn pkcs11_tool_decrypts_and_hashes() {
    let host = Host::new();
    host.generate("rsa:2048", "key", "01");
    let public = host.public_key("01");
    let encrypted = host.openssl.encrypt(&public, &["rsa_padding_mode:pkcs1"], b"secret");
    host.openssl.file("encrypted", &encrypted);
    host.pkcs11(&[
        "--decrypt",
        "--id",
        "01",
        "--mechanism",
        "RSA-PKCS",
        "-i",
        "encrypted",
        "-o",
        "decrypted",
    ]);
    assert_eq!(host.openssl.read("decrypted"), b"secret");
    host.openssl.file("to-hash", b"abc");
    host.pkcs11(&["--hash", "--mechanism", "SHA384", "-i", "to-hash", "-o", "hash"]);
    assert_eq!(host.openssl.read("hash"), host.openssl.digest("sha384", b"abc"));
}

#[test]
fn pkcs11_tool_writes_reads_changes_and_deletes_objects() {
    let host = Host::new();
    let der = host.openssl.certificate("tools");
    host.openssl.file("cert.der", &der);
    host.pkcs11(&["--write-object", "cert.der", "--type", "cert", "--id", "aa", "--label", "cert"]);
    host.pkcs11(&["--read-object", "--type", "cert", "--id", "aa", "-o", "read.der"]);
    assert_eq!(host.openssl.read("read.der"), der);
    let listed = host.pkcs11(&["--list-objects", "--type", "cert"]);
    assert!(listed.contains("CN=tools"), "{listed}");
    // A private key out of a file.
    host.openssl.run(&["pkey", "-in", "key.pem", "-outform", "DER", "-out", "key.der"]).unwrap();
    host.pkcs11(&["--write-object", "key.der", "--type", "privkey", "--id", "aa", "--label", "k"]);
    let signature = host.sign("aa", "ECDSA-SHA256", &["--signature-format", "openssl"], b"data");
    host.openssl
        .run(&["pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "p"])
        .unwrap();
    let digest = host.openssl.digest("sha256", b"data");
    host.openssl.verify(&host.openssl.read("p"), &[], &digest, &signature).unwrap();
    host.openssl.file("some.data", b"some data");
    host.pkcs11(&["--write-object", "some.data", "--type", "data", "--label", "d"]);
    host.pkcs11(&["--read-object", "--type", "data", "--label", "d", "-o", "some.read"]);
    assert_eq!(host.openssl.read("some.read"), b"some data");
    host.pkcs11(&["--type", "privkey", "--id", "aa", "--set-id", "bb"]);
    host.pkcs11(&["--delete-object", "--type", "privkey", "--id", "bb"]);
    host.pkcs11(&["--delete-object", "--type", "cert", "--id", "aa"]);
    host.pkcs11(&["--delete-object", "--type", "data", "--label", "d"]);
    let listed = host.pkcs11(&["--list-objects"]);
    assert!(!listed.contains("Object"), "{listed}");
}

#[test]
fn pkcs11_tool_is_told_why_it_may_not() {
    let host = Host::new();
    let path = module();
    let refused = |arguments: &[&str], why: &str| {
        let mut all = vec!["--module", path.to_str().unwrap()];
        all.extend(arguments);
        let output = host.start("pkcs11-tool", &all);
        assert!(!output.status.success(), "{}", text(&output));
        assert!(text(&output).contains(why), "{why}: {}", text(&output));
    };
    let make = ["--keypairgen", "--key-type", "EC:prime256v1"];
    refused(&[&["--login", "--pin", "4321"], &make[..]].concat(), "CKR_PIN_INCORRECT");
    refused(&make, "CKR_USER_NOT_LOGGED_IN");
    let info = host.run("pkcs11-tool", &["--module", path.to_str().unwrap(), "--list-token-slots"]);
    assert!(info.contains("user PIN count low"), "{info}");
    let mechanisms = host.pkcs11(&["--list-mechanisms"]);
    assert!(
        mechanisms.contains("RSA-PKCS-PSS") && mechanisms.contains("ECDSA-SHA512"),
        "{mechanisms}"
    );
}

#[test]
fn pkcs11_tool_encrypts_with_a_secret_key_of_the_token() {
    let host = Host::new();
    host.pkcs11(&["--keygen", "--key-type", "AES:32", "--id", "05", "--label", "secret"]);
    let plain = b"more than a block, and not whole blocks";
    host.openssl.file("plain", plain);
    let key =
        ["--id", "05", "--mechanism", "AES-CBC-PAD", "--iv", "000102030405060708090a0b0c0d0e0f"];
    host.pkcs11(&[&["--encrypt", "-i", "plain", "-o", "encrypted"], &key[..]].concat());
    let encrypted = host.openssl.read("encrypted");
    assert_eq!(encrypted.len(), 48);
    host.pkcs11(&[&["--decrypt", "-i", "encrypted", "-o", "decrypted"], &key[..]].concat());
    assert_eq!(host.openssl.read("decrypted"), plain);
    assert!(host.service.count(TOKEN, "encrypt") > 0 && host.service.count(TOKEN, "decrypt") > 0);
}

#[test]
fn pkcs11_tool_wraps_and_unwraps() {
    let host = Host::new();
    host.pkcs11(&["--keygen", "--key-type", "AES:32", "--id", "01", "--label", "wraps"]);
    let more = ["--extractable", "--id", "02", "--label", "carried"];
    host.pkcs11(&[&["--keygen", "--key-type", "AES:16"], &more[..]].concat());
    let how = ["--id", "01", "--mechanism", "AES-CBC-PAD", "--iv"];
    let how = [&how[..], &["000102030405060708090a0b0c0d0e0f"]].concat();
    host.pkcs11(&[&["--wrap", "--application-id", "02", "-o", "wrapped"], &how[..]].concat());
    assert_eq!(host.openssl.read("wrapped").len(), 32);
    let to = ["--key-type", "AES:", "--application-id", "03", "--application-label", "again"];
    host.pkcs11(&[&["--unwrap", "-i", "wrapped"], &how[..], &to[..]].concat());
    // Both encrypt alike.
    host.openssl.file("plain", b"sixteen bytes...");
    let mut said = ["02", "03"].map(|id| {
        let arguments = ["--encrypt", "--id", id, "--mechanism", "AES-ECB", "-i", "plain"];
        host.pkcs11(&[&arguments[..], &["-o", "encrypted"]].concat());
        host.openssl.read("encrypted")
    });
    assert_eq!(said[0], said[1]);
    // An RSA key of the token's unwraps what OpenSSL has encrypted.
    host.generate("rsa:2048", "rsa", "04");
    let wrapped =
        host.openssl.encrypt(&host.public_key("04"), &["rsa_padding_mode:pkcs1"], &[7; 16]);
    host.openssl.file("wrapped", &wrapped);
    let to = ["--key-type", "AES:", "--application-id", "05", "--application-label", "given"];
    let how = ["--unwrap", "-i", "wrapped", "--id", "04", "--mechanism", "RSA-PKCS"];
    host.pkcs11(&[&how[..], &to[..]].concat());
    let arguments = ["--encrypt", "--id", "05", "--mechanism", "AES-ECB", "-i", "plain"];
    host.pkcs11(&[&arguments[..], &["-o", "encrypted"]].concat());
    said[0] = host.openssl.read("encrypted");
    let key = "07".repeat(16);
    let enc = ["enc", "-aes-128-ecb", "-nopad", "-K", &key, "-in", "plain"];
    assert_eq!(said[0], host.openssl.run(&enc).unwrap());
    assert!(host.service.count(TOKEN, "wrap_key") >= 1);
    assert_eq!(host.service.count(TOKEN, "unwrap_key"), 2);
}

#[test]
fn pkcs11_tool_signs_with_ed25519() {
    let host = Host::new();
    host.generate("EC:edwards25519", "an Edwards key", "01");
    let message = b"signed by pkcs11-tool";
    let signature = host.sign("01", "EDDSA", &[], message);
    host.openssl.file("public.der", &host.public_key("01"));
    host.openssl.file("signature", &signature);
    host.openssl.file("message", message);
    let check = ["pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey"];
    let files = ["public.der", "-in", "message", "-sigfile", "signature"];
    host.openssl.run(&[&check[..], &files].concat()).unwrap();
    assert_eq!(host.service.count(TOKEN, "sign"), 1);
}

#[test]
fn pkcs11_tool_derives_what_openssl_derives() {
    let host = Host::new();
    let make = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "agrees"];
    host.pkcs11(&[&make[..], &["--usage-derive"]].concat());
    let ec = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    host.openssl.run(&[&ec[..], &["-out", "peer.pem"]].concat()).unwrap();
    let public = ["pkey", "-in", "peer.pem", "-pubout", "-outform", "DER", "-out", "peer.der"];
    host.openssl.run(&public).unwrap();
    let how = ["--derive", "--id", "01", "--mechanism", "ECDH1-DERIVE", "-i", "peer.der"];
    host.pkcs11(&[&how[..], &["-o", "secret"]].concat());
    host.openssl.file("own.der", &host.public_key("01"));
    let derive = ["pkeyutl", "-derive", "-inkey", "peer.pem", "-peerform", "DER", "-peerkey"];
    let expected = host.openssl.run(&[&derive[..], &["own.der"]].concat()).unwrap();
    assert_eq!(host.openssl.read("secret"), expected);
    assert_eq!(host.service.count(TOKEN, "derive_key"), 1);
}

/// GnuTLS's p11tool names objects by URL.
#[test]
fn p11tool_lists_and_exports() {
    let host = Host::new();
    host.service.admin(&[
        "key", "generate", "--token", TOKEN, "--type", "rsa:2048", "--label", "node", "--id",
        "node",
    ]);
    let provider = format!("--provider={}", module().display());
    let pin = format!("--set-pin={PIN}");
    let url = format!("pkcs11:token={TOKEN}");
    let tokens = host.run("p11tool", &[&provider, "--list-tokens"]);
    assert!(
        tokens.contains("Label: tools") && tokens.contains("Manufacturer: Keyward"),
        "{tokens}"
    );
    let listed = host.run("p11tool", &[&provider, "--login", &pin, "--list-all", &url]);
    assert!(listed.contains("Type: Private key (RSA-2048)"), "{listed}");
    assert!(listed.contains("CKA_NEVER_EXTRACTABLE; CKA_SENSITIVE;"), "{listed}");
    let object = format!("{url};object=node;type=public");
    let pem = host.run("p11tool", &[&provider, "--login", &pin, "--export", &object]);
    host.openssl.file("exported.pem", pem.as_bytes());
    let exported =
        host.openssl.run(&["pkey", "-pubin", "-in", "exported.pem", "-outform", "DER"]).unwrap();
    let read = host.pkcs11(&["--read-object", "--type", "pubkey", "--label", "node", "-o", "read"]);
    assert_eq!(exported, host.openssl.read("read"), "{read}");
    let private = format!("{url};object=node;type=private");
    let tested = host.run("p11tool", &[&provider, "--login", &pin, "--test-sign", &private]);
    assert!(tested.contains("ok"), "{tested}");
    let der = host.openssl.certificate("node");
    host.openssl.file("node.der", &der);
    host.openssl.run(&["x509", "-inform", "DER", "-in", "node.der", "-out", "node.pem"]).unwrap();
    let certificate = ["--write", "--load-certificate=node.pem", "--label=node-cert"];
    host.run("p11tool", &[&[&*provider, "--login", &pin, &url], &certificate[..]].concat());
    let listed = host.run("p11tool", &[&provider, "--list-all-certs", &url]);
    assert!(listed.contains("Label: node-cert"), "{listed}");
}

#[test]
fn ssh_keygen_lists_the_public_keys() {
    let host = Host::new();
    host.generate("rsa:2048", "an RSA key", "01");
    host.generate("EC:prime256v1", "an EC key", "02");
    let path = module();
    // ssh-keygen finds public keys without a login.
    let listed = host.run("ssh-keygen", &["-D", path.to_str().unwrap()]);
    assert!(listed.contains("ssh-rsa "), "{listed}");
    assert!(listed.contains("ecdsa-sha2-nistp256 "), "{listed}");
    let rsa = host.public_key("01");
    host.openssl.file("rsa.der", &rsa);
    let pem = host.openssl.run(&["pkey", "-pubin", "-inform", "DER", "-in", "rsa.der"]).unwrap();
    host.openssl.file("rsa.pem", &pem);
    let same = host.run("ssh-keygen", &["-i", "-m", "PKCS8", "-f", "rsa.pem"]);
    let same = same.split_whitespace().nth(1).unwrap();
    assert!(listed.contains(same), "{same} is not in {listed}");
}
