//! Objects whose keys are in an HSM: made there, brought there, found there.

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use super::defaults::{private_defaults, public_defaults, secret_defaults};
use super::generation::for_generation;
use super::made_elsewhere;
use crate::attribute::{Attributes, UNAVAILABLE, Value, is_secret};
use crate::hsm::{CKA_KEYWARD_HSM_KEY, encode};
use crate::key::PublicKey;
use crate::mechanism::{self, Family};
use crate::object::Object;

/// A key that is to be made in an HSM.
#[derive(Clone, Debug)]
pub struct Draft {
    mechanism: u64,
    /// Of a key pair.
    public: Option<Attributes>,
    key: Attributes,
    id: [u8; 16],
}

impl Draft {
    /// C_GenerateKeyPair. `id` is a new one, by which the key is found in the HSM.
    ///
    /// # Errors
    /// As [`generate_key_pair`](super::generate_key_pair), and CKR_TEMPLATE_INCONSISTENT for a key
    /// that is to leave the HSM.
    pub fn pair(
        mechanism: u64,
        public: Attributes,
        private: Attributes,
        id: [u8; 16],
    ) -> Result<Self> {
        let Family::PairGeneration(key_type) = mechanism::find(mechanism)?.family else {
            return Err(not_made(mechanism));
        };
        let mut public = for_generation(public, CKO_PUBLIC_KEY, key_type)?;
        let mut key = for_generation(private, CKO_PRIVATE_KEY, key_type)?;
        if let Some(parameters) = key.bytes(CKA_EC_PARAMS).map(<[u8]>::to_vec) {
            public.set_default(CKA_EC_PARAMS, parameters);
            key.remove(CKA_EC_PARAMS);
        }
        if key_type == CKK_RSA {
            public.set_default(CKA_PUBLIC_EXPONENT, vec![1, 0, 1]);
        }
        stays(&key)?;
        public_defaults(&mut public);
        private_defaults(&mut key);
        Ok(Self { mechanism, public: Some(public), key, id })
    }

    /// C_GenerateKey.
    ///
    /// # Errors
    /// As [`generate_secret_key`](super::generate_secret_key), and CKR_TEMPLATE_INCONSISTENT for a
    /// key that is to leave the HSM.
    pub fn secret(mechanism: u64, template: Attributes, id: [u8; 16]) -> Result<Self> {
        let Family::SecretGeneration(key_type) = mechanism::find(mechanism)?.family else {
            return Err(not_made(mechanism));
        };
        let mut key = for_generation(template, CKO_SECRET_KEY, key_type)?;
        stays(&key)?;
        secret_defaults(&mut key, true);
        Ok(Self { mechanism, public: None, key, id })
    }

    /// C_UnwrapKey, by the HSM; `wanted` is the template as it was given.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT and what else is wrong with the template.
    pub fn unwrapped(wanted: Attributes, id: [u8; 16]) -> Result<Self> {
        let class = super::number(&wanted, CKA_CLASS)?;
        let key_type = super::number(&wanted, CKA_KEY_TYPE)?;
        let mut key = for_generation(wanted, class, key_type)?;
        stays(&key)?;
        match class {
            CKO_PRIVATE_KEY => private_defaults(&mut key),
            CKO_SECRET_KEY => secret_defaults(&mut key, true),
            _ => return Err(crate::attribute::value_invalid(CKA_CLASS)),
        }
        Ok(Self { mechanism: UNAVAILABLE, public: None, key, id })
    }

    /// The key object that is wanted, so far.
    #[must_use]
    pub fn wanted(&self) -> &Attributes {
        &self.key
    }

    /// The mechanism that makes it.
    #[must_use]
    pub fn mechanism(&self) -> u64 {
        self.mechanism
    }

    /// The template of the public key, for the HSM.
    #[must_use]
    pub fn public_template(&self) -> Attributes {
        let mut template = Attributes::new();
        if let Some(public) = &self.public {
            for attribute in [CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS] {
                carry(public, &mut template, attribute);
            }
            self.name(&mut template);
            uses(public, &mut template, &[CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP]);
        }
        template
    }

    /// The template of the private or secret key, for the HSM.
    #[must_use]
    pub fn key_template(&self) -> Attributes {
        let mut template = Attributes::new();
        carry(&self.key, &mut template, CKA_VALUE_LEN);
        if self.mechanism == UNAVAILABLE {
            carry(&self.key, &mut template, CKA_CLASS);
            carry(&self.key, &mut template, CKA_KEY_TYPE);
        }
        self.name(&mut template);
        guarded(&self.key, &mut template);
        template
    }

    /// What finds the key in the HSM.
    #[must_use]
    pub fn reference(&self) -> Attributes {
        reference(self.key.number(CKA_CLASS).unwrap_or(CKO_PRIVATE_KEY), &self.id)
    }

    /// The pair, or the key, now that it is made; `shown` is what the HSM shows of the public key,
    /// or of the secret one.
    ///
    /// # Errors
    /// If what the HSM shows is no such key.
    pub fn made(self, shown: &Attributes) -> Result<(Option<Object>, Object)> {
        let reference = self.reference();
        let Self { mechanism, public, mut key, .. } = self;
        let public = match public {
            Some(mut public) => {
                describe_public(&mut public, &mut key, shown)?;
                born(&mut public, mechanism);
                Some(Object::from_attributes(public)?)
            }
            None => {
                describe_secret(&mut key, shown);
                None
            }
        };
        born(&mut key, mechanism);
        key.set(CKA_ALWAYS_SENSITIVE, true);
        key.set(CKA_NEVER_EXTRACTABLE, true);
        held(&mut key, &reference);
        Ok((public, Object::from_attributes(key)?))
    }

    /// The key, now that it was unwrapped; `shown` is what the HSM shows of it.
    ///
    /// # Errors
    /// If what the HSM shows is no such key.
    pub fn arrived(self, shown: &Attributes) -> Result<Object> {
        let reference = self.reference();
        let mut key = self.key;
        match key.number(CKA_CLASS) {
            Some(CKO_SECRET_KEY) => describe_secret(&mut key, shown),
            _ => describe_private(&mut key, shown)?,
        }
        made_elsewhere(&mut key);
        held(&mut key, &reference);
        Object::from_attributes(key)
    }

    fn name(&self, template: &mut Attributes) {
        template.set(CKA_TOKEN, true);
        template.set(CKA_ID, self.id.to_vec());
        carry(&self.key, template, CKA_LABEL);
    }
}

/// A key that was made here, with its secret parts, as the HSM is to take it; and the object that
/// stays here.
///
/// # Errors
/// CKR_TEMPLATE_INCONSISTENT for a key that is to leave the HSM.
pub fn bring(object: &Object, id: [u8; 16]) -> Result<(Attributes, Object)> {
    let attributes = object.attributes();
    if attributes.is_true(CKA_EXTRACTABLE) || !attributes.is_true(CKA_SENSITIVE) {
        return Err(leaves());
    }
    let mut template = Attributes::new();
    for (attribute, value) in attributes.iter() {
        let part = is_secret(attribute)
            || matches!(
                attribute,
                CKA_CLASS | CKA_KEY_TYPE | CKA_MODULUS | CKA_PUBLIC_EXPONENT | CKA_EC_PARAMS
            );
        if part && attribute != CKA_SEED {
            template.set(attribute, value.clone());
        }
    }
    template.set(CKA_TOKEN, true);
    template.set(CKA_ID, id.to_vec());
    carry(attributes, &mut template, CKA_LABEL);
    guarded(attributes, &mut template);
    let mut stays = attributes.clone();
    for (attribute, _) in attributes.iter() {
        if is_secret(attribute) {
            stays.remove(attribute);
        }
    }
    held(&mut stays, &reference(object.class(), &id));
    Ok((template, Object::from_attributes(stays)?))
}

/// What is said of any key, as an HSM shows it and an object repeats it.
pub const OF_EACH_KEY: [u64; 7] =
    [CKA_CLASS, CKA_KEY_TYPE, CKA_ID, CKA_LABEL, CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE];

/// The object for a key that is in the HSM already. `shown` is what the HSM shows of it, `public`
/// what is known of its public half: a public key object or CKA_PUBLIC_KEY_INFO.
///
/// # Errors
/// If it is not a key of a type that is offered.
pub fn adopt(
    shown: &Attributes,
    public: Option<&Attributes>,
    reference: &Attributes,
) -> Result<Object> {
    if shown.is_true(CKA_ALWAYS_AUTHENTICATE) {
        return Err(Error::new(
            ErrorCode::KeyFunctionNotPermitted,
            "the HSM asks for the PIN at each use (CKA_ALWAYS_AUTHENTICATE)",
        ));
    }
    let mut key = Attributes::new();
    for attribute in OF_EACH_KEY.into_iter().chain([
        CKA_SIGN,
        CKA_SIGN_RECOVER,
        CKA_VERIFY,
        CKA_ENCRYPT,
        CKA_DECRYPT,
        CKA_UNWRAP,
        CKA_DERIVE,
        CKA_LOCAL,
        CKA_KEY_GEN_MECHANISM,
        CKA_ALWAYS_SENSITIVE,
        CKA_NEVER_EXTRACTABLE,
        CKA_WRAP_WITH_TRUSTED,
    ]) {
        carry(shown, &mut key, attribute);
    }
    key.set(CKA_TOKEN, true);
    key.set(CKA_PRIVATE, true);
    if key.number(CKA_CLASS) == Some(CKO_SECRET_KEY) {
        describe_secret(&mut key, shown);
        secret_defaults(&mut key, true);
    } else {
        describe_private(&mut key, public.unwrap_or(shown))?;
        private_defaults(&mut key);
    }
    for attribute in [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE] {
        key.set_default(attribute, false);
    }
    key.set_default(CKA_KEY_GEN_MECHANISM, UNAVAILABLE);
    held(&mut key, reference);
    Object::from_attributes(key)
}

/// What finds a key that has a CKA_ID of its own.
fn reference(class: u64, id: &[u8]) -> Attributes {
    let mut template = Attributes::new();
    template.set(CKA_CLASS, class);
    template.set(CKA_ID, id.to_vec());
    template
}

/// Refuses a key that could leave the HSM: nothing here could bring it back.
fn stays(template: &Attributes) -> Result<()> {
    if template.is_true(CKA_EXTRACTABLE) || template.boolean(CKA_SENSITIVE) == Some(false) {
        return Err(leaves());
    }
    if template.is_true(CKA_ALWAYS_AUTHENTICATE) {
        return Err(Error::new(
            ErrorCode::TemplateInconsistent,
            "a key in an HSM is used without its PIN (CKA_ALWAYS_AUTHENTICATE)",
        ));
    }
    Ok(())
}

fn leaves() -> Error {
    Error::new(
        ErrorCode::TemplateInconsistent,
        "a token's key that is in an HSM is sensitive and not extractable",
    )
}

fn not_made(mechanism: u64) -> Error {
    Error::new(ErrorCode::MechanismInvalid, format!("mechanism {mechanism:#x} makes no such key"))
}

fn carry(from: &Attributes, to: &mut Attributes, attribute: u64) {
    if let Some(value) = from.value(attribute) {
        to.set(attribute, value.clone());
    }
}

/// What a key is for, as far as it is for something: HSMs refuse what a type cannot do, false too.
fn uses(from: &Attributes, to: &mut Attributes, all: &[u64]) {
    for attribute in all {
        if from.is_true(*attribute) {
            to.set(*attribute, true);
        }
    }
}

/// How a key is kept in the HSM.
fn guarded(key: &Attributes, template: &mut Attributes) {
    template.set(CKA_PRIVATE, true);
    template.set(CKA_SENSITIVE, true);
    template.set(CKA_EXTRACTABLE, false);
    let uses_of_class: &[u64] = match key.number(CKA_CLASS) {
        Some(CKO_SECRET_KEY) => {
            &[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP]
        }
        _ => &[CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE],
    };
    uses(key, template, uses_of_class);
}

/// What a key object here says of a key in an HSM.
fn held(key: &mut Attributes, reference: &Attributes) {
    key.set(CKA_SENSITIVE, true);
    key.set(CKA_EXTRACTABLE, false);
    // A copy would be the same key under two names, one of which may be destroyed.
    key.set(CKA_COPYABLE, false);
    key.set(CKA_KEYWARD_HSM_KEY, encode(reference));
}

fn born(attributes: &mut Attributes, mechanism: u64) {
    attributes.set(CKA_LOCAL, true);
    attributes.set(CKA_KEY_GEN_MECHANISM, mechanism);
}

fn describe_public(
    public: &mut Attributes,
    private: &mut Attributes,
    shown: &Attributes,
) -> Result<()> {
    let mut parts = shown.clone();
    parts.set(CKA_CLASS, CKO_PUBLIC_KEY);
    carry(public, &mut parts, CKA_KEY_TYPE);
    PublicKey::of(&parts)?.describe(public);
    describe_private(private, public)
}

/// Writes the public parts of a private key. `public` is a public key, or something that carries
/// one.
fn describe_private(private: &mut Attributes, public: &Attributes) -> Result<()> {
    let mut parts = public.clone();
    carry(private, &mut parts, CKA_KEY_TYPE);
    let mut described = Attributes::new();
    let key = PublicKey::of(&parts)?;
    key.describe(&mut described);
    for attribute in [CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS] {
        carry(&described, private, attribute);
    }
    private.set(CKA_PUBLIC_KEY_INFO, Value::Bytes(key.info()));
    Ok(())
}

fn describe_secret(key: &mut Attributes, shown: &Attributes) {
    for attribute in [CKA_VALUE_LEN, CKA_CHECK_VALUE] {
        carry(shown, key, attribute);
    }
}
