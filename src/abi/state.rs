//! Saving and restoring operations (sections 5.6.7 and 5.6.8).

use cryptoki_sys::*;

use super::arguments::{bad, bytes, give};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::session::Digest;

/// Of a digest alone: the state of the other operations is with their keys.
pub(super) unsafe fn get(
    library: &Library,
    session: CK_SESSION_HANDLE,
    state: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if length.is_null() {
        return Err(bad("pulOperationStateLen"));
    }
    let operations = session.operations();
    if operations.has_keys_at_work() {
        return Err(Error::new(
            CKR_STATE_UNSAVEABLE,
            "only the state of a digest can be saved, and if nothing else is under way",
        ));
    }
    let digest = operations.digest.as_ref().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    let saved = digest.state()?;
    // SAFETY: the host's promise.
    unsafe { give(&saved, state, length) }?;
    Ok(())
}

/// The session is in the middle of that digest then, and of nothing else.
pub(super) unsafe fn set(
    library: &Library,
    session: CK_SESSION_HANDLE,
    state: CK_BYTE_PTR,
    length: CK_ULONG,
    encryption_key: CK_OBJECT_HANDLE,
    authentication_key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let session = library.session(session)?;
    if state.is_null() {
        return Err(bad("pOperationState"));
    }
    // SAFETY: the host's promise.
    let digest = Digest::from_state(unsafe { bytes(state, length) }?)?;
    if encryption_key != CK_INVALID_HANDLE || authentication_key != CK_INVALID_HANDLE {
        return Err(Error::new(CKR_KEY_NOT_NEEDED, "a digest has no key"));
    }
    let mut operations = session.operations();
    operations.cancel(WITH_KEYS);
    operations.digest = Some(digest);
    Ok(())
}

const WITH_KEYS: CK_FLAGS = CKF_SIGN | CKF_VERIFY | CKF_ENCRYPT | CKF_DECRYPT;
