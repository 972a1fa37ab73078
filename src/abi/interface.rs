//! C_GetInterfaceList and C_GetInterface (section 5.4).

use cryptoki_sys::*;

use super::arguments::{bad, give, put};
use super::table::{FUNCTION_LIST, FUNCTION_LIST_3_0, FUNCTION_LIST_3_2};
use crate::error::{Error, Result};

/// The interfaces, the default first.
///
/// None is CKF_INTERFACE_FORK_SAFE: that would mean a child that keeps the
/// parent's sessions and logins, and ours starts anew with C_Initialize.
static INTERFACES: Interfaces = Interfaces([
    interface((&raw const FUNCTION_LIST_3_2).cast()),
    interface((&raw const FUNCTION_LIST_3_0).cast()),
    interface((&raw const FUNCTION_LIST).cast()),
]);

struct Interfaces([CK_INTERFACE; 3]);

// SAFETY: the pointers are to constants.
unsafe impl Sync for Interfaces {}

/// The name of the standard's own interfaces.
const NAME: &std::ffi::CStr = c"PKCS 11";

const fn interface(list: *const std::ffi::c_void) -> CK_INTERFACE {
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: list.cast_mut(),
        flags: 0,
    }
}

pub(super) unsafe fn list(list: CK_INTERFACE_PTR, count: CK_ULONG_PTR) -> Result<()> {
    // SAFETY: the host's promise.
    unsafe { give(&INTERFACES.0, list, count) }?;
    Ok(())
}

pub(super) unsafe fn get(
    name: CK_UTF8CHAR_PTR,
    version: CK_VERSION_PTR,
    found: CK_INTERFACE_PTR_PTR,
    flags: CK_FLAGS,
) -> Result<()> {
    if found.is_null() {
        return Err(bad("ppInterface"));
    }
    // SAFETY: not null, so the name is terminated by the host's promise.
    let named = name.is_null() || unsafe { std::ffi::CStr::from_ptr(name.cast()) } == NAME;
    let wanted = if version.is_null() {
        None
    } else {
        // SAFETY: not null, and valid by the host's promise.
        Some(unsafe { version.read_unaligned() })
    };
    let matches = |interface: &&CK_INTERFACE| {
        // SAFETY: every list begins with its version.
        let own = unsafe { interface.pFunctionList.cast::<CK_VERSION>().read_unaligned() };
        let same =
            wanted.is_none_or(|wanted| (wanted.major, wanted.minor) == (own.major, own.minor));
        named && same && interface.flags & flags == flags
    };
    let interface = INTERFACES.0.iter().find(matches).ok_or_else(|| {
        Error::new(CKR_ARGUMENTS_BAD, "there is no interface of this name, version and flags")
    })?;
    // SAFETY: the host's promise. It must not write to what it gets.
    unsafe { put(found, std::ptr::from_ref(interface).cast_mut()) }
}
