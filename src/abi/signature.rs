//! Signing and verifying (sections 5.13 and 5.15).
//!
//! Whatever goes wrong ends the operation, a short buffer excepted: a host puts
//! the session back into its pool, and would find it busy for ever.

use cryptoki_sys::*;

use super::arguments::{bytes, give, room};
use super::operation::{Place, begin, take, take_for};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::session::{Presented, Signature, Verification};

pub(super) unsafe fn sign_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| {
        Signature::new(key, known, CKA_SIGN, mechanism, parameter)
    };
    // SAFETY: the host's promise, here and in all that follow.
    unsafe { begin(library, session, mechanism, key, CKA_SIGN, SIGNATURE, make) }
}

pub(super) unsafe fn sign(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(library, session, Some((data, data_length)), result, length) }
}

pub(super) unsafe fn sign_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut signature = take(&session, SIGNATURE)?;
    // SAFETY: as above.
    signature.update(unsafe { bytes(part, part_length) }?)?;
    signature.in_parts = true;
    *SIGNATURE(&mut session.operations()) = Some(signature);
    Ok(())
}

pub(super) unsafe fn sign_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(library, session, None, result, length) }
}

/// The whole in one call if there is `data`, else the end of several.
unsafe fn finish(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: Option<(CK_BYTE_PTR, CK_ULONG)>,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let enough = |signature: &Signature| {
        whole(signature.in_parts, data.is_some())?;
        // SAFETY: as above.
        unsafe { room(result, length, signature.length) }
    };
    let Some(mut signature) = take_for(&session, SIGNATURE, enough)? else {
        return Ok(());
    };
    if let Some((data, data_length)) = data {
        // SAFETY: as above.
        signature.update(unsafe { bytes(data, data_length) }?)?;
    }
    let made = signature.finish(&session.slot, &library.remote)?;
    // SAFETY: as above.
    unsafe { give(&made, result, length) }?;
    Ok(())
}

pub(super) unsafe fn verify_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make =
        |known, mechanism, parameter: &_| Verification::new(key, &known, mechanism, parameter);
    // SAFETY: as above.
    unsafe { begin(library, session, mechanism, key, CKA_VERIFY, VERIFICATION, make) }
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
    whole(verification.in_parts, true)?;
    // SAFETY: as above.
    verification.update(unsafe { bytes(data, data_length) }?)?;
    // SAFETY: as above.
    let signature = unsafe { bytes(signature, length) }?;
    verification.finish(&session.slot, &library.remote, signature)
}

pub(super) unsafe fn verify_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut verification = take(&session, VERIFICATION)?;
    // SAFETY: as above.
    verification.update(unsafe { bytes(part, part_length) }?)?;
    verification.in_parts = true;
    *VERIFICATION(&mut session.operations()) = Some(verification);
    Ok(())
}

pub(super) unsafe fn verify_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    signature: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let verification = take(&session, VERIFICATION)?;
    // SAFETY: as above.
    let signature = unsafe { bytes(signature, length) }?;
    verification.finish(&session.slot, &library.remote, signature)
}

// ---- the signature first (v3.2) ----------------------------------------------

pub(super) unsafe fn verify_signature_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
    signature: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| {
        // SAFETY: as above.
        let signature = unsafe { bytes(signature, length) }?.to_vec();
        let verification = Verification::new(key, &known, mechanism, parameter)?;
        if signature.len() != verification.length() {
            return Err(CKR_SIGNATURE_LEN_RANGE.into());
        }
        Ok(Presented { verification, signature })
    };
    // SAFETY: as above.
    unsafe { begin(library, session, mechanism, key, CKA_VERIFY, PRESENTED, make) }
}

pub(super) unsafe fn verify_signature(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut presented = take(&session, PRESENTED)?;
    whole(presented.verification.in_parts, true)?;
    // SAFETY: as above.
    presented.verification.update(unsafe { bytes(data, data_length) }?)?;
    presented.verification.finish(&session.slot, &library.remote, &presented.signature)
}

pub(super) unsafe fn verify_signature_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut presented = take(&session, PRESENTED)?;
    // SAFETY: as above.
    presented.verification.update(unsafe { bytes(part, part_length) }?)?;
    presented.verification.in_parts = true;
    *PRESENTED(&mut session.operations()) = Some(presented);
    Ok(())
}

pub(super) unsafe fn verify_signature_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
) -> Result<()> {
    let session = library.session(session)?;
    let presented = take(&session, PRESENTED)?;
    presented.verification.finish(&session.slot, &library.remote, &presented.signature)
}

/// An operation whose data came in parts is not ended by a call for the whole
/// (C_Sign, C_Verify): there is no such operation under way.
///
/// # Errors
/// CKR_OPERATION_NOT_INITIALIZED.
pub(super) fn whole(in_parts: bool, in_one: bool) -> Result<()> {
    if in_parts && in_one {
        return Err(Error::new(
            CKR_OPERATION_NOT_INITIALIZED,
            "the data came in parts: the operation ends with the ...Final function",
        ));
    }
    Ok(())
}

pub(super) const SIGNATURE: Place<Signature> = |operations| &mut operations.signature;
pub(super) const VERIFICATION: Place<Verification> = |operations| &mut operations.verification;
const PRESENTED: Place<Presented> = |operations| &mut operations.presented;
