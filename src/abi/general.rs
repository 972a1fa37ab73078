//! General-purpose functions (section 5.4).

use cryptoki_sys::*;

use super::arguments::{bad, padded, put};
use super::process;
use super::table::FUNCTION_LIST;
use crate::error::{Error, Result};
use crate::library::Library;

/// Who makes the module, as CK_INFO and CK_TOKEN_INFO say it.
pub(super) const MANUFACTURER: &str = "Keyward";

/// The versions whose functions are there, and which function list says so.
pub(super) const V2_40: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
pub(super) const V3_0: CK_VERSION = CK_VERSION { major: 3, minor: 0 };
pub(super) const V3_2: CK_VERSION = CK_VERSION { major: 3, minor: 2 };

pub(super) unsafe fn initialize(arguments: CK_VOID_PTR) -> Result<()> {
    if !arguments.is_null() {
        // SAFETY: not null, so the host points to CK_C_INITIALIZE_ARGS.
        let arguments = unsafe { arguments.cast::<CK_C_INITIALIZE_ARGS>().read_unaligned() };
        if !arguments.pReserved.is_null() {
            return Err(bad("pReserved"));
        }
        let given = [
            arguments.CreateMutex.is_some(),
            arguments.DestroyMutex.is_some(),
            arguments.LockMutex.is_some(),
            arguments.UnlockMutex.is_some(),
        ];
        let all = given.iter().all(|given| *given);
        if !all && given.iter().any(|given| *given) {
            return Err(bad("the set of mutex functions, all or none,"));
        }
        if all && arguments.flags & CKF_OS_LOCKING_OK == 0 {
            return Err(Error::new(
                CKR_CANT_LOCK,
                "the module locks with the system's own primitives; set CKF_OS_LOCKING_OK",
            ));
        }
    }
    process::initialize()
}

pub(super) unsafe fn finalize(reserved: CK_VOID_PTR) -> Result<()> {
    if !reserved.is_null() {
        return Err(bad("pReserved"));
    }
    process::finalize()
}

/// C_GetInfo by name and through the list of v2.40.
pub(super) unsafe fn info(_: &Library, info: CK_INFO_PTR) -> Result<()> {
    // SAFETY: the host's promise.
    unsafe { put_info(info, V2_40) }
}

/// C_GetInfo through the list of `version`.
pub(super) unsafe fn put_info(info: CK_INFO_PTR, version: CK_VERSION) -> Result<()> {
    let value = CK_INFO {
        cryptokiVersion: version,
        manufacturerID: padded(MANUFACTURER),
        flags: 0,
        libraryDescription: padded("Keyward PKCS#11 module"),
        libraryVersion: self::version(),
    };
    // SAFETY: the host's promise.
    unsafe { put(info, value) }
}

pub(super) unsafe fn function_list(list: CK_FUNCTION_LIST_PTR_PTR) -> Result<()> {
    // SAFETY: the host's promise. It gets a pointer to mutable by the standard's
    // prototype, and must not write to it.
    unsafe { put(list, (&raw const FUNCTION_LIST).cast_mut()) }
}

/// The package's version, as far as CK_VERSION can say it.
pub(super) fn version() -> CK_VERSION {
    let part = |text: &str| text.parse().unwrap_or(0);
    CK_VERSION {
        major: part(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: part(env!("CARGO_PKG_VERSION_MINOR")),
    }
}
