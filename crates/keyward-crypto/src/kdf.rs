//! Key derivation: HKDF, X9.63, SP 800-108 in counter and feedback mode, the PRF of TLS.

use aws_lc_sys::{CRYPTO_tls1_prf, EVP_md5_sha1, HKDF_expand, HKDF_extract};
use zeroize::Zeroizing;

use crate::block::BlockKey;
use crate::cmac::Cmac;
use crate::digest::{Digester, Hash};
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, check, unless_out_of_memory};
use crate::hmac::Hmac;

/// HKDF's first step (RFC 5869 section 2.2): a pseudorandom key as long as the hash's digests. No
/// salt is the same as an empty one.
#[must_use]
pub fn hkdf_extract(hash: Hash, salt: &[u8], secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; hash.length()]);
    let mut length = 0;
    // SAFETY: the inputs are valid for their lengths, and the output has the length of a digest.
    let returned = unsafe {
        HKDF_extract(
            key.as_mut_ptr(),
            &mut length,
            hash.evp(),
            secret.as_ptr(),
            secret.len(),
            salt.as_ptr(),
            salt.len(),
        )
    };
    unless_out_of_memory(check(returned, OUT_OF_MEMORY));
    key
}

/// HKDF's second step (RFC 5869 section 2.3): `length` bytes out of a pseudorandom key.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `length` is 0 or exceeds 255 digests.
pub fn hkdf_expand(
    hash: Hash,
    key: &[u8],
    info: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    if length == 0 || length > 255 * hash.length() {
        return Err(Error::ParameterInvalid("HKDF gives 1 byte to 255 digests"));
    }
    let mut output = Zeroizing::new(vec![0; length]);
    // SAFETY: the inputs are valid for their lengths, and so is the output.
    let returned = unsafe {
        HKDF_expand(
            output.as_mut_ptr(),
            output.len(),
            hash.evp(),
            key.as_ptr(),
            key.len(),
            info.as_ptr(),
            info.len(),
        )
    };
    check(returned, OUT_OF_MEMORY)?;
    Ok(output)
}

/// The KDF of ANSI X9.63 (SEC 1 section 3.6.1): `length` bytes out of an ECDH secret, `info` being
/// what both sides know.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `length` is 0 or exceeds 2^32 - 1 digests.
pub fn x963(hash: Hash, secret: &[u8], info: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>> {
    filled(length, u64::from(u32::MAX), |counter| {
        let mut digester = Digester::new(hash);
        digester.update(secret);
        // At most 2^32 - 1, see above.
        digester.update(&(counter as u32).to_be_bytes());
        digester.update(info);
        digester.finish().into()
    })
}

/// What SP 800-108 builds on.
#[derive(Clone, Debug)]
pub enum Prf {
    /// HMAC with this hash and key.
    Hmac(Hmac),
    /// CMAC with a block cipher's key.
    Cmac(Cmac),
}

impl Prf {
    /// HMAC; the key may have any length.
    #[must_use]
    pub fn hmac(hash: Hash, key: &[u8]) -> Self {
        Self::Hmac(Hmac::new(hash, key))
    }

    /// CMAC.
    #[must_use]
    pub fn cmac(key: &BlockKey) -> Self {
        Self::Cmac(Cmac::new(key))
    }

    /// The length in bytes of what it gives: h of SP 800-108.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Hmac(hmac) => hmac.hash().length(),
            Self::Cmac(cmac) => cmac.length(),
        }
    }

    fn of(&self, data: &[u8]) -> Zeroizing<Vec<u8>> {
        match self.clone() {
            Self::Hmac(mut hmac) => {
                hmac.update(data);
                hmac.finish()
            }
            Self::Cmac(mut cmac) => {
                cmac.update(data);
                cmac.finish()
            }
        }
    }
}

/// The KDF of NIST SP 800-108 in counter mode (section 4.1): `length` bytes, of which the n-th block
/// is the PRF over what `input` gives for n, counted from 1.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `length` is 0 or more than `most` blocks, as many as the counter
/// in the input can count.
pub fn counter_mode(
    prf: &Prf,
    length: usize,
    most: u64,
    input: impl Fn(u64) -> Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>> {
    filled(length, most, |counter| prf.of(&Zeroizing::new(input(counter))))
}

/// The KDF of NIST SP 800-108 in feedback mode (section 4.2): `length` bytes, of which the n-th block
/// is the PRF over what `input` gives for n, counted from 1, and for the block before, of which the
/// first is `iv`.
///
/// # Errors
///
/// As [`counter_mode`].
pub fn feedback_mode(
    prf: &Prf,
    iv: &[u8],
    length: usize,
    most: u64,
    input: impl Fn(u64, &[u8]) -> Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut before = Zeroizing::new(iv.to_vec());
    filled(length, most, |counter| {
        before = prf.of(&Zeroizing::new(input(counter, &before)));
        before.clone()
    })
}

/// The PRF of TLS 1.2 (RFC 5246 section 5): `length` bytes.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `length` is 0.
pub fn tls12_prf(
    hash: Hash,
    secret: &[u8],
    label: &[u8],
    seed: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    tls_prf(hash.evp(), secret, label, seed, length)
}

/// The PRF of TLS 1.0 and 1.1 (RFC 2246 section 5), out of MD5 and SHA-1: `length` bytes.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `length` is 0.
pub fn tls10_prf(
    secret: &[u8],
    label: &[u8],
    seed: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    // SAFETY: the function has no arguments and returns the address of a constant.
    tls_prf(unsafe { EVP_md5_sha1() }, secret, label, seed, length)
}

fn tls_prf(
    digest: *const aws_lc_sys::EVP_MD,
    secret: &[u8],
    label: &[u8],
    seed: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    if length == 0 {
        return Err(NOTHING);
    }
    let mut output = Zeroizing::new(vec![0; length]);
    // SAFETY: the digest is a constant, the inputs are valid for their lengths, and so is the
    // output; the second seed is empty.
    let returned = unsafe {
        CRYPTO_tls1_prf(
            digest,
            output.as_mut_ptr(),
            output.len(),
            secret.as_ptr(),
            secret.len(),
            label.as_ptr().cast(),
            label.len(),
            seed.as_ptr(),
            seed.len(),
            std::ptr::null(),
            0,
        )
    };
    check(returned, OUT_OF_MEMORY)?;
    Ok(output)
}

/// `length` bytes out of blocks that are counted from 1.
fn filled(
    length: usize,
    most: u64,
    mut block: impl FnMut(u64) -> Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>> {
    if length == 0 {
        return Err(NOTHING);
    }
    // With its full capacity, so that no copy of the secret is left behind when it grows.
    let mut output = Zeroizing::new(Vec::with_capacity(length));
    for counter in 1.. {
        if counter > most {
            return Err(Error::ParameterInvalid("more is asked for than the counter can count"));
        }
        let block = block(counter);
        let wanted = block.len().min(length - output.len());
        output.extend_from_slice(&block[..wanted]);
        if output.len() == length {
            break;
        }
    }
    Ok(output)
}

const NOTHING: Error = Error::ParameterInvalid("a derived key has at least one byte");
