//! Message digesting (section 5.12). Nothing here goes to the service.

use cryptoki_sys::*;
use keyward_token::mechanism::Family;

use super::arguments::{bytes, give, room};
use super::operation::{Place, cancel, take, take_for};
use super::parameter;
use super::signature::whole;
use crate::error::{Error, Result};
use crate::library::Library;
use crate::session::Digest;

pub(super) unsafe fn init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the host's promise, here and in all that follow.
    let Some((number, _)) = (unsafe { parameter::read(mechanism) })? else {
        return cancel(&mut session.operations().digest);
    };
    let Family::Digest(hash) = session.slot.policy(&library.remote).find(number)?.mechanism.family
    else {
        return Err(CKR_MECHANISM_INVALID.into());
    };
    let mut operations = session.operations();
    if operations.digest.is_some() {
        return Err(CKR_OPERATION_ACTIVE.into());
    }
    operations.digest = Some(Digest::new(hash));
    Ok(())
}

pub(super) unsafe fn digest(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { end(library, session, Some((data, data_length)), result, length) }
}

pub(super) unsafe fn update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut digest = take(&session, DIGEST)?;
    // SAFETY: as above.
    digest.update(unsafe { bytes(part, part_length) }?);
    *DIGEST(&mut session.operations()) = Some(digest);
    Ok(())
}

/// The value of a secret key, where it may be read. A key that cannot be
/// digested leaves the digest as it was.
pub(super) unsafe fn key(
    library: &Library,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let session = library.session(session)?;
    if session.operations().digest.is_none() {
        return Err(CKR_OPERATION_NOT_INITIALIZED.into());
    }
    let known = session.slot.key(&library.remote, key)?;
    let readable = (known.object.class() == CKO_SECRET_KEY)
        .then(|| known.object.read(CKA_VALUE).ok())
        .flatten();
    let Some(keyward_token::Value::Bytes(value)) = readable else {
        return Err(Error::new(
            CKR_KEY_INDIGESTIBLE,
            "only the value of a secret key that may be read is digested",
        ));
    };
    let mut operations = session.operations();
    let digest = operations.digest.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    digest.update(value);
    Ok(())
}

pub(super) unsafe fn finish(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { end(library, session, None, result, length) }
}

/// The whole in one call if there is `data`, else the end of several.
unsafe fn end(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: Option<(CK_BYTE_PTR, CK_ULONG)>,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let enough = |digest: &Digest| {
        whole(digest.in_parts, data.is_some())?;
        // SAFETY: as above.
        unsafe { room(result, length, digest.length()) }
    };
    let Some(mut digest) = take_for(&session, DIGEST, enough)? else {
        return Ok(());
    };
    if let Some((data, data_length)) = data {
        // SAFETY: as above.
        digest.update(unsafe { bytes(data, data_length) }?);
    }
    // SAFETY: as above.
    unsafe { give(&digest.finish(), result, length) }?;
    Ok(())
}

pub(super) const DIGEST: Place<Digest> = |operations| &mut operations.digest;
