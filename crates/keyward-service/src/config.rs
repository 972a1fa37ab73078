//! `keyward.toml`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward_hsm::HsmConfig;
use serde::Deserialize;

use crate::files::{self, FileError};
use crate::master::MasterKey;

/// How a service runs. Paths are absolute or relative to the current folder:
/// [`Config::load`] has put the file's own folder before them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The address to accept connections on.
    pub listen: SocketAddr,
    /// The kind of store.
    #[serde(default)]
    pub store: StoreKind,
    /// The embedded store's file; empty with another store.
    #[serde(default)]
    pub data: PathBuf,
    /// Where etcd is, if that is the store.
    #[serde(default)]
    pub etcd: Option<Etcd>,
    /// PEM: the server's certificate.
    pub certificate: PathBuf,
    /// PEM: the private key to it.
    pub private_key: PathBuf,
    /// PEM: the certificate of the authority that identities must come from.
    pub authority: PathBuf,
    /// Where the master key comes from.
    pub master_key: MasterKey,
    /// What bounds the service's use of memory and processors.
    #[serde(default)]
    pub limits: Limits,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// What bounds the guessing of PINs.
    #[serde(default)]
    pub pins: Pins,
    /// The log.
    #[serde(default)]
    pub log: Log,
    /// HSMs that tokens may have their keys in.
    #[serde(default)]
    pub hsm: Vec<HsmConfig>,
    /// The program that holds an HSM's library, with its arguments: one that
    /// runs `keyward_hsm::worker::run`. Whoever runs the service sets it.
    #[serde(skip)]
    pub hsm_worker: Vec<OsString>,
}

/// The kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreKind {
    /// Embedded, one file.
    #[default]
    Redb,
    /// etcd, which many services share.
    Etcd,
}

/// Where etcd is, and who this service is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Etcd {
    /// `https://` addresses of its members.
    pub endpoints: Vec<String>,
    /// PEM: the certificate of the authority of etcd's servers.
    pub authority: PathBuf,
    /// PEM: the certificate that this service shows.
    pub certificate: PathBuf,
    /// PEM: the private key to it.
    pub private_key: PathBuf,
    /// What stands before all keys; ends in a slash.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// For one question to one member, in milliseconds.
    #[serde(default = "request_ms")]
    pub request_ms: u64,
    /// How long a service that starts waits for etcd, in seconds.
    #[serde(default = "start_s")]
    pub start_s: u64,
}

/// What bounds the service's use of memory and processors.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections at once.
    pub connections: usize,
    /// The most handshakes at once: of peers that have not shown yet who they
    /// are.
    pub handshakes: usize,
    /// The most requests under way on one connection.
    pub requests_per_connection: usize,
    /// The bytes of the requests under way on one connection, in KiB.
    pub request_kib_per_connection: usize,
    /// The bytes of all requests of more than 16 KiB, in MiB.
    pub request_mib: usize,
    /// The memory for inputs that are longer than a frame, in MiB: three times
    /// what they are long. One identity gets half of it.
    pub input_mib: usize,
    /// The most requests that wait for a processor.
    pub queue: usize,
    /// Threads for private-key work; 0: as many as there are processors.
    pub workers: usize,
}

/// How long things may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Deadlines {
    /// For the TLS handshake, in milliseconds.
    pub handshake_ms: u64,
    /// How long a connection may be silent, in seconds; 0: for ever.
    pub idle_s: u64,
    /// For a peer to take an answer, in milliseconds.
    pub write_ms: u64,
    /// For a request that does not say how long it waits, in milliseconds.
    pub request_ms: u64,
    /// For what is under way when the service stops, in milliseconds.
    pub drain_ms: u64,
    /// The life of a ticket's access part, in seconds.
    pub access_s: u64,
    /// The longest that a client may show what a token shows without asking the
    /// service, in hours; 0: not at all.
    pub snapshot_h: u64,
}

/// What bounds the guessing of PINs.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Pins {
    /// The wrong PINs after which an identity is locked out of a token.
    pub tries: u32,
    /// The longest that the answer to a wrong PIN is held back, in milliseconds.
    pub backoff_ms: u64,
}

/// The log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, as "info" or "keyward_service=debug"; empty: "info".
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file does not say what it should.
    #[error("{path} is no valid configuration: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError::File`] if it cannot be read, [`ConfigError::Invalid`] if
    /// a key is missing, not known, or has a value that makes no sense.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let invalid = |problem: String| ConfigError::Invalid { path: path.to_owned(), problem };
        let content = files::read(path)?;
        let text = std::str::from_utf8(&content)
            .map_err(|_| invalid("it is not UTF-8 text".to_owned()))?;
        let mut config: Self =
            toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end().into()))?;
        for (key, value) in [
            ("limits.connections", config.limits.connections),
            ("limits.handshakes", config.limits.handshakes),
            ("limits.requests_per_connection", config.limits.requests_per_connection),
            ("limits.request_kib_per_connection", config.limits.request_kib_per_connection),
            ("limits.request_mib", config.limits.request_mib),
            ("limits.queue", config.limits.queue),
            ("pins.tries", config.pins.tries as usize),
        ] {
            if value == 0 {
                return Err(invalid(format!("{key} is 0; it must be at least 1")));
            }
        }
        config.check_store().map_err(invalid)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let etcd = config
            .etcd
            .iter_mut()
            .flat_map(|etcd| [&mut etcd.authority, &mut etcd.certificate, &mut etcd.private_key]);
        let own = [&mut config.certificate, &mut config.private_key, &mut config.authority];
        for file in own.into_iter().chain(etcd) {
            *file = folder.join(&*file);
        }
        if config.store == StoreKind::Redb {
            config.data = folder.join(&config.data);
        }
        for hsm in &mut config.hsm {
            hsm.complete(folder).map_err(invalid)?;
        }
        let mut names: Vec<_> = config.hsm.iter().map(|hsm| hsm.name.as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(format!("two hsm are called {name:?}")));
        }
        config.master_key.complete(folder, &config.hsm).map_err(invalid)?;
        Ok(config)
    }
}

impl Config {
    /// What the store is, for a person: its file, or etcd's members.
    pub(crate) fn store_name(&self) -> String {
        match &self.etcd {
            Some(etcd) => etcd.name(),
            None => self.data.display().to_string(),
        }
    }

    /// Whether what is said of the store goes together.
    fn check_store(&self) -> Result<(), String> {
        let problem = match (self.store, &self.etcd) {
            (StoreKind::Redb, None) if self.data.as_os_str().is_empty() => {
                "data is missing: the file of the store \"redb\""
            }
            (StoreKind::Redb, None) => return Ok(()),
            (StoreKind::Redb, Some(_)) => {
                "there is a section [etcd], and the store is \"redb\"; write store = \"etcd\", or \
                 take the section out"
            }
            (StoreKind::Etcd, None) => {
                "the store is \"etcd\", and the section [etcd] that says where it is is missing"
            }
            (StoreKind::Etcd, Some(_)) if !self.data.as_os_str().is_empty() => {
                "data is the file of the store \"redb\", and the store is \"etcd\"; take data out"
            }
            (StoreKind::Etcd, Some(etcd)) => return etcd.check(),
        };
        Err(problem.to_owned())
    }
}

impl Etcd {
    /// etcd with the usual prefix and deadlines.
    #[must_use]
    pub fn new(
        endpoints: Vec<String>,
        authority: PathBuf,
        certificate: PathBuf,
        private_key: PathBuf,
    ) -> Self {
        Self {
            endpoints,
            authority,
            certificate,
            private_key,
            prefix: prefix(),
            request_ms: request_ms(),
            start_s: start_s(),
        }
    }

    /// Whether the values make sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.endpoints.is_empty() {
            return Err("etcd.endpoints names no member of etcd".to_owned());
        }
        for endpoint in &self.endpoints {
            let host = endpoint.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
            if !host.is_some_and(is_host_and_port) {
                return Err(format!(
                    "etcd.endpoints: {endpoint:?} is not of the form \"https://HOST:PORT\"; etcd \
                     is reached over TLS only"
                ));
            }
        }
        let fine = |byte: u8| byte.is_ascii_graphic();
        if !self.prefix.ends_with('/') || !self.prefix.bytes().all(fine) {
            return Err(format!(
                "etcd.prefix: {:?} must be printable characters without blanks that end in a \
                 slash, as \"/keyward/\"",
                self.prefix
            ));
        }
        for (key, value) in [("etcd.request_ms", self.request_ms), ("etcd.start_s", self.start_s)] {
            if value == 0 {
                return Err(format!("{key} is 0; it must be at least 1"));
            }
        }
        Ok(())
    }

    /// The members and the prefix, for a person.
    pub(crate) fn name(&self) -> String {
        format!("{} of etcd at {}", self.prefix, self.endpoints.join(", "))
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    pub(crate) fn start(&self) -> Duration {
        Duration::from_secs(self.start_s)
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(['/', '@', '?', ' '])
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn prefix() -> String {
    "/keyward/".to_owned()
}

fn request_ms() -> u64 {
    1_000
}

fn start_s() -> u64 {
    120
}

impl Deadlines {
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    pub(crate) fn idle(&self) -> Option<Duration> {
        (self.idle_s > 0).then(|| Duration::from_secs(self.idle_s))
    }

    pub(crate) fn write(&self) -> Duration {
        Duration::from_millis(self.write_ms)
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    pub(crate) fn access(&self) -> Duration {
        Duration::from_secs(self.access_s)
    }

    pub(crate) fn snapshot(&self) -> Duration {
        Duration::from_secs(self.snapshot_h.saturating_mul(3600))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 256,
            requests_per_connection: 64,
            request_kib_per_connection: 2048,
            request_mib: 256,
            input_mib: 256,
            queue: 4096,
            workers: 0,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake_ms: 5_000,
            idle_s: 0,
            write_ms: 10_000,
            request_ms: 30_000,
            drain_ms: 10_000,
            access_s: 300,
            snapshot_h: 72,
        }
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self { tries: 10, backoff_ms: 1_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
listen = "127.0.0.1:7512"
data = "store.redb"
certificate = "server.pem"
private_key = "server.key"
authority = "/etc/ca.pem"
master_key = { file = "master.key" }
"#;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyward.toml");
        std::fs::write(&path, text).unwrap();
        let mut config = Config::load(&path)?;
        assert_eq!(config.data, folder.path().join("store.redb"));
        config.data = "store.redb".into();
        Ok(config)
    }

    #[test]
    fn paths_are_relative_to_the_file_and_defaults_filled_in() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.authority, Path::new("/etc/ca.pem"));
        assert_eq!(config.limits.requests_per_connection, 64);
        assert_eq!(config.pins.tries, 10);
    }

    fn with_etcd(section: &str) -> String {
        let files = "authority = \"ca.pem\"\ncertificate = \"c.pem\"\nprivate_key = \"c.key\"\n";
        let plain = LEAST.replace("data = \"store.redb\"", "store = \"etcd\"");
        format!("{plain}\n[etcd]\n{files}{section}\n")
    }

    #[test]
    fn etcd_is_named_by_its_members_and_files() {
        let text =
            with_etcd("endpoints = [\"https://a.example.org:2379\", \"https://[::1]:2379\"]");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyward.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.store, StoreKind::Etcd);
        assert_eq!(config.data, Path::new(""));
        let etcd = config.etcd.unwrap();
        assert_eq!(etcd.certificate, folder.path().join("c.pem"));
        assert_eq!(
            (etcd.prefix.as_str(), etcd.request_ms, etcd.start_s),
            ("/keyward/", 1_000, 120)
        );
    }

    #[test]
    fn what_is_wrong_about_etcd_is_named() {
        let members = "endpoints = [\"https://a:2379\"]";
        let cases = [
            (with_etcd("endpoints = []"), "endpoints names no member"),
            (with_etcd("endpoints = [\"http://a:2379\"]"), "https://HOST:PORT"),
            (with_etcd("endpoints = [\"https://a\"]"), "https://HOST:PORT"),
            (with_etcd(""), "endpoints"),
            (with_etcd(&format!("{members}\nprefix = \"keyward\"")), "slash"),
            (with_etcd(&format!("{members}\nrequest_ms = 0")), "etcd.request_ms"),
            (with_etcd(&format!("{members}\nendpoint = 1")), "endpoint"),
            (with_etcd(members).replace("store = \"etcd\"", "data = \"s\""), "section [etcd]"),
            (
                with_etcd(members).replace("store = \"etcd\"", "store = \"etcd\"\ndata = \"s\""),
                "data",
            ),
            (LEAST.replace("data = \"store.redb\"", "store = \"etcd\""), "section [etcd]"),
            (LEAST.replace("data = \"store.redb\"", ""), "data is missing"),
        ];
        for (text, named) in cases {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    const HSM: &str = "[[hsm]]\nlibrary = 'a.so'\ntoken = 't'\npin.file = 'pin'\nname = ";

    fn sealed(more: &str, hsms: &str) -> String {
        let seal = format!("seal = \"pkcs11\", file = \"m.sealed\"{more}");
        LEAST.replace("file = \"master.key\"", &seal) + hsms
    }

    #[test]
    fn a_sealed_master_key_names_its_hsm() {
        let one = format!("{HSM}'a'\n");
        let two = format!("{one}{HSM}'b'\n");
        for (more, hsms, named, start_s) in
            [("", &one, "a", 60), (", hsm = \"b\", start_s = 5", &two, "b", 5)]
        {
            let config = load(&sealed(more, hsms)).unwrap();
            let seal = config.master_key.seal.unwrap();
            assert_eq!((seal.hsm.as_str(), seal.start_s), (named, start_s));
        }
        let cases = [
            (sealed("", ""), "no [[hsm]]"),
            (sealed("", &two), "master_key.hsm is missing"),
            (sealed(", hsm = \"c\"", &two), "called \"c\""),
            (sealed(", start_s = 0", &one), "start_s"),
            (sealed(", credential = \"m\"", &one), "not both"),
            (sealed("", &one).replace("pkcs11", "tpm"), "tpm"),
            (LEAST.replace("\"master.key\"", "\"m\", hsm = \"a\"") + &one, "go with seal"),
        ];
        for (text, named) in cases {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (format!("{LEAST}\nlimit = 3"), "limit"),
            (format!("{LEAST}\n[limits]\nconections = 3"), "conections"),
            (format!("{LEAST}\n[limits]\nqueue = 0"), "limits.queue"),
            (format!("{LEAST}\n[limits]\nhandshakes = 0"), "limits.handshakes"),
            (LEAST.replace("file =", "fiel ="), "fiel"),
            (LEAST.replace("{ file = \"master.key\" }", "{ credential = \"../x\" }"), "../x"),
            (LEAST.replace("listen", "# listen"), "listen"),
            (LEAST.replace("127.0.0.1:7512", "localhost"), "listen"),
        ];
        for (text, named) in cases {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
