//! Random numbers (section 5.20). They are made here.

use cryptoki_sys::*;

use super::arguments::bad;
use crate::error::Result;
use crate::library::Library;

/// The generator seeds itself; a host that hears this mixes its seed in itself.
pub(super) unsafe fn seed(
    library: &Library,
    session: CK_SESSION_HANDLE,
    _seed: CK_BYTE_PTR,
    _length: CK_ULONG,
) -> Result<()> {
    library.session(session)?;
    Err(CKR_RANDOM_SEED_NOT_SUPPORTED.into())
}

pub(super) unsafe fn generate(
    library: &Library,
    session: CK_SESSION_HANDLE,
    buffer: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    library.session(session)?;
    if length == 0 {
        return Ok(());
    }
    let length = usize::try_from(length).map_err(|_| bad("ulRandomLen"))?;
    if buffer.is_null() || isize::try_from(length).is_err() {
        return Err(bad("RandomData"));
    }
    // SAFETY: not null, and valid for `length` bytes by the host's promise; any
    // bytes that are there make a valid slice of u8.
    keyward_crypto::random::fill(unsafe { std::slice::from_raw_parts_mut(buffer, length) });
    Ok(())
}
