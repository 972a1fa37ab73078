//! A backup for an administrator, in as many frames as it takes.

use std::sync::Arc;

use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Failure, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admin::administrators_only;
use super::{Answer, Call, Engine, malformed};
use crate::backup::{Writer, wrapped_master_key};
use crate::store::paths::INCARNATION_KEY;
use crate::workers::later;

/// At most one backup at a time: it holds a copy of the store.
pub(super) struct Turn(Arc<Semaphore>);

/// The frames of a backup, sealed one by one as they are sent.
pub(super) struct Frames {
    writer: Writer,
    _turn: OwnedSemaphorePermit,
}

impl Engine {
    pub(super) async fn backup(&self, call: &Call, backup: &wire::Backup) -> Result<Answer> {
        administrators_only(call)?;
        let passphrase = wrapped_master_key(&backup.wrapped_master_key)
            .ok_or_else(|| malformed("the wrapped master key is none"))?;
        let turn = Arc::clone(&self.backups.0)
            .try_acquire_owned()
            .map_err(|_| later("another backup is being made"))?;
        let snapshot = self
            .store
            .snapshot("")
            .await
            .map_err(|error| Error::new(ErrorCode::StoreUnavailable, error.to_string()))?;
        let incarnation = snapshot
            .value(INCARNATION_KEY)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes)
            .ok_or_else(|| internal("the store has no incarnation"))?;
        let writer = Writer::new(snapshot, &self.vault, incarnation, passphrase)
            .map_err(|error| internal(error.to_string()))?;
        let identity = call.identity.record.name.as_str();
        tracing::info!(target: "audit", identity, operation = "backup", code = "OK");
        let frames = Some(super::Frames::Backup(Frames { writer, _turn: turn }));
        Ok(Answer { result: None, revision: None, ticket: None, frames })
    }
}

impl Frames {
    /// The next frame's result, and whether more follow.
    pub(super) fn next_frame(&mut self) -> Option<(Answered, bool)> {
        match self.writer.next_piece(PIECE) {
            Ok(Some(bytes)) => {
                let more = !self.writer.is_at_end();
                Some((Answered::Backup(wire::BackupPart { bytes }), more))
            }
            Ok(None) => None,
            Err(error) => {
                let failure = Failure::from_error(&internal(error.to_string()));
                Some((Answered::Failure(failure), false))
            }
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

fn internal(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::Internal, message)
}

/// Of the file, in one frame, in bytes: at least that, and a chunk more at most.
const PIECE: usize = 512 << 10;
