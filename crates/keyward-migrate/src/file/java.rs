//! Java's serialised objects, as far as JCEKS files hold them: byte arrays,
//! strings, enums, and objects of these. Nothing is made of what is read but a
//! table of fields.
//!
//! Java Object Serialization Specification, version 6.0, section 6.4.

use std::collections::BTreeMap;
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What a stream holds.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Bytes(Rc<Zeroizing<Vec<u8>>>),
    Text(Rc<str>),
    Object(Rc<Object>),
    /// Something that nobody asks for.
    Other,
    /// A class, seen where an object may be.
    Class(Option<Rc<Class>>),
}

/// An object's fields, those of its superclasses too.
pub(crate) struct Object {
    pub class: String,
    fields: BTreeMap<String, Value>,
}

pub(crate) struct Class {
    name: String,
    flags: u8,
    fields: Vec<(u8, String)>,
    parent: Option<Rc<Class>>,
}

impl Object {
    /// A field that is an array of bytes.
    pub(crate) fn bytes(&self, name: &str) -> Result<&[u8]> {
        match self.fields.get(name) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(lacks(name)),
        }
    }

    /// A field that is a string.
    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        match self.fields.get(name) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(lacks(name)),
        }
    }
}

/// Reads one object with the stream's header, and how many bytes that took.
///
/// # Errors
/// If it ends too early or holds what a key does not.
pub(crate) fn object(bytes: &[u8]) -> Result<(Rc<Object>, usize)> {
    let mut stream = Stream { bytes, at: 0, handles: Vec::new() };
    if stream.take(4)? != HEADER {
        return Err(damaged());
    }
    match stream.content(0)? {
        Value::Object(object) => Ok((object, stream.at)),
        _ => Err(damaged()),
    }
}

/// Java's modified UTF-8 (DataInput): NUL in two bytes, characters beyond the
/// BMP as two surrogates of three bytes each.
pub(crate) fn text(bytes: &[u8]) -> Result<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(first) = rest.next() {
        let mut more = || match rest.next() {
            Some(byte) if byte & 0xc0 == 0x80 => Ok(u16::from(byte & 0x3f)),
            _ => Err(damaged()),
        };
        units.push(match first {
            0..0x80 => u16::from(first),
            0xc0..0xe0 => u16::from(first & 0x1f) << 6 | more()?,
            0xe0..0xf0 => u16::from(first & 0x0f) << 12 | more()? << 6 | more()?,
            _ => return Err(damaged()),
        });
    }
    Ok(String::from_utf16_lossy(&units))
}

struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    handles: Vec<Value>,
}

impl<'a> Stream<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or_else(damaged)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(damaged)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, length: usize) -> Result<usize> {
        Ok(self.take(length)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
    }

    fn utf(&mut self) -> Result<String> {
        let length = self.number(2)?;
        text(self.take(length)?)
    }

    fn content(&mut self, depth: u32) -> Result<Value> {
        if depth > DEEPEST || self.handles.len() > MOST_HANDLES {
            return Err(damaged());
        }
        let kind = self.byte()?;
        match kind {
            NULL => Ok(Value::Null),
            REFERENCE => {
                let handle = self.number(4)?.checked_sub(FIRST_HANDLE).ok_or_else(damaged)?;
                self.handles.get(handle).cloned().ok_or_else(damaged)
            }
            CLASS_DESCRIPTION => self.class_description(depth),
            OBJECT => self.object(depth),
            STRING | LONG_STRING => {
                let length = self.number(if kind == STRING { 2 } else { 8 })?;
                let text = Value::Text(text(self.take(length)?)?.into());
                self.handles.push(text.clone());
                Ok(text)
            }
            ARRAY => self.array(depth),
            ENUM => {
                self.class(depth)?;
                self.handles.push(Value::Other);
                self.content(depth + 1)
            }
            BLOCK => {
                let length = self.number(1)?;
                self.take(length)?;
                Ok(Value::Other)
            }
            LONG_BLOCK => {
                let length = self.number(4)?;
                self.take(length)?;
                Ok(Value::Other)
            }
            _ => Err(damaged()),
        }
    }

    /// A class description, or null.
    fn class(&mut self, depth: u32) -> Result<Option<Rc<Class>>> {
        match self.content(depth + 1)? {
            Value::Null => Ok(None),
            Value::Class(class) => Ok(class),
            _ => Err(damaged()),
        }
    }

    fn class_description(&mut self, depth: u32) -> Result<Value> {
        let name = self.utf()?;
        self.take(8)?;
        let handle = self.handles.len();
        self.handles.push(Value::Class(None));
        let flags = self.byte()?;
        let count = self.number(2)?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let kind = self.byte()?;
            let name = self.utf()?;
            if matches!(kind, b'[' | b'L') {
                self.content(depth + 1)?;
            }
            fields.push((kind, name));
        }
        self.annotations(depth)?;
        let parent = self.class(depth)?;
        let class = Value::Class(Some(Rc::new(Class { name, flags, fields, parent })));
        self.handles[handle] = class.clone();
        Ok(class)
    }

    fn object(&mut self, depth: u32) -> Result<Value> {
        let class = self.class(depth)?.ok_or_else(damaged)?;
        let handle = self.handles.len();
        self.handles.push(Value::Other);
        let mut line = Vec::new();
        let mut next = Some(&class);
        while let Some(class) = next {
            line.push(Rc::clone(class));
            next = class.parent.as_ref();
        }
        let mut fields = BTreeMap::new();
        // The superclass comes first.
        for class in line.iter().rev() {
            if class.flags & SERIALIZABLE == 0 {
                return Err(damaged());
            }
            for (kind, name) in &class.fields {
                let value = match kind {
                    b'B' | b'Z' => self.take(1).map(|_| Value::Other)?,
                    b'C' | b'S' => self.take(2).map(|_| Value::Other)?,
                    b'F' | b'I' => self.take(4).map(|_| Value::Other)?,
                    b'D' | b'J' => self.take(8).map(|_| Value::Other)?,
                    b'[' | b'L' => self.content(depth + 1)?,
                    _ => return Err(damaged()),
                };
                fields.insert(name.clone(), value);
            }
            if class.flags & WRITE_METHOD != 0 {
                self.annotations(depth)?;
            }
        }
        let object = Value::Object(Rc::new(Object { class: class.name.clone(), fields }));
        self.handles[handle] = object.clone();
        Ok(object)
    }

    fn array(&mut self, depth: u32) -> Result<Value> {
        let class = self.class(depth)?.ok_or_else(damaged)?;
        let handle = self.handles.len();
        self.handles.push(Value::Other);
        let length = self.number(4)?;
        if class.name != "[B" {
            return Err(damaged());
        }
        let bytes = Value::Bytes(Rc::new(Zeroizing::new(self.take(length)?.to_vec())));
        self.handles[handle] = bytes.clone();
        Ok(bytes)
    }

    fn annotations(&mut self, depth: u32) -> Result<()> {
        while self.bytes.get(self.at) != Some(&END_OF_BLOCK) {
            self.content(depth + 1)?;
        }
        self.at += 1;
        Ok(())
    }
}

fn lacks(name: &str) -> Error {
    Error::new(format!("the serialised key has no field {name}"))
}

fn damaged() -> Error {
    Error::new("a serialised object in it is damaged or no key")
}

const HEADER: [u8; 4] = [0xac, 0xed, 0, 5];
const FIRST_HANDLE: usize = 0x7e_0000;

const NULL: u8 = 0x70;
const REFERENCE: u8 = 0x71;
const CLASS_DESCRIPTION: u8 = 0x72;
const OBJECT: u8 = 0x73;
const STRING: u8 = 0x74;
const ARRAY: u8 = 0x75;
const BLOCK: u8 = 0x77;
const END_OF_BLOCK: u8 = 0x78;
const LONG_BLOCK: u8 = 0x7a;
const LONG_STRING: u8 = 0x7c;
const ENUM: u8 = 0x7e;

const WRITE_METHOD: u8 = 1;
const SERIALIZABLE: u8 = 2;

/// More than any key takes.
const DEEPEST: u32 = 16;
const MOST_HANDLES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_s_strings_are_read() {
        for (bytes, string) in [
            (&b"node"[..], "node"),
            (&[0xc0, 0x80], "\0"),
            (&[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], "\u{1f600}"),
            (&[0xc3, 0xa4], "ä"),
        ] {
            assert_eq!(text(bytes).unwrap(), string);
        }
        assert!(text(&[0xc3]).is_err());
        assert!(text(&[0xf0, 0x9f, 0x98, 0x80]).is_err());
    }

    #[test]
    fn streams_that_refer_to_nothing_or_never_end_are_refused() {
        for wrong in [
            &[0xac, 0xed, 0, 5, REFERENCE, 0, 0x7e, 0, 9][..],
            &[0xac, 0xed, 0, 5, OBJECT],
            &[0xac, 0xed, 0, 5, ARRAY, CLASS_DESCRIPTION],
            &[0xac, 0xed],
        ] {
            assert!(object(wrong).is_err());
        }
        let deep = [&HEADER[..], &[OBJECT; 100_000]].concat();
        assert!(object(&deep).is_err());
    }
}
