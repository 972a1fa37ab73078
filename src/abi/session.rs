//! Session management functions (section 5.6).

use cryptoki_sys::*;
use keyward_wire::UserType;

use super::arguments::{bad, bytes, put};
use crate::error::{Error, Result};
use crate::library::Library;

pub(super) unsafe fn open(
    library: &Library,
    id: CK_SLOT_ID,
    flags: CK_FLAGS,
    _application: CK_VOID_PTR,
    _notify: CK_NOTIFY,
    handle: CK_SESSION_HANDLE_PTR,
) -> Result<()> {
    if flags & CKF_SERIAL_SESSION == 0 {
        return Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED.into());
    }
    if flags & CKF_ASYNC_SESSION != 0 {
        return Err(CKR_SESSION_ASYNC_NOT_SUPPORTED.into());
    }
    if handle.is_null() {
        return Err(bad("phSession"));
    }
    let slot = library.slot(id)?;
    let read_write = flags & CKF_RW_SESSION != 0;
    if read_write && !slot.config.writable {
        return Err(Error::new(
            CKR_TOKEN_WRITE_PROTECTED,
            "the slot is not `writable` in client.toml",
        ));
    }
    if !read_write && slot.login_state() == Some(UserType::SecurityOfficer) {
        return Err(CKR_SESSION_READ_WRITE_SO_EXISTS.into());
    }
    let opened = library.sessions.open(slot, read_write);
    // SAFETY: the host's promise.
    unsafe { put(handle, opened) }
}

pub(super) unsafe fn close(library: &Library, handle: CK_SESSION_HANDLE) -> Result<()> {
    library.sessions.close(handle)
}

pub(super) unsafe fn close_all(library: &Library, id: CK_SLOT_ID) -> Result<()> {
    library.sessions.close_all(&*library.slot(id)?);
    Ok(())
}

pub(super) unsafe fn info(
    library: &Library,
    handle: CK_SESSION_HANDLE,
    info: CK_SESSION_INFO_PTR,
) -> Result<()> {
    let session = library.session(handle)?;
    let read_write = if session.read_write { CKF_RW_SESSION } else { 0 };
    let value = CK_SESSION_INFO {
        slotID: session.slot.id,
        state: session.state(),
        flags: CKF_SERIAL_SESSION | read_write,
        ulDeviceError: 0,
    };
    // SAFETY: the host's promise.
    unsafe { put(info, value) }
}

pub(super) unsafe fn login(
    library: &Library,
    handle: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(handle)?;
    let user = match user {
        CKU_USER => UserType::User,
        CKU_SO => UserType::SecurityOfficer,
        CKU_CONTEXT_SPECIFIC => UserType::ContextSpecific,
        _ => return Err(CKR_USER_TYPE_INVALID.into()),
    };
    if user == UserType::SecurityOfficer && session.slot.sessions().read_only > 0 {
        return Err(CKR_SESSION_READ_ONLY_EXISTS.into());
    }
    let pin = if pin.is_null() {
        None
    } else {
        // SAFETY: the host's promise.
        Some(unsafe { bytes(pin, pin_length) }?)
    };
    if user == UserType::ContextSpecific {
        return session.authenticate(&library.remote, pin);
    }
    session.slot.login(&library.remote, user, pin)
}

/// A token has one user, who is the identity in the client's certificate: there
/// is no name to choose.
pub(super) unsafe fn login_user(
    library: &Library,
    handle: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
    name: CK_UTF8CHAR_PTR,
    name_length: CK_ULONG,
) -> Result<()> {
    library.session(handle)?;
    // SAFETY: the host's promise.
    if !unsafe { bytes(name, name_length) }?.is_empty() {
        return Err(Error::new(
            CKR_ARGUMENTS_BAD,
            "a token has one user: call C_LoginUser without a name, or C_Login",
        ));
    }
    // SAFETY: the host's promise.
    unsafe { login(library, handle, user, pin, pin_length) }
}

/// C_SessionCancel: every operation can be cancelled, and by itself.
pub(super) unsafe fn cancel(
    library: &Library,
    handle: CK_SESSION_HANDLE,
    flags: CK_FLAGS,
) -> Result<()> {
    library.session(handle)?.operations().cancel(flags);
    Ok(())
}

/// The module and the service have passed no validation, so that no flag is set.
pub(super) unsafe fn validation_flags(
    library: &Library,
    handle: CK_SESSION_HANDLE,
    kind: CK_SESSION_VALIDATION_FLAGS_TYPE,
    flags: CK_FLAGS_PTR,
) -> Result<()> {
    library.session(handle)?;
    if kind != CKS_LAST_VALIDATION_OK {
        return Err(bad("type"));
    }
    // SAFETY: the host's promise.
    unsafe { put(flags, 0) }
}

pub(super) unsafe fn logout(library: &Library, handle: CK_SESSION_HANDLE) -> Result<()> {
    library.session(handle)?.slot.logout()
}

/// C_GetFunctionStatus and C_CancelFunction (section 5.21).
pub(super) unsafe fn not_parallel(library: &Library, handle: CK_SESSION_HANDLE) -> Result<()> {
    library.session(handle)?;
    Err(CKR_FUNCTION_NOT_PARALLEL.into())
}
