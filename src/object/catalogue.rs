//! What the service has shown of a token: an immutable snapshot. A refresh
//! replaces it.

use std::collections::{BTreeMap, HashMap};

use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_wire::Revision;

use crate::object::{Known, Matches};

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

    /// The handles of the objects that match, in their order.
    pub(crate) fn search(&self, template: &Attributes) -> Vec<CK_OBJECT_HANDLE> {
        let indexed = INDEXED
            .into_iter()
            .find_map(|attribute| Some((attribute, template.bytes(attribute)?.to_vec())));
        let mut found = Matches::new(template);
        let mut look_at = |handle: CK_OBJECT_HANDLE, known: &Known| {
            if known.object.matches(template) {
                found.add(handle, known);
            }
        };
        match indexed {
            Some(key) => {
                for handle in self.index.get(&key).into_iter().flatten() {
                    if let Some(known) = self.objects.get(handle) {
                        look_at(*handle, known);
                    }
                }
            }
            None => {
                for (handle, known) in &self.objects {
                    look_at(*handle, known);
                }
            }
        }
        found.handles()
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
