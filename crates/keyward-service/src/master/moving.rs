//! A master key goes from one place to another: into the seal of a key in an HSM, out of it, from
//! one to the next. No store changes by that, and nothing is replaced.

use std::fs;
use std::path::{Path, PathBuf};

use keyward_crypto::hmac_sha256;
use keyward_hsm::{Hsm, HsmConfig};

use super::hsm::{self, Key};
use super::{Helper, Master, MasterKeyError, Means, Place, Sealed, plain, sealed};
use crate::config::Config;
use crate::files::{self, FileError};
use crate::id;
use crate::store::vault::Secret;

/// What a master key is to be sealed by.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name of the `[[hsm]]`; `None`: the only one.
    pub hsm: Option<String>,
    /// CKA_LABEL of the key, which is made if it is not there.
    pub key: String,
    /// How; `None`: as the key does, or AES-GCM if the HSM can.
    pub means: Option<Means>,
}

/// A master key that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Moved {
    /// Where it stands.
    pub file: PathBuf,
    /// See [`Shown::check`].
    pub check: String,
    /// Name of the HSM that seals it, how, and whether the key in the HSM was made for it.
    pub sealed: Option<(String, Sealed, bool)>,
}

/// What can be told of a master key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shown {
    /// Says whether two keys are the same and nothing else: 16 hexadecimal digits.
    pub check: String,
    /// The name of the HSM that unsealed it, and what stands beside it.
    pub sealed: Option<(String, Sealed)>,
}

/// Seals a master key in a new file; before that has its name, the HSM has opened it.
///
/// # Errors
/// [`MasterKeyError`]. There is no file then, and no key that was made for it.
pub fn seal(
    config: &Config,
    from: &Master,
    target: &Target,
    out: &Path,
) -> Result<Moved, MasterKeyError> {
    files::refuse_existing(out)?;
    let helper = config.helper(&chosen(&config.hsm, target.hsm.as_deref())?);
    let master = from.read()?;
    helper.have(async |hsm| {
        let key = hsm::key(hsm, &target.key, target.means).await?;
        match seal_in(hsm, &key, &master, out).await {
            Ok(sealed) => Ok(Moved {
                file: out.to_owned(),
                check: check(&master),
                sealed: Some((hsm.name().to_owned(), sealed, key.made)),
            }),
            Err(error) => {
                key.take_back(hsm).await;
                Err(error)
            }
        }
    })
}

async fn seal_in(
    hsm: &Hsm,
    key: &Key,
    master: &Secret,
    out: &Path,
) -> Result<Sealed, MasterKeyError> {
    let sealed = key.seal(hsm, master).await?;
    let draft = Draft::write(out, sealed.text().as_bytes())?;
    let again = self::sealed(&draft.place)?;
    if *hsm::unseal(hsm, &again, draft.place.name()).await? != **master {
        return Err(differs(draft.place.name()).into());
    }
    draft.publish(out)?;
    Ok(sealed)
}

/// Writes a master key as it is to a new file, that only its owner can read.
///
/// # Errors
/// [`MasterKeyError`]. There is no file then.
pub fn unseal(from: &Master, out: &Path) -> Result<Moved, MasterKeyError> {
    files::refuse_existing(out)?;
    let master = from.read()?;
    let draft = Draft::write(out, super::text(&master).as_bytes())?;
    if *plain(&draft.place)? != *master {
        return Err(differs(draft.place.name()).into());
    }
    draft.publish(out)?;
    Ok(Moved { file: out.to_owned(), check: check(&master), sealed: None })
}

/// Opens a master key and says of it what others may know.
///
/// # Errors
/// [`MasterKeyError`].
pub fn show(from: &Master) -> Result<Shown, MasterKeyError> {
    let master = from.read()?;
    let sealed = match &from.seal {
        Some(helper) => Some((helper.hsm.name.clone(), sealed(&from.place)?)),
        None => None,
    };
    Ok(Shown { check: check(&master), sealed })
}

impl Config {
    /// The master key that this configuration names.
    #[must_use]
    pub fn master(&self) -> Master {
        let seal = self.master_key.seal.as_ref();
        let hsm = seal.and_then(|seal| self.hsm.iter().find(|hsm| hsm.name == seal.hsm));
        Master::new(self.master_key.place.clone(), hsm.map(|hsm| self.helper(hsm)))
    }

    /// The master key in another file, sealed or not; an HSM of this configuration opens it.
    ///
    /// # Errors
    /// [`MasterKeyError::File`], [`MasterKeyError::Which`].
    pub fn master_in(&self, file: PathBuf) -> Result<Master, MasterKeyError> {
        if !Sealed::is_one(&files::beginning(&file)?) {
            return Ok(Master::file(file));
        }
        let place = Place::File(file);
        let text = sealed(&place)?;
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|it| it == value);
        let fits = |hsm: &&HsmConfig| is(&hsm.token, &text.token) && is(&hsm.serial, &text.serial);
        let fitting: Vec<_> = self.hsm.iter().filter(fits).cloned().collect();
        let among = if fitting.is_empty() { &self.hsm } else { &fitting };
        let hsm = chosen(among, None).map_err(|error| {
            let name = place.name().display();
            MasterKeyError::Which(format!("what opens {name} is not known: {error}"))
        })?;
        let helper = self.helper(&hsm);
        Ok(Master::new(place, Some(helper)))
    }

    fn helper(&self, hsm: &HsmConfig) -> Helper {
        Helper { hsm: hsm.clone(), worker: self.hsm_worker.clone() }
    }
}

/// The HSM with a name, or the only one.
fn chosen(hsms: &[HsmConfig], name: Option<&str>) -> Result<HsmConfig, MasterKeyError> {
    let which = match (name, hsms) {
        (None, [only]) => return Ok(only.clone()),
        (None, []) => "the configuration has no [[hsm]]; add the HSM to it".to_owned(),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|hsm| hsm.name.as_str()).collect();
            format!(
                "the configuration has several [[hsm]]: {}; --hsm says which is meant",
                names.join(", ")
            )
        }
        (Some(name), _) => match hsms.iter().find(|hsm| hsm.name == name) {
            Some(found) => return Ok(found.clone()),
            None => format!("the configuration has no [[hsm]] called {name:?}"),
        },
    };
    Err(MasterKeyError::Which(which))
}

fn check(master: &Secret) -> String {
    id::encode(&hmac_sha256(&**master, b"keyward: check value of a master key")[..8])
}

fn differs(path: &Path) -> FileError {
    FileError::content(path, "does not hold what was written; is the disk in order?")
}

/// A file without its name; it goes unless it gets that.
struct Draft {
    place: Place,
}

impl Draft {
    fn write(out: &Path, content: &[u8]) -> Result<Self, FileError> {
        let mut name = out.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        files::write_new(&path, content, files::SECRET)?;
        Ok(Self { place: Place::File(path) })
    }

    fn publish(self, out: &Path) -> Result<(), FileError> {
        files::publish(self.place.name(), out)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there any more if all went well.
        let _ = fs::remove_file(self.place.name());
    }
}
