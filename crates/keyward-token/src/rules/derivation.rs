//! What may be derived from a key, and what comes of it (section 5.18.5).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::made::{Wanted, asks_for_no_pin};
use super::{Author, create, incomplete};
use crate::attribute::{Attributes, value_invalid};
use crate::key::{SecretKey, WorkingKey};
use crate::mechanism::{DerivationScheme, Material};
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

/// Whether several keys, or bytes, may be derived from a key by one scheme, and what is wanted.
///
/// # Errors
/// As [`may_derive`].
pub fn may_derive_material(
    scheme: &DerivationScheme,
    base: &Object,
    material: Material,
) -> Result<WantedMaterial> {
    if material.keys.is_empty() {
        // Bytes alone; the base key has to be as if there were a key.
        may_derive(scheme, base, None, Attributes::new())?;
    }
    let keys: Result<_> = material
        .keys
        .into_iter()
        .map(|template| may_derive(scheme, base, None, template))
        .collect();
    Ok(WantedMaterial { keys: keys?, data: material.data })
}

/// The keys that were derived, and the bytes behind them.
pub type MadeMaterial = (Vec<Object>, Vec<Zeroizing<Vec<u8>>>);

/// Several keys, and bytes behind them.
#[derive(Clone, Debug)]
pub struct WantedMaterial {
    keys: Vec<Wanted>,
    data: Vec<usize>,
}

impl WantedMaterial {
    /// What they are to be.
    #[must_use]
    pub fn keys(&self) -> &[Wanted] {
        &self.keys
    }

    /// Derives all of it at once.
    ///
    /// # Errors
    /// As [`derive`].
    pub fn derive(self, scheme: &DerivationScheme, base: WorkingKey<'_>) -> Result<MadeMaterial> {
        let lengths: Option<Vec<usize>> = self.keys.iter().map(Wanted::length).collect();
        let lengths = lengths.ok_or_else(|| incomplete(CKA_VALUE_LEN))?;
        let length = lengths.iter().chain(&self.data).sum();
        let derived = base.derive(scheme, None, Some(length))?;
        let mut rest = &derived[..];
        let mut next = |length| {
            let (part, others) = rest.split_at(length);
            rest = others;
            part
        };
        let keys: Result<_> = self
            .keys
            .into_iter()
            .zip(lengths)
            .map(|(key, long)| key.derived_secret(next(long)))
            .collect();
        let keys = keys?;
        let data = self.data.into_iter().map(|long| next(long).to_vec().into()).collect();
        Ok((keys, data))
    }
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
