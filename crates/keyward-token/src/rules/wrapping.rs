//! Which key may carry which, and what comes of one that was carried (sections 5.18.3 and 5.18.4).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use super::made::{Wanted, asks_for_no_pin};
use crate::attribute::{Attributes, Value};
use crate::key::{PrivateKey, WorkingKey, wrapped_key_invalid};
use crate::mechanism::WrappingScheme;
use crate::object::Object;

/// Whether a key may be wrapped by another.
///
/// # Errors
/// CKR_WRAPPING_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED without CKA_WRAP,
/// CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE if the key is no private or secret one, the
/// mechanism does not take it, or CKA_WRAP_WITH_TRUSTED asks for a trusted key;
/// CKR_KEY_HANDLE_INVALID if it does not match CKA_WRAP_TEMPLATE.
pub fn may_wrap(scheme: &WrappingScheme, wrapping: &Object, key: &Object) -> Result<()> {
    let class = if scheme.is_asymmetric() { CKO_PUBLIC_KEY } else { CKO_SECRET_KEY };
    if !is_for(scheme, wrapping, class) {
        return Err(Error::new(
            ErrorCode::WrappingKeyTypeInconsistent,
            "the wrapping key is not of the mechanism's class and type",
        ));
    }
    wrapping.permit(CKA_WRAP)?;
    let not_wrappable = |why: &'static str| Error::new(ErrorCode::KeyNotWrappable, why);
    match key.class() {
        CKO_SECRET_KEY => {}
        CKO_PRIVATE_KEY if scheme.loses_length() => {
            return Err(not_wrappable("without padding the end of a private key would be lost"));
        }
        CKO_PRIVATE_KEY => {}
        _ => return Err(not_wrappable("only private and secret keys are wrapped")),
    }
    if !key.attributes().is_true(CKA_EXTRACTABLE) {
        return Err(Error::new(
            ErrorCode::KeyUnextractable,
            "CKA_EXTRACTABLE of the key is not CK_TRUE",
        ));
    }
    if key.attributes().is_true(CKA_WRAP_WITH_TRUSTED)
        && !wrapping.attributes().is_true(CKA_TRUSTED)
    {
        return Err(not_wrappable(
            "the key is wrapped only by one that the security officer trusts (CKA_TRUSTED)",
        ));
    }
    if let Some(Value::Template(template)) = wrapping.attributes().value(CKA_WRAP_TEMPLATE)
        && !key.matches(template)
    {
        return Err(Error::new(
            ErrorCode::KeyHandleInvalid,
            "the key is not one of those that CKA_WRAP_TEMPLATE of the wrapping key allows",
        ));
    }
    Ok(())
}

/// Whether a key may unwrap, and what is wanted of it.
///
/// # Errors
/// CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED without CKA_UNWRAP,
/// CKR_TEMPLATE_INCONSISTENT if CKA_UNWRAP_TEMPLATE demands something else, and what is wrong with
/// the template itself.
pub fn may_unwrap(
    scheme: &WrappingScheme,
    unwrapping: &Object,
    template: Attributes,
) -> Result<Wanted> {
    let class = if scheme.is_asymmetric() { CKO_PRIVATE_KEY } else { CKO_SECRET_KEY };
    if !is_for(scheme, unwrapping, class) {
        return Err(Error::new(
            ErrorCode::UnwrappingKeyTypeInconsistent,
            "the unwrapping key is not of the mechanism's class and type",
        ));
    }
    unwrapping.permit(CKA_UNWRAP)?;
    asks_for_no_pin(unwrapping)?;
    let wanted = Wanted::unwrapped(template, unwrapping)?;
    if wanted.class() == CKO_PRIVATE_KEY && scheme.loses_length() {
        return Err(Error::new(
            ErrorCode::TemplateInconsistent,
            "a mechanism without padding unwraps no private keys",
        ));
    }
    Ok(wanted)
}

/// The key that was wrapped.
///
/// # Errors
/// CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE, CKR_ATTRIBUTE_VALUE_INVALID for a check
/// value that is another key's, CKR_TEMPLATE_INCONSISTENT for another curve.
pub fn unwrap(
    scheme: &WrappingScheme,
    unwrapping: WorkingKey<'_>,
    wrapped: &[u8],
    wanted: Wanted,
) -> Result<Object> {
    if wanted.class() == CKO_PRIVATE_KEY {
        let value = unwrapping.unwrap(scheme, wrapped, |_| true)?;
        let key = PrivateKey::from_pkcs8_der(wanted.key_type(), without_filling(&value))
            .map_err(|_| wrapped_key_invalid())?;
        return wanted.private(&key);
    }
    let value = unwrapping.unwrap(scheme, wrapped, |length| wanted.fits(length))?;
    let end = match wanted.length() {
        // Zeros that only fill a block.
        Some(length) if scheme.loses_length() => length,
        _ => value.len(),
    };
    let value = value.get(..end).filter(|value| wanted.fits(value.len()));
    wanted.secret(value.ok_or_else(wrapped_key_invalid)?)
}

/// A DER structure without the zeros after it: SoftHSM fills up to a whole step before it wraps.
fn without_filling(der: &[u8]) -> &[u8] {
    let length = match der {
        [0x30, short, ..] if *short < 0x80 => 2 + usize::from(*short),
        [0x30, 0x81, one, ..] => 3 + usize::from(*one),
        [0x30, 0x82, two, one, ..] => 4 + usize::from(u16::from_be_bytes([*two, *one])),
        _ => return der,
    };
    match der.split_at_checked(length) {
        Some((structure, rest)) if rest.len() < 8 && rest.iter().all(|byte| *byte == 0) => {
            structure
        }
        _ => der,
    }
}

fn is_for(scheme: &WrappingScheme, key: &Object, class: u64) -> bool {
    key.class() == class && key.key_type().is_some_and(|key_type| scheme.takes(key_type))
}

#[cfg(test)]
mod tests {
    use super::without_filling;

    #[test]
    fn only_zeros_after_the_structure_are_taken_off() {
        let short = [0x30, 2, 5, 0, 0, 0, 0];
        assert_eq!(without_filling(&short), &short[..4]);
        assert_eq!(without_filling(&short[..4]), &short[..4]);
        let long = [&[0x30, 0x82, 1, 0][..], &[7; 256], &[0; 7]].concat();
        assert_eq!(without_filling(&long).len(), 260);
        for kept in [
            &[0x30, 2, 5, 0, 1][..],
            &[0x30, 2, 5],
            &[0x30; 1],
            &[],
            &[0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(without_filling(kept), kept);
        }
    }
}
