//! What COMMAND finds in its environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::failure::Failure;
use crate::terminal::quote;

/// What COMMAND finds in its environment. Paths are absolute.
pub struct Environment<'a> {
    pub config: &'a Path,
    pub module: Option<&'a Path>,
    pub token_label: &'a str,
    pub pin: &'a str,
    pub so_pin: &'a str,
    pub endpoint: &'a str,
    pub service_pid: Option<u32>,
    pub dir: &'a Path,
    pub admin_config: &'a Path,
}

impl Environment<'_> {
    /// Names and values.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let service_pid = self.service_pid.map(|pid| pid.to_string());
        [
            ("KEYWARD_CONFIG", Some(self.config.into())),
            (MODULE, self.module.map(Into::into)),
            ("KEYWARD_TOKEN_LABEL", Some(self.token_label.into())),
            ("KEYWARD_PIN", Some(self.pin.into())),
            ("KEYWARD_SO_PIN", Some(self.so_pin.into())),
            ("KEYWARD_ENDPOINT", Some(self.endpoint.into())),
            ("KEYWARD_SERVICE_PID", service_pid.map(Into::into)),
            ("KEYWARD_DIR", Some(self.dir.into())),
            ("KEYWARD_ADMIN_CONFIG", Some(self.admin_config.into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// The lines that set them in a POSIX shell.
    pub fn exports(&self) -> String {
        self.variables()
            .iter()
            .map(|(name, value)| format!("export {name}={}\n", quote(&value.to_string_lossy())))
            .collect()
    }
}

/// The absolute path of the PKCS#11 module: what the environment says, else
/// where it lies beside this program or in the system.
///
/// # Errors
/// If it is in none of these places.
pub fn module() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(MODULE) {
        let path = PathBuf::from(path);
        return path.canonicalize().map_err(|error| {
            Failure::new(format!("{MODULE} is {}: {error}", path.display())).into()
        });
    }
    let folder =
        std::env::current_exe()?.canonicalize()?.parent().map_or_else(PathBuf::new, Path::to_owned);
    let places = [
        folder.clone(),
        folder.join("../lib"),
        folder.join("../lib/keyward"),
        "/usr/local/lib".into(),
        "/usr/lib".into(),
        "/usr/lib64".into(),
    ];
    places.iter().find_map(|place| place.join(FILE).canonicalize().ok()).ok_or_else(|| {
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        Failure::new(format!("{FILE} is in none of {}", places.join(", ")))
            .hint(format!("build it with `cargo build --release`, or set {MODULE} to its path"))
            .into()
    })
}

const MODULE: &str = "KEYWARD_PKCS11_MODULE";
const FILE: &str = "libkeyward_pkcs11.so";
