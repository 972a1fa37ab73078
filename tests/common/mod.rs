//! What the tests share: where things are, and a service of their own.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod alone;
pub mod etcd;
pub mod gate;
pub mod host;
pub mod jvm;
pub mod namespace;
pub mod outside;
pub mod ports;
pub mod proxy;
pub mod raw;
pub mod seeded;
pub mod softhsm;
pub mod stream;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use ports::free_port;

use self::etcd::Etcd;

/// PINs of the tokens that tests make.
pub const PIN: &str = "1234";
pub const SO_PIN: &str = "12345678";

/// Where cargo put this build.
pub fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// The library under test.
pub fn module() -> PathBuf {
    built("libkeyward_pkcs11.so")
}

/// The command `keyward`.
pub fn keyward() -> PathBuf {
    built("keyward")
}

fn built(name: &str) -> PathBuf {
    let path = target().join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --release` first", path.display());
    path
}

/// A service in a folder of its own, ended with this value.
pub struct Service {
    pub dir: TempDir,
    pub endpoint: String,
    child: Option<Child>,
    /// Options of `keyward token create`.
    token_options: &'static [&'static str],
}

impl Service {
    /// Makes and starts a service.
    pub fn start() -> Self {
        Self::made(&[])
    }

    /// The same with its store in etcd.
    pub fn on(etcd: &Etcd) -> Self {
        Self::made(&in_etcd(etcd))
    }

    /// The same with an HSM, called "main", in which all tokens have their keys.
    /// `section` is its part of the configuration.
    pub fn with_hsm(section: &str) -> Self {
        let mut service = Self::prepared(&[]);
        let config = service.path().join("keyward.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, format!("{text}\n{section}")).unwrap();
        service.token_options = &["--hsm", "main"];
        service.resume();
        service
    }

    /// One more replica of a service that is in etcd. Its administrator is the
    /// same, and asks this replica only.
    pub fn joined(&self, etcd: &Etcd) -> Self {
        let mut options = in_etcd(etcd);
        options.extend(["--join".into(), "--master-key".into()]);
        options.push(self.path().join("master.key").into());
        let replica = Self::made(&options);
        let admin = replica.path().join("admin");
        run(Command::new("cp").arg("-a").arg(self.path().join("admin")).arg(&admin));
        proxy::route(&admin.join("client.toml"), &[&replica.endpoint]);
        replica
    }

    fn made(options: &[OsString]) -> Self {
        let mut service = Self::prepared(options);
        service.resume();
        service
    }

    fn prepared(options: &[OsString]) -> Self {
        let scratch = target().join("tests");
        std::fs::create_dir_all(&scratch).unwrap();
        let dir = tempfile::tempdir_in(scratch).unwrap();
        let endpoint = format!("127.0.0.1:{}", free_port());
        let path = dir.path().join("service");
        run(Command::new(keyward())
            .args(["init", "--listen", &endpoint, "--dir"])
            .arg(&path)
            .args(options));
        Self { dir, endpoint, child: None, token_options: &[] }
    }

    /// The folder that `keyward init` made.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("service")
    }

    /// Starts the service again after [`Service::stop`] or [`Service::kill`].
    pub fn resume(&mut self) {
        assert!(self.child.is_none());
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("service.log"))
            .unwrap();
        let child = Command::new(keyward())
            // The pipe is closed when this process ends, however it does: no
            // service is left behind.
            .args(["serve", "--exit-with-stdin", "--config"])
            .arg(self.path().join("keyward.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(&self.endpoint).is_err() {
            assert!(Instant::now() < deadline, "the service did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the service as an operator does; it must exit with 0.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Ends the service without a word.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The number of the service's process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What the service has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("service.log")).unwrap_or_default()
    }

    /// Runs `keyward` as the administrator and gives back its standard output.
    pub fn admin(&self, arguments: &[&str]) -> String {
        run(self.admin_command().args(arguments))
    }

    /// `keyward` with the administrator's identity in its environment.
    pub fn admin_command(&self) -> Command {
        let mut command = Command::new(keyward());
        command.env("KEYWARD_ADMIN_CONFIG", self.path().join("admin/client.toml"));
        command
    }

    /// Makes a token that is opened with [`PIN`].
    pub fn token(&self, label: &str) {
        let create = ["token", "create", "--label", label, "--so-pin", SO_PIN, "--pin", PIN];
        self.admin(&[&create, self.token_options].concat());
    }

    /// Makes an identity for these tokens; gives back its `client.toml`.
    pub fn identity(&self, name: &str, tokens: &[&str], more: &[&str]) -> PathBuf {
        let out = self.dir.path().join(name);
        let mut command = self.admin_command();
        command.args(["identity", "create", name, "--endpoint", &self.endpoint]);
        for token in tokens {
            command.args(["--token", token]);
        }
        run(command.args(more).arg("--out").arg(&out));
        out.join("client.toml")
    }

    /// How often an operation was asked for on a token since the service
    /// started; "" for what concerns no token.
    pub fn count(&self, token: &str, operation: &str) -> u64 {
        self.counts(token).get(operation).map_or(0, |entry| entry["count"].as_u64().unwrap())
    }

    /// All operations of a token with their counts.
    pub fn counts(&self, token: &str) -> serde_json::Map<String, Value> {
        let status: Value = serde_json::from_str(&self.admin(&["status", "--json"])).unwrap();
        status["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["token"] == token)
            .map(|entry| entry["operations"].as_object().unwrap().clone())
            .unwrap_or_default()
    }
}

/// The options of `keyward init` for a store in etcd.
pub fn in_etcd(etcd: &Etcd) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["--store", "etcd", "--etcd-endpoints"].map(Into::into).into();
    options.push(etcd.endpoints().join(",").into());
    for (option, file) in [
        ("--etcd-authority", etcd.authority()),
        ("--etcd-certificate", etcd.certificate()),
        ("--etcd-private-key", etcd.private_key()),
    ] {
        options.extend([option.into(), file.into()]);
    }
    options
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a command, which must succeed, and gives back its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{:?}: {error}", command.get_program());
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A file in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
