//! Encryption at rest: the master key wraps the data key, the data key seals
//! every value and is the root of the keys for tickets and sealed objects.

use keyward_crypto::{SealingKey, hkdf_sha256, hmac_sha256, random};
use zeroize::Zeroizing;

use super::paths;
use crate::id;

/// The version of what this program writes.
pub(crate) const FORMAT: u32 = 1;

/// A secret of 32 bytes.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Seals and opens what stands in the store.
pub(crate) struct Vault {
    data: SealingKey,
    /// For the unique keys of names and labels, and for operation digests.
    index: Secret,
    /// For tickets.
    pub(crate) tickets: Secret,
    /// For session objects that travel sealed.
    pub(crate) sealed: SealingKey,
    /// For backups.
    backups: Secret,
}

/// A value that the data key does not open: changed, moved, or another key's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of the store does not decrypt")]
pub(crate) struct Unauthentic;

impl Vault {
    /// A new data key, and its wrapped form for the store.
    pub(crate) fn create(master: &Secret) -> Result<(Self, Vec<u8>), Unauthentic> {
        let data_key = Zeroizing::new(random::bytes::<32>());
        let wrapped = SealingKey::new(master)
            .seal(&authenticated(paths::DATA_KEY_KEY), &*data_key)
            .map_err(|_| Unauthentic)?;
        Ok((Self::new(&data_key)?, wrapped))
    }

    /// The vault whose data key `wrapped` is.
    ///
    /// # Errors
    /// [`Unauthentic`] if the master key is not the one that wrapped it.
    pub(crate) fn open(master: &Secret, wrapped: &[u8]) -> Result<Self, Unauthentic> {
        let opened = SealingKey::new(master)
            .open(&authenticated(paths::DATA_KEY_KEY), wrapped)
            .map_err(|_| Unauthentic)?;
        let data_key: [u8; 32] = opened.as_slice().try_into().map_err(|_| Unauthentic)?;
        Self::new(&Zeroizing::new(data_key))
    }

    /// The same data key, wrapped by another master key.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn wrap_anew(
        old: &Secret,
        wrapped: &[u8],
        new: &Secret,
    ) -> Result<Vec<u8>, Unauthentic> {
        let path = authenticated(paths::DATA_KEY_KEY);
        let data_key = SealingKey::new(old).open(&path, wrapped).map_err(|_| Unauthentic)?;
        SealingKey::new(new).seal(&path, &data_key).map_err(|_| Unauthentic)
    }

    fn new(data_key: &Secret) -> Result<Self, Unauthentic> {
        let derive = |purpose: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            hkdf_sha256(&**data_key, b"keyward", purpose, &mut *key).map_err(|_| Unauthentic)?;
            Ok(key)
        };
        Ok(Self {
            data: SealingKey::new(data_key),
            index: derive(b"index")?,
            tickets: derive(b"tickets")?,
            sealed: SealingKey::new(&*derive(b"sealed session objects")?),
            backups: derive(b"backups")?,
        })
    }

    /// The value to store under `path`.
    pub(crate) fn seal(&self, path: &str, plaintext: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        self.data.seal(&authenticated(path), plaintext).map_err(|_| Unauthentic)
    }

    /// What was stored under `path`.
    pub(crate) fn open_value(
        &self,
        path: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
        self.data.open(&authenticated(path), sealed).map_err(|_| Unauthentic)
    }

    /// The key of one backup, which begins with what `header` is the digest of.
    pub(crate) fn backup_key(&self, header: &[u8; 32]) -> Result<Secret, Unauthentic> {
        let mut key = Zeroizing::new([0; 32]);
        hkdf_sha256(&*self.backups, header, b"keyward backup", &mut *key)
            .map_err(|_| Unauthentic)?;
        Ok(key)
    }

    /// A keyed hash: it says whether two names are the same and nothing else.
    pub(crate) fn hash(&self, purpose: &str, value: &[u8]) -> String {
        id::encode(&self.digest(purpose, value))
    }

    /// As [`hash`](Self::hash), in bytes.
    pub(crate) fn digest(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        let mut input = purpose.as_bytes().to_vec();
        input.push(0);
        input.extend_from_slice(value);
        let input = Zeroizing::new(input);
        hmac_sha256(&*self.index, &input)
    }
}

/// What is authenticated with a value: where it stands and the format.
fn authenticated(path: &str) -> Vec<u8> {
    format!("{path}|{FORMAT}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_own_path_and_key_only() {
        let master = Zeroizing::new([1; 32]);
        let (vault, wrapped) = Vault::create(&master).unwrap();
        let sealed = vault.seal("a", b"value").unwrap();
        let again = Vault::open(&master, &wrapped).unwrap();
        assert_eq!(again.open_value("a", &sealed).unwrap().as_slice(), b"value");
        assert_eq!(again.open_value("b", &sealed), Err(Unauthentic));
        let other = Zeroizing::new([2; 32]);
        assert!(Vault::open(&other, &wrapped).is_err());
        let anew = Vault::wrap_anew(&master, &wrapped, &other).unwrap();
        let moved = Vault::open(&other, &anew).unwrap();
        assert_eq!(moved.open_value("a", &sealed).unwrap().as_slice(), b"value");
        assert_eq!(vault.hash("x", b"name"), again.hash("x", b"name"));
        assert_ne!(vault.hash("x", b"name"), again.hash("y", b"name"));
    }
}
