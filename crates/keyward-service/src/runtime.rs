//! Waiting, for those who cannot.

use std::io;

/// Runs something that waits, also on a thread that runs others already.
pub(crate) fn wait_for<F: Future<Output: Send>>(
    work: impl FnOnce() -> F + Send,
) -> io::Result<F::Output> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(io::Error::other("a thread ended by a panic")))
}
