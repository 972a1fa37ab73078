//! How each object goes, or why it cannot: a file that people read, edit and
//! sign off. It holds no secret.

use std::collections::BTreeMap;
use std::path::Path;

use cryptoki_sys::*;
use keyward_token::{Attributes, Value};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::material::{fingerprint, hex, point_in_octet_string};
use crate::object::Object;
use crate::transport::Transport;

/// A whole migration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The version of this form.
    pub format: u32,
    /// RFC 3339, in UTC.
    pub made: String,
    /// Files and folders, or one token's URI.
    pub source: Vec<String>,
    /// The target's URI.
    pub target: String,
    /// Who says that it may be done.
    pub sign_off: SignOff,
    /// How wrapped keys travel, if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Each object of the source.
    #[serde(default, rename = "object")]
    pub steps: Vec<Step>,
}

/// Who says that a plan may be done. Empty until somebody does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// A name.
    pub by: String,
    /// Whatever there is to say.
    #[serde(default)]
    pub note: String,
}

/// What becomes of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which one, as the inventory calls it.
    pub reference: String,
    /// For people.
    pub what: String,
    /// File and entry, or token.
    pub from: String,
    /// How it goes.
    pub way: Way,
    /// Why so.
    pub reason: String,
    /// CKA_LABEL in the target: text, or 0x and hexadecimal digits.
    pub label: String,
    /// CKA_ID in the target, in hexadecimal.
    pub id: String,
    /// CKA_SENSITIVE in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
    /// CKA_EXTRACTABLE in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extractable: Option<bool>,
    /// Attributes that the target does not keep, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// What to do instead, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way_out: Vec<String>,
    /// SHA-256 of the public key, certificate or data, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// An attribute that does not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// As the standard calls it.
    pub attribute: String,
    /// Why, and what it will be.
    pub why: String,
}

/// How an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Read at the source and created in the target.
    Plain,
    /// Wrapped by the source and unwrapped by the target: never in the clear outside of both.
    Wrapped,
    /// It cannot go.
    NotAtAll,
    /// It could go, and stays: it is there already, or somebody decided so.
    Leave,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// If it is none, or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(format!("the plan {name} cannot be read: {error}")))?;
        let plan: Self = toml::from_str(&text).map_err(|error| {
            let text = error.to_string();
            let lines: Vec<_> = text.lines().filter(|line| !line.contains('|')).collect();
            Error::new(format!("the plan {name}: {}", lines.join(": ")))
        })?;
        if plan.format != FORMAT {
            return Err(Error::new(format!(
                "the plan {name} has the unknown format {}",
                plan.format
            )));
        }
        Ok(plan)
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never, in fact.
    pub fn text(&self) -> Result<String> {
        let body = toml::to_string_pretty(self)
            .map_err(|error| Error::new(format!("the plan cannot be written: {error}")))?;
        Ok(format!("{HEADER}{body}"))
    }

    /// SHA-256 over what it says, without comments.
    ///
    /// # Errors
    /// Never, in fact.
    pub fn digest(&self) -> Result<String> {
        let body = toml::to_string(self)
            .map_err(|error| Error::new(format!("the plan cannot be written: {error}")))?;
        Ok(fingerprint(body.as_bytes()))
    }

    /// How many steps go each way.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Way, usize> {
        let mut counts = BTreeMap::new();
        for step in &self.steps {
            *counts.entry(step.way).or_default() += 1;
        }
        counts
    }
}

impl Step {
    /// CKA_ID.
    ///
    /// # Errors
    /// If it is no hexadecimal text.
    pub fn id_bytes(&self) -> Result<Vec<u8>> {
        from_hex(&self.id).ok_or_else(|| {
            Error::new(format!("its id {:?} is not an even number of hexadecimal digits", self.id))
        })
    }

    /// CKA_LABEL.
    ///
    /// # Errors
    /// If it begins as hexadecimal digits do, and has others.
    pub fn label_bytes(&self) -> Result<Vec<u8>> {
        match self.label.strip_prefix("0x") {
            Some(digits) => from_hex(digits).ok_or_else(|| {
                Error::new(format!("its label {:?} is no hexadecimal text", self.label))
            }),
            None => Ok(self.label.clone().into_bytes()),
        }
    }

    /// The attributes that the object is to have in the target, without its
    /// value.
    ///
    /// # Errors
    /// As [`Self::id_bytes`].
    pub fn attributes(&self, object: &Object) -> Result<Attributes> {
        let mut attributes = object.attributes.clone();
        for given_by_the_token in NOT_SET {
            attributes.remove(*given_by_the_token);
        }
        for lost in &self.lost {
            let number = attributes
                .iter()
                .map(|(number, _)| number)
                .find(|number| keyward_token::attribute::name(*number) == lost.attribute);
            if let Some(number) = number {
                attributes.remove(number);
            }
        }
        if let Some(point) = point_in_octet_string(&attributes) {
            attributes.set(CKA_EC_POINT, point);
        }
        attributes.set(CKA_TOKEN, true);
        attributes.set(CKA_LABEL, self.label_bytes()?);
        if object.class() != CKO_DATA {
            attributes.set(CKA_ID, self.id_bytes()?);
        }
        if let Some(sensitive) = self.sensitive {
            attributes.set(CKA_SENSITIVE, sensitive);
        }
        if let Some(extractable) = self.extractable {
            attributes.set(CKA_EXTRACTABLE, extractable);
        }
        for optional in MAY_BE_EMPTY {
            let empty = match attributes.value(*optional) {
                Some(Value::Bytes(value)) => value.is_empty(),
                Some(Value::Numbers(values)) => values.is_empty(),
                _ => false,
            };
            if empty {
                attributes.remove(*optional);
            }
        }
        Ok(attributes)
    }
}

impl Way {
    /// As it stands in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Wrapped => "wrapped",
            Self::NotAtAll => "not-at-all",
            Self::Leave => "leave",
        }
    }
}

/// Whether two objects, of which one may be elsewhere, are one and the same.
#[must_use]
pub fn is_same(one: &Object, other: &Object) -> bool {
    let bytes = |attribute| {
        one.attributes.bytes(attribute).unwrap_or_default()
            == other.attributes.bytes(attribute).unwrap_or_default()
    };
    if one.class() != other.class() {
        return false;
    }
    match one.class() {
        CKO_CERTIFICATE => bytes(CKA_VALUE),
        CKO_DATA => bytes(CKA_VALUE) && bytes(CKA_LABEL) && bytes(CKA_APPLICATION),
        CKO_PRIVATE_KEY | CKO_PUBLIC_KEY => match (&one.info, &other.info) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        },
        // Nothing of a secret key can be compared but what it is called.
        CKO_SECRET_KEY => {
            bytes(CKA_LABEL)
                && bytes(CKA_ID)
                && one.kind() == other.kind()
                && !one.label().is_empty()
        }
        _ => false,
    }
}

/// [`Step::label`] of a label.
pub(crate) fn label_text(label: &[u8]) -> String {
    match std::str::from_utf8(label) {
        Ok(text) if !text.starts_with("0x") => text.to_owned(),
        _ => format!("0x{}", hex(label)),
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(&digits[start..start + 2], 16).ok())
        .collect()
}

/// What a token says of an object and nobody may set (PKCS#11 v3.1 tables 13, 23
/// and 27); what follows from the key itself.
const NOT_SET: &[u64] = &[
    CKA_LOCAL,
    CKA_KEY_GEN_MECHANISM,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_UNIQUE_ID,
    CKA_CHECK_VALUE,
    CKA_PUBLIC_KEY_INFO,
    CKA_MODULUS_BITS,
    CKA_TRUSTED,
];

const MAY_BE_EMPTY: &[u64] =
    &[CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE, CKA_URL, CKA_OBJECT_ID, CKA_ALLOWED_MECHANISMS];

/// [`Plan::format`].
pub(crate) const FORMAT: u32 = 1;

const HEADER: &str = "\
# What `keyward migrate run` will do. Read it, change it, and write your name under [sign_off].
#
# way      plain       read at the source, created in the target
#          wrapped     never in the clear outside of the two tokens
#          not-at-all  it cannot go; way_out says what to do instead
#          leave       it stays: it is in the target already, or you decide so
# label, id, sensitive and extractable are the object's in the target and may be changed.
# lost     attributes that the target does not keep

";
