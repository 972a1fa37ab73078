//! What a token shows, signed, for clients to show while the service is away.

use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use keyward_wire::{
    self as wire, CATALOGUE_LIMIT, Error, ErrorCode, LoginMode, Result, SnapshotContent,
    SnapshotPart,
};
use prost::Message;

use super::access::Access;
use super::{Answer, Call, Engine};
use crate::clock;
use crate::signer::Signer;
use crate::state::StoredObject;

/// The signer, and for how long what it signs is good at most.
pub(super) struct Snapshots {
    signer: Signer,
    longest: Duration,
}

/// The frames of a snapshot.
pub(super) struct Frames(IntoIter<Vec<u8>>);

impl Snapshots {
    pub(super) fn new(signer: Signer, longest: Duration) -> Self {
        Self { signer, longest }
    }
}

impl Engine {
    pub(super) async fn snapshot(
        &self,
        call: &Call,
        access: &Access,
        asked: &wire::Snapshot,
    ) -> Result<Answer> {
        if access.token.record.login_mode() != LoginMode::Certificate {
            return Err(Error::new(
                ErrorCode::NotPermitted,
                "the token is opened by a PIN, and a snapshot cannot check it: there are snapshots \
                 of tokens only that the certificate alone opens",
            ));
        }
        let longest = self.snapshots.longest.as_secs();
        if longest == 0 {
            return Err(Error::new(
                ErrorCode::NotPermitted,
                "this service gives no snapshots: deadlines.snapshot_h is 0 in keyward.toml",
            ));
        }
        let life = if asked.life_s == 0 { longest } else { asked.life_s.min(longest) };
        let objects = access.token.objects.values();
        let seen = objects.filter(|stored| access.shows(&stored.object, asked.scope()));
        let (kept, left_out): (Vec<_>, Vec<_>) =
            seen.cloned().partition(|stored| !stored.object.shows_secrets());
        let length: usize = kept.iter().map(|stored| stored.view().encoded_len()).sum();
        if length > CATALOGUE_LIMIT {
            return Err(Error::new(
                ErrorCode::DataLenRange,
                "what the token shows is longer than 4 MiB: there is no snapshot of it",
            ));
        }
        let issued = clock::seconds();
        let content = SnapshotContent {
            token: Some(self.token_info(call, &access.token)),
            identity: call.identity.uid.to_string(),
            revision: Some(self.revision(access.token.revision)),
            issued,
            expires: issued.saturating_add(life),
            scope: asked.scope,
            objects: Vec::new(),
            left_out: left_out.len() as u64,
        };
        let signer = self.snapshots.signer.clone();
        let signed = self
            .workers
            .run(call.identity.uid, call.deadline, move || sign(&signer, content, &kept))
            .await?;
        let pieces: Vec<_> = signed.chunks(PIECE).map(<[u8]>::to_vec).collect();
        let frames = Some(super::Frames::Snapshot(Frames(pieces.into_iter())));
        Ok(Answer { frames, ..access.answer(None) })
    }
}

impl Frames {
    /// The next frame's result, and whether more follow; `None` after the last.
    pub(super) fn next_frame(&mut self) -> Option<(SnapshotPart, bool)> {
        let bytes = self.0.next()?;
        Some((SnapshotPart { bytes }, self.0.len() > 0))
    }
}

/// The encoded signed snapshot.
fn sign(
    signer: &Signer,
    mut content: SnapshotContent,
    objects: &[Arc<StoredObject>],
) -> Result<Vec<u8>> {
    content.objects = objects.iter().map(|stored| stored.view().clone()).collect();
    let signed = signer.sign(content.encode_to_vec()).ok_or_else(|| {
        Error::new(ErrorCode::Internal, "the key of the server's certificate does not sign")
    })?;
    Ok(signed.encode_to_vec())
}

/// Of a snapshot, in one frame, in bytes.
const PIECE: usize = 512 << 10;
