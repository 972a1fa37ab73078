//! Hash functions, in one piece and in many.

mod state;

use std::ffi::{c_int, c_uint};
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    EVP_Digest, EVP_DigestFinal_ex, EVP_DigestInit_ex, EVP_DigestUpdate, EVP_MAX_MD_SIZE, EVP_MD,
    EVP_MD_CTX, EVP_MD_CTX_copy_ex, EVP_MD_CTX_new, EVP_MD_type, EVP_md5, EVP_sha1, EVP_sha3_224,
    EVP_sha3_256, EVP_sha3_384, EVP_sha3_512, EVP_sha224, EVP_sha256, EVP_sha384, EVP_sha512,
    EVP_sha512_224, EVP_sha512_256, RSA_add_pkcs1_prefix,
};

use crate::error::{Error, Result};
use crate::ffi::{Buffer, OUT_OF_MEMORY, Owned, check, unless_out_of_memory};

/// A hash function.
///
/// MD5 and SHA-1 are here because PKCS#11 callers still ask for them; whether they may is the
/// caller's policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the functions' own")]
pub enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_224,
    Sha512_256,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl Hash {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_224,
        Self::Sha512_256,
        Self::Sha3_224,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    /// The length of a digest in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 | Self::Sha512_224 | Self::Sha3_224 => 28,
            Self::Sha256 | Self::Sha512_256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The length in bytes of the blocks in which the function works, as HMAC needs it.
    #[must_use]
    pub const fn block_length(self) -> usize {
        match self {
            Self::Md5 | Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 | Self::Sha512_224 | Self::Sha512_256 => 128,
            // Keccak's rate: the state of 200 bytes less twice the length of the digest (FIPS 202
            // section 6.1).
            Self::Sha3_224 | Self::Sha3_256 | Self::Sha3_384 | Self::Sha3_512 => {
                200 - 2 * self.length()
            }
        }
    }

    /// The name as FIPS 180-4 and FIPS 202 write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Sha512_224 => "SHA-512/224",
            Self::Sha512_256 => "SHA-512/256",
            Self::Sha3_224 => "SHA3-224",
            Self::Sha3_256 => "SHA3-256",
            Self::Sha3_384 => "SHA3-384",
            Self::Sha3_512 => "SHA3-512",
        }
    }

    /// The digest of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        let mut digest = [0; EVP_MAX_MD_SIZE as usize];
        let mut length: c_uint = 0;
        // SAFETY: `data` is valid for its length, and the output has room for the longest digest
        // there is.
        let returned = unsafe {
            EVP_Digest(
                data.as_ptr().cast(),
                data.len(),
                digest.as_mut_ptr(),
                &mut length,
                self.evp(),
                ptr::null_mut(),
            )
        };
        succeeded(returned);
        digest[..length as usize].to_vec()
    }

    /// The DER DigestInfo around `digest`, which RSA PKCS#1 v1.5 signs (RFC 8017 section 9.2, step
    /// 2).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is not as long as this function's digests.
    pub fn digest_info(self, digest: &[u8]) -> Result<Vec<u8>> {
        if digest.len() != self.length() {
            return Err(Error::DataLength);
        }
        let mut pointer = ptr::null_mut();
        let mut length = 0;
        let mut allocated: c_int = 0;
        // SAFETY: `digest` is valid for its length, and the three outputs are ours.
        let returned = unsafe {
            RSA_add_pkcs1_prefix(
                &mut pointer,
                &mut length,
                &mut allocated,
                EVP_MD_type(self.evp()),
                digest.as_ptr(),
                digest.len(),
            )
        };
        check(returned, OUT_OF_MEMORY)?;
        // SAFETY: only MD5+SHA-1, which is none of ours, gives a message that is not newly
        // allocated.
        let info = unsafe { Buffer::new(pointer, length) };
        debug_assert_eq!(allocated, 1);
        Ok(info.as_slice().to_vec())
    }

    /// The DER OBJECT IDENTIFIER in NIST's tree of hash algorithms, as HashML-DSA has it (FIPS 204
    /// section 5.4.1); MD5 and SHA-1 have none there.
    pub(crate) fn nist_oid_der(self) -> Option<[u8; 11]> {
        let last = match self {
            Self::Md5 | Self::Sha1 => return None,
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
            Self::Sha224 => 4,
            Self::Sha512_224 => 5,
            Self::Sha512_256 => 6,
            Self::Sha3_224 => 7,
            Self::Sha3_256 => 8,
            Self::Sha3_384 => 9,
            Self::Sha3_512 => 10,
        };
        // 2.16.840.1.101.3.4.2
        Some([6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last])
    }

    /// AWS-LC's description of the function: a constant that lives as long as the process.
    pub(crate) fn evp(self) -> *const EVP_MD {
        // SAFETY: these functions have no arguments and return the address of a constant.
        unsafe {
            match self {
                Self::Md5 => EVP_md5(),
                Self::Sha1 => EVP_sha1(),
                Self::Sha224 => EVP_sha224(),
                Self::Sha256 => EVP_sha256(),
                Self::Sha384 => EVP_sha384(),
                Self::Sha512 => EVP_sha512(),
                Self::Sha512_224 => EVP_sha512_224(),
                Self::Sha512_256 => EVP_sha512_256(),
                Self::Sha3_224 => EVP_sha3_224(),
                Self::Sha3_256 => EVP_sha3_256(),
                Self::Sha3_384 => EVP_sha3_384(),
                Self::Sha3_512 => EVP_sha3_512(),
            }
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest in the making. A clone continues on its own from where the original was.
pub struct Digester {
    context: Owned<EVP_MD_CTX>,
    hash: Hash,
}

// SAFETY: an EVP_MD_CTX belongs to no thread. It is changed only through `&mut self`; copying it
// reads it only.
unsafe impl Send for Digester {}
// SAFETY: as above.
unsafe impl Sync for Digester {}

impl Digester {
    /// A digest of nothing yet.
    #[must_use]
    pub fn new(hash: Hash) -> Self {
        let context = new_context();
        // SAFETY: the context is valid, the description of the hash is a constant, and null means
        // no ENGINE.
        succeeded(unsafe { EVP_DigestInit_ex(context.as_ptr(), hash.evp(), ptr::null_mut()) });
        Self { context, hash }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised, and `data` is valid for its length.
        succeeded(unsafe {
            EVP_DigestUpdate(self.context.as_ptr(), data.as_ptr().cast(), data.len())
        });
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut digest = [0; EVP_MAX_MD_SIZE as usize];
        let mut length: c_uint = 0;
        // SAFETY: the context is initialised, and the output has room for the longest digest there
        // is.
        succeeded(unsafe {
            EVP_DigestFinal_ex(self.context.as_ptr(), digest.as_mut_ptr(), &mut length)
        });
        digest[..length as usize].to_vec()
    }

    /// The hash function at work.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

impl Clone for Digester {
    fn clone(&self) -> Self {
        let context = new_context();
        // SAFETY: both contexts are valid, and the source is initialised.
        succeeded(unsafe { EVP_MD_CTX_copy_ex(context.as_ptr(), self.context.as_ptr()) });
        Self { context, hash: self.hash }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").field("hash", &self.hash).finish_non_exhaustive()
    }
}

fn new_context() -> Owned<EVP_MD_CTX> {
    // SAFETY: a constructor without arguments; the caller owns the result.
    unless_out_of_memory(unsafe { Owned::new(EVP_MD_CTX_new(), OUT_OF_MEMORY) })
}

/// Checks a call into a hash function; with valid arguments it fails for want of memory only.
fn succeeded(returned: c_int) {
    unless_out_of_memory(check(returned, OUT_OF_MEMORY));
}
