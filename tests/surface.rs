//! What the library shows to whoever loads it: symbols and function list.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR, CKR_OK};
use libloading::Library;

fn load() -> Library {
    // SAFETY: the module has no initialiser that does anything.
    unsafe { Library::new(common::module()) }.unwrap()
}

#[test]
fn every_function_of_v2_40_is_exported() {
    let library = load();
    for (name, _) in keyward_pkcs11::abi::FUNCTIONS {
        // SAFETY: the symbol is only looked up.
        let found = unsafe { library.get::<*const ()>(name.as_bytes()) };
        assert!(found.is_ok(), "{name} is not exported");
    }
    assert_eq!(keyward_pkcs11::abi::FUNCTIONS.len(), 68);
}

#[test]
fn the_function_list_says_2_40_and_is_whole() {
    let library = load();
    // SAFETY: the prototype is the standard's.
    let rv = unsafe {
        let mut list: CK_FUNCTION_LIST_PTR = std::ptr::null_mut();
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

/// JDK 25, p11-kit and NSS take what C_GetInterface says at its word; it is not
/// there until v3 is right (JDK-8330133, p11-kit #621).
#[test]
fn there_is_no_c_get_interface_yet() {
    let library = load();
    // SAFETY: the symbol is only looked up.
    assert!(unsafe { library.get::<*const ()>(b"C_GetInterface") }.is_err());
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
