//! The file of a snapshot: whose it must be, and how it is replaced.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use keyward_wire::CATALOGUE_LIMIT;
use rustix::fs::{Mode, OFlags};

use super::Refused;

/// The bytes of the snapshot in a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    let (mut file, metadata) = open(path)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Refused::Writable(format!(
            "others may write it (mode {mode:04o}); say: chmod 600 {}",
            path.display()
        )));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(Refused::Writable(format!(
            "its owner is user {}, and this process runs as user {own}",
            metadata.uid()
        )));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST || !bytes.starts_with(MAGIC) {
        return Err(Refused::Damaged);
    }
    Ok(bytes.split_off(MAGIC.len()))
}

/// Replaces the file. Whoever reads it sees the old one or the new one. It is not
/// forced to the disk, which may take a busy disk seconds, in the middle of some
/// call: what a power cut leaves is found to be damaged, if it is.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Refused> {
    may_replace(path)?;
    let mut name = path.file_name().unwrap_or_default().as_bytes().to_vec();
    for byte in keyward_crypto::random::bytes::<8>() {
        name.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    name.insert(0, b'.');
    let fresh = path.with_file_name(std::ffi::OsStr::from_bytes(&name));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(MAGIC)?;
        file.write_all(bytes)?;
        fs::rename(&fresh, path)
    };
    written().map_err(|error| {
        // It may not be there at all.
        let _ = fs::remove_file(&fresh);
        error.into()
    })
}

/// Deletes the file.
pub(super) fn delete(path: &Path) -> Result<(), Refused> {
    may_replace(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// A file that somebody named by mistake is not to be lost.
fn may_replace(path: &Path) -> Result<(), Refused> {
    let mut start = Vec::new();
    match open(path) {
        Ok((file, _)) => file.take(MAGIC.len() as u64).read_to_end(&mut start)?,
        Err(Refused::Missing) => 0,
        Err(error) => return Err(error),
    };
    if MAGIC.starts_with(&start) { Ok(()) } else { Err(Refused::Foreign) }
}

/// Opens a regular file, and waits for none of another kind.
fn open(path: &Path) -> Result<(File, Metadata), Refused> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Err(Refused::Missing),
        Err(rustix::io::Errno::LOOP) => return Err(Refused::NotAFile("a symbolic link")),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok((file, metadata));
    }
    Err(Refused::NotAFile(if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "something special"
    }))
}

/// Stands before the snapshot.
pub(super) const MAGIC: &[u8] = b"keyward snapshot 1\n";

/// A longer file is none: a catalogue, and the certificates.
const LONGEST: u64 = (CATALOGUE_LIMIT as u64) + (1 << 20);
