//! What is in a token: keys joined with their certificates.

use anyhow::Result;
use cryptoki_sys::*;
use keyward_crypto::ec::Curve;
use keyward_token::key::PublicKey;
use keyward_token::{Attributes, Stage, describe, key};
use keyward_wire::catalogue_result::State;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, Catalogue as CatalogueRequest, Find, LoginMode, Scope};

use crate::admin::Admin;
use crate::failure::Failure;
use crate::output::hex;
use crate::selector::Selector;
use crate::x509::certificate::Certificate;

/// An object of a token.
#[derive(Clone, Debug)]
pub struct Object {
    /// CKA_UNIQUE_ID.
    pub unique_id: String,
    /// What may be read of it.
    pub attributes: Attributes,
}

/// A certificate object.
#[derive(Clone, Debug)]
pub struct CertificateObject {
    /// The object.
    pub object: Object,
    /// Its CKA_VALUE, read.
    pub certificate: Certificate,
}

/// Objects of a token.
pub struct Catalogue {
    token: String,
    objects: Vec<Object>,
    certificates: Vec<CertificateObject>,
}

/// Objects in an answer of Find.
const MOST: u32 = 500;

/// All objects of a token, by the stage that their key is in.
pub struct Stages {
    /// What is in use.
    pub current: Catalogue,
    /// Keys that are to take others' places.
    pub pending: Catalogue,
    /// Keys whose places others have taken.
    pub superseded: Catalogue,
}

impl Stages {
    /// Asks the service for all objects of a token.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn load(admin: &Admin, token: &str) -> Result<Self> {
        let (mut current, mut pending, mut superseded) = (Vec::new(), Vec::new(), Vec::new());
        for object in objects(admin, token, Scope::All)? {
            match object.stage() {
                Stage::Current => current.push(object),
                Stage::Pending { .. } => pending.push(object),
                Stage::Superseded { .. } => superseded.push(object),
            }
        }
        Ok(Self {
            current: Catalogue::new(token, current),
            pending: Catalogue::new(token, pending),
            superseded: Catalogue::new(token, superseded),
        })
    }
}

impl Catalogue {
    /// Asks the service for the objects of a token that are in use.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn load(admin: &Admin, token: &str) -> Result<Self> {
        Ok(Self::new(token, objects(admin, token, Scope::Current)?))
    }

    fn new(token: &str, objects: Vec<Object>) -> Self {
        let certificates = objects
            .iter()
            .filter(|object| object.class() == CKO_CERTIFICATE)
            .filter_map(|object| {
                let value = object.attributes.bytes(CKA_VALUE)?;
                // What is no certificate after all is no reason to show nothing.
                let certificate = Certificate::from_der(value).ok()?;
                Some(CertificateObject { object: object.clone(), certificate })
            })
            .collect();
        Self { token: token.to_owned(), objects, certificates }
    }

    /// The private keys, by name.
    pub fn keys(&self) -> Vec<&Object> {
        let mut keys: Vec<_> =
            self.objects.iter().filter(|object| object.class() == CKO_PRIVATE_KEY).collect();
        keys.sort_by_key(|key| (self.name(key), key.id().to_vec()));
        keys
    }

    /// What people call a key: its label, else the label of its certificate,
    /// else its CKA_ID. keytool makes keys without a label.
    pub fn name(&self, key: &Object) -> String {
        self.names(key).swap_remove(0)
    }

    /// All that a key is called, at least one name; the one to show is first.
    pub fn names(&self, key: &Object) -> Vec<String> {
        let label = key.label();
        if !label.is_empty() {
            return vec![label];
        }
        let mut names: Vec<_> = self
            .certificates_of(key)
            .iter()
            .map(|entry| entry.object.label())
            .filter(|label| !label.is_empty())
            .collect();
        names.extend(key.id_text());
        names.push(format!("0x{}", hex(key.id())));
        names
    }

    /// Whether a private key is meant by this.
    pub fn has_key(&self, selector: &Selector) -> bool {
        self.keys().into_iter().any(|key| selector.fits(key, &self.names(key)))
    }

    /// The one private key that is meant.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn key(&self, selector: &Selector) -> Result<&Object> {
        let found: Vec<_> =
            self.keys().into_iter().filter(|key| selector.fits(key, &self.names(key))).collect();
        match found.as_slice() {
            [key] => Ok(*key),
            [] => Err(Failure::new(format!("token {:?} has no key {selector}", self.token))
                .hint(format!("keyward key list --token {}", crate::terminal::quote(&self.token)))
                .into()),
            several => Err(Failure::new(format!(
                "{} keys of token {:?} are {selector}",
                several.len(),
                self.token
            ))
            .hint(format!(
                "name one by its id: {}",
                several
                    .iter()
                    .map(|key| format!("--id 0x{}", hex(key.id())))
                    .collect::<Vec<_>>()
                    .join(" or ")
            ))
            .into()),
        }
    }

    /// The public key that belongs to a private one.
    pub fn public_of(&self, key: &Object) -> Option<&Object> {
        self.objects.iter().find(|object| {
            object.class() == CKO_PUBLIC_KEY
                && object.id() == key.id()
                && object.public_key_info() == key.public_key_info()
        })
    }

    /// The key that has this DER SubjectPublicKeyInfo.
    pub fn key_with(&self, public_key_info: &[u8]) -> Option<&Object> {
        let same = |info| PublicKey::is_same(info, public_key_info);
        self.keys().into_iter().find(|key| key.public_key_info().is_some_and(same))
    }

    /// All certificates: those of keys first, by label.
    pub fn certificates(&self) -> Vec<&CertificateObject> {
        let mut certificates: Vec<_> = self.certificates.iter().collect();
        certificates.sort_by_key(|entry| {
            let label = entry.object.label();
            (label.is_empty(), label, entry.certificate.subject.clone())
        });
        certificates
    }

    /// The certificates that belong to a key: those that share its CKA_ID.
    pub fn certificates_of(&self, key: &Object) -> Vec<&CertificateObject> {
        self.certificates
            .iter()
            .filter(|entry| !key.id().is_empty() && entry.object.id() == key.id())
            .collect()
    }

    /// The key that a certificate belongs to.
    pub fn key_of(&self, certificate: &CertificateObject) -> Option<&Object> {
        let id = certificate.object.id();
        self.keys().into_iter().find(|key| !id.is_empty() && key.id() == id)
    }

    /// The one certificate that is meant: by label, unique id, the beginning of
    /// its SHA-256, or subject.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn certificate(&self, selector: &Selector) -> Result<&CertificateObject> {
        let found: Vec<_> = self
            .certificates()
            .into_iter()
            .filter(|entry| selector.fits_certificate(entry))
            .collect();
        match found.as_slice() {
            [certificate] => Ok(*certificate),
            [] => {
                Err(Failure::new(format!("token {:?} has no certificate {selector}", self.token))
                    .hint(format!(
                        "keyward cert list --token {}",
                        crate::terminal::quote(&self.token)
                    ))
                    .into())
            }
            several => Err(Failure::new(format!(
                "{} certificates of token {:?} are {selector}",
                several.len(),
                self.token
            ))
            .hint("name one by the beginning of its SHA-256, as `keyward cert list` shows it")
            .into()),
        }
    }

    /// A certificate and those above it, as far as they are in the token.
    pub fn chain<'a>(&'a self, leaf: &'a CertificateObject) -> Vec<&'a CertificateObject> {
        let mut chain = vec![leaf];
        let mut last = leaf;
        while !last.certificate.is_self_issued() {
            let issuer = self.certificates.iter().find(|entry| {
                entry.certificate.parts.subject == last.certificate.parts.issuer
                    && !chain.iter().any(|seen| seen.certificate.der == entry.certificate.der)
            });
            let Some(issuer) = issuer else { break };
            chain.push(issuer);
            last = issuer;
        }
        chain
    }
}

impl Object {
    /// CKA_CLASS.
    pub fn class(&self) -> u64 {
        self.attributes.number(CKA_CLASS).unwrap_or(u64::MAX)
    }

    /// CKA_LABEL; empty if there is none.
    pub fn label(&self) -> String {
        String::from_utf8_lossy(self.attributes.bytes(CKA_LABEL).unwrap_or_default()).into_owned()
    }

    /// Where it stands while its key is replaced.
    pub fn stage(&self) -> Stage {
        Stage::of(&self.attributes)
    }

    /// CKA_ID; empty if there is none.
    pub fn id(&self) -> &[u8] {
        self.attributes.bytes(CKA_ID).unwrap_or_default()
    }

    /// CKA_ID, if it is text that can be printed.
    pub fn id_text(&self) -> Option<String> {
        std::str::from_utf8(self.id())
            .ok()
            .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
            .map(str::to_owned)
    }

    /// CKA_PUBLIC_KEY_INFO, a DER SubjectPublicKeyInfo.
    pub fn public_key_info(&self) -> Option<&[u8]> {
        self.attributes.bytes(CKA_PUBLIC_KEY_INFO).filter(|value| !value.is_empty())
    }

    /// The key's type as `--type` takes it.
    pub fn key_type(&self) -> String {
        match self.attributes.number(CKA_KEY_TYPE) {
            Some(CKK_RSA) => {
                let modulus = self.attributes.bytes(CKA_MODULUS).unwrap_or_default();
                format!("rsa:{}", key::significant_bits(modulus))
            }
            Some(CKK_EC) => {
                let parameters = self.attributes.bytes(CKA_EC_PARAMS).unwrap_or_default();
                format!("ec:{}", key::curve(parameters).map_or("?".to_owned(), curve_name))
            }
            _ => describe::kind(&self.attributes),
        }
    }
}

impl TryFrom<wire::Object> for Object {
    type Error = anyhow::Error;

    fn try_from(object: wire::Object) -> Result<Self> {
        Ok(Self { unique_id: object.unique_id, attributes: object.attributes.try_into()? })
    }
}

/// A curve's name as `--type` takes it.
pub fn curve_name(curve: Curve) -> String {
    curve.name().to_ascii_lowercase().replace('-', "")
}

fn objects(admin: &Admin, token: &str, scope: Scope) -> Result<Vec<Object>> {
    let mut found = Vec::new();
    let mut too_large = false;
    let mut by_certificate = false;
    let request = CatalogueRequest { known: None, scope: scope.into() };
    for answer in admin.call(token, Operation::Catalogue(request))? {
        if let Answer::Catalogue(frame) = answer {
            too_large |= frame.state() == State::TooLarge;
            by_certificate |=
                frame.token.is_some_and(|token| token.login_mode() == LoginMode::Certificate);
            found.extend(frame.objects);
        }
    }
    if too_large {
        found = find_all(admin, token, scope)?;
    }
    let objects = found.into_iter().map(Object::try_from).collect::<Result<Vec<_>>>()?;
    // No key at all may mean that this identity is not shown any.
    if !by_certificate && !objects.iter().any(|object| object.class() == CKO_PRIVATE_KEY) {
        admin.must_administer()?;
    }
    Ok(objects)
}

fn find_all(admin: &Admin, token: &str, scope: Scope) -> Result<Vec<wire::Object>> {
    let mut objects = Vec::new();
    let mut cursor = Vec::new();
    loop {
        let find = Find { template: Vec::new(), cursor, most: MOST, scope: scope.into() };
        cursor = Vec::new();
        for answer in admin.call(token, Operation::Find(find))? {
            if let Answer::Find(found) = answer {
                objects.extend(found.objects);
                cursor = found.cursor;
            }
        }
        if cursor.is_empty() {
            return Ok(objects);
        }
    }
}
