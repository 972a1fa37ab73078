//! Signing and verifying (sections 5.13 and 5.15).
//!
//! Whatever goes wrong ends the operation, a short buffer excepted: a host puts
//! the session back into its pool, and would find it busy for ever.

use cryptoki_sys::*;

use super::arguments::{Room, bytes, give, room};
use super::operation::{Place, begin, take};
use crate::error::Result;
use crate::library::Library;
use crate::session::{Session, Signature, Verification};

pub(super) unsafe fn sign_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| Signature::new(key, known, mechanism, parameter);
    // SAFETY: the host's promise.
    unsafe { begin(library, session, mechanism, key, SIGNATURE, make) }
}

pub(super) unsafe fn sign(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the host's promise.
    let Some(mut signature) = (unsafe { take_signature(&session, result, length) })? else {
        return Ok(());
    };
    // SAFETY: the host's promise.
    signature.update(unsafe { bytes(data, data_length) }?)?;
    let made = signature.finish(&session.slot, &library.remote)?;
    // SAFETY: the host's promise.
    unsafe { give(&made, result, length) }?;
    Ok(())
}

pub(super) unsafe fn sign_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let mut signature = operations.signature.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    // SAFETY: the host's promise.
    signature.update(unsafe { bytes(part, part_length) }?)?;
    operations.signature = Some(signature);
    Ok(())
}

pub(super) unsafe fn sign_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: no data, and the host's promise for the rest.
    unsafe { sign(library, session, std::ptr::null_mut(), 0, result, length) }
}

/// Takes the operation out of the session if there is room for its result;
/// `None` if the host asked for the length.
unsafe fn take_signature(
    session: &Session,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<Option<Signature>> {
    let mut operations = session.operations();
    let signature = operations.signature.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    // SAFETY: the host's promise.
    match unsafe { room(result, length, signature.length) } {
        Ok(Room::Enough) => Ok(Some(signature)),
        Ok(Room::Asked) => {
            operations.signature = Some(signature);
            Ok(None)
        }
        Err(error) => {
            if error.rv == CKR_BUFFER_TOO_SMALL {
                operations.signature = Some(signature);
            }
            Err(error)
        }
    }
}

pub(super) unsafe fn verify_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| Verification::new(&known, mechanism, parameter);
    // SAFETY: the host's promise.
    unsafe { begin(library, session, mechanism, key, VERIFICATION, make) }
}

pub(super) unsafe fn verify(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut verification = take(&session, VERIFICATION)?;
    // SAFETY: the host's promise.
    verification.update(unsafe { bytes(data, data_length) }?)?;
    // SAFETY: the host's promise.
    verification.finish(unsafe { bytes(signature, length) }?)
}

pub(super) unsafe fn verify_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut verification = take(&session, VERIFICATION)?;
    // SAFETY: the host's promise.
    verification.update(unsafe { bytes(part, part_length) }?)?;
    session.operations().verification = Some(verification);
    Ok(())
}

pub(super) unsafe fn verify_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    signature: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    let verification = take(&*library.session(session)?, VERIFICATION)?;
    // SAFETY: the host's promise.
    verification.finish(unsafe { bytes(signature, length) }?)
}

const SIGNATURE: Place<Signature> = |operations| &mut operations.signature;
const VERIFICATION: Place<Verification> = |operations| &mut operations.verification;
