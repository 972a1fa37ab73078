//! PEM files: PKCS#8, PKCS#1 and SEC1 keys, encrypted or not, and certificates.
//! The same in bare DER.

use zeroize::Zeroizing;

use super::{Content, Entry, Keystore, pairing, pbe};
use crate::der::Reader;
use crate::error::{Error, Result};
use crate::material::KeyPair;
use crate::password::Passwords;

/// Whether a file has a PEM block in it.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    let begin = b"-----BEGIN ";
    bytes.windows(begin.len()).any(|window| window == begin)
}

/// Reads all blocks of a file; entries are named after it.
///
/// # Errors
/// If a block is damaged.
pub(crate) fn read(
    name: &str,
    stem: &str,
    bytes: &[u8],
    passwords: &mut Passwords<'_>,
) -> Result<Keystore> {
    let text = Zeroizing::new(tidied(bytes));
    let begun = text.matches("-----BEGIN ").count();
    let blocks = ::pem::parse_many(text.as_bytes())
        .map_err(|error| Error::new(format!("a PEM block in it is damaged: {error}")))?;
    if blocks.len() != begun {
        return Err(Error::new("a PEM block in it has no end"));
    }
    let mut keys = Vec::new();
    let mut certificates = Vec::new();
    let mut remarks = Vec::new();
    for (index, block) in blocks.into_iter().enumerate() {
        let tag = block.tag().to_owned();
        let protection = block.headers().get("DEK-Info").map(str::to_owned);
        let der = Zeroizing::new(block.into_contents());
        if matches!(tag.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            // OpenSSL's trusted certificate has its settings after the certificate.
            certificates.push(Reader::new(&der).any()?.whole.to_vec());
            continue;
        }
        if !tag.ends_with("PRIVATE KEY") {
            if !matches!(tag.as_str(), "EC PARAMETERS" | "DH PARAMETERS" | "DSA PARAMETERS") {
                remarks.push(format!("a block {tag:?} is neither key nor certificate"));
            }
            continue;
        }
        let what = format!("{name}, block {}", index + 1);
        let key = match protection {
            Some(protection) => passwords
                .open(&what, &[], |password| pbe::decrypt_pem(&protection, &der, password))
                .and_then(|(plain, _)| key(&tag, &plain)),
            None if tag == "ENCRYPTED PRIVATE KEY" => passwords
                .open(&what, &[], |password| pbe::decrypt_key(&der, password))
                .and_then(|(plain, _)| KeyPair::from_pkcs8(&plain)),
            None => key(&tag, &der),
        };
        keys.push(key);
    }
    Ok(assemble("PEM", stem, keys, certificates, remarks))
}

/// Reads a file in bare DER: a certificate, or a key in PKCS#8, encrypted or not.
///
/// # Errors
/// `None` if it is none of them.
pub(crate) fn read_der(
    name: &str,
    stem: &str,
    bytes: &[u8],
    passwords: &mut Passwords<'_>,
) -> Option<Result<Keystore>> {
    if keyward_token::certificate::Parts::of(bytes).is_ok() {
        return Some(Ok(assemble("DER", stem, vec![], vec![bytes.to_vec()], vec![])));
    }
    let mut whole = Reader::new(bytes).sequence().ok()?;
    let encrypted = || -> Result<bool> {
        let mut info = Reader::new(bytes).sequence()?;
        let algorithm = info.sequence()?.identifier()?;
        Ok(algorithm.starts_with("1.2.840.113549.1.") && info.octets().is_ok() && info.is_empty())
    };
    let key = if encrypted().unwrap_or(false) {
        passwords
            .open(name, &[], |password| pbe::decrypt_key(bytes, password))
            .and_then(|(plain, _)| KeyPair::from_pkcs8(&plain))
    } else {
        whole.number().ok()?;
        whole.sequence().ok()?.identifier().ok()?;
        KeyPair::from_pkcs8(bytes)
    };
    Some(Ok(assemble("DER", stem, vec![key], vec![], vec![])))
}

fn key(tag: &str, der: &[u8]) -> Result<KeyPair> {
    match tag {
        "PRIVATE KEY" => KeyPair::from_pkcs8(der),
        "RSA PRIVATE KEY" => KeyPair::from_pkcs1(der),
        "EC PRIVATE KEY" => KeyPair::from_sec1(der, None),
        "OPENSSH PRIVATE KEY" => Err(Error::new("the key is in OpenSSH's own format")
            .hint("ssh-keygen -p -m PKCS8 -f FILE writes it anew")),
        other => Err(Error::new(format!("a block {other:?} is not known"))),
    }
}

fn assemble(
    kind: &'static str,
    stem: &str,
    keys: Vec<Result<KeyPair>>,
    certificates: Vec<Vec<u8>>,
    remarks: Vec<String>,
) -> Keystore {
    let mut entries = Vec::new();
    let mut used = Vec::new();
    let several = keys.len() > 1;
    for (index, key) in keys.into_iter().enumerate() {
        let name = if several { format!("{stem}-{}", index + 1) } else { stem.to_owned() };
        let content = match key {
            Ok(pair) => {
                let own = pairing::certificate_of(&pair.info, &certificates);
                let chain = own.map_or_else(Vec::new, |own| pairing::chain(own, &certificates));
                used.extend(chain.iter().cloned());
                Content::Key { pair: Box::new(pair), chain }
            }
            Err(error) => Content::Closed { error, chain: Vec::new() },
        };
        entries.push(Entry { name, content, named: false });
    }
    let left: Vec<_> = certificates.into_iter().filter(|der| !used.contains(der)).collect();
    let several = left.len() > 1;
    for (index, der) in left.into_iter().enumerate() {
        let name = if several { format!("{stem}-{}", index + 1) } else { stem.to_owned() };
        entries.push(Entry { name, content: Content::Certificate(der), named: false });
    }
    Keystore { kind, entries, remarks }
}

/// Lines that end as on Unix and are not indented. OpenSSL 3.0 reads neither
/// indented blocks nor those of old Macs.
fn tidied(bytes: &[u8]) -> String {
    let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
    let mut tidied = String::with_capacity(text.len() + 1);
    for line in text.split('\n').flat_map(|line| line.trim_end_matches('\r').split('\r')) {
        tidied.push_str(line.trim());
        tidied.push('\n');
    }
    tidied
}
