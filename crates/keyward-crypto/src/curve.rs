//! The curves, and what they are called.

use std::fmt;

use aws_lc_sys::{
    EC_GROUP, EC_GROUP_get_curve_name, EC_KEY, EC_KEY_get0_group, EC_group_p224, EC_group_p256,
    EC_group_p384, EC_group_p521, EC_group_secp256k1, NID_X9_62_prime256v1, NID_secp224r1,
    NID_secp256k1, NID_secp384r1, NID_secp521r1,
};

use crate::error::{Error, Result};

/// A named curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the curves' own")]
pub enum Curve {
    P224,
    P256,
    P384,
    P521,
    Secp256k1,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::P224, Self::P256, Self::P384, Self::P521, Self::Secp256k1];

    /// Reads CKA_EC_PARAMS: a DER OBJECT IDENTIFIER, or a PrintableString with the curve's name
    /// (PKCS#11 v3.1 section 6.3.3).
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedCurve`] for any other curve, explicit parameters, and what is no DER.
    pub fn from_params_der(params: &[u8]) -> Result<Self> {
        let printable = match params {
            [0x13, length, name @ ..] if usize::from(*length) == name.len() => Some(name),
            _ => None,
        };
        Self::ALL
            .into_iter()
            .find(|curve| {
                let names = || curve.names().iter().map(|name| name.as_bytes());
                params == curve.oid_der()
                    || printable.is_some_and(|printable| names().any(|name| name == printable))
            })
            .ok_or(Error::UnsupportedCurve)
    }

    /// The size of the field in bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::P224 => 224,
            Self::P256 | Self::Secp256k1 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// The length in bytes of a coordinate, of a private scalar, and of half a signature: 66 for
    /// P-521.
    #[must_use]
    pub const fn field_length(self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    /// The name as NIST or SECG writes it: `P-256`, `secp256k1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The DER OBJECT IDENTIFIER (RFC 5480 section 2.1.1.1): the usual CKA_EC_PARAMS.
    #[must_use]
    pub const fn oid_der(self) -> &'static [u8] {
        match self {
            Self::P224 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21],
            Self::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23],
            Self::Secp256k1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }

    /// Every name in use for the curve, the preferred one first.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::P224 => &["P-224", "secp224r1"],
            Self::P256 => &["P-256", "secp256r1", "prime256v1"],
            Self::P384 => &["P-384", "secp384r1"],
            Self::P521 => &["P-521", "secp521r1"],
            Self::Secp256k1 => &["secp256k1"],
        }
    }

    /// AWS-LC's description of the curve: a constant that lives as long as the process.
    pub(crate) fn group(self) -> *const EC_GROUP {
        // SAFETY: these functions have no arguments and return the address of a constant, which is
        // built on first use.
        unsafe {
            match self {
                Self::P224 => EC_group_p224(),
                Self::P256 => EC_group_p256(),
                Self::P384 => EC_group_p384(),
                Self::P521 => EC_group_p521(),
                Self::Secp256k1 => EC_group_secp256k1(),
            }
        }
    }

    /// The curve of a key that AWS-LC parsed.
    ///
    /// # Safety
    ///
    /// `key` is a valid EC_KEY with a group.
    pub(crate) unsafe fn of(key: *const EC_KEY) -> Result<Self> {
        // SAFETY: valid by contract.
        #[expect(non_upper_case_globals, reason = "the names are AWS-LC's")]
        match unsafe { EC_GROUP_get_curve_name(EC_KEY_get0_group(key)) } {
            NID_secp224r1 => Ok(Self::P224),
            NID_X9_62_prime256v1 => Ok(Self::P256),
            NID_secp384r1 => Ok(Self::P384),
            NID_secp521r1 => Ok(Self::P521),
            NID_secp256k1 => Ok(Self::Secp256k1),
            _ => Err(Error::UnsupportedCurve),
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
