//! `keyward.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::id;
use crate::store::vault::Secret;

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
    /// The store's file.
    pub data: PathBuf,
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
}

/// The kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreKind {
    /// Embedded, one file.
    #[default]
    Redb,
}

/// Where the master key comes from: 64 hexadecimal digits, whatever holds them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MasterKey {
    /// A file that only its owner can read.
    File(PathBuf),
    /// A systemd credential of this name (`LoadCredential=`).
    Credential(String),
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
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [
            &mut config.data,
            &mut config.certificate,
            &mut config.private_key,
            &mut config.authority,
        ] {
            *file = folder.join(&*file);
        }
        match &mut config.master_key {
            MasterKey::File(file) => *file = folder.join(&*file),
            MasterKey::Credential(name) => {
                if !is_file_name(name) {
                    return Err(invalid(format!("master_key.credential: {name:?} is no name")));
                }
            }
        }
        Ok(config)
    }
}

impl Config {
    /// What the store is, for a person.
    pub(crate) fn store_name(&self) -> String {
        self.data.display().to_string()
    }
}

impl MasterKey {
    /// The key.
    pub(crate) fn read(&self) -> Result<Secret, FileError> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => files::credentials()
                .ok_or_else(|| {
                    FileError::content(
                        Path::new(name),
                        "is to come from a systemd credential, and there is none: is the service \
                         started by a unit with LoadCredential=?",
                    )
                })?
                .join(name),
        };
        let content = files::read_secret(&path)?;
        std::str::from_utf8(&content)
            .ok()
            .and_then(|text| id::decode(text.trim()).map(Zeroizing::new))
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .map(Zeroizing::new)
            .ok_or_else(|| {
                FileError::content(
                    &path,
                    "is no master key: it must hold 64 hexadecimal digits and nothing else",
                )
            })
    }

    /// The file, or the credential's name.
    pub(crate) fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Credential(name) => Path::new(name),
        }
    }
}

fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(name.as_ref())
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 256,
            requests_per_connection: 64,
            request_kib_per_connection: 2048,
            request_mib: 256,
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
