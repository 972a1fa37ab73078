//! `keyward cert import`: certificates and their chains out of files.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_token::key::PublicKey;
use keyward_wire::request::Operation;
use keyward_wire::{self as wire, CreateObject};
use serde::Serialize;

use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Catalogue, Object};
use crate::failure::Failure;
use crate::output;
use crate::selector::{Selector, no_token};
use crate::terminal;
use crate::x509::certificate::Certificate;

/// `keyward cert import`.
#[derive(Args, Debug)]
pub struct Import {
    /// The token's label [default: as the URI of --key says]
    #[arg(long)]
    token: Option<String>,
    /// The key that the first certificate must belong to: its label, or its pkcs11: URI
    #[arg(long)]
    key: Option<String>,
    /// Import certificates of authorities only: none belongs to a key
    #[arg(long, conflicts_with_all = ["key", "replace"])]
    no_key: bool,
    /// Put it in place of the certificate that the key has now
    #[arg(long)]
    replace: bool,
    /// PEM: the key's certificate, then each one's issuer
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What became of a certificate of the file.
#[derive(Serialize)]
struct Imported {
    subject: String,
    sha256: String,
    /// "imported" or "already_there".
    result: &'static str,
    key: Option<String>,
}

impl Import {
    pub(super) fn run(self) -> Result<()> {
        let selector = match &self.key {
            Some(name) => Some(Selector::new(Some(name), None)?),
            None => None,
        };
        let token = match &selector {
            Some(selector) => selector.token(self.token.as_deref())?,
            None => self.token.clone().ok_or_else(no_token)?,
        };
        let certificates = Certificate::read_file(&self.file)?;
        if !self.no_key {
            check_order(&certificates)?;
        }
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let (own, others) = match certificates.split_first() {
            Some((own, others)) if !self.no_key => (Some(own), others),
            _ => (None, certificates.as_slice()),
        };
        let target = Target { admin: &admin, catalogue: &catalogue, token: &token };
        let mut results = Vec::new();
        if let Some(own) = own {
            let key = matching_key(&catalogue, &token, selector.as_ref(), own)?;
            let (same, old): (Vec<_>, Vec<_>) = catalogue
                .certificates_of(key)
                .into_iter()
                .partition(|entry| entry.certificate.der == own.der);
            if let (Some(old), false) = (old.first(), self.replace) {
                return Err(Failure::new(format!(
                    "key {:?} has another certificate, {} of serial number {}",
                    catalogue.name(key),
                    old.certificate.subject,
                    old.certificate.serial_number
                ))
                .hint("--replace puts the new one in its place")
                .into());
            }
            let there = !same.is_empty();
            let name = catalogue.name(key);
            results.push(Imported::new(own, there, Some(&name)));
            if !there || !old.is_empty() {
                results.extend(
                    others.iter().map(|other| Imported::new(other, target.has(other), None)),
                );
                install(&admin, &token, key, own, others)?;
                return self.tell(&results);
            }
        }
        for other in others {
            results.push(target.import_authority(other)?);
        }
        self.tell(&results)
    }

    fn tell(&self, results: &[Imported]) -> Result<()> {
        if self.json {
            return output::json(&results);
        }
        for result in results {
            let verb = match result.result {
                "imported" => "imported",
                _ => "already there:",
            };
            let owner = match &result.key {
                Some(label) => format!(", for key {label:?}"),
                None => String::new(),
            };
            terminal::note(&format!("{verb} {}{owner}", result.subject));
        }
        Ok(())
    }
}

/// Where certificates are brought.
struct Target<'a> {
    admin: &'a Admin,
    catalogue: &'a Catalogue,
    token: &'a str,
}

impl Target<'_> {
    fn has(&self, certificate: &Certificate) -> bool {
        self.catalogue.certificates().iter().any(|entry| entry.certificate.der == certificate.der)
    }

    fn import_authority(&self, certificate: &Certificate) -> Result<Imported> {
        let there = self.has(certificate);
        if !there {
            let template = template(certificate, None);
            let operation = Operation::CreateObject(CreateObject { template: (&template).into() });
            self.admin.done(self.token, operation)?;
        }
        Ok(Imported::new(certificate, there, None))
    }
}

impl Imported {
    fn new(certificate: &Certificate, there: bool, key: Option<&str>) -> Self {
        Self {
            subject: certificate.subject.clone(),
            sha256: certificate.sha256(),
            result: if there { "already_there" } else { "imported" },
            key: key.map(str::to_owned),
        }
    }
}

/// Puts a certificate and its issuers' under a key, all at once: in place of the
/// certificate that a current key has, or of the key that a pending one succeeds.
///
/// # Errors
/// As [`Admin::call`].
pub fn install(
    admin: &Admin,
    token: &str,
    key: &Object,
    own: &Certificate,
    authorities: &[Certificate],
) -> Result<()> {
    let wire = |template: Attributes| wire::Attributes { attributes: (&template).into() };
    let operation = Operation::InstallCertificate(wire::InstallCertificate {
        key: key.unique_id.clone(),
        certificate: Some(wire(template(own, Some(key.id())))),
        authorities: authorities.iter().map(|authority| wire(template(authority, None))).collect(),
    });
    admin.done(token, operation)
}

/// The key of a certificate: the one that was named, or the one that fits.
fn matching_key<'a>(
    catalogue: &'a Catalogue,
    token: &str,
    named: Option<&Selector>,
    own: &Certificate,
) -> Result<&'a Object> {
    let found = catalogue.key_with(&own.parts.public_key_info);
    let Some(selector) = named else {
        return found.ok_or_else(|| {
            Failure::new(format!(
                "no key of token {token:?} belongs to the first certificate, {}",
                own.subject
            ))
            .hint("the key's own certificate comes first in the file")
            .hint("--no-key imports certificates of authorities only")
            .into()
        });
    };
    let named = catalogue.key(selector)?;
    if fits(named, own) {
        return Ok(named);
    }
    let failure = Failure::new(format!(
        "the first certificate, {}, is not for key {:?}",
        own.subject,
        catalogue.name(named)
    ));
    Err(match found {
        Some(other) => failure.hint(format!("it is for key {:?}", catalogue.name(other))),
        None => failure.hint("it is for none of the token's keys"),
    }
    .into())
}

/// Whether a certificate is for a key.
pub fn fits(key: &Object, certificate: &Certificate) -> bool {
    key.public_key_info()
        .is_some_and(|info| PublicKey::is_same(info, &certificate.parts.public_key_info))
}

/// Each certificate must have been issued by the next one.
///
/// # Errors
/// If one was not.
pub fn check_order(certificates: &[Certificate]) -> Result<()> {
    for (index, pair) in certificates.windows(2).enumerate() {
        let [lower, upper] = pair else { continue };
        if lower.parts.issuer != upper.parts.subject {
            return Err(Failure::new(format!(
                "certificate {} of the file, {}, did not issue certificate {}, {}",
                index + 2,
                upper.subject,
                index + 1,
                lower.subject
            ))
            .hint("the key's own certificate comes first, then each one's issuer")
            .into());
        }
    }
    Ok(())
}

/// The object of a certificate: of the key with this CKA_ID, or an authority's.
fn template(certificate: &Certificate, id: Option<&[u8]>) -> Attributes {
    let mut template = Attributes::new();
    template.set(CKA_CLASS, CKO_CERTIFICATE);
    template.set(CKA_CERTIFICATE_TYPE, CKC_X_509);
    template.set(CKA_TOKEN, true);
    template.set(CKA_PRIVATE, false);
    template.set(CKA_VALUE, certificate.der.clone());
    template.set(CKA_SUBJECT, certificate.parts.subject.clone());
    template.set(CKA_ISSUER, certificate.parts.issuer.clone());
    template.set(CKA_SERIAL_NUMBER, certificate.parts.serial_number.clone());
    match id {
        Some(id) => {
            template.set(CKA_ID, id);
            template.set(CKA_CERTIFICATE_CATEGORY, CK_CERTIFICATE_CATEGORY_TOKEN_USER);
        }
        // A JVM takes labels for aliases: authorities have none.
        None => {
            template.set(CKA_ID, authority_id(certificate).into_bytes());
            template.set(CKA_CERTIFICATE_CATEGORY, CK_CERTIFICATE_CATEGORY_AUTHORITY);
        }
    }
    template
}

/// CKA_ID of an authority's certificate: unique, and no key's, as keytool
/// makes it.
fn authority_id(certificate: &Certificate) -> String {
    format!("{}/{}/{}", certificate.subject, certificate.issuer, certificate.serial_number)
}
