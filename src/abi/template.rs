//! Templates: CK_ATTRIBUTE arrays to attributes and back.

use std::borrow::Cow;

use cryptoki_sys::*;
use keyward_token::Object;
use keyward_token::attribute::{self, Attributes, Kind, Value, value_invalid};

use super::arguments::{bad, bytes};
use crate::error::{Error, Result};

/// No template of sense is longer.
const LONGEST: CK_ULONG = 1024;

/// No value that an object of sense has is longer, in bytes.
const LONGEST_VALUE: CK_ULONG = 1 << 19;

const NUMBER: usize = size_of::<CK_ULONG>();

/// Reads a template.
///
/// # Errors
/// CKR_ARGUMENTS_BAD, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT.
///
/// # Safety
/// `template` is null or points to `count` attributes, each of whose pValue is
/// null or valid for reads of its length.
pub(super) unsafe fn read(template: CK_ATTRIBUTE_PTR, count: CK_ULONG) -> Result<Attributes> {
    // SAFETY: the caller's promise.
    let entries = unsafe { entries(template, count) }?;
    let mut pairs = Vec::with_capacity(entries.len());
    for entry in entries {
        // SAFETY: the caller's promise.
        pairs.push((entry.type_, unsafe { value(&entry, true) }?));
    }
    Ok(Attributes::from_pairs(pairs)?)
}

/// Answers C_GetAttributeValue: every entry is dealt with, and the first kind
/// of trouble in the order of section 5.7.5 is the result.
///
/// # Errors
/// CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL,
/// CKR_ARGUMENTS_BAD.
///
/// # Safety
/// `template` is null or points to `count` attributes, each of whose pValue is
/// null or valid for writes of its length.
pub(super) unsafe fn fill(
    object: &Object,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> Result<()> {
    let mut trouble: Option<Error> = None;
    // SAFETY: the caller's promise.
    let entries = unsafe { entries(template, count) }?;
    for (index, mut entry) in entries.into_iter().enumerate() {
        let result = object.read(entry.type_).map_err(Error::from).and_then(|value| {
            // SAFETY: the caller's promise.
            unsafe { write(value, &mut entry) }
        });
        if let Err(error) = result {
            entry.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            if trouble.as_ref().is_none_or(|first| rank(error.rv) < rank(first.rv)) {
                trouble = Some(error);
            }
        }
        // SAFETY: `entries` has read just this place.
        unsafe { template.add(index).write_unaligned(entry) };
    }
    trouble.map_or(Ok(()), Err)
}

fn rank(rv: CK_RV) -> u8 {
    match rv {
        CKR_ATTRIBUTE_SENSITIVE => 0,
        CKR_ATTRIBUTE_TYPE_INVALID => 1,
        CKR_BUFFER_TOO_SMALL => 2,
        _ => 3,
    }
}

unsafe fn entries(template: CK_ATTRIBUTE_PTR, count: CK_ULONG) -> Result<Vec<CK_ATTRIBUTE>> {
    if count > LONGEST || (template.is_null() && count > 0) {
        return Err(bad("the template"));
    }
    Ok((0..count as usize)
        // SAFETY: not null, and valid for `count` entries by the caller's promise.
        .map(|index| unsafe { template.add(index).read_unaligned() })
        .collect())
}

/// One value; a template may hold templates, but those no further ones.
unsafe fn value(entry: &CK_ATTRIBUTE, nested: bool) -> Result<Value> {
    let attribute = entry.type_;
    let invalid = || Error::from(value_invalid(attribute));
    if entry.ulValueLen > LONGEST_VALUE {
        return Err(invalid());
    }
    // SAFETY: the caller's promise.
    let raw = unsafe { bytes(entry.pValue.cast(), entry.ulValueLen) }?;
    Ok(match attribute::kind(attribute) {
        Kind::Boolean => match raw {
            [value] => Value::Boolean(*value != CK_FALSE),
            _ => return Err(invalid()),
        },
        Kind::Number => Value::Number(number(raw).ok_or_else(invalid)?),
        Kind::Bytes => Value::Bytes(raw.to_vec()),
        Kind::Numbers => {
            let (numbers, rest) = raw.as_chunks::<NUMBER>();
            if !rest.is_empty() {
                return Err(invalid());
            }
            Value::Numbers(numbers.iter().map(|raw| CK_ULONG::from_ne_bytes(*raw)).collect())
        }
        Kind::Template => {
            if !nested || !raw.len().is_multiple_of(size_of::<CK_ATTRIBUTE>()) {
                return Err(invalid());
            }
            let count = raw.len() / size_of::<CK_ATTRIBUTE>();
            // SAFETY: the value is an array of attributes, by the host's word.
            let entries = unsafe { entries(entry.pValue.cast(), count as CK_ULONG) }?;
            let mut pairs = Vec::with_capacity(entries.len());
            for entry in entries {
                // SAFETY: as above.
                pairs.push((entry.type_, unsafe { value(&entry, false) }?));
            }
            Value::Template(Attributes::from_pairs(pairs)?)
        }
    })
}

fn number(raw: &[u8]) -> Option<CK_ULONG> {
    raw.try_into().ok().map(CK_ULONG::from_ne_bytes)
}

/// Writes one value into an entry's buffer, or its length if there is none.
unsafe fn write(value: &Value, entry: &mut CK_ATTRIBUTE) -> Result<()> {
    let raw = match value {
        Value::Template(attributes) => {
            // SAFETY: the caller's promise.
            return unsafe { write_template(attributes, entry) };
        }
        Value::Boolean(value) => Cow::Owned(vec![CK_BBOOL::from(*value)]),
        Value::Number(value) => Cow::Owned(value.to_ne_bytes().to_vec()),
        Value::Bytes(value) => Cow::Borrowed(value.as_slice()),
        Value::Numbers(numbers) => {
            Cow::Owned(numbers.iter().flat_map(|number| number.to_ne_bytes()).collect())
        }
    };
    // SAFETY: the caller's promise.
    unsafe { write_bytes(&raw, entry) }
}

unsafe fn write_bytes(value: &[u8], entry: &mut CK_ATTRIBUTE) -> Result<()> {
    let length = value.len() as CK_ULONG;
    if entry.pValue.is_null() {
        entry.ulValueLen = length;
        return Ok(());
    }
    if entry.ulValueLen < length {
        return Err(CKR_BUFFER_TOO_SMALL.into());
    }
    // SAFETY: the buffer is as long as ulValueLen says, by the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), entry.pValue.cast::<u8>(), value.len());
    }
    entry.ulValueLen = length;
    Ok(())
}

/// A template's value is an array of entries, each with a buffer of its own.
unsafe fn write_template(attributes: &Attributes, entry: &mut CK_ATTRIBUTE) -> Result<()> {
    let needed = attributes.iter().count() * size_of::<CK_ATTRIBUTE>();
    if entry.pValue.is_null() {
        entry.ulValueLen = needed as CK_ULONG;
        return Ok(());
    }
    if entry.ulValueLen < needed as CK_ULONG {
        return Err(CKR_BUFFER_TOO_SMALL.into());
    }
    let places = entry.pValue.cast::<CK_ATTRIBUTE>();
    for (index, (attribute, value)) in attributes.iter().enumerate() {
        // SAFETY: there is room for all entries; each is valid by the caller's
        // promise.
        unsafe {
            let mut inner = places.add(index).read_unaligned();
            inner.type_ = attribute;
            write(value, &mut inner)?;
            places.add(index).write_unaligned(inner);
        }
    }
    entry.ulValueLen = needed as CK_ULONG;
    Ok(())
}
