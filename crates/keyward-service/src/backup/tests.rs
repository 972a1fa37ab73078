use std::fs;

use super::format::{CHUNK, SEALED_CHUNK};
use super::*;
use crate::store::vault::{Secret, Vault};
use crate::store::{Snapshot, Versioned, paths};

fn master(byte: u8) -> Secret {
    Zeroizing::new([byte; 32])
}

fn key_file(folder: &Path, name: &str, byte: u8) -> Key {
    let path = folder.join(name);
    let text = format!("{byte:02x}").repeat(32);
    crate::files::write_new(&path, text.as_bytes(), crate::files::SECRET).unwrap();
    Key::Master(Master::file(path))
}

/// A store's snapshot with values of these lengths, and a backup of it.
fn backup(lengths: &[usize], passphrase: Option<PassphraseRecord>) -> (Snapshot, Vec<u8>) {
    let (vault, wrapped) = Vault::create(&master(1)).unwrap();
    let mut snapshot = Snapshot { sequence: 7, entries: Vec::new() };
    let mut put = |key: String, value| {
        snapshot.entries.push((key, Versioned { value, version: 3 }));
    };
    put(paths::DATA_KEY_KEY.to_owned(), wrapped);
    for (number, length) in lengths.iter().enumerate() {
        let key = format!("later/{number:04}");
        let value = vault.seal(&key, &vec![b'x'; *length]).unwrap();
        put(key, value);
    }
    let mut writer = Writer::new(snapshot.clone(), &vault, 0xabc, passphrase).unwrap();
    let mut file = Vec::new();
    while let Some(piece) = writer.next_piece(1000).unwrap() {
        file.extend(piece);
    }
    (snapshot, file)
}

fn entries(path: &Path, key: &Key) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
    let mut reader = Reader::open(path, key)?;
    std::iter::from_fn(|| reader.next_entry().transpose()).collect()
}

#[test]
fn a_backup_gives_back_what_was_put_in_whatever_the_lengths() {
    let folder = tempfile::tempdir().unwrap();
    let key = key_file(folder.path(), "master.key", 1);
    let path = folder.path().join("file");
    // Among them one whose plaintext ends with a chunk: 44 is what an entry has
    // around its value here, and its length two or three bytes.
    let one = |total: usize| total - 46;
    for lengths in [
        vec![],
        vec![0],
        vec![10; 3000],
        vec![1 << 20, 0, 3 << 20, 5],
        vec![one(CHUNK) - 3],
        vec![one(CHUNK) - 2],
        vec![one(CHUNK) - 1],
        vec![one(CHUNK)],
        vec![one(CHUNK) + 1],
    ] {
        let (snapshot, file) = backup(&lengths, None);
        fs::write(&path, &file).unwrap();
        let found = entries(&path, &key).unwrap();
        let put: Vec<_> =
            snapshot.entries.into_iter().skip(1).map(|(key, put)| (key, put.value)).collect();
        assert_eq!(found, put);
        let info = info(&path).unwrap();
        assert_eq!((info.entries, info.sequence), (lengths.len() as u64, 7));
        assert_eq!((info.incarnation, info.passphrase), (0xabc, false));
    }
}

/// The plaintext of one of the lengths of the test above does end with a chunk:
/// then the last chunk is a full one.
#[test]
fn a_last_chunk_may_be_full() {
    let full = (CHUNK - 60..CHUNK).find(|length| {
        let (_, file) = backup(&[*length], None);
        let header = u32::from_be_bytes(file[15..19].try_into().unwrap()) as usize;
        (file.len() - 19 - header - 32) == SEALED_CHUNK
    });
    let folder = tempfile::tempdir().unwrap();
    let key = key_file(folder.path(), "master.key", 1);
    let path = folder.path().join("file");
    fs::write(&path, backup(&[full.unwrap()], None).1).unwrap();
    assert_eq!(entries(&path, &key).unwrap().len(), 1);
}

#[test]
fn no_changed_file_passes() {
    let folder = tempfile::tempdir().unwrap();
    let key = key_file(folder.path(), "master.key", 1);
    let path = folder.path().join("file");
    let (_, file) = backup(&[10, 2 * CHUNK, 200], None);
    let header = 19 + u32::from_be_bytes(file[15..19].try_into().unwrap()) as usize + 32;
    let refused = |file: &[u8], what: &str| {
        fs::write(&path, file).unwrap();
        let error = entries(&path, &key).unwrap_err();
        let told = matches!(error, BackupError::Damaged(_) | BackupError::NotABackup(_));
        assert!(told, "{what}: {error}");
    };
    // Each byte of the header, and bytes of each chunk.
    for at in (0..header).chain((header..file.len()).step_by(997)).chain([file.len() - 1]) {
        let mut flipped = file.clone();
        flipped[at] ^= 0x10;
        refused(&flipped, &format!("byte {at} flipped"));
    }
    let chunks: Vec<_> = (header..file.len()).step_by(SEALED_CHUNK).collect();
    assert_eq!(chunks.len(), 3);
    for end in (0..header).chain(chunks.clone()).chain([file.len() - 1, header + 5]) {
        refused(&file[..end], &format!("cut off at {end}"));
    }
    let (first, second) = (&file[chunks[0]..chunks[1]], &file[chunks[1]..chunks[2]]);
    let last = &file[chunks[2]..];
    let head = &file[..header];
    refused(&[head, second, first, last].concat(), "reordered");
    refused(&[head, first, last].concat(), "one left out");
    refused(&[head, first, first, second, last].concat(), "one repeated");
    refused(&[&file[..], &b"x"[..]].concat(), "one byte more");
    refused(&[&file[..], last].concat(), "the last one twice");
    // Chunks of another backup of the same store do not fit this header.
    let (_, other) = backup(&[10, 2 * CHUNK, 200], None);
    refused(&[head, &other[header..]].concat(), "another one's chunks");
}

#[test]
fn wrong_keys_and_passphrases_are_told_apart_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = key_file(folder.path(), "wrong.key", 2);
    let path = folder.path().join("file");
    let phrase = |text: &str| Key::Passphrase(Zeroizing::new(text.as_bytes().to_vec()));
    fs::write(&path, backup(&[10], None).1).unwrap();
    assert!(matches!(entries(&path, &wrong), Err(BackupError::WrongMasterKey { .. })));
    assert!(matches!(entries(&path, &phrase("x")), Err(BackupError::NoPassphrase(_))));
    let wrapped = passphrase::wrap(b"a long passphrase", &master(1)).unwrap();
    fs::write(&path, backup(&[10], Some(wrapped)).1).unwrap();
    assert!(matches!(entries(&path, &phrase("x")), Err(BackupError::WrongPassphrase(_))));
    assert!(matches!(entries(&path, &wrong), Err(BackupError::WrongMasterKey { .. })));
    assert_eq!(entries(&path, &phrase("a long passphrase")).unwrap().len(), 1);
}

#[test]
fn what_is_not_asked_for_is_left_out() {
    let (vault, wrapped) = Vault::create(&master(1)).unwrap();
    let entry = |key: &str| (key.to_owned(), Versioned { value: wrapped.clone(), version: 1 });
    let keys = [paths::DATA_KEY_KEY, paths::FORMAT_KEY, "operation/aa/bb", "token/aa"];
    let mut snapshot = Snapshot { sequence: 1, entries: keys.map(entry).to_vec() };
    snapshot.entries.sort_by(|one, other| one.0.cmp(&other.0));
    let mut writer = Writer::new(snapshot, &vault, 1, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, writer.next_piece(usize::MAX).unwrap().unwrap()).unwrap();
    let found = entries(&path, &key_file(folder.path(), "master.key", 1)).unwrap();
    assert_eq!(found, [("token/aa".to_owned(), wrapped)]);
}
