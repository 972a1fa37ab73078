//! The PIN of an HSM.

use std::path::Path;

use keyward_hsm::PinSource;
use zeroize::Zeroizing;

use crate::files;

/// Reads it; a line break at the end is no part of it.
pub(crate) fn read(source: &PinSource) -> Result<Zeroizing<String>, String> {
    let (bytes, name) = match source {
        PinSource::Env(name) => {
            let value = std::env::var(name)
                .map_err(|_| format!("the environment variable {name} has no PIN"))?;
            (Zeroizing::new(value.into_bytes()), name.clone())
        }
        PinSource::File(path) => (file(path)?, path.display().to_string()),
        PinSource::Credential(name) => {
            let path = files::credential(name).map_err(|error| error.to_string())?;
            (file(&path)?, name.clone())
        }
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("the PIN in {name} is no text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("the PIN in {name} is empty"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    files::read_secret(path).map_err(|error| error.to_string())
}
