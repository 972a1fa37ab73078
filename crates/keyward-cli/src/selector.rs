//! Which object is meant: a label, an id, or an RFC 7512 URI.

use std::fmt;
use std::str::FromStr;

use keyward_migrate::Uri;

use crate::catalogue::{CertificateObject, Object};
use crate::failure::Failure;
use crate::output::hex;

/// A CKA_ID as it is typed: hexadecimal digits, with `0x` or without, or any
/// other text for its own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(pub Vec<u8>);

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an id is not empty".to_owned());
        }
        match text.strip_prefix("0x") {
            Some(digits) => from_hex(digits)
                .map(Self)
                .ok_or_else(|| format!("{text:?} has not an even number of hexadecimal digits")),
            None => Ok(Self(from_hex(text).unwrap_or_else(|| text.as_bytes().to_vec()))),
        }
    }
}

/// What an object must have to be the one that is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The token that a URI names.
    token: Option<String>,
    name: Option<String>,
    id: Option<Vec<u8>>,
}

impl Selector {
    /// From a label or `pkcs11:` URI and an id, as a command line gives them.
    ///
    /// # Errors
    /// If neither is given, or the URI is none.
    pub fn new(name: Option<&str>, id: Option<&Id>) -> Result<Self, Failure> {
        let mut selector = match name {
            Some(uri) if uri.starts_with("pkcs11:") => {
                Self::from_uri(uri).map_err(Failure::usage)?
            }
            name => Self { name: name.map(str::to_owned), ..Self::default() },
        };
        if let Some(Id(id)) = id {
            selector.id = Some(id.clone());
        }
        if selector.name.is_none() && selector.id.is_none() {
            return Err(Failure::usage("no object is named").hint("give its label or --id"));
        }
        Ok(selector)
    }

    /// The token that is meant: `flag` is what --token says.
    ///
    /// # Errors
    /// If neither the flag nor the URI names one, or they name two.
    pub fn token(&self, flag: Option<&str>) -> Result<String, Failure> {
        match (flag, self.token.as_deref()) {
            (Some(flag), Some(token)) if flag != token => {
                Err(Failure::usage(format!("--token says {flag:?} and the URI says {token:?}")))
            }
            (Some(token), _) | (None, Some(token)) => Ok(token.to_owned()),
            (None, None) => Err(no_token()),
        }
    }

    /// RFC 7512: of its attributes `token`, `object` and `id` say which object
    /// it is.
    fn from_uri(uri: &str) -> Result<Self, String> {
        let uri: Uri = uri.parse().map_err(|error: keyward_migrate::Error| error.to_string())?;
        Ok(Self { token: uri.token, name: uri.object, id: uri.id })
    }

    /// Whether a key is meant that people call so.
    pub fn fits(&self, key: &Object, names: &[String]) -> bool {
        self.id.as_ref().is_none_or(|id| key.id() == id)
            && self.name.as_ref().is_none_or(|name| names.contains(name) || key.unique_id == *name)
    }

    /// Whether a certificate is meant.
    pub fn fits_certificate(&self, entry: &CertificateObject) -> bool {
        let named = |name: &String| {
            let label = entry.object.label();
            label == *name
                || (label.is_empty() && entry.object.id_text().as_ref() == Some(name))
                || entry.object.unique_id == *name
                || entry.certificate.subject == *name
                || (name.len() >= SHORTEST_FINGERPRINT
                    && entry.certificate.sha256().starts_with(&name.to_ascii_lowercase()))
        };
        self.id.as_ref().is_none_or(|id| entry.object.id() == id)
            && self.name.as_ref().is_none_or(named)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.id) {
            (Some(name), Some(id)) => write!(f, "{name:?} with id 0x{}", hex(id)),
            (Some(name), None) => write!(f, "{name:?}"),
            (None, Some(id)) => write!(f, "with id 0x{}", hex(id)),
            (None, None) => Ok(()),
        }
    }
}

/// The failure of a command line without a token.
pub fn no_token() -> Failure {
    Failure::usage("no token is named")
        .hint("--token LABEL, or token= in a URI such as pkcs11:token=node1;object=node1")
}

/// So many digits of a fingerprint name a certificate.
const SHORTEST_FINGERPRINT: usize = 8;

/// The bytes of an even number of hexadecimal digits.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || !digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(&digits[start..start + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_or_text() {
        for (text, id) in [
            ("0a1B", vec![0x0a, 0x1b]),
            ("0x00", vec![0]),
            ("node1", b"node1".to_vec()),
            ("abc", b"abc".to_vec()),
        ] {
            assert_eq!(text.parse(), Ok(Id(id)), "{text}");
        }
        assert!("0xabc".parse::<Id>().is_err());
        assert!("".parse::<Id>().is_err());
    }

    #[test]
    fn a_uri_names_an_object_by_label_and_id() {
        let selector =
            Selector::new(Some("pkcs11:token=dev;object=a%20key;id=%01%ff;type=private"), None);
        assert_eq!(
            selector.unwrap(),
            Selector {
                token: Some("dev".into()),
                name: Some("a key".into()),
                id: Some(vec![1, 0xff])
            }
        );
        for wrong in ["pkcs11:object", "pkcs11:id=%0", "pkcs11:token=x"] {
            assert!(Selector::new(Some(wrong), None).is_err(), "{wrong}");
        }
        assert!(Selector::new(None, None).is_err());
    }

    #[test]
    fn the_token_comes_from_the_flag_or_the_uri_and_they_do_not_differ() {
        for (uri, flag, token) in [
            ("pkcs11:token=a%20b;object=k", None, Some("a b")),
            ("pkcs11:token=padded%20%20;object=k", Some("padded"), Some("padded")),
            ("pkcs11:object=k", Some("a"), Some("a")),
            ("k", Some("a"), Some("a")),
            ("pkcs11:token=a;object=k", Some("b"), None),
            ("pkcs11:object=k", None, None),
            ("k", None, None),
        ] {
            let selector = Selector::new(Some(uri), None).unwrap();
            assert_eq!(selector.token(flag).ok().as_deref(), token, "{uri} {flag:?}");
        }
    }
}
