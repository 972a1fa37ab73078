//! Keystores in files: which kind a file is, what is in it, and folders of them.

mod java;
mod jks;
mod pairing;
mod pbe;
mod pem;
mod pkcs12;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use keyward_token::Attributes;
use zeroize::Zeroizing;

pub(crate) use self::pairing::issuer_of;
use crate::error::{Error, Result};
use crate::material::KeyPair;
use crate::password::Passwords;

/// What a file holds.
#[derive(Debug)]
pub struct Keystore {
    /// "JKS", "JCEKS", "PKCS12", "PEM" or "DER".
    pub kind: &'static str,
    /// In the order of the file.
    pub entries: Vec<Entry>,
    /// What is odd about it.
    pub remarks: Vec<String>,
}

/// A keystore's entry.
#[derive(Debug)]
pub struct Entry {
    /// Its alias, or what stands for it.
    pub name: String,
    /// What it is.
    pub content: Content,
    /// Whether the name is the file's own.
    pub named: bool,
}

/// What an entry holds.
#[derive(Debug)]
pub enum Content {
    /// A private key, and its certificate with the issuers' if there is one.
    Key {
        /// The key.
        pair: Box<KeyPair>,
        /// DER, the key's own first.
        chain: Vec<Vec<u8>>,
    },
    /// A secret key's attributes.
    Secret(Attributes),
    /// A certificate without a key, in DER.
    Certificate(Vec<u8>),
    /// A key that could not be opened.
    Closed {
        /// Why.
        error: Error,
        /// DER, the key's own first.
        chain: Vec<Vec<u8>>,
    },
}

/// Reads a keystore or key file, whatever kind it is.
///
/// # Errors
/// If it is none, damaged, or no password fits; the error names it.
pub fn read(path: &Path, passwords: &mut Passwords<'_>) -> Result<Keystore> {
    let name = path.display().to_string();
    let bytes = content(path)?;
    read_bytes(&name, path, &bytes, passwords)
        .unwrap_or_else(|| {
            Err(Error::new("it is no keystore, key or certificate")
                .hint("JKS, JCEKS, PKCS12, PEM and DER are read"))
        })
        .map_err(|error| error.of(name))
}

/// The files of a folder and those below it that look like keystores, keys or
/// certificates, in the order of their names; and how many others there are.
///
/// # Errors
/// If a folder cannot be read.
pub fn files_below(folder: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let mut found = Vec::new();
    let mut others = 0;
    walk(folder, 0, &mut found, &mut others)?;
    found.sort();
    Ok((found, others))
}

fn walk(folder: &Path, depth: u32, found: &mut Vec<PathBuf>, others: &mut usize) -> Result<()> {
    let unreadable = |error: std::io::Error| {
        Error::new(format!("the folder {} cannot be read: {error}", folder.display()))
    };
    if depth > DEEPEST {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // Links are followed to files and not to folders, which might be above.
        let is_link = fs::symlink_metadata(&path).is_ok_and(|data| data.is_symlink());
        if path.is_dir() {
            if !is_link {
                walk(&path, depth + 1, found, others)?;
            }
        } else if looks_like_one(&path) {
            found.push(path);
        } else {
            *others += 1;
        }
    }
    Ok(())
}

fn looks_like_one(path: &Path) -> bool {
    // A pipe or device could keep the reader waiting.
    if !fs::metadata(path).is_ok_and(|data| data.is_file()) {
        return false;
    }
    let known =
        path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
            EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
        });
    let mut start = Zeroizing::new(Vec::new());
    let Ok(file) = File::open(path) else { return known };
    let read = file.take(SNIFFED).read_to_end(&mut start);
    read.is_ok() && (known || jks::is_one(&start) || pem::is_one(&start) || pkcs12::is_one(&start))
}

fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let name = path.display();
    let unreadable = |error: std::io::Error| Error::new(format!("{name} cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::new(format!("{name} is not a file")));
    }
    if metadata.len() > LARGEST {
        return Err(Error::new(format!("{name} is larger than {} MiB", LARGEST >> 20)));
    }
    // With its full capacity, so that no copy of a key is left behind when it grows.
    let length = usize::try_from(metadata.len()).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(LARGEST).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// `None` if the bytes are no keystore.
fn read_bytes(
    name: &str,
    path: &Path,
    bytes: &[u8],
    passwords: &mut Passwords<'_>,
) -> Option<Result<Keystore>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if jks::is_one(bytes) {
        return Some(jks::read(name, bytes, passwords));
    }
    if pkcs12::is_one(bytes) {
        return Some(pkcs12::read(name, bytes, passwords));
    }
    if pem::is_one(bytes) {
        return Some(pem::read(name, &stem, bytes, passwords));
    }
    pem::read_der(name, &stem, bytes, passwords)
}

/// Of files with other names the first bytes say what they are.
const EXTENSIONS: [&str; 10] =
    ["jks", "jceks", "p12", "pfx", "pem", "key", "crt", "cer", "keystore", "truststore"];

/// Bytes that tell what a file is.
const SNIFFED: u64 = 4096;

/// Bytes. The largest keystores, with ten thousands of entries, have some 20 MiB.
const LARGEST: u64 = 64 << 20;

/// Folders in folders.
const DEEPEST: u32 = 16;
