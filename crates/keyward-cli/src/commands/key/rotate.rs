//! `keyward key rotate`: another key and certificate in a key's place.
//!
//! The successor is made first, where nobody finds it; its certificate comes
//! from a certificate authority, here or elsewhere; then both take the place of
//! the old ones in one transaction. Each step can be done again.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use keyward_token::Stage;
use keyward_wire::RetireKey;
use keyward_wire::request::Operation;

use super::import::read_private_key;
use super::view::KeyView;
use super::{KeyType, NewPair};
use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Object, Stages};
use crate::commands::cert::import::{check_order, fits, install};
use crate::commands::cert::{algorithm, sign};
use crate::failure::Failure;
use crate::output;
use crate::selector::{Id, Selector};
use crate::terminal::{self, quote};
use crate::x509::certificate::{Certificate, to_pem};
use crate::x509::der;
use crate::x509::issue::{Issued, Issuer, SUBJECT_ALT_NAME};
use crate::x509::name::{OtherName, Subject};
use crate::x509::request::CertificateRequest;

/// `keyward key rotate`.
#[derive(Args, Debug)]
pub struct Rotate {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The key's label, or its pkcs11: URI
    label: Option<String>,
    /// The key's CKA_ID: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// The new key's type, as for `key generate` [default: as the old one's]
    #[arg(long = "type", value_name = "TYPE")]
    key_type: Option<KeyType>,
    /// The subject of the request [default: as the old certificate has it]
    #[arg(long, value_name = "NAME")]
    subject: Option<Subject>,
    /// Another name in the request [default: as the old certificate has them]
    #[arg(long = "san", value_name = "NAME")]
    other_names: Vec<OtherName>,
    /// The file for the request [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate", "ca", "abort"])]
    out: Option<PathBuf>,
    /// Put the new key in place, with this chain: PEM, the key's certificate, then each one's issuer
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ca", "abort", "key_type", "subject", "other_names"])]
    certificate: Option<PathBuf>,
    /// Have the authority of this certificate (PEM) issue the new one, and put the key in place
    #[arg(long, value_name = "FILE", requires = "ca_key", conflicts_with = "abort")]
    ca: Option<PathBuf>,
    /// The private key of --ca: PEM, not encrypted
    #[arg(long, value_name = "FILE", requires = "ca")]
    ca_key: Option<PathBuf>,
    /// How long a certificate by --ca is good for
    #[arg(long, requires = "ca", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Destroy the new key that is not in place yet
    #[arg(long)]
    abort: bool,
    /// Print the key that is in place then as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Rotate {
    pub(super) fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let stages = Stages::load(&admin, &token)?;
        let rotation = Rotation::of(&admin, &token, &stages, &selector)?;
        if self.abort {
            return rotation.abort();
        }
        if let Some(file) = &self.certificate {
            let chain = Certificate::read_file(file)?;
            check_order(&chain)?;
            rotation.put_in_place(&chain)?;
            return self.tell(&admin, &token, &rotation.name);
        }
        // What is wrong with the authority is told before a key is made.
        let authority = match (&self.ca, &self.ca_key) {
            (Some(ca), Some(key)) => {
                let chain = Certificate::read_file(ca)?;
                check_order(&chain)?;
                Some((chain, read_private_key(key)?))
            }
            _ => None,
        };
        let issuer = match &authority {
            Some((chain, key)) => {
                let certificate = chain.first().context("the authority has no certificate")?;
                Some(Issuer::new(certificate, key)?)
            }
            None => None,
        };
        let subject = match &self.subject {
            Some(subject) => subject.der().to_vec(),
            None => rotation.old_certificate()?.parts.subject.clone(),
        };
        let other_names = match self.other_names.as_slice() {
            [] => rotation.old_names(),
            names => OtherName::all(names),
        };
        let successor = rotation.successor(self.key_type)?;
        let public_key_info =
            successor.public_key_info().context("the key does not show its public half")?;
        let Some(issuer) = issuer else {
            let request = CertificateRequest {
                subject: &subject,
                other_names: &other_names,
                public_key_info,
            };
            let algorithm = algorithm(&successor)?;
            let der = request
                .sign(algorithm, |digest| sign(&admin, &token, &successor, algorithm, digest))?;
            let pem = to_pem("CERTIFICATE REQUEST", &der);
            terminal::write_data(self.out.as_ref(), pem.as_bytes())?;
            terminal::hint(&format!(
                "the new key is not in use yet; with its certificate, say keyward key rotate \
                 --token {} {} --certificate CHAIN.pem",
                quote(&token),
                quote(&rotation.name)
            ));
            return Ok(());
        };
        let issued = issuer.issue(&Issued {
            subject: &subject,
            public_key_info,
            other_names: &other_names,
            like: rotation.old_certificate().ok(),
            days: self.days,
        })?;
        let chain = authority.as_ref().map_or(&[][..], |(chain, _)| chain);
        rotation.install(&successor, &issued, chain)?;
        self.tell(&admin, &token, &rotation.name)
    }

    fn tell(&self, admin: &Admin, token: &str, name: &str) -> Result<()> {
        let stages = Stages::load(admin, token)?;
        let selector = Selector::new(Some(name), None)?;
        let view = KeyView::of(&stages.current, token, stages.current.key(&selector)?);
        terminal::note(&format!(
            "key {name:?} of token {token:?} is another now; what was loaded before goes on with \
             the old one"
        ));
        if stages.superseded.has_key(&selector) {
            terminal::hint(&format!(
                "when all have loaded their keystores anew: keyward key retire --token {} {}",
                quote(token),
                quote(name)
            ));
        }
        if self.json { output::json(&view) } else { view.print() }
    }
}

/// A key and what is to succeed it.
struct Rotation<'a> {
    admin: &'a Admin,
    token: &'a str,
    stages: &'a Stages,
    /// What the key is called, before and after.
    name: String,
    /// Absent if it was destroyed while its successor was waiting.
    old: Option<&'a Object>,
    /// More than one if two have begun at once.
    pending: Vec<&'a Object>,
}

impl<'a> Rotation<'a> {
    fn of(
        admin: &'a Admin,
        token: &'a str,
        stages: &'a Stages,
        selector: &Selector,
    ) -> Result<Self> {
        let Stages { current, pending, .. } = stages;
        let waiting = pending.keys();
        if !current.has_key(selector) && pending.has_key(selector) {
            let key = pending.key(selector)?;
            let name = pending.name(key);
            return Ok(Self { admin, token, stages, name, old: None, pending: vec![key] });
        }
        let old = current.key(selector)?;
        let succeeds = |key: &&Object| match key.stage() {
            Stage::Pending { predecessor, .. } => predecessor == old.unique_id,
            _ => false,
        };
        let pending = waiting.into_iter().filter(succeeds).collect();
        let name = current.name(old);
        Ok(Self { admin, token, stages, name, old: Some(old), pending })
    }

    /// The certificate of the key that is in place.
    fn old_certificate(&self) -> Result<&Certificate> {
        self.old
            .and_then(|old| self.stages.current.certificates_of(old).first().copied())
            .map(|entry| &entry.certificate)
            .ok_or_else(|| {
                Failure::usage(format!("key {:?} has no certificate to take over from", self.name))
                    .hint("--subject and --san say what the new one is for")
                    .into()
            })
    }

    /// The other names in the certificate of the key that is in place.
    fn old_names(&self) -> Vec<u8> {
        self.old_certificate()
            .ok()
            .and_then(|old| old.extension(SUBJECT_ALT_NAME))
            .and_then(|names| der::content(&names.value).map(<[u8]>::to_vec))
            .unwrap_or_default()
    }

    /// The new key: the one that is waiting, or one that is made now.
    fn successor(&self, key_type: Option<KeyType>) -> Result<Object> {
        if let [waiting, ..] = self.pending.as_slice() {
            self.one_pending()?;
            if let Some(wanted) = key_type
                && wanted.to_string() != waiting.key_type()
            {
                return Err(Failure::new(format!(
                    "a new key for {:?} is waiting already, and it is {}",
                    self.name,
                    waiting.key_type()
                ))
                .hint("--abort destroys it")
                .into());
            }
            return Ok((*waiting).clone());
        }
        let old = self.old.context("there is no key to succeed")?;
        let key_type = match key_type {
            Some(key_type) => key_type,
            None => old.key_type().parse().map_err(|message: String| {
                Failure::usage(format!("key {:?} is {}: {message}", self.name, old.key_type()))
                    .hint("--type says what the new one is to be")
            })?,
        };
        // An id of its own: who looks the old key up again by its id finds it.
        let pair = NewPair {
            key_type,
            label: &self.name,
            id: &keyward_crypto::random::bytes::<8>(),
            extractable: false,
            successor_of: &old.unique_id,
        };
        Ok(pair.generate(self.admin, self.token)?.1)
    }

    /// Puts the waiting key in place, with the certificate that came for it.
    fn put_in_place(&self, chain: &[Certificate]) -> Result<()> {
        let (own, authorities) = chain.split_first().context("the file holds no certificate")?;
        if let Some(waiting) = self.pending.iter().find(|key| fits(key, own)) {
            return self.install(waiting, own, authorities);
        }
        let there = |old: &&Object| {
            fits(old, own)
                && self
                    .stages
                    .current
                    .certificates_of(old)
                    .iter()
                    .any(|entry| entry.certificate.der == own.der)
        };
        // While another key waits it is the wrong file.
        if self.pending.is_empty() && self.old.as_ref().is_some_and(there) {
            terminal::note("it is in place already");
            return Ok(());
        }
        let failure = Failure::new(format!(
            "the first certificate, {}, is not for the new key of {:?}",
            own.subject, self.name
        ));
        let hint = match (self.pending.is_empty(), self.old) {
            (_, Some(old)) if fits(old, own) => {
                "it is for the key that is in place: `keyward cert import --replace` renews \
                 a certificate"
            }
            (true, _) => "no new key is waiting: make one, and a request for it, with --out FILE",
            (false, _) => "--out FILE writes the request of the key that is waiting once more",
        };
        Err(failure.hint(hint).into())
    }

    fn install(&self, key: &Object, own: &Certificate, authorities: &[Certificate]) -> Result<()> {
        install(self.admin, self.token, key, own, authorities)
    }

    fn abort(&self) -> Result<()> {
        if self.pending.is_empty() {
            terminal::note(&format!("no new key for {:?} is waiting", self.name));
        }
        for key in &self.pending {
            let unique_id = key.unique_id.clone();
            self.admin.done(self.token, Operation::RetireKey(RetireKey { unique_id }))?;
            terminal::note(&format!("the new key for {:?} is destroyed", self.name));
        }
        Ok(())
    }

    fn one_pending(&self) -> Result<()> {
        if self.pending.len() < 2 {
            return Ok(());
        }
        let sentence = format!("{} new keys for {:?} are waiting", self.pending.len(), self.name);
        Err(Failure::new(sentence).hint("--abort destroys them").into())
    }
}
