//! JKS and JCEKS, the keystores of Java's own format. The protection of their
//! keys is the one cryptography that is written here: no library that is kept
//! has it, and JKS files are where the keys of most clusters are.

use keyward_crypto::block::BlockKey;
use keyward_crypto::digest::{Digester, Hash};
use keyward_crypto::mac::compare;
use zeroize::Zeroizing;

use super::{Content, Entry, Keystore};
use crate::der::Reader;
use crate::error::{Error, Result};
use crate::file::java;
use crate::file::pbe::work;
use crate::material::{KeyPair, secret_key};
use crate::password::{Passwords, wrong};

/// Whether a file begins as one of these.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&JKS) || bytes.starts_with(&JCEKS)
}

/// Reads a keystore and what its entries hold.
///
/// # Errors
/// If the password is wrong, or the file is damaged.
pub(crate) fn read(name: &str, bytes: &[u8], passwords: &mut Passwords<'_>) -> Result<Keystore> {
    let (body, digest) =
        bytes.split_at_checked(bytes.len().saturating_sub(DIGEST)).ok_or_else(truncated)?;
    let kind = if body.starts_with(&JKS) { "JKS" } else { "JCEKS" };
    // The structure comes first: of a truncated file no password is right.
    let raw = Stream { bytes: body, at: 4 }.entries()?;
    let (_, store_password) = passwords.open(name, &[], |password| {
        let mut digester = Digester::new(Hash::Sha1);
        digester.update(&utf16(password));
        digester.update(b"Mighty Aphrodite");
        digester.update(body);
        let own = digester.finish();
        compare(&own, DIGEST, digest).map_err(|_| wrong())
    })?;
    let entries = raw
        .into_iter()
        .map(|entry| {
            let what = format!("{name}, entry {:?}", entry.alias);
            let content = entry.content.open(&what, &store_password, passwords);
            Entry { name: entry.alias, content, named: true }
        })
        .collect();
    Ok(Keystore { kind, entries, remarks: Vec::new() })
}

/// An entry before its key is decrypted.
struct Raw<'a> {
    alias: String,
    content: RawContent<'a>,
}

enum RawContent<'a> {
    Key { protected: &'a [u8], chain: Vec<Vec<u8>> },
    Certificate(Vec<u8>),
    Secret(&'a [u8]),
}

impl RawContent<'_> {
    fn open(self, what: &str, store_password: &str, passwords: &mut Passwords<'_>) -> Content {
        match self {
            Self::Certificate(der) => Content::Certificate(der),
            Self::Key { protected, chain } => {
                let key = passwords
                    .open(what, &[store_password], |password| private_key(protected, password))
                    .and_then(|(plain, _)| KeyPair::from_pkcs8(&plain));
                match key {
                    Ok(pair) => Content::Key { pair: Box::new(pair), chain },
                    Err(error) => Content::Closed { error, chain },
                }
            }
            Self::Secret(stream) => {
                let key = passwords
                    .open(what, &[store_password], |password| sealed_key(stream, password));
                match key {
                    Ok((attributes, _)) => Content::Secret(attributes),
                    Err(error) => Content::Closed { error, chain: Vec::new() },
                }
            }
        }
    }
}

struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Stream<'a> {
    fn entries(mut self) -> Result<Vec<Raw<'a>>> {
        let version = self.number()?;
        if !matches!(version, 1 | 2) {
            return Err(Error::new(format!("its version {version} is not known")));
        }
        let count = self.number()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let tag = self.number()?;
            let length = usize::from(self.short()?);
            let alias = java::text(self.take(length)?)?;
            self.take(8)?;
            let content = match tag {
                1 => {
                    let protected = self.bytes()?;
                    let certificates = self.number()?;
                    let chain = (0..certificates)
                        .map(|_| self.certificate(version))
                        .collect::<Result<Vec<_>>>()?;
                    RawContent::Key { protected, chain }
                }
                2 => RawContent::Certificate(self.certificate(version)?),
                3 => {
                    let rest = self.bytes.get(self.at..).ok_or_else(truncated)?;
                    let (_, length) =
                        java::object(rest).map_err(|error| error.of(format!("entry {alias:?}")))?;
                    RawContent::Secret(self.take(length)?)
                }
                other => return Err(Error::new(format!("an entry has the unknown kind {other}"))),
            };
            entries.push(Raw { alias, content });
        }
        if self.at != self.bytes.len() {
            return Err(Error::new("there is something between its entries and its digest"));
        }
        Ok(entries)
    }

    fn certificate(&mut self, version: u32) -> Result<Vec<u8>> {
        if version == 2 {
            let length = usize::from(self.short()?);
            let kind = java::text(self.take(length)?)?;
            if kind != "X.509" && kind != "X509" {
                return Err(Error::new(format!("a certificate has the unknown kind {kind:?}")));
            }
        }
        Ok(self.bytes()?.to_vec())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or_else(truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn number(&mut self) -> Result<u32> {
        Ok(self.take(4)?.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
    }

    fn short(&mut self) -> Result<u16> {
        Ok(self.take(2)?.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)))
    }
}

/// The PKCS#8 key in the EncryptedPrivateKeyInfo of an entry.
fn private_key(protected: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut info = Reader::new(protected).sequence()?;
    let mut algorithm = info.sequence()?;
    let data = info.octets()?;
    match algorithm.identifier()?.as_str() {
        "1.3.6.1.4.1.42.2.17.1.1" => key_protector(&data, password),
        "1.3.6.1.4.1.42.2.19.1" => {
            let mut parameters = algorithm.sequence()?;
            let salt = parameters.octets()?;
            let iterations = work(parameters.number()?)?;
            let plain = md5_and_triple_des(&salt, iterations, &data, password)?;
            // A wrong password may by chance leave a right padding.
            if !crate::der::is_one_element(&plain) {
                return Err(wrong());
            }
            Ok(plain)
        }
        // JCEKS may hold what any provider of Java protected.
        _ => super::pbe::decrypt_key(protected, password),
    }
}

/// Sun's KeyProtector: a salt, the key under a stream of SHA-1 digests, and a
/// digest over password and key.
fn key_protector(data: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>> {
    let damaged = || Error::new("its encrypted part is damaged");
    let (salt, rest) = data.split_at_checked(DIGEST).ok_or_else(damaged)?;
    let (encrypted, check) =
        rest.split_at_checked(rest.len().saturating_sub(DIGEST)).ok_or_else(damaged)?;
    let password = utf16(password);
    let hash = |data: &[u8]| {
        let mut digester = Digester::new(Hash::Sha1);
        digester.update(&password);
        digester.update(data);
        Zeroizing::new(digester.finish())
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(encrypted.len()));
    let mut stream = Zeroizing::new(salt.to_vec());
    for block in encrypted.chunks(DIGEST) {
        stream = hash(&stream);
        plain.extend(block.iter().zip(stream.iter()).map(|(byte, mask)| byte ^ mask));
    }
    compare(&hash(&plain), DIGEST, check).map_err(|_| wrong())?;
    Ok(plain)
}

/// SunJCE's PBEWithMD5AndTripleDES, which is its own: each half of the salt is
/// hashed with the password for half of the key and the vector.
fn md5_and_triple_des(
    salt: &[u8],
    iterations: u32,
    data: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut salt: [u8; 8] =
        salt.try_into().map_err(|_| Error::new("its encrypted part is damaged"))?;
    if salt[..4] == salt[4..] {
        // Meant to reverse the half; this is what it does.
        for at in 0..2 {
            let byte = salt[at];
            salt[at] = salt[3 - at];
            salt[2] = byte;
        }
    }
    let mut derived = Zeroizing::new(Vec::with_capacity(32));
    for half in salt.chunks(4) {
        let mut digest = Zeroizing::new(half.to_vec());
        for _ in 0..iterations {
            let mut digester = Digester::new(Hash::Md5);
            digester.update(&digest);
            digester.update(password.as_bytes());
            digest = Zeroizing::new(digester.finish());
        }
        derived.extend_from_slice(&digest);
    }
    BlockKey::triple_des(&derived[..24])?.cbc_pad_decrypt(&derived[24..], data).map_err(|error| {
        match error {
            keyward_crypto::Error::EncryptedDataInvalid => wrong(),
            _ => Error::new("its encrypted part is damaged"),
        }
    })
}

/// The secret key in a serialised SealedObject.
fn sealed_key(stream: &[u8], password: &str) -> Result<keyward_token::Attributes> {
    let (sealed, _) = java::object(stream)?;
    let algorithm = sealed.text("sealAlg")?;
    if algorithm != "PBEWithMD5AndTripleDES" {
        return Err(Error::new(format!("its protection {algorithm} is not known")));
    }
    let mut parameters = Reader::new(sealed.bytes("encodedParams")?).sequence()?;
    let salt = parameters.octets()?;
    let iterations = work(parameters.number()?)?;
    let content = sealed.bytes("encryptedContent")?;
    let plain = md5_and_triple_des(&salt, iterations, content, password)?;
    let (key, _) = java::object(&plain).map_err(|_| wrong())?;
    // A SecretKeySpec, or the KeyRep that stands for the key of a provider.
    let value = key.bytes("key").or_else(|_| key.bytes("encoded"))?;
    let algorithm = key.text("algorithm").unwrap_or(&key.class);
    Ok(secret_key(algorithm, value))
}

/// Java's characters, big-endian.
fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * password.len()));
    for unit in password.encode_utf16() {
        bytes.extend_from_slice(&unit.to_be_bytes());
    }
    bytes
}

fn truncated() -> Error {
    Error::new("it ends too early")
}

const JKS: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const JCEKS: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

/// Bytes of SHA-1.
const DIGEST: usize = 20;
