//! The curves, and what they are called.

use std::fmt;

use aws_lc_sys::{
    EC_GROUP, EC_GROUP_get_curve_name, EC_KEY, EC_KEY_get0_group, EC_group_brainpoolP224r1,
    EC_group_brainpoolP256r1, EC_group_brainpoolP320r1, EC_group_brainpoolP384r1,
    EC_group_brainpoolP512r1, EC_group_p224, EC_group_p256, EC_group_p384, EC_group_p521,
    EC_group_secp256k1, NID_X9_62_prime256v1, NID_brainpoolP224r1, NID_brainpoolP256r1,
    NID_brainpoolP320r1, NID_brainpoolP384r1, NID_brainpoolP512r1, NID_secp224r1, NID_secp256k1,
    NID_secp384r1, NID_secp521r1,
};

use crate::error::{Error, Result};
use crate::prime_curve;

/// A named curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names are the curves' own")]
pub enum Curve {
    P224,
    P256,
    P384,
    P521,
    Secp256k1,
    P192,
    BrainpoolP160r1,
    BrainpoolP160t1,
    BrainpoolP192r1,
    BrainpoolP192t1,
    BrainpoolP224r1,
    BrainpoolP224t1,
    BrainpoolP256r1,
    BrainpoolP256t1,
    BrainpoolP320r1,
    BrainpoolP320t1,
    BrainpoolP384r1,
    BrainpoolP384t1,
    BrainpoolP512r1,
    BrainpoolP512t1,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::P224,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Secp256k1,
        Self::P192,
        Self::BrainpoolP160r1,
        Self::BrainpoolP160t1,
        Self::BrainpoolP192r1,
        Self::BrainpoolP192t1,
        Self::BrainpoolP224r1,
        Self::BrainpoolP224t1,
        Self::BrainpoolP256r1,
        Self::BrainpoolP256t1,
        Self::BrainpoolP320r1,
        Self::BrainpoolP320t1,
        Self::BrainpoolP384r1,
        Self::BrainpoolP384t1,
        Self::BrainpoolP512r1,
        Self::BrainpoolP512t1,
    ];

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
            Self::BrainpoolP160r1 | Self::BrainpoolP160t1 => 160,
            Self::P192 | Self::BrainpoolP192r1 | Self::BrainpoolP192t1 => 192,
            Self::P224 | Self::BrainpoolP224r1 | Self::BrainpoolP224t1 => 224,
            Self::P256 | Self::Secp256k1 | Self::BrainpoolP256r1 | Self::BrainpoolP256t1 => 256,
            Self::BrainpoolP320r1 | Self::BrainpoolP320t1 => 320,
            Self::P384 | Self::BrainpoolP384r1 | Self::BrainpoolP384t1 => 384,
            Self::BrainpoolP512r1 | Self::BrainpoolP512t1 => 512,
            Self::P521 => 521,
        }
    }

    /// Whether it is the twin that RFC 5639 has of a curve, with a = -3.
    #[must_use]
    pub const fn is_twisted(self) -> bool {
        matches!(
            self,
            Self::BrainpoolP160t1
                | Self::BrainpoolP192t1
                | Self::BrainpoolP224t1
                | Self::BrainpoolP256t1
                | Self::BrainpoolP320t1
                | Self::BrainpoolP384t1
                | Self::BrainpoolP512t1
        )
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
            Self::P192 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01],
            Self::BrainpoolP160r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x01]
            }
            Self::BrainpoolP160t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x02]
            }
            Self::BrainpoolP192r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x03]
            }
            Self::BrainpoolP192t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x04]
            }
            Self::BrainpoolP224r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x05]
            }
            Self::BrainpoolP224t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x06]
            }
            Self::BrainpoolP256r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07]
            }
            Self::BrainpoolP256t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x08]
            }
            Self::BrainpoolP320r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x09]
            }
            Self::BrainpoolP320t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0a]
            }
            Self::BrainpoolP384r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b]
            }
            Self::BrainpoolP384t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0c]
            }
            Self::BrainpoolP512r1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0d]
            }
            Self::BrainpoolP512t1 => {
                &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0e]
            }
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
            Self::P192 => &["P-192", "secp192r1", "prime192v1"],
            Self::BrainpoolP160r1 => &["brainpoolP160r1"],
            Self::BrainpoolP160t1 => &["brainpoolP160t1"],
            Self::BrainpoolP192r1 => &["brainpoolP192r1"],
            Self::BrainpoolP192t1 => &["brainpoolP192t1"],
            Self::BrainpoolP224r1 => &["brainpoolP224r1"],
            Self::BrainpoolP224t1 => &["brainpoolP224t1"],
            Self::BrainpoolP256r1 => &["brainpoolP256r1"],
            Self::BrainpoolP256t1 => &["brainpoolP256t1"],
            Self::BrainpoolP320r1 => &["brainpoolP320r1"],
            Self::BrainpoolP320t1 => &["brainpoolP320t1"],
            Self::BrainpoolP384r1 => &["brainpoolP384r1"],
            Self::BrainpoolP384t1 => &["brainpoolP384t1"],
            Self::BrainpoolP512r1 => &["brainpoolP512r1"],
            Self::BrainpoolP512t1 => &["brainpoolP512t1"],
        }
    }

    /// Whether AWS-LC reads and writes keys on this curve; `ec_der` does it for the others.
    pub(crate) fn is_known_to_aws_lc(self) -> bool {
        prime_curve::group(self).is_none()
    }

    /// AWS-LC's description of the curve: a constant that lives as long as the process.
    pub(crate) fn group(self) -> *const EC_GROUP {
        if let Some(group) = prime_curve::group(self) {
            return group;
        }
        // SAFETY: these functions have no arguments and return the address of a constant, which is
        // built on first use.
        unsafe {
            match self {
                Self::P224 => EC_group_p224(),
                Self::P256 => EC_group_p256(),
                Self::P384 => EC_group_p384(),
                Self::P521 => EC_group_p521(),
                Self::Secp256k1 => EC_group_secp256k1(),
                Self::BrainpoolP224r1 => EC_group_brainpoolP224r1(),
                Self::BrainpoolP256r1 => EC_group_brainpoolP256r1(),
                Self::BrainpoolP320r1 => EC_group_brainpoolP320r1(),
                Self::BrainpoolP384r1 => EC_group_brainpoolP384r1(),
                Self::BrainpoolP512r1 => EC_group_brainpoolP512r1(),
                _ => unreachable!("prime_curve describes the others"),
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
            NID_brainpoolP224r1 => Ok(Self::BrainpoolP224r1),
            NID_brainpoolP256r1 => Ok(Self::BrainpoolP256r1),
            NID_brainpoolP320r1 => Ok(Self::BrainpoolP320r1),
            NID_brainpoolP384r1 => Ok(Self::BrainpoolP384r1),
            NID_brainpoolP512r1 => Ok(Self::BrainpoolP512r1),
            _ => Err(Error::UnsupportedCurve),
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
