//! Session objects: they live in the module and go with their session.

use std::collections::BTreeMap;

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};
use keyward_token::Attributes;

use crate::object::Known;

/// The session objects of one slot.
#[derive(Debug, Default)]
pub(crate) struct SessionObjects(BTreeMap<CK_OBJECT_HANDLE, (CK_SESSION_HANDLE, Known)>);

impl SessionObjects {
    pub(crate) fn insert(
        &mut self,
        handle: CK_OBJECT_HANDLE,
        session: CK_SESSION_HANDLE,
        known: Known,
    ) {
        self.0.insert(handle, (session, known));
    }

    /// Puts another state in the place of an object that is there.
    pub(crate) fn replace(&mut self, handle: CK_OBJECT_HANDLE, known: Known) {
        if let Some(entry) = self.0.get_mut(&handle) {
            entry.1 = known;
        }
    }

    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Known> {
        self.0.get(&handle).map(|(_, known)| known)
    }

    pub(crate) fn remove(&mut self, handle: CK_OBJECT_HANDLE) {
        self.0.remove(&handle);
    }

    pub(crate) fn search(&self, template: &Attributes) -> Vec<(CK_OBJECT_HANDLE, &Known)> {
        self.0
            .iter()
            .filter(|(_, (_, known))| known.object.matches(template))
            .map(|(handle, (_, known))| (*handle, known))
            .collect()
    }

    /// A session was closed.
    pub(crate) fn close(&mut self, session: CK_SESSION_HANDLE) {
        self.0.retain(|_, (owner, _)| *owner != session);
    }

    /// The user logged out: private session objects go (section 5.6.9).
    pub(crate) fn logout(&mut self) {
        self.0.retain(|_, (_, known)| !known.object.is_private());
    }
}
