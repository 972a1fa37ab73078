//! What can go wrong, in terms that a caller can turn into a PKCS#11 return value.

/// Why an operation failed. None of the sentences contains secret data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key does not parse, or its parts do not belong together.
    #[error("the key is not valid: {0}")]
    InvalidKey(&'static str),
    /// The curve is none of [`Curve::ALL`](crate::ec::Curve::ALL), or is given by explicit
    /// parameters.
    #[error(
        "the elliptic curve is not supported; use P-224, P-256, P-384, P-521, secp256k1 or a Brainpool curve"
    )]
    UnsupportedCurve,
    /// The RSA modulus is too short or too long.
    #[error(
        "the RSA key size is not supported; use 2048 to 8192 bits, in steps of 128 for a new key"
    )]
    UnsupportedKeySize,
    /// The input has an acceptable length, but its value is out of range (an RSA number at or above
    /// the modulus).
    #[error("the data cannot be processed with this key: its value is out of range")]
    DataInvalid,
    /// The input is longer or shorter than the operation allows, ciphertexts included.
    #[error("the data has the wrong length for this operation and key")]
    DataLength,
    /// A ciphertext has the right length and does not decrypt.
    #[error("the encrypted data does not decrypt with this key and these parameters")]
    EncryptedDataInvalid,
    /// A signature has the right length and does not verify.
    #[error("the signature does not match the data and the key")]
    SignatureInvalid,
    /// A signature does not have the length that the key demands.
    #[error("the signature has the wrong length for this key")]
    SignatureLength,
    /// A parameter of the operation, not its data, is wrong.
    #[error("a parameter is not valid: {0}")]
    ParameterInvalid(&'static str),
    /// Sealed data or an authentication code was changed, or made with another key or for another
    /// purpose.
    #[error("the data is not authentic: it was changed, or belongs to another key or context")]
    Unauthentic,
    /// Whoever waited for a search no longer does.
    #[error("no prime was found in the time that there was; ask for a smaller one, or again")]
    Stopped,
    /// AWS-LC refused something that the checks before the call should have made impossible, or ran
    /// out of memory.
    #[error("the cryptographic library failed: {0}")]
    Internal(&'static str),
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;
