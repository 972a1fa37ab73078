//! RSA: the operations behind CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_RSA_PKCS_OAEP and CKM_RSA_X_509.
//!
//! In what follows, k is the length of the modulus in bytes, and all numbers are big-endian and unsigned.

use std::ffi::c_int;
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    BIGNUM,
    EVP_PKEY_CTX, EVP_PKEY_CTX_new, EVP_PKEY_CTX_set_rsa_mgf1_md, EVP_PKEY_CTX_set_rsa_oaep_md,
    EVP_PKEY_CTX_set_rsa_padding, EVP_PKEY_CTX_set0_rsa_oaep_label, EVP_PKEY_RSA, EVP_PKEY_decrypt,
    EVP_PKEY_decrypt_init, EVP_PKEY_encrypt, EVP_PKEY_encrypt_init, EVP_PKEY_id, OPENSSL_free, OPENSSL_memdup, RSA,
    RSA_NO_PADDING, RSA_PKCS1_OAEP_PADDING, RSA_PKCS1_PADDING, RSA_bits, RSA_check_key, RSA_decrypt, RSA_encrypt,
    RSA_generate_key_ex, RSA_get0_d, RSA_get0_dmp1, RSA_get0_dmq1, RSA_get0_e, RSA_get0_iqmp, RSA_get0_n, RSA_get0_p,
    RSA_get0_q, RSA_new, RSA_new_private_key, RSA_new_public_key, RSA_parse_private_key, RSA_sign_pss_mgf1,
    RSA_sign_raw, RSA_size, RSA_verify_pss_mgf1, RSA_verify_raw,
};
use zeroize::Zeroizing;

use crate::digest::Hash;
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, Pkey, check, failed, number, number_bytes, parse, unless_out_of_memory};

/// An RSA private key with its two primes and CRT values, all of them consistent.
#[derive(Clone)]
pub struct RsaPrivateKey(RsaKey);

impl RsaPrivateKey {
    /// Makes a new key of `bits` bits, 2048 to 8192 in steps of 128, and an odd public exponent from 3 to 2^32 - 1.
    ///
    /// This takes from some 50 milliseconds (2048) to many seconds (8192).
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
            return Err(Error::ParameterInvalid("the public exponent must be odd and from 3 to 4294967295"));
        }
        let exponent = number(exponent)?;
        // SAFETY: a constructor without arguments; the caller owns the result.
        let rsa = unsafe { Owned::new(RSA_new(), OUT_OF_MEMORY) }?;
        // SAFETY: both objects are valid, no other thread knows them, and null means no progress callback. `bits` fits.
        let returned = unsafe { RSA_generate_key_ex(rsa.as_ptr(), bits as c_int, exponent.as_ptr(), ptr::null_mut()) };
        check(returned, Error::Internal("an RSA key could not be generated"))?;
        Self::from_pkey(Pkey::from_rsa(&rsa)?)
    }

    /// Builds a key from its parts and checks that they belong together.
    ///
    /// The primes and the CRT values are needed: AWS-LC has no function that recovers them from the two exponents, and
    /// a key without them could be neither checked nor stored as PKCS#8.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if `primes` is `None`, a part is out of range, or two parts contradict each other;
    /// [`Error::UnsupportedKeySize`].
    pub fn from_components(
        modulus: &[u8],
        public_exponent: &[u8],
        private_exponent: &[u8],
        primes: Option<RsaPrimes<'_>>,
    ) -> Result<Self> {
        let primes = primes.ok_or(Error::InvalidKey("the primes and the CRT values of the RSA key are missing"))?;
        let [n, e, d] = [number(modulus)?, number(public_exponent)?, number(private_exponent)?];
        let [p, q] = [number(primes.prime_1)?, number(primes.prime_2)?];
        let [dmp1, dmq1] = [number(primes.exponent_1)?, number(primes.exponent_2)?];
        let iqmp = number(primes.coefficient)?;
        // SAFETY: all eight numbers are valid. RSA_new_private_key copies and checks them (RSA_check_key: n = pq,
        // de = 1 mod p-1 and q-1, the CRT values), and the caller owns the result.
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
    /// [`Error::InvalidKey`] if it does not parse, is not RSA, or contradicts itself; [`Error::UnsupportedKeySize`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        Self::from_pkey(Pkey::from_pkcs8_der(der)?)
    }

    /// Reads a DER RSAPrivateKey (PKCS#1, RFC 8017 appendix A.1.2).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or contradicts itself; [`Error::UnsupportedKeySize`].
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self> {
        // SAFETY: `parse` passes a valid CBS; the caller of RSA_parse_private_key owns the result.
        let rsa = parse(der, |input| unsafe {
            Owned::new(RSA_parse_private_key(input), Error::InvalidKey("this is not a PKCS#1 private key"))
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
        check(unsafe { RSA_check_key(key.rsa()) }, INCONSISTENT)?;
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
            prime_1: self.secret_part(RSA_get0_p)?,
            prime_2: self.secret_part(RSA_get0_q)?,
            exponent_1: self.secret_part(RSA_get0_dmp1)?,
            exponent_2: self.secret_part(RSA_get0_dmq1)?,
            coefficient: self.secret_part(RSA_get0_iqmp)?,
        })
    }

    fn secret_part(&self, part: Part) -> Result<Zeroizing<Vec<u8>>> {
        // SAFETY: the key is valid, and `part` is one of AWS-LC's RSA_get0 functions, which give null for a missing part.
        let number = unsafe { part(self.0.rsa()) };
        if number.is_null() {
            return Err(Error::InvalidKey("parts of the RSA private key are missing"));
        }
        // SAFETY: nothing changes the key: the number lives as long as `self`.
        Ok(unsafe { number_bytes(number) })
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.0.pkey.pkcs8_der()
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

    /// Signs `data`, at most k - 11 bytes, after padding it as a PKCS#1 v1.5 block of type 1 (RFC 8017 section 9.2).
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

    /// Signs `digest`, made with `hash`, by RSASSA-PSS (RFC 8017 section 8.1) with a random salt of `salt_length` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is not as long as `hash` makes them, [`Error::ParameterInvalid`] if hash and
    /// salt do not fit into the key.
    pub fn sign_pss(&self, hash: Hash, mgf_hash: Hash, salt_length: usize, digest: &[u8]) -> Result<Vec<u8>> {
        let salt_length = self.0.pss_salt_length(hash, salt_length, digest)?;
        let mut signature = vec![0; self.modulus_length()];
        let mut length = 0;
        // SAFETY: the key is valid and this is no mutation of it; the buffers are valid for the lengths passed along.
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
    /// [`Error::DataLength`] if it has more than k bytes, [`Error::DataInvalid`] if it is not below the modulus, or is
    /// 0, 1 or the modulus less one, which AWS-LC refuses because blinding cannot hide them.
    pub fn raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let block = self.0.padded_block(input)?;
        self.0.transform(Transform::Decrypt, RSA_NO_PADDING, &block, Error::DataInvalid)
    }

    /// Decrypts by RSAES-PKCS1-v1_5 (RFC 8017 section 7.2).
    ///
    /// Whoever can ask this for chosen ciphertexts and learn whether it succeeded can decrypt without the key in time
    /// (Bleichenbacher 1998); that lies in the scheme. The padding itself is checked in constant time.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `ciphertext` has not k bytes, [`Error::EncryptedDataInvalid`] if it does not decrypt.
    pub fn decrypt_pkcs1(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.0.check_length(ciphertext, Error::DataLength)?;
        self.0.transform(Transform::Decrypt, RSA_PKCS1_PADDING, ciphertext, Error::EncryptedDataInvalid)
    }

    /// Decrypts by RSAES-OAEP (RFC 8017 section 7.1).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `ciphertext` has not k bytes, [`Error::EncryptedDataInvalid`] if it does not decrypt
    /// with these parameters.
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
        let primes = RsaPrimes {
            prime_1: &components.prime_1,
            prime_2: &components.prime_2,
            exponent_1: &components.exponent_1,
            exponent_2: &components.exponent_2,
            coefficient: &components.coefficient,
        };
        Self::from_components(
            &components.modulus,
            &components.public_exponent,
            &components.private_exponent,
            Some(primes),
        )
    }
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPrivateKey").field("bits", &self.bits()).finish_non_exhaustive()
    }
}

/// The parts of an RSA private key under PKCS#11's names (v3.1 section 6.1.3), without leading zeros.
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are PKCS#11's")]
pub struct RsaPrivateComponents {
    pub modulus: Vec<u8>,
    pub public_exponent: Vec<u8>,
    pub private_exponent: Zeroizing<Vec<u8>>,
    pub prime_1: Zeroizing<Vec<u8>>,
    pub prime_2: Zeroizing<Vec<u8>>,
    pub exponent_1: Zeroizing<Vec<u8>>,
    pub exponent_2: Zeroizing<Vec<u8>>,
    pub coefficient: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for RsaPrivateComponents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPrivateComponents").field("modulus_length", &self.modulus.len()).finish_non_exhaustive()
    }
}

/// The secret parts that [`RsaPrivateKey::from_components`] needs besides the exponents; leading zeros are allowed.
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

/// An RSA public key of 1024 to 8192 bits: shorter than a private one may be, to verify what is old.
#[derive(Clone)]
pub struct RsaPublicKey(RsaKey);

impl RsaPublicKey {
    /// Builds a key from modulus and public exponent; leading zeros are allowed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if a number is even or out of range (the exponent has at most 33 bits),
    /// [`Error::UnsupportedKeySize`].
    pub fn new(modulus: &[u8], public_exponent: &[u8]) -> Result<Self> {
        let [n, e] = [number(modulus)?, number(public_exponent)?];
        // SAFETY: both numbers are valid; RSA_new_public_key copies and checks them, and the caller owns the result.
        let rsa = unsafe {
            Owned::new(
                RSA_new_public_key(n.as_ptr(), e.as_ptr()),
                Error::InvalidKey("the RSA modulus or public exponent is out of range"),
            )
        }?;
        Self::from_pkey(Pkey::from_rsa(&rsa)?)
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 5280).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not RSA, [`Error::UnsupportedKeySize`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        Self::from_pkey(Pkey::from_spki_der(der)?)
    }

    fn from_pkey(pkey: Pkey) -> Result<Self> {
        let key = RsaKey::new(pkey)?;
        if !PUBLIC_BITS.contains(&key.bits()) {
            return Err(Error::UnsupportedKeySize);
        }
        Ok(Self(key))
    }

    /// The DER SubjectPublicKeyInfo (RFC 5280), with the algorithm rsaEncryption.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.0.pkey.spki_der()
    }

    /// The modulus, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> Vec<u8> {
        self.0.modulus()
    }

    /// The public exponent, without leading zeros.
    #[must_use]
    pub fn public_exponent(&self) -> Vec<u8> {
        self.0.public_exponent()
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

    /// Checks a signature that [`RsaPrivateKey::sign_pkcs1_raw`] made for the same `data`.
    ///
    /// # Errors
    ///
    /// [`Error::SignatureLength`], [`Error::SignatureInvalid`].
    pub fn verify_pkcs1_raw(&self, data: &[u8], signature: &[u8]) -> Result<()> {
        if self.recover_pkcs1(signature)? == data { Ok(()) } else { Err(Error::SignatureInvalid) }
    }

    /// Returns the data inside a PKCS#1 v1.5 signature (C_VerifyRecover with CKM_RSA_PKCS).
    ///
    /// # Errors
    ///
    /// [`Error::SignatureLength`], or [`Error::SignatureInvalid`] if the padding is not that of a signature.
    pub fn recover_pkcs1(&self, signature: &[u8]) -> Result<Vec<u8>> {
        self.0.check_length(signature, Error::SignatureLength)?;
        self.0.transform(Transform::Verify, RSA_PKCS1_PADDING, signature, Error::SignatureInvalid).map(public)
    }

    /// Checks an RSASSA-PSS signature (RFC 8017 section 8.1) with a salt of exactly `salt_length` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is not as long as `hash` makes them, [`Error::ParameterInvalid`] if hash and
    /// salt do not fit into the key, [`Error::SignatureLength`], [`Error::SignatureInvalid`].
    pub fn verify_pss(
        &self,
        hash: Hash,
        mgf_hash: Hash,
        salt_length: usize,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let salt_length = self.0.pss_salt_length(hash, salt_length, digest)?;
        self.0.check_length(signature, Error::SignatureLength)?;
        // SAFETY: the key is valid and this is no mutation of it; the buffers are valid for the lengths passed along.
        let returned = unsafe {
            RSA_verify_pss_mgf1(
                self.0.rsa(),
                digest.as_ptr(),
                digest.len(),
                hash.evp(),
                mgf_hash.evp(),
                salt_length,
                signature.as_ptr(),
                signature.len(),
            )
        };
        check(returned, Error::SignatureInvalid)
    }

    /// Raises `input` to the public exponent: the public side of CKM_RSA_X_509. Returns k bytes.
    ///
    /// `input` has at most k bytes and counts as if zeros stood before it.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if it has more than k bytes, [`Error::DataInvalid`] if it is not below the modulus.
    pub fn raw(&self, input: &[u8]) -> Result<Vec<u8>> {
        let block = self.0.padded_block(input)?;
        self.0.transform(Transform::Encrypt, RSA_NO_PADDING, &block, Error::DataInvalid).map(public)
    }

    /// Encrypts at most k - 11 bytes by RSAES-PKCS1-v1_5 (RFC 8017 section 7.2).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `plaintext` is too long.
    pub fn encrypt_pkcs1(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        if plaintext.len() > self.modulus_length() - PKCS1_OVERHEAD {
            return Err(Error::DataLength);
        }
        let error = Error::Internal("RSA could not encrypt");
        self.0.transform(Transform::Encrypt, RSA_PKCS1_PADDING, plaintext, error).map(public)
    }

    /// Encrypts at most k - 2h - 2 bytes by RSAES-OAEP (RFC 8017 section 7.1), h being the length of `hash`.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `plaintext` is too long.
    pub fn encrypt_oaep(&self, hash: Hash, mgf_hash: Hash, label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        if plaintext.len() + 2 * hash.length() + 2 > self.modulus_length() {
            return Err(Error::DataLength);
        }
        self.0.oaep(Direction::Encrypt, hash, mgf_hash, label, plaintext).map(public)
    }
}

impl PartialEq for RsaPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus() == other.modulus() && self.public_exponent() == other.public_exponent()
    }
}

impl Eq for RsaPublicKey {}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaPublicKey").field("bits", &self.bits()).finish_non_exhaustive()
    }
}

/// What private and public keys have in common: an EVP_PKEY that holds an RSA object with modulus and public exponent.
#[derive(Clone)]
struct RsaKey {
    pkey: Pkey,
}

impl RsaKey {
    fn new(pkey: Pkey) -> Result<Self> {
        // SAFETY: the EVP_PKEY is valid. A key restricted to PSS has an id of its own, and its RSA object is not enough
        // to represent it.
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

    fn rsa(&self) -> *mut RSA {
        self.pkey.rsa()
    }

    fn bits(&self) -> u32 {
        // SAFETY: the key is valid and has a modulus.
        unsafe { RSA_bits(self.rsa()) }
    }

    fn modulus_length(&self) -> usize {
        // SAFETY: the key is valid and has a modulus.
        unsafe { RSA_size(self.rsa()) as usize }
    }

    fn modulus(&self) -> Vec<u8> {
        // SAFETY: the key has a modulus, which lives as long as `self`.
        public(unsafe { number_bytes(RSA_get0_n(self.rsa())) })
    }

    fn public_exponent(&self) -> Vec<u8> {
        // SAFETY: the key has a public exponent, which lives as long as `self`.
        public(unsafe { number_bytes(RSA_get0_e(self.rsa())) })
    }

    fn check_length(&self, block: &[u8], error: Error) -> Result<()> {
        if block.len() == self.modulus_length() { Ok(()) } else { Err(error) }
    }

    /// `input` with zeros before it, up to k bytes, if that is below the modulus.
    fn padded_block(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let padding = self.modulus_length().checked_sub(input.len()).ok_or(Error::DataLength)?;
        let mut block = Zeroizing::new(vec![0; self.modulus_length()]);
        block[padding..].copy_from_slice(input);
        if *block >= self.modulus() {
            return Err(Error::DataInvalid);
        }
        Ok(block)
    }

    /// The salt length in AWS-LC's form, if hash and salt fit into the key (RFC 8017 section 9.1.1, step 3).
    fn pss_salt_length(&self, hash: Hash, salt_length: usize, digest: &[u8]) -> Result<c_int> {
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

    /// One of AWS-LC's four RSA operations; whatever the caller has not ruled out fails with `error`.
    fn transform(
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
        // SAFETY: the key is valid, and the four are documented as non-mutating. The buffers are valid for the lengths
        // passed along, and the output has the k bytes that the functions ask for.
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

    fn oaep(
        &self,
        direction: Direction,
        hash: Hash,
        mgf_hash: Hash,
        label: &[u8],
        input: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        const SETUP: Error = Error::Internal("OAEP could not be set up");

        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns the context.
        let context = unsafe { Owned::new(EVP_PKEY_CTX_new(self.pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY) }?;
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
        // SAFETY: the context is set up; the buffers are valid for the lengths passed along; a key that is used for
        // encryption or decryption is not changed.
        let returned = unsafe {
            function(context.as_ptr(), output.as_mut_ptr(), &mut length, input.as_ptr(), input.len())
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
    // SAFETY: the context is valid; on success it owns the copy, which came from AWS-LC's allocator.
    if unsafe { EVP_PKEY_CTX_set0_rsa_oaep_label(context.as_ptr(), copy.cast(), label.len()) } != 1 {
        // SAFETY: the copy is still ours.
        unsafe { OPENSSL_free(copy) };
        return Err(failed(Error::Internal("OAEP could not be set up")));
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Transform {
    Sign,
    Verify,
    Encrypt,
    Decrypt,
}

#[derive(Clone, Copy)]
enum Direction {
    Encrypt,
    Decrypt,
}

impl Direction {
    fn functions(self) -> (Start, Run, Error) {
        match self {
            Self::Encrypt => (EVP_PKEY_encrypt_init, EVP_PKEY_encrypt, Error::Internal("RSA could not encrypt")),
            Self::Decrypt => (EVP_PKEY_decrypt_init, EVP_PKEY_decrypt, Error::EncryptedDataInvalid),
        }
    }
}

type Part = unsafe extern "C" fn(*const RSA) -> *const BIGNUM;
type Start = unsafe extern "C" fn(*mut EVP_PKEY_CTX) -> c_int;
type Run = unsafe extern "C" fn(*mut EVP_PKEY_CTX, *mut u8, *mut usize, *const u8, usize) -> c_int;

/// Takes out of its wrapping what is no secret.
fn public(mut bytes: Zeroizing<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut *bytes)
}

/// The number without leading zeros.
fn trimmed(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    &number[start..]
}

const INCONSISTENT: Error = Error::InvalidKey("the parts of the RSA private key contradict each other");

const PRIVATE_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
const PUBLIC_BITS: std::ops::RangeInclusive<u32> = 1024..=8192;

/// Bytes of a PKCS#1 v1.5 block that are not data, at the least.
const PKCS1_OVERHEAD: usize = 11;
