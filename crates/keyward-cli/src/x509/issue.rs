//! Issuing a certificate with a certificate authority whose key is in a file:
//! the successor of one that is there. It is written here and not by a library,
//! because names are carried byte for byte.

use anyhow::{Context, Result};
use keyward_crypto::PrivateKey;
use keyward_crypto::digest::Hash;
use keyward_crypto::ec::signature_to_der;
use keyward_token::key::PublicKey;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::failure::Failure;
use crate::x509::certificate::{Certificate, Extension};
use crate::x509::der;
use crate::x509::request::Algorithm;

/// Who issues: an authority with its own key.
pub struct Issuer<'a> {
    certificate: &'a Certificate,
    key: &'a PrivateKey,
}

/// What a new certificate says.
pub struct Issued<'a> {
    /// A DER Name.
    pub subject: &'a [u8],
    /// DER SubjectPublicKeyInfo.
    pub public_key_info: &'a [u8],
    /// The DER GeneralNames of the subject, one after the other.
    pub other_names: &'a [u8],
    /// What the key may be used for is taken from here.
    pub like: Option<&'a Certificate>,
    /// Life, in days, at most as long as the authority's.
    pub days: u32,
}

impl<'a> Issuer<'a> {
    /// An authority by its certificate and key.
    ///
    /// # Errors
    /// If the certificate is none of an authority, or the key is not its own.
    pub fn new(certificate: &'a Certificate, key: &'a PrivateKey) -> Result<Self> {
        let subject = &certificate.subject;
        if !certificate.authority {
            return Err(Failure::new(format!("{subject} is no certificate authority")).into());
        }
        if !PublicKey::is_same(&key.public_spki_der(), &certificate.parts.public_key_info) {
            let sentence = format!("the key is not that of the authority {subject}");
            return Err(Failure::new(sentence).into());
        }
        Ok(Self { certificate, key })
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// If the authority's own has expired.
    pub fn issue(&self, issued: &Issued<'_>) -> Result<Certificate> {
        let authority = self.certificate;
        let now = OffsetDateTime::now_utc();
        let ends = OffsetDateTime::from_unix_timestamp(authority.not_after)?
            .min(now + Duration::days(i64::from(issued.days)));
        if ends <= now {
            let sentence = format!("the certificate of {} has expired", authority.subject);
            return Err(Failure::new(sentence).into());
        }
        let algorithm = match self.key {
            PrivateKey::Rsa(_) => Algorithm::Rsa,
            PrivateKey::Ec(key) => Algorithm::ecdsa(key.curve()),
        };
        let mut serial = keyward_crypto::random::bytes::<16>();
        // Positive, and not shorter than it looks (RFC 5280 section 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        // An hour ago, for clocks that are behind.
        let begins = now - Duration::hours(1);
        let to_be_signed = der::constructed(
            der::SEQUENCE,
            &[
                &der::element(CONTEXT_0, &[der::INTEGER, 1, 2]),
                &der::element(der::INTEGER, &serial),
                &algorithm.identifier(),
                &authority.parts.subject,
                &der::constructed(der::SEQUENCE, &[&moment(begins), &moment(ends)]),
                issued.subject,
                issued.public_key_info,
                &self.extensions(issued)?,
            ],
        );
        let mut bits = vec![0];
        bits.extend(self.sign(algorithm, &algorithm.hash().digest(&to_be_signed))?);
        let signature = der::element(der::BIT_STRING, &bits);
        Certificate::from_der(&der::constructed(
            der::SEQUENCE,
            &[&to_be_signed, &algorithm.identifier(), &signature],
        ))
    }

    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>> {
        Ok(match self.key {
            PrivateKey::Rsa(key) => key.sign_pkcs1_raw(&algorithm.hash().digest_info(digest)?)?,
            PrivateKey::Ec(key) => signature_to_der(&key.sign(digest)?)?,
        })
    }

    /// `[3] Extensions` (RFC 5280 section 4.2).
    fn extensions(&self, issued: &Issued<'_>) -> Result<Vec<u8>> {
        let inherited = |id: &str, critical: bool, value: Vec<u8>| {
            let like = issued.like.and_then(|like| like.extension(id));
            let Extension { critical, value } = like.unwrap_or(Extension { critical, value });
            extension(id, critical, &value)
        };
        let mut all = vec![
            // Not an authority.
            extension("2.5.29.19", true, &der::element(der::SEQUENCE, &[])),
            inherited(KEY_USAGE, true, usage()),
            inherited(EXTENDED_KEY_USAGE, false, server_and_client()),
            extension(
                "2.5.29.14",
                false,
                &der::element(der::OCTET_STRING, &key_identifier(issued.public_key_info)?),
            ),
        ];
        if !issued.other_names.is_empty() {
            let names = der::element(der::SEQUENCE, issued.other_names);
            all.push(extension(SUBJECT_ALT_NAME, false, &names));
        }
        if let Some(own) = self.certificate.extension("2.5.29.14")
            && let [der::OCTET_STRING, _, identifier @ ..] = own.value.as_slice()
        {
            let identifier = der::element(0x80, identifier);
            all.push(extension("2.5.29.35", false, &der::element(der::SEQUENCE, &identifier)));
        }
        Ok(der::element(CONTEXT_3, &der::element(der::SEQUENCE, &all.concat())))
    }
}

/// The subject's other names.
pub const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";

fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    // All of them are well-formed.
    let mut content = der::object_identifier(id).unwrap_or_default();
    if critical {
        content.extend([0x01, 0x01, 0xff]);
    }
    content.extend(der::element(der::OCTET_STRING, value));
    der::element(der::SEQUENCE, &content)
}

/// digitalSignature and keyEncipherment: TLS_RSA decrypts.
fn usage() -> Vec<u8> {
    vec![der::BIT_STRING, 2, 5, 0xa0]
}

fn server_and_client() -> Vec<u8> {
    let ids = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
    let ids: Vec<u8> = ids.into_iter().filter_map(der::object_identifier).flatten().collect();
    der::element(der::SEQUENCE, &ids)
}

/// SHA-1 over the key's bits (RFC 5280 section 4.2.1.2); a name, no protection.
fn key_identifier(public_key_info: &[u8]) -> Result<Vec<u8>> {
    let (_, info) = SubjectPublicKeyInfo::from_der(public_key_info)
        .ok()
        .context("the key's public half does not parse")?;
    Ok(Hash::Sha1.digest(&info.subject_public_key.data))
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5).
fn moment(time: OffsetDateTime) -> Vec<u8> {
    let (year, tag) = match time.year() {
        year @ ..2050 => (format!("{:02}", year % 100), 0x17),
        year => (format!("{year:04}"), 0x18),
    };
    let text = format!(
        "{year}{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    der::element(tag, text.as_bytes())
}

/// Context-specific constructed tags.
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_3: u8 = 0xa3;
