//! What the library shows to whoever loads it: symbols and function list.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use cryptoki_sys::*;
use keyward_pkcs11::abi::{FUNCTIONS_2_40, FUNCTIONS_3_0, FUNCTIONS_3_2, functions};
use libloading::Library;

fn load() -> Library {
    // SAFETY: the module has no initialiser that does anything.
    unsafe { Library::new(common::module()) }.unwrap()
}

/// A function's address by its name.
fn address(library: &Library, name: &str) -> usize {
    // SAFETY: the symbol is only looked up.
    let found = unsafe { library.get::<*const ()>(name.as_bytes()) };
    *found.unwrap_or_else(|_| panic!("{name} is not exported")) as usize
}

/// What C_GetInterface says: the code, the interface.
fn interface(
    library: &Library,
    name: Option<&CStr>,
    version: Option<(u8, u8)>,
    flags: CK_FLAGS,
) -> Result<CK_INTERFACE, CK_RV> {
    type Function = unsafe extern "C" fn(
        *mut CK_UTF8CHAR,
        *mut CK_VERSION,
        *mut *mut CK_INTERFACE,
        CK_FLAGS,
    ) -> CK_RV;
    let name = name.map_or(null(), CStr::as_ptr).cast_mut().cast();
    let mut version = version.map(|(major, minor)| CK_VERSION { major, minor });
    let version = version.as_mut().map_or(null_mut(), std::ptr::from_mut);
    let mut found = null_mut();
    // SAFETY: the prototype is the standard's, and each pointer null or valid.
    unsafe {
        let function = library.get::<Function>(b"C_GetInterface").unwrap();
        match function(name, version, &raw mut found, flags) {
            CKR_OK => Ok(*found),
            rv => {
                assert!(found.is_null(), "an error has given an interface");
                Err(rv)
            }
        }
    }
}

fn version(interface: &CK_INTERFACE) -> (u8, u8) {
    // SAFETY: every function list begins with its version.
    let version = unsafe { *interface.pFunctionList.cast::<CK_VERSION>() };
    (version.major, version.minor)
}

#[test]
fn every_function_is_exported() {
    let library = load();
    for (name, _) in functions() {
        address(&library, name);
    }
    let of = [FUNCTIONS_2_40.len(), FUNCTIONS_3_0.len(), FUNCTIONS_3_2.len()];
    assert_eq!(of, [68, 24, 12]);
}

#[test]
fn the_function_list_says_2_40_and_is_whole() {
    let library = load();
    // SAFETY: the prototype is the standard's.
    let rv = unsafe {
        let mut list: CK_FUNCTION_LIST_PTR = null_mut();
        let function = library
            .get::<unsafe extern "C" fn(*mut CK_FUNCTION_LIST_PTR) -> u64>(b"C_GetFunctionList")
            .unwrap();
        let rv = function(&raw mut list);
        assert_eq!(((*list).version.major, (*list).version.minor), (2, 40));
        let words = size_of::<CK_FUNCTION_LIST>() / size_of::<usize>();
        let pointers = std::slice::from_raw_parts(list.cast::<usize>(), words);
        assert!(pointers[1..].iter().all(|pointer| *pointer != 0));
        rv
    };
    assert_eq!(rv, CKR_OK);
}

/// JDK 25, p11-kit and NSS take what C_GetInterface says at its word: a list
/// that is shorter than its version brings the host down (JDK-8330133).
#[test]
fn each_interface_has_a_whole_list_of_its_version() {
    let library = load();
    let names = |lists: &[&'static [keyward_pkcs11::abi::Signature]]| -> Vec<&'static str> {
        lists.iter().flat_map(|list| list.iter().map(|(name, _)| *name)).collect()
    };
    let two = names(&[FUNCTIONS_2_40]);
    let three = names(&[FUNCTIONS_2_40, FUNCTIONS_3_0]);
    let three_two = names(&[FUNCTIONS_2_40, FUNCTIONS_3_0, FUNCTIONS_3_2]);
    for (wanted, size, names) in [
        ((2, 40), size_of::<CK_FUNCTION_LIST>(), two),
        ((3, 0), size_of::<CK_FUNCTION_LIST_3_0>(), three),
        ((3, 2), size_of::<CK_FUNCTION_LIST_3_2>(), three_two),
    ] {
        let found = interface(&library, Some(c"PKCS 11"), Some(wanted), 0).unwrap();
        assert_eq!(version(&found), wanted);
        assert_eq!(size, (names.len() + 1) * size_of::<usize>());
        // SAFETY: the list is as long as its version says.
        let list = unsafe {
            std::slice::from_raw_parts(found.pFunctionList.cast::<usize>(), names.len() + 1)
        };
        // Each of its pointers is the exported function of its place, but for
        // C_GetInfo, which knows through which list it was called.
        let mut missing: Vec<&str> = Vec::new();
        for name in names {
            if !list[1..].contains(&address(&library, name)) {
                missing.push(name);
            }
        }
        assert!(list[1..].iter().all(|pointer| *pointer != 0));
        let expected: &[&str] = if wanted == (2, 40) { &[] } else { &["C_GetInfo"] };
        assert_eq!(missing, expected, "{wanted:?}");
        assert_eq!(list[1], address(&library, "C_Initialize"));
    }
}

#[test]
fn c_get_interface_finds_by_name_version_and_flags() {
    let library = load();
    let standard = Some(c"PKCS 11");
    for (name, wanted, expected) in [
        (None, None, (3, 2)),
        (standard, None, (3, 2)),
        (None, Some((3, 0)), (3, 0)),
        (standard, Some((3, 2)), (3, 2)),
        (standard, Some((2, 40)), (2, 40)),
    ] {
        let found = interface(&library, name, wanted, 0).unwrap();
        assert_eq!(version(&found), expected);
        assert_eq!(found.flags, 0);
        // SAFETY: the name is a terminated constant.
        let own = unsafe { CStr::from_ptr(found.pInterfaceName.cast()) };
        assert_eq!(own, c"PKCS 11");
    }
    for (name, wanted, flags) in [
        (Some(c"PKCS 12"), None, 0),
        (Some(c""), None, 0),
        (standard, Some((3, 1)), 0),
        (standard, Some((2, 20)), 0),
        (standard, None, CKF_INTERFACE_FORK_SAFE),
        (None, None, CKF_INTERFACE_FORK_SAFE),
    ] {
        assert_eq!(interface(&library, name, wanted, flags).err(), Some(CKR_ARGUMENTS_BAD));
    }
}

#[test]
fn c_get_interface_list_keeps_to_the_buffer() {
    type Function = unsafe extern "C" fn(CK_INTERFACE_PTR, CK_ULONG_PTR) -> CK_RV;
    let library = load();
    let empty = CK_INTERFACE { pInterfaceName: null_mut(), pFunctionList: null_mut(), flags: 7 };
    let mut list = [empty; 4];
    // SAFETY: the prototype is the standard's, and the list as long as said.
    unsafe {
        let function = library.get::<Function>(b"C_GetInterfaceList").unwrap();
        let mut count = 99;
        assert_eq!((function(null_mut(), &raw mut count), count), (CKR_OK, 3));
        let mut count = 2;
        let rv = function(list.as_mut_ptr(), &raw mut count);
        assert_eq!((rv, count), (CKR_BUFFER_TOO_SMALL, 3));
        assert!(list.iter().all(|interface| interface.flags == 7));
        let mut count = 4;
        assert_eq!((function(list.as_mut_ptr(), &raw mut count), count), (CKR_OK, 3));
        assert_eq!(function(list.as_mut_ptr(), null_mut()), CKR_ARGUMENTS_BAD);
    }
    assert_eq!(list[..3].iter().map(version).collect::<Vec<_>>(), [(3, 2), (3, 0), (2, 40)]);
    assert_eq!(list[3].flags, 7);
}

/// A host that has OpenSSL of its own must not be handed another.
#[test]
fn nothing_but_the_standards_functions_is_exported() {
    let output = std::process::Command::new("nm")
        .args(["-D", "--defined-only", "--format=just-symbols"])
        .arg(common::module())
        .output()
        .unwrap();
    let symbols = String::from_utf8(output.stdout).unwrap();
    let foreign: Vec<&str> = symbols.lines().filter(|symbol| !symbol.starts_with("C_")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
