//! Backups, restores and copies, as an operator types them; then a node goes on
//! with what it had.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;
#[allow(dead_code)]
#[path = "../../../tests/common/etcd.rs"]
mod etcd;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Said, keyward, run, serve};
use cryptoki_sys::*;
use keyward_client::{Client, Config};
use keyward_crypto::ec::signature_to_der;
use keyward_wire::attribute::Value as Attr;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{
    Attribute, Catalogue, CreateObject, Done, Key, Login, Object, Request, Sign, Ticket, UserType,
    key, sign,
};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery staple";

/// A folder with a service that runs in it, and what was made there.
struct Place {
    folder: tempfile::TempDir,
    child: Option<Child>,
    listen: String,
}

impl Place {
    /// A service with a token, a key with a certificate, and an identity for it.
    fn with_a_node() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = free_address();
        let mut place = Self { folder, child: None, listen };
        run(["init", "--dir", &place.at("service"), "--listen", &place.listen]).fine();
        place.start("service");
        place
            .admin(["token", "create", "--label", "node", "--so-pin", "12345678", "--pin", "1234"]);
        for kind in ["ec:p256", "rsa:2048"] {
            place.admin(["key", "generate", "--token", "node", "--type", kind, "--label", kind]);
        }
        let csr = place.at("node.csr");
        place.admin([
            "cert",
            "request",
            "--token",
            "node",
            "--key",
            "ec:p256",
            "--subject",
            "CN=node",
            "--out",
            &csr,
        ]);
        place.shell(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca && \
             openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -days 10 -out node.pem",
        );
        place.admin(["cert", "import", "--token", "node", &place.at("node.pem")]);
        let endpoint = place.listen.clone();
        place.admin([
            "identity",
            "create",
            "node1",
            "--token",
            "node",
            "--endpoint",
            &endpoint,
            "--out",
            &place.at("node1"),
        ]);
        place
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn config(&self, service: &str) -> String {
        self.at(&format!("{service}/keyward.toml"))
    }

    fn start(&mut self, service: &str) {
        self.child = Some(serve(self.config(service)));
    }

    /// Ends the service as an operator does.
    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }

    fn said<const N: usize>(&self, arguments: [&str; N]) -> Said {
        let admin = self.at("service/admin/client.toml");
        keyward(arguments).env("KEYWARD_ADMIN_CONFIG", admin).output().unwrap().into()
    }

    fn admin<const N: usize>(&self, arguments: [&str; N]) -> String {
        self.said(arguments).fine()
    }

    fn shell(&self, script: &str) {
        let status = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.folder.path())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{script}");
    }

    fn backup(&self, name: &str) -> String {
        let out = self.at(name);
        self.admin(["backup", "--out", &out]);
        out
    }

    fn master_key(&self) -> String {
        self.at("service/master.key")
    }

    /// node1's client.toml with another endpoint, otherwise as it was.
    fn node_at(&self, listen: &str) -> Node {
        let path = PathBuf::from(self.at("node1/client.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace(&self.listen, listen);
        assert!(listen == self.listen || changed != text);
        let moved = path.with_file_name("moved.toml");
        fs::write(&moved, changed).unwrap();
        Node(Client::new(Config::load(&moved).unwrap()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a module would do on a node.
struct Node(Client);

impl Node {
    fn ask(&self, ticket: Option<&Ticket>, operation: Operation) -> (Answer, Option<Ticket>) {
        let request = Request {
            token: "node".into(),
            ticket: ticket.cloned(),
            operation: Some(operation),
            ..Request::default()
        };
        let frame = self.0.call(request).unwrap().swap_remove(0);
        (frame.result.unwrap(), frame.ticket)
    }

    fn login(&self) -> Ticket {
        let login = Login {
            user_type: UserType::User.into(),
            pin: Some(b"1234".to_vec()),
            ..Login::default()
        };
        self.ask(None, Operation::Login(login)).1.unwrap()
    }

    fn objects(&self, ticket: &Ticket) -> Vec<Object> {
        match self.ask(Some(ticket), Operation::Catalogue(Catalogue::default())).0 {
            Answer::Catalogue(part) => part.objects,
            _ => panic!("no catalogue"),
        }
    }

    /// All that a login shows, in an order that does not change.
    fn contents(&self) -> Vec<Object> {
        let mut objects = self.objects(&self.login());
        objects.sort_by(|one, other| one.unique_id.cmp(&other.unique_id));
        objects
    }

    /// An ECDSA signature by the node's key, in DER.
    fn sign(&self, digest: &[u8]) -> Vec<u8> {
        let ticket = self.login();
        let is = |object: &Object, kind: u64, value: u64| {
            object
                .attributes
                .iter()
                .any(|one| one.r#type == kind && one.value == Some(Attr::Number(value)))
        };
        let key = self
            .objects(&ticket)
            .into_iter()
            .find(|object| {
                is(object, CKA_CLASS, CKO_PRIVATE_KEY) && is(object, CKA_KEY_TYPE, CKK_EC)
            })
            .unwrap();
        let sign = Sign {
            key: Some(Key { key: Some(key::Key::UniqueId(key.unique_id)) }),
            input: digest.to_vec(),
            scheme: Some(sign::Scheme::Ecdsa(Done {})),
            recoverable: false,
            ..Sign::default()
        };
        match self.ask(Some(&ticket), Operation::Sign(sign)).0 {
            Answer::Signature(signed) => signature_to_der(&signed.value).unwrap(),
            _ => panic!("no signature"),
        }
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn secret_file(path: &str, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// OpenSSL finds that the key of the certificate which was issued before the
/// backup has made the signature.
fn openssl_agrees(place: &Place, node: &Node) {
    let digest = [0x5a; 32];
    fs::write(place.at("digest"), digest).unwrap();
    fs::write(place.at("signature"), node.sign(&digest)).unwrap();
    place.shell(
        "openssl x509 -in node.pem -noout -pubkey > node.pub && \
         openssl pkeyutl -verify -pubin -inkey node.pub -in digest -sigfile signature \
         -pkeyopt digest:sha256",
    );
}

#[test]
fn a_service_is_backed_up_verified_restored_and_signs_for_its_old_clients() {
    let mut place = Place::with_a_node();
    let file = place.at("first.backup");
    let told = json(&place.admin(["backup", "--out", &file, "--json"]));
    assert_eq!(told["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!Path::new(&place.at("first.backup.partial")).exists());

    let key = place.master_key();
    let seen = json(&run(["backup", "verify", &file, "--master-key", &key, "--json"]).fine());
    assert_eq!(seen["revision"], told["revision"]);
    assert_eq!(seen["entries"], told["entries"]);
    assert_eq!(seen["tokens"][0]["label"], "node");
    assert_eq!(seen["objects"]["private_keys"], 2);
    assert_eq!(seen["objects"]["public_keys"], 2);
    assert_eq!(seen["objects"]["certificates"], 1);
    let names: Vec<_> =
        seen["identities"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["admin", "node1"]);
    let shown = run(["backup", "verify", &file, "--master-key", &key]).fine();
    assert!(shown.contains("all of which decrypt and parse"), "{shown}");

    // The first service goes on; its change is not in the restored one.
    place.admin(["key", "generate", "--token", "node", "--type", "ec:p256", "--label", "later"]);
    let (listen, restored) = (free_address(), place.at("restored"));
    let told =
        run(["restore", &file, "--dir", &restored, "--listen", &listen, "--master-key", &key])
            .fine();
    assert!(told.contains("admin node1"), "{told}");
    assert!(told.contains("keyward serve --config"), "{told}");
    let again = run(["restore", &file, "--dir", &restored, "--master-key", &key]).failed(1);
    assert!(again.contains("already holds a service"), "{again}");
    place.stop();
    place.start("restored");
    openssl_agrees(&place, &place.node_at(&listen));
    let admin = place.at("restored/admin/client.toml");
    let tokens = json(&run(["token", "list", "--json", "--admin", &admin]).fine());
    assert_eq!(tokens[0]["objects"], 5);
}

#[test]
fn a_lost_machine_is_restored_by_the_passphrase_alone() {
    let mut place = Place::with_a_node();
    let (file, passphrase) = (place.at("keyward.backup"), place.at("passphrase"));
    let config = place.config("service");
    secret_file(&passphrase, "too short\n");
    let with_passphrase =
        ["backup", "--out", &file, "--passphrase-file", &passphrase, "--config", &config];
    let error = place.said(with_passphrase).failed(1);
    assert!(error.contains("fewer than 12"), "{error}");
    secret_file(&passphrase, &format!("{PASSPHRASE}\n"));
    place.admin(with_passphrase);
    let (again, key) = (place.at("again.backup"), place.master_key());
    let by_key =
        ["backup", "--out", &again, "--passphrase-file", &passphrase, "--master-key", &key];
    place.admin(by_key);
    run(["backup", "verify", &again, "--passphrase-file", &passphrase]).fine();
    // Another service's master key would make a file that nobody can restore.
    let other = place.at("other");
    run(["init", "--dir", &other]).fine();
    let out = place.at("other.backup");
    let error = place
        .said([
            "backup",
            "--out",
            &out,
            "--passphrase-file",
            &passphrase,
            "--config",
            &format!("{other}/keyward.toml"),
        ])
        .failed(1);
    assert!(error.contains("does not open"), "{error}");
    assert!(!Path::new(&out).exists() && !Path::new(&format!("{out}.partial")).exists());

    place.stop();
    fs::remove_dir_all(place.at("service")).unwrap();
    let wrong = place.at("wrong");
    secret_file(&wrong, "another passphrase");
    let error = run(["backup", "verify", &file, "--passphrase-file", &wrong]).failed(1);
    assert!(error.contains("the passphrase is not the one"), "{error}");
    let listen = free_address();
    let dir = place.at("new");
    let restore = ["restore", &file, "--dir", &dir, "--listen", &listen, "--passphrase-file"];
    let told = json(&run(restore.into_iter().chain([passphrase.as_str(), "--json"])).fine());
    assert_eq!(told["good_identities"].as_array().unwrap().len(), 2);
    place.start("new");
    openssl_agrees(&place, &place.node_at(&listen));
    let admin = told["admin_config"].as_str().unwrap();
    let identities = json(&run(["identity", "list", "--json", "--admin", admin]).fine());
    assert_eq!(identities.as_array().unwrap().len(), 3);
}

#[test]
fn what_is_wrong_with_a_backup_is_one_clear_sentence_and_nothing_is_written() {
    let place = Place::with_a_node();
    let file = place.backup("keyward.backup");
    let key = place.master_key();
    let content = fs::read(&file).unwrap();
    let (damaged, dir) = (place.at("damaged"), place.at("restored"));
    let other = place.at("other.key");
    secret_file(&other, &"ab".repeat(32));
    let mut flipped = content.clone();
    flipped[content.len() / 2] ^= 1;
    let cases: [(&[u8], &str, &str); 5] = [
        (&flipped, &key, "is damaged or incomplete"),
        (&content[..content.len() - 1], &key, "is damaged or incomplete"),
        (&content[..10], &key, "is no Keyward backup"),
        (b"something else", &key, "is no Keyward backup"),
        (&content, &other, "does not open"),
    ];
    for (bytes, key, sentence) in cases {
        fs::write(&damaged, bytes).unwrap();
        for command in [
            vec!["backup", "verify", &damaged, "--master-key", key],
            vec!["restore", &damaged, "--dir", &dir, "--master-key", key],
        ] {
            let error = run(&command).failed(1);
            assert!(error.contains(sentence), "{command:?}: {error}");
            assert_eq!(error.matches("keyward: error").count(), 1, "{error}");
            assert!(!Path::new(&dir).exists());
        }
    }
    let error = run(["backup", "verify", &file, "--passphrase-file", &other]).failed(1);
    assert!(error.contains("made without a passphrase"), "{error}");
    let error = place.said(["backup", "--out", &file]).failed(1);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), content);
    // One who may not: nothing is left behind.
    let out = place.at("node.backup");
    let node = place.at("node1/client.toml");
    let error = run(["backup", "--out", &out, "--admin", &node]).failed(1);
    assert!(error.contains("no administrator"), "{error}");
    assert!(!Path::new(&out).exists() && !Path::new(&format!("{out}.partial")).exists());
}

#[test]
fn a_store_is_filled_from_a_backup_only_while_it_is_empty() {
    let mut place = Place::with_a_node();
    let file = place.backup("keyward.backup");
    let config = place.config("service");
    let error = run(["restore", &file, "--into", &config]).failed(1);
    assert!(error.contains("in use"), "{error}");
    place.stop();
    for more in [None, Some("--resume")] {
        let restore = ["restore", &file, "--into", &config].into_iter();
        let error = run(restore.chain(more)).failed(1);
        assert!(error.contains("not empty"), "{error}");
    }
    place.start("service");
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
    place.stop();
    // The disk with the store is lost, the rest is there.
    fs::remove_file(place.at("service/store.redb")).unwrap();
    let admin = place.at("new-admin");
    run(["restore", &file, "--into", &config, "--new-admin", &admin]).fine();
    place.start("service");
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
    run(["token", "list", "--admin", &format!("{admin}/client.toml")]).fine();
    // A service of another authority is none that the clients would accept.
    let other = place.at("other");
    run(["init", "--dir", &other]).fine();
    fs::remove_file(place.at("other/store.redb")).unwrap();
    let key = place.master_key();
    let into = place.config("other");
    let error = run(["restore", &file, "--into", &into, "--master-key", &key]).failed(1);
    assert!(error.contains("is not the authority of the backup"), "{error}");
}

#[test]
fn a_copy_is_served_like_the_original() {
    let mut place = Place::with_a_node();
    let (from, to) = (place.config("service"), place.at("service/new.toml"));
    let text = fs::read_to_string(&from).unwrap();
    fs::write(&to, text.replace("store.redb", "new.redb")).unwrap();
    let copy = ["store", "copy", "--from", &from, "--to", &to];
    let error = run(copy).failed(1);
    assert!(error.contains("in use by another process"), "{error}");
    place.stop();
    let told = json(&run(copy.into_iter().chain(["--json"])).fine());
    assert!(told["entries"].as_u64().unwrap() > 10, "{told}");
    let error = run(copy).failed(1);
    assert!(error.contains("not empty"), "{error}");
    place.child = Some(serve(&to));
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
}

/// Killed at any point of a copy, the destination is either whole or refused,
/// and `--resume` makes it whole.
#[test]
fn a_copy_that_is_killed_leaves_no_half_store_that_serves() {
    let mut place = Place::with_a_node();
    fill(&place.node_at(&place.listen.clone()));
    place.stop();
    let from = place.config("service");
    let text = fs::read_to_string(&from).unwrap();
    let mut halves = 0;
    for round in 0..12 {
        let to = place.at(&format!("service/{round}.toml"));
        let data = place.at(&format!("service/{round}.redb"));
        fs::write(&to, text.replace("store.redb", &format!("{round}.redb"))).unwrap();
        let copy = ["store", "copy", "--from", &from, "--to", &to];
        let mut child = keyward(copy).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !Path::new(&data).exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_micros(200));
        }
        // Each round is cut at another point.
        std::thread::sleep(Duration::from_millis(3 * round));
        child.kill().unwrap();
        let finished = child.wait().unwrap().success();
        if !finished {
            let said = refusal(&to);
            // Cut off before its first commit it is no store, and afterwards a
            // half one; a kill behind the last commit came too late.
            halves += u32::from(said.as_ref().is_some_and(|said| said.contains("half written")));
            if said.is_some() {
                run(copy.into_iter().chain(["--resume"])).fine();
            }
        }
        place.child = Some(serve(&to));
        let node = place.node_at(&place.listen.clone());
        assert_eq!(node.objects(&node.login()).len(), 5 + FILLED);
        place.stop();
    }
    assert!(halves > 0, "no kill has hit the middle of a copy");
}

/// From one machine into etcd and back, by copies and by a backup: each is killed
/// in the middle first, and what is there then nobody takes for a store.
#[test]
fn a_service_moves_into_etcd_and_back_whatever_is_killed_on_the_way() {
    let mut place = Place::with_a_node();
    fill(&place.node_at(&place.listen.clone()));
    let objects = place.node_at(&place.listen.clone()).contents();
    let file = place.at("service.backup");
    place.admin(["backup", "--out", &file]);
    place.stop();
    let etcd = etcd::Etcd::start(1);
    let from = place.config("service");
    let text = fs::read_to_string(&from).unwrap();
    let folder = place.folder.path().to_owned();
    let config = |name: &str| {
        let path = folder.join(format!("service/{name}.toml"));
        let text = text.replace("store = \"redb\"\ndata", "store = \"etcd\"\n# was: data");
        let members = etcd.endpoints();
        let rest = format!(
            "\n[etcd]\nendpoints = {members:?}\nauthority = {:?}\ncertificate = {:?}\n\
             private_key = {:?}\nprefix = \"/{name}/\"\n",
            etcd.authority(),
            etcd.certificate(),
            etcd.private_key(),
        );
        fs::write(&path, text + &rest).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let copied = config("copied");
    let copy = ["store", "copy", "--from", &from, "--to", &copied];
    halve(&etcd, "/copied/", &copy, &copied);
    let joined = place.at("joined");
    let members = etcd.endpoints().join(",");
    let [authority, certificate, private_key] =
        [etcd.authority(), etcd.certificate(), etcd.private_key()]
            .map(|path| path.to_str().unwrap().to_owned());
    let remote = [
        "--store",
        "etcd",
        "--etcd-endpoints",
        &members,
        "--etcd-authority",
        &authority,
        "--etcd-certificate",
        &certificate,
        "--etcd-private-key",
        &private_key,
        "--etcd-prefix",
    ];
    let key = place.master_key();
    let join = ["init", "--join", "--dir", &joined, "--master-key", &key];
    let error = run(join.into_iter().chain(remote).chain(["/copied/"])).failed(1);
    assert!(error.contains("half written"), "{error}");
    run(copy.into_iter().chain(["--resume"])).fine();
    place.child = Some(serve(&copied));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
    place.stop();

    let restored = config("restored");
    let restore = ["restore", &file, "--into", &restored, "--master-key", &key];
    halve(&etcd, "/restored/", &restore, &restored);
    run(restore.into_iter().chain(["--resume"])).fine();
    place.child = Some(serve(&restored));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    place.stop();

    // A machine that is gone: a new folder, with its store in etcd.
    let gone = place.at("gone");
    let listen = place.listen.clone();
    let new = ["restore", &file, "--dir", &gone, "--listen", &listen, "--master-key", &key];
    let new: Vec<_> = new.into_iter().chain(remote).chain(["/gone/"]).collect();
    run(new.clone()).fine();
    place.child = Some(serve(place.config("gone")));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    place.stop();
    fs::remove_dir_all(&gone).unwrap();
    let error = run(new).failed(1);
    assert!(error.contains("not empty"), "{error}");
    assert!(!Path::new(&gone).exists());

    let back = place.at("service/back.toml");
    fs::write(&back, text.replace("store.redb", "back.redb")).unwrap();
    run(["store", "copy", "--from", &copied, "--to", &back]).fine();
    place.child = Some(serve(&back));
    assert_eq!(place.node_at(&place.listen.clone()).contents(), objects);
    openssl_agrees(&place, &place.node_at(&place.listen.clone()));
}

/// Kills a command in the middle of filling a store under `prefix`, and sees
/// that no service takes what is there.
fn halve(etcd: &etcd::Etcd, prefix: &str, command: &[&str], config: &str) {
    let mut delay = Duration::from_millis(20);
    let keys = || etcd.ctl(&["get", "--prefix", prefix, "--keys-only"]);
    for round in 0.. {
        assert!(round < 80, "no kill has hit the middle");
        let resume = (round > 0).then_some("--resume");
        let mut child = keyward(command.iter().copied().chain(resume))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = keys();
        if found.contains("meta/format") {
            etcd.ctl(&["del", "--prefix", prefix]);
            delay /= 2;
        } else if found.contains("meta/loading") && found.contains("object/") {
            break;
        } else {
            delay += Duration::from_millis(7);
        }
    }
    let before = keys();
    let said = refusal(config).unwrap();
    assert!(said.contains("half written"), "{said}");
    let error = run(command.iter().copied()).failed(1);
    assert!(error.contains("half written") && error.contains("--resume"), "{error}");
    assert_eq!(keys(), before, "nothing was touched");
}

/// Why a service does not start; `None` if it does.
fn refusal(config: &str) -> Option<String> {
    let mut child = keyward(["serve", "--announce", "--config", config])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    if line.starts_with("ready") {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    Some(String::from_utf8(output.stderr).unwrap())
}

const FILLED: usize = 1600;

/// Makes so many objects.
fn fill(node: &Node) {
    let ticket = node.login();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..FILLED / 8 {
                    let attribute = |r#type, value| Attribute { r#type, value: Some(value) };
                    let template = vec![
                        attribute(CKA_CLASS, Attr::Number(CKO_DATA)),
                        attribute(CKA_TOKEN, Attr::Boolean(true)),
                        attribute(CKA_VALUE, Attr::Bytes(vec![0x5a; 400])),
                    ];
                    node.ask(Some(&ticket), Operation::CreateObject(CreateObject { template }));
                }
            });
        }
    });
}
