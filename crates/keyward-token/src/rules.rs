//! How objects come to be and change (sections 4 and 5.7).

use cryptoki_sys::*;
use keyward_crypto::ec::EcPrivateKey;
use keyward_crypto::rsa::RsaPrivateKey;
use keyward_wire::{Error, ErrorCode, Result};

use crate::attribute::{self, Attributes, UNAVAILABLE, Value, value_invalid};
use crate::certificate::Parts;
use crate::key::{self, PrivateKey, PublicKey, from_crypto};
use crate::mechanism::{self, Family};
use crate::object::Object;

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
pub fn create(template: Attributes) -> Result<Object> {
    let class = number(&template, CKA_CLASS)?;
    only_known(&template, class)?;
    for (attribute, value) in template.iter() {
        if is_made_by_token(attribute) {
            return Err(read_only(attribute));
        }
        valid(attribute, value)?;
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
            create_secret(&mut attributes)?;
            made_elsewhere(&mut attributes);
        }
        _ => return Err(value_invalid(CKA_CLASS)),
    }
    Object::from_attributes(attributes)
}

/// Makes a key pair as C_GenerateKeyPair does (section 5.18.2): the public
/// object, then the private one. RSA takes a processor for a good while.
///
/// # Errors
/// As [`create`], and CKR_MECHANISM_INVALID.
pub fn generate_key_pair(
    mechanism: u64,
    public_template: Attributes,
    private_template: Attributes,
) -> Result<(Object, Object)> {
    let family = mechanism::find(mechanism)?.family;
    let key_type = match family {
        Family::RsaGeneration => CKK_RSA,
        Family::EcGeneration => CKK_EC,
        _ => {
            return Err(Error::new(
                ErrorCode::MechanismInvalid,
                format!("mechanism {mechanism:#x} makes no key pair"),
            ));
        }
    };
    let mut public = for_generation(public_template, CKO_PUBLIC_KEY, key_type)?;
    let mut private = for_generation(private_template, CKO_PRIVATE_KEY, key_type)?;
    let pair = match family {
        Family::RsaGeneration => {
            let bits = number(&public, CKA_MODULUS_BITS)?;
            let bits = u32::try_from(bits).map_err(|_| value_invalid(CKA_MODULUS_BITS))?;
            let exponent = public.bytes(CKA_PUBLIC_EXPONENT).unwrap_or(&[1, 0, 1]);
            PrivateKey::Rsa(RsaPrivateKey::generate(bits, exponent).map_err(from_crypto)?)
        }
        _ => {
            let parameters = public
                .bytes(CKA_EC_PARAMS)
                .or_else(|| private.bytes(CKA_EC_PARAMS))
                .ok_or_else(|| incomplete(CKA_EC_PARAMS))?;
            let curve = key::curve(parameters)?;
            PrivateKey::Ec(EcPrivateKey::generate(curve).map_err(from_crypto)?)
        }
    };
    pair.public().describe(&mut public);
    pair.describe(&mut private)?;
    public_defaults(&mut public);
    private_defaults(&mut private);
    for attributes in [&mut public, &mut private] {
        attributes.set(CKA_LOCAL, true);
        attributes.set(CKA_KEY_GEN_MECHANISM, mechanism);
    }
    let sensitive = private.is_true(CKA_SENSITIVE);
    let extractable = private.is_true(CKA_EXTRACTABLE);
    private.set(CKA_ALWAYS_SENSITIVE, sensitive);
    private.set(CKA_NEVER_EXTRACTABLE, !extractable);
    Ok((Object::from_attributes(public)?, Object::from_attributes(private)?))
}

/// Copies an object as C_CopyObject does (section 5.7.2). The copy has no
/// CKA_UNIQUE_ID yet.
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
            _ => may_change(source, attribute, value)?,
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
pub fn change(object: &Object, template: &Attributes) -> Result<Object> {
    if object.attributes().boolean(CKA_MODIFIABLE) == Some(false) {
        return Err(Error::new(
            ErrorCode::ActionProhibited,
            "CKA_MODIFIABLE of the object is CK_FALSE",
        ));
    }
    let mut changed = object.clone();
    for (attribute, value) in template.iter() {
        may_change(object, attribute, value)?;
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

fn create_secret(attributes: &mut Attributes) -> Result<()> {
    let key_type = number(attributes, CKA_KEY_TYPE)?;
    let length = attributes
        .bytes(CKA_VALUE)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| incomplete(CKA_VALUE))?
        .len();
    let fits = match key_type {
        CKK_GENERIC_SECRET => length <= LONGEST_SECRET,
        CKK_AES => matches!(length, 16 | 24 | 32),
        _ => return Err(value_invalid(CKA_KEY_TYPE)),
    };
    if !fits {
        return Err(value_invalid(CKA_VALUE));
    }
    attributes.set(CKA_VALUE_LEN, length as u64);
    // Who makes a session key out of bytes has the bytes already.
    let token = attributes.is_true(CKA_TOKEN);
    attributes.set_default(CKA_SENSITIVE, token);
    attributes.set_default(CKA_EXTRACTABLE, !token);
    for usage in [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP] {
        attributes.set_default(usage, true);
    }
    attributes.set_default(CKA_DERIVE, true);
    attributes.set_default(CKA_TRUSTED, false);
    attributes.set_default(CKA_WRAP_WITH_TRUSTED, false);
    key_defaults(attributes, token);
    Ok(())
}

/// The longest generic secret, in bytes.
const LONGEST_SECRET: usize = 1 << 16;

fn public_defaults(attributes: &mut Attributes) {
    let rsa = attributes.number(CKA_KEY_TYPE) == Some(CKK_RSA);
    attributes.set_default(CKA_VERIFY, true);
    attributes.set_default(CKA_VERIFY_RECOVER, rsa);
    attributes.set_default(CKA_ENCRYPT, rsa);
    attributes.set_default(CKA_WRAP, rsa);
    attributes.set_default(CKA_DERIVE, false);
    attributes.set_default(CKA_TRUSTED, false);
    attributes.set_default(CKA_SUBJECT, Vec::new());
    key_defaults(attributes, false);
}

fn private_defaults(attributes: &mut Attributes) {
    let rsa = attributes.number(CKA_KEY_TYPE) == Some(CKK_RSA);
    attributes.set_default(CKA_SENSITIVE, true);
    attributes.set_default(CKA_EXTRACTABLE, false);
    attributes.set_default(CKA_SIGN, true);
    attributes.set_default(CKA_SIGN_RECOVER, rsa);
    attributes.set_default(CKA_DECRYPT, rsa);
    attributes.set_default(CKA_UNWRAP, rsa);
    attributes.set_default(CKA_DERIVE, false);
    attributes.set_default(CKA_ALWAYS_AUTHENTICATE, false);
    attributes.set_default(CKA_WRAP_WITH_TRUSTED, false);
    attributes.set_default(CKA_SUBJECT, Vec::new());
    key_defaults(attributes, true);
}

fn key_defaults(attributes: &mut Attributes, private: bool) {
    for attribute in [CKA_ID, CKA_START_DATE, CKA_END_DATE] {
        attributes.set_default(attribute, Vec::new());
    }
    storage_defaults(attributes, private);
}

fn storage_defaults(attributes: &mut Attributes, private: bool) {
    attributes.set_default(CKA_TOKEN, false);
    attributes.set_default(CKA_PRIVATE, private);
    attributes.set_default(CKA_MODIFIABLE, true);
    attributes.set_default(CKA_COPYABLE, true);
    attributes.set_default(CKA_DESTROYABLE, true);
    attributes.set_default(CKA_LABEL, Vec::new());
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

/// One half of a generation's template, with class and type as they must be.
fn for_generation(mut template: Attributes, class: u64, key_type: u64) -> Result<Attributes> {
    only_known(&template, class)?;
    for (attribute, value) in template.iter() {
        if is_made_by_token(attribute) {
            return Err(read_only(attribute));
        }
        if is_made_by_generation(class, attribute) {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                format!("{} comes from the generation", attribute::name(attribute)),
            ));
        }
        valid(attribute, value)?;
    }
    for (attribute, expected) in [(CKA_CLASS, class), (CKA_KEY_TYPE, key_type)] {
        if template.number(attribute).is_some_and(|given| given != expected) {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                format!("{} is not the mechanism's", attribute::name(attribute)),
            ));
        }
        template.set(attribute, expected);
    }
    Ok(template)
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
    )
}

fn is_made_by_generation(class: u64, attribute: u64) -> bool {
    attribute == CKA_MODULUS
        || attribute == CKA_EC_POINT
        || attribute == CKA_PUBLIC_KEY_INFO
        || (class == CKO_PRIVATE_KEY && attribute::is_secret(attribute))
}

/// Whether objects of a class can have the attribute.
fn only_known(template: &Attributes, class: u64) -> Result<()> {
    for (attribute, _) in template.iter() {
        let common = matches!(
            attribute,
            CKA_CLASS
                | CKA_TOKEN
                | CKA_PRIVATE
                | CKA_LABEL
                | CKA_UNIQUE_ID
                | CKA_MODIFIABLE
                | CKA_COPYABLE
                | CKA_DESTROYABLE
        );
        let key_common = matches!(
            attribute,
            CKA_KEY_TYPE
                | CKA_ID
                | CKA_START_DATE
                | CKA_END_DATE
                | CKA_DERIVE
                | CKA_LOCAL
                | CKA_KEY_GEN_MECHANISM
                | CKA_ALLOWED_MECHANISMS
        );
        let asymmetric = matches!(
            attribute,
            CKA_SUBJECT | CKA_PUBLIC_KEY_INFO | CKA_MODULUS | CKA_PUBLIC_EXPONENT | CKA_EC_PARAMS
        );
        let own = match class {
            CKO_DATA => matches!(attribute, CKA_APPLICATION | CKA_OBJECT_ID | CKA_VALUE),
            CKO_CERTIFICATE => matches!(
                attribute,
                CKA_CERTIFICATE_TYPE
                    | CKA_TRUSTED
                    | CKA_CERTIFICATE_CATEGORY
                    | CKA_CHECK_VALUE
                    | CKA_START_DATE
                    | CKA_END_DATE
                    | CKA_PUBLIC_KEY_INFO
                    | CKA_SUBJECT
                    | CKA_ID
                    | CKA_ISSUER
                    | CKA_SERIAL_NUMBER
                    | CKA_VALUE
                    | CKA_URL
                    | CKA_HASH_OF_SUBJECT_PUBLIC_KEY
                    | CKA_HASH_OF_ISSUER_PUBLIC_KEY
                    | CKA_NAME_HASH_ALGORITHM
                    | CKA_JAVA_MIDP_SECURITY_DOMAIN
            ),
            CKO_PUBLIC_KEY => {
                key_common
                    || asymmetric
                    || matches!(
                        attribute,
                        CKA_ENCRYPT
                            | CKA_VERIFY
                            | CKA_VERIFY_RECOVER
                            | CKA_WRAP
                            | CKA_TRUSTED
                            | CKA_WRAP_TEMPLATE
                            | CKA_MODULUS_BITS
                            | CKA_EC_POINT
                    )
            }
            CKO_PRIVATE_KEY => {
                key_common
                    || asymmetric
                    || attribute::is_secret(attribute)
                    || matches!(
                        attribute,
                        CKA_SENSITIVE
                            | CKA_DECRYPT
                            | CKA_SIGN
                            | CKA_SIGN_RECOVER
                            | CKA_UNWRAP
                            | CKA_EXTRACTABLE
                            | CKA_ALWAYS_SENSITIVE
                            | CKA_NEVER_EXTRACTABLE
                            | CKA_WRAP_WITH_TRUSTED
                            | CKA_UNWRAP_TEMPLATE
                            | CKA_ALWAYS_AUTHENTICATE
                    )
            }
            CKO_SECRET_KEY => {
                key_common
                    || matches!(
                        attribute,
                        CKA_SENSITIVE
                            | CKA_ENCRYPT
                            | CKA_DECRYPT
                            | CKA_SIGN
                            | CKA_VERIFY
                            | CKA_WRAP
                            | CKA_UNWRAP
                            | CKA_EXTRACTABLE
                            | CKA_ALWAYS_SENSITIVE
                            | CKA_NEVER_EXTRACTABLE
                            | CKA_CHECK_VALUE
                            | CKA_WRAP_WITH_TRUSTED
                            | CKA_TRUSTED
                            | CKA_WRAP_TEMPLATE
                            | CKA_UNWRAP_TEMPLATE
                            | CKA_VALUE
                            | CKA_VALUE_LEN
                    )
            }
            _ => return Err(value_invalid(CKA_CLASS)),
        };
        if !(common || own || attribute >= CKA_VENDOR_DEFINED) {
            return Err(Error::new(
                ErrorCode::AttributeTypeInvalid,
                format!("objects of this class have no {}", attribute::name(attribute)),
            ));
        }
    }
    Ok(())
}

/// Values that no object may be given.
fn valid(attribute: u64, value: &Value) -> Result<()> {
    match (attribute, value) {
        // Only the security officer trusts, and keys that ask for a PIN at each
        // use are not offered.
        (CKA_TRUSTED, Value::Boolean(true)) => Err(read_only(CKA_TRUSTED)),
        (CKA_ALWAYS_AUTHENTICATE, Value::Boolean(true)) => {
            Err(value_invalid(CKA_ALWAYS_AUTHENTICATE))
        }
        (CKA_START_DATE | CKA_END_DATE, Value::Bytes(date)) if !matches!(date.len(), 0 | 8) => {
            Err(value_invalid(attribute))
        }
        _ => Ok(()),
    }
}

/// Whether an existing object's attribute may become `value`.
fn may_change(object: &Object, attribute: u64, value: &Value) -> Result<()> {
    let one = Attributes::from_pairs([(attribute, value.clone())])?;
    only_known(&one, object.class())?;
    valid(attribute, value)?;
    let allowed = match (attribute, value) {
        (
            CKA_LABEL | CKA_ID | CKA_SUBJECT | CKA_START_DATE | CKA_END_DATE | CKA_ENCRYPT
            | CKA_DECRYPT | CKA_SIGN | CKA_SIGN_RECOVER | CKA_VERIFY | CKA_VERIFY_RECOVER
            | CKA_WRAP | CKA_UNWRAP | CKA_DERIVE,
            _,
        ) => true,
        // These go one way only; to set what is set already is no change.
        (CKA_SENSITIVE | CKA_WRAP_WITH_TRUSTED, Value::Boolean(on)) => {
            *on || !object.attributes().is_true(attribute)
        }
        (CKA_EXTRACTABLE | CKA_COPYABLE | CKA_DESTROYABLE, Value::Boolean(on)) => {
            !*on || object.attributes().is_true(attribute)
        }
        (CKA_ISSUER | CKA_SERIAL_NUMBER | CKA_URL, _) => object.class() == CKO_CERTIFICATE,
        (CKA_VALUE | CKA_APPLICATION | CKA_OBJECT_ID, _) => object.class() == CKO_DATA,
        (vendor, _) => vendor >= CKA_VENDOR_DEFINED,
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
