//! The text that a sealed master key is: what sealed it, and the ciphertext.

use std::fmt::Write as _;

use keyward_crypto::Hash;
use serde::Deserialize;

use crate::bundle::quoted;
use crate::id;

/// A master key, sealed by a key in an HSM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// CKA_LABEL of the HSM's token.
    pub token: String,
    /// The token's serial number.
    pub serial: String,
    /// CKA_LABEL of the key.
    pub key: String,
    /// CKA_ID of the key; may be empty.
    pub id: Vec<u8>,
    /// How.
    pub(super) scheme: Scheme,
    pub(super) ciphertext: Vec<u8>,
}

/// How a master key is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// AES-256-GCM with a tag of 16 bytes; [`Sealed::header`] is authenticated.
    AesGcm { iv: Vec<u8> },
    /// RSAES-OAEP, hash and MGF1 alike, of the key and the SHA-256 of [`Sealed::header`].
    RsaOaep { hash: Hash },
}

/// As it stands in the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    mechanism: String,
    hash: Option<String>,
    iv: Option<String>,
    token: String,
    serial: String,
    key: String,
    id: String,
    sealed: String,
}

impl Sealed {
    /// Whether this is such a text, whole or not.
    pub(super) fn is_one(content: &[u8]) -> bool {
        content.starts_with(FIRST_WORDS.as_bytes())
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(super) fn parse(content: &[u8]) -> Result<Self, String> {
        if !Self::is_one(content) {
            return Err(format!(
                "is no sealed master key, which begins with {FIRST_WORDS:?}; a key that is not \
                 sealed needs master_key without seal"
            ));
        }
        let damaged = |what: &str| format!("is a sealed master key, and damaged: {what}");
        let text = std::str::from_utf8(content).map_err(|_| damaged("it is not UTF-8 text"))?;
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let version = first.trim_end().strip_prefix(FIRST_WORDS).unwrap_or_default();
        match version.trim().parse::<u32>() {
            Ok(VERSION) => {}
            Ok(later) if later > VERSION => {
                return Err(format!(
                    "is a sealed master key of format {later}, and this version knows formats up \
                     to {VERSION}; use the version of Keyward that wrote it, or a newer one"
                ));
            }
            _ => return Err(damaged("its first line names no format")),
        }
        let fields: Fields = toml::from_str(rest).map_err(|error| damaged(error.message()))?;
        let decode = |name: &str, text: &str| {
            id::decode(text).ok_or_else(|| damaged(&format!("{name} is not hexadecimal")))
        };
        let scheme = match (fields.mechanism.as_str(), fields.iv, fields.hash) {
            (AES_GCM, Some(iv), None) => Scheme::AesGcm { iv: decode("iv", &iv)? },
            (RSA_OAEP, None, Some(hash)) => {
                let known = HASHES.iter().find(|(name, _)| *name == hash);
                let (_, hash) = known.ok_or_else(|| damaged("its hash is not known"))?;
                Scheme::RsaOaep { hash: *hash }
            }
            _ => return Err(damaged("its mechanism is not known, or lacks a parameter")),
        };
        Ok(Self {
            token: fields.token,
            serial: fields.serial,
            key: fields.key,
            id: decode("id", &fields.id)?,
            scheme,
            ciphertext: decode("sealed", &fields.sealed)?,
        })
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{FIRST_WORDS} {VERSION}\n");
        let mut line = |name: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name} = {}", quoted(value));
        };
        line("token", &self.token);
        line("serial", &self.serial);
        line("key", &self.key);
        line("id", &id::encode(&self.id));
        line("mechanism", self.mechanism());
        match &self.scheme {
            Scheme::AesGcm { iv } => line("iv", &id::encode(iv)),
            Scheme::RsaOaep { hash } => line("hash", hash_name(*hash)),
        }
        line("sealed", &id::encode(&self.ciphertext));
        text
    }

    /// The mechanism's name in the standard.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self.scheme {
            Scheme::AesGcm { .. } => AES_GCM,
            Scheme::RsaOaep { .. } => RSA_OAEP,
        }
    }

    /// The key, for a person.
    pub(super) fn key_name(&self) -> String {
        match self.id.as_slice() {
            [] => format!("{:?}", self.key),
            id => format!("{:?} (CKA_ID {})", self.key, id::encode(id)),
        }
    }

    /// What is bound to the ciphertext: all that the text says otherwise. Each part stands behind
    /// its length.
    pub(super) fn header(&self) -> Vec<u8> {
        let parameter = match &self.scheme {
            Scheme::AesGcm { iv } => iv.as_slice(),
            Scheme::RsaOaep { hash } => hash_name(*hash).as_bytes(),
        };
        let mut header = format!("{FIRST_WORDS} {VERSION}\n").into_bytes();
        for part in [
            self.token.as_bytes(),
            self.serial.as_bytes(),
            self.key.as_bytes(),
            &self.id,
            self.mechanism().as_bytes(),
            parameter,
        ] {
            header.extend_from_slice(&(part.len() as u64).to_be_bytes());
            header.extend_from_slice(part);
        }
        header
    }
}

fn hash_name(hash: Hash) -> &'static str {
    HASHES.iter().find(|(_, known)| *known == hash).map_or("", |(name, _)| name)
}

/// What every such text begins with, in any version.
const FIRST_WORDS: &str = "# A Keyward master key, sealed by a key in an HSM. Format";
const VERSION: u32 = 1;
const AES_GCM: &str = "CKM_AES_GCM";
const RSA_OAEP: &str = "CKM_RSA_PKCS_OAEP";
/// Those of OAEP, the better ones first: not every HSM has more than the last.
pub(super) const HASHES: [(&str, Hash); 2] = [("SHA-256", Hash::Sha256), ("SHA-1", Hash::Sha1)];

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(scheme: Scheme) -> Sealed {
        Sealed {
            token: "to \"ken\"".to_owned(),
            serial: "1".to_owned(),
            key: "keyward-master".to_owned(),
            id: vec![1, 0xff],
            scheme,
            ciphertext: vec![7; 48],
        }
    }

    #[test]
    fn a_text_survives_and_every_part_of_it_is_bound() {
        let [aes, rsa] =
            [Scheme::AesGcm { iv: vec![1; 12] }, Scheme::RsaOaep { hash: Hash::Sha1 }].map(sealed);
        for one in [&aes, &rsa] {
            assert_eq!(Sealed::parse(one.text().as_bytes()).as_ref(), Ok(one));
        }
        // Line ends and their number are nobody's.
        let edited = aes.text().replace('\n', "\r\n") + "\n";
        assert_eq!(Sealed::parse(edited.as_bytes()), Ok(aes.clone()));
        let text = aes.text();
        for (from, to) in
            [("keyward-master", "keyward"), ("\"1\"", "\"2\""), ("01ff", "01"), ("\"ken", "\"kin")]
        {
            let other = Sealed::parse(text.replacen(from, to, 1).as_bytes()).unwrap();
            assert_ne!(other.header(), aes.header(), "{from}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let text = sealed(Scheme::AesGcm { iv: vec![1; 12] }).text();
        for (text, told) in [
            ("0".repeat(64), "is no sealed master key"),
            (text.replace("Format 1", "Format 2"), "knows formats up to 1"),
            (text.replace("Format 1", "Format"), "names no format"),
            (text.replace("AES_GCM", "AES_CBC"), "mechanism"),
            (text.replace("iv =", "# iv ="), "lacks a parameter"),
            (text.replace("serial =", "number ="), "number"),
            (text.replace("sealed = \"", "sealed = \"!!"), "sealed is not hexadecimal"),
            (text.replace("01ff", "01f"), "not hexadecimal"),
            (text[..text.len() / 2].to_owned(), "damaged"),
        ] {
            let problem = Sealed::parse(text.as_bytes()).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }
}
