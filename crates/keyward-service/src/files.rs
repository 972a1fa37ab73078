//! Files with secrets: written so that only their owner can read them, refused
//! when others can.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It holds a secret, and not only its owner can read it.
    #[error("{path} holds a secret and others can read it (mode {mode:o}); run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its content is not what it should be.
    #[error("{path} {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, as the end of the sentence.
        problem: String,
    },
}

impl FileError {
    pub(crate) fn content(path: &Path, problem: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), problem: problem.into() }
    }
}

/// Reads a file that holds no secret.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|error| FileError::Read { path: path.to_owned(), error })
}

/// Reads a file that holds a secret: refused if its group or others can read it.
///
/// A credential of systemd is shown with mode 0440, because the service's user
/// has it by an access control list; its folder lets nobody else in.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read_secret_among(path, credentials().as_deref())
}

/// The folder of the credentials that systemd gave this process.
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Where systemd has put a credential (`LoadCredential=NAME:...`).
pub(crate) fn credential(name: &str) -> Result<PathBuf, FileError> {
    let folder = credentials().ok_or_else(|| {
        FileError::content(
            Path::new(name),
            "is to come from a systemd credential, and there is none: is the service started by \
             a unit with LoadCredential=?",
        )
    })?;
    Ok(folder.join(name))
}

fn read_secret_among(
    path: &Path,
    credentials: Option<&Path>,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |error| FileError::Read { path: path.to_owned(), error };
    let mut file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let forbidden = if is_below(path, credentials) { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    // With its whole length at hand the buffer does not move while it fills.
    let length = usize::try_from(metadata.len()).unwrap_or(0).min(LONGEST_SECRET_FILE);
    let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
    file.read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// What a file begins with: enough to tell what it is.
pub(crate) fn beginning(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut content = Zeroizing::new(Vec::with_capacity(BEGINNING + 1));
    fs::File::open(path)
        .and_then(|file| file.take(BEGINNING as u64).read_to_end(&mut content))
        .map_err(|error| FileError::Read { path: path.to_owned(), error })?;
    Ok(content)
}

/// Whether a file is in a folder, whatever links and dots are on the way.
fn is_below(path: &Path, folder: Option<&Path>) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    folder.and_then(real).zip(real(path)).is_some_and(|(folder, path)| path.starts_with(folder))
}

/// Writes a new file and sees it on the disk. Fails if there is one already.
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .map_err(|error| FileError::Write { path: path.to_owned(), error })
}

/// Gives a file that was written whole its name, unless that is taken.
///
/// # Errors
/// [`FileError::Write`], of the kind `AlreadyExists` if it is taken.
pub fn publish(draft: &Path, path: &Path) -> Result<(), FileError> {
    let failed = |error| FileError::Write { path: path.to_owned(), error };
    match fs::hard_link(draft, path) {
        // Unlike a rename, a link replaces nothing.
        Ok(()) => fs::remove_file(draft).map_err(failed)?,
        Err(_) => {
            // Not every file system has links.
            refuse_existing(path)?;
            fs::rename(draft, path).map_err(failed)?;
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Refuses a path that is taken, by whatever.
///
/// # Errors
/// [`FileError::Write`] of the kind `AlreadyExists`.
pub fn refuse_existing(path: &Path) -> Result<(), FileError> {
    match path.symlink_metadata() {
        Ok(_) => {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "it exists already");
            Err(FileError::Write { path: path.to_owned(), error })
        }
        Err(_) => Ok(()),
    }
}

/// Makes a folder that only its owner can look into; one that is there stays.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| FileError::Write { path: path.to_owned(), error })
}

/// The mode of a file with a secret.
pub(crate) const SECRET: u32 = 0o600;
/// The mode of a file that anybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

const LONGEST_SECRET_FILE: usize = 1 << 20;
/// Bytes.
const BEGINNING: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_new(&path, b"x", SECRET).unwrap();
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"x");
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = read_secret(&path).unwrap_err().to_string();
            assert!(refused.contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn a_credential_of_systemd_is_no_exposed_file() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        make_folder(&credentials).unwrap();
        let inside = credentials.join("secret");
        let outside = folder.path().join("outside");
        let link = credentials.join("link");
        for path in [&inside, &outside] {
            write_new(path, b"x", SECRET).unwrap();
        }
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        let outside_by_dots = credentials.join("../outside");
        for (path, mode, fine) in [
            (&inside, 0o440, true),
            (&inside, 0o444, false),
            (&inside, 0o460, false),
            (&outside, 0o440, false),
            (&outside_by_dots, 0o440, false),
            (&link, 0o440, false),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let read = read_secret_among(path, Some(&credentials));
            assert_eq!(read.is_ok(), fine, "{} {mode:o}", path.display());
        }
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(read_secret_among(&inside, None).is_err());
    }
}
