//! Reads a backup, entry by entry; nothing is given that was not authenticated.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use keyward_crypto::StreamOpener;
use prost::Message;

use super::format::{EntryRecord, Header, HeaderError, LONGEST_ENTRY, SEALED_CHUNK};
use super::passphrase::{self, WrongPassphrase};
use super::{BackupError, Info, Key};
use crate::files::FileError;
use crate::store::vault::{Secret, Vault};

/// A backup whose header was read and whose key is known.
pub(crate) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    vault: Vault,
    master: Secret,
    opener: StreamOpener,
    /// The chunk that comes next, so that the last one is known to be that.
    ahead: Vec<u8>,
    /// Plaintext that is not a whole entry yet.
    pending: Vec<u8>,
    /// How much of it was read.
    at: usize,
    ended: bool,
    /// Entries that were read.
    read: u64,
}

impl Reader {
    /// Opens a backup.
    pub(crate) fn open(path: &Path, key: &Key) -> Result<Self, BackupError> {
        let (header, file) = header(path)?;
        let master = master_key(path, &header, key)?;
        let vault = Vault::open(&master, &header.record.data_key).map_err(|_| match key {
            Key::Master(master) => BackupError::WrongMasterKey {
                path: path.to_owned(),
                master_key: master.name().to_owned(),
            },
            Key::Passphrase(_) => damaged(path),
        })?;
        Self::new(path, file, header, vault, master)
    }

    /// The same backup from its beginning.
    pub(crate) fn again(&self) -> Result<Self, BackupError> {
        let (header, file) = header(&self.path)?;
        if header.digest != self.header.digest {
            // Somebody has put another file in its place.
            return Err(self.damaged());
        }
        let vault = Vault::open(&self.master, &header.record.data_key);
        let vault = vault.map_err(|_| self.damaged())?;
        Self::new(&self.path, file, header, vault, self.master.clone())
    }

    fn new(
        path: &Path,
        file: BufReader<File>,
        header: Header,
        vault: Vault,
        master: Secret,
    ) -> Result<Self, BackupError> {
        let key = vault.backup_key(&header.digest).map_err(|_| damaged(path))?;
        let mut reader = Self {
            path: path.to_owned(),
            file,
            header,
            vault,
            master,
            opener: StreamOpener::new(&key),
            ahead: Vec::new(),
            pending: Vec::new(),
            at: 0,
            ended: false,
            read: 0,
        };
        reader.ahead = reader.chunk()?;
        Ok(reader)
    }

    /// What the header says.
    pub(crate) fn info(&self) -> Info {
        Info::of(&self.header.record)
    }

    /// What opens the entries' values.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The master key, and the data key as it wrapped it.
    pub(crate) fn keys(&self) -> (&Secret, &[u8]) {
        (&self.master, &self.header.record.data_key)
    }

    /// The next entry; `None` after the last, when the whole file was found to
    /// be what was written.
    pub(crate) fn next_entry(&mut self) -> Result<Option<(String, Vec<u8>)>, BackupError> {
        loop {
            let mut rest = &self.pending[self.at..];
            let before = rest.len();
            // A varint has at most ten bytes; fewer may be the half of one.
            let length = match prost::encoding::decode_varint(&mut rest) {
                Ok(length) => usize::try_from(length).ok().filter(|l| *l <= LONGEST_ENTRY),
                Err(_) if before < 10 => Some(usize::MAX),
                Err(_) => None,
            };
            let length = length.ok_or_else(|| self.damaged())?;
            if let Some(encoded) = rest.get(..length) {
                let EntryRecord { key, value } =
                    EntryRecord::decode(encoded).map_err(|_| self.damaged())?;
                self.at += before - rest.len() + length;
                self.read += 1;
                return Ok(Some((key, value)));
            }
            if self.ended {
                let whole = before == 0 && self.read == self.header.record.entries;
                return if whole { Ok(None) } else { Err(self.damaged()) };
            }
            self.pending.drain(..self.at);
            self.at = 0;
            self.open_chunk()?;
        }
    }

    fn open_chunk(&mut self) -> Result<(), BackupError> {
        // A chunk that is not full is the last.
        let next = if self.ahead.len() == SEALED_CHUNK { self.chunk()? } else { Vec::new() };
        let chunk = std::mem::replace(&mut self.ahead, next);
        self.ended = self.ahead.is_empty();
        let opened = self.opener.open(&chunk, self.ended).map_err(|_| self.damaged())?;
        self.pending.extend_from_slice(&opened);
        Ok(())
    }

    /// The next chunk as it stands in the file; empty at its end.
    fn chunk(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut chunk = Vec::new();
        let limit = SEALED_CHUNK as u64;
        let read = self.file.by_ref().take(limit).read_to_end(&mut chunk);
        read.map_err(|error| FileError::Read { path: self.path.clone(), error })?;
        Ok(chunk)
    }

    fn damaged(&self) -> BackupError {
        damaged(&self.path)
    }
}

/// Reads the header of a file.
pub(super) fn header(path: &Path) -> Result<(Header, BufReader<File>), BackupError> {
    let failed = |error| FileError::Read { path: path.to_owned(), error };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let path = path.to_owned();
    let header = Header::read(&mut file).map_err(|error| match error {
        HeaderError::NotABackup => BackupError::NotABackup(path),
        HeaderError::Damaged => BackupError::Damaged(path),
        HeaderError::TooNew => BackupError::TooNew(path),
        HeaderError::Io(error) => FileError::Read { path, error }.into(),
    })?;
    Ok((header, file))
}

fn master_key(path: &Path, header: &Header, key: &Key) -> Result<Secret, BackupError> {
    let passphrase = match key {
        Key::Master(master) => return Ok(master.read()?),
        Key::Passphrase(passphrase) => passphrase,
    };
    let path = path.to_owned();
    let Some(record) = &header.record.passphrase else {
        return Err(BackupError::NoPassphrase(path));
    };
    passphrase::unwrap(record, passphrase).map_err(|error| match error {
        WrongPassphrase::Wrong => BackupError::WrongPassphrase(path),
        WrongPassphrase::Unusable => BackupError::Damaged(path),
    })
}

fn damaged(path: &Path) -> BackupError {
    BackupError::Damaged(path.to_owned())
}
