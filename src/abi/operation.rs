//! How an operation with a key begins, whichever kind it is (section 5.1.6).

use cryptoki_sys::*;
use keyward_token::mechanism::Parameter;

use super::arguments::{Room, bad, goes_on};
use super::parameter;
use crate::error::Result;
use crate::library::Library;
use crate::object::Known;
use crate::session::{Operations, Session};

/// Where a session keeps the operation of one kind.
pub(super) type Place<T> = fn(&mut Operations) -> &mut Option<T>;

/// Ends an operation whose mechanism is null when it is begun.
///
/// # Errors
/// CKR_ARGUMENTS_BAD if there is none to end: then the pointer was forgotten.
pub(super) fn cancel<T>(operation: &mut Option<T>) -> Result<()> {
    operation.take().map(drop).ok_or_else(|| bad("pMechanism, with no operation to end,"))
}

/// Begins an operation, or cancels it when the mechanism is null.
///
/// # Errors
/// What [`cancel`] says, CKR_OPERATION_ACTIVE if one of this kind is under way, CKR_KEY_HANDLE_INVALID
/// and CKR_USER_NOT_LOGGED_IN for the key, what the token's policy says of the
/// mechanism and the key's `usage`, and what `make` says.
///
/// # Safety
/// As [`parameter::read`].
pub(super) unsafe fn begin<T>(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
    usage: CK_ATTRIBUTE_TYPE,
    place: Place<T>,
    make: impl FnOnce(Known, CK_MECHANISM_TYPE, &Parameter) -> Result<T>,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the caller's promise.
    let Some((mechanism, parameter)) = (unsafe { parameter::read(mechanism) })? else {
        return cancel(place(&mut session.operations()));
    };
    if place(&mut session.operations()).is_some() {
        return Err(CKR_OPERATION_ACTIVE.into());
    }
    let known = session.slot.key(&library.remote, key)?;
    session.slot.policy(&library.remote).permit(mechanism, usage, &known.object)?;
    let operation = make(known, mechanism, &parameter)?;
    *place(&mut session.operations()) = Some(operation);
    Ok(())
}

/// Takes the operation out of the session; it has ended unless it is put back.
///
/// # Errors
/// CKR_OPERATION_NOT_INITIALIZED if there is none.
pub(super) fn take<T>(session: &Session, place: Place<T>) -> Result<T> {
    let taken = place(&mut session.operations()).take();
    taken.ok_or_else(|| CKR_OPERATION_NOT_INITIALIZED.into())
}

/// Takes the operation out of the session if there is room for its result;
/// `None` if the host asked for the length.
///
/// # Errors
/// CKR_OPERATION_NOT_INITIALIZED if there is none, and what `room` says.
pub(super) fn take_for<T>(
    session: &Session,
    place: Place<T>,
    room: impl FnOnce(&T) -> Result<Room>,
) -> Result<Option<T>> {
    let mut operations = session.operations();
    let operation = place(&mut operations).take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    let room = room(&operation);
    if goes_on(&room) {
        *place(&mut operations) = Some(operation);
        return room.map(|_| None);
    }
    room.map(|_| Some(operation))
}
