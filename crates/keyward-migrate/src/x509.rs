//! What people want to know of a certificate.

use keyward_token::certificate::name;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::material::hex;

/// A certificate in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// RFC 4514.
    pub subject: String,
    /// RFC 4514.
    pub issuer: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// RFC 3339, in UTC.
    pub not_before: String,
    /// RFC 3339, in UTC.
    pub not_after: String,
    /// The subject's other names, as `keyward cert request --san` takes them.
    pub other_names: Vec<String>,
    /// Whether it is an authority's.
    pub authority: bool,
    /// Whether its subject is its issuer.
    pub self_issued: bool,
}

impl Certificate {
    /// Reads a DER certificate, leniently: Java 8 and 11 write some that strict
    /// parsers refuse.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let moment = |seconds| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .ok()
                .and_then(|moment| moment.format(&Rfc3339).ok())
                .unwrap_or_default()
        };
        Some(Self {
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            serial_number: hex(parsed.raw_serial()),
            not_before: moment(parsed.validity().not_before.timestamp()),
            not_after: moment(parsed.validity().not_after.timestamp()),
            other_names: other_names(&parsed),
            authority: parsed.is_ca(),
            self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
        })
    }

    /// Days until it expires at `now`, in seconds since 1970; negative if it has.
    #[must_use]
    pub fn days_left(&self, now: i64) -> i64 {
        let end = OffsetDateTime::parse(&self.not_after, &Rfc3339)
            .map_or(i64::MAX, OffsetDateTime::unix_timestamp);
        (end.saturating_sub(now)).div_euclid(86400)
    }
}

/// The subject's common name, if it has one.
pub(crate) fn common_name(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn other_names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let names =
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) => Some(format!("dns:{host}")),
        GeneralName::RFC822Name(mailbox) => Some(format!("email:{mailbox}")),
        GeneralName::URI(uri) => Some(format!("uri:{uri}")),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(format!("ip:{a}.{b}.{c}.{d}")),
            bytes => {
                let bytes: [u8; 16] = bytes.try_into().ok()?;
                Some(format!("ip:{}", std::net::Ipv6Addr::from(bytes)))
            }
        },
        _ => None,
    };
    names.map(|names| names.iter().filter_map(text).collect()).unwrap_or_default()
}
