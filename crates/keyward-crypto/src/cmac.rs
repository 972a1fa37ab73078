//! CMAC with AES and Triple DES, in one piece and in many.

use std::ffi::c_int;
use std::fmt;
use std::ptr;

use aws_lc_sys::{CMAC_CTX, CMAC_CTX_copy, CMAC_CTX_new, CMAC_Final, CMAC_Init, CMAC_Update};
use zeroize::Zeroizing;

use crate::block::{BlockKey, Mode};
use crate::error::Result;
use crate::ffi::{OUT_OF_MEMORY, Owned, check, unless_out_of_memory};
use crate::mac::compare;

/// A CMAC (NIST SP 800-38B, RFC 4493) in the making. A clone continues on its own from where the
/// original was.
pub struct Cmac {
    context: Owned<CMAC_CTX>,
    length: usize,
}

// SAFETY: a CMAC_CTX belongs to no thread. It is changed only through `&mut self`; copying it reads
// it only.
unsafe impl Send for Cmac {}
// SAFETY: as above.
unsafe impl Sync for Cmac {}

impl Cmac {
    /// An authentication code of nothing yet.
    #[must_use]
    pub fn new(key: &BlockKey) -> Self {
        let context = new_context();
        // SAFETY: the context is valid, the key has the length of the cipher's keys, and null means
        // no ENGINE.
        succeeded(unsafe {
            CMAC_Init(
                context.as_ptr(),
                key.bytes().as_ptr().cast(),
                key.bytes().len(),
                key.evp(Mode::Cbc),
                ptr::null_mut(),
            )
        });
        Self { context, length: key.block_length() }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised, and `data` is valid for its length.
        succeeded(unsafe { CMAC_Update(self.context.as_ptr(), data.as_ptr(), data.len()) });
    }

    /// The code of all that was added, as long as the cipher's block.
    #[must_use]
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        let mut code = Zeroizing::new(vec![0; LONGEST]);
        let mut length = 0;
        // SAFETY: the context is initialised, and the output has room for the longest block.
        succeeded(unsafe { CMAC_Final(self.context.as_ptr(), code.as_mut_ptr(), &mut length) });
        code.truncate(length);
        code
    }

    /// Checks, in constant time, that `code` is the first `length` bytes of the code of all that
    /// was added.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`](crate::Error::ParameterInvalid) if `length` is 0 or more than a
    /// block, [`Error::SignatureLength`](crate::Error::SignatureLength),
    /// [`Error::SignatureInvalid`](crate::Error::SignatureInvalid).
    pub fn verify(self, length: usize, code: &[u8]) -> Result<()> {
        compare(&self.finish(), length, code)
    }

    /// The length of the code in bytes: the cipher's block.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Clone for Cmac {
    fn clone(&self) -> Self {
        let context = new_context();
        // SAFETY: both contexts are valid, and the source is initialised.
        succeeded(unsafe { CMAC_CTX_copy(context.as_ptr(), self.context.as_ptr()) });
        Self { context, length: self.length }
    }
}

impl fmt::Debug for Cmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cmac").finish_non_exhaustive()
    }
}

/// The CMAC of `data` in one piece.
#[must_use]
pub fn cmac(key: &BlockKey, data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut cmac = Cmac::new(key);
    cmac.update(data);
    cmac.finish()
}

fn new_context() -> Owned<CMAC_CTX> {
    // SAFETY: a constructor without arguments; the caller owns the result.
    unless_out_of_memory(unsafe { Owned::new(CMAC_CTX_new(), OUT_OF_MEMORY) })
}

/// Checks a call into CMAC; with valid arguments it fails for want of memory only.
fn succeeded(returned: c_int) {
    unless_out_of_memory(check(returned, OUT_OF_MEMORY));
}

/// Bytes of the longest block, AES's.
const LONGEST: usize = 16;
