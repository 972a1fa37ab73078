//! A private key of either kind, for where the kind is in the file.

use zeroize::Zeroizing;

use crate::ec::EcPrivateKey;
use crate::error::{Error, Result};
use crate::ffi::Pkey;
use crate::rsa::RsaPrivateKey;

/// A private key that can sign.
#[derive(Clone, Debug)]
pub enum PrivateKey {
    /// An RSA key.
    Rsa(RsaPrivateKey),
    /// A key on one of the supported curves.
    Ec(EcPrivateKey),
}

impl PrivateKey {
    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is neither RSA nor EC,
    /// [`Error::UnsupportedCurve`], [`Error::UnsupportedKeySize`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        if let Some(key) = EcPrivateKey::from_pkcs8_der_of_others(der) {
            return key.map(Self::Ec);
        }
        let pkey = Pkey::from_pkcs8_der(der)?;
        if !pkey.ec().is_null() {
            return EcPrivateKey::from_pkey(&pkey).map(Self::Ec);
        }
        if !pkey.rsa().is_null() {
            return RsaPrivateKey::from_pkey(pkey).map(Self::Rsa);
        }
        Err(Error::InvalidKey("it is neither an RSA nor an EC key"))
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for an RSA key that was built without its primes.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Rsa(key) => key.to_pkcs8_der(),
            Self::Ec(key) => Ok(key.to_pkcs8_der()),
        }
    }

    /// The DER SubjectPublicKeyInfo (RFC 5280) of the public half.
    #[must_use]
    pub fn public_spki_der(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.public().spki_der(),
            Self::Ec(key) => key.public().spki_der(),
        }
    }
}

impl From<RsaPrivateKey> for PrivateKey {
    fn from(key: RsaPrivateKey) -> Self {
        Self::Rsa(key)
    }
}

impl From<EcPrivateKey> for PrivateKey {
    fn from(key: EcPrivateKey) -> Self {
        Self::Ec(key)
    }
}
