//! The objects that a slot shows: handles, the token's catalogue, session
//! objects.

mod catalogue;
mod clock;
mod handles;
mod matches;
mod profiles;
mod session_objects;

use std::sync::Arc;

use keyward_token::Object;
use keyward_wire as wire;

pub(crate) use catalogue::{Catalogue, Extent};
pub(crate) use clock::{Clock, utc};
pub(crate) use handles::Handles;
pub(crate) use matches::Matches;
pub(crate) use profiles::Profiles;
pub(crate) use session_objects::SessionObjects;

/// An object as the module has it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) object: Arc<Object>,
    pub(crate) place: Place,
}

/// Where an object is, and so who works with it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In the service, under its CKA_UNIQUE_ID.
    Token(Arc<str>),
    /// In the module, as a blob that only the service can open.
    Sealed(Arc<[u8]>),
    /// In the module.
    Local,
}

impl Known {
    /// How a request names the object; `None` if the service does not know it.
    pub(crate) fn reference(&self) -> Option<wire::Key> {
        let key = match &self.place {
            Place::Token(unique_id) => wire::key::Key::UniqueId(unique_id.to_string()),
            Place::Sealed(blob) => wire::key::Key::Sealed(blob.to_vec()),
            Place::Local => return None,
        };
        Some(wire::Key { key: Some(key) })
    }

    /// How a request names the object whoever knows it: what is in the module
    /// alone goes along as it is, for it is not sensitive.
    pub(crate) fn operand(&self) -> wire::Key {
        self.reference().unwrap_or_else(|| {
            let attributes = self.object.attributes().into();
            let plain = wire::key::Key::Plain(wire::Attributes { attributes });
            wire::Key { key: Some(plain) }
        })
    }

    /// Whether the module has the key itself, with all that it needs to work.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.place, Place::Local)
    }
}

/// An object out of a response.
pub(crate) fn from_wire(object: wire::Object) -> wire::Result<Known> {
    let place = if !object.unique_id.is_empty() {
        Place::Token(object.unique_id.into())
    } else if !object.sealed.is_empty() {
        Place::Sealed(object.sealed.into())
    } else {
        Place::Local
    };
    let object = Object::from_attributes(object.attributes.try_into()?)?;
    Ok(Known { object: Arc::new(object), place })
}
