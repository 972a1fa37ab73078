//! Random numbers (section 5.20). They are made here.

use cryptoki_sys::*;

use super::arguments::{bad, bytes};
use crate::error::Result;
use crate::library::Library;

pub(super) unsafe fn seed(
    library: &Library,
    session: CK_SESSION_HANDLE,
    seed: CK_BYTE_PTR,
    length: CK_ULONG,
) -> Result<()> {
    library.session(session)?;
    // SAFETY: the host's promise.
    library.random.seed(unsafe { bytes(seed, length) }?);
    Ok(())
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
    library.random.fill(unsafe { std::slice::from_raw_parts_mut(buffer, length) });
    Ok(())
}
