//! DSA (FIPS 186-4), for old programs: FIPS 186-5 has dropped it.
//!
//! Signatures are r || s, both as long as the subprime, as PKCS#11 has them (v3.1 section 6.2.1).

use std::ffi::{c_int, c_uint};
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    BIGNUM, DSA, DSA_SIG_get0, DSA_SIG_new, DSA_SIG_set0, DSA_do_check_signature, DSA_do_sign,
    DSA_generate_parameters_ex, DSA_get0_pqg, DSA_new, DSA_set0_key, DSA_set0_pqg,
};
use zeroize::Zeroizing;

use crate::dh::{DhGroup, DhPrivateKey};
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, check, number, number_bytes, number_bytes_padded};
use crate::random;
use crate::search::{self, Stop};

/// The numbers that many keys may share; all are big-endian and unsigned. That the primes are
/// primes is the business of whoever chose them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DsaParameters {
    prime: Vec<u8>,
    subprime: Vec<u8>,
    base: Vec<u8>,
}

impl DsaParameters {
    /// Parameters with a prime of 1024 to 3072 bits and a subprime of 160, 224 or 256.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedKeySize`], or [`Error::InvalidKey`] if a number is even or out of range.
    pub fn new(prime: &[u8], subprime: &[u8], base: &[u8]) -> Result<Self> {
        let trimmed = [prime, subprime, base].map(|number| {
            let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
            &number[start..]
        });
        let [prime, subprime, base] = trimmed;
        if !matches!(prime.len(), 128..=384) || !matches!(subprime.len(), 20 | 28 | 32) {
            return Err(Error::UnsupportedKeySize);
        }
        // The same conditions on prime and base.
        DhGroup::new(prime, base)?;
        if subprime.last().is_none_or(|last| last % 2 == 0) {
            return Err(Error::InvalidKey("the DSA subprime is even"));
        }
        Ok(Self { prime: prime.to_vec(), subprime: subprime.to_vec(), base: base.to_vec() })
    }

    /// Draws new parameters with a prime of 1024 to 3072 bits, in steps of 64, and a subprime of 160
    /// bits, from 2048 on 256. This takes seconds.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedKeySize`], [`Error::Stopped`].
    pub fn generate(bits: u32, stop: Stop<'_>) -> Result<Self> {
        if !(1024..=3072).contains(&bits) || !bits.is_multiple_of(64) {
            return Err(Error::UnsupportedKeySize);
        }
        // SAFETY: a constructor without arguments; the caller owns the result.
        let dsa = unsafe { Owned::new(DSA_new(), OUT_OF_MEMORY) }?;
        let (mut p, mut q, mut g): (*const BIGNUM, *const BIGNUM, *const BIGNUM) =
            (ptr::null(), ptr::null(), ptr::null());
        let failed = Error::Internal("DSA parameters could not be generated");
        // SAFETY: object and callback are valid, and null means: no seed given, no counters wanted.
        search::run(stop, failed, |callback| unsafe {
            DSA_generate_parameters_ex(
                dsa.as_ptr(),
                bits as c_uint,
                ptr::null(),
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                callback,
            )
        })?;
        // SAFETY: the object is valid, and the numbers live as long as it.
        unsafe {
            DSA_get0_pqg(dsa.as_ptr(), &mut p, &mut q, &mut g);
            Self::new(&number_bytes(p), &number_bytes(q), &number_bytes(g))
        }
    }

    /// p.
    #[must_use]
    pub fn prime(&self) -> &[u8] {
        &self.prime
    }

    /// q.
    #[must_use]
    pub fn subprime(&self) -> &[u8] {
        &self.subprime
    }

    /// g.
    #[must_use]
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    fn group(&self) -> Result<DhGroup> {
        DhGroup::new(&self.prime, &self.base)
    }

    fn key(&self, public: &[u8], private: Option<&[u8]>) -> Result<Owned<DSA>> {
        let [p, q, g] = [number(&self.prime)?, number(&self.subprime)?, number(&self.base)?];
        let (public, private) = (number(public)?, private.map(number).transpose()?);
        // SAFETY: a constructor without arguments; the caller owns the result.
        let key = unsafe { Owned::new(DSA_new(), OUT_OF_MEMORY) }?;
        // SAFETY: all are valid; `set0` takes the numbers over, and with all of them given neither
        // fails.
        unsafe {
            check(
                DSA_set0_pqg(key.as_ptr(), p.into_raw(), q.into_raw(), g.into_raw()),
                OUT_OF_MEMORY,
            )?;
            check(
                DSA_set0_key(
                    key.as_ptr(),
                    public.into_raw(),
                    private.map_or(ptr::null_mut(), Owned::into_raw),
                ),
                OUT_OF_MEMORY,
            )?;
        }
        Ok(key)
    }
}

/// A DSA private key together with its public one.
pub struct DsaPrivateKey {
    key: Owned<DSA>,
    parameters: DsaParameters,
    value: Zeroizing<Vec<u8>>,
    public_value: Vec<u8>,
}

// SAFETY: AWS-LC allows any number of threads to use one DSA object at once, as long as none calls a
// mutating function; what it computes on first use is under a lock. Nothing here changes the key
// once it is made.
unsafe impl Send for DsaPrivateKey {}
// SAFETY: as above.
unsafe impl Sync for DsaPrivateKey {}

impl DsaPrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if AWS-LC refuses the parameters.
    pub fn generate(parameters: &DsaParameters) -> Result<Self> {
        let mut value = Zeroizing::new(vec![0; parameters.subprime.len()]);
        // Numbers below q, all alike: those that are not are drawn again (FIPS 186-4 appendix
        // B.1.2).
        loop {
            random::fill(&mut value);
            if *value < parameters.subprime && value.iter().any(|&byte| byte != 0) {
                return Self::from_value(parameters, &value);
            }
        }
    }

    /// Builds a key from its private value (CKA_VALUE).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the value is 0 or not below the subprime.
    pub fn from_value(parameters: &DsaParameters, value: &[u8]) -> Result<Self> {
        const RANGE: Error = Error::InvalidKey("the DSA private value is out of range");

        let excess = value.len().saturating_sub(parameters.subprime.len());
        let (leading, rest) = value.split_at(excess);
        let mut padded = Zeroizing::new(vec![0; parameters.subprime.len() - rest.len()]);
        padded.extend_from_slice(rest);
        if leading.iter().any(|&byte| byte != 0) || *padded >= parameters.subprime {
            return Err(RANGE);
        }
        // The public value is the base raised to the private one, as in Diffie-Hellman.
        let pair = DhPrivateKey::from_value(&parameters.group()?, &padded).map_err(|_| RANGE)?;
        let public_value = pair.public_value();
        Ok(Self {
            key: parameters.key(&public_value, Some(&padded))?,
            parameters: parameters.clone(),
            value: padded,
            public_value,
        })
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &DsaParameters {
        &self.parameters
    }

    /// The private value, as long as the subprime.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The public half.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn public(&self) -> Result<DsaPublicKey> {
        DsaPublicKey::new(&self.parameters, &self.public_value)
    }

    /// Signs `digest`, of which the leftmost bits count, as many as the subprime has, and returns
    /// r || s.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is empty.
    pub fn sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        // SAFETY: the key is valid and passed as const; `digest` is valid for its length; the
        // caller owns the result.
        let signature = unsafe {
            Owned::new(
                DSA_do_sign(digest.as_ptr(), digest.len(), self.key.as_ptr()),
                Error::Internal("a DSA signature could not be made"),
            )
        }?;
        let (mut r, mut s): (*const BIGNUM, *const BIGNUM) = (ptr::null(), ptr::null());
        let length = self.parameters.subprime.len();
        let mut raw = Vec::with_capacity(2 * length);
        // SAFETY: the signature is valid, and so are its two numbers as long as it is.
        unsafe {
            DSA_SIG_get0(signature.as_ptr(), &mut r, &mut s);
            raw.extend_from_slice(&number_bytes_padded(r, length, Error::SignatureInvalid)?);
            raw.extend_from_slice(&number_bytes_padded(s, length, Error::SignatureInvalid)?);
        }
        Ok(raw)
    }
}

impl fmt::Debug for DsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DsaPrivateKey").finish_non_exhaustive()
    }
}

/// A DSA public key.
pub struct DsaPublicKey {
    key: Owned<DSA>,
    parameters: DsaParameters,
    value: Vec<u8>,
}

// SAFETY: as for `DsaPrivateKey`.
unsafe impl Send for DsaPublicKey {}
// SAFETY: as above.
unsafe impl Sync for DsaPublicKey {}

impl DsaPublicKey {
    /// Builds a key from its public value (CKA_VALUE).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the value is 0 or not below the prime.
    pub fn new(parameters: &DsaParameters, value: &[u8]) -> Result<Self> {
        let start = value.iter().position(|&byte| byte != 0).unwrap_or(value.len());
        let value = &value[start..];
        let prime = parameters.prime();
        if value.is_empty()
            || value.len() > prime.len()
            || (value.len() == prime.len() && value >= prime)
        {
            return Err(Error::InvalidKey("the DSA public value is out of range"));
        }
        Ok(Self {
            key: parameters.key(value, None)?,
            parameters: parameters.clone(),
            value: value.to_vec(),
        })
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &DsaParameters {
        &self.parameters
    }

    /// The public value, without leading zeros.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Checks a signature r || s over `digest`.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is empty, [`Error::SignatureLength`],
    /// [`Error::SignatureInvalid`].
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        let length = self.parameters.subprime.len();
        if signature.len() != 2 * length {
            return Err(Error::SignatureLength);
        }
        let (r, s) = signature.split_at(length);
        let (r, s) = (number(r)?, number(s)?);
        // SAFETY: a constructor without arguments; the caller owns the result.
        let parsed = unsafe { Owned::new(DSA_SIG_new(), OUT_OF_MEMORY) }?;
        // SAFETY: all three are valid. `set0` takes ownership if it succeeds, and it fails for null
        // pointers only.
        let returned = unsafe { DSA_SIG_set0(parsed.as_ptr(), r.into_raw(), s.into_raw()) };
        check(returned, OUT_OF_MEMORY)?;
        let mut valid: c_int = 0;
        // SAFETY: key and signature are valid and passed as const; `digest` is valid for its
        // length.
        let returned = unsafe {
            DSA_do_check_signature(
                &mut valid,
                digest.as_ptr(),
                digest.len(),
                parsed.as_ptr(),
                self.key.as_ptr(),
            )
        };
        check(returned, Error::SignatureInvalid)?;
        check(valid, Error::SignatureInvalid)
    }
}

impl fmt::Debug for DsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DsaPublicKey").finish_non_exhaustive()
    }
}
