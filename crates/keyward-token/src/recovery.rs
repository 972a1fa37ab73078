//! Signatures that hold what was signed: C_SignRecover and C_VerifyRecover.

use keyward_crypto::Error as CryptoError;
use keyward_wire::{Error, ErrorCode, Result};

use crate::key::{PublicKey, from_crypto};
use crate::mechanism::{Parameter, Preparation, SignatureScheme, Signing};

impl Signing {
    /// What a mechanism with its parameter means for a signature with recovery.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if its signatures do not hold the data, and as
    /// [`Signing::new`].
    pub fn recoverable(mechanism: u64, parameter: &Parameter) -> Result<Self> {
        let signing = Self::new(mechanism, parameter)?;
        signing.scheme.must_be_recoverable()?;
        if signing.preparation != Preparation::None {
            return Err(not_recoverable());
        }
        Ok(signing)
    }
}

impl SignatureScheme {
    /// Whether the data can be recovered from a signature.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if not.
    pub fn must_be_recoverable(&self) -> Result<()> {
        match self {
            Self::RsaPkcs | Self::RsaX509 => Ok(()),
            _ => Err(not_recoverable()),
        }
    }
}

impl PublicKey {
    /// The data inside a signature; with [`SignatureScheme::RsaX509`] as long
    /// as the modulus.
    ///
    /// # Errors
    /// CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, CKR_MECHANISM_INVALID,
    /// CKR_KEY_TYPE_INCONSISTENT.
    pub fn recover(&self, scheme: &SignatureScheme, signature: &[u8]) -> Result<Vec<u8>> {
        scheme.must_be_recoverable()?;
        let Self::Rsa(key) = self else {
            return Err(Error::new(ErrorCode::KeyTypeInconsistent, "the key is not an RSA key"));
        };
        match scheme {
            SignatureScheme::RsaPkcs => key.recover_pkcs1(signature),
            _ if signature.len() == key.modulus_length() => key.raw(signature),
            _ => Err(CryptoError::SignatureLength),
        }
        .map_err(from_crypto)
    }
}

fn not_recoverable() -> Error {
    Error::new(ErrorCode::MechanismInvalid, "the mechanism's signatures do not hold the data")
}
