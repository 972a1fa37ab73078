//! How an HSM is reached: a `[[hsm]]` of `keyward.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

/// How an HSM is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HsmConfig {
    /// What tokens of the service call it.
    pub name: String,
    /// Its PKCS#11 library. The system's loader looks for a name without a slash.
    #[serde(rename = "library")]
    pub module: PathBuf,
    /// The label of the token in it.
    #[serde(default)]
    pub token: Option<String>,
    /// The serial number of the token in it.
    #[serde(default)]
    pub serial: Option<String>,
    /// Where the user's PIN comes from.
    pub pin: PinSource,
    /// How many sessions are open, and so how many operations run at once.
    #[serde(default = "sessions")]
    pub sessions: usize,
    /// For an operation, in milliseconds; a worker that takes longer is ended.
    #[serde(default = "call_ms")]
    pub call_ms: u64,
    /// For the generation of a key pair, in milliseconds; likewise.
    #[serde(default = "generate_ms")]
    pub generate_ms: u64,
    /// For the library to start and log in, in milliseconds; likewise.
    #[serde(default = "start_ms")]
    pub start_ms: u64,
    /// Variables that the library wants, such as the path of its own
    /// configuration.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// Where a PIN comes from. A line break at the end is no part of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinSource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// An environment variable of the service.
    Env(String),
    /// A systemd credential of this name (`LoadCredential=`).
    Credential(String),
}

/// Reads a PIN from its source: the service knows what it may read. The error is a sentence.
pub type ReadPin = fn(&PinSource) -> Result<Zeroizing<String>, String>;

impl HsmConfig {
    /// Puts `folder` before relative paths, and checks what is said.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub fn complete(&mut self, folder: &Path) -> Result<(), String> {
        let name = &self.name;
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fine) {
            return Err(format!(
                "hsm.name: {name:?} must be 1 to 32 letters, digits, dots, hyphens or underscores"
            ));
        }
        if self.token.is_none() && self.serial.is_none() {
            return Err(format!("hsm {name:?}: token or serial must say which token it is"));
        }
        if !(1..=MOST_SESSIONS).contains(&self.sessions) {
            return Err(format!("hsm {name:?}: sessions must be 1 to {MOST_SESSIONS}"));
        }
        for (key, value) in [
            ("call_ms", self.call_ms),
            ("generate_ms", self.generate_ms),
            ("start_ms", self.start_ms),
        ] {
            if value == 0 {
                return Err(format!("hsm {name:?}: {key} is 0; it must be at least 1"));
            }
        }
        if self.module.components().count() > 1 {
            self.module = folder.join(&self.module);
        }
        if let PinSource::File(file) = &mut self.pin {
            *file = folder.join(&*file);
        }
        Ok(())
    }

    pub(crate) fn call(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    pub(crate) fn generate(&self) -> Duration {
        Duration::from_millis(self.generate_ms)
    }

    /// For the library to start and log in.
    #[must_use]
    pub fn start(&self) -> Duration {
        Duration::from_millis(self.start_ms)
    }
}

/// More than any library is known to like.
const MOST_SESSIONS: usize = 256;

fn sessions() -> usize {
    4
}

fn call_ms() -> u64 {
    3_000
}

fn generate_ms() -> u64 {
    120_000
}

fn start_ms() -> u64 {
    20_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<HsmConfig, String> {
        let mut config: HsmConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.complete(Path::new("/etc/keyward")).map(|()| config)
    }

    const LEAST: &str = "name = 'main'\nlibrary = 'lib/hsm.so'\ntoken = 't'\npin.file = 'pin'\n";

    #[test]
    fn paths_are_the_configurations_own() {
        let config = config(LEAST).unwrap();
        assert_eq!(config.module, Path::new("/etc/keyward/lib/hsm.so"));
        assert!(
            matches!(config.pin, PinSource::File(file) if file == Path::new("/etc/keyward/pin"))
        );
        assert_eq!(config.sessions, 4);
    }

    #[test]
    fn a_librarys_bare_name_is_for_the_loader() {
        let config = config(&LEAST.replace("lib/hsm.so", "hsm.so")).unwrap();
        assert_eq!(config.module, Path::new("hsm.so"));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (from, to, told) in [
            ("token = 't'", "", "which token"),
            ("'main'", "'a b'", "hsm.name"),
            ("token = 't'", "token = 't'\nsessions = 0", "sessions"),
            ("token = 't'", "token = 't'\ncall_ms = 0", "call_ms"),
            ("pin.file = 'pin'", "pin.word = 'pin'", "unknown variant"),
        ] {
            let problem = config(&LEAST.replace(from, to)).map(drop).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }
}
