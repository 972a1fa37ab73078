//! The master key, sealed by a key in an HSM. The HSM is SoftHSM; pkcs11-tool looks into it, too.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::service::{PIN, SO_PIN, Service};
use common::{Said, keyward, run};
use rustix::process::{Pid, Signal, kill_process};

/// A SoftHSM with one token.
struct SoftHsm {
    folder: PathBuf,
    module: String,
    label: String,
}

impl SoftHsm {
    fn new(folder: &Path, label: &str) -> Self {
        let folder = folder.join(label);
        let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/../../softhsm-setup.sh");
        let made = Command::new(setup)
            .args(["--dir", folder.to_str().unwrap(), "--label", label, "--pin", PIN])
            .output();
        let told = Said::from(made.unwrap()).fine();
        let module = told.lines().find_map(|line| line.strip_prefix("export SOFTHSM2_MODULE="));
        let module = module.unwrap().to_owned();
        let hsm = Self { folder, module, label: label.to_owned() };
        hsm.pin(PIN);
        hsm
    }

    /// The PIN that the configuration leads to.
    fn pin(&self, pin: &str) {
        let file = self.pin_file();
        fs::write(&file, format!("{pin}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }

    /// Its `[[hsm]]`, called as the token is.
    fn section(&self) -> String {
        let Self { module, label, .. } = self;
        format!(
            "\n[[hsm]]\nname = \"{label}\"\nlibrary = \"{module}\"\ntoken = \"{label}\"\npin.file = {:?}\n\
             environment = {{ SOFTHSM2_CONF = {:?} }}\n",
            self.pin_file(),
            self.settings(),
        )
    }

    fn tool(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("pkcs11-tool");
        command.env("SOFTHSM2_CONF", self.settings()).args(["--module", &self.module]);
        command.args(["--token-label", &self.label, "--login", "--pin", PIN]).args(arguments);
        command.output().unwrap().into()
    }
}

/// A service with HSMs in its configuration, that does not run.
fn service(hsms: &[&SoftHsm]) -> Service {
    let service = Service::made();
    let mut text = fs::read_to_string(service.config()).unwrap();
    text.extend(hsms.iter().map(|hsm| hsm.section()));
    fs::write(service.config(), text).unwrap();
    service
}

/// Has its configuration say of the master key what `says` says.
fn say(service: &Service, says: &str) {
    let text = fs::read_to_string(service.config()).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("master_key = ") {
        true => format!("master_key = {{ {says} }}\n"),
        false => format!("{line}\n"),
    });
    fs::write(service.config(), lines.collect::<String>()).unwrap();
}

fn master_key(service: &Service, arguments: &[&str]) -> Said {
    let mut command = keyward(["master-key"]);
    let dir = service.dir();
    command.current_dir(dir).args(arguments).args(["--config", "keyward.toml"]);
    command.output().unwrap().into()
}

/// The master key of a new service, sealed by the key `keyward-master`; it stands nowhere else.
fn seal(service: &Service) -> Vec<u8> {
    let said = master_key(service, &["seal", "--out", "master.sealed"]);
    assert!(said.stderr.contains("made now"), "{}", said.stderr);
    said.fine();
    say(service, "seal = \"pkcs11\", file = \"master.sealed\", start_s = 1");
    let kept = fs::read(service.dir().join("master.key")).unwrap();
    fs::remove_file(service.dir().join("master.key")).unwrap();
    kept
}

fn serve(service: &Service) -> Child {
    let mut command = keyward(["serve", "--announce", "--config"]);
    command.arg(service.config()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Starts the service, which fails; the log and the sentence.
#[track_caller]
fn fails(service: &Service, code: i32, words: &[&str]) -> String {
    let said = Said::from(serve(service).wait_with_output().unwrap());
    assert_eq!(said.code, Some(code), "{}", said.stderr);
    let (_, sentence) = said.stderr.split_once("keyward: error: ").unwrap();
    for word in words {
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
    said.stderr
}

#[test]
fn a_master_key_goes_into_one_hsm_and_to_another_and_back_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (SoftHsm::new(folder.path(), "one"), SoftHsm::new(folder.path(), "two"));
    let mut service = service(&[&one]);
    let kept = seal(&service);
    let path = service.dir().join("master.sealed");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"CKM_AES_GCM\"") && text.contains("token = \"one\""), "{text}");
    let objects = one.tool(&["--list-objects", "--type", "secrkey"]).fine();
    assert!(
        objects.contains("keyward-master") && objects.contains("never extractable"),
        "{objects}"
    );

    service.start();
    service.token("here");
    // Nobody gets the key that seals as a key of a token.
    let pins = ["--so-pin", SO_PIN, "--pin", PIN];
    let inside = ["token", "create", "--label", "inside", "--hsm", "one"];
    service.admin(&[&inside[..], &pins].concat()).fine();
    let free = service.admin(&["token", "attach", "inside", "--list", "--json"]).fine();
    assert_eq!(free.trim(), "[]");
    assert_eq!(service.terminate(), Some(0));

    let mut text = fs::read_to_string(service.config()).unwrap();
    text.push_str(&two.section());
    fs::write(service.config(), text).unwrap();
    say(&service, "seal = \"pkcs11\", file = \"master.sealed\", hsm = \"one\"");
    let second = ["seal", "--hsm", "two", "--key", "rsa", "--mechanism", "rsa-oaep"];
    let second = [&second[..], &["--out", "two.sealed", "--json"]].concat();
    let told: serde_json::Value =
        serde_json::from_str(&master_key(&service, &second).fine()).unwrap();
    assert_eq!(told["key_made"], true);
    // What pkcs11-tool decrypts is the key, and a digest.
    let text = fs::read_to_string(service.dir().join("two.sealed")).unwrap();
    let hex = text.lines().find_map(|line| line.strip_prefix("sealed = \"")).unwrap();
    let ciphertext = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16));
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    fs::write(&input, ciphertext.collect::<Result<Vec<_>, _>>().unwrap()).unwrap();
    let id = told["id"].as_str().unwrap();
    let decrypt = ["--decrypt", "--mechanism", "RSA-PKCS-OAEP", "--hash-algorithm", "SHA-1"];
    let files =
        ["--input-file", input.to_str().unwrap(), "--output-file", output.to_str().unwrap()];
    two.tool(&[&decrypt[..], &["--mgf", "MGF1-SHA1", "--id", id], &files].concat()).fine();
    let opened: String =
        fs::read(&output).unwrap()[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(opened.as_bytes(), kept.trim_ascii_end());

    say(&service, "seal = \"pkcs11\", file = \"two.sealed\", hsm = \"two\"");
    fs::remove_file(&path).unwrap();
    service.start();
    assert!(service.admin(&["token", "list"]).fine().contains("here"));
    // It may run meanwhile.
    master_key(&service, &["unseal", "--out", "again.key"]).fine();
    assert_eq!(service.terminate(), Some(0));
    let again = service.dir().join("again.key");
    assert_eq!(fs::read(&again).unwrap(), kept);
    assert_eq!(fs::metadata(&again).unwrap().permissions().mode() & 0o777, 0o600);
    say(&service, "file = \"again.key\"");
    service.start();
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn a_service_says_in_a_sentence_what_is_in_the_way_and_tries_a_pin_once() {
    let folder = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::new(folder.path(), "one");
    let service = service(&[&hsm]);
    seal(&service);
    let path = service.dir().join("master.sealed");
    let good = fs::read_to_string(&path).unwrap();

    hsm.pin("9999");
    let log = fails(&service, 78, &["\"one\"", "did not take the PIN", "keyward: hint: "]);
    assert_eq!(log.matches("the HSM cannot be asked").count(), 1, "{log}");
    hsm.pin(PIN);

    let config = fs::read_to_string(service.config()).unwrap();
    fs::write(service.config(), config.replace("token = \"one\"", "token = \"elsewhere\""))
        .unwrap();
    fails(&service, 1, &["\"one\"", "cannot be asked", "does not show the token"]);
    fs::write(service.config(), config).unwrap();

    let changed = ["was changed", "keyward-master", "keyward: hint: "];
    let other_words = good.replace("token = \"one\"", "token = \"two\"");
    let digit = if good.contains("sealed = \"0") { "1" } else { "0" };
    let at = good.find("sealed = \"").unwrap() + 10;
    let other_bytes = format!("{}{digit}{}", &good[..at], &good[at + 1..]);
    for text in [&other_words, &other_bytes] {
        fs::write(&path, text).unwrap();
        fails(&service, 1, &changed);
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    fails(&service, 1, &["is a sealed master key, and damaged"]);
    fs::write(&path, "0".repeat(64)).unwrap();
    fails(&service, 1, &["is no sealed master key"]);
    fs::write(&path, &good).unwrap();
    say(&service, "file = \"master.sealed\"");
    fails(&service, 1, &["is sealed by a key in an HSM", "seal = \"pkcs11\""]);

    say(&service, "seal = \"pkcs11\", file = \"master.sealed\"");
    hsm.tool(&["--delete-object", "--type", "secrkey", "--label", "keyward-master"]).fine();
    fails(&service, 1, &["keyward-master", "is not in the HSM \"one\"", "keyward: hint: "]);
}

#[test]
fn a_service_waits_for_its_hsm_and_can_be_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::new(folder.path(), "one");
    let service = service(&[&hsm]);
    seal(&service);
    say(&service, "seal = \"pkcs11\", file = \"master.sealed\"");
    fs::remove_file(hsm.pin_file()).unwrap();

    let mut child = serve(&service);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("the HSM cannot be asked")));
    hsm.pin(PIN);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));

    fs::remove_file(hsm.pin_file()).unwrap();
    let mut child = serve(&service);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("the HSM cannot be asked")));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(log.any(|line| line.unwrap().contains("told to stop while it waited for the HSM")));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn sealing_replaces_nothing_and_takes_no_key_that_could_leave_the_hsm() {
    let folder = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::new(folder.path(), "one");
    let service = service(&[&hsm]);
    let key = |label: &str, more: &[&str]| {
        let generate = ["--keygen", "--key-type", "AES:32", "--label", label];
        hsm.tool(&[&generate[..], more].concat()).fine();
    };
    key("leaves", &["--extractable", "--sensitive", "--id", "01"]);
    key("twice", &["--sensitive", "--id", "02"]);
    key("twice", &["--sensitive", "--id", "03"]);
    key("good", &["--sensitive", "--id", "04"]);
    let seal = |label: &str| master_key(&service, &["seal", "--key", label, "--out", "a.sealed"]);
    for (label, told) in [("leaves", "may leave the HSM"), ("twice", "has 2 keys labelled")] {
        let error = seal(label).failed(1);
        assert!(error.contains(told) && error.contains("keyward: hint: "), "{error}");
    }
    fs::write(service.dir().join("a.sealed"), "mine").unwrap();
    let before = hsm.tool(&["--list-objects"]).fine();
    let error = seal("new").failed(1);
    assert!(error.contains("exists already") && error.contains("keyward: hint: "), "{error}");
    assert_eq!(fs::read(service.dir().join("a.sealed")).unwrap(), b"mine");
    // Where it fails at its end, the key that was made for it goes again.
    let error =
        master_key(&service, &["seal", "--key", "new", "--out", "nowhere/a.sealed"]).failed(1);
    assert!(error.contains("nowhere/a.sealed"), "{error}");
    assert_eq!(hsm.tool(&["--list-objects"]).fine(), before);

    fs::remove_file(service.dir().join("a.sealed")).unwrap();
    let said = seal("good");
    assert!(!said.stderr.contains("made now"), "{}", said.stderr);
    said.fine();
    let shown = |from: &str| {
        let said = master_key(&service, &["show", "--json", "--from", from]).fine();
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    let (plain, sealed) = (shown("master.key"), shown("a.sealed"));
    assert_eq!(plain["check_value"], sealed["check_value"]);
    assert_eq!((&plain["sealed"], &sealed["key"]), (&false.into(), &"good".into()));
    assert_eq!(sealed["id"], "04");
}

#[test]
fn backups_copies_and_restores_know_a_sealed_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let hsm = SoftHsm::new(folder.path(), "one");
    let mut service = service(&[&hsm]);
    let kept = seal(&service);
    let config = service.config().to_str().unwrap().to_owned();
    service.start();
    service.token("here");
    fs::write(at("passphrase"), "correct horse battery staple").unwrap();
    fs::set_permissions(at("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
    let backup = ["backup", "--out", &at("b"), "--passphrase-file", &at("passphrase")];
    service.admin(&[&backup[..], &["--config", &config]].concat()).fine();
    assert_eq!(service.terminate(), Some(0));
    let verified = run(["backup", "verify", &at("b"), "--config", &config]).fine();
    assert!(verified.contains("here"), "{verified}");

    fs::rename(service.dir().join("store.redb"), at("store.redb")).unwrap();
    run(["restore", &at("b"), "--into", &config, "--new-admin", &at("admin")]).fine();
    service.start();
    assert!(service.admin(&["token", "list"]).fine().contains("here"));
    assert_eq!(service.terminate(), Some(0));

    let dir = at("trial");
    let said = run(["restore", &at("b"), "--dir", &dir, "--config", &config]);
    assert!(said.stderr.contains("master-key seal"), "{}", said.stderr);
    said.fine();
    assert_eq!(fs::read(Path::new(&dir).join("master.key")).unwrap(), kept);

    let copy = service.dir().join("copy.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&copy, text.replace("store.redb", "copy.redb")).unwrap();
    let copy = copy.to_str().unwrap();
    let told = run(["store", "copy", "--from", &config, "--to", copy, "--json"]).fine();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["other_master_key"], false);
}
