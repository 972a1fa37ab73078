//! Secret keys.

use cryptoki_sys::*;
use keyward_wire::Result;

use super::defaults::secret_defaults;
use super::{incomplete, number};
use crate::attribute::{Attributes, value_invalid};
use crate::key::SecretKey;

/// Completes a secret key that C_CreateObject gets.
pub(super) fn create(attributes: &mut Attributes) -> Result<()> {
    let key_type = number(attributes, CKA_KEY_TYPE)?;
    let value = attributes
        .bytes(CKA_VALUE)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| incomplete(CKA_VALUE))?;
    let key = SecretKey::new(key_type, value).map_err(|error| match error.code {
        keyward_wire::ErrorCode::KeyTypeInconsistent => value_invalid(CKA_KEY_TYPE),
        _ => value_invalid(CKA_VALUE),
    })?;
    describe(&key, attributes)?;
    // Who makes a session key out of bytes has the bytes already.
    let token = attributes.is_true(CKA_TOKEN);
    secret_defaults(attributes, token);
    Ok(())
}

/// Writes a key's value, its length and its check value as attributes. A check value that the
/// template gives has to be the right one, or empty: then there is none (section 4.10).
pub(super) fn describe(key: &SecretKey, attributes: &mut Attributes) -> Result<()> {
    let check = key.check_value();
    match attributes.bytes(CKA_CHECK_VALUE) {
        None => attributes.set(CKA_CHECK_VALUE, check),
        Some(given) if given.is_empty() || given == check => {}
        Some(_) => return Err(value_invalid(CKA_CHECK_VALUE)),
    }
    attributes.set(CKA_VALUE, key.value());
    attributes.set(CKA_VALUE_LEN, key.value().len() as u64);
    Ok(())
}
