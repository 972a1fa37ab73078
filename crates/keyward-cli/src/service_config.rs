//! keyward.toml, for those who run a service or read its files.

use std::path::Path;

use keyward_service::config::Config;

use crate::failure::Failure;

/// Reads a service's configuration; this program holds the libraries of its HSMs.
///
/// # Errors
/// If it cannot be read, or says something wrong.
pub fn load(path: &Path) -> Result<Config, Failure> {
    let mut config = Config::load(path).map_err(|error| Failure::from_error(&error))?;
    // Of this very version, even if another was installed since.
    config.hsm_worker = vec!["/proc/self/exe".into(), "hsm-worker".into()];
    Ok(config)
}

/// Where `keyward init --dir /etc/keyward` puts it.
pub const PATH: &str = "/etc/keyward/keyward.toml";
