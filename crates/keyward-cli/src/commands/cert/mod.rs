//! `keyward cert`: the certificates of a token.

pub mod import;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use cryptoki_sys::*;
use keyward_crypto::ec::signature_to_der;
use keyward_token::key;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::sign::Scheme;
use keyward_wire::{DestroyObject, Done, Sign};
use serde::Serialize;
use time::OffsetDateTime;

use self::import::Import;
use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Catalogue, CertificateObject, Object};
use crate::commands::key::wire_key;
use crate::failure::Failure;
use crate::output::{self, Table, hex, moment};
use crate::selector::{Id, Selector};
use crate::terminal::{self, quote};
use crate::x509::certificate::to_pem;
use crate::x509::name::{OtherName, Subject};
use crate::x509::request::{Algorithm, CertificateRequest};

/// The certificates of a token
#[derive(Subcommand, Debug)]
pub enum CertCommand {
    /// Write a certificate request (PKCS#10) for a key
    #[command(
        after_long_help = "Example:\n  keyward cert request --token node1 --key node1 --subject CN=node1,O=Example \\\n      --san node1.example.org --san 10.0.0.1 --out node1.csr"
    )]
    Request(RequestArgs),
    /// Bring a certificate and its chain into a token
    #[command(after_long_help = "Example:\n  keyward cert import --token node1 node1-chain.pem")]
    Import(Import),
    /// List the certificates of a token
    #[command(after_long_help = "Example:\n  keyward cert list --token node1")]
    List(List),
    /// Write a certificate in PEM
    #[command(
        after_long_help = "Examples:\n  keyward cert export --token node1 node1 --chain --out node1-chain.pem\n  keyward cert export 'pkcs11:token=node1;object=node1;type=cert'"
    )]
    Export(Export),
    /// Take a certificate out of a token
    #[command(after_long_help = "Example:\n  keyward cert delete --token node1 5f3a09c1")]
    Delete(Delete),
}

impl CertCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What the service said, or what is wrong with the input.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Request(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Delete(args) => args.run(),
        }
    }
}

/// `keyward cert request`.
#[derive(Args, Debug)]
pub struct RequestArgs {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The key's label, or its pkcs11: URI
    #[arg(long)]
    key: String,
    /// The subject, as CN=node1,OU=db,O=Example or /O=Example/OU=db/CN=node1
    #[arg(long, value_name = "NAME")]
    subject: Subject,
    /// Another name: a host, an address, or dns:, ip:, email:, uri: and the name
    #[arg(long = "san", value_name = "NAME")]
    other_names: Vec<OtherName>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

impl RequestArgs {
    fn run(self) -> Result<()> {
        let selector = Selector::new(Some(&self.key), None)?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let key = catalogue.key(&selector)?;
        let request = CertificateRequest {
            subject: self.subject.der(),
            other_names: &OtherName::all(&self.other_names),
            public_key_info: key
                .public_key_info()
                .context("the key does not show its public half")?,
        };
        let algorithm = algorithm(key)?;
        let der = request.sign(algorithm, |digest| sign(&admin, &token, key, algorithm, digest))?;
        terminal::write_data(self.out.as_ref(), to_pem("CERTIFICATE REQUEST", &der).as_bytes())?;
        if self.other_names.is_empty() {
            terminal::hint("most clients want a --san; without one they refuse the certificate");
        }
        Ok(())
    }
}

/// How requests for a key are signed.
///
/// # Errors
/// If it is neither RSA nor EC.
pub fn algorithm(key: &Object) -> Result<Algorithm> {
    match key.attributes.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => Ok(Algorithm::Rsa),
        Some(CKK_EC) => {
            let parameters = key.attributes.bytes(CKA_EC_PARAMS).unwrap_or_default();
            Ok(Algorithm::ecdsa(key::curve(parameters)?))
        }
        _ => Err(Failure::new(format!("key {:?} is neither RSA nor EC", key.label())).into()),
    }
}

/// Has the service sign a digest; the signature is as X.509 wants it.
///
/// # Errors
/// As [`Admin::call`].
pub fn sign(
    admin: &Admin,
    token: &str,
    key: &Object,
    algorithm: Algorithm,
    digest: &[u8],
) -> Result<Vec<u8>> {
    let (scheme, input) = match algorithm {
        Algorithm::Rsa => (Scheme::RsaPkcs1(Done {}), algorithm.hash().digest_info(digest)?),
        Algorithm::Ecdsa(_) => (Scheme::Ecdsa(Done {}), digest.to_vec()),
    };
    let operation = Operation::Sign(Sign {
        key: Some(wire_key(key)),
        scheme: Some(scheme),
        recoverable: false,
        input,
        ..Sign::default()
    });
    let signature = admin.one(token, operation, |answer| match answer {
        Answer::Signature(bytes) => Some(bytes.value),
        _ => None,
    })?;
    match algorithm {
        Algorithm::Rsa => Ok(signature),
        Algorithm::Ecdsa(_) => Ok(signature_to_der(&signature)?),
    }
}

/// `keyward cert list`.
#[derive(Args, Debug)]
pub struct List {
    /// The token's label
    #[arg(long)]
    token: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl List {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &self.token)?;
        let certificates: Vec<_> = catalogue
            .certificates()
            .iter()
            .map(|entry| CertificateView::of(&catalogue, entry))
            .collect();
        if self.json {
            return output::json(&certificates);
        }
        let mut table = Table::new(["KEY", "SUBJECT", "ISSUER", "EXPIRES", "SHA-256"]);
        for certificate in &certificates {
            table.row([
                certificate.key.clone().unwrap_or_else(|| "-".to_owned()),
                certificate.subject.clone(),
                certificate.issuer.clone(),
                certificate.expiry(),
                certificate.sha256.chars().take(16).collect(),
            ]);
        }
        table.print(&format!("token {:?} has no certificate", self.token))
    }
}

/// `keyward cert export`.
#[derive(Args, Debug)]
pub struct Export {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The certificate's label, pkcs11: URI, subject, or the beginning of its SHA-256
    label: Option<String>,
    /// The certificate's CKA_ID: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// Its issuers too, as far as they are in the token
    #[arg(long)]
    chain: bool,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Export {
    fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let leaf = catalogue.certificate(&selector)?;
        let chain = if self.chain { catalogue.chain(leaf) } else { vec![leaf] };
        if let Some(last) = chain.last().filter(|_| self.chain)
            && !last.certificate.is_self_issued()
        {
            terminal::warning(&format!(
                "the chain ends at {}: {} is not in the token",
                last.certificate.subject, last.certificate.issuer
            ));
        }
        let text: String = chain.iter().map(|entry| entry.certificate.pem()).collect();
        terminal::write_data(self.out.as_ref(), text.as_bytes())
    }
}

/// `keyward cert delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The certificate's label, pkcs11: URI, subject, or the beginning of its SHA-256
    label: Option<String>,
    /// The certificate's CKA_ID: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Delete {
    fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let entry = catalogue.certificate(&selector)?;
        let subject = &entry.certificate.subject;
        terminal::confirm(
            &format!("Take the certificate {subject} out of token {token:?}?"),
            self.yes,
        )?;
        destroy(&admin, &token, &entry.object)?;
        terminal::note(&format!("the certificate {subject} is no longer in token {token:?}"));
        if let Some(key) = catalogue.key_of(entry)
            && catalogue.certificates_of(key).len() == 1
        {
            terminal::hint(&format!(
                "key {:?} has no certificate now and a JVM does not see it; \
                 `keyward cert request --token {} --key {}` asks for a new one",
                catalogue.name(key),
                quote(&token),
                quote(&catalogue.name(key))
            ));
        }
        Ok(())
    }
}

fn destroy(admin: &Admin, token: &str, object: &Object) -> Result<()> {
    let unique_id = object.unique_id.clone();
    admin.done(token, Operation::DestroyObject(DestroyObject { unique_id }))
}

/// A certificate as `--json` shows it.
#[derive(Serialize)]
pub struct CertificateView {
    label: Option<String>,
    id: String,
    unique_id: String,
    pub subject: String,
    pub issuer: String,
    serial_number: String,
    not_before: String,
    not_after: String,
    expires_in_days: i64,
    sha256: String,
    authority: bool,
    key: Option<String>,
}

impl CertificateView {
    /// How a certificate object is shown.
    pub fn of(catalogue: &Catalogue, entry: &CertificateObject) -> Self {
        let certificate = &entry.certificate;
        let left = certificate.not_after - OffsetDateTime::now_utc().unix_timestamp();
        Self {
            label: Some(entry.object.label()).filter(|label| !label.is_empty()),
            id: hex(entry.object.id()),
            unique_id: entry.object.unique_id.clone(),
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            serial_number: certificate.serial_number.clone(),
            not_before: at(certificate.not_before),
            not_after: at(certificate.not_after),
            expires_in_days: left.div_euclid(DAY),
            sha256: certificate.sha256(),
            authority: certificate.authority,
            key: catalogue.key_of(entry).map(|key| catalogue.name(key)),
        }
    }

    /// The last day, and how far off it is.
    pub fn expiry(&self) -> String {
        let day = output::day(&self.not_after);
        match self.expires_in_days {
            ..0 => format!("{day} (expired)"),
            0 => format!("{day} (today)"),
            1 => format!("{day} (1 day)"),
            days => format!("{day} ({days} days)"),
        }
    }
}

const DAY: i64 = 24 * 60 * 60;

fn at(seconds: i64) -> String {
    u64::try_from(seconds).map(moment).unwrap_or_default()
}
