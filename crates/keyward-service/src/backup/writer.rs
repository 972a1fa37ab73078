//! Writes a backup, piece by piece.

use keyward_crypto::{StreamSealer, random};
use prost::Message;

use super::format::{CHUNK, EntryRecord, HeaderRecord, LAYOUT, PassphraseRecord};
use crate::clock;
use crate::store::vault::{FORMAT, Unauthentic, Vault};
use crate::store::{Snapshot, paths};

/// The pieces of a backup. It holds what the snapshot holds and lets go of it
/// as it is written.
pub(crate) struct Writer {
    header: Option<Vec<u8>>,
    sealer: StreamSealer,
    entries: std::vec::IntoIter<(String, Vec<u8>)>,
    /// Plaintext that is not sealed yet: at most a chunk and an entry.
    pending: Vec<u8>,
    ended: bool,
}

impl Writer {
    /// A backup of a snapshot; `passphrase` is an encoded record of the header
    /// that [`super::wrap_master_key`] has made.
    pub(crate) fn new(
        snapshot: Snapshot,
        vault: &Vault,
        incarnation: u64,
        passphrase: Option<PassphraseRecord>,
    ) -> Result<Self, Unauthentic> {
        let mut data_key = Vec::new();
        let mut entries = Vec::with_capacity(snapshot.entries.len());
        for (key, versioned) in snapshot.entries {
            if key == paths::DATA_KEY_KEY {
                data_key = versioned.value;
            } else if is_kept(&key) {
                entries.push((key, versioned.value));
            }
        }
        let (header, digest) = HeaderRecord {
            layout: LAYOUT,
            format: FORMAT,
            created: clock::seconds(),
            software: crate::SOFTWARE.to_owned(),
            incarnation,
            sequence: snapshot.sequence,
            entries: entries.len() as u64,
            data_key,
            salt: random::bytes::<32>().to_vec(),
            passphrase,
        }
        .encode_file();
        Ok(Self {
            header: Some(header),
            sealer: StreamSealer::new(&*vault.backup_key(&digest)?),
            entries: entries.into_iter(),
            pending: Vec::new(),
            ended: false,
        })
    }

    /// At least `least` bytes more of the file, and not much more than that;
    /// fewer at the end, `None` after it.
    pub(crate) fn next_piece(&mut self, least: usize) -> Result<Option<Vec<u8>>, Unauthentic> {
        if self.ended {
            return Ok(None);
        }
        let mut piece = self.header.take().unwrap_or_default();
        while piece.len() < least && !self.ended {
            // One byte more than a chunk, so that a full one is not taken for
            // the last.
            while self.pending.len() <= CHUNK
                && let Some((key, value)) = self.entries.next()
            {
                let entry = EntryRecord { key, value };
                self.pending.reserve(entry.encoded_len() + 10);
                prost::encoding::encode_varint(entry.encoded_len() as u64, &mut self.pending);
                entry.encode_raw(&mut self.pending);
            }
            self.ended = self.pending.len() <= CHUNK;
            let length = self.pending.len().min(CHUNK);
            let chunk: Vec<u8> = self.pending.drain(..length).collect();
            piece.extend(self.sealer.seal(&chunk, self.ended).map_err(|_| Unauthentic)?);
        }
        Ok(Some(piece))
    }

    /// Whether the last piece was given.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ended
    }
}

/// Whether an entry is kept. What the store says of itself is in the header or
/// is made anew; what operations answered is for repeats within minutes.
fn is_kept(key: &str) -> bool {
    !key.starts_with(paths::META) && !key.starts_with(paths::OPERATIONS)
}
