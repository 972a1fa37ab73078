//! The way into the module: who is initialised, in which process, and what
//! happens to a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Once, PoisonError, RwLock};
use std::time::Instant;

use cryptoki_sys::*;

use crate::error::{Error, Result};
use crate::library::Library;
use crate::log::Log;

/// The module's state in one process. After a fork the child finds its
/// parent's and takes it for none: the locks in it may be held by threads that
/// the child does not have, and the parent's connections are not the child's.
struct Process {
    id: u32,
    loaded: RwLock<Option<Arc<Library>>>,
}

/// The state of the process that initialised last. It is never freed: threads
/// may be inside while another initialises anew after a fork.
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(null_mut());

/// Runs a function that needs C_Initialize.
pub(super) fn with_library(
    function: &'static str,
    body: impl FnOnce(&Library) -> Result<()>,
) -> CK_RV {
    let Some(library) = library() else {
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    };
    run(function, &library.log, || body(&library))
}

/// Runs a function that does not need C_Initialize.
pub(super) fn without_library(function: &'static str, body: impl FnOnce() -> Result<()>) -> CK_RV {
    match library() {
        Some(library) => run(function, &library.log, body),
        None => run(function, &Log::of_environment(), body),
    }
}

/// C_Initialize, once its arguments are known to be fine.
pub(super) fn initialize() -> Result<()> {
    quiet_panics();
    let process = own_process();
    let mut library = process.loaded.write().unwrap_or_else(PoisonError::into_inner);
    if library.is_some() {
        return Err(CKR_CRYPTOKI_ALREADY_INITIALIZED.into());
    }
    *library = Some(Arc::new(Library::new()?));
    Ok(())
}

/// C_Initialize with a library that is made already.
#[cfg(test)]
pub(super) fn load(library: Library) {
    let loaded = &own_process().loaded;
    *loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(library));
}

/// C_Finalize. Calls that run in other threads end in peace: each has its own
/// hold on what it uses.
pub(super) fn finalize() -> Result<()> {
    let ended = current()
        .and_then(|process| process.loaded.write().unwrap_or_else(PoisonError::into_inner).take());
    match ended {
        Some(library) => {
            library.end();
            Ok(())
        }
        None => Err(CKR_CRYPTOKI_NOT_INITIALIZED.into()),
    }
}

fn library() -> Option<Arc<Library>> {
    current()?.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// This process's state, if it has one.
fn current() -> Option<&'static Process> {
    let pointer = PROCESS.load(Ordering::Acquire);
    // SAFETY: the pointer is null or came from `Box::leak` in `own_process`.
    let process = unsafe { pointer.as_ref() }?;
    (process.id == std::process::id()).then_some(process)
}

/// This process's state, made if there is none.
fn own_process() -> &'static Process {
    loop {
        if let Some(process) = current() {
            return process;
        }
        let seen = PROCESS.load(Ordering::Acquire);
        let fresh =
            Box::into_raw(Box::new(Process { id: std::process::id(), loaded: RwLock::new(None) }));
        if PROCESS.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: nobody else has seen this one.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
}

fn run(function: &'static str, log: &Log, body: impl FnOnce() -> Result<()>) -> CK_RV {
    let started = Instant::now();
    let body = || {
        #[cfg(test)]
        super::faults::strike();
        body()
    };
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        Err(Error::new(
            CKR_GENERAL_ERROR,
            format!("a fault in the module itself: {}", sentence(&*panic)),
        ))
    });
    // The log must not throw what it was called to report.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        log.call(function, &result, started.elapsed());
    }));
    result.map_or_else(|error| error.rv, |()| CKR_OK)
}

fn sentence(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A panic is caught and logged; its text does not go to the host's stderr.
/// The hook is that of the module's own copy of the standard library.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
