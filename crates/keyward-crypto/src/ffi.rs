//! Owners for AWS-LC's objects, and the few patterns in which its functions are called.
//!
//! AWS-LC reports an error by its return value and leaves details in a queue of the calling thread.
//! Nobody here reads that queue, and what is left in it would confuse another user of AWS-LC in the
//! same process (rustls is one), so every failure goes through [`failed`], which empties it.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys::{
    BIGNUM, BN_GENCB, BN_GENCB_free, BN_bin2bn, BN_bn2bin, BN_bn2bin_padded, BN_clear_free,
    BN_num_bytes, CBB, CBB_cleanup, CBB_finish, CBB_init, CBS, CBS_init, CBS_len, CMAC_CTX,
    CMAC_CTX_free, CRYPTO_memcmp, DH, DH_free, DSA, DSA_SIG, DSA_SIG_free, DSA_free, EC_KEY,
    EC_KEY_free, EC_POINT, EC_POINT_free, ECDSA_SIG, ECDSA_SIG_free, ERR_clear_error,
    EVP_CIPHER_CTX, EVP_CIPHER_CTX_free, EVP_MD_CTX, EVP_MD_CTX_free, EVP_PKEY, EVP_PKEY_CTX,
    EVP_PKEY_CTX_free, EVP_PKEY_free, EVP_PKEY_get_raw_private_key, EVP_PKEY_get_raw_public_key,
    EVP_PKEY_get0_EC_KEY, EVP_PKEY_get0_RSA, EVP_PKEY_id, EVP_PKEY_new, EVP_PKEY_set1_EC_KEY,
    EVP_PKEY_set1_RSA, EVP_PKEY_up_ref, EVP_marshal_private_key, EVP_marshal_public_key,
    EVP_parse_private_key, EVP_parse_public_key, HMAC_CTX, HMAC_CTX_free, OPENSSL_free, RSA,
    RSA_free,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// An AWS-LC object that is freed when its owner goes.
pub(crate) struct Owned<T: Free>(NonNull<T>);

impl<T: Free> Owned<T> {
    /// Takes over what a constructor returned; null means that the constructor failed, with
    /// `error`.
    ///
    /// # Safety
    ///
    /// `pointer` is null, or a valid object of which the caller owns one reference and gives it up.
    pub(crate) unsafe fn new(pointer: *mut T, error: Error) -> Result<Self> {
        match NonNull::new(pointer) {
            Some(pointer) => Ok(Self(pointer)),
            None => Err(failed(error)),
        }
    }

    /// Gives the object away, to a function that takes ownership.
    pub(crate) fn into_raw(self) -> *mut T {
        let pointer = self.as_ptr();
        std::mem::forget(self);
        pointer
    }

    /// The object; valid as long as `self` is.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Free> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `self` owns one reference to a valid object, and nobody uses `self` after this.
        unsafe { T::free(self.as_ptr()) }
    }
}

/// How a kind of AWS-LC object is freed.
pub(crate) trait Free {
    /// Drops one reference to the object.
    ///
    /// # Safety
    ///
    /// The caller owns that reference and never uses it again.
    unsafe fn free(pointer: *mut Self);
}

macro_rules! freed_by {
    ($($object:ty => $free:ident),* $(,)?) => {
        $(impl Free for $object {
            unsafe fn free(pointer: *mut Self) {
                // SAFETY: this is the function that AWS-LC documents for the type; the caller owns
                // the reference.
                unsafe { $free(pointer) }
            }
        })*
    };
}

freed_by! {
    BIGNUM => BN_clear_free,
    BN_GENCB => BN_GENCB_free,
    CMAC_CTX => CMAC_CTX_free,
    DH => DH_free,
    DSA => DSA_free,
    DSA_SIG => DSA_SIG_free,
    EC_KEY => EC_KEY_free,
    EC_POINT => EC_POINT_free,
    ECDSA_SIG => ECDSA_SIG_free,
    EVP_CIPHER_CTX => EVP_CIPHER_CTX_free,
    EVP_MD_CTX => EVP_MD_CTX_free,
    EVP_PKEY => EVP_PKEY_free,
    EVP_PKEY_CTX => EVP_PKEY_CTX_free,
    HMAC_CTX => HMAC_CTX_free,
    RSA => RSA_free,
}

/// A key of any kind, public or private, that nothing changes any more.
pub(crate) struct Pkey(Owned<EVP_PKEY>);

// SAFETY: AWS-LC allows any number of threads to use one EVP_PKEY, and the RSA or EC_KEY in it, at
// once, as long as none calls a mutating function (openssl/evp.h, rsa.h, ec_key.h: "may be used
// concurrently"). A `Pkey` is complete when it is made, and no code here changes it afterwards:
// signing, decrypting, marshalling and counting references are documented as non-mutating; RSA's
// cache of blinding values has a lock of its own. The other kinds (Ed25519, ML-DSA, ML-KEM) are
// plain bytes that are only read.
unsafe impl Send for Pkey {}
// SAFETY: as above.
unsafe impl Sync for Pkey {}

impl Pkey {
    pub(crate) fn from_rsa(rsa: &Owned<RSA>) -> Result<Self> {
        // SAFETY: a constructor without arguments; the caller of EVP_PKEY_new owns the result.
        let pkey = unsafe { Owned::new(EVP_PKEY_new(), OUT_OF_MEMORY) }?;
        // SAFETY: both are valid; `set1` takes a reference of its own to the RSA object.
        let returned = unsafe { EVP_PKEY_set1_RSA(pkey.as_ptr(), rsa.as_ptr()) };
        check(returned, OUT_OF_MEMORY)?;
        Ok(Self(pkey))
    }

    pub(crate) fn from_ec(ec: &Owned<EC_KEY>) -> Result<Self> {
        // SAFETY: a constructor without arguments; the caller of EVP_PKEY_new owns the result.
        let pkey = unsafe { Owned::new(EVP_PKEY_new(), OUT_OF_MEMORY) }?;
        // SAFETY: both are valid; `set1` takes a reference of its own to the EC_KEY object.
        let returned = unsafe { EVP_PKEY_set1_EC_KEY(pkey.as_ptr(), ec.as_ptr()) };
        check(returned, OUT_OF_MEMORY)?;
        Ok(Self(pkey))
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8) of any algorithm that AWS-LC knows.
    pub(crate) fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        // SAFETY: `parse` passes a valid CBS; the caller of EVP_parse_private_key owns the result.
        let pkey = parse(der, |input| unsafe {
            Owned::new(
                EVP_parse_private_key(input),
                Error::InvalidKey("this is not a PKCS#8 private key"),
            )
        })?;
        Ok(Self(pkey))
    }

    /// Reads a DER SubjectPublicKeyInfo of any algorithm that AWS-LC knows.
    pub(crate) fn from_spki_der(der: &[u8]) -> Result<Self> {
        // SAFETY: `parse` passes a valid CBS; the caller of EVP_parse_public_key owns the result.
        let pkey = parse(der, |input| unsafe {
            Owned::new(
                EVP_parse_public_key(input),
                Error::InvalidKey("this is not a SubjectPublicKeyInfo"),
            )
        })?;
        Ok(Self(pkey))
    }

    /// Takes over a key that AWS-LC made.
    ///
    /// Nothing may change the key afterwards, see `Send` above.
    pub(crate) fn from_owned(pkey: Owned<EVP_PKEY>) -> Self {
        Self(pkey)
    }

    pub(crate) fn as_ptr(&self) -> *mut EVP_PKEY {
        self.0.as_ptr()
    }

    /// EVP_PKEY_RSA and the like.
    pub(crate) fn id(&self) -> c_int {
        // SAFETY: the key is valid.
        unsafe { EVP_PKEY_id(self.as_ptr()) }
    }

    /// The private key's own bytes, for the kinds that have such a form.
    pub(crate) fn raw_private_key(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.raw(EVP_PKEY_get_raw_private_key)
    }

    /// The public key's own bytes, for the kinds that have such a form.
    pub(crate) fn raw_public_key(&self) -> Result<Vec<u8>> {
        self.raw(EVP_PKEY_get_raw_public_key).map(|mut bytes| std::mem::take(&mut *bytes))
    }

    fn raw(&self, read: ReadRaw) -> Result<Zeroizing<Vec<u8>>> {
        const MISSING: Error = Error::InvalidKey("the key has no such part");

        let mut length = 0;
        // SAFETY: the key is valid, and with a null buffer only the length is written.
        check(unsafe { read(self.as_ptr(), ptr::null_mut(), &mut length) }, MISSING)?;
        let mut bytes = Zeroizing::new(vec![0; length]);
        // SAFETY: the buffer has the length passed along.
        check(unsafe { read(self.as_ptr(), bytes.as_mut_ptr(), &mut length) }, MISSING)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The RSA key inside, or null if this is no RSA key.
    pub(crate) fn rsa(&self) -> *mut RSA {
        // SAFETY: the EVP_PKEY is valid; a key of another kind gives null and an error in the
        // queue.
        let rsa = unsafe { EVP_PKEY_get0_RSA(self.as_ptr()) };
        if rsa.is_null() {
            clear_errors();
        }
        rsa
    }

    /// The EC key inside, or null if this is no EC key.
    pub(crate) fn ec(&self) -> *mut EC_KEY {
        // SAFETY: the EVP_PKEY is valid; a key of another kind gives null and an error in the
        // queue.
        let ec = unsafe { EVP_PKEY_get0_EC_KEY(self.as_ptr()) };
        if ec.is_null() {
            clear_errors();
        }
        ec
    }

    /// The DER PrivateKeyInfo of a private key that is complete.
    pub(crate) fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        // SAFETY: `marshal` passes a valid CBB, and the key is valid.
        unless_out_of_memory(marshal(|output| unsafe {
            EVP_marshal_private_key(output, self.as_ptr())
        }))
    }

    /// The DER SubjectPublicKeyInfo.
    pub(crate) fn spki_der(&self) -> Vec<u8> {
        // SAFETY: `marshal` passes a valid CBB, and the key is valid.
        let mut der = unless_out_of_memory(marshal(|output| unsafe {
            EVP_marshal_public_key(output, self.as_ptr())
        }));
        std::mem::take(&mut *der)
    }
}

impl Clone for Pkey {
    fn clone(&self) -> Self {
        // SAFETY: the key is valid. The count cannot fail, and the new reference belongs to the new
        // owner.
        unsafe { EVP_PKEY_up_ref(self.as_ptr()) };
        Self(Owned(self.0.0))
    }
}

type ReadRaw = unsafe extern "C" fn(*const EVP_PKEY, *mut u8, *mut usize) -> c_int;

/// A buffer that AWS-LC allocated; OPENSSL_free wipes it before it is given back.
pub(crate) struct Buffer {
    pointer: *mut u8,
    length: usize,
}

impl Buffer {
    /// # Safety
    ///
    /// `pointer` came from AWS-LC's allocator, has `length` initialised bytes, and belongs to the
    /// caller; or it is null.
    pub(crate) unsafe fn new(pointer: *mut u8, length: usize) -> Self {
        Self { pointer, length }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.pointer.is_null() {
            return &[];
        }
        // SAFETY: the constructor's contract: `length` initialised bytes, owned by `self`.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the constructor's contract: the buffer is AWS-LC's and owned by `self`. Null is
        // allowed.
        unsafe { OPENSSL_free(self.pointer.cast()) }
    }
}

/// Runs a parser over `der` and demands that it reads all of it.
pub(crate) fn parse<T>(der: &[u8], parser: impl FnOnce(*mut CBS) -> Result<T>) -> Result<T> {
    let mut input = MaybeUninit::<CBS>::uninit();
    // SAFETY: CBS_init initialises the whole struct, and `der` outlives it.
    unsafe { CBS_init(input.as_mut_ptr(), der.as_ptr(), der.len()) };
    let parsed = parser(input.as_mut_ptr())?;
    // SAFETY: initialised above; a parser only advances it.
    if unsafe { CBS_len(input.as_ptr()) } != 0 {
        return Err(failed(Error::InvalidKey("there are bytes after the end of the key")));
    }
    Ok(parsed)
}

/// Runs a writer and returns what it wrote.
pub(crate) fn marshal(writer: impl FnOnce(*mut CBB) -> c_int) -> Result<Zeroizing<Vec<u8>>> {
    const FAILED: Error = Error::Internal("a key could not be encoded");

    let mut output = MaybeUninit::<CBB>::zeroed();
    // SAFETY: CBB_init initialises the struct, which does not move until it is finished or cleaned
    // up.
    let returned = unsafe { CBB_init(output.as_mut_ptr(), MARSHAL_CAPACITY) };
    check(returned, OUT_OF_MEMORY)?;
    let mut pointer = ptr::null_mut();
    let mut length = 0;
    let mut finished = writer(output.as_mut_ptr());
    if finished == 1 {
        // SAFETY: the CBB is initialised; CBB_finish hands over its buffer, which `Buffer` then
        // owns.
        finished = unsafe { CBB_finish(output.as_mut_ptr(), &mut pointer, &mut length) };
    }
    if finished != 1 {
        // SAFETY: initialised above, not finished.
        unsafe { CBB_cleanup(output.as_mut_ptr()) };
        return Err(failed(FAILED));
    }
    // SAFETY: CBB_finish succeeded: the buffer holds `length` bytes and is ours.
    let buffer = unsafe { Buffer::new(pointer, length) };
    Ok(Zeroizing::new(buffer.as_slice().to_vec()))
}

/// A non-negative number from its big-endian bytes, of any length.
pub(crate) fn number(bytes: &[u8]) -> Result<Owned<BIGNUM>> {
    // SAFETY: the slice is valid for its length; a null third argument asks for a new BIGNUM, which
    // the caller owns.
    unsafe { Owned::new(BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()), OUT_OF_MEMORY) }
}

/// The big-endian bytes of a non-negative number, without leading zeros.
///
/// # Safety
///
/// `number` is a valid BIGNUM.
pub(crate) unsafe fn number_bytes(number: *const BIGNUM) -> Zeroizing<Vec<u8>> {
    // SAFETY: valid by contract; BN_bn2bin writes exactly BN_num_bytes bytes.
    unsafe {
        let mut bytes = Zeroizing::new(vec![0; BN_num_bytes(number) as usize]);
        BN_bn2bin(number, bytes.as_mut_ptr());
        bytes
    }
}

/// The big-endian bytes of a non-negative number, with leading zeros up to `length`; an `error` if
/// it needs more.
///
/// # Safety
///
/// `number` is a valid BIGNUM.
pub(crate) unsafe fn number_bytes_padded(
    number: *const BIGNUM,
    length: usize,
    error: Error,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    // SAFETY: valid by contract; the buffer has `length` bytes.
    let returned = unsafe { BN_bn2bin_padded(bytes.as_mut_ptr(), length, number) };
    check(returned, error)?;
    Ok(bytes)
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    // SAFETY: both slices are valid for their lengths, and these are equal.
    one.len() == other.len()
        && unsafe { CRYPTO_memcmp(one.as_ptr().cast(), other.as_ptr().cast(), one.len()) } == 0
}

/// Turns AWS-LC's 1 into `Ok`, and everything else into `error`.
pub(crate) fn check(returned: c_int, error: Error) -> Result<()> {
    if returned == 1 { Ok(()) } else { Err(failed(error)) }
}

/// Unwraps the result of a call that, with the arguments it got, fails for want of memory only.
///
/// # Panics
///
/// When memory runs out. A panic, not an abort: this code runs inside other people's processes,
/// which catch it.
#[track_caller]
pub(crate) fn unless_out_of_memory<T>(result: Result<T>) -> T {
    // See above; every caller says why nothing else can be wrong.
    #[expect(clippy::expect_used)]
    result.expect("AWS-LC ran out of memory")
}

/// Empties the thread's error queue, and passes `error` on.
pub(crate) fn failed(error: Error) -> Error {
    clear_errors();
    error
}

fn clear_errors() {
    // SAFETY: touches nothing but the calling thread's error queue.
    unsafe { ERR_clear_error() }
}

pub(crate) const OUT_OF_MEMORY: Error = Error::Internal("out of memory");

/// Bytes to start with; the private key of RSA-2048 takes some 1200.
const MARSHAL_CAPACITY: usize = 1536;
