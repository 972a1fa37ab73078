//! Two replicas on an etcd of three members, under a JVM: replicas that die and
//! that are restarted, members that die, hang, and are too few.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::etcd::Etcd;
use common::jvm::{Cluster, Console, Node, Plan, jdk, module};
use common::proxy::route;
use common::stream::{Load, Stream};
use common::{PIN, SO_PIN, Service};

/// One at a time: each is to have both processors.
static TURN: Mutex<()> = Mutex::new(());

/// Other versions see no more of replicas than of the endpoints of
/// `jvm_outage.rs`.
const JDK: u32 = 17;

fn my_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A JVM that shakes hands without a pause, and whose module knows two
/// replicas. The first is the service of the stream.
struct Replicas {
    stream: Stream,
    second: Service,
    etcd: Etcd,
}

impl Replicas {
    fn start(threads: u32) -> Self {
        let etcd = Etcd::start(3);
        let first = Service::on(&etcd);
        let second = first.joined(&etcd);
        let cluster = Cluster::of(first, &[Load::EC.key], "tls");
        route(&cluster.config, &[&cluster.service.endpoint, &second.endpoint]);
        let stream = Stream::start(JDK, cluster, &Load { threads, ..Load::EC });
        Self { stream, second, etcd }
    }

    fn replica(&mut self, place: usize) -> &mut Service {
        match place {
            0 => &mut self.stream.cluster.service,
            _ => &mut self.second,
        }
    }

    /// How many signatures a replica has made since it started.
    fn signatures(&mut self, place: usize) -> u64 {
        self.replica(place)
            .counts("p256-server")
            .get("sign")
            .map_or(0, |entry| entry["count"].as_u64().unwrap())
    }

    /// The replica that signs for the JVM.
    fn home(&mut self) -> usize {
        let before = [0, 1].map(|place| self.signatures(place));
        self.stream.goes_on(50);
        let used = |place: &usize| self.signatures(*place) - before[*place];
        [0, 1].into_iter().max_by_key(used).unwrap()
    }
}

#[test]
fn handshakes_go_on_while_replicas_are_killed_and_restarted_one_by_one() {
    let _turn = my_turn();
    let mut replicas = Replicas::start(64);
    for _ in 0..2 {
        let home = replicas.home();
        replicas.replica(home).kill();
        let slowest = replicas.stream.watch(Duration::from_secs(2));
        assert!(replicas.signatures(1 - home) > 0, "the other replica is not used");
        println!("64 threads, the replica in use killed: slowest {slowest:.0} ms");
        replicas.replica(home).resume();
        replicas.stream.watch(Duration::from_secs(1));
    }
    for round in 0..2 {
        for place in [0, 1] {
            let started = Instant::now();
            replicas.replica(place).stop();
            let stopped = started.elapsed();
            replicas.replica(place).resume();
            let slowest = replicas.stream.watch(Duration::from_secs(1));
            println!(
                "64 threads, round {round}: replica {place} stopped within {stopped:?}, and \
                 started; slowest {slowest:.0} ms"
            );
        }
    }
    replicas.stream.end_unharmed("replicas killed and restarted");
}

#[test]
fn handshakes_go_on_whatever_becomes_of_etcd_and_new_keys_wait_for_a_majority() {
    let _turn = my_turn();
    let mut replicas = Replicas::start(16);
    let place = replicas.etcd.leader().unwrap();
    replicas.etcd.kill(place);
    replicas.goes_on_and_stores("its leader killed", "killed");
    replicas.etcd.start_again(place);

    let place = replicas.etcd.wait_for_leader();
    replicas.etcd.freeze(place);
    replicas.goes_on_and_stores("its leader stopped by a signal", "stopped");
    replicas.etcd.thaw(place);
    replicas.etcd.wait_for_leader();

    // A follower is nothing that anybody would notice.
    let lost = [0, 1].map(|more| (replicas.etcd.leader().unwrap() + more) % 3);
    for place in lost {
        replicas.etcd.kill(place);
    }
    let slowest = replicas.stream.watch(Duration::from_secs(3));
    println!("16 threads, two of three members killed: slowest {slowest:.0} ms");
    // A JVM that starts now.
    let mut console = replicas.console();
    let loaded = console.ask(&format!("load {PIN}"));
    assert_eq!(loaded["aliases"], "[p256-server]");
    console.ask("entry p256-server");
    console.ask("sign SHA256withECDSA 10 2");
    console.finish();
    println!("KeyStore.load meanwhile: {} ms", loaded["ms"]);
    let started = Instant::now();
    let error = replicas.make_a_key().unwrap_err();
    let took = started.elapsed();
    println!("keytool -genkeypair meanwhile, after {took:?}: {}", error.trim());
    assert!(error.contains("CKR_DEVICE_ERROR"), "{error}");
    // Its own start and the deadline of one call, on a busy machine.
    assert!(took < Duration::from_secs(20), "{took:?}");
    let log = replicas.log();
    let line = log.lines().find(|line| line.contains("CKR_DEVICE_ERROR"));
    let line = line.unwrap_or_else(|| panic!("nothing of it in the module's log"));
    println!("the module's log: {line}");
    assert!(line.contains("etcd"), "{line}");
    // Making a key may take a minute; that it cannot be stored, no longer than
    // anything else.
    let service = &replicas.stream.cluster.service;
    let started = Instant::now();
    let refused = service
        .admin_command()
        .args(["key", "generate", "--token", "scratch", "--type", "ec:p256", "--label", "no"])
        .output()
        .unwrap();
    let (took, said) = (started.elapsed(), String::from_utf8(refused.stderr).unwrap());
    println!("keyward key generate meanwhile, after {took:?}: {}", said.trim());
    assert!(!refused.status.success() && said.contains("etcd"), "{said}");
    assert!(took < Duration::from_secs(20), "{took:?}");

    for place in lost {
        replicas.etcd.start_again(place);
    }
    replicas.etcd.wait_for_leader();
    let started = Instant::now();
    while let Err(error) = replicas.make_a_key() {
        if error.contains("already exists") {
            break;
        }
        assert!(error.contains("CKR_DEVICE_ERROR"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(60), "{error}");
    }
    println!("and {:?} after they are back it makes a key", started.elapsed());
    replicas.stream.goes_on(20);
    replicas.stream.end_unharmed("members of etcd killed and stopped");
}

impl Replicas {
    /// What a member's trouble must not keep anybody from.
    fn goes_on_and_stores(&mut self, what: &str, token: &str) {
        let started = Instant::now();
        // A command waits for some seconds and then says that etcd does not answer in time; on a
        // busy machine an election may take longer. What it has asked for may be there all the same.
        let mut create = self.stream.cluster.service.admin_command();
        create.args(["token", "create", "--label", token, "--so-pin", SO_PIN, "--pin", PIN]);
        loop {
            let output = create.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.success() || said.contains("there is a token") {
                break;
            }
            assert!(said.contains("etcd") || said.contains("no answer"), "{said}");
            assert!(started.elapsed() < Duration::from_secs(60), "{said}");
        }
        let stored = started.elapsed();
        let slowest = self.stream.watch(Duration::from_secs(3));
        println!("16 threads, {what}: slowest {slowest:.0} ms; a token made within {stored:?}");
    }

    fn log(&self) -> String {
        let log = self.stream.cluster.config.with_file_name("module.log");
        std::fs::read_to_string(log).unwrap()
    }

    /// SunPKCS11's configuration for a token.
    fn cfg(&self, token: &str) -> PathBuf {
        let cluster = &self.stream.cluster;
        let cfg = cluster.config.with_file_name(format!("{token}.cfg"));
        let (library, slot) = (module(), cluster.slot(token));
        std::fs::write(
            &cfg,
            format!("name = Keyward\nlibrary = {}\nslot = {slot}\n", library.display()),
        )
        .unwrap();
        cfg
    }

    /// Another JVM, with a provider for the server's token.
    fn console(&self) -> Console {
        let mut console = self.stream.cluster.console(JDK);
        console.ask(&format!("provider {} first", self.cfg("p256-server").display()));
        console
    }

    /// `keytool -genkeypair` on the token that is empty; what it said if it
    /// fails.
    fn make_a_key(&self) -> Result<(), String> {
        let output = jdk(JDK, "keytool")
            .env("KEYWARD_CONFIG", &self.stream.cluster.config)
            .args(["-genkeypair", "-alias", "made", "-keyalg", "EC", "-groupname", "secp256r1"])
            .args(["-dname", "CN=made", "-keystore", "NONE", "-storetype", "PKCS11"])
            .args(["-storepass", PIN, "-providerName", "SunPKCS11-Keyward"])
            .args(["-addprovider", "SunPKCS11", "-providerArg"])
            .arg(self.cfg("scratch"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => {
                Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
            }
        }
    }
}

#[test]
fn a_pin_changed_through_one_replica_is_honoured_by_the_other() {
    const HANDSHAKE: &str = "handshake 1 TLSv1.3 TLS_AES_128_GCM_SHA256";
    let _turn = my_turn();
    let etcd = Etcd::start(3);
    let node = Node::of(Service::on(&etcd), JDK, Plan::default());
    let second = node.service.joined(&etcd);
    route(&node.config, &[&second.endpoint]);
    let mut jvm = node.console();
    jvm.ask(&format!("load {PIN}"));
    jvm.ask("tls");
    jvm.ask(HANDSHAKE);

    let file = node.service.dir.path().join("new-pin");
    std::fs::write(&file, "87654321\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    node.service.admin(&["token", "set-pin", "node1", "--reset", "--new-pin-file", file]);
    let changed = Instant::now();
    while jvm.tell(HANDSHAKE)["ok"] == "true" {
        assert!(changed.elapsed() < Duration::from_secs(1), "the old login goes on");
    }
    println!("the old login ends {:?} after the PIN was changed elsewhere", changed.elapsed());
    assert!(node.log().contains("CKR_USER_NOT_LOGGED_IN"), "{}", node.log());
    let error = jvm.refused(&format!("load {PIN}"));
    assert!(error.contains("CKR_PIN_INCORRECT"), "{error}");
    jvm.ask("load 87654321");
    jvm.ask(HANDSHAKE);
    assert_eq!(node.asked("sign"), 0, "the other replica was asked");
    assert!(second.count("node1", "sign") > 0);
    jvm.finish();
}
