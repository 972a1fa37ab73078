//! Keys that come out of other keys: unwrapped, derived.

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use super::defaults::{private_defaults, secret_defaults};
use super::generation::for_generation;
use super::secret;
use crate::attribute::{self, Attributes, UNAVAILABLE, Value};
use crate::key::{Lengths, PrivateKey, SecretKey, curve, lengths};
use crate::object::Object;

/// Refuses a key for which the PIN is asked at each use: there is no moment to give it in.
///
/// # Errors
/// CKR_KEY_FUNCTION_NOT_PERMITTED.
pub(super) fn asks_for_no_pin(key: &Object) -> Result<()> {
    if !key.attributes().is_true(CKA_ALWAYS_AUTHENTICATE) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::KeyFunctionNotPermitted,
        "a key with CKA_ALWAYS_AUTHENTICATE signs and decrypts, and does nothing else",
    ))
}

/// What a template asks for, together with what the key adds that makes the new one.
#[derive(Clone, Debug)]
pub struct Wanted {
    attributes: Attributes,
    length: Option<u64>,
    /// What it will say of its past.
    always_sensitive: bool,
    never_extractable: bool,
}

impl Wanted {
    /// Reads the template of a key that is unwrapped. It is sensitive, private and extractable
    /// unless something else is said (section 5.18.4).
    pub(super) fn unwrapped(template: Attributes, by: &Object) -> Result<Self> {
        Self::new(template, by.attributes().value(CKA_UNWRAP_TEMPLATE), true)
    }

    /// Reads the template of a key that is derived. It is sensitive, private and not extractable
    /// unless something else is said, as a generated one.
    pub(super) fn derived(template: Attributes, by: &Object) -> Result<Self> {
        let mut wanted = Self::shared(template, by.attributes().value(CKA_DERIVE_TEMPLATE))?;
        wanted.always_sensitive = wanted.attributes.is_true(CKA_SENSITIVE);
        wanted.never_extractable = !wanted.attributes.is_true(CKA_EXTRACTABLE);
        Ok(wanted)
    }

    /// Reads the template of a secret that two sides share. It is sensitive, private and not
    /// extractable unless something else is said.
    pub(super) fn shared(template: Attributes, by: Option<&Value>) -> Result<Self> {
        let wanted = Self::new(template, by, false)?;
        if wanted.class() != CKO_SECRET_KEY {
            return Err(attribute::value_invalid(CKA_CLASS));
        }
        Ok(wanted)
    }

    /// Reads the template of data that are derived: as private as the key, unless it says so.
    pub(super) fn data(mut template: Attributes, by: &Object) -> Result<Self> {
        let length = template.number(CKA_VALUE_LEN);
        template.remove(CKA_VALUE_LEN);
        template.set_default(CKA_PRIVATE, by.is_private());
        Ok(Self { attributes: template, length, always_sensitive: false, never_extractable: false })
    }

    /// Takes over from a key that the new one comes out of: its past, and if it shows in the new
    /// one, how it is guarded.
    pub(super) fn comes_from(&mut self, key: &Object, shows: bool) {
        let key = key.attributes();
        if shows && key.is_true(CKA_SENSITIVE) {
            self.attributes.set(CKA_SENSITIVE, true);
            self.always_sensitive = true;
        }
        if shows && key.boolean(CKA_EXTRACTABLE) == Some(false) {
            self.attributes.set(CKA_EXTRACTABLE, false);
            self.never_extractable = true;
        }
        self.always_sensitive &= key.is_true(CKA_ALWAYS_SENSITIVE);
        self.never_extractable &= key.is_true(CKA_NEVER_EXTRACTABLE);
    }

    /// `by` is an attribute of the key at work, CKA_UNWRAP_TEMPLATE and the like: what stands in it
    /// is added, and must not be contradicted.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY,
    /// CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID.
    fn new(template: Attributes, by: Option<&Value>, extractable: bool) -> Result<Self> {
        let mut attributes = template;
        if let Some(Value::Template(added)) = by {
            for (attribute, value) in added.iter() {
                if attributes.value(attribute).is_some_and(|given| given != value) {
                    return Err(Error::new(
                        ErrorCode::TemplateInconsistent,
                        format!(
                            "{} is not what the key at work demands",
                            attribute::name(attribute)
                        ),
                    ));
                }
                attributes.set(attribute, value.clone());
            }
        }
        let class = super::number(&attributes, CKA_CLASS)?;
        if !matches!(class, CKO_SECRET_KEY | CKO_PRIVATE_KEY) {
            return Err(attribute::value_invalid(CKA_CLASS));
        }
        let key_type = super::number(&attributes, CKA_KEY_TYPE)?;
        let mut attributes = for_generation(attributes, class, key_type)?;
        let length = attributes.number(CKA_VALUE_LEN);
        attributes.remove(CKA_VALUE_LEN);
        for (attribute, value) in [
            (CKA_TOKEN, false),
            (CKA_PRIVATE, true),
            (CKA_SENSITIVE, true),
            (CKA_EXTRACTABLE, extractable),
        ] {
            attributes.set_default(attribute, value);
        }
        let (always_sensitive, never_extractable) = (false, false);
        let wanted = Self { attributes, length, always_sensitive, never_extractable };
        if class == CKO_SECRET_KEY {
            if lengths(key_type).is_none() {
                return Err(attribute::value_invalid(CKA_KEY_TYPE));
            }
            if wanted.length().is_some_and(|length| !wanted.fits(length)) {
                return Err(Error::new(
                    ErrorCode::KeySizeRange,
                    "keys of that type have not the length CKA_VALUE_LEN",
                ));
            }
        }
        Ok(wanted)
    }

    /// CKA_TOKEN.
    #[must_use]
    pub fn is_token_object(&self) -> bool {
        self.attributes.is_true(CKA_TOKEN)
    }

    /// CKA_PRIVATE.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.attributes.is_true(CKA_PRIVATE)
    }

    /// Whether only the service may have the new key.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.class() != CKO_DATA
            && (self.attributes.is_true(CKA_SENSITIVE) || !self.attributes.is_true(CKA_EXTRACTABLE))
    }

    /// CKA_CLASS.
    pub(super) fn class(&self) -> u64 {
        self.attributes.number(CKA_CLASS).unwrap_or(CKO_SECRET_KEY)
    }

    /// What there is without the value.
    pub(super) fn into_attributes(self) -> Attributes {
        self.attributes
    }

    /// CKA_KEY_TYPE.
    pub(super) fn key_type(&self) -> u64 {
        self.attributes.number(CKA_KEY_TYPE).unwrap_or(CKK_GENERIC_SECRET)
    }

    /// How long the key is to be, in bytes: by CKA_VALUE_LEN, or because keys of its type have only
    /// one length.
    pub(super) fn length(&self) -> Option<usize> {
        match (self.length, lengths(self.key_type())) {
            (Some(length), _) => usize::try_from(length).ok(),
            (None, Some(Lengths::Only(only))) => Some(only),
            (None, _) => None,
        }
    }

    /// Whether a key of this length, in bytes, is one that is wanted.
    pub(super) fn fits(&self, length: usize) -> bool {
        self.length.is_none_or(|wanted| wanted == length as u64)
            && lengths(self.key_type()).is_some_and(|lengths| lengths.contain(length))
    }

    /// The secret key with this value that was derived: a DES key gets odd parity.
    ///
    /// # Errors
    /// As [`secret`](Self::secret).
    pub(super) fn derived_secret(self, value: &[u8]) -> Result<Object> {
        let mut key = SecretKey::new(self.key_type(), value)?;
        key.set_parity();
        self.secret(key.value())
    }

    /// The secret key with this value.
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_VALUE_INVALID if keys of the type have not that length, and for a check value
    /// that is another's.
    pub(super) fn secret(mut self, value: &[u8]) -> Result<Object> {
        let key = SecretKey::new(self.key_type(), value)?;
        secret::describe(&key, &mut self.attributes)?;
        secret_defaults(&mut self.attributes, true);
        self.made()
    }

    /// The private key.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCONSISTENT if the template names another curve.
    pub(super) fn private(mut self, key: &PrivateKey) -> Result<Object> {
        let named = self.attributes.bytes(CKA_EC_PARAMS).map(curve);
        key.describe(&mut self.attributes)?;
        let own = self.attributes.bytes(CKA_EC_PARAMS).map(curve);
        if let (Some(Ok(named)), Some(Ok(own))) = (named, own)
            && named != own
        {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                "CKA_EC_PARAMS is not the curve of the key",
            ));
        }
        private_defaults(&mut self.attributes);
        self.made()
    }

    fn made(mut self) -> Result<Object> {
        self.attributes.set(CKA_LOCAL, false);
        self.attributes.set(CKA_KEY_GEN_MECHANISM, UNAVAILABLE);
        self.attributes.set(CKA_ALWAYS_SENSITIVE, self.always_sensitive);
        self.attributes.set(CKA_NEVER_EXTRACTABLE, self.never_extractable);
        Object::from_attributes(self.attributes)
    }
}
