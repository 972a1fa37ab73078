//! The client's config file, `client.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Everything that `client.toml` says. Paths are absolute once it is loaded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `IP:port` or `name:port` of each replica.
    pub endpoints: Vec<String>,
    /// The name that the service's certificate must carry.
    #[serde(default = "default_server_name")]
    pub server_name: String,
    /// PEM: the certificate authority of the service.
    pub authority: PathBuf,
    /// PEM: this client's certificate.
    pub certificate: PathBuf,
    /// PEM: this client's private key. Nobody else may be able to read it.
    pub private_key: PathBuf,
    /// How much of the token the module shows.
    #[serde(default)]
    pub profile: Profile,
    /// How long to wait.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Where and how much the module logs.
    #[serde(default)]
    pub log: Log,
    /// The slots, in the order of their ids.
    #[serde(default, rename = "slot")]
    pub slots: Vec<Slot>,
}

/// How much of the token the module shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Everything.
    #[default]
    Full,
    /// What a JVM needs for TLS and nothing that slows it down.
    Tls,
}

/// How long to wait, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// For a TCP connection and its TLS handshake.
    pub connect_ms: u64,
    /// For the answer to a request, before it is sent elsewhere.
    pub request_ms: u64,
    /// For a call of the host, repeats included.
    pub call_ms: u64,
    /// For C_Decrypt in profile `tls`: the JDK holds up garbage collection
    /// meanwhile.
    pub decrypt_ms: u64,
}

/// Where and how much the module logs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub level: Level,
    /// Appended to. Without it a level other than `off` logs to stderr.
    pub file: Option<PathBuf>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    #[default]
    Off,
    /// Each call that failed.
    Error,
    /// Each call.
    Trace,
}

/// One slot of the module.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The token's label.
    pub token: String,
    /// How the token is opened.
    #[serde(default)]
    pub login: Login,
    /// Whether the module may change the token.
    #[serde(default)]
    pub writable: bool,
    /// Whether hosts may start while the service is away.
    #[serde(default)]
    pub offline_start: Option<OfflineStart>,
}

/// How a token is shown to a host that starts while the service is away.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineStart {
    /// Where the snapshot is kept.
    pub file: PathBuf,
    /// How long a snapshot is good; the service may give it less.
    #[serde(default = "default_hours")]
    pub hours: u32,
}

/// How a token is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Login {
    /// C_Login with the user PIN.
    #[default]
    Pin,
    /// The certificate is enough.
    Certificate,
}

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// Not TOML, an unknown key, a value of the wrong type.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A private key that group or others can read.
    #[error("{path} holds a private key and others can read it; say: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

impl Config {
    /// Reads a config file. The files that it names are read when the first
    /// connection is made.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] and [`ConfigError::Invalid`].
    pub fn load(path: &Path) -> std::result::Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder)
            .map_err(|reason| ConfigError::Invalid { path: path.to_owned(), reason })
    }

    fn parse(text: &str, folder: &Path) -> std::result::Result<Self, String> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if config.endpoints.is_empty() {
            return Err("endpoints is empty: name at least one \"IP:port\"".to_owned());
        }
        for endpoint in &config.endpoints {
            let port = endpoint.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(format!("the endpoint {endpoint:?} is not \"IP:port\""));
            }
        }
        for (index, slot) in config.slots.iter().enumerate() {
            if config.slots[..index].iter().any(|other| other.token == slot.token) {
                return Err(format!("two slots name the token {:?}", slot.token));
            }
        }
        let kept = |slot: &Slot| slot.offline_start.as_ref().map(|start| start.file.clone());
        for (index, slot) in config.slots.iter().enumerate() {
            let Some(start) = &slot.offline_start else { continue };
            if slot.login == Login::Pin {
                return Err(format!(
                    "offline_start of the token {:?} needs login = \"certificate\": without the \
                     service nobody checks a PIN",
                    slot.token
                ));
            }
            if start.hours == 0 {
                return Err("offline_start with 0 hours is never good: leave it out".to_owned());
            }
            if config.slots[..index].iter().any(|other| kept(other) == kept(slot)) {
                return Err(format!("two slots keep their snapshots in {:?}", start.file));
            }
        }
        let deadlines = &config.deadlines;
        if [deadlines.connect_ms, deadlines.request_ms, deadlines.call_ms, deadlines.decrypt_ms]
            .contains(&0)
        {
            return Err("a deadline of 0 ms lets nothing succeed".to_owned());
        }
        for file in [&mut config.authority, &mut config.certificate, &mut config.private_key] {
            *file = folder.join(&file);
        }
        if let Some(file) = &mut config.log.file {
            *file = folder.join(&file);
        }
        for start in config.slots.iter_mut().filter_map(|slot| slot.offline_start.as_mut()) {
            start.file = folder.join(&start.file);
        }
        Ok(config)
    }
}

impl OfflineStart {
    /// How long a snapshot is good, in seconds.
    #[must_use]
    pub fn life(&self) -> u64 {
        u64::from(self.hours) * 3600
    }
}

impl Deadlines {
    pub(crate) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// For the answer to a request.
    #[must_use]
    pub fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    /// For a call of the host, repeats included.
    #[must_use]
    pub fn call(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    /// For C_Decrypt in profile `tls`.
    #[must_use]
    pub fn decrypt(&self) -> Duration {
        Duration::from_millis(self.decrypt_ms)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect_ms: 1_000, request_ms: 2_000, call_ms: 5_000, decrypt_ms: 1_000 }
    }
}

fn default_hours() -> u32 {
    24
}

fn default_server_name() -> String {
    "keyward".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &str = "authority = 'a'\ncertificate = 'c'\nprivate_key = '/k'\n";

    fn parse(text: &str) -> std::result::Result<Config, String> {
        Config::parse(&format!("{text}\n{FILES}"), Path::new("/etc/keyward"))
    }

    fn with_slots(slots: &str) -> String {
        format!("endpoints = ['h:1']\nslot = [{slots}]")
    }

    #[test]
    fn offline_start_has_a_file_beside_the_config_and_a_day() {
        let slot = "{ token = 'a', login = 'certificate', offline_start = { file = 'f' } }";
        let config = parse(&with_slots(slot)).unwrap();
        let start = config.slots[0].offline_start.as_ref().unwrap();
        assert_eq!((start.file.as_path(), start.hours), (Path::new("/etc/keyward/f"), 24));
        assert!(parse(&with_slots("{ token = 'a' }")).unwrap().slots[0].offline_start.is_none());
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse("endpoints = ['127.0.0.1:1']").unwrap();
        assert_eq!(config.authority, Path::new("/etc/keyward/a"));
        assert_eq!(config.private_key, Path::new("/k"));
        assert_eq!(config.profile, Profile::Full);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_sentence_that_names_it() {
        for (text, word) in [
            ("endpoints = []", "endpoints"),
            ("endpoints = ['127.0.0.1']", "127.0.0.1"),
            ("endpoints = ['127.0.0.1:0']", "127.0.0.1:0"),
            ("endpoints = ['h:1']\nendpoint = 'x'", "endpoint"),
            ("endpoints = ['h:1']\nprofile = 'fast'", "fast"),
            ("endpoints = ['h:1']\ndeadlines = { call_ms = 0 }", "deadline"),
            ("endpoints = ['h:1']\nslot = [{ token = 'a' }, { token = 'a' }]", "two slots"),
            (&with_slots("{ token = 'a', offline_start = { file = 'f' } }"), "checks a PIN"),
            (&with_slots("{ token = 'a', login = 'certificate', offline_start = {} }"), "file"),
            (
                &with_slots(
                    "{ token = 'a', login = 'certificate', offline_start = { file = 'f', hours = 0 } }",
                ),
                "0 hours",
            ),
            (
                &with_slots(
                    "{ token = 'a', login = 'certificate', offline_start = { file = 'f' } }, \
                     { token = 'b', login = 'certificate', offline_start = { file = 'f' } }",
                ),
                "two slots keep",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
