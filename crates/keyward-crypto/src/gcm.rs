//! AES-GCM with any initialisation vector and tag that PKCS#11 allows.
//!
//! For data at rest there is [`SealingKey`](crate::SealingKey), which chooses its nonces itself.

use std::ffi::c_int;

use aws_lc_sys::{
    EVP_CIPHER, EVP_CIPHER_CTX_ctrl, EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_IVLEN,
    EVP_CTRL_AEAD_SET_TAG, EVP_aes_128_gcm, EVP_aes_192_gcm, EVP_aes_256_gcm,
};
use zeroize::Zeroizing;

use crate::block::{BlockKey, Cipher, Context, Direction};
use crate::error::{Error, Result};
use crate::ffi::check;

/// Encrypts by AES-GCM (NIST SP 800-38D) and returns the ciphertext and behind it the tag of
/// `tag_length` bytes: 4, 8, or 12 to 16.
///
/// The same `iv` must never be used twice with one key, which is the caller's business.
///
/// # Errors
///
/// [`Error::InvalidKey`] if it is no AES key, [`Error::ParameterInvalid`] if `iv` is empty or the
/// tag has another length, [`Error::DataLength`] if the text is longer than 2 GiB.
pub fn encrypt(
    key: &BlockKey,
    iv: &[u8],
    associated: &[u8],
    tag_length: usize,
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    let context = start(key, iv, tag_length, Direction::Encrypt)?;
    context.associated(associated, INTERNAL)?;
    let mut output = vec![0; plaintext.len() + LONGEST_TAG];
    let written = context.update(&mut output, plaintext, INTERNAL)?;
    context.finish(&mut output[written..], INTERNAL)?;
    let mut tag = [0; LONGEST_TAG];
    // SAFETY: the context has finished, and the tag has the length passed along.
    let returned = unsafe {
        EVP_CIPHER_CTX_ctrl(
            context.0.as_ptr(),
            EVP_CTRL_AEAD_GET_TAG,
            LONGEST_TAG as c_int,
            tag.as_mut_ptr().cast(),
        )
    };
    check(returned, INTERNAL)?;
    output.truncate(written);
    output.extend_from_slice(&tag[..tag_length]);
    Ok(output)
}

/// Decrypts what [`encrypt`] returned. No plaintext is given out unless the tag is right.
///
/// # Errors
///
/// As [`encrypt`]; [`Error::DataLength`] if `sealed` is shorter than the tag, and
/// [`Error::EncryptedDataInvalid`] if anything was changed.
pub fn decrypt(
    key: &BlockKey,
    iv: &[u8],
    associated: &[u8],
    tag_length: usize,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let context = start(key, iv, tag_length, Direction::Decrypt)?;
    let length = sealed.len().checked_sub(tag_length).ok_or(Error::DataLength)?;
    let (ciphertext, tag) = sealed.split_at(length);
    let mut tag = tag.to_vec();
    // SAFETY: the context is valid, the tag has the length passed along, and is only read.
    let returned = unsafe {
        EVP_CIPHER_CTX_ctrl(
            context.0.as_ptr(),
            EVP_CTRL_AEAD_SET_TAG,
            tag.len() as c_int,
            tag.as_mut_ptr().cast(),
        )
    };
    check(returned, INTERNAL)?;
    context.associated(associated, INTERNAL)?;
    let mut output = Zeroizing::new(vec![0; length + LONGEST_TAG]);
    let written = context.update(&mut output, ciphertext, INTERNAL)?;
    context.finish(&mut output[written..], Error::EncryptedDataInvalid)?;
    output.truncate(written);
    Ok(output)
}

fn start(key: &BlockKey, iv: &[u8], tag_length: usize, direction: Direction) -> Result<Context> {
    // NIST SP 800-38D section 5.2.1.2, and the two short tags of its appendix C.
    if !matches!(tag_length, 4 | 8 | 12..=16) {
        return Err(Error::ParameterInvalid("a GCM tag has 32, 64, or 96 to 128 bits"));
    }
    let iv_length = c_int::try_from(iv.len())
        .ok()
        .filter(|length| *length > 0)
        .ok_or(Error::ParameterInvalid("GCM needs an initialisation vector"))?;
    let context = Context::new(cipher(key)?, direction)?;
    // SAFETY: the context is valid; this command takes no pointer.
    let returned = unsafe {
        EVP_CIPHER_CTX_ctrl(
            context.0.as_ptr(),
            EVP_CTRL_AEAD_SET_IVLEN,
            iv_length,
            std::ptr::null_mut(),
        )
    };
    check(returned, INTERNAL)?;
    context.start(key.bytes(), iv)?;
    Ok(context)
}

fn cipher(key: &BlockKey) -> Result<*const EVP_CIPHER> {
    // SAFETY: these functions have no arguments and return the address of a constant.
    Ok(unsafe {
        match key.cipher() {
            Cipher::Aes128 => EVP_aes_128_gcm(),
            Cipher::Aes192 => EVP_aes_192_gcm(),
            Cipher::Aes256 => EVP_aes_256_gcm(),
            Cipher::TripleDes | Cipher::Des => {
                return Err(Error::InvalidKey("GCM takes an AES key"));
            }
        }
    })
}

/// Bytes.
const LONGEST_TAG: usize = 16;

const INTERNAL: Error = Error::Internal("AES-GCM failed");
