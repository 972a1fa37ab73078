//! Searches for primes that take a while, and that somebody may call off.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys::{BN_GENCB, BN_GENCB_get_arg, BN_GENCB_new, BN_GENCB_set};

use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, check};

/// Asked again and again during a search: `true` ends it. It must not panic.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// Runs a search of AWS-LC's that reports to the callback it is given, and succeeds unless it was
/// called off.
///
/// # Errors
///
/// [`Error::Stopped`] if it was; else `error`.
pub(crate) fn run(
    stop: Stop<'_>,
    error: Error,
    search: impl FnOnce(*mut BN_GENCB) -> c_int,
) -> Result<()> {
    // SAFETY: a constructor without arguments; the caller owns the result.
    let callback = unsafe { Owned::new(BN_GENCB_new(), OUT_OF_MEMORY) }?;
    let mut stop = stop;
    // SAFETY: the callback is valid, and what it points to outlives the search, which ends below.
    unsafe { BN_GENCB_set(callback.as_ptr(), Some(goes_on), ptr::from_mut(&mut stop).cast()) };
    let returned = search(callback.as_ptr());
    check(returned, if stop() { Error::Stopped } else { error })
}

unsafe extern "C" fn goes_on(_event: c_int, _count: c_int, callback: *mut BN_GENCB) -> c_int {
    // SAFETY: AWS-LC passes the callback of `run`, whose argument is a `Stop` that is still there.
    let stop = unsafe { &*BN_GENCB_get_arg(callback).cast::<Stop<'_>>() };
    c_int::from(!stop())
}
