//! What is there: keys, certificates, which belongs to which, and what is odd.

use std::collections::BTreeMap;

use cryptoki_sys::*;
use keyward_token::{Attributes, Value, attribute};
use serde::Serialize;

use crate::file::issuer_of;
use crate::material::hex;
use crate::object::Object;
use crate::source::{Remark, Source};
use crate::x509::Certificate;

/// All that is known of a source, without a secret in it.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// The version of this form.
    pub format: u32,
    /// RFC 3339, in UTC.
    pub made: String,
    /// As it was named.
    pub source: String,
    /// "files", or the token's maker and model.
    pub kind: String,
    /// Each object.
    pub objects: Vec<Listed>,
    /// What somebody should look at.
    pub findings: Vec<Finding>,
    /// What could not be read, and what is odd about files.
    pub remarks: Vec<Remark>,
}

/// An object in words.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// What a plan calls it.
    pub reference: String,
    /// "private key", "certificate" ...
    pub class: &'static str,
    /// "RSA 2048", "EC P-256" ...
    pub kind: String,
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ID in hexadecimal.
    pub id: String,
    /// File or token.
    pub place: String,
    /// The keystore's entry.
    pub entry: Option<String>,
    /// SHA-256 of the public key or the certificate, in hexadecimal.
    pub sha256: Option<String>,
    /// What the certificate says, if it is one.
    pub certificate: Option<Certificate>,
    /// Of a certificate: its issuers' references, the next one first.
    pub chain: Vec<String>,
    /// Of a private key: the references of its certificates.
    pub certificates: Vec<String>,
    /// Of a certificate or public key: the reference of the private key.
    pub key: Option<String>,
    /// The other attributes by their names.
    pub attributes: BTreeMap<String, String>,
    /// Why the key could not be opened.
    pub closed: Option<String>,
}

/// Something that somebody should look at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// "key-without-certificate", "certificate-without-key", "duplicate-key",
    /// "duplicate-id", "duplicate-label", "expired", "expires-soon", "weak-key",
    /// "closed".
    pub kind: &'static str,
    /// The objects that it is about.
    pub references: Vec<String>,
    /// One sentence.
    pub text: String,
}

impl Inventory {
    /// Takes stock of a source at `now`, in seconds since 1970.
    #[must_use]
    pub fn of(source: &Source, now: i64) -> Self {
        let objects = &source.objects;
        let listed: Vec<Listed> = objects.iter().map(|object| list(object, objects)).collect();
        Self {
            format: 1,
            made: crate::moment(now),
            source: source.name.clone(),
            kind: source.kind.clone(),
            findings: findings(objects, &listed, now),
            objects: listed,
            remarks: source.remarks.clone(),
        }
    }
}

fn list(object: &Object, all: &[Object]) -> Listed {
    let same_key = |other: &&Object, class: u64| {
        other.class() == class && other.info.is_some() && other.info == object.info
    };
    let references = |class: u64| -> Vec<String> {
        all.iter()
            .filter(|other| same_key(other, class))
            .map(|other| other.reference.clone())
            .collect()
    };
    let is_private = object.class() == CKO_PRIVATE_KEY;
    let has_key = matches!(object.class(), CKO_CERTIFICATE | CKO_PUBLIC_KEY);
    Listed {
        reference: object.reference.clone(),
        class: object.class_name(),
        kind: object.kind(),
        label: object.label(),
        id: hex(object.id()),
        place: object.place.clone(),
        entry: object.entry.clone(),
        sha256: object.fingerprint(),
        certificate: object.certificate().and_then(Certificate::read),
        chain: chain(object, all),
        certificates: if is_private { references(CKO_CERTIFICATE) } else { Vec::new() },
        key: has_key.then(|| references(CKO_PRIVATE_KEY).into_iter().next()).flatten(),
        attributes: in_words(&object.attributes),
        closed: object.closed.as_ref().map(ToString::to_string),
    }
}

/// The references of a certificate's issuers.
pub(crate) fn chain(object: &Object, all: &[Object]) -> Vec<String> {
    let Some(own) = object.certificate() else { return Vec::new() };
    let certificates: Vec<Vec<u8>> =
        all.iter().filter_map(Object::certificate).map(<[u8]>::to_vec).collect();
    let mut chain = vec![own.to_vec()];
    while let Some(issuer) = chain.last().and_then(|last| issuer_of(last, &certificates)) {
        if chain.contains(issuer) {
            break;
        }
        chain.push(issuer.clone());
    }
    let reference = |der: &Vec<u8>| {
        all.iter().find(|other| other.certificate() == Some(der)).map(|it| it.reference.clone())
    };
    chain[1..].iter().filter_map(reference).collect()
}

/// Attributes that are neither secret nor told elsewhere, as people read them.
#[must_use]
pub fn in_words(attributes: &Attributes) -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    for (number, value) in attributes.iter() {
        let told = [CKA_CLASS, CKA_KEY_TYPE, CKA_LABEL, CKA_ID, CKA_VALUE, CKA_MODULUS];
        if told.contains(&number) || attribute::is_secret(number) {
            continue;
        }
        let text = match value {
            Value::Boolean(value) => value.to_string(),
            Value::Number(CK_UNAVAILABLE_INFORMATION) => continue,
            Value::Number(value) => value.to_string(),
            Value::Bytes(bytes) if bytes.is_empty() => continue,
            Value::Bytes(bytes) => {
                let is_text = matches!(
                    number,
                    CKA_START_DATE | CKA_END_DATE | CKA_UNIQUE_ID | CKA_URL | CKA_APPLICATION
                );
                match std::str::from_utf8(bytes) {
                    Ok(text) if is_text => text.to_owned(),
                    _ => hex(bytes),
                }
            }
            Value::Numbers(values) => {
                values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>().join(" ")
            }
            Value::Template(_) => continue,
        };
        words.insert(attribute::name(number), text);
    }
    words
}

fn findings(objects: &[Object], listed: &[Listed], now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |kind, references: Vec<String>, text| {
        findings.push(Finding { kind, references, text });
    };
    for (object, listed) in objects.iter().zip(listed) {
        let reference = || vec![object.reference.clone()];
        let name = located(object);
        if let Some(closed) = &object.closed {
            find("closed", reference(), format!("{name} could not be opened: {closed}"));
        }
        if object.class() == CKO_PRIVATE_KEY && listed.certificates.is_empty() {
            let text = format!("{name} has no certificate; Java does not see such a key");
            find("key-without-certificate", reference(), text);
        }
        if is_weak(object) {
            find("weak-key", reference(), format!("{name} is too short for today"));
        }
        let Some(certificate) = &listed.certificate else { continue };
        if listed.key.is_none() && !certificate.authority {
            let text =
                format!("the certificate of {} has no private key here", certificate.subject);
            find("certificate-without-key", reference(), text);
        }
        match certificate.days_left(now) {
            ..0 => {
                let text = format!("the certificate of {} has expired", certificate.subject);
                find("expired", reference(), text);
            }
            days @ 0..=SOON => {
                let text =
                    format!("the certificate of {} expires in {days} days", certificate.subject);
                find("expires-soon", reference(), text);
            }
            _ => {}
        }
    }
    for (kind, what, key) in [
        ("duplicate-key", "are the same key", key_of as fn(&Object) -> Option<Vec<u8>>),
        ("duplicate-id", "have the same CKA_ID", id_of),
        ("duplicate-label", "have the same label", label_of),
    ] {
        let mut groups: BTreeMap<(u64, Vec<u8>), Vec<&Object>> = BTreeMap::new();
        for object in objects {
            if let Some(key) = key(object) {
                groups.entry((object.class(), key)).or_default().push(object);
            }
        }
        for group in groups.values().filter(|group| group.len() > 1) {
            let names: Vec<_> = group.iter().map(|object| located(object)).collect();
            let references = group.iter().map(|object| object.reference.clone()).collect();
            find(kind, references, format!("{} {what}", names.join(" and ")));
        }
    }
    findings
}

fn key_of(object: &Object) -> Option<Vec<u8>> {
    match object.class() {
        CKO_PRIVATE_KEY => object.info.clone(),
        _ => None,
    }
}

/// Where two keys have it and are not the same.
fn id_of(object: &Object) -> Option<Vec<u8>> {
    let is_key = matches!(object.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY);
    Some(object.id().to_vec()).filter(|id| is_key && !id.is_empty())
}

fn label_of(object: &Object) -> Option<Vec<u8>> {
    let is_key = matches!(object.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY);
    object
        .attributes
        .bytes(CKA_LABEL)
        .filter(|label| is_key && !label.is_empty())
        .map(<[u8]>::to_vec)
}

/// What NIST SP 800-131A disallows.
fn is_weak(object: &Object) -> bool {
    if !matches!(object.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY) {
        return false;
    }
    let long = |attribute| object.attributes.bytes(attribute).is_none_or(|it| it.len() >= 255);
    match object.attributes.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => !long(CKA_MODULUS),
        Some(CKK_DSA | CKK_DES | CKK_DES2 | CKK_DES3 | CKK_RC4) => true,
        _ => false,
    }
}

fn located(object: &Object) -> String {
    format!("{} in {}", object.name(), object.place)
}

/// Days before its end in which a certificate is a finding.
const SOON: i64 = 30;
