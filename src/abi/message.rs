//! Message-based functions (sections 5.9, 5.11, 5.14 and 5.16): a process is
//! begun with a key and a mechanism and ended by its ...Final; in between, each
//! message is an operation by itself, whose errors end it and not the process.
//!
//! Messages are signed and verified with every mechanism that signs. None
//! encrypts messages yet.

#![allow(clippy::too_many_arguments, reason = "the standard's prototypes")]

use cryptoki_sys::*;

use super::arguments::{bytes, give, goes_on, room};
use super::operation::{Place, begin, take};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::session::{Messages, Operations, Signature, Verification};

// ---- signing -------------------------------------------------------------

pub(super) unsafe fn sign_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| Messages::new(key, known, mechanism, parameter);
    // SAFETY: the host's promise, here and in all that follow.
    unsafe { begin(library, session, mechanism, key, CKA_SIGN, SIGNED, make) }
}

pub(super) unsafe fn sign(
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, SIGNED)?;
    without(parameter, parameter_length)?;
    let mut signature = messages.begin(library, &session)?;
    drop(operations);
    // SAFETY: as above.
    let room = unsafe { room(result, length, signature.length) };
    if room.is_err() || goes_on(&room) {
        return room.map(|_| ());
    }
    // SAFETY: as above.
    signature.update(unsafe { bytes(data, data_length) }?)?;
    let made = signature.finish(&session.slot, &library.remote)?;
    // SAFETY: as above.
    unsafe { give(&made, result, length) }?;
    Ok(())
}

pub(super) unsafe fn sign_begin(
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, SIGNED)?;
    without(parameter, parameter_length)?;
    messages.current = Some(messages.begin(library, &session)?);
    Ok(())
}

/// A part, or with a place for the signature's length the last part.
pub(super) unsafe fn sign_next(
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let mut signature = {
        let mut operations = session.operations();
        let messages = process(&mut operations, SIGNED)?;
        let mut signature = messages.current.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        without(parameter, parameter_length)?;
        if length.is_null() {
            // SAFETY: as above.
            signature.update(unsafe { bytes(part, part_length) }?)?;
            messages.current = Some(signature);
            return Ok(());
        }
        // SAFETY: as above.
        let room = unsafe { room(result, length, signature.length) };
        if goes_on(&room) {
            messages.current = Some(signature);
            return room.map(|_| ());
        }
        room?;
        signature
    };
    // SAFETY: as above.
    signature.update(unsafe { bytes(part, part_length) }?)?;
    let made = signature.finish(&session.slot, &library.remote)?;
    // SAFETY: as above.
    unsafe { give(&made, result, length) }?;
    Ok(())
}

pub(super) unsafe fn sign_final(library: &Library, session: CK_SESSION_HANDLE) -> Result<()> {
    take(&*library.session(session)?, SIGNED).map(|_| ())
}

// ---- verifying -----------------------------------------------------------

pub(super) unsafe fn verify_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| Messages::new(key, known, mechanism, parameter);
    // SAFETY: as above.
    unsafe { begin(library, session, mechanism, key, CKA_VERIFY, VERIFIED, make) }
}

pub(super) unsafe fn verify(
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, VERIFIED)?;
    without(parameter, parameter_length)?;
    let mut verification = messages.begin(library, &session)?;
    drop(operations);
    // SAFETY: as above.
    verification.update(unsafe { bytes(data, data_length) }?)?;
    // SAFETY: as above.
    let signature = unsafe { bytes(signature, length) }?;
    verification.finish(&session.slot, &library.remote, signature)
}

pub(super) unsafe fn verify_begin(
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, VERIFIED)?;
    without(parameter, parameter_length)?;
    messages.current = Some(messages.begin(library, &session)?);
    Ok(())
}

/// A part, or with the signature the last part.
pub(super) unsafe fn verify_next(
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: CK_VOID_PTR,
    parameter_length: CK_ULONG,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, VERIFIED)?;
    let mut verification = messages.current.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    without(parameter, parameter_length)?;
    // SAFETY: as above.
    verification.update(unsafe { bytes(part, part_length) }?)?;
    if signature.is_null() {
        messages.current = Some(verification);
        return Ok(());
    }
    drop(operations);
    // SAFETY: as above.
    let signature = unsafe { bytes(signature, length) }?;
    verification.finish(&session.slot, &library.remote, signature)
}

pub(super) unsafe fn verify_final(library: &Library, session: CK_SESSION_HANDLE) -> Result<()> {
    take(&*library.session(session)?, VERIFIED).map(|_| ())
}

pub(super) fn process<T>(operations: &mut Operations, place: Place<T>) -> Result<&mut T> {
    place(operations).as_mut().ok_or_else(|| CKR_OPERATION_NOT_INITIALIZED.into())
}

/// No mechanism that signs has a parameter for each message.
fn without(parameter: CK_VOID_PTR, length: CK_ULONG) -> Result<()> {
    if parameter.is_null() && length == 0 {
        return Ok(());
    }
    Err(Error::new(CKR_MECHANISM_PARAM_INVALID, "the mechanism takes no parameter for a message"))
}

const SIGNED: Place<Messages<Signature>> = |operations| &mut operations.signed_messages;
const VERIFIED: Place<Messages<Verification>> = |operations| &mut operations.verified_messages;
