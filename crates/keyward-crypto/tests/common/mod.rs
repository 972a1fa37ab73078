//! Reading vectors.

#![allow(dead_code)]

use std::path::Path;

/// The bytes that a hexadecimal string stands for.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The bytes as a hexadecimal string.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A case of a Wycheproof file, see vectors/wycheproof/condense.py.
pub struct Case {
    /// The file and tcId, for messages.
    pub name: String,
    /// `valid`, `invalid` or `acceptable`.
    pub result: String,
    fields: Vec<(String, String)>,
}

impl Case {
    /// The bytes of a field.
    pub fn bytes(&self, field: &str) -> Vec<u8> {
        unhex(self.text(field))
    }

    /// The bytes of a field that not every file has.
    pub fn optional(&self, field: &str) -> Vec<u8> {
        let found = self.fields.iter().find(|(name, _)| name == field);
        found.map_or(Vec::new(), |(_, value)| unhex(value))
    }

    /// A number.
    pub fn number(&self, field: &str) -> usize {
        self.text(field).parse().unwrap()
    }

    /// Whether the case has to succeed.
    pub fn is_valid(&self) -> bool {
        self.result == "valid"
    }

    /// A field that is no byte string.
    pub fn text(&self, field: &str) -> &str {
        let found = self.fields.iter().find(|(name, _)| name == field);
        &found.unwrap_or_else(|| panic!("{}: no {field}", self.name)).1
    }
}

/// The cases of a file, of which there are at least two kinds or it is no test.
pub fn wycheproof(file: &str) -> Vec<Case> {
    // The tests of the module read them too.
    let path = [".", "crates/keyward-crypto"]
        .iter()
        .map(|package| Path::new(env!("CARGO_MANIFEST_DIR")).join(package))
        .map(|package| package.join("tests/vectors/wycheproof").join(file).with_extension("txt"))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{file} is not there"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let cases: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut parts = line.split(' ');
            let id = parts.next().unwrap();
            Case {
                name: format!("{file} {id}"),
                result: parts.next().unwrap().to_owned(),
                fields: parts
                    .map(|part| part.split_once('=').unwrap())
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            }
        })
        .collect();
    assert!(cases.iter().any(Case::is_valid), "{file}");
    cases
}
