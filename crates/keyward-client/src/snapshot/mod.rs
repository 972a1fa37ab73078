//! Snapshots: what a token shows, signed by the service, for a host that starts
//! while the service is away.
//!
//! A [`Snapshot`] that exists was checked: the service has signed it, for this
//! client and token, and it is good now. What is believed is what a connection
//! would be: a certificate that the config's authority has signed for the
//! config's server name.

mod file;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyward_wire::response::Result as Answer;
use keyward_wire::{
    IDENTITY_URI, LoginMode, Response, Revision, Scope, SignedSnapshot, SnapshotContent,
};
use prost::Message;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::{Config, OfflineStart};
use crate::tls::{certificates, roots};

/// What a token showed, and until when that may be shown without the service.
#[derive(Debug)]
pub struct Snapshot {
    content: SnapshotContent,
    /// Seconds since 1970-01-01 UTC; the service's expiry or the config's, the
    /// earlier one.
    expires: u64,
    /// As the service gave it.
    bytes: Vec<u8>,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no file.
    #[error("there is none yet")]
    Missing,
    /// The file, or the folder, cannot be read or written.
    #[error("{0}")]
    Unusable(#[from] std::io::Error),
    /// A link, a folder, a pipe.
    #[error("it is not a regular file but {0}")]
    NotAFile(&'static str),
    /// Somebody else may have written it.
    #[error("{0}")]
    Writable(String),
    /// The file holds something else, and is left alone.
    #[error("it holds something else than a snapshot")]
    Foreign,
    /// Too short, too long, or no snapshot.
    #[error("it is cut short or damaged")]
    Damaged,
    /// The service has not signed it.
    #[error("its signature is wrong")]
    Signature,
    /// Whoever has signed it is not the service.
    #[error("whoever signed it would not be taken for the service: {0}")]
    Signer(String),
    /// It is about something else.
    #[error("{0}")]
    Other(String),
    /// It was made later than now.
    #[error("it is from {0} s in the future: is the clock right?")]
    Future(u64),
    /// It was good until then.
    #[error("it expired {0} s ago")]
    Expired(u64),
    /// This client has no certificate that is good.
    #[error("the identity's certificate {0}")]
    Identity(String),
}

impl Snapshot {
    /// Checks what the service answered.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn of_answer(
        config: &Config,
        token: &str,
        settings: &OfflineStart,
        frames: Vec<Response>,
    ) -> Result<Self, Refused> {
        let bytes = joined(frames)?;
        Self::check(config, token, settings, bytes, SystemTime::now())
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn read(config: &Config, token: &str, settings: &OfflineStart) -> Result<Self, Refused> {
        let bytes = file::read(&settings.file)?;
        Self::check(config, token, settings, bytes, SystemTime::now())
    }

    /// Puts it into the file, whole or not at all.
    ///
    /// # Errors
    /// [`Refused::Foreign`] if the file holds something else,
    /// [`Refused::Unusable`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Refused> {
        file::write(path, &self.bytes)
    }

    /// Deletes the file, if there is a snapshot in it.
    ///
    /// # Errors
    /// As [`Snapshot::write`].
    pub fn delete(path: &Path) -> Result<(), Refused> {
        file::delete(path)
    }

    /// What the token showed.
    #[must_use]
    pub fn content(&self) -> &SnapshotContent {
        &self.content
    }

    /// The same, to keep.
    #[must_use]
    pub fn into_content(self) -> SnapshotContent {
        self.content
    }

    /// Of the token, when it was made.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.content.revision.unwrap_or_default()
    }

    /// Until when it may be shown.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires)
    }

    /// From when on a newer one is asked for: half its life.
    #[must_use]
    pub fn renew_at(&self) -> SystemTime {
        let life = self.expires.saturating_sub(self.content.issued);
        UNIX_EPOCH + Duration::from_secs(self.content.issued.saturating_add(life / 2))
    }

    fn check(
        config: &Config,
        token: &str,
        settings: &OfflineStart,
        bytes: Vec<u8>,
        now: SystemTime,
    ) -> Result<Self, Refused> {
        let signed = SignedSnapshot::decode(bytes.as_slice()).map_err(|_| Refused::Damaged)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        signed_by_the_service(config, &signed, now)?;
        // From here on it is what the service says.
        let content =
            SnapshotContent::decode(signed.content.as_slice()).map_err(|_| Refused::Damaged)?;
        let now = now.as_secs();
        let identity = identity(config, now)?;
        let about = content.token.as_ref().ok_or(Refused::Damaged)?;
        if about.label != token {
            return Err(Refused::Other(format!("it is of another token, {:?}", about.label)));
        }
        if about.login_mode() != LoginMode::Certificate {
            return Err(Refused::Other("it is of a token that is opened by a PIN".to_owned()));
        }
        if content.identity != identity {
            return Err(Refused::Other("it was made for another identity".to_owned()));
        }
        if content.scope() != Scope::Usable {
            return Err(Refused::Other("it does not show all that it should".to_owned()));
        }
        if content.issued > now + SKEW {
            return Err(Refused::Future(content.issued - now));
        }
        let expires = content.expires.min(content.issued.saturating_add(settings.life()));
        if expires <= now {
            return Err(Refused::Expired(now - expires));
        }
        Ok(Self { content, expires, bytes })
    }
}

/// The parts of an answer, one behind the other.
fn joined(frames: Vec<Response>) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    for frame in frames {
        match frame.result {
            Some(Answer::Snapshot(part)) => bytes.extend(part.bytes),
            _ => return Err(Refused::Damaged),
        }
    }
    Ok(bytes)
}

/// Whether a connection to whoever has signed it would be one to the service.
fn signed_by_the_service(
    config: &Config,
    signed: &SignedSnapshot,
    now: Duration,
) -> Result<(), Refused> {
    let signer = |error: &dyn std::fmt::Display| Refused::Signer(error.to_string());
    let provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms.mapping;
    let mut chain = signed.certificates.iter().map(|der| CertificateDer::from(der.as_slice()));
    let certificate = chain.next().ok_or(Refused::Damaged)?;
    let authorities: Vec<_> = chain.collect();
    let name = ServerName::try_from(config.server_name.as_str()).map_err(|error| signer(&error))?;
    let roots = roots(config).map_err(|error| signer(&error))?;
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider.into())
        .build()
        .map_err(|error| signer(&error))?
        .verify_server_cert(&certificate, &authorities, &name, &[], UnixTime::since_unix_epoch(now))
        .map_err(|error| signer(&error))?;
    let key = EndEntityCert::try_from(&certificate).map_err(|error| signer(&error))?;
    let scheme = u16::try_from(signed.scheme).map(SignatureScheme::from);
    let message = SignedSnapshot::signed_bytes(&signed.content);
    let right = algorithms
        .iter()
        .filter(|(of, _)| scheme.is_ok_and(|scheme| scheme == *of))
        .flat_map(|(_, algorithms)| *algorithms)
        .any(|algorithm| key.verify_signature(*algorithm, &message, &signed.signature).is_ok());
    if right { Ok(()) } else { Err(Refused::Signature) }
}

/// Who this client is, by its certificate.
fn identity(config: &Config, now: u64) -> Result<String, Refused> {
    let chain = certificates(&config.certificate)
        .map_err(|error| Refused::Identity(format!("cannot be used: {error}")))?;
    let no_identity = || Refused::Identity("names no identity".to_owned());
    let (_, parsed) = chain
        .first()
        .and_then(|der| X509Certificate::from_der(der).ok())
        .ok_or_else(no_identity)?;
    let validity = parsed.validity();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if validity.not_after.timestamp() < now {
        return Err(Refused::Identity("has expired".to_owned()));
    }
    parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .and_then(|names| {
            names.value.general_names.iter().find_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(IDENTITY_URI).map(str::to_owned),
                _ => None,
            })
        })
        .ok_or_else(no_identity)
}

/// How far the service's clock may be ahead of this one, in seconds.
const SKEW: u64 = 300;

#[cfg(test)]
mod tests;
