//! Encrypting and decrypting (sections 5.8 and 5.10).
//!
//! As with signatures, whatever goes wrong ends the operation, a short buffer
//! excepted.

use cryptoki_sys::*;

use super::arguments::{Room, bytes, give, put, room};
use super::operation::{Place, begin, take};
use crate::error::Result;
use crate::library::Library;
use crate::session::{Cipher, Session};

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
    let make = |known, mechanism, parameter: &_| {
        Cipher::new(key, known, way.usage(), mechanism, parameter)
    };
    // SAFETY: the host's promise.
    unsafe { begin(library, session, mechanism, key, way.place(), make) }
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
    let mut cipher = take(&session, way.place())?;
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
    let mut cipher = take(&session, way.place())?;
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
