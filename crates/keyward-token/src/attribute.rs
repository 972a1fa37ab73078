//! Attributes and their values, free of any C representation.

use std::collections::BTreeMap;
use std::fmt;

use cryptoki_sys::*;
use keyward_wire as wire;
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroize;

/// What shape an attribute's value has (section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CK_BBOOL.
    Boolean,
    /// CK_ULONG, or a type made of one.
    Number,
    /// Bytes, text, a date or a big integer.
    Bytes,
    /// An array of attributes.
    Template,
    /// An array of mechanism types.
    Numbers,
}

/// An attribute's value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// CK_BBOOL.
    Boolean(bool),
    /// CK_ULONG, or a type made of one.
    Number(u64),
    /// Bytes, text, a date or a big integer (big-endian, unsigned).
    Bytes(Vec<u8>),
    /// An array of attributes, as CKA_WRAP_TEMPLATE.
    Template(Attributes),
    /// An array of mechanism types, as CKA_ALLOWED_MECHANISMS.
    Numbers(Vec<u64>),
}

/// CK_UNAVAILABLE_INFORMATION as it stands in a value.
pub const UNAVAILABLE: u64 = u64::MAX;

/// One line for each attribute that this crate knows.
macro_rules! attributes {
    ($($name:ident $kind:ident,)*) => {
        /// The shape of an attribute's value. One that is not known, a vendor's
        /// for instance, is kept as bytes.
        #[must_use]
        pub fn kind(attribute: u64) -> Kind {
            match attribute {
                $($name => Kind::$kind,)*
                _ => Kind::Bytes,
            }
        }

        /// The attribute's name in the standard, or its number.
        #[must_use]
        pub fn name(attribute: u64) -> String {
            match attribute {
                $($name => stringify!($name).to_owned(),)*
                other => format!("CKA {other:#x}"),
            }
        }

        /// Whether the standard knows the attribute or it is a vendor's.
        #[must_use]
        pub fn known(attribute: u64) -> bool {
            attribute >= CKA_VENDOR_DEFINED || matches!(attribute, $($name)|*)
        }
    };
}

attributes! {
    CKA_CLASS Number,
    CKA_TOKEN Boolean,
    CKA_PRIVATE Boolean,
    CKA_LABEL Bytes,
    CKA_UNIQUE_ID Bytes,
    CKA_APPLICATION Bytes,
    CKA_VALUE Bytes,
    CKA_OBJECT_ID Bytes,
    CKA_CERTIFICATE_TYPE Number,
    CKA_ISSUER Bytes,
    CKA_SERIAL_NUMBER Bytes,
    CKA_AC_ISSUER Bytes,
    CKA_OWNER Bytes,
    CKA_ATTR_TYPES Bytes,
    CKA_TRUSTED Boolean,
    CKA_CERTIFICATE_CATEGORY Number,
    CKA_JAVA_MIDP_SECURITY_DOMAIN Number,
    CKA_URL Bytes,
    CKA_HASH_OF_SUBJECT_PUBLIC_KEY Bytes,
    CKA_HASH_OF_ISSUER_PUBLIC_KEY Bytes,
    CKA_NAME_HASH_ALGORITHM Number,
    CKA_CHECK_VALUE Bytes,
    CKA_KEY_TYPE Number,
    CKA_SUBJECT Bytes,
    CKA_ID Bytes,
    CKA_SENSITIVE Boolean,
    CKA_ENCRYPT Boolean,
    CKA_DECRYPT Boolean,
    CKA_WRAP Boolean,
    CKA_UNWRAP Boolean,
    CKA_SIGN Boolean,
    CKA_SIGN_RECOVER Boolean,
    CKA_VERIFY Boolean,
    CKA_VERIFY_RECOVER Boolean,
    CKA_DERIVE Boolean,
    CKA_START_DATE Bytes,
    CKA_END_DATE Bytes,
    CKA_MODULUS Bytes,
    CKA_MODULUS_BITS Number,
    CKA_PUBLIC_EXPONENT Bytes,
    CKA_PRIVATE_EXPONENT Bytes,
    CKA_PRIME_1 Bytes,
    CKA_PRIME_2 Bytes,
    CKA_EXPONENT_1 Bytes,
    CKA_EXPONENT_2 Bytes,
    CKA_COEFFICIENT Bytes,
    CKA_PUBLIC_KEY_INFO Bytes,
    CKA_VALUE_BITS Number,
    CKA_VALUE_LEN Number,
    CKA_EXTRACTABLE Boolean,
    CKA_LOCAL Boolean,
    CKA_NEVER_EXTRACTABLE Boolean,
    CKA_ALWAYS_SENSITIVE Boolean,
    CKA_KEY_GEN_MECHANISM Number,
    CKA_MODIFIABLE Boolean,
    CKA_COPYABLE Boolean,
    CKA_DESTROYABLE Boolean,
    CKA_EC_PARAMS Bytes,
    CKA_EC_POINT Bytes,
    CKA_ALWAYS_AUTHENTICATE Boolean,
    CKA_WRAP_WITH_TRUSTED Boolean,
    CKA_WRAP_TEMPLATE Template,
    CKA_UNWRAP_TEMPLATE Template,
    CKA_ALLOWED_MECHANISMS Numbers,
    CKA_PARAMETER_SET Number,
    CKA_PROFILE_ID Number,
    CKA_HW_FEATURE_TYPE Number,
    CKA_SEED Bytes,
    CKA_PRIME Bytes,
    CKA_SUBPRIME Bytes,
    CKA_BASE Bytes,
    CKA_PRIME_BITS Number,
    CKA_SUBPRIME_BITS Number,
    CKA_ENCAPSULATE Boolean,
    CKA_DECAPSULATE Boolean,
    CKA_DERIVE_TEMPLATE Template,
    CKA_ENCAPSULATE_TEMPLATE Template,
    CKA_DECAPSULATE_TEMPLATE Template,
}

/// A set of attributes, each at most once: a template, or all that an object
/// has. Secret values are wiped when it is dropped and never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<u64, Value>);

impl Attributes {
    /// No attributes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A template out of its parts.
    ///
    /// # Errors
    /// CKR_TEMPLATE_INCONSISTENT if an attribute stands in it with two values
    /// (section 4.1.1 has the same one twice pass for once),
    /// CKR_ATTRIBUTE_VALUE_INVALID if a value has not the attribute's shape.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u64, Value)>) -> Result<Self> {
        let mut attributes = Self::new();
        for (attribute, value) in pairs {
            if value.kind() != kind(attribute) {
                return Err(value_invalid(attribute));
            }
            let first = attributes.0.get(&attribute);
            if first.is_some_and(|first| *first != value) {
                return Err(Error::new(
                    ErrorCode::TemplateInconsistent,
                    format!("{} stands in the template with two values", name(attribute)),
                ));
            }
            attributes.0.insert(attribute, value);
        }
        Ok(attributes)
    }

    /// The value of `attribute`, if it is there.
    #[must_use]
    pub fn value(&self, attribute: u64) -> Option<&Value> {
        self.0.get(&attribute)
    }

    /// Whether `attribute` is there.
    #[must_use]
    pub fn contains(&self, attribute: u64) -> bool {
        self.0.contains_key(&attribute)
    }

    /// A boolean; `None` if it is not there.
    #[must_use]
    pub fn boolean(&self, attribute: u64) -> Option<bool> {
        match self.value(attribute) {
            Some(Value::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// Whether a boolean is there and true.
    #[must_use]
    pub fn is_true(&self, attribute: u64) -> bool {
        self.boolean(attribute) == Some(true)
    }

    /// A number; `None` if it is not there.
    #[must_use]
    pub fn number(&self, attribute: u64) -> Option<u64> {
        match self.value(attribute) {
            Some(Value::Number(value)) => Some(*value),
            _ => None,
        }
    }

    /// Bytes; `None` if they are not there.
    #[must_use]
    pub fn bytes(&self, attribute: u64) -> Option<&[u8]> {
        match self.value(attribute) {
            Some(Value::Bytes(value)) => Some(value),
            _ => None,
        }
    }

    /// Sets a value.
    pub fn set(&mut self, attribute: u64, value: impl Into<Value>) {
        if let Some(old) = self.0.insert(attribute, value.into()) {
            wipe(attribute, old);
        }
    }

    /// Sets a value unless there is one.
    pub fn set_default(&mut self, attribute: u64, value: impl Into<Value>) {
        self.0.entry(attribute).or_insert_with(|| value.into());
    }

    /// Takes an attribute away.
    pub fn remove(&mut self, attribute: u64) {
        if let Some(old) = self.0.remove(&attribute) {
            wipe(attribute, old);
        }
    }

    /// The attributes in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Value)> {
        self.0.iter().map(|(attribute, value)| (*attribute, value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        for (attribute, value) in std::mem::take(&mut self.0) {
            wipe(attribute, value);
        }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(attribute, value)| (name(*attribute), value)))
            .finish()
    }
}

impl Value {
    /// The value's shape.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Bytes(_) => Kind::Bytes,
            Self::Template(_) => Kind::Template,
            Self::Numbers(_) => Kind::Numbers,
        }
    }

    /// The value's length, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Boolean(_) => 1,
            Self::Number(_) => 8,
            Self::Bytes(value) => value.len(),
            Self::Template(value) => value.iter().map(|(_, value)| value.size()).sum(),
            Self::Numbers(value) => 8 * value.len(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => write!(f, "{value:#x}"),
            Self::Bytes(value) => write!(f, "<{} bytes>", value.len()),
            Self::Template(value) => value.fmt(f),
            Self::Numbers(value) => value.fmt(f),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

/// Whether an attribute is a key's secret part (tables 29, 33, 66 and 77).
#[must_use]
pub fn is_secret(attribute: u64) -> bool {
    matches!(
        attribute,
        CKA_VALUE
            | CKA_SEED
            | CKA_PRIVATE_EXPONENT
            | CKA_PRIME_1
            | CKA_PRIME_2
            | CKA_EXPONENT_1
            | CKA_EXPONENT_2
            | CKA_COEFFICIENT
    )
}

/// The length of a number without leading zeros, in bits.
pub(crate) fn bits(number: &[u8]) -> u64 {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let number = &number[zeros..];
    number.first().map_or(0, |first| 8 * number.len() as u64 - u64::from(first.leading_zeros()))
}

/// CKR_ATTRIBUTE_VALUE_INVALID for `attribute`.
#[must_use]
pub fn value_invalid(attribute: u64) -> Error {
    Error::new(
        ErrorCode::AttributeValueInvalid,
        format!("the value of {} is not one that it can have", name(attribute)),
    )
}

fn wipe(attribute: u64, value: Value) {
    if let Value::Bytes(mut bytes) = value
        && is_secret(attribute)
    {
        bytes.zeroize();
    }
}

// ---- to and from the wire --------------------------------------------------

impl From<&Attributes> for Vec<wire::Attribute> {
    fn from(attributes: &Attributes) -> Self {
        attributes
            .iter()
            .map(|(attribute, value)| wire::Attribute {
                r#type: attribute,
                value: Some(match value {
                    Value::Boolean(value) => wire::attribute::Value::Boolean(*value),
                    Value::Number(value) => wire::attribute::Value::Number(*value),
                    Value::Bytes(value) => wire::attribute::Value::Bytes(value.clone()),
                    Value::Template(value) => wire::attribute::Value::Template(wire::Attributes {
                        attributes: value.into(),
                    }),
                    Value::Numbers(value) => {
                        wire::attribute::Value::Numbers(wire::Numbers { numbers: value.clone() })
                    }
                }),
            })
            .collect()
    }
}

impl TryFrom<Vec<wire::Attribute>> for Attributes {
    type Error = Error;

    fn try_from(attributes: Vec<wire::Attribute>) -> Result<Self> {
        let pairs: Result<Vec<_>> = attributes
            .into_iter()
            .map(|attribute| {
                let value = match attribute.value {
                    Some(wire::attribute::Value::Boolean(value)) => Value::Boolean(value),
                    Some(wire::attribute::Value::Number(value)) => Value::Number(value),
                    Some(wire::attribute::Value::Bytes(value)) => Value::Bytes(value),
                    Some(wire::attribute::Value::Template(value)) => {
                        Value::Template(flat(value.attributes)?)
                    }
                    Some(wire::attribute::Value::Numbers(value)) => Value::Numbers(value.numbers),
                    None => return Err(value_invalid(attribute.r#type)),
                };
                Ok((attribute.r#type, value))
            })
            .collect();
        Self::from_pairs(pairs?)
    }
}

/// A template inside a template: it holds no further one.
fn flat(attributes: Vec<wire::Attribute>) -> Result<Attributes> {
    if let Some(nested) = attributes
        .iter()
        .find(|attribute| matches!(attribute.value, Some(wire::attribute::Value::Template(_))))
    {
        return Err(value_invalid(nested.r#type));
    }
    attributes.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_that_stands_twice_has_one_value() {
        let twice = |second: bool| [(CKA_TOKEN, true.into()), (CKA_TOKEN, second.into())];
        assert!(Attributes::from_pairs(twice(true)).unwrap().is_true(CKA_TOKEN));
        assert_eq!(
            Attributes::from_pairs(twice(false)).unwrap_err().code,
            ErrorCode::TemplateInconsistent
        );
    }

    #[test]
    fn a_value_of_another_shape_is_refused() {
        let wrong = [(CKA_TOKEN, Value::Number(1))];
        assert_eq!(
            Attributes::from_pairs(wrong).unwrap_err().code,
            ErrorCode::AttributeValueInvalid
        );
    }

    #[test]
    fn attributes_survive_the_wire() {
        let inner = Attributes::from_pairs([(CKA_TOKEN, true.into())]).unwrap();
        let attributes = Attributes::from_pairs([
            (CKA_LABEL, Value::Bytes(b"a label".to_vec())),
            (CKA_KEY_TYPE, CKK_RSA.into()),
            (CKA_WRAP_TEMPLATE, Value::Template(inner)),
            (CKA_ALLOWED_MECHANISMS, Value::Numbers(vec![CKM_RSA_PKCS])),
            (CKA_VENDOR_DEFINED + 7, Value::Bytes(vec![1, 2])),
        ])
        .unwrap();
        let wire: Vec<wire::Attribute> = (&attributes).into();
        assert_eq!(Attributes::try_from(wire).unwrap(), attributes);
    }

    #[test]
    fn debug_shows_no_bytes() {
        let attributes =
            Attributes::from_pairs([(CKA_VALUE, Value::Bytes(b"secret".to_vec()))]).unwrap();
        assert_eq!(format!("{attributes:?}"), r#"{"CKA_VALUE": <6 bytes>}"#);
    }
}
