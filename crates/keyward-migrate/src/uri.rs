//! PKCS#11 URIs (RFC 7512): which token or object is meant, and the library that
//! reaches it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A parsed `pkcs11:` URI. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// CK_TOKEN_INFO's label, without its padding.
    pub token: Option<String>,
    /// CK_TOKEN_INFO's manufacturer.
    pub manufacturer: Option<String>,
    /// CK_TOKEN_INFO's model.
    pub model: Option<String>,
    /// CK_TOKEN_INFO's serial number.
    pub serial: Option<String>,
    /// The slot's number.
    pub slot: Option<u64>,
    /// CKA_LABEL.
    pub object: Option<String>,
    /// CKA_ID.
    pub id: Option<Vec<u8>>,
    /// The library.
    pub module_path: Option<PathBuf>,
    /// The file that holds the PIN.
    pub pin_source: Option<PathBuf>,
    /// As it was typed.
    text: String,
}

impl Uri {
    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"))
    }
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.get(7..).filter(|_| Self::is_one(text)) else {
            return Err(Error::new(format!("{text:?} is no pkcs11: URI")));
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { text: text.to_owned(), ..Self::default() };
        for part in path.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = attribute(part)?;
            let words = || String::from_utf8_lossy(&value).trim_end().to_owned();
            match name {
                "token" => uri.token = Some(words()),
                "manufacturer" => uri.manufacturer = Some(words()),
                "model" => uri.model = Some(words()),
                "serial" => uri.serial = Some(words()),
                "slot-id" => {
                    let number = words().parse();
                    uri.slot =
                        Some(number.map_err(|_| Error::new(format!("{part:?} has no number")))?);
                }
                "object" => uri.object = Some(String::from_utf8_lossy(&value).into_owned()),
                "id" => uri.id = Some(value),
                _ => {}
            }
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = attribute(part)?;
            let value = String::from_utf8_lossy(&value).into_owned();
            match name {
                "module-path" => uri.module_path = Some(value.into()),
                "pin-source" => {
                    let file = value.strip_prefix("file:").unwrap_or(&value);
                    uri.pin_source = Some(file.trim_start_matches("//").into());
                }
                "pin-value" => {
                    return Err(Error::new(
                        "the URI holds a PIN, which the list of processes shows",
                    )
                    .hint("pin-source=file:/PATH instead of pin-value keeps it out"));
                }
                _ => {}
            }
        }
        Ok(uri)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn attribute(part: &str) -> Result<(&str, Vec<u8>)> {
    let Some((name, value)) = part.split_once('=') else {
        return Err(Error::new(format!("{part:?} in the URI has no \"=\"")));
    };
    let value = percent_decoded(value)
        .ok_or_else(|| Error::new(format!("{part:?} in the URI is wrongly escaped")))?;
    Ok((name, value))
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        decoded.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_token_its_library_and_its_pin() {
        let uri: Uri = "pkcs11:token=a%20b%20;serial=01;slot-id=3;id=%01%ff;x-y=z\
                        ?module-path=/usr/lib/x.so&pin-source=file:/etc/pin"
            .parse()
            .unwrap();
        assert_eq!(uri.token.as_deref(), Some("a b"));
        assert_eq!(uri.serial.as_deref(), Some("01"));
        assert_eq!(uri.slot, Some(3));
        assert_eq!(uri.id, Some(vec![1, 0xff]));
        assert_eq!(uri.module_path, Some("/usr/lib/x.so".into()));
        assert_eq!(uri.pin_source, Some("/etc/pin".into()));
        let uri: Uri = "PKCS11:token=t?pin-source=file:///etc/pin".parse().unwrap();
        assert_eq!(uri.pin_source, Some("/etc/pin".into()));
    }

    #[test]
    fn what_is_none_or_shows_a_pin_is_refused() {
        for wrong in [
            "token=x",
            "pkcs11:token",
            "pkcs11:id=%0",
            "pkcs11:id=%+1",
            "pkcs11:slot-id=x",
            "pkcs11:token=x?pin-value=1234",
        ] {
            assert!(wrong.parse::<Uri>().is_err(), "{wrong}");
        }
    }
}
