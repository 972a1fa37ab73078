//! Distinguished names and the other names of a subject, as people write them.

use std::net::IpAddr;
use std::str::FromStr;

use crate::x509::der;

/// A distinguished name, in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(Vec<u8>);

impl Subject {
    /// The DER Name.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// A name of just one common name.
    pub fn common_name(name: &str) -> Self {
        Self(sequence_of(&[attribute(("2.5.4.3", der::UTF8_STRING), name)]))
    }
}

/// As RFC 4514 writes a name, "CN=node1,OU=db,O=Example": the most specific part
/// comes first and is last in the certificate. Or as OpenSSL's `-subj` does,
/// "/O=Example/OU=db/CN=node1", in the order of the certificate.
impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (separator, text) = match text.strip_prefix('/') {
            Some(rest) => ('/', rest),
            None => (',', text),
        };
        let mut parts = split(text, separator)?
            .iter()
            .map(|part| one_attribute(part))
            .collect::<Result<Vec<_>, _>>()?;
        if separator == ',' {
            parts.reverse();
        }
        Ok(Self(sequence_of(&parts)))
    }
}

/// Another name of the subject (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherName {
    /// A host's name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A mailbox.
    Email(String),
    /// A URI.
    Uri(String),
}

impl OtherName {
    /// The DER GeneralNames of several, one after the other.
    pub fn all(names: &[Self]) -> Vec<u8> {
        names.iter().flat_map(Self::der).collect()
    }

    /// The DER GeneralName.
    pub fn der(&self) -> Vec<u8> {
        match self {
            Self::Email(mailbox) => der::element(0x81, mailbox.as_bytes()),
            Self::Dns(host) => der::element(0x82, host.as_bytes()),
            Self::Uri(uri) => der::element(0x86, uri.as_bytes()),
            Self::Ip(IpAddr::V4(address)) => der::element(0x87, &address.octets()),
            Self::Ip(IpAddr::V6(address)) => der::element(0x87, &address.octets()),
        }
    }
}

/// "dns:HOST", "ip:ADDRESS", "email:MAILBOX", "uri:URI", or an address or host
/// without a prefix.
impl FromStr for OtherName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = match text.split_once(':') {
            Some((kind, value)) => (kind.to_ascii_lowercase(), value),
            None => (String::new(), text),
        };
        match kind.as_str() {
            "dns" => host(value),
            "ip" => value.parse().map(Self::Ip).map_err(|_| format!("{value:?} is no IP address")),
            "email" => ascii(value).map(Self::Email),
            "uri" => ascii(value).map(Self::Uri),
            // An IPv6 address has colons of its own.
            _ => text.parse().map(Self::Ip).or_else(|_| host(text)),
        }
    }
}

fn host(text: &str) -> Result<OtherName, String> {
    let labels = text.strip_prefix("*.").unwrap_or(text);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let good = labels.split('.').all(|label| !label.is_empty() && label.bytes().all(fits));
    if good && text.len() <= 253 {
        Ok(OtherName::Dns(text.to_owned()))
    } else {
        Err(format!("{text:?} is neither a host name nor an IP address"))
    }
}

fn ascii(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is empty or not ASCII"))
    }
}

/// The parts between separators that no backslash stands before. The
/// backslashes stay, for [`unescape`].
fn split(text: &str, separator: char) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        if letter == separator && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = letter == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    if escaped {
        return Err("the name ends in a backslash".to_owned());
    }
    Ok(parts)
}

fn one_attribute(part: &str) -> Result<Vec<u8>, String> {
    let Some((name, value)) = part.split_once('=') else {
        return Err(format!("{part:?} has no \"=\"; a name looks like CN=node1,O=Example"));
    };
    let name = name.trim();
    let known = KINDS
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(name))
        .map(|(_, identifier, tag)| (*identifier, *tag));
    let kind = match known {
        Some(kind) => kind,
        None if der::object_identifier(name).is_some() => (name, der::UTF8_STRING),
        None => {
            let names: Vec<_> = KINDS.iter().map(|(name, ..)| *name).collect();
            return Err(format!(
                "{name:?} is no attribute of a name; known are {} and dotted OIDs",
                names.join(", ")
            ));
        }
    };
    let value = unescape(value.trim())?;
    if value.is_empty() {
        return Err(format!("{name} is empty"));
    }
    if kind.0 == COUNTRY && !(value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic())) {
        return Err(format!("{value:?} is no country; it takes two letters, as C=DE"));
    }
    if kind.1 != der::UTF8_STRING && !value.is_ascii() {
        return Err(format!("{name} takes ASCII only"));
    }
    Ok(attribute(kind, &value))
}

/// Takes the backslashes away (RFC 4514 section 2.4).
fn unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '+' => {
                return Err("several attributes in one part (\"+\") are not supported; \
                            write \\+ for a plus sign"
                    .to_owned());
            }
            '\\' => {
                let pair = rest.get(..2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                if let Some(byte) = pair {
                    bytes.push(byte);
                    rest = &rest[2..];
                } else if let Some(literal) = rest.chars().next() {
                    rest = &rest[literal.len_utf8()..];
                    bytes.extend_from_slice(literal.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

/// A RelativeDistinguishedName of one attribute.
fn attribute((identifier, tag): (&str, u8), value: &str) -> Vec<u8> {
    // The identifier is one of KINDS or was parsed before.
    let identifier = der::object_identifier(identifier).unwrap_or_default();
    let value = der::element(tag, value.as_bytes());
    der::element(der::SET, &der::constructed(der::SEQUENCE, &[&identifier, &value]))
}

fn sequence_of(parts: &[Vec<u8>]) -> Vec<u8> {
    der::element(der::SEQUENCE, &parts.concat())
}

const COUNTRY: &str = "2.5.4.6";

/// Name, object identifier, and the string type that RFC 5280 appendix A gives
/// or recommends.
const KINDS: &[(&str, &str, u8)] = &[
    ("CN", "2.5.4.3", der::UTF8_STRING),
    ("OU", "2.5.4.11", der::UTF8_STRING),
    ("O", "2.5.4.10", der::UTF8_STRING),
    ("L", "2.5.4.7", der::UTF8_STRING),
    ("ST", "2.5.4.8", der::UTF8_STRING),
    ("C", COUNTRY, der::PRINTABLE_STRING),
    ("STREET", "2.5.4.9", der::UTF8_STRING),
    ("SERIALNUMBER", "2.5.4.5", der::PRINTABLE_STRING),
    ("UID", "0.9.2342.19200300.100.1.1", der::UTF8_STRING),
    ("DC", "0.9.2342.19200300.100.1.25", der::IA5_STRING),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1", der::IA5_STRING),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_give_the_same_name() {
        let comma: Subject = "CN=node1, OU=a, OU=b,C=DE".parse().unwrap();
        let slash: Subject = "/C=DE/OU=b/OU=a/CN=node1".parse().unwrap();
        assert_eq!(comma, slash);
        assert_eq!("CN=node1".parse(), Ok(Subject::common_name("node1")));
    }

    #[test]
    fn backslashes_protect_what_would_separate() {
        assert_eq!(r"CN=a\,b".parse(), Ok(Subject::common_name("a,b")));
        assert_eq!(r"CN=a\2Cb".parse(), Ok(Subject::common_name("a,b")));
        assert_eq!(r"CN=\C3\A4".parse(), Ok(Subject::common_name("ä")));
        assert_eq!(r"2.5.4.3=x".parse(), Ok(Subject::common_name("x")));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in ["", "node1", "CN=", "XX=1", "C=Germany", "CN=a+OU=b", "CN=a,", "CN=a\\"] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_names_are_told_apart() {
        for (text, name) in [
            ("node1", OtherName::Dns("node1".into())),
            ("dns:10.0.0.1", OtherName::Dns("10.0.0.1".into())),
            ("*.example.org", OtherName::Dns("*.example.org".into())),
            ("10.0.0.1", OtherName::Ip("10.0.0.1".parse().unwrap())),
            ("IP:::1", OtherName::Ip("::1".parse().unwrap())),
            ("fe80::1", OtherName::Ip("fe80::1".parse().unwrap())),
            ("uri:spiffe://x/y", OtherName::Uri("spiffe://x/y".into())),
        ] {
            assert_eq!(text.parse(), Ok(name), "{text}");
        }
        for wrong in ["", "a b", "ip:node1", "foo:bar", "a..b"] {
            assert!(wrong.parse::<OtherName>().is_err(), "{wrong}");
        }
    }
}
