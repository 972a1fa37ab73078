//! Outages under a JVM: an endpoint that dies, hangs or is cut off while another
//! works; all of them away; a service that starts late; a login that has ended.
//! Nobody touches the JVM meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::jvm::{Call, Cluster, Node, Plan, Record};
use common::namespace::Namespace;
use common::proxy::{Line, Proxy, route};
use common::stream::{Load, Stream};
use common::{PIN, run};

/// One at a time: each is to have both processors.
static TURN: Mutex<()> = Mutex::new(());

on_each_jdk! {
    handshakes_go_on_while_one_endpoint_of_two_dies_and_comes_back
    a_service_that_starts_after_the_jvm_is_waited_for
    a_changed_pin_and_a_revoked_identity_are_told_and_need_no_restart
}

const TLS_RSA: &str = "protocol=TLSv1.2 suite=TLS_RSA_WITH_AES_128_GCM_SHA256";

/// deadlines.call_ms and the length of a probe, as they are by default.
const CALL: Duration = Duration::from_secs(5);
const PROBE: Duration = Duration::from_millis(300);

/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(250);

fn my_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long all endpoints are away. An operator's outage lasts a minute; CI
/// makes do with less.
fn outage() -> Duration {
    let seconds = std::env::var("KEYWARD_OUTAGE_SECONDS").ok();
    Duration::from_secs(seconds.map_or(9, |text| text.parse().unwrap()))
}

/// A service behind two endpoints, and a JVM with threads that shake hands
/// without a pause.
struct Outage {
    stream: Stream,
    proxies: Vec<Proxy>,
}

impl Outage {
    fn start(jdk: u32, load: &Load<'_>) -> Self {
        Self::start_in(jdk, load, &["127.0.0.1"; 2], |command| command)
    }

    fn start_in(
        jdk: u32,
        load: &Load<'_>,
        addresses: &[&str],
        wrap: impl FnOnce(Command) -> Command,
    ) -> Self {
        let cluster = Cluster::start(&[load.key], "tls");
        let proxies: Vec<Proxy> =
            addresses.iter().map(|address| Proxy::on(address, &cluster.service.endpoint)).collect();
        let endpoints: Vec<&str> = proxies.iter().map(|proxy| proxy.endpoint.as_str()).collect();
        route(&cluster.config, &endpoints);
        Self { stream: Stream::start_in(jdk, cluster, load, wrap), proxies }
    }

    /// The endpoint that is in use.
    fn home(&mut self) -> usize {
        let before: Vec<u64> = self.proxies.iter().map(Proxy::bytes).collect();
        self.goes_on(50);
        let used = |index: &usize| self.proxies[*index].bytes() - before[*index];
        (0..self.proxies.len()).max_by_key(used).unwrap()
    }

    fn end(self) -> (Record, Vec<Call>) {
        self.stream.end()
    }
}

impl Deref for Outage {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl DerefMut for Outage {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Signatures and decryptions.
fn work(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().filter(|call| ["C_Sign", "C_Decrypt"].contains(&call.function.as_str()))
}

// ---- one of two --------------------------------------------------------------------

fn handshakes_go_on_while_one_endpoint_of_two_dies_and_comes_back(jdk: u32) {
    let _turn = my_turn();
    let mut stream = Outage::start(jdk, &Load::EC);
    for line in [Line::Refuses, Line::Stalls, Line::Resets] {
        let home = stream.home();
        stream.proxies[home].set(line);
        let slowest = stream.watch(Duration::from_secs(2));
        let other = stream.proxies[1 - home].bytes();
        stream.goes_on(20);
        assert!(stream.proxies[1 - home].bytes() > other, "the other endpoint is not used");
        stream.proxies[home].set(Line::Forwards);
        println!("JDK {jdk}: 64 threads, one of two endpoints {line:?}: slowest {slowest:.0} ms");
        // Load goes back where it came from.
        let back = Instant::now();
        while stream.home() != home {
            assert!(back.elapsed() < Duration::from_secs(30), "the endpoint is not used again");
        }
        println!("JDK {jdk}: it is used again after {:?}", back.elapsed());
    }
    stream.stream.end_unharmed(&format!("JDK {jdk}, one of two endpoints away"));
}

/// Packets are lost and nothing is reset: what a pulled cable looks like.
#[test]
fn handshakes_go_on_when_the_packets_to_one_endpoint_are_lost() {
    let _turn = my_turn();
    let namespace = match Namespace::new(2) {
        Ok(namespace) => namespace,
        Err(reason) => {
            println!(
                "no network namespace can be made here ({reason}): the stalling proxy has to do"
            );
            return;
        }
    };
    let addresses = namespace.outside();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut stream =
        Outage::start_in(17, &Load::EC, &addresses, |command| namespace.inside(command));
    for _ in 0..2 {
        let home = stream.home();
        namespace.cut(home);
        let slowest = stream.watch(Duration::from_secs(4));
        stream.goes_on(20);
        namespace.mend(home);
        println!("64 threads, packets to one of two endpoints lost: slowest {slowest:.0} ms");
        let back = Instant::now();
        while stream.home() != home {
            assert!(back.elapsed() < Duration::from_secs(30), "the endpoint is not used again");
        }
    }
    stream.stream.end_unharmed("packets lost");
}

// ---- all of them ---------------------------------------------------------------------

#[test]
fn an_outage_shorter_than_a_calls_deadline_fails_no_handshake() {
    let _turn = my_turn();
    let mut stream = Outage::start(17, &Load::EC);
    for line in [Line::Refuses, Line::Stalls] {
        for proxy in &stream.proxies {
            proxy.set(line);
        }
        stream.watch(Duration::from_millis(2500));
        for proxy in &stream.proxies {
            proxy.set(Line::Forwards);
        }
        stream.goes_on(100);
    }
    stream.stream.end_unharmed("twice away for 2.5 s");
}

#[test]
fn while_all_are_away_no_thread_waits_for_longer_than_a_probe() {
    let _turn = my_turn();
    for line in [Line::Refuses, Line::Stalls] {
        let load = Load { more: &["--allow-failures"], ..Load::EC };
        let mut stream = Outage::start(17, &load);
        for proxy in &stream.proxies {
            proxy.set(line);
        }
        stream.watch(outage());
        let back = now();
        for proxy in &stream.proxies {
            proxy.set(Line::Forwards);
        }
        stream.goes_on(200);
        let (end, calls) = stream.end();
        let failed: Vec<&Call> = work(&calls).filter(|call| call.rv != "CKR_OK").collect();
        let given_up = failed.iter().min_by_key(|call| call.ended).unwrap();
        let first = given_up.ended;
        let expected = CALL - SLACK..CALL + Duration::from_secs(1);
        assert!(expected.contains(&given_up.took), "given up after {:?}", given_up.took);
        // How long each was blocked, from the first deadline on.
        let mut blocked: Vec<Duration> = work(&calls)
            .filter(|call| call.ended > first && call.ended < back)
            .map(|call| call.took.min(call.ended - first))
            .collect();
        blocked.sort();
        let most = *blocked.last().unwrap();
        let usual = blocked[blocked.len() * 95 / 100];
        // Who came a probe's time after it was back, or later.
        let late = failed.iter().filter(|call| call.ended - call.took > back + PROBE).count();
        println!(
            "{line:?} for {:?}: {} calls failed; blocked after the first deadline: 95 of 100 within \
             {usual:?}, the longest {most:?}; {late} calls failed that began {PROBE:?} after its \
             end; {} handshakes in all",
            outage(),
            failed.len(),
            end["done"]
        );
        assert!(usual <= PROBE, "{usual:?}");
        // What is usual is the contract; a busy machine may delay a few threads,
        // but none has waited as if nobody knew of the outage.
        assert!(most <= Duration::from_secs(3), "{most:?}");
        assert_eq!(late, 0);
        assert_eq!(calls.iter().filter(|call| call.function == "C_Login").count(), 2);
    }
}

/// C_Decrypt holds up garbage collection on this collector.
#[test]
fn an_outage_stops_no_thread_that_has_nothing_to_do_with_it() {
    let _turn = my_turn();
    for line in [Line::Refuses, Line::Stalls] {
        let load = Load {
            key: ("rsa2048", "rsa:2048"),
            suite: TLS_RSA,
            threads: 16,
            options: &["-XX:+UseParallelGC", "-Xmx96m"],
            more: &["--allow-failures", "--allocate"],
        };
        let mut stream = Outage::start(17, &load);
        let before = stream.progress()["stall-ms"].clone();
        for proxy in &stream.proxies {
            proxy.set(line);
        }
        stream.watch(outage());
        for proxy in &stream.proxies {
            proxy.set(Line::Forwards);
        }
        stream.goes_on(50);
        let (end, calls) = stream.end();
        let decryptions = calls.iter().filter(|call| call.function == "C_Decrypt");
        let slowest = decryptions.map(|call| call.took).max().unwrap();
        println!(
            "TLS_RSA under ParallelGC, {line:?} for {:?}: an allocating thread stood still for {} ms \
             at most ({before} before the outage); slowest C_Decrypt {slowest:?}; {} handshakes, {} \
             failed",
            outage(),
            end["stall-ms"],
            end["done"],
            end["failed"]
        );
        let stall: f64 = end["stall-ms"].parse().unwrap();
        assert!(stall <= 1200.0, "{stall} ms");
    }
}

// ---- a service that starts late, a login that has ended -----------------------------------

fn a_service_that_starts_after_the_jvm_is_waited_for(jdk: u32) {
    let mut node = Node::start(jdk, Plan::default());
    node.service.stop();
    let mut jvm = node.console();
    let away = jvm.tell(&format!("load {PIN}"));
    let waited: f64 = away["ms"].parse().unwrap();
    assert!(away["error"].contains("CKR_DEVICE_ERROR"), "{away:?}");
    assert!((4000.0..7000.0).contains(&waited), "{waited} ms");
    let log = node.log();
    assert!(log.contains(&node.service.endpoint) && log.contains("hint:"), "{log}");
    drop(jvm);

    let mut jvm = node.console();
    let service = &mut node.service;
    let loaded = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Late, and with time left for a busy machine.
            std::thread::sleep(Duration::from_millis(1500));
            service.resume();
        });
        jvm.ask(&format!("load {PIN}"))
    });
    println!("JDK {jdk}: gave up after {waited:.0} ms; loaded after {} ms", loaded["ms"]);
    assert!(loaded["ms"].parse::<f64>().unwrap() > 1000.0, "{loaded:?}");
    jvm.ask("tls");
    jvm.ask("handshake 1 TLSv1.3 TLS_AES_128_GCM_SHA256");
    jvm.finish();
}

fn a_changed_pin_and_a_revoked_identity_are_told_and_need_no_restart(jdk: u32) {
    const HANDSHAKE: &str = "handshake 1 TLSv1.3 TLS_AES_128_GCM_SHA256";
    let node = Node::start(jdk, Plan::default());
    let mut jvm = node.console();
    jvm.ask(&format!("load {PIN}"));
    jvm.ask("tls");
    jvm.ask(HANDSHAKE);

    let file = node.service.dir.path().join("new-pin");
    std::fs::write(&file, "87654321\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    node.service.admin(&["token", "set-pin", "node1", "--reset", "--new-pin-file", file]);
    let error = jvm.refused(HANDSHAKE);
    println!("JDK {jdk}: after a new PIN: {error}");
    assert!(node.log().contains("CKR_USER_NOT_LOGGED_IN"), "{}", node.log());
    let error = jvm.refused(&format!("load {PIN}"));
    assert!(error.contains("CKR_PIN_INCORRECT"), "{error}");
    jvm.ask("load 87654321");
    // The contexts of before work on.
    jvm.ask(HANDSHAKE);

    node.service.admin(&["identity", "revoke", "node", "--yes"]);
    let started = Instant::now();
    jvm.refused(HANDSHAKE);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let error = jvm.refused("load 87654321");
    println!("JDK {jdk}: after a revocation: {error}");
    assert!(node.log().contains("revoked"), "{}", node.log());
    let again = node.service.identity("again", &["node1"], &["--profile", "tls"]);
    for name in ["identity.pem", "identity.key"] {
        let from = again.with_file_name(name);
        run(Command::new("mv").arg(from).arg(node.config.with_file_name(name)));
    }
    // The login was the old one's, and somebody has to hear that first.
    jvm.refused("load 87654321");
    jvm.ask("load 87654321");
    jvm.ask(HANDSHAKE);
    jvm.finish();
}
