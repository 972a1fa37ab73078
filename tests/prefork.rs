//! Hosts that initialise the module and fork: the children have it for
//! themselves, and nothing of them reaches their parent's connection.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::alone::output_within;
use common::host::Host;
use common::jvm::{make_node, pki};
use common::proxy::{Proxy, route};
use common::{PIN, Service, free_port, module, repository, run};

#[test]
fn the_parents_connection_gets_not_a_byte_from_its_children() {
    let host = Host::new();
    let proxy = Proxy::start(&host.service.endpoint);
    route(&host.config, &[&proxy.endpoint]);
    let program = r#"
ok("C_Initialize", None)
session = login()
key = find_key(session)
assert sign(session, key) == 0
print("signed", flush=True)
for end in (lambda: os._exit(0), lambda: sys.exit(0), lambda: ctypes.CDLL(None).exit(0)):
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        assert call("C_GetInfo", (c_ubyte * 256)()) == 0x190
        assert sign(session, key) == 0x190
        ok("C_Initialize", None)
        own = login()
        own_key = find_key(own)
        for _ in range(5):
            assert sign(own, own_key) == 0
        end()
    wait(child)
    print("child", flush=True)
    sys.stdin.readline()
    assert sign(session, key) == 0
    print("signed", flush=True)
"#;
    let mut child =
        host.command(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "signed");
    let parent = proxy.flows()[0].clone();
    for round in 1..=3 {
        let before = parent.bytes();
        input.write_all(b"\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "child");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(parent.bytes(), before, "a child has written to its parent's connection");
        assert!(!parent.ended(), "a child has closed its parent's connection");
        input.write_all(b"\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "signed");
        assert!(parent.bytes() > before, "the parent uses another connection");
        assert_eq!(proxy.flows().len(), 1 + round, "each child has one connection of its own");
    }
    assert!(child.wait().unwrap().success());
}

// ---- nginx ---------------------------------------------------------------------------

/// nginx with a key in the token, through OpenSSL's PKCS#11 engine. Ended with
/// this value.
struct Nginx {
    child: Child,
    folder: PathBuf,
    port: u16,
    ca: PathBuf,
}

impl Nginx {
    fn start(service: &Service, config: &Path, ca: &Path) -> Self {
        let folder = service.dir.path().join("web-server");
        std::fs::create_dir(&folder).unwrap();
        let port = free_port();
        let chain = service.dir.path().join("web.chain");
        let engine = format!("/usr/lib/{}-linux-gnu/engines-3/pkcs11.so", std::env::consts::ARCH);
        std::fs::write(
            folder.join("openssl.cnf"),
            format!(
                "openssl_conf = init\n[init]\nengines = engines\n[engines]\npkcs11 = pkcs11\n\
                 [pkcs11]\nengine_id = pkcs11\ndynamic_path = {engine}\nMODULE_PATH = {}\n\
                 init = 1\n",
                module().display()
            ),
        )
        .unwrap();
        std::fs::write(
            folder.join("nginx.conf"),
            format!(
                "daemon off;\nworker_processes 3;\npid nginx.pid;\nerror_log error.log info;\n\
                 env KEYWARD_CONFIG;\nenv OPENSSL_CONF;\nevents {{}}\nhttp {{\n\
                 access_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\n\
                 fastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n\
                 server {{\nlisten 127.0.0.1:{port} ssl;\nssl_protocols TLSv1.3;\n\
                 ssl_session_tickets off;\nssl_session_cache off;\n\
                 ssl_certificate {};\n\
                 ssl_certificate_key \"engine:pkcs11:pkcs11:token=web;object=web;type=private;pin-value={PIN}\";\n\
                 location / {{ return 200 \"$pid\\n\"; }}\n}}\n}}\n",
                chain.display()
            ),
        )
        .unwrap();
        let child = Command::new(nginx())
            // As root it would give its workers away to a user who may not
            // read the client's key.
            .args(["-e", "error.log", "-c", "nginx.conf", "-g", "user root;", "-p"])
            .arg(&folder)
            .env("KEYWARD_CONFIG", config)
            .env("OPENSSL_CONF", folder.join("openssl.cnf"))
            .spawn()
            .unwrap();
        let mut nginx = Self { child, folder, port, ca: ca.to_owned() };
        nginx.wait_for("it listens", |nginx| nginx.get().is_ok());
        nginx
    }

    /// The id of the worker that answered a new connection.
    fn get(&self) -> Result<u32, String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "10", "--cacert"]);
        command.arg(&self.ca).arg(format!("https://127.0.0.1:{}/", self.port));
        let output = output_within(&mut command, Duration::from_secs(20));
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse().map_err(|_| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn wait_for(&mut self, what: &str, there: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !there(self) {
            let log = std::fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "nginx has ended: {log}");
            assert!(Instant::now() < deadline, "{what}: not in time: {:?} {log}", self.get());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn reload(&self) {
        run(Command::new("kill").args(["-HUP", &self.child.id().to_string()]));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// The machine's nginx, or the one that tests/tools/install.sh has unpacked.
fn nginx() -> PathBuf {
    let own = repository("tests/.cache/nginx/usr/sbin/nginx");
    let known = [PathBuf::from("/usr/sbin/nginx"), own];
    known.into_iter().find(|path| path.exists()).expect("no nginx: run tests/tools/install.sh")
}

#[test]
fn nginx_serves_with_a_key_in_the_token_through_forks_and_reloads() {
    let mut service = Service::start();
    service.token("web");
    make_node(&service, &pki(), "web", "ec:p256");
    let config = service.identity("nginx", &["web"], &[]);
    let proxy = Proxy::start(&service.endpoint);
    route(&config, &[&proxy.endpoint]);
    let mut nginx = Nginx::start(&service, &config, &pki().join("root.pem"));
    // The master has read the key, before it forked.
    let master = proxy.flows()[0].clone();
    let idle = master.bytes();
    let mut workers = std::collections::BTreeSet::new();
    for _ in 0..30 {
        workers.insert(nginx.get().unwrap());
    }
    assert_eq!(master.bytes(), idle, "a worker has written to the master's connection");
    assert!(service.count("web", "sign") >= 30);
    println!("30 connections, {} workers, 0 failed", workers.len());

    // Reloads under load, and a restart of the service between them.
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let served = std::thread::scope(|scope| {
        let nginx = &nginx;
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = std::collections::BTreeSet::new();
                    while !over.load(Ordering::SeqCst) {
                        seen.insert(nginx.get().unwrap());
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                    seen
                })
            })
            .collect();
        let more = |count: u64| {
            let goal = done.load(Ordering::SeqCst) + count;
            let deadline = Instant::now() + Duration::from_secs(60);
            while done.load(Ordering::SeqCst) < goal {
                assert!(Instant::now() < deadline, "no connections are served");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        for _ in 0..3 {
            nginx.reload();
            more(30);
            service.stop();
            service.resume();
            more(10);
        }
        over.store(true, Ordering::SeqCst);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let fresh = served.iter().filter(|worker| !workers.contains(worker)).count();
    println!(
        "{} connections over 3 reloads and 3 restarts of the service, 0 failed",
        done.into_inner()
    );
    assert!(fresh > 0, "the same workers served on: {served:?}");
    nginx.wait_for("it still serves", |nginx| nginx.get().is_ok());
}
