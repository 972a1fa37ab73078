//! Writing DER (X.690), as far as requests and certificates need it.

use x509_parser::asn1_rs::{Any, FromDer};

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const PRINTABLE_STRING: u8 = 0x13;
pub const IA5_STRING: u8 = 0x16;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// One element: tag, length, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        der.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let leading = bytes.iter().take_while(|byte| **byte == 0).count();
        let count = bytes.len() - leading;
        // A usize has at most 8 bytes.
        der.push(0x80 | count as u8);
        der.extend_from_slice(&bytes[leading..]);
    }
    der.extend_from_slice(content);
    der
}

/// What is in one element; `None` if that is not all, or more.
pub fn content(element: &[u8]) -> Option<&[u8]> {
    let (_, any) = Any::from_der(element).ok().filter(|(rest, _)| rest.is_empty())?;
    Some(any.data)
}

/// An element around other elements.
pub fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// An OBJECT IDENTIFIER in its dotted notation; `None` if it is none.
pub fn object_identifier(dotted: &str) -> Option<Vec<u8>> {
    let arcs: Vec<u64> = dotted.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [first @ 0..=2, second, rest @ ..] = arcs.as_slice() else {
        return None;
    };
    if *first < 2 && *second >= 40 {
        return None;
    }
    let mut content = Vec::new();
    base_128(second.checked_add(first * 40)?, &mut content);
    for arc in rest {
        base_128(*arc, &mut content);
    }
    Some(element(OBJECT_IDENTIFIER, &content))
}

fn base_128(value: u64, content: &mut Vec<u8>) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let seven = (value >> (7 * group)) as u8 & 0x7f;
        content.push(if group == 0 { seven } else { seven | 0x80 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(0x04, &[7; 3]), [0x04, 3, 7, 7, 7]);
        assert_eq!(element(0x04, &[0; 0x7f])[..2], [0x04, 0x7f]);
        assert_eq!(element(0x04, &[0; 0x80])[..3], [0x04, 0x81, 0x80]);
        assert_eq!(element(0x04, &[0; 0x1234])[..4], [0x04, 0x82, 0x12, 0x34]);
    }

    #[test]
    fn object_identifiers_are_written_and_nonsense_is_refused() {
        assert_eq!(object_identifier("2.5.4.3").unwrap(), [6, 3, 0x55, 4, 3]);
        assert_eq!(
            object_identifier("1.2.840.113549.1.1.11").unwrap(),
            [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]
        );
        for wrong in ["", "1", "3.1", "1.40", "a.b", "1..2"] {
            assert_eq!(object_identifier(wrong), None, "{wrong}");
        }
    }
}
