//! Signing and verifying with recovery (sections 5.13.5, 5.13.6, 5.15.5 and
//! 5.15.6).

use cryptoki_sys::*;

use super::arguments::{bytes, give, goes_on, room};
use super::operation::{Place, begin, take, take_for};
use crate::error::Result;
use crate::library::Library;
use crate::session::{Recovery, Signature};

pub(super) unsafe fn sign_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| {
        Signature::new(key, known, CKA_SIGN_RECOVER, mechanism, parameter)
    };
    // SAFETY: the host's promise, here and below.
    unsafe { begin(library, session, mechanism, key, CKA_SIGN_RECOVER, SIGNATURE, make) }
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
    let enough = |signature: &Signature| {
        // SAFETY: as above.
        unsafe { room(result, length, signature.length) }
    };
    let Some(mut signature) = take_for(&session, SIGNATURE, enough)? else {
        return Ok(());
    };
    // SAFETY: as above.
    signature.update(unsafe { bytes(data, data_length) }?)?;
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
    let make = |known, mechanism, parameter: &_| Recovery::new(&known, mechanism, parameter);
    // SAFETY: as above.
    unsafe { begin(library, session, mechanism, key, CKA_VERIFY_RECOVER, RECOVERY, make) }
}

/// A bad signature is told before a short buffer is.
pub(super) unsafe fn verify(
    library: &Library,
    session: CK_SESSION_HANDLE,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG,
    data: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let recovery = take(&session, RECOVERY)?;
    // SAFETY: as above.
    let recovered = recovery.recover(unsafe { bytes(signature, signature_length) }?)?;
    // SAFETY: as above.
    let room = unsafe { give(&recovered, data, length) };
    if goes_on(&room) {
        *RECOVERY(&mut session.operations()) = Some(recovery);
    }
    room.map(|_| ())
}

const SIGNATURE: Place<Signature> = |operations| &mut operations.recoverable;
const RECOVERY: Place<Recovery> = |operations| &mut operations.recovery;
