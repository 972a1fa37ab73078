//! AES-CCM with any nonce and tag that PKCS#11 allows.

use std::ffi::c_int;
use std::ptr;

use aws_lc_sys::{
    EVP_CIPHER, EVP_CIPHER_CTX_ctrl, EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_IVLEN,
    EVP_CTRL_AEAD_SET_TAG, EVP_aes_128_ccm, EVP_aes_192_ccm, EVP_aes_256_ccm,
};
use zeroize::Zeroizing;

use crate::block::{BlockKey, Cipher, Context, Direction};
use crate::error::{Error, Result};
use crate::ffi::check;

/// Encrypts by AES-CCM (NIST SP 800-38C, RFC 3610) and returns the ciphertext and behind it the
/// tag of `tag_length` bytes, an even number from 4 to 16.
///
/// `nonce` has 7 to 13 bytes; 15 less its length is that of the text's length in bytes. The same
/// one must never be used twice with one key, which is the caller's business.
///
/// # Errors
///
/// [`Error::InvalidKey`] if it is no AES key, [`Error::ParameterInvalid`] if nonce or tag has
/// another length, [`Error::DataLength`] if the text is too long for the nonce.
pub fn encrypt(
    key: &BlockKey,
    nonce: &[u8],
    associated: &[u8],
    tag_length: usize,
    plaintext: &[u8],
) -> Result<Vec<u8>> {
    fits(nonce, plaintext.len())?;
    let context = new(key, nonce, tag_length, Direction::Encrypt)?;
    set_tag(&context, tag_length, ptr::null_mut())?;
    let mut output = run(&context, key, nonce, associated, plaintext, INTERNAL)?;
    let mut tag = [0; LONGEST_TAG];
    // SAFETY: the text is encrypted, and the tag has room for the length that was set.
    let returned = unsafe {
        EVP_CIPHER_CTX_ctrl(
            context.0.as_ptr(),
            EVP_CTRL_AEAD_GET_TAG,
            tag_length as c_int,
            tag.as_mut_ptr().cast(),
        )
    };
    check(returned, INTERNAL)?;
    output.extend_from_slice(&tag[..tag_length]);
    Ok(std::mem::take(&mut *output))
}

/// Decrypts what [`encrypt`] returned. No plaintext is given out unless the tag is right.
///
/// # Errors
///
/// As [`encrypt`]; [`Error::DataLength`] if `sealed` is shorter than the tag, and
/// [`Error::EncryptedDataInvalid`] if anything was changed.
pub fn decrypt(
    key: &BlockKey,
    nonce: &[u8],
    associated: &[u8],
    tag_length: usize,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let context = new(key, nonce, tag_length, Direction::Decrypt)?;
    let length = sealed.len().checked_sub(tag_length).ok_or(Error::DataLength)?;
    fits(nonce, length)?;
    let (ciphertext, tag) = sealed.split_at(length);
    let mut tag = tag.to_vec();
    set_tag(&context, tag_length, tag.as_mut_ptr())?;
    run(&context, key, nonce, associated, ciphertext, Error::EncryptedDataInvalid)
}

fn new(key: &BlockKey, nonce: &[u8], tag_length: usize, direction: Direction) -> Result<Context> {
    if !matches!(tag_length, 4 | 6 | 8 | 10 | 12 | 14 | 16) {
        return Err(Error::ParameterInvalid("a CCM tag has 4, 6, 8, 10, 12, 14 or 16 bytes"));
    }
    if !(7..=13).contains(&nonce.len()) {
        return Err(Error::ParameterInvalid("a CCM nonce has 7 to 13 bytes"));
    }
    let context = Context::new(cipher(key)?, direction)?;
    // SAFETY: the context is valid; this command takes no pointer.
    let returned = unsafe {
        EVP_CIPHER_CTX_ctrl(
            context.0.as_ptr(),
            EVP_CTRL_AEAD_SET_IVLEN,
            nonce.len() as c_int,
            ptr::null_mut(),
        )
    };
    check(returned, INTERNAL)?;
    Ok(context)
}

/// `tag` is null, or valid for `length` bytes, which are copied.
fn set_tag(context: &Context, length: usize, tag: *mut u8) -> Result<()> {
    // SAFETY: the context is valid, and the tag is as the caller says.
    let returned = unsafe {
        EVP_CIPHER_CTX_ctrl(context.0.as_ptr(), EVP_CTRL_AEAD_SET_TAG, length as c_int, tag.cast())
    };
    check(returned, INTERNAL)
}

fn run(
    context: &Context,
    key: &BlockKey,
    nonce: &[u8],
    associated: &[u8],
    input: &[u8],
    error: Error,
) -> Result<Zeroizing<Vec<u8>>> {
    context.start(key.bytes(), nonce)?;
    context.announce(input.len(), INTERNAL)?;
    context.associated(associated, INTERNAL)?;
    let mut output = Zeroizing::new(vec![0; input.len() + LONGEST_TAG]);
    // CCM does all its work, the check of the tag too, in this one call.
    let written = context.update(&mut output, input, error)?;
    output.truncate(written);
    Ok(output)
}

fn fits(nonce: &[u8], length: usize) -> Result<()> {
    let bits = 8 * 15_u32.saturating_sub(u32::try_from(nonce.len()).unwrap_or(u32::MAX));
    if (length as u128) < 1_u128 << bits.min(64) { Ok(()) } else { Err(Error::DataLength) }
}

fn cipher(key: &BlockKey) -> Result<*const EVP_CIPHER> {
    // SAFETY: these functions have no arguments and return the address of a constant.
    Ok(unsafe {
        match key.cipher() {
            Cipher::Aes128 => EVP_aes_128_ccm(),
            Cipher::Aes192 => EVP_aes_192_ccm(),
            Cipher::Aes256 => EVP_aes_256_ccm(),
            Cipher::TripleDes | Cipher::Des => {
                return Err(Error::InvalidKey("CCM takes an AES key"));
            }
        }
    })
}

/// Bytes.
const LONGEST_TAG: usize = 16;

const INTERNAL: Error = Error::Internal("AES-CCM failed");
