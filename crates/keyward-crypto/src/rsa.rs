//! RSA: the operations behind CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_RSA_PKCS_OAEP and CKM_RSA_X_509.
//!
//! In what follows, k is the length of the modulus in bytes, and all numbers are big-endian and
//! unsigned.

mod private;
mod public;

pub use self::private::{RsaPrimeComponents, RsaPrimes, RsaPrivateComponents, RsaPrivateKey};
pub use self::public::RsaPublicKey;

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys::{
    EVP_PKEY_CTX, EVP_PKEY_CTX_new, EVP_PKEY_CTX_set_rsa_mgf1_md, EVP_PKEY_CTX_set_rsa_oaep_md,
    EVP_PKEY_CTX_set_rsa_padding, EVP_PKEY_CTX_set0_rsa_oaep_label, EVP_PKEY_RSA, EVP_PKEY_decrypt,
    EVP_PKEY_decrypt_init, EVP_PKEY_encrypt, EVP_PKEY_encrypt_init, EVP_PKEY_id, OPENSSL_free,
    OPENSSL_memdup, RSA, RSA_PKCS1_OAEP_PADDING, RSA_bits, RSA_decrypt, RSA_encrypt, RSA_get0_e,
    RSA_get0_n, RSA_sign_raw, RSA_size, RSA_verify_raw,
};
use zeroize::Zeroizing;

use crate::digest::Hash;
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, Pkey, check, failed, number_bytes};

/// What private and public keys have in common: an EVP_PKEY that holds an RSA object with modulus
/// and public exponent.
#[derive(Clone)]
pub(crate) struct RsaKey {
    pub(crate) pkey: Pkey,
}

impl RsaKey {
    pub(crate) fn new(pkey: Pkey) -> Result<Self> {
        // SAFETY: the EVP_PKEY is valid. A key restricted to PSS has an id of its own, and its RSA
        // object is not enough to represent it.
        if unsafe { EVP_PKEY_id(pkey.as_ptr()) } != EVP_PKEY_RSA || pkey.rsa().is_null() {
            return Err(Error::InvalidKey("it is not an RSA key"));
        }
        let key = Self { pkey };
        // SAFETY: the key is valid. Blinding needs the public exponent.
        if unsafe { RSA_get0_n(key.rsa()).is_null() || RSA_get0_e(key.rsa()).is_null() } {
            return Err(Error::InvalidKey("the RSA modulus or public exponent is missing"));
        }
        Ok(key)
    }

    pub(crate) fn rsa(&self) -> *mut RSA {
        self.pkey.rsa()
    }

    pub(crate) fn bits(&self) -> u32 {
        // SAFETY: the key is valid and has a modulus.
        unsafe { RSA_bits(self.rsa()) }
    }

    pub(crate) fn modulus_length(&self) -> usize {
        // SAFETY: the key is valid and has a modulus.
        unsafe { RSA_size(self.rsa()) as usize }
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        // SAFETY: the key has a modulus, which lives as long as `self`.
        public(unsafe { number_bytes(RSA_get0_n(self.rsa())) })
    }

    pub(crate) fn public_exponent(&self) -> Vec<u8> {
        // SAFETY: the key has a public exponent, which lives as long as `self`.
        public(unsafe { number_bytes(RSA_get0_e(self.rsa())) })
    }

    pub(crate) fn check_length(&self, block: &[u8], error: Error) -> Result<()> {
        if block.len() == self.modulus_length() { Ok(()) } else { Err(error) }
    }

    /// `input` with zeros before it, up to k bytes, if that is below the modulus.
    pub(crate) fn padded_block(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let padding = self.modulus_length().checked_sub(input.len()).ok_or(Error::DataLength)?;
        let mut block = Zeroizing::new(vec![0; self.modulus_length()]);
        block[padding..].copy_from_slice(input);
        if *block >= self.modulus() {
            return Err(Error::DataInvalid);
        }
        Ok(block)
    }

    /// The salt length in AWS-LC's form, if hash and salt fit into the key (RFC 8017 section 9.1.1,
    /// step 3).
    pub(crate) fn pss_salt_length(
        &self,
        hash: Hash,
        salt_length: usize,
        digest: &[u8],
    ) -> Result<c_int> {
        if digest.len() != hash.length() {
            return Err(Error::DataLength);
        }
        // The encoded message has one bit less than the modulus.
        let room = (self.bits() as usize - 1).div_ceil(8);
        match c_int::try_from(salt_length) {
            Ok(length) if salt_length <= room.saturating_sub(hash.length() + 2) => Ok(length),
            _ => Err(Error::ParameterInvalid("the hash and the salt do not fit into the RSA key")),
        }
    }

    /// One of AWS-LC's four RSA operations; whatever the caller has not ruled out fails with
    /// `error`.
    pub(crate) fn transform(
        &self,
        transform: Transform,
        padding: c_int,
        input: &[u8],
        error: Error,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let function = match transform {
            Transform::Sign => RSA_sign_raw,
            Transform::Verify => RSA_verify_raw,
            Transform::Encrypt => RSA_encrypt,
            Transform::Decrypt => RSA_decrypt,
        };
        let mut output = Zeroizing::new(vec![0; self.modulus_length()]);
        let mut length = 0;
        // SAFETY: the key is valid, and the four are documented as non-mutating. The buffers are
        // valid for the lengths passed along, and the output has the k bytes that the functions ask
        // for.
        let returned = unsafe {
            function(
                self.rsa(),
                &mut length,
                output.as_mut_ptr(),
                output.len(),
                input.as_ptr(),
                input.len(),
                padding,
            )
        };
        check(returned, error)?;
        output.truncate(length);
        Ok(output)
    }

    pub(crate) fn oaep(
        &self,
        direction: Direction,
        hash: Hash,
        mgf_hash: Hash,
        label: &[u8],
        input: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        const SETUP: Error = Error::Internal("OAEP could not be set up");

        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns
        // the context.
        let context = unsafe {
            Owned::new(EVP_PKEY_CTX_new(self.pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY)
        }?;
        let (start, function, error) = direction.functions();
        // SAFETY: the context is valid and belongs to this call alone; the hashes are constants.
        unsafe {
            check(start(context.as_ptr()), SETUP)?;
            check(EVP_PKEY_CTX_set_rsa_padding(context.as_ptr(), RSA_PKCS1_OAEP_PADDING), SETUP)?;
            check(EVP_PKEY_CTX_set_rsa_oaep_md(context.as_ptr(), hash.evp()), SETUP)?;
            check(EVP_PKEY_CTX_set_rsa_mgf1_md(context.as_ptr(), mgf_hash.evp()), SETUP)?;
        }
        set_label(&context, label)?;
        let mut output = Zeroizing::new(vec![0; self.modulus_length()]);
        let mut length = output.len();
        // SAFETY: the context is set up; the buffers are valid for the lengths passed along; a key
        // that is used for encryption or decryption is not changed.
        let returned = unsafe {
            function(
                context.as_ptr(),
                output.as_mut_ptr(),
                &mut length,
                input.as_ptr(),
                input.len(),
            )
        };
        check(returned, error)?;
        output.truncate(length);
        Ok(output)
    }
}

/// Gives the context a copy of the label; none is the same as an empty one.
fn set_label(context: &Owned<EVP_PKEY_CTX>, label: &[u8]) -> Result<()> {
    if label.is_empty() {
        return Ok(());
    }
    // SAFETY: the slice is valid for its length.
    let copy = unsafe { OPENSSL_memdup(label.as_ptr().cast(), label.len()) };
    if copy.is_null() {
        return Err(failed(OUT_OF_MEMORY));
    }
    // SAFETY: the context is valid; on success it owns the copy, which came from AWS-LC's
    // allocator.
    if unsafe { EVP_PKEY_CTX_set0_rsa_oaep_label(context.as_ptr(), copy.cast(), label.len()) } != 1
    {
        // SAFETY: the copy is still ours.
        unsafe { OPENSSL_free(copy) };
        return Err(failed(Error::Internal("OAEP could not be set up")));
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub(crate) enum Transform {
    Sign,
    Verify,
    Encrypt,
    Decrypt,
}

#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Encrypt,
    Decrypt,
}

impl Direction {
    fn functions(self) -> (Start, Run, Error) {
        match self {
            Self::Encrypt => {
                (EVP_PKEY_encrypt_init, EVP_PKEY_encrypt, Error::Internal("RSA could not encrypt"))
            }
            Self::Decrypt => (EVP_PKEY_decrypt_init, EVP_PKEY_decrypt, Error::EncryptedDataInvalid),
        }
    }
}

type Start = unsafe extern "C" fn(*mut EVP_PKEY_CTX) -> c_int;
type Run = unsafe extern "C" fn(*mut EVP_PKEY_CTX, *mut u8, *mut usize, *const u8, usize) -> c_int;

/// Takes out of its wrapping what is no secret.
pub(crate) fn public(mut bytes: Zeroizing<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut *bytes)
}

/// Bytes of a PKCS#1 v1.5 block that are not data, at the least.
pub(crate) const PKCS1_OVERHEAD: usize = 11;
