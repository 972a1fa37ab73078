//! Reading BER, as far as keystores have it: tags of one byte, definite and
//! indefinite lengths. Writing DER.
//!
//! A PKCS#12 file may be BER (RFC 7292 section 4), and Bouncy Castle's are.

use std::borrow::Cow;

use crate::error::{Error, Result};

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub tag: u8,
    /// Without tag and length.
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Element<'a>> {
        let (element, rest) = split(self.0, 0).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(element)
    }

    /// The next element, which has this tag.
    pub(crate) fn element(&mut self, tag: u8) -> Result<Element<'a>> {
        self.optional(tag)?.ok_or_else(malformed)
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>> {
        match self.0.first() {
            Some(first) if *first == tag => self.any().map(Some),
            _ => Ok(None),
        }
    }

    /// What is in the next element, which is a SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Result<Self> {
        Ok(Self(self.element(SEQUENCE)?.content))
    }

    /// The next element, an INTEGER that is not negative, without leading zeros.
    pub(crate) fn integer(&mut self) -> Result<&'a [u8]> {
        let content = self.element(INTEGER)?.content;
        match content.first() {
            None => Err(malformed()),
            Some(first) if *first >= 0x80 => Err(malformed()),
            Some(_) => {
                let zeros = content.iter().take_while(|byte| **byte == 0).count();
                Ok(&content[zeros..])
            }
        }
    }

    /// The next element, a small INTEGER.
    pub(crate) fn number(&mut self) -> Result<u64> {
        let content = self.integer()?;
        if content.len() > 8 {
            return Err(malformed());
        }
        Ok(content.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The next element, an OCTET STRING in one piece or in several.
    pub(crate) fn octets(&mut self) -> Result<Cow<'a, [u8]>> {
        octets(self.any()?, OCTET_STRING)
    }

    /// The next element, an OBJECT IDENTIFIER, in its dotted notation.
    pub(crate) fn identifier(&mut self) -> Result<String> {
        dotted(self.element(OBJECT_IDENTIFIER)?.content).ok_or_else(malformed)
    }
}

/// The bytes of an OCTET STRING that stands under `tag`: its own, or an implicit
/// one.
pub(crate) fn octets(element: Element<'_>, tag: u8) -> Result<Cow<'_, [u8]>> {
    if element.tag == tag {
        return Ok(Cow::Borrowed(element.content));
    }
    if element.tag != tag | CONSTRUCTED {
        return Err(malformed());
    }
    let mut whole = Vec::new();
    let mut parts = Reader::new(element.content);
    while !parts.is_empty() {
        whole.extend_from_slice(parts.element(OCTET_STRING)?.content);
    }
    Ok(Cow::Owned(whole))
}

/// One element: tag, length, content.
pub(crate) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..0x80) => der.push(short),
        _ => {
            let bytes = content.len().to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            // A usize has at most 8 bytes.
            der.push(0x80 | (bytes.len() - zeros) as u8);
            der.extend_from_slice(&bytes[zeros..]);
        }
    }
    der.extend_from_slice(content);
    der
}

/// Whether the bytes are one element and nothing after it.
pub(crate) fn is_one_element(bytes: &[u8]) -> bool {
    split(bytes, 0).is_some_and(|(_, rest)| rest.is_empty())
}

fn split(bytes: &[u8], depth: u32) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag & 0x1f == 0x1f || depth > DEEPEST {
        return None;
    }
    if first == INDEFINITE {
        if tag & CONSTRUCTED == 0 {
            return None;
        }
        let mut left = rest;
        while !left.starts_with(&[0, 0]) {
            left = split(left, depth + 1)?.1;
        }
        let content = &rest[..rest.len() - left.len()];
        let after = &left[2..];
        let whole = &bytes[..bytes.len() - after.len()];
        return Some((Element { tag, content, whole }, after));
    }
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        _ => {
            let count = usize::from(first & 0x7f);
            let digits = rest.get(..count).filter(|_| count <= 4)?;
            let length = digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, &rest[count..])
        }
    };
    let content = rest.get(..length)?;
    let rest = &rest[length..];
    let whole = &bytes[..bytes.len() - rest.len()];
    Some((Element { tag, content, whole }, rest))
}

fn dotted(content: &[u8]) -> Option<String> {
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    for byte in content {
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        }
    }
    let (first, rest) = arcs.split_first()?;
    let root = (*first / 40).min(2);
    let mut text = format!("{root}.{}", first - root * 40);
    for arc in rest {
        text.push_str(&format!(".{arc}"));
    }
    Some(text)
}

fn malformed() -> Error {
    Error::new("its structure is damaged")
}

const CONSTRUCTED: u8 = 0x20;
const INDEFINITE: u8 = 0x80;

/// More levels than any keystore has, and fewer than a stack.
const DEEPEST: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indefinite_lengths_and_strings_in_pieces_are_read() {
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 1, 7, 4, 2, 8, 9, 0, 0, 2, 1, 5, 0, 0, 2, 1, 6];
        let mut reader = Reader::new(&ber);
        let mut inner = reader.sequence().unwrap();
        assert_eq!(*inner.octets().unwrap(), [7, 8, 9]);
        assert_eq!(inner.number().unwrap(), 5);
        assert!(inner.is_empty());
        assert_eq!(reader.number().unwrap(), 6);
    }

    #[test]
    fn what_ends_too_early_or_is_too_deep_is_refused() {
        for wrong in [&[][..], &[0x30], &[0x30, 5, 1], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x80]]
        {
            assert!(Reader::new(wrong).any().is_err(), "{wrong:?}");
        }
        assert!(Reader::new(&[0x30, 0x80].repeat(10_000)).any().is_err());
    }

    #[test]
    fn identifiers_are_dotted() {
        let mut reader = Reader::new(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]);
        assert_eq!(reader.identifier().unwrap(), "1.2.840.113549.1.1.11");
    }

    #[test]
    fn elements_are_written_as_they_are_read() {
        for length in [0, 0x7f, 0x80, 0x1234] {
            let der = write(OCTET_STRING, &vec![1; length]);
            assert!(is_one_element(&der));
            assert_eq!(Reader::new(&der).octets().unwrap().len(), length);
        }
    }
}
