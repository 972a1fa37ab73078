//! PKCS#12 (RFC 7292), as Java and OpenSSL write it, old and new.

use std::borrow::Cow;

use keyward_crypto::digest::Hash;
use keyward_crypto::hmac::Hmac;
use keyward_token::Attributes;
use zeroize::Zeroizing;

use super::{Content, Entry, Keystore, pairing};
use crate::der::{self, Element, Reader};
use crate::error::{Error, Result};
use crate::file::pbe;
use crate::material::{KeyPair, hex, secret_key};
use crate::password::{Passwords, wrong};

/// Whether bytes begin as a PFX does.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    let begins = |bytes| -> Result<bool> {
        let mut pfx = Reader::new(bytes).sequence()?;
        pfx.integer()?;
        let mut content = pfx.sequence()?;
        Ok(matches!(content.identifier()?.as_str(), DATA | SIGNED_DATA))
    };
    begins(bytes).unwrap_or(false) || looks_truncated(bytes)
}

/// Reads a keystore and what its entries hold.
///
/// # Errors
/// If the password is wrong, or the file is damaged.
pub(crate) fn read(name: &str, bytes: &[u8], passwords: &mut Passwords<'_>) -> Result<Keystore> {
    let mut outer = Reader::new(bytes);
    let mut pfx = outer.sequence()?;
    pfx.integer()?;
    let mut authenticated = pfx.sequence()?;
    if authenticated.identifier()? != DATA {
        return Err(Error::new("it is sealed by a signature, which is not known"));
    }
    let safe = Reader::new(authenticated.element(EXPLICIT_0)?.content).octets()?;
    let mac = if pfx.is_empty() { None } else { Some(Mac::read(pfx.sequence()?)?) };
    let open = |password: &str| match &mac {
        Some(mac) => mac.verify(&safe, password),
        None => bags(&safe, password).map(drop),
    };
    // Without MAC and encryption it opens with no password at all.
    let first: &[&str] = if mac.is_none() && bags(&safe, "").is_ok() { &[""] } else { &[] };
    let ((), password) = passwords.open(name, first, open)?;
    let found = bags(&safe, &password)?;
    let mut keystore = assemble(name, found, &password, passwords);
    if !outer.is_empty() {
        keystore.remarks.push("there are bytes after its end, which were not read".to_owned());
    }
    Ok(keystore)
}

/// The integrity of a file (RFC 7292 section 5.1).
struct Mac<'a> {
    hash: Hash,
    digest: Cow<'a, [u8]>,
    salt: Cow<'a, [u8]>,
    iterations: u64,
}

impl<'a> Mac<'a> {
    fn read(mut data: Reader<'a>) -> Result<Self> {
        let mut info = data.sequence()?;
        let hash = match info.sequence()?.identifier()?.as_str() {
            "1.3.14.3.2.26" => Hash::Sha1,
            "2.16.840.1.101.3.4.2.4" => Hash::Sha224,
            "2.16.840.1.101.3.4.2.1" => Hash::Sha256,
            "2.16.840.1.101.3.4.2.2" => Hash::Sha384,
            "2.16.840.1.101.3.4.2.3" => Hash::Sha512,
            "1.2.840.113549.1.5.14" => {
                return Err(Error::new("its integrity is protected by PBMAC1, which is not known")
                    .hint("write it anew by openssl pkcs12 -export without -pbmac1_pbkdf2"));
            }
            other => return Err(Error::new(format!("the hash {other} is not known"))),
        };
        let digest = info.octets()?;
        let salt = data.octets()?;
        let iterations = if data.is_empty() { 1 } else { data.number()? };
        pbe::work(iterations)?;
        Ok(Self { hash, digest, salt, iterations })
    }

    fn verify(&self, data: &[u8], password: &str) -> Result<()> {
        for password in pbe::spellings(password) {
            let key = pbe::mac_key(self.hash, &password, &self.salt, self.iterations)?;
            let mut mac = Hmac::new(self.hash, &key);
            mac.update(data);
            if mac.verify(self.hash.length(), &self.digest).is_ok() {
                return Ok(());
            }
        }
        Err(wrong())
    }
}

/// A SafeBag with what its attributes say.
struct Bag {
    kind: Bagged,
    friendly_name: Option<String>,
    local_key_id: Option<Vec<u8>>,
    /// Whether Java takes the certificate for an authority's that it trusts.
    trusted: bool,
}

enum Bagged {
    /// PrivateKeyInfo.
    Key(Zeroizing<Vec<u8>>),
    /// EncryptedPrivateKeyInfo.
    Shrouded(Vec<u8>),
    Certificate(Vec<u8>),
    /// EncryptedPrivateKeyInfo of a secret key.
    Secret(Vec<u8>),
    /// The OBJECT IDENTIFIER of something else.
    Other(String),
}

/// All bags of an AuthenticatedSafe.
fn bags(safe: &[u8], password: &str) -> Result<Vec<Bag>> {
    let mut contents = Reader::new(safe).sequence()?;
    let mut found = Vec::new();
    while !contents.is_empty() {
        let mut content = contents.sequence()?;
        let kind = content.identifier()?;
        let inner = content.element(EXPLICIT_0)?.content;
        match kind.as_str() {
            DATA => safe_contents(&Reader::new(inner).octets()?, 0, &mut found)?,
            ENCRYPTED_DATA => {
                let mut encrypted = Reader::new(inner).sequence()?;
                encrypted.number()?;
                let mut info = encrypted.sequence()?;
                info.identifier()?;
                let algorithm = info.element(der::SEQUENCE)?;
                let data = der::octets(info.any()?, IMPLICIT_0)?;
                let plain = pbe::decrypt(algorithm.content, &data, password)?;
                // A wrong password may by chance leave a right padding.
                safe_contents(&plain, 0, &mut found).map_err(|_| wrong())?;
            }
            other => return Err(Error::new(format!("a part of the kind {other} is not known"))),
        }
    }
    Ok(found)
}

fn safe_contents(bytes: &[u8], depth: u32, found: &mut Vec<Bag>) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::new("its structure is damaged"));
    }
    let mut bags = Reader::new(bytes).sequence()?;
    while !bags.is_empty() {
        let mut bag = bags.sequence()?;
        let identifier = bag.identifier()?;
        let value = bag.element(EXPLICIT_0)?.content;
        let kind = match identifier.strip_prefix("1.2.840.113549.1.12.10.1.").unwrap_or_default() {
            "1" => Bagged::Key(Zeroizing::new(value.to_vec())),
            "2" => Bagged::Shrouded(value.to_vec()),
            "3" => certificate(value)?,
            "5" => {
                let mut secret = Reader::new(value).sequence()?;
                secret.identifier()?;
                let key = Reader::new(secret.element(EXPLICIT_0)?.content).octets()?;
                Bagged::Secret(key.into_owned())
            }
            "6" => {
                safe_contents(value, depth + 1, found)?;
                continue;
            }
            _ => Bagged::Other(identifier),
        };
        let mut attributes = BagAttributes::default();
        if let Some(set) = bag.optional(der::SET)? {
            attributes.read(set)?;
        }
        let BagAttributes { friendly_name, local_key_id, trusted } = attributes;
        found.push(Bag { kind, friendly_name, local_key_id, trusted });
    }
    Ok(())
}

fn certificate(value: &[u8]) -> Result<Bagged> {
    let mut bag = Reader::new(value).sequence()?;
    let kind = bag.identifier()?;
    if kind != "1.2.840.113549.1.9.22.1" {
        return Ok(Bagged::Other(kind));
    }
    let der = Reader::new(bag.element(EXPLICIT_0)?.content).octets()?;
    Ok(Bagged::Certificate(der.into_owned()))
}

#[derive(Default)]
struct BagAttributes {
    friendly_name: Option<String>,
    local_key_id: Option<Vec<u8>>,
    trusted: bool,
}

impl BagAttributes {
    fn read(&mut self, set: Element<'_>) -> Result<()> {
        let mut attributes = Reader::new(set.content);
        while !attributes.is_empty() {
            let mut attribute = attributes.sequence()?;
            let identifier = attribute.identifier()?;
            let mut values = Reader::new(attribute.element(der::SET)?.content);
            match identifier.as_str() {
                "1.2.840.113549.1.9.20" if !values.is_empty() => {
                    let bytes = values.element(der::BMP_STRING)?.content;
                    let units: Vec<u16> = bytes
                        .chunks(2)
                        .map(|pair| pair.iter().fold(0, |all, byte| all << 8 | u16::from(*byte)))
                        .collect();
                    self.friendly_name = Some(String::from_utf16_lossy(&units));
                }
                "1.2.840.113549.1.9.21" if !values.is_empty() => {
                    self.local_key_id = Some(values.octets()?.into_owned());
                }
                "2.16.840.1.113894.746875.1.1" => self.trusted = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Makes entries of bags: each key with the certificate of its own public half,
/// whatever the attributes say, and that one's issuers.
fn assemble(
    name: &str,
    bags: Vec<Bag>,
    store_password: &str,
    passwords: &mut Passwords<'_>,
) -> Keystore {
    let certificates: Vec<Vec<u8>> = bags
        .iter()
        .filter_map(|bag| match &bag.kind {
            Bagged::Certificate(der) => Some(der.clone()),
            _ => None,
        })
        .collect();
    let mut remarks = Vec::new();
    let mut entries = Vec::new();
    let mut used = Vec::new();
    for (index, bag) in bags.iter().enumerate() {
        let name_of_key = bag.name().unwrap_or_else(|| format!("key {}", index + 1));
        let what = format!("{name}, entry {name_of_key:?}");
        let key = match &bag.kind {
            Bagged::Key(der) => KeyPair::from_pkcs8(der),
            Bagged::Shrouded(der) => passwords
                .open(&what, &[store_password], |password| pbe::decrypt_key(der, password))
                .and_then(|(plain, _)| KeyPair::from_pkcs8(&plain)),
            Bagged::Secret(der) => {
                let content = passwords
                    .open(&what, &[store_password], |password| secret(der, password))
                    .map(|(attributes, _)| attributes);
                entries.push(Entry {
                    named: bag.friendly_name.is_some(),
                    name: name_of_key,
                    content: match content {
                        Ok(attributes) => Content::Secret(attributes),
                        Err(error) => Content::Closed { error, chain: Vec::new() },
                    },
                });
                continue;
            }
            Bagged::Other(kind) => {
                remarks.push(format!("a bag of the kind {kind} is not known and was left out"));
                continue;
            }
            Bagged::Certificate(_) => continue,
        };
        let beside = bag.local_key_id.as_ref().and_then(|id| {
            bags.iter().find_map(|other| match &other.kind {
                Bagged::Certificate(der) if other.local_key_id.as_ref() == Some(id) => Some(der),
                _ => None,
            })
        });
        let content = match key {
            Ok(pair) => {
                let own = pairing::certificate_of(&pair.info, &certificates);
                if let Some(beside) = beside
                    && own != Some(beside)
                {
                    remarks.push(format!(
                        "entry {name_of_key:?}: its localKeyID leads to the certificate of another \
                         key; it was paired by its public key"
                    ));
                }
                let chain = own.map_or_else(Vec::new, |own| pairing::chain(own, &certificates));
                Content::Key { pair: Box::new(pair), chain }
            }
            Err(error) => {
                let chain = beside.map_or_else(Vec::new, |own| pairing::chain(own, &certificates));
                Content::Closed { error, chain }
            }
        };
        if let Content::Key { chain, .. } | Content::Closed { chain, .. } = &content {
            used.extend(chain.iter().cloned());
        }
        entries.push(Entry { named: bag.friendly_name.is_some(), name: name_of_key, content });
    }
    let mut unseen = 0;
    for (index, bag) in bags.iter().enumerate() {
        let Bagged::Certificate(der) = &bag.kind else { continue };
        if used.contains(der) {
            continue;
        }
        unseen += usize::from(!bag.trusted);
        let name = bag.name().unwrap_or_else(|| format!("certificate {}", index + 1));
        let content = Content::Certificate(der.clone());
        entries.push(Entry { named: bag.friendly_name.is_some(), name, content });
    }
    if unseen > 0 {
        remarks.push(format!(
            "{unseen} of its certificates have no trustedKeyUsage attribute: Java does not see them"
        ));
    }
    Keystore { kind: "PKCS12", entries, remarks }
}

impl Bag {
    fn name(&self) -> Option<String> {
        self.friendly_name.clone().or_else(|| self.local_key_id.as_deref().map(hex))
    }
}

/// A secret key as Java keeps it: its algorithm's identifier and its bytes in a
/// PrivateKeyInfo.
fn secret(der: &[u8], password: &str) -> Result<Attributes> {
    let plain = pbe::decrypt_key(der, password)?;
    let mut key = Reader::new(&plain).sequence()?;
    key.number()?;
    let algorithm = match key.sequence()?.identifier()?.as_str() {
        "2.16.840.1.101.3.4.1" => "AES".to_owned(),
        "1.2.840.113549.3.7" => "DESede".to_owned(),
        "1.3.14.3.2.7" => "DES".to_owned(),
        "1.2.840.113549.3.4" => "RC4".to_owned(),
        other => other.to_owned(),
    };
    Ok(secret_key(&algorithm, &key.octets()?))
}

/// Whether bytes begin as a PFX whose end is missing.
fn looks_truncated(bytes: &[u8]) -> bool {
    let length_of_length = |first: u8| if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
    let Some((0x30, rest)) = bytes.split_first().map(|(tag, rest)| (*tag, rest)) else {
        return false;
    };
    let Some(first) = rest.first() else { return false };
    let inner = rest.get(1 + length_of_length(*first)..).unwrap_or_default();
    let version_3 = [der::INTEGER, 1, 3, der::SEQUENCE];
    !der::is_one_element(bytes) && inner.starts_with(&version_3)
}

const DATA: &str = "1.2.840.113549.1.7.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";

const EXPLICIT_0: u8 = 0xa0;
const IMPLICIT_0: u8 = 0x80;

/// Bags in bags.
const DEEPEST: u32 = 8;
