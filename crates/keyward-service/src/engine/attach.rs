//! Keys that are in an HSM already become a token's.

use cryptoki_sys::*;
use keyward_token::certificate::Parts;
use keyward_token::rules::{self, Author};
use keyward_token::{Attributes, Object, describe, hsm};
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, HsmKeyState, Result};

use super::access::Access;
use super::admin::administrators_only;
use super::repeat::{Changes, Plan};
use super::{Answer, Call, Engine, malformed};

/// A key that the HSM shows.
struct Candidate<'a> {
    shown: &'a Attributes,
    /// What finds it alone; `None`: nothing does.
    reference: Option<Attributes>,
    /// What there is of its CKA_ID.
    public: Option<&'a Attributes>,
    certificates: Vec<&'a Attributes>,
}

impl Engine {
    /// The keys in a token's HSM.
    pub(super) async fn list_hsm_keys(&self, call: &Call) -> Result<Answer> {
        administrators_only(call)?;
        let access = self.access_without_ticket(call)?;
        let shown = self.objects_in_hsm(&access, call).await?;
        let taken = self.taken(&access);
        let keys = candidates(&shown).iter().map(|candidate| candidate.told(&taken)).collect();
        Ok(access.answer(Some(Answered::HsmKeys(wire::HsmKeyList { keys }))))
    }

    /// Makes objects for keys of the HSM.
    pub(super) async fn attach_keys(&self, call: &Call, attach: &wire::AttachKeys) -> Result<Plan> {
        administrators_only(call)?;
        if attach.references.len() > MOST_AT_ONCE {
            return Err(malformed("more than 20 keys at once"));
        }
        let access = self.access_without_ticket(call)?;
        let shown = self.objects_in_hsm(&access, call).await?;
        let taken = self.taken(&access);
        let candidates = candidates(&shown);
        let mut changes = Changes::default();
        let mut objects = Vec::new();
        let mut certificates = Vec::new();
        for reference in &attach.references {
            let wanted = hsm::decode(reference);
            let found = candidates
                .iter()
                .find(|one| wanted.is_some() && one.reference == wanted)
                .ok_or_else(|| {
                Error::new(ErrorCode::NotFound, "the HSM has no such key any more")
            })?;
            if found.owner(&taken).is_some() {
                continue;
            }
            for object in found.objects()? {
                if object.class() == CKO_CERTIFICATE {
                    let value = object.attributes().bytes(CKA_VALUE).map(<[u8]>::to_vec);
                    let there = access.token.objects.values().any(|stored| {
                        stored.object.class() == CKO_CERTIFICATE
                            && same(stored.object.attributes(), object.attributes(), CKA_VALUE)
                            && same(stored.object.attributes(), object.attributes(), CKA_ID)
                    });
                    if there || certificates.contains(&value) {
                        continue;
                    }
                    certificates.push(value);
                }
                objects.push(self.place(call, &access, object, &mut changes)?);
            }
        }
        let result = Answered::Attached(wire::ObjectList { objects });
        Ok(Plan::new(changes, access.answer(Some(result))).about(&access.token.record.hsm))
    }

    async fn objects_in_hsm(&self, access: &Access, call: &Call) -> Result<Vec<Attributes>> {
        let hsm = self.hsm_of(&access.token)?.ok_or_else(|| {
            Error::new(
                ErrorCode::ArgumentsBad,
                "the keys of this token are in the store, not in an HSM",
            )
        })?;
        let mut shown = hsm.objects(call.deadline).await?;
        shown.retain(|one| !self.hsms.seals(one));
        Ok(shown)
    }

    /// What finds the keys that are attached, with their tokens' labels.
    fn taken(&self, access: &Access) -> Vec<(Attributes, String)> {
        let same_hsm = |token: &&std::sync::Arc<crate::state::Token>| {
            token.record.hsm == access.token.record.hsm
        };
        let tokens = self.state.tokens();
        let references = |token: &std::sync::Arc<crate::state::Token>| {
            let label = token.record.label.clone();
            let found: Vec<_> = token
                .objects
                .values()
                .filter_map(|stored| Some((hsm::reference(&stored.object)?, label.clone())))
                .collect();
            found
        };
        tokens.iter().filter(same_hsm).flat_map(references).collect()
    }
}

impl Candidate<'_> {
    /// The token that has it already.
    fn owner<'t>(&self, taken: &'t [(Attributes, String)]) -> Option<&'t str> {
        let (_, label) = taken.iter().find(|(reference, _)| matches(self.shown, reference))?;
        Some(label)
    }

    fn told(&self, taken: &[(Attributes, String)]) -> wire::HsmKey {
        let bytes = |attribute| self.shown.bytes(attribute).unwrap_or_default().to_vec();
        let mut told = wire::HsmKey {
            label: bytes(CKA_LABEL),
            id: bytes(CKA_ID),
            kind: self.kind(),
            class: self.shown.number(CKA_CLASS).unwrap_or_default(),
            certificates: u32::try_from(self.certificates.len()).unwrap_or(u32::MAX),
            ..wire::HsmKey::default()
        };
        if let Some(owner) = self.owner(taken) {
            told.set_state(HsmKeyState::Attached);
            owner.clone_into(&mut told.reason);
            return told;
        }
        match self.objects() {
            Ok(_) => {
                told.set_state(HsmKeyState::Free);
                told.reference = self.reference.as_ref().map(hsm::encode).unwrap_or_default();
            }
            Err(error) => {
                told.set_state(HsmKeyState::Unfit);
                told.reason = error.message.into_owned();
            }
        }
        told
    }

    /// "EC P-256"; some HSMs tell the curve by the public half alone.
    fn kind(&self) -> String {
        let mut key = self.shown.clone();
        if let Some(parameters) = self.public.and_then(|public| public.value(CKA_EC_PARAMS)) {
            key.set(CKA_EC_PARAMS, parameters.clone());
        }
        describe::kind(&key)
    }

    /// The objects that the key and what belongs to it become.
    fn objects(&self) -> Result<Vec<Object>> {
        let reference = self.reference.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::KeyHandleInvalid,
                "another key in the HSM has the same CKA_ID and CKA_LABEL; give it a CKA_ID of its own",
            )
        })?;
        let from_certificate = self.certificates.iter().find_map(|certificate| {
            let parts = Parts::of(certificate.bytes(CKA_VALUE)?).ok()?;
            Attributes::from_pairs([(CKA_PUBLIC_KEY_INFO, parts.public_key_info.into())]).ok()
        });
        let has = |attribute| self.shown.bytes(attribute).is_some_and(|value| !value.is_empty());
        let shows_public = has(CKA_PUBLIC_KEY_INFO) && !has(CKA_MODULUS)
            || has(CKA_MODULUS) && has(CKA_PUBLIC_EXPONENT);
        let public = match shows_public {
            true => None,
            false => self.public.or(from_certificate.as_ref()),
        };
        let key = rules::adopt(self.shown, public, reference)?;
        let mut objects = vec![key];
        if let Some(public) = self.public {
            objects.push(copied(public, rules::OF_EACH_KEY.iter().chain(&PUBLIC_KEY))?);
        }
        for certificate in &self.certificates {
            objects.push(copied(certificate, CERTIFICATE)?);
        }
        Ok(objects)
    }
}

/// The keys among what the HSM shows.
fn candidates(shown: &[Attributes]) -> Vec<Candidate<'_>> {
    let of_class = |class| shown.iter().filter(move |one| one.number(CKA_CLASS) == Some(class));
    let keys = || of_class(CKO_PRIVATE_KEY).chain(of_class(CKO_SECRET_KEY));
    let candidate = |key| {
        let id = Attributes::bytes(key, CKA_ID).filter(|id| !id.is_empty());
        let belongs = |one: &&Attributes| id.is_some() && one.bytes(CKA_ID) == id;
        let is_private = key.number(CKA_CLASS) == Some(CKO_PRIVATE_KEY);
        // Several keys may have one CKA_ID.
        let is_half = |one: &&Attributes| match key.bytes(CKA_MODULUS) {
            Some(modulus) => one.bytes(CKA_MODULUS) == Some(modulus),
            None => true,
        };
        let alone = [&[CKA_ID][..], &[CKA_ID, CKA_LABEL], &[CKA_ID, CKA_LABEL, CKA_MODULUS]]
            .into_iter()
            .map(|attributes| reference(key, attributes))
            .find(|reference| keys().filter(|other| matches(other, reference)).count() == 1);
        Candidate {
            shown: key,
            reference: alone,
            public: of_class(CKO_PUBLIC_KEY).filter(|_| is_private).filter(is_half).find(belongs),
            certificates: of_class(CKO_CERTIFICATE)
                .filter(|_| is_private)
                .filter(belongs)
                .collect(),
        }
    };
    keys().map(candidate).collect()
}

/// A template that finds a key by these of its attributes.
fn reference(key: &Attributes, by: &[u64]) -> Attributes {
    let mut template = Attributes::new();
    for attribute in [CKA_CLASS].iter().chain(by) {
        if let Some(value) = key.value(*attribute) {
            template.set(*attribute, value.clone());
        }
    }
    template
}

fn matches(shown: &Attributes, reference: &Attributes) -> bool {
    reference.iter().all(|(attribute, value)| shown.value(attribute) == Some(value))
}

fn same(one: &Attributes, other: &Attributes, attribute: u64) -> bool {
    one.value(attribute) == other.value(attribute)
}

/// An object of the token that says the same.
fn copied<'a>(shown: &Attributes, attributes: impl IntoIterator<Item = &'a u64>) -> Result<Object> {
    let mut template = Attributes::new();
    for attribute in attributes {
        if let Some(value) = shown.value(*attribute) {
            template.set(*attribute, value.clone());
        }
    }
    template.set(CKA_TOKEN, true);
    rules::create(template, Author::User)
}

/// Besides [`rules::OF_EACH_KEY`].
const PUBLIC_KEY: [u64; 7] = [
    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_ENCRYPT,
    CKA_VERIFY,
    CKA_WRAP,
];

const CERTIFICATE: &[u64] =
    &[CKA_CLASS, CKA_CERTIFICATE_TYPE, CKA_ID, CKA_LABEL, CKA_VALUE, CKA_START_DATE, CKA_END_DATE];

/// A private key, a public one and a chain each: what fits into a transaction of etcd.
const MOST_AT_ONCE: usize = 20;
