//! Tokens whose private and secret keys are in an HSM.
//!
//! The store has the objects with all that may be read of them, and with what
//! finds the key in the HSM; so searches never touch the HSM. Session objects
//! are the service's own, sealed as everywhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki_sys::{CKA_CLASS, CKA_ID, CKA_TOKEN, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY};
use keyward_hsm::Hsm;
use keyward_token::key::{PrivateKey, SecretKey, from_crypto};
use keyward_token::mechanism::{self, EncryptionScheme, REGISTRY, SignatureScheme};
use keyward_token::rules::{self, Draft};
use keyward_token::{Attributes, Object, hsm};
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use tokio::time::sleep;

use super::Engine;
use super::access::Access;
use crate::config::Config;
use crate::hsm_pin;
use crate::state::Token;
use crate::store::StoreError;

/// The HSMs of the configuration.
#[derive(Default)]
pub(crate) struct Hsms {
    by_name: HashMap<String, Arc<Hsm>>,
    /// What finds the key that seals the master key, if one does.
    sealing: Option<Attributes>,
}

impl Hsms {
    /// Starts a worker for each.
    pub(crate) fn start(config: &Config) -> Self {
        let start = |one: &keyward_hsm::HsmConfig| {
            let hsm = Hsm::start(one.clone(), config.hsm_worker.clone(), hsm_pin::read);
            (one.name.clone(), Arc::new(hsm))
        };
        Self { by_name: config.hsm.iter().map(start).collect(), sealing: None }
    }

    /// The key that a template finds seals the master key, and becomes no token's.
    pub(crate) fn keep_apart(&mut self, key: Option<Attributes>) {
        self.sealing = key;
    }

    /// Whether what an HSM shows is the key that seals the master key.
    pub(super) fn seals(&self, shown: &Attributes) -> bool {
        let is_same = |(attribute, value)| shown.value(attribute) == Some(value);
        self.sealing.as_ref().is_some_and(|key| key.iter().all(is_same))
    }

    /// The one with a name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Hsm>> {
        self.by_name.get(name)
    }

    /// How they are, by name.
    pub(super) fn status(&self) -> Vec<wire::HsmStatus> {
        let mut all: Vec<_> = self.by_name.values().map(|hsm| status(hsm)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn status(hsm: &Hsm) -> wire::HsmStatus {
    let status = hsm.status();
    let (label, serial, model) = status.token.unwrap_or_default();
    let trouble = match status.ready {
        true => String::new(),
        false => status.trouble.unwrap_or_else(|| "it starts".to_owned()),
    };
    wire::HsmStatus {
        name: hsm.name().to_owned(),
        trouble,
        label,
        serial,
        model,
        starts: status.starts,
    }
}

/// What an operation means for the keys in an HSM. Until the store has taken
/// the operation nobody knows of the keys that it has made.
#[derive(Default)]
pub(super) struct Effects {
    made: Vec<(Arc<Hsm>, Attributes)>,
    gone: Vec<(Arc<Hsm>, Attributes)>,
}

impl Effects {
    /// A key is being made.
    fn make(&mut self, hsm: &Arc<Hsm>, reference: Attributes) {
        self.made.extend(both(hsm, reference));
    }

    /// The key of an object that the operation destroys goes with it.
    pub(super) fn destroy(&mut self, engine: &Engine, token: &Token, object: &Object) {
        if let Some(reference) = hsm::reference(object)
            && let Some(hsm) = engine.hsms.by_name.get(&token.record.hsm)
        {
            self.gone.extend(both(hsm, reference));
        }
    }

    /// The store has, or has not, taken the operation.
    pub(super) fn settle(&mut self, committed: &std::result::Result<u64, StoreError>) {
        let made = std::mem::take(&mut self.made);
        match committed {
            Ok(_) => destroy(std::mem::take(&mut self.gone)),
            Err(StoreError::Unavailable(_)) => {
                for (hsm, reference) in made {
                    let id = reference.bytes(CKA_ID).map(crate::id::encode);
                    tracing::warn!(
                        hsm = hsm.name(),
                        id,
                        "a key was made in the HSM, and whether the store has its object is not known"
                    );
                }
            }
            Err(_) => destroy(made),
        }
    }
}

/// A key with the public half that the HSM has of it.
fn both(hsm: &Arc<Hsm>, reference: Attributes) -> impl Iterator<Item = (Arc<Hsm>, Attributes)> {
    let is_private = reference.number(CKA_CLASS) == Some(CKO_PRIVATE_KEY);
    let public = reference.bytes(CKA_ID).filter(|id| is_private && !id.is_empty()).map(|id| {
        let mut public = Attributes::new();
        public.set(CKA_CLASS, CKO_PUBLIC_KEY);
        public.set(CKA_ID, id);
        public
    });
    let hsm = Arc::clone(hsm);
    std::iter::once(reference).chain(public).map(move |one| (Arc::clone(&hsm), one))
}

impl Drop for Effects {
    fn drop(&mut self) {
        destroy(std::mem::take(&mut self.made));
    }
}

/// Destroys keys that no object is for, in the background.
fn destroy(keys: Vec<(Arc<Hsm>, Attributes)>) {
    if keys.is_empty() {
        return;
    }
    tokio::spawn(async move {
        let deadline = Instant::now() + CLEANING;
        for (hsm, reference) in keys {
            let mut destroyed = hsm.destroy(&reference, deadline).await;
            while Instant::now() < deadline
                && destroyed.as_ref().is_err_and(|error| error.code == ErrorCode::Later)
            {
                sleep(PAUSE).await;
                destroyed = hsm.destroy(&reference, deadline).await;
            }
            if let Err(error) = destroyed {
                let id = reference.bytes(CKA_ID).map(crate::id::encode);
                tracing::warn!(hsm = hsm.name(), id, %error, "a key stays in the HSM without an object");
            }
        }
    });
}

impl Engine {
    /// The HSM that a token's keys are in, if they are in one.
    ///
    /// # Errors
    /// `LATER` if this service does not know it; another may.
    pub(super) fn hsm_of(&self, token: &Token) -> Result<Option<Arc<Hsm>>> {
        match token.record.hsm.as_str() {
            "" => Ok(None),
            name => self.hsm(name).map(Some),
        }
    }

    fn hsm(&self, name: &str) -> Result<Arc<Hsm>> {
        self.hsms.by_name.get(name).cloned().ok_or_else(|| Error {
            retry_after_ms: 60_000,
            ..Error::new(
                ErrorCode::Later,
                format!("the configuration of this service has no hsm called {name:?}"),
            )
        })
    }

    /// As [`hsm_of`](Self::hsm_of), for a new key of this template: session objects are never in
    /// one.
    pub(super) fn hsm_for(
        &self,
        access: &Access,
        template: &Attributes,
    ) -> Result<Option<Arc<Hsm>>> {
        if !template.is_true(CKA_TOKEN) {
            return Ok(None);
        }
        let hsm = self.hsm_of(&access.token)?;
        if hsm.is_some() {
            access.may_write()?;
            access.must_be_user()?;
        }
        Ok(hsm)
    }

    /// Refuses an HSM that the configuration does not have; the empty name is
    /// none.
    pub(super) fn known_hsm(&self, name: &str) -> Result<()> {
        if name.is_empty() || self.hsms.by_name.contains_key(name) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::NotFound,
            format!("the configuration of the service has no hsm called {name:?}"),
        ))
    }

    /// The mechanisms of a token's HSM, as far as they are known; of another
    /// token none.
    pub(super) fn hsm_mechanisms(&self, token: &Token) -> Vec<u64> {
        let Some(hsm) = self.hsms.by_name.get(&token.record.hsm) else { return Vec::new() };
        let Some(abilities) = hsm.status().abilities else { return Vec::new() };
        let offered = REGISTRY.iter().filter(|mechanism| abilities.has(mechanism));
        offered.map(|mechanism| mechanism.number).collect()
    }

    /// Has the HSM make the key of a draft, or the pair.
    pub(super) async fn make(
        &self,
        hsm: &Arc<Hsm>,
        draft: Draft,
        effects: &mut Effects,
        deadline: Instant,
    ) -> Result<(Option<Object>, Object)> {
        let number = draft.mechanism();
        if !hsm.abilities(deadline).await?.has(mechanism::find(number)?) {
            return Err(Error::new(
                ErrorCode::MechanismInvalid,
                format!("the token's HSM does not make keys by mechanism {number:#x}"),
            ));
        }
        effects.make(hsm, draft.reference());
        let (public, key) = (draft.public_template(), draft.key_template());
        let shown = match public.iter().next() {
            Some(_) => hsm.generate_key_pair(number, &public, &key, deadline).await?,
            None => hsm.generate_key(number, &key, deadline).await?,
        };
        draft.made(&shown)
    }

    /// Brings a new object's key into the token's HSM, if that is where it
    /// belongs; the object that the store gets.
    pub(super) async fn bring(
        &self,
        access: &Access,
        object: Object,
        effects: &mut Effects,
        deadline: Instant,
    ) -> Result<Object> {
        let is_key = matches!(object.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY);
        if !is_key || !object.is_token_object() || hsm::reference(&object).is_some() {
            return Ok(object);
        }
        let Some(hsm) = self.hsm_of(&access.token)? else { return Ok(object) };
        access.may_write()?;
        access.policy().permit_key(&object)?;
        let (template, stays) = rules::bring(&object, keyward_crypto::random::bytes())?;
        if let Some(reference) = hsm::reference(&stays) {
            effects.make(&hsm, reference);
        }
        hsm.create(&template, deadline).await?;
        Ok(stays)
    }

    /// C_UnwrapKey by a key that is in the HSM, whatever is unwrapped staying
    /// there.
    pub(super) async fn unwrap_in_hsm(
        &self,
        access: &Access,
        (hsm, reference): (Arc<Hsm>, Attributes),
        unwrap: &wire::UnwrapKey,
        effects: &mut Effects,
        deadline: Instant,
    ) -> Result<Object> {
        let template = Attributes::try_from(unwrap.template.clone())?;
        if !template.is_true(CKA_TOKEN) {
            return Err(Error::new(
                ErrorCode::KeyFunctionNotPermitted,
                "a key in an HSM unwraps only what stays there (CKA_TOKEN)",
            ));
        }
        access.may_write()?;
        access.must_be_user()?;
        let draft = Draft::unwrapped(template, keyward_crypto::random::bytes())?;
        effects.make(&hsm, draft.reference());
        let wrapping = unwrap.wrapping.clone().unwrap_or_default();
        let shown = hsm
            .unwrap_key(
                &reference,
                wrapping,
                unwrap.wrapped.clone(),
                &draft.key_template(),
                deadline,
            )
            .await?;
        draft.arrived(&shown)
    }
}

/// What a key in an HSM does.
pub(super) enum Work {
    Sign(SignatureScheme, Vec<u8>),
    /// Of an authentication code.
    Verify(SignatureScheme, Vec<u8>, Vec<u8>),
    Decrypt(EncryptionScheme, Vec<u8>),
    Encrypt(EncryptionScheme, Vec<u8>),
}

/// A key at work here.
pub(super) enum Key<'a> {
    Private(&'a PrivateKey),
    Secret(SecretKey),
}

impl Work {
    /// Of the input, in bytes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Sign(_, input)
            | Self::Verify(_, input, _)
            | Self::Decrypt(_, input)
            | Self::Encrypt(_, input) => input.len(),
        }
    }

    /// Does it here.
    pub(super) fn with(&self, key: &Key<'_>) -> Result<Vec<u8>> {
        match (self, key) {
            (Self::Sign(scheme, input), Key::Private(key)) => key.sign(scheme, input),
            (Self::Sign(scheme, input), Key::Secret(key)) => key.sign(scheme, input),
            (Self::Decrypt(scheme, input), Key::Private(key)) => {
                key.decrypt(scheme, input).map(|plain| plain.to_vec())
            }
            (Self::Decrypt(scheme, input), Key::Secret(key)) => {
                key.decrypt(scheme, input).map(|plain| plain.to_vec())
            }
            (Self::Encrypt(scheme, input), Key::Secret(key)) => key.encrypt(scheme, input),
            (Self::Verify(scheme, input, code), Key::Secret(key)) => {
                key.verify(scheme, input, code).map(|()| Vec::new())
            }
            (Self::Encrypt(..) | Self::Verify(..), Key::Private(_)) => Err(not_secret()),
        }
    }

    /// Has it done there.
    pub(super) async fn in_hsm(
        self,
        hsm: &Hsm,
        key: &Attributes,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let signing = |scheme: SignatureScheme, input| wire::Sign {
            scheme: Some(scheme.into()),
            input,
            ..wire::Sign::default()
        };
        match self {
            Self::Sign(scheme, input) => hsm.sign(key, signing(scheme, input), deadline).await,
            Self::Verify(scheme, input, code) => {
                let own = hsm.sign(key, signing(scheme, input), deadline).await?;
                keyward_crypto::mac::compare(&own, own.len(), &code).map_err(from_crypto)?;
                Ok(Vec::new())
            }
            Self::Decrypt(scheme, input) => {
                let decrypt = wire::Decrypt {
                    scheme: Some(scheme.into()),
                    input,
                    ..wire::Decrypt::default()
                };
                hsm.decrypt(key, decrypt, deadline).await
            }
            Self::Encrypt(scheme, input) => match scheme.into() {
                wire::decrypt::Scheme::Block(block) => {
                    let encrypt =
                        wire::Encrypt { block: Some(block), input, ..wire::Encrypt::default() };
                    hsm.encrypt(key, encrypt, deadline).await
                }
                _ => Err(not_secret()),
            },
        }
    }
}

fn not_secret() -> Error {
    Error::new(ErrorCode::KeyTypeInconsistent, "the object is not a secret key")
}

/// For a key that is destroyed in the background.
const CLEANING: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(2);
