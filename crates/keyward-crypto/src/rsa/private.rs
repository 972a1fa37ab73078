//! RSA private keys: signing and decryption.

use std::ffi::c_int;
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    BIGNUM, RSA, RSA_NO_PADDING, RSA_PKCS1_PADDING, RSA_check_key, RSA_generate_key_ex, RSA_get0_d,
    RSA_get0_dmp1, RSA_get0_dmq1, RSA_get0_iqmp, RSA_get0_p, RSA_get0_q, RSA_new,
    RSA_new_private_key, RSA_new_private_key_no_crt, RSA_parse_private_key, RSA_sign_pss_mgf1,
};
use zeroize::Zeroizing;

use super::{Direction, PKCS1_OVERHEAD, RsaKey, RsaPublicKey, Transform, public};
use crate::digest::Hash;
use crate::error::{Error, Result};
use crate::ffi::{
    OUT_OF_MEMORY, Owned, Pkey, check, number, number_bytes, parse, unless_out_of_memory,
};
use crate::hmac::hmac;
use crate::kdf::hkdf_expand;

/// An RSA private key, all parts of which are consistent: the exponents, and the two primes with
/// their CRT values unless it was built without them.
#[derive(Clone)]
pub struct RsaPrivateKey(RsaKey);

impl RsaPrivateKey {
    /// Makes a new key of `bits` bits, 512 to 8192 in steps of 128, and an odd public exponent
    /// from 3 to 2^32 - 1.
    ///
    /// Below 2048 bits a key is for those alone who must; callers refuse it by their own rules. This
    /// takes from some 50 milliseconds (2048) to many seconds (8192).
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedKeySize`], or [`Error::ParameterInvalid`] for the exponent.
    pub fn generate(bits: u32, public_exponent: &[u8]) -> Result<Self> {
        // AWS-LC would silently round down to a multiple of 128.
        if !PRIVATE_BITS.contains(&bits) || !bits.is_multiple_of(128) {
            return Err(Error::UnsupportedKeySize);
        }
        let exponent = trimmed(public_exponent);
        let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
        if !is_odd || exponent == [1] || exponent.len() > 4 {
            return Err(Error::ParameterInvalid(
                "the public exponent must be odd and from 3 to 4294967295",
            ));
        }
        let exponent = number(exponent)?;
        // SAFETY: a constructor without arguments; the caller owns the result.
        let rsa = unsafe { Owned::new(RSA_new(), OUT_OF_MEMORY) }?;
        // SAFETY: both objects are valid, no other thread knows them, and null means no progress
        // callback. `bits` fits.
        let returned = unsafe {
            RSA_generate_key_ex(rsa.as_ptr(), bits as c_int, exponent.as_ptr(), ptr::null_mut())
        };
        check(returned, Error::Internal("an RSA key could not be generated"))?;
        Self::from_pkey(Pkey::from_rsa(&rsa)?)
    }

    /// Builds a key from its parts and checks that they belong together.
    ///
    /// A key without primes signs and decrypts some three times slower, and has no PKCS#8.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if a part is out of range, or two parts contradict each other;
    /// [`Error::UnsupportedKeySize`].
    pub fn from_components(
        modulus: &[u8],
        public_exponent: &[u8],
        private_exponent: &[u8],
        primes: Option<RsaPrimes<'_>>,
    ) -> Result<Self> {
        let [n, e, d] = [number(modulus)?, number(public_exponent)?, number(private_exponent)?];
        let Some(primes) = primes else {
            // SAFETY: all three numbers are valid. The function copies them, checks their sizes, and
            // the caller owns the result.
            let rsa = unsafe {
                let rsa = RSA_new_private_key_no_crt(n.as_ptr(), e.as_ptr(), d.as_ptr());
                Owned::new(rsa, INCONSISTENT)
            }?;
            let key = Self::from_pkey(Pkey::from_rsa(&rsa)?)?;
            // AWS-LC undoes each signature with the public exponent before it gives it away.
            key.sign_pkcs1_raw(b"one").map_err(|_| INCONSISTENT)?;
            return Ok(key);
        };
        let [p, q] = [number(primes.prime_1)?, number(primes.prime_2)?];
        let [dmp1, dmq1] = [number(primes.exponent_1)?, number(primes.exponent_2)?];
        let iqmp = number(primes.coefficient)?;
        // SAFETY: all eight numbers are valid. RSA_new_private_key copies and checks them
        // (RSA_check_key: n = pq, de = 1 mod p-1 and q-1, the CRT values), and the caller owns the
        // result.
        let rsa = unsafe {
            let rsa = RSA_new_private_key(
                n.as_ptr(),
                e.as_ptr(),
                d.as_ptr(),
                p.as_ptr(),
                q.as_ptr(),
                dmp1.as_ptr(),
                dmq1.as_ptr(),
                iqmp.as_ptr(),
            );
            Owned::new(rsa, INCONSISTENT)
        }?;
        Self::from_pkey(Pkey::from_rsa(&rsa)?)
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse, is not RSA, or contradicts itself;
    /// [`Error::UnsupportedKeySize`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        Self::from_pkey(Pkey::from_pkcs8_der(der)?)
    }

    /// Reads a DER RSAPrivateKey (PKCS#1, RFC 8017 appendix A.1.2).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or contradicts itself;
    /// [`Error::UnsupportedKeySize`].
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self> {
        // SAFETY: `parse` passes a valid CBS; the caller of RSA_parse_private_key owns the result.
        let rsa = parse(der, |input| unsafe {
            Owned::new(
                RSA_parse_private_key(input),
                Error::InvalidKey("this is not a PKCS#1 private key"),
            )
        })?;
        Self::from_pkey(Pkey::from_rsa(&rsa)?)
    }

    /// Takes a key over, if it is one that this type can promise things about.
    pub(crate) fn from_pkey(pkey: Pkey) -> Result<Self> {
        let key = RsaKey::new(pkey)?;
        if !PRIVATE_BITS.contains(&key.bits()) {
            return Err(Error::UnsupportedKeySize);
        }
        // SAFETY: the key is valid, and RSA_check_key does not change it.
        let returned = unsafe { RSA_check_key(key.rsa()) };
        check(returned, INCONSISTENT)?;
        let key = Self(key);
        key.components()?;
        Ok(key)
    }

    /// Copies the key into the form in which PKCS#11 has it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if a part is missing, which the constructors exclude.
    pub fn components(&self) -> Result<RsaPrivateComponents> {
        Ok(RsaPrivateComponents {
            modulus: self.0.modulus(),
            public_exponent: self.0.public_exponent(),
            private_exponent: self.secret_part(RSA_get0_d)?,
            primes: if self.has_primes() { Some(self.primes()?) } else { None },
        })
    }

    fn has_primes(&self) -> bool {
        // SAFETY: the key is valid, and the function gives null for a missing part.
        !unsafe { RSA_get0_p(self.0.rsa()) }.is_null()
    }

    fn primes(&self) -> Result<RsaPrimeComponents> {
        Ok(RsaPrimeComponents {
            prime_1: self.secret_part(RSA_get0_p)?,
            prime_2: self.secret_part(RSA_get0_q)?,
            exponent_1: self.secret_part(RSA_get0_dmp1)?,
            exponent_2: self.secret_part(RSA_get0_dmq1)?,
            coefficient: self.secret_part(RSA_get0_iqmp)?,
        })
    }

    fn secret_part(&self, part: Part) -> Result<Zeroizing<Vec<u8>>> {
        // SAFETY: the key is valid, and `part` is one of AWS-LC's RSA_get0 functions, which give
        // null for a missing part.
        let number = unsafe { part(self.0.rsa()) };
        if number.is_null() {
            return Err(Error::InvalidKey("parts of the RSA private key are missing"));
        }
        // SAFETY: nothing changes the key: the number lives as long as `self`.
        Ok(unsafe { number_bytes(number) })
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the key was built without its primes, which the form wants.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        if self.has_primes() {
            Ok(self.0.pkey.pkcs8_der())
        } else {
            Err(Error::InvalidKey("the RSA key has no primes, and PKCS#8 wants them"))
        }
    }

    /// The public half. It holds nothing secret and shares no memory with the private key.
    #[must_use]
    pub fn public(&self) -> RsaPublicKey {
        // A checked private key has a valid public half of an allowed size.
        unless_out_of_memory(RsaPublicKey::new(&self.0.modulus(), &self.0.public_exponent()))
    }

    /// The length of the modulus in bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.0.bits()
    }

    /// The length of the modulus in bytes: k, that of every signature and ciphertext.
    #[must_use]
    pub fn modulus_length(&self) -> usize {
        self.0.modulus_length()
    }

    /// Signs `data`, at most k - 11 bytes, after padding it as a PKCS#1 v1.5 block of type 1 (RFC
    /// 8017 section 9.2).
    ///
    /// Nothing is put around `data`: for a standard signature it is a [`Hash::digest_info`].
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `data` is too long.
    pub fn sign_pkcs1_raw(&self, data: &[u8]) -> Result<Vec<u8>> {
        if data.len() > self.modulus_length() - PKCS1_OVERHEAD {
            return Err(Error::DataLength);
        }
        let error = Error::Internal("an RSA signature could not be made");
        self.0.transform(Transform::Sign, RSA_PKCS1_PADDING, data, error).map(public)
    }

    /// Signs `digest`, made with `hash`, by RSASSA-PSS (RFC 8017 section 8.1) with a random salt of
    /// `salt_length` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is not as long as `hash` makes them,
    /// [`Error::ParameterInvalid`] if hash and salt do not fit into the key.
    pub fn sign_pss(
        &self,
        hash: Hash,
        mgf_hash: Hash,
        salt_length: usize,
        digest: &[u8],
    ) -> Result<Vec<u8>> {
        let salt_length = self.0.pss_salt_length(hash, salt_length, digest)?;
        let mut signature = vec![0; self.modulus_length()];
        let mut length = 0;
        // SAFETY: the key is valid and this is no mutation of it; the buffers are valid for the
        // lengths passed along.
        let returned = unsafe {
            RSA_sign_pss_mgf1(
                self.0.rsa(),
                &mut length,
                signature.as_mut_ptr(),
                signature.len(),
                digest.as_ptr(),
                digest.len(),
                hash.evp(),
                mgf_hash.evp(),
                salt_length,
            )
        };
        check(returned, Error::Internal("an RSA signature could not be made"))?;
        signature.truncate(length);
        Ok(signature)
    }

    /// Raises `input` to the private exponent: the private side of CKM_RSA_X_509. Returns k bytes.
    ///
    /// `input` has at most k bytes and counts as if zeros stood before it.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if it has more than k bytes, [`Error::DataInvalid`] if it is not below
    /// the modulus, or is 0, 1 or the modulus less one, which AWS-LC refuses because blinding
    /// cannot hide them.
    pub fn raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let block = self.0.padded_block(input)?;
        self.0.transform(Transform::Decrypt, RSA_NO_PADDING, &block, Error::DataInvalid)
    }

    /// Decrypts by RSAES-PKCS1-v1_5 (RFC 8017 section 7.2).
    ///
    /// Whoever can ask this for chosen ciphertexts and learn whether it succeeded can decrypt
    /// without the key in time (Bleichenbacher 1998); that lies in the scheme. The padding itself
    /// is checked in constant time.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `ciphertext` has not k bytes, [`Error::EncryptedDataInvalid`] if it
    /// does not decrypt.
    pub fn decrypt_pkcs1(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.0.check_length(ciphertext, Error::DataLength)?;
        self.0.transform(
            Transform::Decrypt,
            RSA_PKCS1_PADDING,
            ciphertext,
            Error::EncryptedDataInvalid,
        )
    }

    /// Takes RSAES-PKCS1-v1_5 off a wrapped key of a length that `fits` allows, in bytes.
    ///
    /// What the ciphertext holds makes no difference that whoever sent it could learn from
    /// (implicit rejection, draft-irtf-cfrg-rsa-guidance): where there is no padding, or not a key
    /// of such a length behind it, bytes come out that depend on nothing but the ciphertext and
    /// this key, always the same ones.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `ciphertext` has not k bytes, [`Error::DataInvalid`] if it is not
    /// below the modulus, [`Error::ParameterInvalid`] if no length fits: all of them can be told
    /// without the key.
    pub fn unwrap_pkcs1(
        &self,
        ciphertext: &[u8],
        fits: impl Fn(usize) -> bool,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.0.check_length(ciphertext, Error::DataLength)?;
        if ciphertext >= self.0.modulus().as_slice() {
            return Err(Error::DataInvalid);
        }
        let most = self.modulus_length() - PKCS1_OVERHEAD;
        let lengths: Vec<usize> = (1..=most).filter(|length| fits(*length)).collect();
        // Both are made whichever is taken.
        let substitute = self.substitute(ciphertext, &lengths)?;
        let decrypted = self.decrypt_pkcs1(ciphertext).ok();
        Ok(match decrypted {
            Some(key) if fits(key.len()) => key,
            _ => substitute,
        })
    }

    /// Bytes of one of the lengths, out of the ciphertext and this key.
    fn substitute(&self, ciphertext: &[u8], lengths: &[usize]) -> Result<Zeroizing<Vec<u8>>> {
        if lengths.is_empty() {
            return Err(Error::ParameterInvalid("no key of that length fits into the RSA key"));
        }
        let private_exponent = self.secret_part(RSA_get0_d)?;
        let secret = Zeroizing::new(Hash::Sha256.digest(&private_exponent));
        let seed = hmac(Hash::Sha256, &secret, ciphertext);
        let chosen = hkdf_expand(Hash::Sha256, &seed, b"keyward length", 8)?;
        let chosen = chosen.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // There are fewer than 2^16, so that none is likelier than another by much.
        let length = lengths[(chosen % lengths.len() as u64) as usize];
        hkdf_expand(Hash::Sha256, &seed, b"keyward key", length)
    }

    /// Decrypts by RSAES-OAEP (RFC 8017 section 7.1).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `ciphertext` has not k bytes, [`Error::EncryptedDataInvalid`] if it
    /// does not decrypt with these parameters.
    pub fn decrypt_oaep(
        &self,
        hash: Hash,
        mgf_hash: Hash,
        label: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.0.check_length(ciphertext, Error::DataLength)?;
        self.0.oaep(Direction::Decrypt, hash, mgf_hash, label, ciphertext)
    }
}

impl TryFrom<&RsaPrivateComponents> for RsaPrivateKey {
    type Error = Error;

    fn try_from(components: &RsaPrivateComponents) -> Result<Self> {
        let primes = components.primes.as_ref().map(|primes| RsaPrimes {
            prime_1: &primes.prime_1,
            prime_2: &primes.prime_2,
            exponent_1: &primes.exponent_1,
            exponent_2: &primes.exponent_2,
            coefficient: &primes.coefficient,
        });
        Self::from_components(
            &components.modulus,
            &components.public_exponent,
            &components.private_exponent,
            primes,
        )
    }
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPrivateKey").field("bits", &self.bits()).finish_non_exhaustive()
    }
}

/// The parts of an RSA private key under PKCS#11's names (v3.1 section 6.1.3), without leading
/// zeros.
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are PKCS#11's")]
pub struct RsaPrivateComponents {
    pub modulus: Vec<u8>,
    pub public_exponent: Vec<u8>,
    pub private_exponent: Zeroizing<Vec<u8>>,
    pub primes: Option<RsaPrimeComponents>,
}

/// The parts that a key may do without.
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are PKCS#11's")]
pub struct RsaPrimeComponents {
    pub prime_1: Zeroizing<Vec<u8>>,
    pub prime_2: Zeroizing<Vec<u8>>,
    pub exponent_1: Zeroizing<Vec<u8>>,
    pub exponent_2: Zeroizing<Vec<u8>>,
    pub coefficient: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for RsaPrimeComponents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPrimeComponents").finish_non_exhaustive()
    }
}

impl fmt::Debug for RsaPrivateComponents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPrivateComponents")
            .field("modulus_length", &self.modulus.len())
            .finish_non_exhaustive()
    }
}

/// The secret parts that [`RsaPrivateKey::from_components`] takes besides the exponents; leading
/// zeros are allowed.
#[derive(Clone, Copy)]
pub struct RsaPrimes<'a> {
    /// p
    pub prime_1: &'a [u8],
    /// q
    pub prime_2: &'a [u8],
    /// d mod (p - 1)
    pub exponent_1: &'a [u8],
    /// d mod (q - 1)
    pub exponent_2: &'a [u8],
    /// The inverse of q mod p
    pub coefficient: &'a [u8],
}

/// The number without leading zeros.
fn trimmed(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    &number[start..]
}

type Part = unsafe extern "C" fn(*const RSA) -> *const BIGNUM;

const INCONSISTENT: Error =
    Error::InvalidKey("the parts of the RSA private key contradict each other");

const PRIVATE_BITS: std::ops::RangeInclusive<u32> = 505..=8192;
