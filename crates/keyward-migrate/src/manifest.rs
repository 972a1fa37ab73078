//! The proof of a migration: what was verified, when, how, with which verdict,
//! signed with Ed25519. The signature is over the file's bytes and stands beside
//! it, so that `openssl pkeyutl -verify -rawin` checks it as well.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyward_crypto::ed25519::{Ed25519PrivateKey, Ed25519PublicKey, Variant};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What was verified.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form.
    pub format: u32,
    /// RFC 3339, in UTC.
    pub verified_at: String,
    /// SHA-256 of the plan.
    pub plan: String,
    /// Who signed the plan off.
    pub signed_off_by: String,
    /// As the plan names it.
    pub source: Vec<String>,
    /// The target's URI.
    pub target: String,
    /// The target's serial number.
    pub target_serial: String,
    /// Each object of the plan that was to go.
    pub objects: Vec<Proof>,
    /// What stayed, and why.
    pub left: Vec<Left>,
    /// Whether all verdicts are good.
    pub complete: bool,
}

/// What was found of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The plan's name for it.
    pub reference: String,
    /// For people.
    pub what: String,
    /// "plain" or "wrapped".
    pub way: String,
    /// SHA-256 of the public key, certificate or data, where there is one.
    pub sha256: Option<String>,
    /// How it was proved that the target has it.
    pub method: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Attributes that differ, one sentence each.
    pub differences: Vec<String>,
}

/// An object that stayed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// The plan's name for it.
    pub reference: String,
    /// For people.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What came of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why", deny_unknown_fields)]
pub enum Verdict {
    /// Proved to be the same.
    Same,
    /// There, and nothing could prove that it is the same.
    NotProved(String),
    /// Not there, or not the same.
    Wrong(String),
}

impl Verdict {
    /// Whether it is proved.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Self::Same
    }
}

impl Manifest {
    /// Writes the manifest and, beside it, its signature and the public key.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, path: &Path, key: &SigningKey) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::new(format!("the manifest cannot be written: {error}")))?;
        text.push('\n');
        let signature = key.0.sign(Variant::Pure, text.as_bytes())?;
        // The signature comes last: with it the manifest is whole.
        for (path, data) in [
            (path.to_owned(), text.as_bytes()),
            (beside(path, "pub"), key.public_pem().as_bytes()),
            (beside(path, "sig"), &signature),
        ] {
            std::fs::write(&path, data).map_err(|error| {
                Error::new(format!("{} cannot be written: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    /// Reads a manifest whose signature `public` verifies: a PEM file that was
    /// kept apart.
    ///
    /// # Errors
    /// If it was changed, or is signed with another key.
    pub fn check(path: &Path, public: &Path) -> Result<Self> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| Error::new(format!("{} cannot be read: {error}", path.display())))
        };
        let (data, signature) = (read(path)?, read(&beside(path, "sig"))?);
        let key = ::pem::parse(read(public)?)
            .ok()
            .and_then(|block| Ed25519PublicKey::from_spki_der(block.contents()).ok())
            .ok_or_else(|| {
                Error::new(format!("{} is no Ed25519 public key in PEM", public.display()))
            })?;
        key.verify(Variant::Pure, &data, &signature).map_err(|_| {
            Error::new(format!(
                "{} is not what was signed: it was changed, or signed with another key",
                path.display()
            ))
        })?;
        let manifest: Self = serde_json::from_slice(&data)
            .map_err(|error| Error::new(format!("{} is no manifest: {error}", path.display())))?;
        if manifest.format != 1 {
            return Err(Error::new(format!("its format {} is not known", manifest.format)));
        }
        Ok(manifest)
    }
}

/// The key that signs manifests.
pub struct SigningKey(Ed25519PrivateKey);

impl SigningKey {
    /// Reads the key of a PEM file that only its owner can read; makes it if there
    /// is none.
    ///
    /// # Errors
    /// If it is none of Ed25519, or others can read it.
    pub fn open(path: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;

        let name = path.display();
        let unusable =
            |error: std::io::Error| Error::new(format!("{name} cannot be used: {error}"));
        if !path.exists() {
            let key = Ed25519PrivateKey::generate();
            let der = key.to_pkcs8_der();
            let text = Zeroizing::new(pem_text("PRIVATE KEY", &der));
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(unusable)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)?;
            return Ok(Self(key));
        }
        let mode = std::fs::metadata(path).map_err(unusable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(format!("{name} holds a key and others can read it"))
                .hint("chmod 600 it"));
        }
        let text = Zeroizing::new(std::fs::read(path).map_err(unusable)?);
        ::pem::parse(&*text)
            .ok()
            .map(|block| Zeroizing::new(block.into_contents()))
            .and_then(|der| Ed25519PrivateKey::from_pkcs8_der(&der).ok())
            .map(Self)
            .ok_or_else(|| Error::new(format!("{name} is no Ed25519 private key in PEM")))
    }

    fn public_pem(&self) -> String {
        pem_text("PUBLIC KEY", &self.0.public().spki_der())
    }
}

fn pem_text(tag: &str, der: &[u8]) -> String {
    ::pem::encode_config(
        &::pem::Pem::new(tag, der),
        ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF),
    )
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}
