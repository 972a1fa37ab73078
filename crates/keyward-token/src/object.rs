//! An object: its attributes and what may be read of them.

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use crate::attribute::{self, Attributes, Value, is_secret};
use crate::hsm::CKA_KEYWARD_HSM_KEY;

/// An object that was made by the rules ([`crate::rules`]) or came from the
/// service. Of one that came from the service the sensitive values are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    attributes: Attributes,
}

impl Object {
    /// An object with these attributes: from the store, from the wire, or just
    /// made by the rules. It has at least a class.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCOMPLETE if CKA_CLASS is missing.
    pub fn from_attributes(attributes: Attributes) -> Result<Self> {
        if attributes.number(CKA_CLASS).is_none() {
            return Err(Error::new(ErrorCode::TemplateIncomplete, "an object without CKA_CLASS"));
        }
        Ok(Self { attributes })
    }

    /// All attributes, sensitive ones too where they are known.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// CKA_CLASS.
    #[must_use]
    pub fn class(&self) -> u64 {
        self.attributes.number(CKA_CLASS).unwrap_or(UNKNOWN)
    }

    /// CKA_KEY_TYPE, if the object is a key.
    #[must_use]
    pub fn key_type(&self) -> Option<u64> {
        self.attributes.number(CKA_KEY_TYPE)
    }

    /// CKA_TOKEN: whether the object outlives its session.
    #[must_use]
    pub fn is_token_object(&self) -> bool {
        self.attributes.is_true(CKA_TOKEN)
    }

    /// CKA_PRIVATE: whether it is seen only after a login.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.attributes.is_true(CKA_PRIVATE)
    }

    /// Whether the secret parts of the key may not be read (section 4.9).
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        matches!(self.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY)
            && (self.attributes.is_true(CKA_SENSITIVE)
                || self.attributes.boolean(CKA_EXTRACTABLE) == Some(false))
    }

    /// The value of an attribute, if it may be read.
    ///
    /// # Errors
    /// CKR_ATTRIBUTE_SENSITIVE for the secret part of a sensitive key,
    /// CKR_ATTRIBUTE_TYPE_INVALID for an attribute that the object has not.
    pub fn read(&self, attribute: u64) -> Result<&Value> {
        if self.is_sensitive() && is_secret(attribute) && self.has_secret(attribute) {
            return Err(Error::new(
                ErrorCode::AttributeSensitive,
                format!("{} of a sensitive key", attribute::name(attribute)),
            ));
        }
        self.attributes.value(attribute).ok_or_else(|| {
            Error::new(
                ErrorCode::AttributeTypeInvalid,
                format!("the object has no {}", attribute::name(attribute)),
            )
        })
    }

    /// The attributes that may be read: what a client gets to see.
    #[must_use]
    pub fn visible(&self) -> Attributes {
        let mut visible = self.attributes.clone();
        visible.remove(CKA_KEYWARD_HSM_KEY);
        if self.is_sensitive() {
            for (attribute, _) in self.attributes.iter() {
                if is_secret(attribute) {
                    visible.remove(attribute);
                }
            }
        }
        visible
    }

    /// Whether what may be read of it is more than its public side: a key whose
    /// secret parts may be read, or data that is private.
    #[must_use]
    pub fn shows_secrets(&self) -> bool {
        match self.class() {
            CKO_PRIVATE_KEY | CKO_SECRET_KEY => !self.is_sensitive(),
            // Certificates are for everybody, and so are public keys.
            CKO_CERTIFICATE | CKO_PUBLIC_KEY => false,
            _ => self.is_private(),
        }
    }

    /// Whether the object has every attribute of the template with just that
    /// value (section 5.7.7). A sensitive value matches nothing.
    #[must_use]
    pub fn matches(&self, template: &Attributes) -> bool {
        template.iter().all(|(attribute, value)| self.read(attribute).is_ok_and(|own| own == value))
    }

    /// How much the object takes, in bytes: the lengths of its values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.attributes.iter().map(|(_, value)| value.size()).sum()
    }

    /// Whether a key allows a use, as CKA_SIGN.
    ///
    /// # Errors
    /// CKR_KEY_FUNCTION_NOT_PERMITTED if it does not.
    pub fn permit(&self, usage: u64) -> Result<()> {
        if self.attributes.is_true(usage) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::KeyFunctionNotPermitted,
            format!("{} of the key is not CK_TRUE", attribute::name(usage)),
        ))
    }

    /// Whether CKA_ALLOWED_MECHANISMS of a key, if it has any, names a mechanism. An empty list
    /// names none.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it does not.
    pub fn permit_mechanism(&self, mechanism: u64) -> Result<()> {
        match self.attributes.value(CKA_ALLOWED_MECHANISMS) {
            Some(Value::Numbers(allowed)) if !allowed.contains(&mechanism) => Err(Error::new(
                ErrorCode::MechanismInvalid,
                format!("CKA_ALLOWED_MECHANISMS of the key does not name mechanism {mechanism:#x}"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether a key of this type has `attribute` as a secret part, even when
    /// its value is not here.
    fn has_secret(&self, attribute: u64) -> bool {
        match self.key_type() {
            Some(CKK_RSA) => !matches!(attribute, CKA_VALUE | CKA_SEED),
            Some(CKK_ML_DSA | CKK_ML_KEM) => matches!(attribute, CKA_VALUE | CKA_SEED),
            _ => attribute == CKA_VALUE,
        }
    }

    pub(crate) fn attributes_mut(&mut self) -> &mut Attributes {
        &mut self.attributes
    }
}

/// The class of an object without one; there is none, see `from_attributes`.
const UNKNOWN: u64 = u64::MAX;
