//! `keyward cert import`: certificates and their chains out of files.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_wire::CreateObject;
use keyward_wire::request::Operation;
use serde::Serialize;

use super::destroy;
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
    /// Destroy the certificate that the key has now
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
            let old: Vec<_> = catalogue
                .certificates_of(key)
                .into_iter()
                .filter(|entry| entry.certificate.der != own.der)
                .collect();
            if let (Some(old), false) = (old.first(), self.replace) {
                return Err(Failure::new(format!(
                    "key {:?} has another certificate, {} of serial number {}",
                    catalogue.name(key),
                    old.certificate.subject,
                    old.certificate.serial_number
                ))
                .hint("--replace takes it out once the new one is in")
                .into());
            }
            let name = catalogue.name(key);
            results.push(target.import(own, key.id(), Some(&name))?);
            for entry in old {
                destroy(&admin, &token, &entry.object)?;
            }
        }
        for other in others {
            let id = authority_id(other);
            results.push(target.import(other, id.as_bytes(), None)?);
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
    fn import(
        &self,
        certificate: &Certificate,
        id: &[u8],
        label: Option<&str>,
    ) -> Result<Imported> {
        let there = self.catalogue.certificates().iter().any(|entry| {
            entry.certificate.der == certificate.der && (label.is_none() || entry.object.id() == id)
        });
        if !there {
            let template = template(certificate, id, label);
            let operation = Operation::CreateObject(CreateObject { template: (&template).into() });
            self.admin.done(self.token, operation)?;
        }
        Ok(Imported {
            subject: certificate.subject.clone(),
            sha256: certificate.sha256(),
            result: if there { "already_there" } else { "imported" },
            key: label.map(str::to_owned),
        })
    }
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
    if named.public_key_info() == Some(own.parts.public_key_info.as_slice()) {
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

/// Each certificate must have been issued by the next one.
fn check_order(certificates: &[Certificate]) -> Result<()> {
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

fn template(certificate: &Certificate, id: &[u8], label: Option<&str>) -> Attributes {
    let mut template = Attributes::new();
    template.set(CKA_CLASS, CKO_CERTIFICATE);
    template.set(CKA_CERTIFICATE_TYPE, CKC_X_509);
    template.set(CKA_TOKEN, true);
    template.set(CKA_PRIVATE, false);
    template.set(CKA_ID, id);
    template.set(CKA_VALUE, certificate.der.clone());
    template.set(CKA_SUBJECT, certificate.parts.subject.clone());
    template.set(CKA_ISSUER, certificate.parts.issuer.clone());
    template.set(CKA_SERIAL_NUMBER, certificate.parts.serial_number.clone());
    match label {
        Some(label) => {
            template.set(CKA_LABEL, label.as_bytes());
            template.set(CKA_CERTIFICATE_CATEGORY, CK_CERTIFICATE_CATEGORY_TOKEN_USER);
        }
        // A JVM takes labels for aliases: authorities have none.
        None => template.set(CKA_CERTIFICATE_CATEGORY, CK_CERTIFICATE_CATEGORY_AUTHORITY),
    }
    template
}

/// CKA_ID of an authority's certificate: unique, and no key's, as keytool
/// makes it.
fn authority_id(certificate: &Certificate) -> String {
    format!("{}/{}/{}", certificate.subject, certificate.issuer, certificate.serial_number)
}
