//! ML-KEM: agreement on a secret that a quantum computer cannot find (FIPS 203).

use std::ffi::c_int;
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    EVP_PKEY_CTX_kem_set_params, EVP_PKEY_CTX_new, EVP_PKEY_CTX_new_id, EVP_PKEY_KEM,
    EVP_PKEY_decapsulate, EVP_PKEY_encapsulate, EVP_PKEY_get_private_seed, EVP_PKEY_kem_check_key,
    EVP_PKEY_kem_get_type, EVP_PKEY_kem_new_raw_key, EVP_PKEY_kem_new_raw_public_key,
    EVP_PKEY_keygen_deterministic, EVP_PKEY_keygen_init, EVP_PKEY_public_check, NID_MLKEM512,
    NID_MLKEM768, NID_MLKEM1024,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, Pkey, check, failed, unless_out_of_memory};
use crate::random;

/// FIPS 203's parameter sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the standard's own")]
pub enum MlKem {
    MlKem512,
    MlKem768,
    MlKem1024,
}

impl MlKem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MlKem512, Self::MlKem768, Self::MlKem1024];

    /// The name as FIPS 203 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
        }
    }

    /// The length of an encapsulation key in bytes (FIPS 203 table 3).
    #[must_use]
    pub const fn public_length(self) -> usize {
        384 * self.rank() + 32
    }

    /// The length of an expanded decapsulation key in bytes.
    #[must_use]
    pub const fn private_length(self) -> usize {
        768 * self.rank() + 96
    }

    /// The length of a ciphertext in bytes.
    #[must_use]
    pub const fn ciphertext_length(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }

    /// k of FIPS 203.
    const fn rank(self) -> usize {
        match self {
            Self::MlKem512 => 2,
            Self::MlKem768 => 3,
            Self::MlKem1024 => 4,
        }
    }

    fn nid(self) -> c_int {
        match self {
            Self::MlKem512 => NID_MLKEM512,
            Self::MlKem768 => NID_MLKEM768,
            Self::MlKem1024 => NID_MLKEM1024,
        }
    }

    fn of(pkey: &Pkey) -> Result<Self> {
        if pkey.id() == EVP_PKEY_KEM {
            // SAFETY: the key is valid and of that kind.
            let nid = unsafe { EVP_PKEY_kem_get_type(pkey.as_ptr()) };
            if let Some(set) = Self::ALL.into_iter().find(|set| set.nid() == nid) {
                return Ok(set);
            }
        }
        Err(failed(Error::InvalidKey("it is not an ML-KEM key")))
    }
}

/// An ML-KEM decapsulation key together with its encapsulation key.
#[derive(Clone)]
pub struct MlKemPrivateKey {
    pkey: Pkey,
    set: MlKem,
}

impl MlKemPrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn generate(set: MlKem) -> Result<Self> {
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        random::fill(&mut *seed);
        Self::from_seed(set, &*seed)
    }

    /// Builds a key from its seed, 64 bytes (CKA_SEED; d and z of FIPS 203 algorithm 19).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_seed(set: MlKem, seed: &[u8]) -> Result<Self> {
        if seed.len() != SEED_LENGTH {
            return Err(Error::InvalidKey("the seed of an ML-KEM key has 64 bytes"));
        }
        // SAFETY: a constructor; null means no ENGINE, and the caller owns the result.
        let context = unsafe {
            Owned::new(EVP_PKEY_CTX_new_id(EVP_PKEY_KEM, ptr::null_mut()), OUT_OF_MEMORY)
        }?;
        let mut pkey = ptr::null_mut();
        let mut length = seed.len();
        // SAFETY: the context is valid and belongs to this call alone; the seed has the length
        // passed along; a null output asks for a new key.
        unsafe {
            check(EVP_PKEY_CTX_kem_set_params(context.as_ptr(), set.nid()), INTERNAL)?;
            check(EVP_PKEY_keygen_init(context.as_ptr()), INTERNAL)?;
            let returned = EVP_PKEY_keygen_deterministic(
                context.as_ptr(),
                &mut pkey,
                seed.as_ptr(),
                &mut length,
            );
            check(returned, INTERNAL)?;
        }
        // SAFETY: the call succeeded, and the caller owns the key.
        let pkey = unsafe { Owned::new(pkey, INTERNAL) }?;
        Ok(Self { pkey: Pkey::from_owned(pkey), set })
    }

    /// Builds a key from its expanded form (CKA_VALUE; dk of FIPS 203), which has no seed, and
    /// checks it (section 7.3).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the length is another or the parts contradict each other.
    pub fn from_expanded(set: MlKem, key: &[u8]) -> Result<Self> {
        const INCONSISTENT: Error =
            Error::InvalidKey("the parts of the ML-KEM private key contradict each other");

        if key.len() != set.private_length() {
            return Err(Error::InvalidKey("the ML-KEM private key has the wrong length"));
        }
        // dk holds ek behind the secret vector (algorithm 16).
        let public = &key[384 * set.rank()..][..set.public_length()];
        // SAFETY: both are valid for their lengths; the caller owns the result.
        let pkey = unsafe {
            Owned::new(
                EVP_PKEY_kem_new_raw_key(
                    set.nid(),
                    public.as_ptr(),
                    public.len(),
                    key.as_ptr(),
                    key.len(),
                ),
                INCONSISTENT,
            )
        }?;
        // SAFETY: the key is valid.
        check(unsafe { EVP_PKEY_kem_check_key(pkey.as_ptr()) }, INCONSISTENT)?;
        Ok(Self { pkey: Pkey::from_owned(pkey), set })
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 9935), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not ML-KEM.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_pkcs8_der(der)?;
        Ok(Self { set: MlKem::of(&pkey)?, pkey })
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 9935), not encrypted: the seed if the key has one.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.pkey.pkcs8_der()
    }

    /// The seed, if the key was made from one.
    #[must_use]
    pub fn seed(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut seed = Zeroizing::new(vec![0; SEED_LENGTH]);
        let mut length = seed.len();
        // SAFETY: the key is valid, and the buffer has the length passed along.
        let returned = unsafe {
            EVP_PKEY_get_private_seed(self.pkey.as_ptr(), seed.as_mut_ptr(), &mut length)
        };
        check(returned, OUT_OF_MEMORY).ok().map(|()| seed)
    }

    /// The expanded form.
    #[must_use]
    pub fn expanded(&self) -> Zeroizing<Vec<u8>> {
        // The key has it, however it was made.
        unless_out_of_memory(self.pkey.raw_private_key())
    }

    /// The encapsulation key. It holds nothing secret and shares no memory with the private key.
    #[must_use]
    pub fn public(&self) -> MlKemPublicKey {
        // The key has it, and it was checked.
        unless_out_of_memory(
            self.pkey
                .raw_public_key()
                .and_then(|bytes| MlKemPublicKey::from_bytes(self.set, &bytes)),
        )
    }

    /// The parameter set.
    #[must_use]
    pub fn set(&self) -> MlKem {
        self.set
    }

    /// The 32 secret bytes that [`encapsulate`](MlKemPublicKey::encapsulate) agreed on. A changed
    /// ciphertext gives other bytes, not an error (FIPS 203 algorithm 18).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if the ciphertext has the wrong length.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if ciphertext.len() != self.set.ciphertext_length() {
            return Err(Error::DataLength);
        }
        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns
        // it.
        let context = unsafe {
            Owned::new(EVP_PKEY_CTX_new(self.pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY)
        }?;
        let mut secret = Zeroizing::new(vec![0; SECRET_LENGTH]);
        let mut length = secret.len();
        // SAFETY: the buffers are valid for the lengths passed along; decapsulation does not change
        // the key.
        let returned = unsafe {
            EVP_PKEY_decapsulate(
                context.as_ptr(),
                secret.as_mut_ptr(),
                &mut length,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        };
        check(returned, INTERNAL)?;
        Ok(secret)
    }
}

impl fmt::Debug for MlKemPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlKemPrivateKey").field("set", &self.set).finish_non_exhaustive()
    }
}

/// An ML-KEM encapsulation key.
#[derive(Clone)]
pub struct MlKemPublicKey {
    pkey: Pkey,
    set: MlKem,
}

impl MlKemPublicKey {
    /// Takes ek of FIPS 203 and checks it (section 7.2).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the length is another, or a coefficient is not below the modulus.
    pub fn from_bytes(set: MlKem, bytes: &[u8]) -> Result<Self> {
        const INVALID: Error = Error::InvalidKey("it is not an ML-KEM encapsulation key");

        // SAFETY: the bytes are valid for their length, which AWS-LC checks; the caller owns the
        // result.
        let pkey = unsafe {
            Owned::new(
                EVP_PKEY_kem_new_raw_public_key(set.nid(), bytes.as_ptr(), bytes.len()),
                INVALID,
            )
        }?;
        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns
        // it.
        let context =
            unsafe { Owned::new(EVP_PKEY_CTX_new(pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY) }?;
        // SAFETY: the context is valid.
        check(unsafe { EVP_PKEY_public_check(context.as_ptr()) }, INVALID)?;
        Ok(Self { pkey: Pkey::from_owned(pkey), set })
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 9935).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not ML-KEM.
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_spki_der(der)?;
        // Made anew, which checks it.
        Self::from_bytes(MlKem::of(&pkey)?, &pkey.raw_public_key()?)
    }

    /// The DER SubjectPublicKeyInfo (RFC 9935).
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.pkey.spki_der()
    }

    /// ek of FIPS 203.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // A public key is just these bytes.
        unless_out_of_memory(self.pkey.raw_public_key())
    }

    /// The parameter set.
    #[must_use]
    pub fn set(&self) -> MlKem {
        self.set
    }

    /// Draws 32 secret bytes; returns the ciphertext that carries them, and them.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns
        // it.
        let context = unsafe {
            Owned::new(EVP_PKEY_CTX_new(self.pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY)
        }?;
        let mut ciphertext = vec![0; self.set.ciphertext_length()];
        let mut secret = Zeroizing::new(vec![0; SECRET_LENGTH]);
        let (mut ciphertext_length, mut secret_length) = (ciphertext.len(), secret.len());
        // SAFETY: the buffers are valid for the lengths passed along.
        let returned = unsafe {
            EVP_PKEY_encapsulate(
                context.as_ptr(),
                ciphertext.as_mut_ptr(),
                &mut ciphertext_length,
                secret.as_mut_ptr(),
                &mut secret_length,
            )
        };
        check(returned, INTERNAL)?;
        Ok((ciphertext, secret))
    }
}

impl fmt::Debug for MlKemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlKemPublicKey").field("set", &self.set).finish_non_exhaustive()
    }
}

/// Bytes.
const SEED_LENGTH: usize = 64;

/// Bytes of what is agreed on.
const SECRET_LENGTH: usize = 32;

const INTERNAL: Error = Error::Internal("ML-KEM failed");
