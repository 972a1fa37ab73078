//! Asynchronous operations (section 5.22 of v3.2). There are none:
//! C_OpenSession refuses CKF_ASYNC_SESSION, and no function answers
//! CKR_PENDING, so there is never one to complete, to name or to join.

use cryptoki_sys::*;

use crate::error::Result;
use crate::library::Library;

pub(super) unsafe fn complete(
    library: &Library,
    session: CK_SESSION_HANDLE,
    _function: CK_UTF8CHAR_PTR,
    _result: CK_ASYNC_DATA_PTR,
) -> Result<()> {
    library.session(session)?;
    Err(CKR_OPERATION_NOT_INITIALIZED.into())
}

pub(super) unsafe fn id(
    library: &Library,
    session: CK_SESSION_HANDLE,
    _function: CK_UTF8CHAR_PTR,
    _id: CK_ULONG_PTR,
) -> Result<()> {
    library.session(session)?;
    Err(CKR_OPERATION_NOT_INITIALIZED.into())
}

pub(super) unsafe fn join(
    library: &Library,
    session: CK_SESSION_HANDLE,
    _function: CK_UTF8CHAR_PTR,
    _id: CK_ULONG,
    _data: CK_BYTE_PTR,
    _length: CK_ULONG,
) -> Result<()> {
    library.session(session)?;
    Err(CKR_SAVED_STATE_INVALID.into())
}
