//! How objects come to be and change (sections 4 and 5.7).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use self::classes::only_known;
use self::defaults::{private_defaults, public_defaults, storage_defaults};
use crate::attribute::{self, Attributes, UNAVAILABLE, Value, value_invalid};
use crate::certificate::Parts;
use crate::hsm::CKA_KEYWARD_HSM_KEY;
use crate::key::{PrivateKey, PublicKey};
use crate::object::Object;
use crate::stage::{CKA_KEYWARD_STAGE, Stage};

mod classes;
mod defaults;
mod derivation;
mod encapsulation;
mod generation;
mod hsm;
mod made;
mod parameters;
mod public;
mod secret;
mod source;
mod wrapping;

pub use self::derivation::{MadeMaterial, WantedMaterial, derive, may_derive, may_derive_material};
pub use self::encapsulation::{encapsulated, may_decapsulate, may_encapsulate};
pub use self::generation::{generate_key_pair, generate_secret_key};
pub use self::hsm::{Draft, OF_EACH_KEY, adopt, bring};
pub use self::made::Wanted;
pub use self::parameters::{Domain, makes_parameters};
pub use self::public::public_half;
pub use self::source::KeySource;
pub use self::wrapping::{may_unwrap, may_wrap, unwrap};

/// Who makes or changes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The user, or nobody who has logged in.
    User,
    /// The security officer, who alone may set CKA_TRUSTED (sections 4.6 to 4.10).
    Officer,
}

/// Makes an object as C_CreateObject does (section 5.7.1): checks the template,
/// fills in what it leaves out.
///
/// A private key that does not say otherwise is private, sensitive and not
/// extractable: Java imports keys without saying, and would sign in software
/// with one that it can read.
///
/// # Errors
/// CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_READ_ONLY,
/// CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID,
/// CKR_CURVE_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE.
pub fn create(template: Attributes, author: Author) -> Result<Object> {
    let class = number(&template, CKA_CLASS)?;
    only_known(&template, class)?;
    for (attribute, value) in template.iter() {
        if is_made_by_token(attribute) {
            return Err(read_only(attribute));
        }
        valid(attribute, value, author)?;
    }
    let mut attributes = template;
    match class {
        CKO_DATA => {
            for attribute in [CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE] {
                attributes.set_default(attribute, Vec::new());
            }
            storage_defaults(&mut attributes, false);
        }
        CKO_CERTIFICATE => create_certificate(&mut attributes)?,
        CKO_PUBLIC_KEY => {
            number(&attributes, CKA_KEY_TYPE)?;
            PublicKey::of(&attributes)?.describe(&mut attributes);
            public_defaults(&mut attributes);
            made_elsewhere(&mut attributes);
        }
        CKO_PRIVATE_KEY => {
            number(&attributes, CKA_KEY_TYPE)?;
            PrivateKey::of(&attributes)?.describe(&mut attributes)?;
            private_defaults(&mut attributes);
            made_elsewhere(&mut attributes);
        }
        CKO_SECRET_KEY => {
            secret::create(&mut attributes)?;
            made_elsewhere(&mut attributes);
        }
        CKO_DOMAIN_PARAMETERS => parameters::create(&mut attributes)?,
        _ => return Err(value_invalid(CKA_CLASS)),
    }
    Object::from_attributes(attributes)
}

/// Copies an object as C_CopyObject does (section 5.7.2). The copy has no
/// CKA_UNIQUE_ID yet, and is not trusted: whoever copies may have given it
/// other uses.
///
/// # Errors
/// CKR_ACTION_PROHIBITED if CKA_COPYABLE is false, CKR_ATTRIBUTE_READ_ONLY,
/// CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID.
pub fn copy(source: &Object, template: &Attributes) -> Result<Object> {
    if source.attributes().boolean(CKA_COPYABLE) == Some(false) {
        return Err(Error::new(
            ErrorCode::ActionProhibited,
            "CKA_COPYABLE of the object is CK_FALSE",
        ));
    }
    let mut copied = source.clone();
    copied.attributes_mut().remove(CKA_UNIQUE_ID);
    Stage::Current.put(&mut copied);
    if copied.attributes().is_true(CKA_TRUSTED) {
        copied.attributes_mut().set(CKA_TRUSTED, false);
    }
    for (attribute, value) in template.iter() {
        match (attribute, value) {
            (CKA_TOKEN | CKA_MODIFIABLE, _) => {}
            (CKA_PRIVATE, Value::Boolean(private)) => {
                if source.is_private() && !private {
                    return Err(Error::new(
                        ErrorCode::TemplateInconsistent,
                        "the copy of a private object is private",
                    ));
                }
            }
            (CKA_DESTROYABLE, _) => {}
            _ => may_change(&copied, attribute, value, Author::User)?,
        }
        copied.attributes_mut().set(attribute, value.clone());
    }
    Ok(copied)
}

/// Changes an object as C_SetAttributeValue does (section 5.7.6): the object
/// as it is afterwards. If one change is refused, none is made.
///
/// # Errors
/// CKR_ACTION_PROHIBITED if CKA_MODIFIABLE is false, CKR_ATTRIBUTE_READ_ONLY,
/// CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID.
pub fn change(object: &Object, template: &Attributes, author: Author) -> Result<Object> {
    if object.attributes().boolean(CKA_MODIFIABLE) == Some(false) {
        return Err(Error::new(
            ErrorCode::ActionProhibited,
            "CKA_MODIFIABLE of the object is CK_FALSE",
        ));
    }
    let mut changed = object.clone();
    for (attribute, value) in template.iter() {
        may_change(object, attribute, value, author)?;
        changed.attributes_mut().set(attribute, value.clone());
    }
    Ok(changed)
}

/// Whether the object may be destroyed (section 5.7.4).
///
/// # Errors
/// CKR_ACTION_PROHIBITED if CKA_DESTROYABLE is false.
pub fn may_destroy(object: &Object) -> Result<()> {
    if object.attributes().boolean(CKA_DESTROYABLE) == Some(false) {
        return Err(Error::new(
            ErrorCode::ActionProhibited,
            "CKA_DESTROYABLE of the object is CK_FALSE",
        ));
    }
    Ok(())
}

/// Gives an object its CKA_UNIQUE_ID (section 4.4.1).
pub fn identify(object: &mut Object, unique_id: &str) {
    object.attributes_mut().set(CKA_UNIQUE_ID, unique_id.as_bytes());
}

// ---- classes ---------------------------------------------------------------

fn create_certificate(attributes: &mut Attributes) -> Result<()> {
    if number(attributes, CKA_CERTIFICATE_TYPE)? != CKC_X_509 {
        return Err(value_invalid(CKA_CERTIFICATE_TYPE));
    }
    let certificate = attributes
        .bytes(CKA_VALUE)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| incomplete(CKA_VALUE))?;
    let parts = Parts::of(certificate)?;
    for (attribute, value) in [
        (CKA_SUBJECT, parts.subject),
        (CKA_ISSUER, parts.issuer),
        (CKA_SERIAL_NUMBER, parts.serial_number),
        (CKA_PUBLIC_KEY_INFO, parts.public_key_info),
    ] {
        if attributes.bytes(attribute).is_none_or(<[u8]>::is_empty) {
            attributes.set(attribute, value);
        }
    }
    for attribute in [CKA_ID, CKA_URL, CKA_START_DATE, CKA_END_DATE] {
        attributes.set_default(attribute, Vec::new());
    }
    attributes.set_default(CKA_TRUSTED, false);
    attributes.set_default(CKA_CERTIFICATE_CATEGORY, CK_CERTIFICATE_CATEGORY_UNSPECIFIED);
    storage_defaults(attributes, false);
    Ok(())
}

/// What a key says of itself that the token did not generate.
fn made_elsewhere(attributes: &mut Attributes) {
    attributes.set(CKA_LOCAL, false);
    attributes.set(CKA_KEY_GEN_MECHANISM, UNAVAILABLE);
    if attributes.contains(CKA_SENSITIVE) {
        attributes.set(CKA_ALWAYS_SENSITIVE, false);
        attributes.set(CKA_NEVER_EXTRACTABLE, false);
    }
}

// ---- attributes ------------------------------------------------------------

/// What only the token itself sets.
fn is_made_by_token(attribute: u64) -> bool {
    matches!(
        attribute,
        CKA_UNIQUE_ID
            | CKA_LOCAL
            | CKA_KEY_GEN_MECHANISM
            | CKA_ALWAYS_SENSITIVE
            | CKA_NEVER_EXTRACTABLE
            | CKA_KEYWARD_STAGE
            | CKA_KEYWARD_HSM_KEY
    )
}

/// Values that no object may be given.
fn valid(attribute: u64, value: &Value, author: Author) -> Result<()> {
    match (attribute, value) {
        (CKA_TRUSTED, Value::Boolean(true)) if author != Author::Officer => {
            Err(read_only(CKA_TRUSTED))
        }
        (CKA_START_DATE | CKA_END_DATE, Value::Bytes(date)) if !matches!(date.len(), 0 | 8) => {
            Err(value_invalid(attribute))
        }
        _ => Ok(()),
    }
}

/// Whether an existing object's attribute may become `value`.
fn may_change(object: &Object, attribute: u64, value: &Value, author: Author) -> Result<()> {
    let one = Attributes::from_pairs([(attribute, value.clone())])?;
    only_known(&one, object.class())?;
    valid(attribute, value, author)?;
    let allowed = match (attribute, value) {
        (CKA_LABEL | CKA_ID | CKA_SUBJECT | CKA_START_DATE | CKA_END_DATE, _) => true,
        // What is trusted is trusted for what it is: a wrapping key that came to decrypt would give
        // away what others wrapped with it.
        (
            CKA_ENCRYPT | CKA_DECRYPT | CKA_SIGN | CKA_SIGN_RECOVER | CKA_VERIFY
            | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_UNWRAP | CKA_DERIVE | CKA_ENCAPSULATE
            | CKA_DECAPSULATE,
            Value::Boolean(on),
        ) => {
            !*on || author == Author::Officer
                || object.attributes().is_true(attribute)
                || !object.attributes().is_true(CKA_TRUSTED)
        }
        (CKA_TRUSTED, _) => author == Author::Officer,
        // These go one way only; to set what is set already is no change.
        (CKA_SENSITIVE | CKA_WRAP_WITH_TRUSTED, Value::Boolean(on)) => {
            *on || !object.attributes().is_true(attribute)
        }
        (CKA_EXTRACTABLE | CKA_COPYABLE | CKA_DESTROYABLE, Value::Boolean(on)) => {
            !*on || object.attributes().is_true(attribute)
        }
        (CKA_ISSUER | CKA_SERIAL_NUMBER | CKA_URL, _) => object.class() == CKO_CERTIFICATE,
        (CKA_VALUE | CKA_APPLICATION | CKA_OBJECT_ID, _) => object.class() == CKO_DATA,
        (vendor, _) => vendor >= CKA_VENDOR_DEFINED && !is_made_by_token(vendor),
    };
    if allowed { Ok(()) } else { Err(read_only(attribute)) }
}

fn number(attributes: &Attributes, attribute: u64) -> Result<u64> {
    attributes.number(attribute).ok_or_else(|| incomplete(attribute))
}

fn incomplete(attribute: u64) -> Error {
    Error::new(
        ErrorCode::TemplateIncomplete,
        format!("the template lacks {}", attribute::name(attribute)),
    )
}

fn read_only(attribute: u64) -> Error {
    Error::new(
        ErrorCode::AttributeReadOnly,
        format!("{} cannot be set so", attribute::name(attribute)),
    )
}

#[cfg(test)]
mod tests;
