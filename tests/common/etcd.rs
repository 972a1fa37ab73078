//! A real etcd for tests: as many members as wanted on free loopback ports, over
//! TLS with client certificates, in a temporary folder. It ends with the test,
//! whatever becomes of that.
//!
//! ```ignore
//! let etcd = Etcd::start(3);                 // waits until it has a leader
//! etcd.endpoints();                          // ["https://127.0.0.1:40001", ...]
//! etcd.authority();                          // PEM files for [etcd] in keyward.toml
//! etcd.certificate();                        // and for `keyward init --etcd-...`
//! etcd.private_key();
//! let leader = etcd.leader().unwrap();       // the place of a member, 0..3
//! etcd.kill(leader);                         // kill -9; its data stays
//! etcd.start_again(leader);
//! etcd.freeze(0); etcd.thaw(0);              // SIGSTOP, SIGCONT
//! etcd.wait_for_leader();                    // with a deadline
//! etcd.compact();                            // forgets all history
//! etcd.ctl(&["get", "--prefix", "/keyward/", "--keys-only"]);
//! let etcd = Etcd::shared();                 // one member for a whole test program
//! ```
//!
//! Each store takes a prefix of its own: one etcd serves many tests. The programs
//! etcd and etcdctl are Debian's etcd-server and etcd-client; other ones can be
//! named by KEYWARD_TEST_ETCD and KEYWARD_TEST_ETCDCTL. Include this file with
//! `#[path]`; the crate needs rcgen and tempfile.

#[allow(clippy::duplicate_mod, reason = "this file is included where the other may be, too")]
#[path = "ports.rs"]
mod ports;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

/// A running etcd.
pub struct Etcd {
    folder: tempfile::TempDir,
    members: Vec<Member>,
}

struct Member {
    client: u16,
    peer: u16,
    process: Mutex<Option<Child>>,
}

impl Etcd {
    /// Starts so many members and waits until they have a leader.
    pub fn start(count: usize) -> Self {
        // A port that was free may be taken when etcd comes to it.
        for _ in 0..3 {
            let etcd = Self::new(count);
            for place in 0..count {
                etcd.start_again(place);
            }
            if etcd.has_leader_within(DEADLINE) {
                return etcd;
            }
            eprintln!("{}", etcd.logs());
        }
        panic!("etcd does not start; its log is above");
    }

    /// The one of this test program, of one member.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Etcd> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(1))
    }

    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_certificates(folder.path());
        let ports: Vec<_> = (0..2 * count).map(|_| ports::free_port()).collect();
        let members = ports
            .chunks(2)
            .map(|pair| Member { client: pair[0], peer: pair[1], process: Mutex::default() })
            .collect();
        Self { folder, members }
    }

    /// The members' addresses.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| url(member.client)).collect()
    }

    /// PEM: the authority that signed the members' certificates.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// PEM: a client's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("client.pem")
    }

    /// PEM: the key to it.
    pub fn private_key(&self) -> PathBuf {
        self.folder.path().join("client.key")
    }

    /// Kills a member, as a machine that loses its power.
    pub fn kill(&self, place: usize) {
        if let Some(mut child) = self.members[place].process.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a member that was killed.
    pub fn start_again(&self, place: usize) {
        let path = |name: &str| self.folder.path().join(name);
        let member = &self.members[place];
        let cluster: Vec<_> = self
            .members
            .iter()
            .enumerate()
            .map(|(place, member)| format!("m{place}={}", url(member.peer)))
            .collect();
        let log = File::options().create(true).append(true).open(path("log")).unwrap();
        let mut command = Command::new("setpriv");
        command
            // Ends with the thread that starts it, and that ends with the tests.
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program("KEYWARD_TEST_ETCD", "etcd"))
            .args(["--name", &format!("m{place}"), "--data-dir"])
            .arg(path(&format!("m{place}")))
            .args(["--listen-client-urls", &url(member.client)])
            .args(["--advertise-client-urls", &url(member.client)])
            .args(["--listen-peer-urls", &url(member.peer)])
            .args(["--initial-advertise-peer-urls", &url(member.peer)])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--client-cert-auth", "--peer-client-cert-auth", "--trusted-ca-file"])
            .arg(path("ca.pem"))
            .arg("--peer-trusted-ca-file")
            .arg(path("ca.pem"));
        for (option, name) in [("cert-file", "server.pem"), ("key-file", "server.key")] {
            command.arg(format!("--{option}")).arg(path(name));
            command.arg(format!("--peer-{option}")).arg(path(name));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        *member.process.lock().unwrap() = Some(spawn(command));
    }

    /// Stops a member in the middle of what it does, its connections open.
    pub fn freeze(&self, place: usize) {
        self.signal(place, "STOP");
    }

    /// Lets a member go on that was frozen.
    pub fn thaw(&self, place: usize) {
        self.signal(place, "CONT");
    }

    /// The place of the member that leads, as the members that answer say.
    pub fn leader(&self) -> Option<usize> {
        // One by one: a frozen member must not hide what another one says.
        (0..self.members.len()).find(|place| {
            let status = self.run(&["endpoint", "status"], &[*place], Duration::from_secs(2));
            // endpoint, id, version, size, leads, learner, term, index, ...
            String::from_utf8_lossy(&status.stdout).split(", ").nth(4) == Some("true")
        })
    }

    /// Waits until a member leads and the others agree; answers its place.
    pub fn wait_for_leader(&self) -> usize {
        assert!(self.has_leader_within(DEADLINE), "no leader\n{}", self.logs());
        self.leader().unwrap()
    }

    /// Forgets what the keys were before now.
    pub fn compact(&self) {
        let found = self.ctl(&["get", "none", "--write-out", "fields"]);
        let revision = found
            .lines()
            .find_map(|line| line.strip_prefix("\"Revision\" : "))
            .unwrap()
            .trim()
            .to_owned();
        self.ctl(&["compact", &revision]);
    }

    /// Runs etcdctl, which must succeed; answers what it prints.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let all: Vec<_> = (0..self.members.len()).collect();
        let output = self.run(arguments, &all, Duration::from_secs(10));
        assert!(
            output.status.success(),
            "etcdctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        // Values need not be text.
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the members logged last.
    pub fn logs(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }

    fn has_leader_within(&self, patience: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < patience {
            // A read that most members must agree to.
            let all: Vec<_> = (0..self.members.len()).collect();
            let read = self.run(&["get", "none"], &all, Duration::from_secs(2));
            if read.status.success() && self.leader().is_some() {
                return true;
            }
            sleep(Duration::from_millis(100));
        }
        false
    }

    fn run(&self, arguments: &[&str], places: &[usize], patience: Duration) -> Output {
        let endpoints: Vec<_> =
            places.iter().map(|place| url(self.members[*place].client)).collect();
        let timeout = format!("{}ms", patience.as_millis());
        Command::new(program("KEYWARD_TEST_ETCDCTL", "etcdctl"))
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoints.join(","), "--cacert"])
            .arg(self.authority())
            .arg("--cert")
            .arg(self.certificate())
            .arg("--key")
            .arg(self.private_key())
            .args(["--dial-timeout", &timeout, "--command-timeout", &timeout])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("etcdctl is not there; tests/tools/install.sh installs it")
    }

    fn signal(&self, place: usize, signal: &str) {
        let process = self.members[place].process.lock().unwrap();
        let id = process.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for place in 0..self.members.len() {
            self.kill(place);
        }
    }
}

/// Starts a process whose parent thread lives as long as the test program.
fn spawn(command: Command) -> Child {
    type Job = (Command, Sender<Child>);
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                let started = command.spawn();
                let child = started.expect("etcd is not there; tests/tools/install.sh installs it");
                answer.send(child).unwrap();
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = channel();
    spawner.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap()
}

fn write_certificates(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "etcd authority");
    let authority = params.self_signed(&key).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
        // A member is also a client of the others.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        let path = folder.join(format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn program(variable: &str, usual: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from)
}

const DEADLINE: Duration = Duration::from_secs(30);
