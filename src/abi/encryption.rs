//! Encrypting and decrypting (sections 5.8 and 5.10).
//!
//! As with signatures, whatever goes wrong ends the operation, a short buffer
//! excepted.

use cryptoki_sys::*;

use zeroize::Zeroizing;

use super::arguments::{bytes, give, goes_on, room};
use super::operation::{Place, begin, take};
use super::signature::whole;
use crate::error::Result;
use crate::library::Library;
use crate::session::{Cipher, Session, Way};

impl Way {
    fn place(self) -> Place<Cipher> {
        match self {
            Self::Encrypt => |operations| &mut operations.encryption,
            Self::Decrypt => |operations| &mut operations.decryption,
        }
    }

    fn put_back(self, session: &Session, cipher: Cipher) {
        *self.place()(&mut session.operations()) = Some(cipher);
    }
}

unsafe fn init(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let make = |known, mechanism, parameter: &_| Cipher::new(way, key, known, mechanism, parameter);
    // SAFETY: the host's promise.
    unsafe { begin(library, session, mechanism, key, way.usage(), way.place(), make) }
}

/// The whole in one call if there is `data`, else the end of several.
unsafe fn finish(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: Option<(CK_BYTE_PTR, CK_ULONG)>,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let mut cipher = take(&session, way.place())?;
    whole(cipher.in_parts, data.is_some())?;
    // Before the length is told: data that cannot be taken gives no result.
    cipher.may_end(data.map_or(0, |(_, length)| length as usize))?;
    if result.is_null() {
        let more = data.map_or(0, |(_, length)| length as usize);
        // SAFETY: the host's promise.
        unsafe { room(result, length, cipher.bound(more)) }?;
        way.put_back(&session, cipher);
        return Ok(());
    }
    if let Some((data, data_length)) = data
        && !cipher.is_done()
    {
        // SAFETY: the host's promise.
        cipher.add(unsafe { bytes(data, data_length) }?)?;
    }
    let output = cipher.finish(&session.slot, &library.remote)?;
    // SAFETY: the host's promise.
    let room = unsafe { give(output, result, length) };
    if goes_on(&room) {
        way.put_back(&session, cipher);
    }
    room.map(|_| ())
}

/// A part of the data: what it gives, or `None` if the host asked for the
/// length. RSA gives nothing before the end.
///
/// # Errors
/// CKR_BUFFER_TOO_SMALL: the part was not taken. Any other error has ended the
/// operation.
///
/// # Safety
/// As C_EncryptUpdate and C_DecryptUpdate.
pub(super) unsafe fn update(
    way: Way,
    library: &Library,
    session: &Session,
    part: (CK_BYTE_PTR, CK_ULONG),
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let mut cipher = take(session, way.place())?;
    // SAFETY: the host's promise, here and below.
    let part = unsafe { bytes(part.0, part.1) }?;
    cipher.may_take(part.len())?;
    // SAFETY: as above.
    let room = unsafe { room(result, length, cipher.gives(part.len())) };
    if goes_on(&room) {
        way.put_back(session, cipher);
        return room.map(|_| None);
    }
    room?;
    let output = cipher.update(&session.slot, &library.remote, part)?;
    // SAFETY: as above.
    unsafe { give(&output, result, length) }?;
    way.put_back(session, cipher);
    Ok(Some(output))
}

pub(super) unsafe fn encrypt_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    // SAFETY: the host's promise, here and in all that follow.
    unsafe { init(Way::Encrypt, library, session, mechanism, key) }
}

pub(super) unsafe fn encrypt(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(Way::Encrypt, library, session, Some((data, data_length)), result, length) }
}

pub(super) unsafe fn encrypt_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: as above.
    unsafe { update(Way::Encrypt, library, &session, (part, part_length), result, length) }?;
    Ok(())
}

pub(super) unsafe fn encrypt_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(Way::Encrypt, library, session, None, result, length) }
}

pub(super) unsafe fn decrypt_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { init(Way::Decrypt, library, session, mechanism, key) }
}

pub(super) unsafe fn decrypt(
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(Way::Decrypt, library, session, Some((data, data_length)), result, length) }
}

pub(super) unsafe fn decrypt_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: as above.
    unsafe { update(Way::Decrypt, library, &session, (part, part_length), result, length) }?;
    Ok(())
}

pub(super) unsafe fn decrypt_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(Way::Decrypt, library, session, None, result, length) }
}
