//! Profile objects: what of the standard's profiles (PKCS #11 Profiles v3.0) the
//! module is. They are shown to those who ask for their class, and nobody else:
//! programs that list a token's objects expect what somebody has put there.

use std::sync::Arc;

use cryptoki_sys::*;
use keyward_token::{Attributes, Object};
use keyward_wire::Result;

use super::{Handles, Known, Place};

/// The profile objects of a slot.
#[derive(Debug, Default)]
pub(crate) struct Profiles(Vec<(CK_OBJECT_HANDLE, Known)>);

impl Profiles {
    pub(crate) fn new(handles: &Handles) -> Self {
        let profiles = [CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER].into_iter();
        let objects = profiles.filter_map(|profile| {
            let object = Arc::new(object(profile).ok()?);
            Some((handles.fresh(), Known { object, place: Place::Local }))
        });
        Self(objects.collect())
    }

    /// The handles of those that match.
    pub(crate) fn search(&self, template: &Attributes) -> Vec<CK_OBJECT_HANDLE> {
        let matching = self.0.iter().filter(|(_, known)| known.object.matches(template));
        matching.map(|(handle, _)| *handle).collect()
    }

    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Known> {
        self.0.iter().find(|(own, _)| *own == handle).map(|(_, known)| known)
    }
}

fn object(profile: CK_PROFILE_ID) -> Result<Object> {
    Object::from_attributes(Attributes::from_pairs([
        (CKA_CLASS, CKO_PROFILE.into()),
        (CKA_PROFILE_ID, profile.into()),
        (CKA_TOKEN, true.into()),
        (CKA_PRIVATE, false.into()),
        (CKA_MODIFIABLE, false.into()),
        (CKA_COPYABLE, false.into()),
        (CKA_DESTROYABLE, false.into()),
        (CKA_LABEL, Vec::new().into()),
        (CKA_UNIQUE_ID, format!("profile-{profile}").into_bytes().into()),
    ])?)
}
