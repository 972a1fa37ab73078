//! Message digesting (section 5.12). Nothing here goes to the service.

use cryptoki_sys::*;
use keyward_crypto::digest::Digester;
use keyward_token::mechanism::{self, Family};

use super::arguments::{Room, bytes, give, room};
use super::parameter;
use crate::error::Result;
use crate::library::Library;
use crate::session::Session;

pub(super) unsafe fn init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the host's promise.
    let Some((number, _)) = (unsafe { parameter::read(mechanism) })? else {
        session.operations().digest = None;
        return Ok(());
    };
    let Family::Digest(hash) = mechanism::find(number)?.family else {
        return Err(CKR_MECHANISM_INVALID.into());
    };
    let mut operations = session.operations();
    if operations.digest.is_some() {
        return Err(CKR_OPERATION_ACTIVE.into());
    }
    operations.digest = Some(Digester::new(hash));
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
    let session = library.session(session)?;
    let mut digester = take(&session)?;
    // SAFETY: the host's promise.
    match unsafe { room(result, length, digester.hash().length()) } {
        Ok(Room::Enough) => {}
        other => {
            if !matches!(&other, Err(error) if error.rv != CKR_BUFFER_TOO_SMALL) {
                session.operations().digest = Some(digester);
            }
            return other.map(|_| ());
        }
    }
    // SAFETY: the host's promise.
    digester.update(unsafe { bytes(data, data_length) }?);
    // SAFETY: the host's promise.
    unsafe { give(&digester.finish(), result, length) }?;
    Ok(())
}

pub(super) unsafe fn update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    let mut digester = take(&session)?;
    // SAFETY: the host's promise.
    digester.update(unsafe { bytes(part, part_length) }?);
    session.operations().digest = Some(digester);
    Ok(())
}

pub(super) unsafe fn finish(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: no data, and the host's promise for the rest.
    unsafe { digest(library, session, std::ptr::null_mut(), 0, result, length) }
}

fn take(session: &Session) -> Result<Digester> {
    let taken = session.operations().digest.take();
    taken.ok_or_else(|| CKR_OPERATION_NOT_INITIALIZED.into())
}
