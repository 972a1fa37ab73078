//! A public key out of the private one (CKM_PUB_KEY_FROM_PRIV_KEY).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use crate::attribute::{self, Attributes};
use crate::key::PublicKey;
use crate::object::Object;

/// The template of a private key's public half, as C_CreateObject takes it: what the caller's says,
/// and what the private key says where that is silent.
///
/// # Errors
/// CKR_KEY_TYPE_INCONSISTENT if it is no private key, or one that does not show its public half,
/// CKR_TEMPLATE_INCONSISTENT if the template is another key's.
pub fn public_half(private: &Object, mut template: Attributes) -> Result<Attributes> {
    let own = private.attributes();
    if private.class() != CKO_PRIVATE_KEY {
        return Err(Error::new(ErrorCode::KeyTypeInconsistent, "the key is not a private key"));
    }
    let public = PublicKey::of(own).map_err(|_| {
        Error::new(
            ErrorCode::KeyTypeInconsistent,
            "the private key does not show its public half: DSA and Diffie-Hellman keys do not",
        )
    })?;
    let mut parts = Attributes::new();
    parts.set(CKA_CLASS, CKO_PUBLIC_KEY);
    if let Some(key_type) = private.key_type() {
        parts.set(CKA_KEY_TYPE, key_type);
    }
    public.describe(&mut parts);
    for (attribute, value) in parts.iter() {
        if template.value(attribute).is_some_and(|given| given != value) {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                format!("{} is not the private key's", attribute::name(attribute)),
            ));
        }
        template.set(attribute, value.clone());
    }
    for (attribute, from) in [
        (CKA_ENCRYPT, CKA_DECRYPT),
        (CKA_VERIFY, CKA_SIGN),
        (CKA_VERIFY_RECOVER, CKA_SIGN_RECOVER),
        (CKA_WRAP, CKA_UNWRAP),
        (CKA_ENCAPSULATE, CKA_DECAPSULATE),
        (CKA_DERIVE, CKA_DERIVE),
        (CKA_ID, CKA_ID),
        (CKA_START_DATE, CKA_START_DATE),
        (CKA_END_DATE, CKA_END_DATE),
        (CKA_SUBJECT, CKA_SUBJECT),
        (CKA_ALLOWED_MECHANISMS, CKA_ALLOWED_MECHANISMS),
    ] {
        if let Some(value) = own.value(from) {
            template.set_default(attribute, value.clone());
        }
    }
    Ok(template)
}
