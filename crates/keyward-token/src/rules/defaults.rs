//! What a template leaves out.

use cryptoki_sys::*;

use crate::attribute::Attributes;

/// What keys of a type are for.
struct Purposes {
    /// Signatures.
    sign: bool,
    /// Encryption, wrapping, and signatures from which the data can be recovered.
    encrypt: bool,
    /// Agreeing on a secret is all that they can.
    derive: bool,
    /// ML-KEM.
    encapsulate: bool,
}

fn purposes(attributes: &Attributes) -> Purposes {
    let key_type = attributes.number(CKA_KEY_TYPE);
    let derive = matches!(key_type, Some(CKK_EC_MONTGOMERY | CKK_DH));
    let encapsulate = key_type == Some(CKK_ML_KEM);
    Purposes {
        sign: !derive && !encapsulate,
        encrypt: key_type == Some(CKK_RSA),
        derive,
        encapsulate,
    }
}

pub(super) fn public_defaults(attributes: &mut Attributes) {
    let purposes = purposes(attributes);
    attributes.set_default(CKA_VERIFY, purposes.sign);
    attributes.set_default(CKA_VERIFY_RECOVER, purposes.encrypt);
    attributes.set_default(CKA_ENCRYPT, purposes.encrypt);
    attributes.set_default(CKA_WRAP, purposes.encrypt);
    if purposes.encapsulate {
        attributes.set_default(CKA_ENCAPSULATE, true);
    }
    attributes.set_default(CKA_DERIVE, false);
    attributes.set_default(CKA_TRUSTED, false);
    attributes.set_default(CKA_SUBJECT, Vec::new());
    key_defaults(attributes, false);
}

pub(super) fn private_defaults(attributes: &mut Attributes) {
    let purposes = purposes(attributes);
    attributes.set_default(CKA_SENSITIVE, true);
    attributes.set_default(CKA_EXTRACTABLE, false);
    attributes.set_default(CKA_SIGN, purposes.sign);
    attributes.set_default(CKA_SIGN_RECOVER, purposes.encrypt);
    attributes.set_default(CKA_DECRYPT, purposes.encrypt);
    attributes.set_default(CKA_UNWRAP, purposes.encrypt);
    if purposes.encapsulate {
        attributes.set_default(CKA_DECAPSULATE, true);
    }
    attributes.set_default(CKA_DERIVE, purposes.derive);
    attributes.set_default(CKA_ALWAYS_AUTHENTICATE, false);
    attributes.set_default(CKA_WRAP_WITH_TRUSTED, false);
    attributes.set_default(CKA_SUBJECT, Vec::new());
    key_defaults(attributes, true);
}

/// `closed`: not extractable and private unless the template says otherwise. Sensitive is by default
/// only what cannot leave anyhow: a secret key that is to be extractable is readable unless the
/// template says that it is sensitive (section 4.11 has CK_FALSE as the default).
pub(super) fn secret_defaults(attributes: &mut Attributes, closed: bool) {
    let extractable = attributes.is_true(CKA_EXTRACTABLE);
    attributes.set_default(CKA_SENSITIVE, closed && !extractable);
    attributes.set_default(CKA_EXTRACTABLE, !closed);
    for usage in [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP] {
        attributes.set_default(usage, true);
    }
    attributes.set_default(CKA_DERIVE, true);
    attributes.set_default(CKA_TRUSTED, false);
    attributes.set_default(CKA_WRAP_WITH_TRUSTED, false);
    key_defaults(attributes, closed);
}

fn key_defaults(attributes: &mut Attributes, private: bool) {
    for attribute in [CKA_ID, CKA_START_DATE, CKA_END_DATE] {
        attributes.set_default(attribute, Vec::new());
    }
    storage_defaults(attributes, private);
}

pub(super) fn storage_defaults(attributes: &mut Attributes, private: bool) {
    attributes.set_default(CKA_TOKEN, false);
    attributes.set_default(CKA_PRIVATE, private);
    attributes.set_default(CKA_MODIFIABLE, true);
    attributes.set_default(CKA_COPYABLE, true);
    attributes.set_default(CKA_DESTROYABLE, true);
    attributes.set_default(CKA_LABEL, Vec::new());
}
