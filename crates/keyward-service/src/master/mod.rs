//! The master key: where it comes from, and how a key in an HSM seals it.
//!
//! It is 64 hexadecimal digits in a file or a systemd credential, or a text
//! ([`sealed`]) with the same key, encrypted by a key that never leaves an HSM.

mod error;
mod hsm;
mod moving;
mod sealed;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyward_hsm::{Hsm, HsmConfig};
use keyward_token::Attributes;
use serde::Deserialize;
use zeroize::Zeroizing;

pub use self::error::MasterKeyError;
pub use self::hsm::Means;
pub use self::moving::{Moved, Shown, Target, seal, show, unseal};
pub use self::sealed::Sealed;
use crate::files::{self, FileError};
use crate::hsm_pin;
use crate::id;
use crate::runtime;
use crate::store::vault::Secret;

/// Where the master key comes from, as `keyward.toml` says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Fields")]
#[non_exhaustive]
pub struct MasterKey {
    /// What holds it.
    pub place: Place,
    /// What it is sealed by there; `None`: nothing.
    pub seal: Option<Seal>,
}

/// What holds a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file; one that only its owner can read, unless the key is sealed.
    File(PathBuf),
    /// A systemd credential of this name (`LoadCredential=`).
    Credential(String),
}

/// `seal = "pkcs11"`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seal {
    /// The name of the `[[hsm]]`; never empty once [`MasterKey::complete`] was called.
    pub hsm: String,
    /// How long a service that starts waits for the HSM, in seconds.
    pub start_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    file: Option<PathBuf>,
    credential: Option<String>,
    seal: Option<SealKind>,
    hsm: Option<String>,
    start_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SealKind {
    Pkcs11,
}

impl TryFrom<Fields> for MasterKey {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let place = match (fields.file, fields.credential) {
            (Some(file), None) => Place::File(file),
            (None, Some(name)) => Place::Credential(name),
            _ => return Err("master_key needs a file or a credential, and not both"),
        };
        let seal = match (fields.seal, fields.hsm, fields.start_s) {
            (None, None, None) => None,
            (None, _, _) => return Err("hsm and start_s in master_key go with seal = \"pkcs11\""),
            (Some(_), _, Some(0)) => return Err("master_key.start_s is 0; it must be at least 1"),
            (Some(SealKind::Pkcs11), hsm, start_s) => {
                Some(Seal { hsm: hsm.unwrap_or_default(), start_s: start_s.unwrap_or(START_S) })
            }
        };
        Ok(Self { place, seal })
    }
}

impl MasterKey {
    /// Puts `folder` before a relative path, and looks for the HSM.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub(crate) fn complete(&mut self, folder: &Path, hsms: &[HsmConfig]) -> Result<(), String> {
        match &mut self.place {
            Place::File(file) => *file = folder.join(&*file),
            Place::Credential(name) if Path::new(name).file_name() == Some(name.as_ref()) => {}
            Place::Credential(name) => {
                return Err(format!("master_key.credential: {name:?} is no name"));
            }
        }
        let Some(seal) = &mut self.seal else { return Ok(()) };
        seal.hsm = match (seal.hsm.as_str(), hsms) {
            ("", [only]) => only.name.clone(),
            ("", []) => {
                return Err(
                    "the master key is sealed, and there is no [[hsm]] that could open it".into()
                );
            }
            ("", _) => {
                return Err(
                    "master_key.hsm is missing: it says which [[hsm]] opens the seal".into()
                );
            }
            (name, _) if hsms.iter().any(|hsm| hsm.name == name) => name.to_owned(),
            (name, _) => {
                return Err(format!("master_key.hsm: there is no [[hsm]] called {name:?}"));
            }
        };
        Ok(())
    }

    /// The file, or the credential's name.
    pub(crate) fn name(&self) -> &Path {
        self.place.name()
    }
}

impl Place {
    /// The file, or the credential's name.
    pub(crate) fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Credential(name) => Path::new(name),
        }
    }

    fn path(&self) -> Result<PathBuf, FileError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Credential(name) => files::credential(name),
        }
    }
}

/// A master key that can be had: by itself, or with the help of an HSM.
#[derive(Clone, Debug)]
pub struct Master {
    place: Place,
    seal: Option<Box<Helper>>,
}

/// An HSM, and the program that holds its library.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    pub(crate) hsm: HsmConfig,
    pub(crate) worker: Vec<OsString>,
}

impl Helper {
    /// Has an HSM do something, in a runtime of its own; what is in the way ends it at once.
    pub(crate) fn have<T: Send>(
        &self,
        work: impl AsyncFnOnce(&Hsm) -> Result<T, MasterKeyError> + Send,
    ) -> Result<T, MasterKeyError> {
        runtime::wait_for(|| async {
            let hsm = self.start();
            let done = match hsm::arrive(&hsm, Instant::now() + self.patience(), false).await {
                Ok(()) => work(&hsm).await,
                Err(error) => Err(error),
            };
            hsm.close().await;
            done
        })?
    }

    fn start(&self) -> Hsm {
        // Nothing is done at once.
        let mut config = self.hsm.clone();
        config.sessions = 1;
        Hsm::start(config, self.worker.clone(), hsm_pin::read)
    }

    /// The library's own time, and some to tell that it was over.
    fn patience(&self) -> Duration {
        self.hsm.start() + Duration::from_secs(5)
    }
}

impl Master {
    /// One in a file that only its owner can read.
    #[must_use]
    pub fn file(path: PathBuf) -> Self {
        Self { place: Place::File(path), seal: None }
    }

    pub(crate) fn new(place: Place, seal: Option<Helper>) -> Self {
        Self { place, seal: seal.map(Box::new) }
    }

    /// The file, or the credential's name.
    #[must_use]
    pub fn name(&self) -> &Path {
        self.place.name()
    }

    /// Whether a key in an HSM seals it.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// The key. Whoever runs this does not wait for an HSM that is away.
    pub(crate) fn read(&self) -> Result<Secret, MasterKeyError> {
        match &self.seal {
            None => Ok(plain(&self.place)?),
            Some(helper) => helper.have(async |hsm| self.open(hsm).await),
        }
    }

    /// The key, by an HSM that is there.
    async fn open(&self, hsm: &Hsm) -> Result<Secret, MasterKeyError> {
        let sealed = sealed(&self.place)?;
        hsm::unseal(hsm, &sealed, self.name()).await
    }
}

/// The key of a service that starts, and what finds the key in the HSM that sealed it, if one did;
/// `hsm` is the one that has it. Waits for it.
///
/// # Errors
/// [`MasterKeyError`]; `Away` when its time is over.
pub(crate) async fn of_service(
    key: &MasterKey,
    hsm: Option<&Hsm>,
) -> Result<(Secret, Option<Attributes>), MasterKeyError> {
    let (Some(seal), Some(hsm)) = (&key.seal, hsm) else { return Ok((plain(&key.place)?, None)) };
    let text = sealed(&key.place)?;
    let deadline = Instant::now() + Duration::from_secs(seal.start_s);
    loop {
        hsm::arrive(hsm, deadline, true).await?;
        match hsm::unseal(hsm, &text, key.name()).await {
            Err(MasterKeyError::Away { .. }) if Instant::now() < deadline => {}
            Ok(master) => {
                tracing::info!(hsm = hsm.name(), key = text.key, "the master key is unsealed");
                return Ok((master, Some(hsm::reference(&text))));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The key that stands in a place as it is.
fn plain(place: &Place) -> Result<Secret, FileError> {
    let path = place.path()?;
    if Sealed::is_one(&files::beginning(&path)?) {
        return Err(FileError::content(
            &path,
            "is sealed by a key in an HSM; it is opened by a configuration whose master_key has \
             seal = \"pkcs11\"",
        ));
    }
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

/// What a file holds that a master key stands in as it is.
pub(crate) fn text(master: &Secret) -> Zeroizing<String> {
    let mut text = Zeroizing::new(id::encode(&**master));
    text.push('\n');
    text
}

/// The sealed key that stands in a place.
fn sealed(place: &Place) -> Result<Sealed, FileError> {
    let path = place.path()?;
    Sealed::parse(&files::read(&path)?).map_err(|problem| FileError::content(&path, problem))
}

/// Less than systemd's 90 seconds.
const START_S: u64 = 60;
