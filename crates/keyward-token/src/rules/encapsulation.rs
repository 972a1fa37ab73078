//! Secrets that are sent to a public key (PKCS#11 v3.2, sections 5.18.8 and 5.18.9).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use super::made::{Wanted, asks_for_no_pin};
use crate::attribute::Attributes;
use crate::object::Object;

/// Whether a secret may be sent to a public key, and what is to come of the secret.
///
/// # Errors
/// CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED without CKA_ENCAPSULATE,
/// CKR_TEMPLATE_INCONSISTENT if CKA_ENCAPSULATE_TEMPLATE demands something else, and what is wrong
/// with the template itself.
pub fn may_encapsulate(public: &Object, template: Attributes) -> Result<Wanted> {
    let (usage, by) = (CKA_ENCAPSULATE, CKA_ENCAPSULATE_TEMPLATE);
    may(public, CKO_PUBLIC_KEY, usage, by, template)
}

/// Whether a private key may open what was sent to it, and what is to come of the secret.
///
/// # Errors
/// As [`may_encapsulate`], with CKA_DECAPSULATE and CKA_DECAPSULATE_TEMPLATE.
pub fn may_decapsulate(private: &Object, template: Attributes) -> Result<Wanted> {
    let (usage, by) = (CKA_DECAPSULATE, CKA_DECAPSULATE_TEMPLATE);
    may(private, CKO_PRIVATE_KEY, usage, by, template)
}

/// The key that a secret becomes.
///
/// # Errors
/// CKR_KEY_SIZE_RANGE if keys of the wanted type have not its length, CKR_ATTRIBUTE_VALUE_INVALID
/// for a check value that is another key's.
pub fn encapsulated(secret: &[u8], wanted: Wanted) -> Result<Object> {
    if !wanted.fits(secret.len()) {
        return Err(Error::new(
            ErrorCode::KeySizeRange,
            "the secret has 32 bytes, and the wanted key another length",
        ));
    }
    wanted.secret(secret)
}

fn may(key: &Object, class: u64, usage: u64, by: u64, mut template: Attributes) -> Result<Wanted> {
    if key.class() != class || key.key_type() != Some(CKK_ML_KEM) {
        return Err(Error::new(
            ErrorCode::KeyTypeInconsistent,
            "the key is not of the mechanism's class and type",
        ));
    }
    key.permit(usage)?;
    asks_for_no_pin(key)?;
    template.set_default(CKA_CLASS, CKO_SECRET_KEY);
    template.set_default(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    Wanted::shared(template, key.attributes().value(by))
}
