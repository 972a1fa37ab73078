//! What a search has found, and what it shows of that.

use cryptoki_sys::CK_OBJECT_HANDLE;
use keyward_token::{Attributes, Stage, stage};

use crate::object::Known;

/// The token objects that match a template.
///
/// A superseded key would be a second entry under one alias for a JVM that loads
/// its keystore anew, so it is not found. A JVM that loaded earlier may look it
/// up again by its CKA_ID, and finds it, unless a current key has that CKA_ID.
#[derive(Debug)]
pub(crate) struct Matches {
    current: Vec<CK_OBJECT_HANDLE>,
    superseded: Vec<CK_OBJECT_HANDLE>,
    /// Whether superseded objects are shown when there are no others.
    names_one: bool,
}

impl Matches {
    pub(crate) fn new(template: &Attributes) -> Self {
        let names_one = stage::names_one(template);
        Self { current: Vec::new(), superseded: Vec::new(), names_one }
    }

    /// Takes in an object that matches.
    pub(crate) fn add(&mut self, handle: CK_OBJECT_HANDLE, known: &Known) {
        match Stage::of(known.object.attributes()) {
            Stage::Current => self.current.push(handle),
            Stage::Superseded { .. } => self.superseded.push(handle),
            Stage::Pending { .. } => {}
        }
    }

    /// What the host is shown.
    pub(crate) fn handles(self) -> Vec<CK_OBJECT_HANDLE> {
        if self.current.is_empty() && self.names_one { self.superseded } else { self.current }
    }
}
