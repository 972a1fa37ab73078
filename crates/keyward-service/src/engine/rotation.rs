//! A key in another's place: the successor is made ready, put in place together
//! with its certificate in one transaction, and the predecessor stays usable
//! until it is retired.

use std::sync::Arc;

use cryptoki_sys::*;
use keyward_token::certificate::Parts;
use keyward_token::key::PublicKey;
use keyward_token::rules::Author;
use keyward_token::{Attributes, Object, Stage, rules};
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::access::Access;
use super::hsm::Effects;
use super::objects::{fitting_view, no_object};
use super::pins::DONE;
use super::repeat::{Changes, Plan};
use super::sealed::encode;
use super::{Call, Engine, malformed};
use crate::clock;
use crate::state::StoredObject;
use crate::store::paths;

impl Engine {
    /// Where a new key stands that is to succeed the one of this CKA_UNIQUE_ID;
    /// empty: it succeeds none.
    pub(super) fn stage_of_successor(&self, access: &Access, predecessor: &str) -> Result<Stage> {
        if predecessor.is_empty() {
            return Ok(Stage::Current);
        }
        let key = private_key(access, predecessor)?;
        if stage(key) != Stage::Current {
            return Err(Error::new(
                ErrorCode::ActionProhibited,
                "only a key that is current can be given a successor",
            ));
        }
        Ok(Stage::Pending { since: clock::seconds(), predecessor: predecessor.to_owned() })
    }

    /// Puts a certificate under a key; if the key is pending, puts the key in
    /// its predecessor's place.
    pub(super) fn install_certificate(
        &self,
        call: &Call,
        install: &wire::InstallCertificate,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        access.must_be_user()?;
        access.may_write()?;
        let key = private_key(&access, &install.key)?;
        let mut changes = Changes::default();
        let (alias, removed) = match stage(key) {
            Stage::Superseded { .. } => {
                return Err(Error::new(
                    ErrorCode::ActionProhibited,
                    "the key is superseded: another has taken its place",
                ));
            }
            Stage::Current => {
                let own: Vec<_> = family(&access, key)
                    .into_iter()
                    .filter(|stored| stored.object.class() == CKO_CERTIFICATE)
                    .collect();
                let alias = alias(&access, key);
                for stored in &own {
                    rules::may_destroy(&stored.object)?;
                    changes
                        .delete(paths::object(access.token.id, &stored.unique_id), stored.version);
                }
                (alias, own)
            }
            Stage::Pending { predecessor, .. } => {
                let (alias, superseded) =
                    self.supersede(&access, key, &predecessor, &mut changes)?;
                for stored in family(&access, key) {
                    let mut object = stored.object.clone();
                    Stage::Current.put(&mut object);
                    let object = relabel(&object, &alias)?;
                    replace(&access, &stored, &object, &mut changes)?;
                }
                (alias, superseded)
            }
        };
        let certificate = install
            .certificate
            .clone()
            .ok_or_else(|| malformed("the request has no certificate"))?;
        let mut template = Attributes::try_from(certificate.attributes)?;
        template.set(CKA_ID, bytes(key, CKA_ID));
        template.set(CKA_LABEL, alias);
        let certificate = certificate_object(template)?;
        if !is_for(&certificate, key) {
            return Err(other_key());
        }
        let mut issuer = bytes(&certificate, CKA_ISSUER).to_vec();
        self.place(call, &access, certificate, &mut changes)?;
        for authority in &install.authorities {
            let authority =
                certificate_object(Attributes::try_from(authority.attributes.clone())?)?;
            if bytes(&authority, CKA_SUBJECT) != issuer {
                return Err(Error::new(
                    ErrorCode::ArgumentsBad,
                    "the chain is not in order: each certificate is followed by its issuer's",
                ));
            }
            issuer = bytes(&authority, CKA_ISSUER).to_vec();
            let there = access.token.objects.values().any(|stored| {
                stored.object.class() == CKO_CERTIFICATE
                    && stage(&stored.object) == Stage::Current
                    && bytes(&stored.object, CKA_VALUE) == bytes(&authority, CKA_VALUE)
                    && !removed.iter().any(|other| Arc::ptr_eq(other, stored))
            });
            if !there {
                self.place(call, &access, authority, &mut changes)?;
            }
        }
        Ok(Plan::new(changes, access.answer(Some(DONE))).about(&install.key))
    }

    /// Destroys a key that is not current, with what belongs to it.
    pub(super) fn retire_key(&self, call: &Call, retire: &wire::RetireKey) -> Result<Plan> {
        let access = self.access(call)?;
        access.may_write()?;
        let key = private_key(&access, &retire.unique_id)?;
        if stage(key) == Stage::Current {
            return Err(Error::new(
                ErrorCode::ActionProhibited,
                "the key is current: another must take its place first",
            ));
        }
        let mut changes = Changes::default();
        let mut effects = Effects::default();
        for stored in family(&access, key) {
            rules::may_destroy(&stored.object)?;
            changes.delete(paths::object(access.token.id, &stored.unique_id), stored.version);
            effects.destroy(self, &access.token, &stored.object);
        }
        changes.touched = Some(access.token.id);
        let plan = Plan::new(changes, access.answer(Some(DONE)));
        Ok(plan.about(&retire.unique_id).with(effects))
    }

    /// Takes the predecessor of a pending key out of sight, and answers what the
    /// key is to be called.
    fn supersede(
        &self,
        access: &Access,
        key: &Object,
        predecessor: &str,
        changes: &mut Changes,
    ) -> Result<(Vec<u8>, Vec<Arc<StoredObject>>)> {
        let current = private_key(access, predecessor)
            .ok()
            .filter(|predecessor| stage(predecessor) == Stage::Current);
        let Some(predecessor) = current else {
            // Somebody destroyed it, or put another in its place.
            let alias = bytes(key, CKA_LABEL).to_vec();
            let taken = access.token.objects.values().any(|stored| {
                stored.object.class() == CKO_PRIVATE_KEY
                    && stage(&stored.object) == Stage::Current
                    && self::alias(access, &stored.object) == alias
            });
            if taken {
                return Err(Error::new(
                    ErrorCode::AlreadyExists,
                    "another key has taken that place meanwhile",
                ));
            }
            return Ok((alias, Vec::new()));
        };
        let family = family(access, predecessor);
        let since = clock::seconds();
        for stored in &family {
            let mut object = stored.object.clone();
            Stage::Superseded { since }.put(&mut object);
            replace(access, stored, &object, changes)?;
        }
        Ok((alias(access, predecessor), family))
    }
}

/// A key and what belongs to it, all of one stage: its public half and its
/// certificates, by CKA_ID or by the key itself.
fn family(access: &Access, key: &Object) -> Vec<Arc<StoredObject>> {
    let id = bytes(key, CKA_ID);
    let belongs = |object: &Object| match object.class() {
        CKO_PRIVATE_KEY => bytes(object, CKA_UNIQUE_ID) == bytes(key, CKA_UNIQUE_ID),
        // DSA and Diffie-Hellman keys have no CKA_PUBLIC_KEY_INFO.
        CKO_PUBLIC_KEY => match bytes(key, CKA_PUBLIC_KEY_INFO) {
            [] => !id.is_empty() && bytes(object, CKA_ID) == id,
            info => bytes(object, CKA_PUBLIC_KEY_INFO) == info,
        },
        CKO_CERTIFICATE => !id.is_empty() && bytes(object, CKA_ID) == id,
        _ => false,
    };
    let stage = stage_name(key);
    access
        .token
        .objects
        .values()
        .filter(|stored| belongs(&stored.object) && stage_name(&stored.object) == stage)
        .cloned()
        .collect()
}

/// What a JVM calls a key: the label of its certificate, else its own label,
/// else its CKA_ID.
fn alias(access: &Access, key: &Object) -> Vec<u8> {
    let of_certificate = family(access, key)
        .iter()
        .filter(|stored| stored.object.class() == CKO_CERTIFICATE)
        .map(|stored| bytes(&stored.object, CKA_LABEL).to_vec())
        .find(|label| !label.is_empty());
    of_certificate.unwrap_or_else(|| match bytes(key, CKA_LABEL) {
        [] => bytes(key, CKA_ID).to_vec(),
        label => label.to_vec(),
    })
}

fn private_key<'a>(access: &'a Access, unique_id: &str) -> Result<&'a Object> {
    let stored = access.object(unique_id).ok_or_else(no_object)?;
    if stored.object.class() != CKO_PRIVATE_KEY {
        return Err(Error::new(ErrorCode::KeyTypeInconsistent, "the object is not a private key"));
    }
    Ok(&stored.object)
}

fn certificate_object(mut template: Attributes) -> Result<Object> {
    template.set(CKA_CLASS, CKO_CERTIFICATE);
    template.set(CKA_TOKEN, true);
    rules::create(template, Author::User)
}

/// Whether a certificate is for a private key.
fn is_for(certificate: &Object, key: &Object) -> bool {
    Parts::of(bytes(certificate, CKA_VALUE)).is_ok_and(|parts| {
        PublicKey::is_same(&parts.public_key_info, bytes(key, CKA_PUBLIC_KEY_INFO))
    })
}

fn relabel(object: &Object, label: &[u8]) -> Result<Object> {
    rules::change(object, &Attributes::from_pairs([(CKA_LABEL, label.into())])?, Author::User)
}

fn replace(
    access: &Access,
    stored: &StoredObject,
    object: &Object,
    changes: &mut Changes,
) -> Result<()> {
    fitting_view(&stored.unique_id, object)?;
    let path = paths::object(access.token.id, &stored.unique_id);
    changes.replace(path, stored.version, encode(object).to_vec());
    changes.touched = Some(access.token.id);
    Ok(())
}

fn stage(object: &Object) -> Stage {
    Stage::of(object.attributes())
}

/// A stage without its times.
fn stage_name(object: &Object) -> std::mem::Discriminant<Stage> {
    std::mem::discriminant(&stage(object))
}

fn bytes(object: &Object, attribute: u64) -> &[u8] {
    object.attributes().bytes(attribute).unwrap_or_default()
}

fn other_key() -> Error {
    Error::new(
        ErrorCode::TemplateInconsistent,
        "the certificate is for another key than the one that has its CKA_ID",
    )
}
