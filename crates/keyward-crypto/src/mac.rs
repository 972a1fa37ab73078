//! What the authentication codes have in common; HMAC and HKDF with SHA-256, for tickets and for
//! deriving keys.

use aws_lc_rs::{hkdf, hmac};

use crate::error::{Error, Result};
use crate::ffi;

/// HMAC-SHA-256 (RFC 2104) of `data`; the key may have any length.
#[must_use]
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Checks a whole, untruncated HMAC-SHA-256 in constant time.
///
/// # Errors
///
/// [`Error::Unauthentic`] if `tag` is not that of `data`.
pub fn hmac_sha256_verify(key: &[u8], data: &[u8], tag: &[u8]) -> Result<()> {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), data, tag).map_err(|_| Error::Unauthentic)
}

/// Fills `out` with key material derived by HKDF-SHA-256 (RFC 5869).
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if more than 255 * 32 bytes are asked for.
pub fn hkdf_sha256(secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> Result<()> {
    const TOO_LONG: Error = Error::ParameterInvalid("HKDF-SHA-256 gives at most 8160 bytes");

    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], Length(out.len()))
        .map_err(|_| TOO_LONG)?
        .fill(out)
        .map_err(|_| TOO_LONG)
}

/// Checks, in constant time, that `given` is the first `length` bytes of `own`.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `length` is 0 or more than `own` has, [`Error::SignatureLength`] if
/// `given` has another, [`Error::SignatureInvalid`] if it differs.
pub fn compare(own: &[u8], length: usize, given: &[u8]) -> Result<()> {
    if length == 0 || length > own.len() {
        return Err(Error::ParameterInvalid("the authentication code is never of that length"));
    }
    if given.len() != length {
        return Err(Error::SignatureLength);
    }
    if ffi::equal(&own[..length], given) { Ok(()) } else { Err(Error::SignatureInvalid) }
}

/// The length of the output in bytes, in the form in which `aws-lc-rs` asks for it.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
