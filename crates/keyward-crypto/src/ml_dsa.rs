//! ML-DSA: signatures that a quantum computer cannot forge (FIPS 204).
//!
//! A signature is made over mu, 64 bytes that stand for public key, context and message: so the
//! message never has to be where the private key is. AWS-LC signs hedged, with fresh randomness in
//! each signature.

use std::ffi::c_int;
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    EVP_DigestFinalXOF, EVP_DigestInit_ex, EVP_DigestUpdate, EVP_MD_CTX, EVP_MD_CTX_new,
    EVP_PKEY_CTX_new, EVP_PKEY_PQDSA, EVP_PKEY_get_private_seed, EVP_PKEY_pqdsa_get_type,
    EVP_PKEY_pqdsa_new_raw_private_key, EVP_PKEY_pqdsa_new_raw_public_key, EVP_PKEY_sign,
    EVP_PKEY_sign_init, EVP_PKEY_verify, EVP_PKEY_verify_init, EVP_shake256, NID_MLDSA44,
    NID_MLDSA65, NID_MLDSA87,
};
use zeroize::Zeroizing;

use crate::digest::Hash;
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, Pkey, check, failed, unless_out_of_memory};
use crate::random;

/// FIPS 204's parameter sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the standard's own")]
pub enum MlDsa {
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl MlDsa {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// The name as FIPS 204 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// The length of a public key in bytes (FIPS 204 table 2).
    #[must_use]
    pub const fn public_length(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// The length of an expanded private key in bytes.
    #[must_use]
    pub const fn private_length(self) -> usize {
        match self {
            Self::MlDsa44 => 2560,
            Self::MlDsa65 => 4032,
            Self::MlDsa87 => 4896,
        }
    }

    /// The length of a signature in bytes.
    #[must_use]
    pub const fn signature_length(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    fn nid(self) -> c_int {
        match self {
            Self::MlDsa44 => NID_MLDSA44,
            Self::MlDsa65 => NID_MLDSA65,
            Self::MlDsa87 => NID_MLDSA87,
        }
    }

    fn of(pkey: &Pkey) -> Result<Self> {
        if pkey.id() == EVP_PKEY_PQDSA {
            // SAFETY: the key is valid and of that kind.
            let nid = unsafe { EVP_PKEY_pqdsa_get_type(pkey.as_ptr()) };
            if let Some(set) = Self::ALL.into_iter().find(|set| set.nid() == nid) {
                return Ok(set);
            }
        }
        Err(failed(Error::InvalidKey("it is not an ML-DSA key")))
    }
}

/// An ML-DSA private key together with its public one.
#[derive(Clone)]
pub struct MlDsaPrivateKey {
    pkey: Pkey,
    set: MlDsa,
}

impl MlDsaPrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn generate(set: MlDsa) -> Result<Self> {
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        random::fill(&mut *seed);
        Self::from_seed(set, &*seed)
    }

    /// Builds a key from its seed, 32 bytes (CKA_SEED; xi of FIPS 204 algorithm 1).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_seed(set: MlDsa, seed: &[u8]) -> Result<Self> {
        if seed.len() != SEED_LENGTH {
            return Err(Error::InvalidKey("the seed of an ML-DSA key has 32 bytes"));
        }
        Self::from_raw(set, seed)
    }

    /// Builds a key from its expanded form (CKA_VALUE; FIPS 204 algorithm 24), which has no seed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the length is another or the parts contradict each other.
    pub fn from_expanded(set: MlDsa, key: &[u8]) -> Result<Self> {
        if key.len() != set.private_length() {
            return Err(Error::InvalidKey("the ML-DSA private key has the wrong length"));
        }
        Self::from_raw(set, key)
    }

    fn from_raw(set: MlDsa, bytes: &[u8]) -> Result<Self> {
        // SAFETY: the bytes are valid for their length, from which AWS-LC sees what they are; the
        // caller owns the result.
        let pkey = unsafe {
            Owned::new(
                EVP_PKEY_pqdsa_new_raw_private_key(set.nid(), bytes.as_ptr(), bytes.len()),
                Error::InvalidKey("the parts of the ML-DSA private key contradict each other"),
            )
        }?;
        Ok(Self { pkey: Pkey::from_owned(pkey), set })
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 9881), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not ML-DSA.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_pkcs8_der(der)?;
        Ok(Self { set: MlDsa::of(&pkey)?, pkey })
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 9881), not encrypted: the seed if the key has one.
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

    /// The public half. It holds nothing secret and shares no memory with the private key.
    #[must_use]
    pub fn public(&self) -> MlDsaPublicKey {
        // The key has it, and it has the right length.
        unless_out_of_memory(
            self.pkey
                .raw_public_key()
                .and_then(|bytes| MlDsaPublicKey::from_bytes(self.set, &bytes)),
        )
    }

    /// The parameter set.
    #[must_use]
    pub fn set(&self) -> MlDsa {
        self.set
    }

    /// Signs what [`Mu`] made of the message.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `mu` has not 64 bytes.
    pub fn sign(&self, mu: &[u8]) -> Result<Vec<u8>> {
        if mu.len() != MU_LENGTH {
            return Err(Error::DataLength);
        }
        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns
        // it.
        let context = unsafe {
            Owned::new(EVP_PKEY_CTX_new(self.pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY)
        }?;
        // SAFETY: the context is valid and belongs to this call alone.
        check(unsafe { EVP_PKEY_sign_init(context.as_ptr()) }, INTERNAL)?;
        let mut signature = vec![0; self.set.signature_length()];
        let mut length = signature.len();
        // SAFETY: the buffers are valid for the lengths passed along; signing does not change the
        // key.
        let returned = unsafe {
            EVP_PKEY_sign(
                context.as_ptr(),
                signature.as_mut_ptr(),
                &mut length,
                mu.as_ptr(),
                mu.len(),
            )
        };
        check(returned, INTERNAL)?;
        signature.truncate(length);
        Ok(signature)
    }
}

impl fmt::Debug for MlDsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlDsaPrivateKey").field("set", &self.set).finish_non_exhaustive()
    }
}

/// An ML-DSA public key.
#[derive(Clone)]
pub struct MlDsaPublicKey {
    pkey: Pkey,
    set: MlDsa,
}

impl MlDsaPublicKey {
    /// Takes the bytes of FIPS 204 algorithm 22.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn from_bytes(set: MlDsa, bytes: &[u8]) -> Result<Self> {
        // SAFETY: the bytes are valid for their length, which AWS-LC checks; the caller owns the
        // result.
        let pkey = unsafe {
            Owned::new(
                EVP_PKEY_pqdsa_new_raw_public_key(set.nid(), bytes.as_ptr(), bytes.len()),
                Error::InvalidKey("the ML-DSA public key has the wrong length"),
            )
        }?;
        Ok(Self { pkey: Pkey::from_owned(pkey), set })
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 9881).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not ML-DSA.
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        let pkey = Pkey::from_spki_der(der)?;
        Ok(Self { set: MlDsa::of(&pkey)?, pkey })
    }

    /// The DER SubjectPublicKeyInfo (RFC 9881).
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.pkey.spki_der()
    }

    /// The bytes of FIPS 204 algorithm 22.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // A public key is just these bytes.
        unless_out_of_memory(self.pkey.raw_public_key())
    }

    /// The parameter set.
    #[must_use]
    pub fn set(&self) -> MlDsa {
        self.set
    }

    /// Checks a signature over what [`Mu`] made of the message.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `mu` has not 64 bytes, [`Error::SignatureLength`],
    /// [`Error::SignatureInvalid`].
    pub fn verify(&self, mu: &[u8], signature: &[u8]) -> Result<()> {
        if mu.len() != MU_LENGTH {
            return Err(Error::DataLength);
        }
        if signature.len() != self.set.signature_length() {
            return Err(Error::SignatureLength);
        }
        // SAFETY: the key is valid; the context takes a reference of its own, and the caller owns
        // it.
        let context = unsafe {
            Owned::new(EVP_PKEY_CTX_new(self.pkey.as_ptr(), ptr::null_mut()), OUT_OF_MEMORY)
        }?;
        // SAFETY: the context is valid and belongs to this call alone.
        check(unsafe { EVP_PKEY_verify_init(context.as_ptr()) }, INTERNAL)?;
        // SAFETY: the buffers are valid for the lengths passed along.
        let returned = unsafe {
            EVP_PKEY_verify(
                context.as_ptr(),
                signature.as_ptr(),
                signature.len(),
                mu.as_ptr(),
                mu.len(),
            )
        };
        check(returned, Error::SignatureInvalid)
    }
}

impl fmt::Debug for MlDsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlDsaPublicKey").field("set", &self.set).finish_non_exhaustive()
    }
}

/// Makes mu of a message (FIPS 204 algorithm 7 line 6, and algorithm 4 for a digest), piece by
/// piece.
pub struct Mu {
    shake: Shake256,
}

impl Mu {
    /// For the message itself, under a context of at most 255 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if the context is longer.
    pub fn of_message(key: &MlDsaPublicKey, context: &[u8]) -> Result<Self> {
        Self::new(key, PURE, context)
    }

    /// For the message's digest, made with `hash` (HashML-DSA), which then goes to
    /// [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if the context is longer than 255 bytes, or the hash is MD5,
    /// which has no identifier in NIST's tree.
    pub fn of_digest(key: &MlDsaPublicKey, context: &[u8], hash: Hash) -> Result<Self> {
        let oid = hash
            .nist_oid_der()
            .ok_or(Error::ParameterInvalid("HashML-DSA does not take that hash"))?;
        let mut mu = Self::new(key, PREHASHED, context)?;
        mu.update(&oid);
        Ok(mu)
    }

    fn new(key: &MlDsaPublicKey, domain: u8, context: &[u8]) -> Result<Self> {
        let length = u8::try_from(context.len())
            .map_err(|_| Error::ParameterInvalid("the context of ML-DSA has at most 255 bytes"))?;
        let mut of_key = Shake256::new();
        of_key.update(&key.to_bytes());
        let mut mu = Self { shake: Shake256::new() };
        mu.update(&of_key.finish());
        mu.update(&[domain, length]);
        mu.update(context);
        Ok(mu)
    }

    /// Adds `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.shake.update(data);
    }

    /// mu of all that was added.
    #[must_use]
    pub fn finish(self) -> [u8; MU_LENGTH] {
        self.shake.finish()
    }
}

impl fmt::Debug for Mu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mu").finish_non_exhaustive()
    }
}

/// SHAKE256 with 64 bytes of output (FIPS 202).
struct Shake256(Owned<EVP_MD_CTX>);

// SAFETY: an EVP_MD_CTX belongs to no thread, and is changed only through `&mut self`.
unsafe impl Send for Shake256 {}
// SAFETY: as above.
unsafe impl Sync for Shake256 {}

impl Shake256 {
    fn new() -> Self {
        // SAFETY: a constructor without arguments; the caller owns the result.
        let context = unless_out_of_memory(unsafe { Owned::new(EVP_MD_CTX_new(), OUT_OF_MEMORY) });
        // SAFETY: the context is valid, the function's description a constant, and null means no
        // ENGINE.
        succeeded(unsafe { EVP_DigestInit_ex(context.as_ptr(), EVP_shake256(), ptr::null_mut()) });
        Self(context)
    }

    fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised, and `data` is valid for its length.
        succeeded(unsafe { EVP_DigestUpdate(self.0.as_ptr(), data.as_ptr().cast(), data.len()) });
    }

    fn finish(self) -> [u8; MU_LENGTH] {
        let mut output = [0; MU_LENGTH];
        // SAFETY: the context is initialised, and the output has the length passed along.
        succeeded(unsafe {
            EVP_DigestFinalXOF(self.0.as_ptr(), output.as_mut_ptr(), output.len())
        });
        output
    }
}

/// Checks a call into a hash function; with valid arguments it fails for want of memory only.
fn succeeded(returned: c_int) {
    unless_out_of_memory(check(returned, OUT_OF_MEMORY));
}

/// The length of mu in bytes.
pub const MU_LENGTH: usize = 64;

/// Bytes.
const SEED_LENGTH: usize = 32;

/// What stands before the context: a message follows, or a digest (FIPS 204 section 5.4).
const PURE: u8 = 0;
const PREHASHED: u8 = 1;

const INTERNAL: Error = Error::Internal("ML-DSA failed");
