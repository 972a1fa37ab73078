//! How a backup is laid out.
//!
//! ```text
//! "keyward backup\n"          15 bytes
//! length of the header        u32, big-endian
//! header                      a HeaderRecord
//! SHA-256 of all that         32 bytes
//! chunks                      64 KiB + 16 bytes each, the last one shorter
//! ```
//!
//! The digest tells a damaged header from a wrong key, and goes into the
//! derivation of the key that the chunks are sealed with: so they authenticate
//! the header as well. The chunks are one message of
//! [`keyward_crypto::stream`]; inside it stands each entry of the store as an
//! EntryRecord behind its length (a varint), in the order of the keys.

use std::io::{self, Read};

use keyward_crypto::{Hash, STREAM_OVERHEAD};
use prost::Message;

/// The version of this layout.
pub(super) const LAYOUT: u32 = 1;

/// What is said without a key. Fields may be added, none may change its meaning.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderRecord {
    /// As [`LAYOUT`].
    #[prost(uint32, tag = "1")]
    pub(super) layout: u32,
    /// The format of the entries, as a store has it.
    #[prost(uint32, tag = "2")]
    pub(super) format: u32,
    /// Seconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "3")]
    pub(super) created: u64,
    #[prost(string, tag = "4")]
    pub(super) software: String,
    #[prost(fixed64, tag = "5")]
    pub(super) incarnation: u64,
    /// The number of the last commit that is in it.
    #[prost(uint64, tag = "6")]
    pub(super) sequence: u64,
    #[prost(uint64, tag = "7")]
    pub(super) entries: u64,
    /// The store's data key, wrapped by its master key.
    #[prost(bytes = "vec", tag = "8")]
    pub(super) data_key: Vec<u8>,
    /// 32 random bytes: no two backups have the same key.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) salt: Vec<u8>,
    /// The master key, wrapped by a passphrase.
    #[prost(message, optional, tag = "10")]
    pub(super) passphrase: Option<PassphraseRecord>,
}

/// A master key wrapped by a key that argon2id (version 1.3) makes of a
/// passphrase.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PassphraseRecord {
    /// KiB.
    #[prost(uint32, tag = "1")]
    pub(super) memory: u32,
    #[prost(uint32, tag = "2")]
    pub(super) passes: u32,
    #[prost(uint32, tag = "3")]
    pub(super) lanes: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) salt: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) master_key: Vec<u8>,
}

/// An entry of the store, its value as it is stored: encrypted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryRecord {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// A header that was read, and the digest that stood behind it.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) record: HeaderRecord,
    pub(super) digest: [u8; 32],
}

/// Why there is no header.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// It is something else, or the beginning is damaged.
    NotABackup,
    Damaged,
    /// A later version wrote it.
    TooNew,
    Io(io::Error),
}

impl HeaderRecord {
    /// The beginning of the file, digest included.
    pub(super) fn encode_file(&self) -> (Vec<u8>, [u8; 32]) {
        let header = self.encode_to_vec();
        let mut bytes = MAGIC.to_vec();
        // A header is some hundred bytes long.
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&header);
        let digest = digest(&bytes);
        bytes.extend_from_slice(&digest);
        (bytes, digest)
    }
}

impl Header {
    /// Reads the beginning of a file.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, HeaderError> {
        let mut bytes = vec![0; MAGIC.len() + 4];
        fill(file, &mut bytes).map_err(|error| ended(error, HeaderError::NotABackup))?;
        let length = bytes.strip_prefix(MAGIC).and_then(|rest| <[u8; 4]>::try_from(rest).ok());
        let length = length.ok_or(HeaderError::NotABackup)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_HEADER {
            return Err(HeaderError::Damaged);
        }
        let start = bytes.len();
        bytes.resize(start + length, 0);
        fill(file, &mut bytes[start..]).map_err(|error| ended(error, HeaderError::Damaged))?;
        let mut said = [0; 32];
        fill(file, &mut said).map_err(|error| ended(error, HeaderError::Damaged))?;
        if digest(&bytes) != said {
            return Err(HeaderError::Damaged);
        }
        let record = HeaderRecord::decode(&bytes[start..]).map_err(|_| HeaderError::Damaged)?;
        if record.layout > LAYOUT || record.format > crate::store::vault::FORMAT {
            return Err(HeaderError::TooNew);
        }
        Ok(Self { record, digest: said })
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(&Hash::Sha256.digest(bytes));
    digest
}

fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
    file.read_exact(buffer)
}

fn ended(error: io::Error, otherwise: HeaderError) -> HeaderError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => otherwise,
        _ => HeaderError::Io(error),
    }
}

/// A line of its own, so that `head -1` tells what the file is.
const MAGIC: &[u8] = b"keyward backup\n";
/// In bytes.
const LONGEST_HEADER: usize = 64 << 10;
/// Of the plaintext of a chunk, in bytes.
pub(super) const CHUNK: usize = 64 << 10;
/// Of a chunk in the file, in bytes.
pub(super) const SEALED_CHUNK: usize = CHUNK + STREAM_OVERHEAD;
/// Of an entry, in bytes. A value is less than a frame of the wire.
pub(super) const LONGEST_ENTRY: usize = 4 << 20;
