//! Diffie-Hellman over the numbers modulo a prime (PKCS#3), for old programs.

use std::ffi::{c_int, c_uint};
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    BIGNUM, BN_get_rfc3526_prime_1536, BN_get_rfc3526_prime_2048, BN_get_rfc3526_prime_3072,
    BN_get_rfc3526_prime_4096, BN_get_rfc3526_prime_6144, BN_get_rfc3526_prime_8192, BN_num_bits,
    DH, DH_GENERATOR_2, DH_compute_key_padded, DH_generate_key, DH_generate_parameters_ex,
    DH_get0_key, DH_get0_pqg, DH_new, DH_set_length, DH_set0_key, DH_set0_pqg, DH_size,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, check, number, number_bytes};
use crate::search::{self, Stop};

/// A prime and a base, as PKCS#3 has them; all numbers are big-endian and unsigned. That the prime
/// is one is the business of whoever chose it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhGroup {
    prime: Vec<u8>,
    base: Vec<u8>,
}

impl DhGroup {
    /// A group with a prime of 512 to 8192 bits.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedKeySize`], or [`Error::InvalidKey`] if the prime is even or the base out
    /// of range.
    pub fn new(prime: &[u8], base: &[u8]) -> Result<Self> {
        let group = Self { prime: prime.to_vec(), base: base.to_vec() };
        let p = number(prime)?;
        // SAFETY: the number is valid.
        let bits = unsafe { BN_num_bits(p.as_ptr()) };
        if !BITS.contains(&bits) {
            return Err(Error::UnsupportedKeySize);
        }
        // Makes a key for nothing, which checks the group as every use of it would.
        let key = group.key()?;
        // SAFETY: the key is valid, and no other thread knows it.
        check(unsafe { DH_generate_key(key.as_ptr()) }, GROUP)?;
        Ok(group)
    }

    /// A group with a safe prime of `bits` bits and the base 2: of 1536, 2048, 3072, 4096, 6144 and
    /// 8192 bits the one of RFC 3526, which many have looked at; of other sizes from 1024 to 2047 a
    /// new one, which takes seconds.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedKeySize`], [`Error::Stopped`].
    pub fn generate(bits: u32, stop: Stop<'_>) -> Result<Self> {
        let known: Known = match bits {
            1536 => BN_get_rfc3526_prime_1536,
            2048 => BN_get_rfc3526_prime_2048,
            3072 => BN_get_rfc3526_prime_3072,
            4096 => BN_get_rfc3526_prime_4096,
            6144 => BN_get_rfc3526_prime_6144,
            8192 => BN_get_rfc3526_prime_8192,
            1024..2048 => return Self::search(bits, stop),
            _ => return Err(Error::UnsupportedKeySize),
        };
        // SAFETY: null asks for a new number, which the caller owns.
        let prime = unsafe { Owned::new(known(ptr::null_mut()), OUT_OF_MEMORY) }?;
        // SAFETY: the number is valid.
        let prime = unsafe { number_bytes(prime.as_ptr()) };
        Ok(Self { prime: prime.to_vec(), base: vec![2] })
    }

    fn search(bits: u32, stop: Stop<'_>) -> Result<Self> {
        // SAFETY: a constructor without arguments; the caller owns the result.
        let dh = unsafe { Owned::new(DH_new(), OUT_OF_MEMORY) }?;
        let failed = Error::Internal("a Diffie-Hellman group could not be generated");
        // SAFETY: object and callback are valid.
        search::run(stop, failed, |callback| unsafe {
            DH_generate_parameters_ex(dh.as_ptr(), bits as c_int, DH_GENERATOR_2, callback)
        })?;
        let mut p: *const BIGNUM = ptr::null();
        // SAFETY: the object is valid and has a prime, which lives as long as it.
        let prime = unsafe {
            DH_get0_pqg(dh.as_ptr(), &mut p, ptr::null_mut(), ptr::null_mut());
            number_bytes(p)
        };
        Ok(Self { prime: prime.to_vec(), base: vec![2] })
    }

    /// The prime.
    #[must_use]
    pub fn prime(&self) -> &[u8] {
        &self.prime
    }

    /// The base.
    #[must_use]
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    /// A key without a private or a public part.
    fn key(&self) -> Result<Owned<DH>> {
        let [p, g] = [number(&self.prime)?, number(&self.base)?];
        // SAFETY: a constructor without arguments; the caller owns the result.
        let key = unsafe { Owned::new(DH_new(), OUT_OF_MEMORY) }?;
        // SAFETY: all are valid; `set0` takes the numbers over, and with a prime and a base given it
        // cannot fail.
        let returned =
            unsafe { DH_set0_pqg(key.as_ptr(), p.into_raw(), ptr::null_mut(), g.into_raw()) };
        check(returned, GROUP)?;
        Ok(key)
    }
}

/// A private key in a [`DhGroup`], together with its public one.
pub struct DhPrivateKey {
    key: Owned<DH>,
    group: DhGroup,
}

// SAFETY: AWS-LC allows any number of threads to use one DH object at once, as long as none calls a
// mutating function; what it computes on first use is under a lock. Nothing here changes the key
// once it is made.
unsafe impl Send for DhPrivateKey {}
// SAFETY: as above.
unsafe impl Sync for DhPrivateKey {}

impl DhPrivateKey {
    /// Makes a new key; its private value has `bits` bits, or as many as the prime if `None`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if AWS-LC refuses the group.
    pub fn generate(group: &DhGroup, bits: Option<u32>) -> Result<Self> {
        let key = group.key()?;
        if let Some(bits) = bits {
            // SAFETY: the key is valid.
            unsafe { DH_set_length(key.as_ptr(), bits as c_uint) };
        }
        // SAFETY: the key is valid, and no other thread knows it.
        check(unsafe { DH_generate_key(key.as_ptr()) }, GROUP)?;
        Ok(Self { key, group: group.clone() })
    }

    /// Builds a key from its private value (CKA_VALUE).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the value is 0 or not below the prime.
    pub fn from_value(group: &DhGroup, value: &[u8]) -> Result<Self> {
        let value = number(value)?;
        let prime = number(&group.prime)?;
        // SAFETY: both numbers are valid.
        let (bits, most) = unsafe { (BN_num_bits(value.as_ptr()), BN_num_bits(prime.as_ptr())) };
        if bits == 0 || bits > most {
            return Err(Error::InvalidKey("the private value is out of range"));
        }
        let key = group.key()?;
        // SAFETY: both are valid, and `set0` takes the number over; a private value without a
        // public one is allowed.
        let returned = unsafe { DH_set0_key(key.as_ptr(), ptr::null_mut(), value.into_raw()) };
        check(returned, OUT_OF_MEMORY)?;
        // SAFETY: the key is valid, and no other thread knows it. With a private value there, this
        // computes the public one.
        check(unsafe { DH_generate_key(key.as_ptr()) }, GROUP)?;
        Ok(Self { key, group: group.clone() })
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &DhGroup {
        &self.group
    }

    /// The private value, without leading zeros.
    #[must_use]
    pub fn value(&self) -> Zeroizing<Vec<u8>> {
        let mut value: *const BIGNUM = ptr::null();
        // SAFETY: the key is valid and has a private value, which lives as long as it.
        unsafe {
            DH_get0_key(self.key.as_ptr(), ptr::null_mut(), &mut value);
            number_bytes(value)
        }
    }

    /// The public value, without leading zeros.
    #[must_use]
    pub fn public_value(&self) -> Vec<u8> {
        let mut value: *const BIGNUM = ptr::null();
        // SAFETY: the key is valid and has a public value, which lives as long as it.
        unsafe {
            DH_get0_key(self.key.as_ptr(), &mut value, ptr::null_mut());
            number_bytes(value).to_vec()
        }
    }

    /// What both sides share, as long as the prime, with leading zeros.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if the other side's public value is out of range.
    pub fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        const PEER: Error =
            Error::ParameterInvalid("the other side's public value is out of range");

        let peer = number(peer)?;
        // SAFETY: the key is valid.
        let length = unsafe { DH_size(self.key.as_ptr()) };
        let mut secret = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
        // SAFETY: all are valid, and the output has DH_size bytes, which is what is written. The
        // other side's value is checked on the way (NIST SP 800-56A section 5.6.2.3.1).
        let written =
            unsafe { DH_compute_key_padded(secret.as_mut_ptr(), peer.as_ptr(), self.key.as_ptr()) };
        check(c_int::from(written == length), PEER)?;
        Ok(secret)
    }
}

impl fmt::Debug for DhPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DhPrivateKey").finish_non_exhaustive()
    }
}

/// Gives one of the known primes.
type Known = unsafe extern "C" fn(*mut BIGNUM) -> *mut BIGNUM;

const GROUP: Error = Error::InvalidKey("the prime or the base is out of range");

/// Of the prime.
const BITS: std::ops::RangeInclusive<c_uint> = 512..=8192;
