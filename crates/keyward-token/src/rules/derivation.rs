//! What may be derived from a key, and what comes of it (section 5.18.5).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use super::made::{Wanted, asks_for_no_pin};
use super::{Author, create};
use crate::attribute::{Attributes, value_invalid};
use crate::key::{SecretKey, WorkingKey};
use crate::mechanism::DerivationScheme;
use crate::object::Object;

/// Whether a key may be derived from another, and perhaps a second one, and what is wanted.
///
/// # Errors
/// CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED without CKA_DERIVE,
/// CKR_TEMPLATE_INCONSISTENT if CKA_DERIVE_TEMPLATE demands something else, and what is wrong with
/// the template itself.
pub fn may_derive(
    scheme: &DerivationScheme,
    base: &Object,
    other: Option<&Object>,
    mut template: Attributes,
) -> Result<Wanted> {
    let inconsistent = |why: &'static str| Error::new(ErrorCode::KeyTypeInconsistent, why);
    if !base.key_type().is_some_and(|key_type| scheme.takes(base.class(), key_type)) {
        return Err(inconsistent("the key is not of the mechanism's class and type"));
    }
    base.permit(CKA_DERIVE)?;
    asks_for_no_pin(base)?;
    if scheme.takes_two() {
        let other = other.filter(|other| other.class() == CKO_SECRET_KEY);
        let other = other.ok_or_else(|| inconsistent("the second key is not a secret key"))?;
        other.permit(CKA_DERIVE)?;
    }
    template.set_default(CKA_CLASS, CKO_SECRET_KEY);
    if template.number(CKA_CLASS) == Some(CKO_DATA) {
        if !matches!(scheme, DerivationScheme::Hkdf { .. }) {
            return Err(value_invalid(CKA_CLASS));
        }
        return Wanted::data(template, base);
    }
    template.set_default(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    let mut wanted = Wanted::derived(template, base)?;
    for key in [Some(base), other].into_iter().flatten() {
        wanted.comes_from(key, scheme.shows_the_key());
    }
    Ok(wanted)
}

/// The key that is derived.
///
/// # Errors
/// As [`WorkingKey::derive`]; CKR_ATTRIBUTE_VALUE_INVALID if keys of the wanted type have not the
/// length that comes out, or for a check value that is another key's.
pub fn derive(
    scheme: &DerivationScheme,
    base: WorkingKey<'_>,
    other: Option<&SecretKey>,
    wanted: Wanted,
) -> Result<Object> {
    let value = base.derive(scheme, other, wanted.length())?;
    if wanted.class() == CKO_DATA {
        let mut attributes = wanted.into_attributes();
        attributes.set(CKA_VALUE, value.to_vec());
        return create(attributes, Author::User);
    }
    if !wanted.fits(value.len()) {
        return Err(Error::new(
            ErrorCode::TemplateIncomplete,
            "keys of that type have not the length that comes out; CKA_VALUE_LEN says another",
        ));
    }
    wanted.derived_secret(&value)
}
