//! Password-based encryption as PKCS#8, PKCS#12 and PEM files have it. The
//! algorithms are AWS-LC's and, for the derivation of PKCS#12, the crate
//! `pkcs12`'s; here is which of them a file asks for.

use keyward_crypto::block::BlockKey;
use keyward_crypto::digest::Hash;
use keyward_crypto::password::{OldCipher, bytes_to_key, pbkdf2, scrypt};
use pkcs12::kdf::{Pkcs12KeyType, derive_key};
use zeroize::Zeroizing;

use crate::der::Reader;
use crate::error::{Error, Result};
use crate::password::wrong;

/// Decrypts what an AlgorithmIdentifier's content says how to.
///
/// # Errors
/// If the algorithm is not known, asks for too much work, or the password is
/// wrong.
pub(crate) fn decrypt(algorithm: &[u8], data: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut algorithm = Reader::new(algorithm);
    let identifier = algorithm.identifier()?;
    let old = |cipher| Pbe1 { hash: Hash::Sha1, cipher };
    match identifier.as_str() {
        "1.2.840.113549.1.5.13" => pbes2(algorithm.sequence()?, data, password),
        "1.2.840.113549.1.5.3" => Pbe1 { hash: Hash::Md5, cipher: Cipher::Old(OldCipher::Des) }
            .pbkdf1(algorithm, data, password),
        "1.2.840.113549.1.5.10" => {
            old(Cipher::Old(OldCipher::Des)).pbkdf1(algorithm, data, password)
        }
        "1.2.840.113549.1.12.1.3" => old(Cipher::TripleDes).pkcs12(algorithm, data, password),
        "1.2.840.113549.1.12.1.4" => old(Cipher::TwoKeyDes).pkcs12(algorithm, data, password),
        "1.2.840.113549.1.12.1.5" => {
            old(Cipher::Old(OldCipher::Rc2With128Bits)).pkcs12(algorithm, data, password)
        }
        "1.2.840.113549.1.12.1.6" => {
            old(Cipher::Old(OldCipher::Rc2With40Bits)).pkcs12(algorithm, data, password)
        }
        other => Err(Error::new(format!("the encryption {other} is not known"))),
    }
}

/// Decrypts a DER EncryptedPrivateKeyInfo (RFC 5208 section 6).
///
/// # Errors
/// As [`decrypt`].
pub(crate) fn decrypt_key(der: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut info = Reader::new(der).sequence()?;
    let algorithm = info.element(crate::der::SEQUENCE)?;
    let data = info.octets()?;
    let plain = decrypt(algorithm.content, &data, password)?;
    // A wrong password may by chance leave a right padding.
    if !crate::der::is_one_element(&plain) {
        return Err(wrong());
    }
    Ok(plain)
}

/// Decrypts a PEM block with a DEK-Info header, as OpenSSL wrote them until 1.0.
///
/// # Errors
/// As [`decrypt`].
pub(crate) fn decrypt_pem(
    information: &str,
    data: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>> {
    let (name, vector) = information.split_once(',').unwrap_or((information, ""));
    let vector = from_hex(vector.trim())
        .ok_or_else(|| Error::new("the block's DEK-Info header has no initialisation vector"))?;
    let (cipher, length) = match name.trim() {
        "AES-128-CBC" => (Cipher::Aes, 16),
        "AES-192-CBC" => (Cipher::Aes, 24),
        "AES-256-CBC" => (Cipher::Aes, 32),
        "DES-EDE3-CBC" => (Cipher::TripleDes, 24),
        "DES-CBC" => (Cipher::Old(OldCipher::Des), 8),
        other => return Err(Error::new(format!("the encryption {other:?} is not known"))),
    };
    let salt = vector.get(..8).ok_or_else(|| Error::new("the block's salt is too short"))?;
    let key = bytes_to_key(Hash::Md5, password.as_bytes(), salt, 1, length)?;
    let plain = cipher.decrypt(&key, &vector, data)?;
    if !crate::der::is_one_element(&plain) {
        return Err(wrong());
    }
    Ok(plain)
}

/// A key for the integrity of a PKCS#12 file (RFC 7292 appendix B). `password` is
/// as [`bmp`] gives it, or empty for none at all.
pub(crate) fn mac_key(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u64,
) -> Result<Zeroizing<Vec<u8>>> {
    let rounds = work(iterations)?;
    derive(hash, password, salt, Pkcs12KeyType::Mac, rounds, hash.length())
}

/// A password as PKCS#12 hashes it: big-endian UTF-16 with a zero at the end.
pub(crate) fn bmp(password: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    for unit in password.encode_utf16().chain([0]) {
        bytes.extend_from_slice(&unit.to_be_bytes());
    }
    bytes
}

/// How often a file may have a password hashed: what Java allows. OpenSSL spins
/// for minutes on some.
pub(crate) fn work(iterations: u64) -> Result<u32> {
    match u32::try_from(iterations) {
        Ok(iterations @ 1..=MOST_ITERATIONS) => Ok(iterations),
        _ => Err(Error::new(format!(
            "it asks for {iterations} iterations of its password, of which at most \
             {MOST_ITERATIONS} are done"
        ))),
    }
}

struct Pbe1 {
    hash: Hash,
    cipher: Cipher,
}

impl Pbe1 {
    /// RFC 8018 section 6.1.
    fn pbkdf1(
        self,
        algorithm: Reader<'_>,
        data: &[u8],
        password: &str,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let (salt, iterations) = parameters(algorithm)?;
        let key = bytes_to_key(self.hash, password.as_bytes(), &salt, iterations, 16)?;
        self.cipher.decrypt(&key[..8], &key[8..], data)
    }

    /// RFC 7292 appendix B and C.
    fn pkcs12(
        self,
        algorithm: Reader<'_>,
        data: &[u8],
        password: &str,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let (salt, iterations) = parameters(algorithm)?;
        let mut last = wrong();
        // No password at all and an empty one are two things, and writers differ.
        for password in spellings(password) {
            let part = |id, length| derive(self.hash, &password, &salt, id, iterations, length);
            let key = part(Pkcs12KeyType::EncryptionKey, self.cipher.key_length())?;
            let vector = part(Pkcs12KeyType::Iv, 8)?;
            match self.cipher.decrypt(&key, &vector, data) {
                Ok(plain) => return Ok(plain),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A password as it is hashed, and none at all if it is empty.
pub(crate) fn spellings(password: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = vec![bmp(password)];
    if password.is_empty() {
        all.push(Zeroizing::new(Vec::new()));
    }
    all
}

fn parameters(mut algorithm: Reader<'_>) -> Result<(Vec<u8>, u32)> {
    let mut parameters = algorithm.sequence()?;
    let salt = parameters.octets()?.into_owned();
    Ok((salt, work(parameters.number()?)?))
}

/// RFC 8018 section 6.2.
fn pbes2(mut parameters: Reader<'_>, data: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut derivation = parameters.sequence()?;
    let mut encryption = parameters.sequence()?;
    let cipher_name = encryption.identifier()?;
    let (cipher, length) = match cipher_name.as_str() {
        "2.16.840.1.101.3.4.1.2" => (Cipher::Aes, 16),
        "2.16.840.1.101.3.4.1.22" => (Cipher::Aes, 24),
        "2.16.840.1.101.3.4.1.42" => (Cipher::Aes, 32),
        "1.2.840.113549.3.7" => (Cipher::TripleDes, 24),
        "1.3.14.3.2.7" => (Cipher::Old(OldCipher::Des), 8),
        other => return Err(Error::new(format!("the encryption {other} is not known"))),
    };
    let vector = encryption.octets()?.into_owned();
    let derivation_name = derivation.identifier()?;
    let mut parameters = derivation.sequence()?;
    let key = match derivation_name.as_str() {
        "1.2.840.113549.1.5.12" => {
            let salt = parameters.octets()?.into_owned();
            let iterations = work(parameters.number()?)?;
            if parameters.optional(crate::der::INTEGER)?.is_some_and(|stated| {
                stated.content.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)) != length
            }) {
                return Err(Error::new("its key has not the length of its cipher's"));
            }
            let hash = match parameters.is_empty() {
                true => Hash::Sha1,
                false => hmac(&parameters.sequence()?.identifier()?)?,
            };
            pbkdf2(hash, password.as_bytes(), &salt, iterations, length)?
        }
        "1.3.6.1.4.1.11591.4.11" => {
            let salt = parameters.octets()?.into_owned();
            let costs = (parameters.number()?, parameters.number()?, parameters.number()?);
            scrypt(password.as_bytes(), &salt, costs, MOST_MEMORY, length)?
        }
        other => return Err(Error::new(format!("the key derivation {other} is not known"))),
    };
    cipher.decrypt(&key, &vector, data)
}

/// RFC 8018 appendix B.1.
fn hmac(identifier: &str) -> Result<Hash> {
    Ok(match identifier {
        "1.2.840.113549.2.7" => Hash::Sha1,
        "1.2.840.113549.2.8" => Hash::Sha224,
        "1.2.840.113549.2.9" => Hash::Sha256,
        "1.2.840.113549.2.10" => Hash::Sha384,
        "1.2.840.113549.2.11" => Hash::Sha512,
        other => return Err(Error::new(format!("the hash {other} is not known"))),
    })
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes,
    TripleDes,
    /// Triple DES of two keys.
    TwoKeyDes,
    Old(OldCipher),
}

impl Cipher {
    /// Bytes, of those that PKCS#12 derives.
    fn key_length(self) -> usize {
        match self {
            Self::Aes => 32,
            Self::TripleDes => 24,
            Self::TwoKeyDes => 16,
            Self::Old(cipher) => cipher.key_length(),
        }
    }

    /// CBC, the padding taken off. What does not decrypt has a wrong password.
    fn decrypt(self, key: &[u8], vector: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let block = match self {
            Self::Aes => BlockKey::aes(key)?,
            Self::TripleDes | Self::TwoKeyDes => BlockKey::triple_des(key)?,
            Self::Old(cipher) => {
                return cipher.decrypt(key, vector, data).map_err(|error| what(&error));
            }
        };
        block.cbc_pad_decrypt(vector, data).map_err(|error| what(&error))
    }
}

fn what(error: &keyward_crypto::Error) -> Error {
    match error {
        keyward_crypto::Error::EncryptedDataInvalid => wrong(),
        _ => Error::new("its encrypted part is damaged"),
    }
}

fn derive(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    id: Pkcs12KeyType,
    rounds: u32,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    let rounds = rounds.try_into().unwrap_or(i32::MAX);
    Ok(Zeroizing::new(match hash {
        Hash::Sha1 => derive_key::<sha1::Sha1>(password, salt, id, rounds, length),
        Hash::Sha224 => derive_key::<sha2::Sha224>(password, salt, id, rounds, length),
        Hash::Sha256 => derive_key::<sha2::Sha256>(password, salt, id, rounds, length),
        Hash::Sha384 => derive_key::<sha2::Sha384>(password, salt, id, rounds, length),
        Hash::Sha512 => derive_key::<sha2::Sha512>(password, salt, id, rounds, length),
        other => return Err(Error::new(format!("a key derivation with {other} is not known"))),
    }))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(&digits[start..start + 2], 16).ok())
        .collect()
}

const MOST_ITERATIONS: u32 = 5_000_000;

/// Bytes for scrypt; OpenSSL's own costs take 16 MiB.
const MOST_MEMORY: usize = 256 << 20;
