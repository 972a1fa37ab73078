//! Saving and restoring operations (sections 5.6.7 and 5.6.8).

use cryptoki_sys::*;

use super::arguments::{bad, bytes};
use crate::error::{Error, Result};
use crate::library::Library;

/// AWS-LC does not give the state of a digest away, and that of the others is
/// with their keys.
pub(super) unsafe fn get(
    library: &Library,
    session: CK_SESSION_HANDLE,
    _state: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if length.is_null() {
        return Err(bad("pulOperationStateLen"));
    }
    if session.operations().could_be_saved() {
        return Err(Error::new(CKR_STATE_UNSAVEABLE, "no operation's state can be saved"));
    }
    Err(CKR_OPERATION_NOT_INITIALIZED.into())
}

/// What is offered cannot have come from C_GetOperationState.
pub(super) unsafe fn set(
    library: &Library,
    session: CK_SESSION_HANDLE,
    state: CK_BYTE_PTR,
    length: CK_ULONG,
    _encryption_key: CK_OBJECT_HANDLE,
    _authentication_key: CK_OBJECT_HANDLE,
) -> Result<()> {
    library.session(session)?;
    // SAFETY: the host's promise.
    unsafe { bytes(state, length) }?;
    Err(CKR_SAVED_STATE_INVALID.into())
}
