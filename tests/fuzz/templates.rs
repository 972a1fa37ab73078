//! Templates: such as make sense, with something wrong here and there.

use std::ptr::null_mut;

use cryptoki_sys::*;
use keyward_token::attribute::{Kind, kind};

use crate::common::raw::{P256, P384, P521};
use crate::draw::Draw;

type Entry = (CK_ATTRIBUTE_TYPE, Vec<u8>);

impl Draw<'_> {
    /// The template of an argument of a function, and its length.
    pub fn template(&mut self, function: &str, argument: &str) -> (CK_ATTRIBUTE_PTR, CK_ULONG) {
        if self.rng.once_in(40) {
            return (null_mut(), self.rng.pick(&[0, 1, 1024, 1025, CK_UNAVAILABLE_INFORMATION]));
        }
        let mut entries = Vec::new();
        if function == "C_GetAttributeValue" {
            for _ in 0..self.rng.below(6) {
                entries.push(self.asked());
            }
        } else {
            let mut values = self.sensible(function, argument);
            for _ in 0..self.rng.below(3) {
                let attribute = self.attribute();
                values.push((attribute, Vec::new()));
            }
            for (attribute, value) in values {
                entries.push(self.entry(attribute, &value, true));
            }
            if self.rng.once_in(10) && !entries.is_empty() {
                let again = self.rng.pick(&entries);
                entries.push(again);
            }
        }
        (self.array(&entries), entries.len() as CK_ULONG)
    }

    pub fn array(&mut self, entries: &[CK_ATTRIBUTE]) -> CK_ATTRIBUTE_PTR {
        let start = self.room(size_of_val(entries)).cast::<CK_ATTRIBUTE>();
        for (index, entry) in entries.iter().enumerate() {
            // SAFETY: there is room for so many.
            unsafe { start.add(index).write_unaligned(*entry) };
        }
        start
    }

    /// An entry that is given; a random value for an empty one.
    fn entry(
        &mut self,
        attribute: CK_ATTRIBUTE_TYPE,
        value: &[u8],
        may_nest: bool,
    ) -> CK_ATTRIBUTE {
        let entry = |pointer: *mut u8, length| CK_ATTRIBUTE {
            type_: attribute,
            pValue: pointer.cast(),
            ulValueLen: length,
        };
        match self.rng.below(60) {
            0 => return entry(null_mut(), 0),
            1 => return entry(null_mut(), 1 + self.rng.number() / 2),
            2 => return entry(null_mut(), CK_UNAVAILABLE_INFORMATION),
            3 => {
                let pointer = self.room(8);
                return entry(pointer, CK_UNAVAILABLE_INFORMATION);
            }
            _ => {}
        }
        if kind(attribute) == Kind::Template {
            let count = if may_nest { self.rng.below(4) } else { 1 };
            let inner: Vec<_> = (0..count)
                .map(|_| {
                    let attribute = self.attribute();
                    // One level more than is taken.
                    let deeper = may_nest && self.rng.once_in(4);
                    if kind(attribute) == Kind::Template && !deeper {
                        return self.entry(CKA_LABEL, &[], false);
                    }
                    self.entry(attribute, &[], false)
                })
                .collect();
            let whole = size_of_val(inner.as_slice());
            let cut = if self.rng.once_in(10) { self.rng.below(whole + 1) } else { whole };
            let pointer = self.array(&inner).cast();
            return entry(pointer, cut as CK_ULONG);
        }
        let mut bytes = value.to_vec();
        if bytes.is_empty() {
            bytes = match kind(attribute) {
                Kind::Boolean => vec![self.rng.pick(&[CK_FALSE, CK_TRUE])],
                Kind::Number => self.rng.number().to_ne_bytes().to_vec(),
                Kind::Numbers => {
                    let count = self.rng.below(4);
                    (0..count).flat_map(|_| self.rng.number().to_ne_bytes()).collect()
                }
                _ => {
                    let length = self.rng.below(80);
                    self.rng.bytes(length)
                }
            };
        }
        if self.rng.once_in(15) {
            self.rng.mutate(&mut bytes);
        }
        if self.rng.once_in(2000) {
            bytes = vec![1; self.rng.pick(&[70_000, (1 << 19) + 1])];
        }
        let pointer = self.block(&bytes);
        entry(pointer, bytes.len() as CK_ULONG)
    }

    /// An entry of C_GetAttributeValue.
    fn asked(&mut self) -> CK_ATTRIBUTE {
        let attribute = self.attribute();
        let (pointer, length) = if self.rng.below(3) == 0 {
            (null_mut(), self.rng.number())
        } else if kind(attribute) == Kind::Template {
            let count = self.rng.below(4);
            let inner: Vec<_> = (0..count)
                .map(|_| {
                    let length = self.rng.below(20);
                    let absent = self.rng.once_in(3);
                    let place = if absent { null_mut() } else { self.room(length) };
                    CK_ATTRIBUTE { type_: 0, pValue: place.cast(), ulValueLen: length as CK_ULONG }
                })
                .collect();
            (self.array(&inner).cast(), size_of_val(inner.as_slice()) as CK_ULONG)
        } else {
            let length = self.rng.pick(&[0, 1, 4, 8, 16, 65, 256, 2000]);
            (self.room(length), length as CK_ULONG)
        };
        CK_ATTRIBUTE { type_: attribute, pValue: pointer.cast(), ulValueLen: length }
    }

    fn attribute(&mut self) -> CK_ATTRIBUTE_TYPE {
        match self.rng.below(30) {
            0 => self.rng.number(),
            _ => self.rng.pick(ATTRIBUTES),
        }
    }

    fn sensible(&mut self, function: &str, argument: &str) -> Vec<Entry> {
        let flag = |attribute, value: bool| (attribute, vec![CK_BBOOL::from(value)]);
        let number = |attribute, value: CK_ULONG| (attribute, value.to_ne_bytes().to_vec());
        let token = flag(CKA_TOKEN, self.rng.once_in(30));
        let mut entries = vec![token];
        match (function, argument) {
            ("C_GenerateKeyPair", "pPublicKeyTemplate") => {
                let curve = self.rng.pick(&[P256, P384, P521, ED25519, X25519]);
                entries.push((CKA_EC_PARAMS, curve.to_vec()));
                let bits = self.rng.pick(&[2048, 2048, 1024, 0, 1, 2049, CK_ULONG::MAX]);
                entries.push(number(CKA_MODULUS_BITS, bits));
                entries.push(number(CKA_PARAMETER_SET, self.rng.below(5) as CK_ULONG));
                entries.remove(1 + self.rng.below(3));
                entries.remove(1 + self.rng.below(2));
            }
            ("C_GenerateKeyPair", _) => {
                entries.push(flag(CKA_SENSITIVE, self.rng.below(2) == 0));
                entries.push(flag(CKA_EXTRACTABLE, self.rng.below(2) == 0));
                entries.push(flag(CKA_DERIVE, true));
            }
            ("C_GenerateKey" | "C_DeriveKey" | "C_UnwrapKey" | "C_UnwrapKeyAuthenticated", _)
            | ("C_EncapsulateKey" | "C_DecapsulateKey", _) => {
                let kind = self.rng.pick(&[CKK_AES, CKK_GENERIC_SECRET, CKK_DES3, CKK_HKDF]);
                entries.push(number(CKA_CLASS, self.rng.pick(&[CKO_SECRET_KEY, CKO_PRIVATE_KEY])));
                entries.push(number(CKA_KEY_TYPE, kind));
                entries.push(number(CKA_VALUE_LEN, self.rng.pick(&[16, 24, 32, 20, 64])));
                entries.push(flag(CKA_EXTRACTABLE, true));
                entries.push(flag(CKA_ENCRYPT, true));
            }
            ("C_CreateObject", _) => entries.extend(self.object_to_create()),
            ("C_FindObjectsInit", _) if self.rng.below(2) == 0 => entries.clear(),
            ("C_FindObjectsInit", _) => {
                entries.push(number(CKA_CLASS, self.rng.below(5) as CK_ULONG));
            }
            _ => entries.clear(),
        }
        entries
    }

    fn object_to_create(&mut self) -> Vec<Entry> {
        let number = |attribute, value: CK_ULONG| (attribute, value.to_ne_bytes().to_vec());
        match self.rng.below(5) {
            0 => vec![number(CKA_CLASS, CKO_DATA), (CKA_VALUE, self.rng.bytes(20))],
            1 => vec![
                number(CKA_CLASS, CKO_SECRET_KEY),
                number(CKA_KEY_TYPE, CKK_AES),
                (CKA_VALUE, self.rng.bytes(16)),
            ],
            2 => {
                let mut point = vec![4, 65, 4];
                point.extend(self.rng.bytes(64));
                vec![
                    number(CKA_CLASS, CKO_PUBLIC_KEY),
                    number(CKA_KEY_TYPE, CKK_EC),
                    (CKA_EC_PARAMS, P256.to_vec()),
                    (CKA_EC_POINT, point),
                ]
            }
            3 => {
                let mut modulus = self.rng.bytes(256);
                modulus[0] |= 0x80;
                vec![
                    number(CKA_CLASS, self.rng.pick(&[CKO_PUBLIC_KEY, CKO_PRIVATE_KEY])),
                    number(CKA_KEY_TYPE, CKK_RSA),
                    (CKA_MODULUS, modulus),
                    (CKA_PUBLIC_EXPONENT, vec![1, 0, 1]),
                    (CKA_PRIVATE_EXPONENT, self.rng.bytes(256)),
                ]
            }
            _ => vec![
                number(CKA_CLASS, self.rng.below(10) as CK_ULONG),
                number(CKA_KEY_TYPE, self.rng.number()),
                (CKA_VALUE, self.rng.bytes(32)),
                (CKA_SUBJECT, self.rng.bytes(10)),
            ],
        }
    }
}

/// DER of the identifiers of the curves of RFC 8410.
pub const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

const ATTRIBUTES: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_CLASS,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_LABEL,
    CKA_UNIQUE_ID,
    CKA_APPLICATION,
    CKA_VALUE,
    CKA_OBJECT_ID,
    CKA_CERTIFICATE_TYPE,
    CKA_ISSUER,
    CKA_SERIAL_NUMBER,
    CKA_TRUSTED,
    CKA_CERTIFICATE_CATEGORY,
    CKA_CHECK_VALUE,
    CKA_KEY_TYPE,
    CKA_SUBJECT,
    CKA_ID,
    CKA_SENSITIVE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_SIGN,
    CKA_SIGN_RECOVER,
    CKA_VERIFY,
    CKA_VERIFY_RECOVER,
    CKA_DERIVE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_MODULUS,
    CKA_MODULUS_BITS,
    CKA_PUBLIC_EXPONENT,
    CKA_PRIVATE_EXPONENT,
    CKA_PRIME_1,
    CKA_PRIME_2,
    CKA_EXPONENT_1,
    CKA_EXPONENT_2,
    CKA_COEFFICIENT,
    CKA_PUBLIC_KEY_INFO,
    CKA_PRIME,
    CKA_SUBPRIME,
    CKA_BASE,
    CKA_VALUE_BITS,
    CKA_VALUE_LEN,
    CKA_EXTRACTABLE,
    CKA_LOCAL,
    CKA_NEVER_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE,
    CKA_KEY_GEN_MECHANISM,
    CKA_MODIFIABLE,
    CKA_COPYABLE,
    CKA_DESTROYABLE,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_ALWAYS_AUTHENTICATE,
    CKA_WRAP_WITH_TRUSTED,
    CKA_WRAP_TEMPLATE,
    CKA_UNWRAP_TEMPLATE,
    CKA_DERIVE_TEMPLATE,
    CKA_ALLOWED_MECHANISMS,
    CKA_PARAMETER_SET,
    CKA_SEED,
];
