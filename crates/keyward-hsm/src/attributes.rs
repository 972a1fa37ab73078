//! Attributes between `cryptoki`'s types and ours.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_token::{Attributes, Value};
use zeroize::Zeroize;

/// A template for `cryptoki`, wiped when it goes.
pub struct Template(Vec<Attribute>);

impl Template {
    /// For `cryptoki`.
    #[must_use]
    pub fn as_slice(&self) -> &[Attribute] {
        &self.0
    }
}

impl From<&Attributes> for Template {
    /// `cryptoki` types its attributes by what they mean; raw bytes under the
    /// attribute's own number are the same to the token.
    fn from(attributes: &Attributes) -> Self {
        let raw = |(attribute, value): (u64, &Value)| {
            let bytes = match value {
                Value::Boolean(value) => vec![u8::from(*value)],
                Value::Number(value) => value.to_ne_bytes().to_vec(),
                Value::Bytes(value) => value.clone(),
                Value::Numbers(values) => {
                    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
                }
                Value::Template(_) => return None,
            };
            Some(Attribute::VendorDefined((AttributeType::VendorDefined(attribute), bytes)))
        };
        Self(attributes.iter().filter_map(raw).collect())
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            if let Attribute::VendorDefined((_, bytes)) = attribute {
                bytes.zeroize();
            }
        }
    }
}

/// Reads those of the attributes that the object has and shows.
///
/// # Errors
/// What the token says, other than that it has or shows one not.
pub fn read(
    session: &Session,
    object: ObjectHandle,
    wanted: &[u64],
) -> cryptoki::error::Result<Attributes> {
    let types: Vec<AttributeType> =
        wanted.iter().filter_map(|attribute| AttributeType::try_from(*attribute).ok()).collect();
    let found = match session.get_attributes(object, &types) {
        Ok(found) => found,
        Err(error @ cryptoki::error::Error::Pkcs11(..)) => return Err(error),
        // One that cannot be read would hide the others.
        Err(_) => types
            .iter()
            .filter_map(|attribute| session.get_attributes(object, &[*attribute]).ok())
            .flatten()
            .collect(),
    };
    let mut attributes = Attributes::new();
    for (attribute, value) in found.into_iter().filter_map(value) {
        attributes.set(attribute, value);
    }
    Ok(attributes)
}

/// Whether the object has an attribute that cannot be read here, such as a
/// template.
pub fn has(session: &Session, object: ObjectHandle, attribute: u64) -> bool {
    use cryptoki::object::AttributeInfo;

    let wanted = [AttributeType::VendorDefined(attribute)];
    match session.get_attribute_info(object, &wanted).as_deref() {
        Ok([AttributeInfo::Available(length)]) => *length > 0,
        _ => false,
    }
}

macro_rules! values {
    ($($attribute:ident $variant:ident $shape:ident,)*) => {
        fn value(attribute: Attribute) -> Option<(u64, Value)> {
            Some(match attribute {
                $(Attribute::$variant(value) => ($attribute, values!($shape value)),)*
                Attribute::AllowedMechanisms(values) => {
                    let values = values.into_iter().map(CK_MECHANISM_TYPE::from).collect();
                    (CKA_ALLOWED_MECHANISMS, Value::Numbers(values))
                }
                Attribute::StartDate(value) => (CKA_START_DATE, date(&value)),
                Attribute::EndDate(value) => (CKA_END_DATE, date(&value)),
                Attribute::VendorDefined((AttributeType::VendorDefined(attribute), value)) => {
                    (attribute, Value::Bytes(value))
                }
                _ => return None,
            })
        }
    };
    (bytes $value:ident) => { Value::Bytes($value) };
    (flag $value:ident) => { Value::Boolean($value) };
    (number $value:ident) => { Value::Number(CK_ULONG::from($value)) };
    (deref $value:ident) => { Value::Number(CK_ULONG::from(*$value)) };
}

values! {
    CKA_CLASS Class number,
    CKA_TOKEN Token flag,
    CKA_PRIVATE Private flag,
    CKA_LABEL Label bytes,
    CKA_UNIQUE_ID UniqueId bytes,
    CKA_APPLICATION Application bytes,
    CKA_VALUE Value bytes,
    CKA_OBJECT_ID ObjectId bytes,
    CKA_CERTIFICATE_TYPE CertificateType number,
    CKA_ISSUER Issuer bytes,
    CKA_SERIAL_NUMBER SerialNumber bytes,
    CKA_TRUSTED Trusted flag,
    CKA_URL Url bytes,
    CKA_HASH_OF_SUBJECT_PUBLIC_KEY HashOfSubjectPublicKey bytes,
    CKA_HASH_OF_ISSUER_PUBLIC_KEY HashOfIssuerPublicKey bytes,
    CKA_CHECK_VALUE CheckValue bytes,
    CKA_KEY_TYPE KeyType number,
    CKA_SUBJECT Subject bytes,
    CKA_ID Id bytes,
    CKA_SENSITIVE Sensitive flag,
    CKA_ENCRYPT Encrypt flag,
    CKA_DECRYPT Decrypt flag,
    CKA_WRAP Wrap flag,
    CKA_UNWRAP Unwrap flag,
    CKA_SIGN Sign flag,
    CKA_SIGN_RECOVER SignRecover flag,
    CKA_VERIFY Verify flag,
    CKA_VERIFY_RECOVER VerifyRecover flag,
    CKA_DERIVE Derive flag,
    CKA_MODULUS Modulus bytes,
    CKA_MODULUS_BITS ModulusBits number,
    CKA_PUBLIC_EXPONENT PublicExponent bytes,
    CKA_PRIVATE_EXPONENT PrivateExponent bytes,
    CKA_PRIME_1 Prime1 bytes,
    CKA_PRIME_2 Prime2 bytes,
    CKA_EXPONENT_1 Exponent1 bytes,
    CKA_EXPONENT_2 Exponent2 bytes,
    CKA_COEFFICIENT Coefficient bytes,
    CKA_PUBLIC_KEY_INFO PublicKeyInfo bytes,
    CKA_VALUE_LEN ValueLen number,
    CKA_EXTRACTABLE Extractable flag,
    CKA_LOCAL Local flag,
    CKA_NEVER_EXTRACTABLE NeverExtractable flag,
    CKA_ALWAYS_SENSITIVE AlwaysSensitive flag,
    CKA_KEY_GEN_MECHANISM KeyGenMechanism number,
    CKA_MODIFIABLE Modifiable flag,
    CKA_COPYABLE Copyable flag,
    CKA_DESTROYABLE Destroyable flag,
    CKA_EC_PARAMS EcParams bytes,
    CKA_EC_POINT EcPoint bytes,
    CKA_ALWAYS_AUTHENTICATE AlwaysAuthenticate flag,
    CKA_WRAP_WITH_TRUSTED WrapWithTrusted flag,
    CKA_PARAMETER_SET ParameterSet deref,
    CKA_SEED Seed bytes,
    CKA_PRIME Prime bytes,
    CKA_BASE Base bytes,
    CKA_ENCAPSULATE Encapsulate flag,
    CKA_DECAPSULATE Decapsulate flag,
}

/// CK_DATE's eight digits, or nothing.
fn date(date: &cryptoki::types::Date) -> Value {
    let raw: &CK_DATE = date;
    if date.is_empty() {
        return Value::Bytes(Vec::new());
    }
    Value::Bytes([&raw.year[..], &raw.month, &raw.day].concat())
}
