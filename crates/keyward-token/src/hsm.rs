//! Keys that are in an HSM: the object is here, the key itself is found there.

use cryptoki_sys::CKA_VENDOR_DEFINED;
use keyward_wire as wire;
use prost::Message;

use crate::attribute::Attributes;
use crate::object::Object;

/// What finds the key in the HSM: an encoded template. Only the token sets and
/// sees it.
pub const CKA_KEYWARD_HSM_KEY: u64 = CKA_VENDOR_DEFINED + 0x4b57_0002;

/// The template that finds an object's key in the HSM; `None` if the key is not
/// in one.
#[must_use]
pub fn reference(object: &Object) -> Option<Attributes> {
    let encoded = object.attributes().bytes(CKA_KEYWARD_HSM_KEY)?;
    decode(encoded)
}

/// The same, out of its encoded form.
#[must_use]
pub fn decode(encoded: &[u8]) -> Option<Attributes> {
    let template = wire::Attributes::decode(encoded).ok()?;
    Attributes::try_from(template.attributes).ok()
}

/// The encoded form of a template that finds a key.
#[must_use]
pub fn encode(template: &Attributes) -> Vec<u8> {
    wire::Attributes { attributes: template.into() }.encode_to_vec()
}
