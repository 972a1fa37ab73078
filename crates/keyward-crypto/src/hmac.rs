//! HMAC with any of the hash functions, in one piece and in many.

use std::ffi::{c_int, c_uint};
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    EVP_MAX_MD_SIZE, HMAC_CTX, HMAC_CTX_copy_ex, HMAC_CTX_new, HMAC_Final, HMAC_Init_ex,
    HMAC_Update,
};
use zeroize::Zeroizing;

use crate::digest::Hash;
use crate::error::Result;
use crate::ffi::{OUT_OF_MEMORY, Owned, check, unless_out_of_memory};
use crate::mac::compare;

/// An HMAC (RFC 2104, FIPS 198-1) in the making. A clone continues on its own from where the
/// original was.
pub struct Hmac {
    context: Owned<HMAC_CTX>,
    hash: Hash,
}

// SAFETY: an HMAC_CTX belongs to no thread. It is changed only through `&mut self`; copying it
// reads it only.
unsafe impl Send for Hmac {}
// SAFETY: as above.
unsafe impl Sync for Hmac {}

impl Hmac {
    /// An authentication code of nothing yet; the key may have any length.
    #[must_use]
    pub fn new(hash: Hash, key: &[u8]) -> Self {
        let context = new_context();
        // SAFETY: the context is valid, the key is for its length (and not null, which would mean
        // the key of an earlier call), and null means no ENGINE.
        succeeded(unsafe {
            HMAC_Init_ex(
                context.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                hash.evp(),
                ptr::null_mut(),
            )
        });
        Self { context, hash }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised, and `data` is valid for its length.
        succeeded(unsafe { HMAC_Update(self.context.as_ptr(), data.as_ptr(), data.len()) });
    }

    /// The code of all that was added, as long as the hash's digests.
    #[must_use]
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        let mut code = Zeroizing::new(vec![0; EVP_MAX_MD_SIZE as usize]);
        let mut length: c_uint = 0;
        // SAFETY: the context is initialised, and the output has room for the longest digest there
        // is.
        succeeded(unsafe { HMAC_Final(self.context.as_ptr(), code.as_mut_ptr(), &mut length) });
        code.truncate(length as usize);
        code
    }

    /// Checks, in constant time, that `code` is the first `length` bytes of the code of all that
    /// was added.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`](crate::Error::ParameterInvalid) if `length` is 0 or more than
    /// the hash gives, [`Error::SignatureLength`](crate::Error::SignatureLength),
    /// [`Error::SignatureInvalid`](crate::Error::SignatureInvalid).
    pub fn verify(self, length: usize, code: &[u8]) -> Result<()> {
        compare(&self.finish(), length, code)
    }

    /// The hash function at work.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

impl Clone for Hmac {
    fn clone(&self) -> Self {
        let context = new_context();
        // SAFETY: both contexts are valid, and the source is initialised.
        succeeded(unsafe { HMAC_CTX_copy_ex(context.as_ptr(), self.context.as_ptr()) });
        Self { context, hash: self.hash }
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hmac").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// The HMAC of `data` in one piece.
#[must_use]
pub fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut hmac = Hmac::new(hash, key);
    hmac.update(data);
    hmac.finish()
}

fn new_context() -> Owned<HMAC_CTX> {
    // SAFETY: a constructor without arguments; the caller owns the result.
    unless_out_of_memory(unsafe { Owned::new(HMAC_CTX_new(), OUT_OF_MEMORY) })
}

/// Checks a call into HMAC; with valid arguments it fails for want of memory only.
fn succeeded(returned: c_int) {
    unless_out_of_memory(check(returned, OUT_OF_MEMORY));
}
