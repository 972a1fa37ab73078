//! What the service has shown of a token: an immutable snapshot. A refresh
//! replaces it.

use std::collections::{BTreeMap, HashMap};

use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_wire::Revision;

use crate::object::Known;

/// The attributes by which hosts look for objects.
const INDEXED: [u64; 3] = [CKA_ID, CKA_SUBJECT, CKA_LABEL];

/// Which of the token's objects a catalogue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All that this login may see.
    Complete,
    /// Those that were looked at so far: the token is too large.
    Partial,
}

/// The objects of a token, by handle.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) revision: Revision,
    pub(crate) extent: Extent,
    objects: BTreeMap<CK_OBJECT_HANDLE, Known>,
    /// (attribute, value) to handles, for the attributes in `INDEXED`.
    index: HashMap<(u64, Vec<u8>), Vec<CK_OBJECT_HANDLE>>,
}

impl Catalogue {
    pub(crate) fn new(
        revision: Revision,
        extent: Extent,
        objects: impl IntoIterator<Item = (CK_OBJECT_HANDLE, Known)>,
    ) -> Self {
        let objects: BTreeMap<_, _> = objects.into_iter().collect();
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for (handle, known) in &objects {
            for attribute in INDEXED {
                if let Some(value) = known.object.attributes().bytes(attribute) {
                    index.entry((attribute, value.to_vec())).or_default().push(*handle);
                }
            }
        }
        Self { revision, extent, objects, index }
    }

    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Known> {
        self.objects.get(&handle)
    }

    /// The objects that match, in the order of their handles.
    pub(crate) fn search(&self, template: &Attributes) -> Vec<(CK_OBJECT_HANDLE, &Known)> {
        let indexed = INDEXED
            .into_iter()
            .find_map(|attribute| Some((attribute, template.bytes(attribute)?.to_vec())));
        let matches = |known: &Known| known.object.matches(template);
        match indexed {
            Some(key) => self
                .index
                .get(&key)
                .into_iter()
                .flatten()
                .filter_map(|handle| Some((*handle, self.objects.get(handle)?)))
                .filter(|(_, known)| matches(known))
                .collect(),
            None => self
                .objects
                .iter()
                .filter(|(_, known)| matches(known))
                .map(|(handle, known)| (*handle, known))
                .collect(),
        }
    }

    /// The same with some objects added or replaced, others taken away.
    pub(crate) fn with(
        &self,
        added: impl IntoIterator<Item = (CK_OBJECT_HANDLE, Known)>,
        removed: Option<CK_OBJECT_HANDLE>,
    ) -> Self {
        let mut objects = self.objects.clone();
        objects.extend(added);
        if let Some(handle) = removed {
            objects.remove(&handle);
        }
        Self::new(self.revision, self.extent, objects)
    }
}
