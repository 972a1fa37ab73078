//! What a slot shows when the service does not answer: what it knows, or a
//! snapshot.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use keyward_client::snapshot::Snapshot;
use keyward_wire::{ErrorCode, Revision};

use super::{PROOF_LASTS, Slot, State};
use crate::error::{Error, Result};
use crate::object::{Catalogue, Extent};
use crate::remote::Remote;

/// What a slot can do with when the service does not answer.
pub(super) enum Reserve {
    /// Nothing: it is not set up.
    None,
    /// Nothing, and that is why.
    Refused(String),
    /// What is known already.
    Catalogue,
    /// What was kept.
    Snapshot(Box<Snapshot>),
}

/// What holds while a snapshot is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Borrowed {
    until: SystemTime,
    /// When the service was last asked in vain; `None`: it has answered since.
    asked: Option<Instant>,
}

impl Slot {
    /// What there would be if the service did not answer.
    pub(super) fn reserve(&self, remote: &Remote) -> Reserve {
        let Some(offline) = &self.offline else { return Reserve::None };
        if self.known().is_some() {
            return Reserve::Catalogue;
        }
        let newest = self.state().newest;
        match offline.snapshot(remote.config(), newest) {
            Ok(snapshot) => Reserve::Snapshot(Box::new(snapshot)),
            Err(why) => Reserve::Refused(why),
        }
    }

    /// Shows what is in reserve, if a question failed because the service is
    /// away. If it answered, that counts.
    pub(super) fn show(&self, reserve: Reserve, error: keyward_client::Error) -> Result<()> {
        let away = match &error {
            keyward_client::Error::Unreachable { .. } | keyward_client::Error::Busy => true,
            keyward_client::Error::Service(error) => error.code == ErrorCode::Later,
            _ => false,
        };
        let snapshot = match reserve {
            Reserve::Catalogue if away => return Ok(()),
            Reserve::Snapshot(snapshot) if away => *snapshot,
            Reserve::Refused(why) if away => {
                let Error { rv, message } = self.failed(error);
                return Err(Error::new(rv, format!("{message}; {why}")));
            }
            _ => return Err(self.failed(error)),
        };
        let (until, revision) = (snapshot.expires(), snapshot.revision());
        let content = snapshot.into_content();
        if let Some(offline) = &self.offline {
            offline.began(&content, &error.to_string());
        }
        let mut objects = Vec::new();
        for object in content.objects {
            objects.extend(self.entry(object)?);
        }
        // If the service said "unchanged" to it, what is left out would be
        // missing for good.
        let revision = if content.left_out == 0 { revision } else { Revision::default() };
        let mut state = self.state();
        state.catalogue = Some(Arc::new(Catalogue::new(revision, Extent::Complete, objects)));
        state.proof = None;
        state.borrowed = Some(Borrowed { until, asked: Some(Instant::now()) });
        if let Some(token) = content.token
            && state.info.is_none()
        {
            state.learn(token, Instant::now());
        }
        Ok(())
    }

    /// The catalogue, if there is one that may be shown still.
    pub(super) fn known(&self) -> Option<Arc<Catalogue>> {
        let mut state = self.state();
        if state.borrowed.is_some_and(|borrowed| SystemTime::now() >= borrowed.until) {
            state.forget_catalogue();
        }
        state.catalogue.clone()
    }

    /// A call passes by.
    pub(super) fn pass(&self, remote: &Remote) {
        if let Some(offline) = &self.offline {
            offline.pass(remote);
        }
    }
}

impl State {
    /// Whether the service need not be asked for the catalogue now.
    pub(super) fn is_fresh(&self) -> bool {
        self.last_asked().is_some_and(|asked| asked.elapsed() < PROOF_LASTS)
    }

    /// When the catalogue was last proved, or the service asked in vain while a
    /// snapshot is shown.
    pub(super) fn last_asked(&self) -> Option<Instant> {
        self.proof.max(self.borrowed.and_then(|borrowed| borrowed.asked))
    }

    /// The service has answered, or has been asked in vain, just now.
    pub(super) fn asked(&mut self, in_vain: bool) {
        if let Some(borrowed) = &mut self.borrowed {
            borrowed.asked = in_vain.then(Instant::now);
        }
    }
}
