//! Encrypting and decrypting (sections 5.8 and 5.10).
//!
//! As with signatures, whatever goes wrong ends the operation, a short buffer
//! excepted.

use cryptoki_sys::*;

use super::arguments::{Room, bytes, give, put, room};
use super::parameter;
use crate::error::Result;
use crate::library::Library;
use crate::session::{Cipher, Operations, Session};

/// Encryption or decryption.
#[derive(Clone, Copy)]
enum Way {
    Encrypt,
    Decrypt,
}

impl Way {
    fn usage(self) -> CK_ATTRIBUTE_TYPE {
        match self {
            Self::Encrypt => CKA_ENCRYPT,
            Self::Decrypt => CKA_DECRYPT,
        }
    }

    fn place(self, operations: &mut Operations) -> &mut Option<Cipher> {
        match self {
            Self::Encrypt => &mut operations.encryption,
            Self::Decrypt => &mut operations.decryption,
        }
    }

    fn take(self, session: &Session) -> Result<Cipher> {
        let taken = self.place(&mut session.operations()).take();
        taken.ok_or_else(|| CKR_OPERATION_NOT_INITIALIZED.into())
    }

    fn put_back(self, session: &Session, cipher: Cipher) {
        *self.place(&mut session.operations()) = Some(cipher);
    }
}

unsafe fn init(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the host's promise.
    let Some((mechanism, parameter)) = (unsafe { parameter::read(mechanism) })? else {
        *way.place(&mut session.operations()) = None;
        return Ok(());
    };
    if way.place(&mut session.operations()).is_some() {
        return Err(CKR_OPERATION_ACTIVE.into());
    }
    let known = session.slot.key(&library.remote, key)?;
    let cipher = Cipher::new(key, known, way.usage(), mechanism, &parameter)?;
    way.put_back(&session, cipher);
    Ok(())
}

/// The whole in one call, or the end of several: `data` is what is still to be
/// added.
unsafe fn finish(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    data: (CK_BYTE_PTR, CK_ULONG),
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let mut cipher = way.take(&session)?;
    if result.is_null() {
        // SAFETY: the host's promise.
        unsafe { room(result, length, cipher.bound) }?;
        way.put_back(&session, cipher);
        return Ok(());
    }
    if !cipher.is_done() {
        // SAFETY: the host's promise.
        cipher.update(unsafe { bytes(data.0, data.1) }?)?;
    }
    let output = match way {
        Way::Encrypt => cipher.encrypt()?,
        Way::Decrypt => cipher.decrypt(&session.slot, &library.remote)?,
    };
    // SAFETY: the host's promise.
    match unsafe { give(output, result, length) } {
        Ok(Room::Enough | Room::Asked) => Ok(()),
        Err(error) => {
            if error.rv == CKR_BUFFER_TOO_SMALL {
                way.put_back(&session, cipher);
            }
            Err(error)
        }
    }
}

/// A part of the data: RSA gives nothing before the end.
unsafe fn update(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    let mut cipher = way.take(&session)?;
    // SAFETY: the host's promise.
    cipher.update(unsafe { bytes(part, part_length) }?)?;
    // SAFETY: the host's promise.
    unsafe { put(length, 0) }?;
    way.put_back(&session, cipher);
    Ok(())
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
    unsafe { finish(Way::Encrypt, library, session, (data, data_length), result, length) }
}

pub(super) unsafe fn encrypt_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    _result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { update(Way::Encrypt, library, session, part, part_length, length) }
}

pub(super) unsafe fn encrypt_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(Way::Encrypt, library, session, NOTHING, result, length) }
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
    unsafe { finish(Way::Decrypt, library, session, (data, data_length), result, length) }
}

pub(super) unsafe fn decrypt_update(
    library: &Library,
    session: CK_SESSION_HANDLE,
    part: CK_BYTE_PTR,
    part_length: CK_ULONG,
    _result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { update(Way::Decrypt, library, session, part, part_length, length) }
}

pub(super) unsafe fn decrypt_final(
    library: &Library,
    session: CK_SESSION_HANDLE,
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: as above.
    unsafe { finish(Way::Decrypt, library, session, NOTHING, result, length) }
}

/// No data.
const NOTHING: (CK_BYTE_PTR, CK_ULONG) = (std::ptr::null_mut(), 0);
