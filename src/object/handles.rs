//! Handles. They belong to an object for the life of the process: a token
//! object keeps its handle over refresh, logout and reconnect, and no handle is
//! used twice, so that a stale one never means another object.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki_sys::CK_OBJECT_HANDLE;

/// The handles of one slot's objects.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    of_unique_id: Mutex<HashMap<Arc<str>, CK_OBJECT_HANDLE>>,
}

impl Handles {
    /// A handle that no object had; for a session object.
    pub(crate) fn fresh(&self) -> CK_OBJECT_HANDLE {
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The handle of the token object with this CKA_UNIQUE_ID.
    pub(crate) fn of(&self, unique_id: &Arc<str>) -> CK_OBJECT_HANDLE {
        let mut known = self.of_unique_id.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(Arc::clone(unique_id)).or_insert_with(|| self.fresh())
    }

    /// The CKA_UNIQUE_ID of the token object that was given this handle.
    pub(crate) fn unique_id(&self, handle: CK_OBJECT_HANDLE) -> Option<Arc<str>> {
        let known = self.of_unique_id.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(_, own)| **own == handle).map(|(unique_id, _)| Arc::clone(unique_id))
    }
}

/// The last handle given in this process, by whichever slot.
static LAST: AtomicU64 = AtomicU64::new(0);
