//! AES key wrap, with and without padding.

use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys::{
    AES_KEY, AES_set_decrypt_key, AES_set_encrypt_key, AES_unwrap_key, AES_unwrap_key_padded,
    AES_wrap_key, AES_wrap_key_padded, OPENSSL_cleanse,
};
use zeroize::Zeroizing;

use crate::block::{BlockKey, Direction};
use crate::error::{Error, Result};
use crate::ffi::{check, failed};

/// Wraps `data`, 16 bytes or more in steps of 8, by AES-KW (RFC 3394, NIST SP 800-38F section 6.2)
/// and returns 8 bytes more. `iv` is the initial value, eight bytes of 0xA6 if `None`.
///
/// # Errors
///
/// [`Error::InvalidKey`] if it is no AES key, [`Error::DataLength`].
pub fn wrap(key: &BlockKey, iv: Option<&[u8; 8]>, data: &[u8]) -> Result<Vec<u8>> {
    if data.len() < 16 || !data.len().is_multiple_of(STEP) || data.len() > LONGEST {
        return Err(Error::DataLength);
    }
    let schedule = Schedule::new(key, Direction::Encrypt)?;
    let mut output = vec![0; data.len() + STEP];
    // SAFETY: the key schedule is set up, null means the initial value of the RFC, `data` is valid
    // for its length, and the output has the eight bytes more that are written.
    let length = unsafe {
        AES_wrap_key(
            schedule.as_ptr(),
            iv.map_or(ptr::null(), |iv| iv.as_ptr()),
            output.as_mut_ptr(),
            data.as_ptr(),
            data.len(),
        )
    };
    all_of(length, output.len(), Error::Internal("AES key wrap failed"))?;
    Ok(output)
}

/// Unwraps what [`wrap`] returned.
///
/// # Errors
///
/// [`Error::InvalidKey`] if it is no AES key, [`Error::DataLength`] if `wrapped` is shorter than 24
/// bytes or not in steps of 8, [`Error::EncryptedDataInvalid`] if it was changed.
pub fn unwrap(key: &BlockKey, iv: Option<&[u8; 8]>, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    if wrapped.len() < 24 || !wrapped.len().is_multiple_of(STEP) || wrapped.len() > LONGEST {
        return Err(Error::DataLength);
    }
    let schedule = Schedule::new(key, Direction::Decrypt)?;
    let mut output = Zeroizing::new(vec![0; wrapped.len() - STEP]);
    // SAFETY: as in `wrap`; eight bytes less are written.
    let length = unsafe {
        AES_unwrap_key(
            schedule.as_ptr(),
            iv.map_or(ptr::null(), |iv| iv.as_ptr()),
            output.as_mut_ptr(),
            wrapped.as_ptr(),
            wrapped.len(),
        )
    };
    all_of(length, output.len(), Error::EncryptedDataInvalid)?;
    Ok(output)
}

/// Wraps `data` of any length but 0 by AES-KWP (RFC 5649, NIST SP 800-38F section 6.3).
///
/// # Errors
///
/// [`Error::InvalidKey`] if it is no AES key, [`Error::DataLength`].
pub fn wrap_padded(key: &BlockKey, data: &[u8]) -> Result<Vec<u8>> {
    if data.is_empty() || data.len() > LONGEST {
        return Err(Error::DataLength);
    }
    let schedule = Schedule::new(key, Direction::Encrypt)?;
    let mut output = vec![0; data.len().next_multiple_of(STEP) + STEP];
    let mut length = 0;
    // SAFETY: the key schedule is set up, and both buffers are valid for the lengths passed along.
    let returned = unsafe {
        AES_wrap_key_padded(
            schedule.as_ptr(),
            output.as_mut_ptr(),
            &mut length,
            output.len(),
            data.as_ptr(),
            data.len(),
        )
    };
    check(returned, Error::Internal("AES key wrap failed"))?;
    output.truncate(length);
    Ok(output)
}

/// Unwraps what [`wrap_padded`] returned.
///
/// # Errors
///
/// [`Error::InvalidKey`] if it is no AES key, [`Error::DataLength`] if `wrapped` is shorter than 16
/// bytes or not in steps of 8, [`Error::EncryptedDataInvalid`] if it was changed.
pub fn unwrap_padded(key: &BlockKey, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    if wrapped.len() < 16 || !wrapped.len().is_multiple_of(STEP) || wrapped.len() > LONGEST {
        return Err(Error::DataLength);
    }
    let schedule = Schedule::new(key, Direction::Decrypt)?;
    let mut output = Zeroizing::new(vec![0; wrapped.len()]);
    let mut length = 0;
    // SAFETY: as in `wrap_padded`.
    let returned = unsafe {
        AES_unwrap_key_padded(
            schedule.as_ptr(),
            output.as_mut_ptr(),
            &mut length,
            output.len(),
            wrapped.as_ptr(),
            wrapped.len(),
        )
    };
    check(returned, Error::EncryptedDataInvalid)?;
    output.truncate(length);
    Ok(output)
}

/// AES's expanded key, wiped when it goes.
struct Schedule(Box<AES_KEY>);

impl Schedule {
    fn new(key: &BlockKey, direction: Direction) -> Result<Self> {
        if !key.is_aes() {
            return Err(Error::InvalidKey("AES key wrap takes an AES key"));
        }
        let set_up = match direction {
            Direction::Encrypt => AES_set_encrypt_key,
            Direction::Decrypt => AES_set_decrypt_key,
        };
        let bits = 8 * key.bytes().len() as c_uint;
        // Boxed, so that no copy of it is left on the stack.
        let mut schedule = Box::new(MaybeUninit::<AES_KEY>::zeroed());
        // SAFETY: the key has that many bits, and the schedule is ours.
        let returned = unsafe { set_up(key.bytes().as_ptr(), bits, schedule.as_mut_ptr()) };
        if returned != 0 {
            return Err(failed(Error::Internal("an AES key could not be set up")));
        }
        // SAFETY: all zero bytes are a valid AES_KEY, and it was set up since.
        Ok(Self(unsafe { schedule.assume_init() }))
    }

    fn as_ptr(&self) -> *const AES_KEY {
        &raw const *self.0
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        // SAFETY: the pointer is valid for the size of its type, of which zero bytes are a value.
        unsafe { OPENSSL_cleanse((&raw mut *self.0).cast(), size_of::<AES_KEY>()) };
    }
}

fn all_of(written: c_int, expected: usize, error: Error) -> Result<()> {
    if usize::try_from(written) == Ok(expected) { Ok(()) } else { Err(failed(error)) }
}

/// Bytes: half a block.
const STEP: usize = 8;

/// Bytes: far more than any key.
const LONGEST: usize = 1 << 24;
