//! A fault in the module itself, brought about by a test: no panic crosses the C
//! boundary, whichever function it happens in.

use std::cell::Cell;

use cryptoki_sys::*;
use keyward_client::Config;

use super::{process, table};
use crate::library::Library;

thread_local! {
    static ARMED: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Called at the beginning of every function's body.
pub(super) fn strike() {
    if let Some(fault) = ARMED.get() {
        fault();
    }
}

type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> CK_RV;

#[test]
fn no_panic_leaves_any_function() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client.toml");
    let config =
        "endpoints = ['127.0.0.1:1']\nauthority = 'a'\ncertificate = 'c'\nprivate_key = 'k'\n";
    std::fs::write(&path, config).unwrap();
    process::load(Library::of(Config::load(&path).unwrap()));

    let functions: Vec<&str> = table::functions().map(|(name, _)| *name).collect();
    // SAFETY: after its version the list is made of pointers to functions.
    let pointers = unsafe {
        let list = (&raw const table::FUNCTION_LIST_3_2).cast::<Option<Any>>();
        std::slice::from_raw_parts(list.add(1), functions.len())
    };
    let faults: [fn(); 3] = [
        || panic!("a fault of {}", "the test"),
        || std::panic::panic_any(42),
        || drop(Vec::<u8>::new()[std::hint::black_box(3)..].to_vec()),
    ];
    for function in pointers.iter().flatten() {
        for fault in faults {
            ARMED.set(Some(fault));
            // SAFETY: the function does not get as far as its arguments.
            let rv = unsafe { function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0) };
            ARMED.set(None);
            assert_eq!(rv, CKR_GENERAL_ERROR);
        }
    }
    // And the module goes on: nothing is locked or lost.
    let mut info = std::mem::MaybeUninit::<CK_INFO>::zeroed();
    // SAFETY: the pointer is valid.
    assert_eq!(unsafe { table::C_GetInfo(info.as_mut_ptr()) }, CKR_OK);
    // SAFETY: a null pointer is allowed here.
    assert_eq!(unsafe { table::C_Finalize(std::ptr::null_mut()) }, CKR_OK);
}
