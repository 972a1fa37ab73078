//! Where an object stands while its key is replaced by another.
//!
//! A successor is made ready out of sight, takes the place of its predecessor
//! in one step, and the predecessor stays usable for those who hold it. The
//! standard has no word for that, so it is a vendor's attribute that only the
//! token sets; an object without it is current.

use cryptoki_sys::{CKA_ID, CKA_UNIQUE_ID, CKA_VENDOR_DEFINED};

use crate::attribute::Attributes;
use crate::object::Object;

/// Where an object stands, as text: "pending SINCE PREDECESSOR" or "superseded
/// SINCE". It is bytes, so that versions which do not know it read it too.
pub const CKA_KEYWARD_STAGE: u64 = CKA_VENDOR_DEFINED + 0x4b57_0001;

/// Where an object stands. Times are seconds since 1970-01-01 UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In use.
    Current,
    /// Made to take another's place.
    Pending {
        /// When it was made.
        since: u64,
        /// CKA_UNIQUE_ID of the private key whose place it is to take.
        predecessor: String,
    },
    /// Another has taken its place.
    Superseded {
        /// When that was.
        since: u64,
    },
}

impl Stage {
    /// Where an object with these attributes stands.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        attributes
            .bytes(CKA_KEYWARD_STAGE)
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(Self::parse)
            .unwrap_or(Self::Current)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (stage, since) = (words.next()?, words.next()?.parse().ok()?);
        match stage {
            "pending" => Some(Self::Pending { since, predecessor: words.next()?.to_owned() }),
            "superseded" => Some(Self::Superseded { since }),
            _ => None,
        }
    }

    /// Puts an object there.
    pub fn put(&self, object: &mut Object) {
        let attributes = object.attributes_mut();
        let text = match self {
            Self::Current => return attributes.remove(CKA_KEYWARD_STAGE),
            Self::Pending { since, predecessor } => format!("pending {since} {predecessor}"),
            Self::Superseded { since } => format!("superseded {since}"),
        };
        attributes.set(CKA_KEYWARD_STAGE, text.into_bytes());
    }
}

/// Whether a search by this template may find superseded objects if it finds no
/// others: it names one object or key pair, as those do who found it earlier.
#[must_use]
pub fn names_one(template: &Attributes) -> bool {
    [CKA_UNIQUE_ID, CKA_ID]
        .into_iter()
        .any(|attribute| template.bytes(attribute).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKA_CLASS, CKO_DATA};

    use super::*;

    fn object() -> Object {
        let attributes = Attributes::from_pairs([(CKA_CLASS, CKO_DATA.into())]).unwrap();
        Object::from_attributes(attributes).unwrap()
    }

    #[test]
    fn a_stage_is_read_as_it_was_put() {
        let mut object = object();
        for stage in [
            Stage::Pending { since: 7, predecessor: "0f".to_owned() },
            Stage::Superseded { since: 1_800_000_000 },
            Stage::Current,
        ] {
            stage.put(&mut object);
            assert_eq!(Stage::of(object.attributes()), stage);
        }
        assert!(!object.attributes().contains(CKA_KEYWARD_STAGE));
    }

    #[test]
    fn what_is_no_stage_is_current() {
        for text in ["", "superseded", "superseded x", "pending 7", "later 7 x", "\u{fffd}"] {
            let mut object = object();
            object.attributes_mut().set(CKA_KEYWARD_STAGE, text.as_bytes());
            assert_eq!(Stage::of(object.attributes()), Stage::Current, "{text}");
        }
    }
}
