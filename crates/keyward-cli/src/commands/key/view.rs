//! How a key is shown.

use anyhow::Result;
use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_token::Stage;
use serde::Serialize;

use crate::catalogue::{Catalogue, Object};
use crate::commands::cert::CertificateView;
use crate::output::{self, hex, moment, yes_no};

/// A key as `--json` shows it.
#[derive(Serialize)]
pub(super) struct KeyView {
    token: String,
    /// The label, else the label of the certificate, else the CKA_ID.
    pub(super) name: String,
    label: String,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) key_type: String,
    unique_id: String,
    public_unique_id: Option<String>,
    public_key_sha256: Option<String>,
    sensitive: bool,
    extractable: bool,
    pub(super) certificates: Vec<CertificateView>,
    /// "current", "pending" or "superseded".
    pub(super) state: &'static str,
    /// RFC 3339; null for a current key.
    pub(super) since: Option<String>,
}

impl KeyView {
    pub(super) fn of(catalogue: &Catalogue, token: &str, key: &Object) -> Self {
        let certificates = catalogue
            .certificates_of(key)
            .into_iter()
            .map(|entry| CertificateView::of(catalogue, entry))
            .collect();
        let name = catalogue.name(key);
        Self { name, ..Self::new(token, key, catalogue.public_of(key), certificates) }
    }

    pub(super) fn new(
        token: &str,
        key: &Object,
        public: Option<&Object>,
        certificates: Vec<CertificateView>,
    ) -> Self {
        let (state, since) = match key.stage() {
            Stage::Current => ("current", None),
            Stage::Pending { since, .. } => ("pending", Some(moment(since))),
            Stage::Superseded { since } => ("superseded", Some(moment(since))),
        };
        Self {
            token: token.to_owned(),
            name: key.label(),
            label: key.label(),
            id: hex(key.id()),
            key_type: key.key_type(),
            unique_id: key.unique_id.clone(),
            public_unique_id: public.map(|public| public.unique_id.clone()),
            public_key_sha256: key
                .public_key_info()
                .or_else(|| public.and_then(Object::public_key_info))
                .map(|information| hex(&Hash::Sha256.digest(information))),
            sensitive: key.attributes.is_true(CKA_SENSITIVE),
            extractable: key.attributes.is_true(CKA_EXTRACTABLE),
            certificates,
            state,
            since,
        }
    }

    /// The state, and since when.
    pub(super) fn state(&self) -> String {
        match &self.since {
            Some(since) => format!("{} since {since}", self.state),
            None => self.state.to_owned(),
        }
    }

    pub(super) fn print(&self) -> Result<()> {
        let mut pairs = vec![
            ("Key", self.name.clone()),
            ("Token", self.token.clone()),
            ("State", self.state()),
            ("Type", self.key_type.clone()),
            ("Id", self.id.clone()),
            ("Public key SHA-256", self.public_key_sha256.clone().unwrap_or_default()),
            ("Sensitive", yes_no(self.sensitive).to_owned()),
            ("Extractable", yes_no(self.extractable).to_owned()),
        ];
        for certificate in &self.certificates {
            pairs.push(("Certificate", certificate.subject.clone()));
            pairs.push(("  issued by", certificate.issuer.clone()));
            pairs.push(("  expires", certificate.expiry()));
        }
        if self.certificates.is_empty() {
            pairs.push(("Certificate", "none".to_owned()));
        }
        output::pairs(&pairs)
    }
}
