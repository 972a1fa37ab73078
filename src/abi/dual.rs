//! Dual-function operations (section 5.17): two operations of a session go on
//! in one call. What the second gets is what the first took or gave, and only
//! if the first has given its output.

use cryptoki_sys::*;

use super::arguments::bytes;
use super::digest::DIGEST;
use super::encryption::update;
use super::operation::Place;
use super::signature::{SIGNATURE, VERIFICATION};
use crate::error::Result;
use crate::library::Library;
use crate::session::{Session, Way};

pub(super) unsafe fn digest_encrypt(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    active(&session, DIGEST)?;
    let part = (part, part_length);
    // SAFETY: the host's promise, here and in all that follow.
    if unsafe { update(Way::Encrypt, library, &session, part, result, length) }?.is_some() {
        // SAFETY: as above.
        let part = unsafe { bytes(part.0, part.1) }?;
        feed(&session, DIGEST, |digester| {
            digester.update(part);
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) unsafe fn decrypt_digest(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    active(&session, DIGEST)?;
    // SAFETY: as above.
    let plain =
        unsafe { update(Way::Decrypt, library, &session, (part, part_length), result, length) }?;
    if let Some(plain) = plain {
        feed(&session, DIGEST, |digester| {
            digester.update(&plain);
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) unsafe fn sign_encrypt(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    active(&session, SIGNATURE)?;
    let part = (part, part_length);
    // SAFETY: as above.
    if unsafe { update(Way::Encrypt, library, &session, part, result, length) }?.is_some() {
        // SAFETY: as above.
        let part = unsafe { bytes(part.0, part.1) }?;
        feed(&session, SIGNATURE, |signature| {
            signature.in_parts = true;
            signature.update(part)
        })?;
    }
    Ok(())
}

pub(super) unsafe fn decrypt_verify(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    active(&session, VERIFICATION)?;
    // SAFETY: as above.
    let plain =
        unsafe { update(Way::Decrypt, library, &session, (part, part_length), result, length) }?;
    if let Some(plain) = plain {
        feed(&session, VERIFICATION, |verification| {
            verification.in_parts = true;
            verification.update(&plain)
        })?;
    }
    Ok(())
}

/// Both operations must be active; if the second is not, the first goes on as if
/// nothing had been called.
fn active<T>(session: &Session, place: Place<T>) -> Result<()> {
    let mut operations = session.operations();
    match place(&mut operations) {
        Some(_) => Ok(()),
        None => Err(CKR_OPERATION_NOT_INITIALIZED.into()),
    }
}

/// Gives the second operation its part; an error ends it.
fn feed<T>(
    session: &Session,
    place: Place<T>,
    update: impl FnOnce(&mut T) -> Result<()>,
) -> Result<()> {
    let mut operations = session.operations();
    let operation = place(&mut operations);
    let mut taken = operation.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    update(&mut taken)?;
    *operation = Some(taken);
    Ok(())
}
