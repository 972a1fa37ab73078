//! What a token offers of all that there is.

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_crypto::ec::Curve;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::{BlockCipher, Derived, Family, Mechanism, REGISTRY, find};
use crate::attribute::{self, Attributes};
use crate::key;
use crate::object::Object;

/// A token's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// What is sound, and SHA-1 for those who still need it.
    #[default]
    Default,
    /// What NIST approves: no signature with SHA-1, no encryption by PKCS#1 v1.5, nothing below 112
    /// bits, no curve but NIST's and Edwards's.
    Fips,
    /// Old things too: MD5, DES and Triple DES, DSA, Diffie-Hellman, RSA from 512 bits, EC from 160.
    Compat,
}

/// A mechanism as a token with some policy offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The mechanism.
    pub mechanism: &'static Mechanism,
    /// As [`Mechanism::min_key_size`].
    pub min_key_size: u64,
    /// As [`Mechanism::max_key_size`].
    pub max_key_size: u64,
    /// CKF_...
    pub flags: u64,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Default, Self::Fips, Self::Compat];

    /// The name in configurations and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fips => "fips",
            Self::Compat => "compat",
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// What is offered, in the registry's order.
    pub fn offers(self) -> impl Iterator<Item = Offer> {
        REGISTRY.iter().filter_map(move |mechanism| self.offer(mechanism))
    }

    /// The mechanism with this number.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if there is none, or none under this policy.
    pub fn find(self, number: u64) -> Result<Offer> {
        let mechanism = find(number)?;
        self.offer(mechanism).ok_or_else(|| {
            Error::new(
                ErrorCode::MechanismInvalid,
                format!("{} is not offered under the policy {}", mechanism.name, self.name()),
            )
        })
    }

    /// What this policy leaves of a mechanism; `None` if nothing.
    #[must_use]
    pub fn offer(self, mechanism: &'static Mechanism) -> Option<Offer> {
        let mut offer = Offer {
            mechanism,
            min_key_size: mechanism.min_key_size,
            max_key_size: mechanism.max_key_size,
            flags: mechanism.flags,
        };
        match self {
            Self::Compat if is_rsa(mechanism.family) => offer.min_key_size = OLD_RSA,
            Self::Compat if offer.min_key_size == EC => offer.min_key_size = OLD_EC,
            Self::Compat => {}
            Self::Default if is_old(mechanism.family) => return None,
            Self::Default => {}
            Self::Fips if is_old(mechanism.family) || is_unapproved(mechanism) => return None,
            Self::Fips => approved_part(&mut offer),
        }
        (offer.flags & FUNCTIONS != 0).then_some(offer)
    }

    /// Whether a mechanism may be used in the way that `usage` permits, which is CKA_SIGN or the
    /// like, and with this key.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if the policy or the key's CKA_ALLOWED_MECHANISMS leaves it out, and
    /// what [`Policy::permit_key`] says.
    pub fn permit(self, number: u64, usage: u64, key: &Object) -> Result<()> {
        let offer = self.find(number)?;
        if offer.flags & flags_of(usage) == 0 {
            return Err(Error::new(
                ErrorCode::MechanismInvalid,
                format!(
                    "{} is not offered for {} under the policy {}",
                    offer.mechanism.name,
                    attribute::name(usage),
                    self.name()
                ),
            ));
        }
        key.permit_mechanism(number)?;
        self.permit_key(key)
    }

    /// Whether a mechanism makes keys of the size that the template names. What was made is looked at
    /// once more; this is before a processor is at work for what is refused.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID, CKR_KEY_SIZE_RANGE.
    pub fn permit_generation(self, number: u64, template: &Attributes) -> Result<()> {
        let offer = self.find(number)?;
        let size = match offer.mechanism.family {
            Family::PairGeneration(CKK_RSA) => template.number(CKA_MODULUS_BITS),
            Family::SecretGeneration(_) => template.number(CKA_VALUE_LEN),
            Family::ParameterGeneration(_) => template.number(CKA_PRIME_BITS),
            _ => None,
        };
        if size.is_some_and(|size| size < offer.min_key_size) {
            return Err(Error::new(
                ErrorCode::KeySizeRange,
                format!(
                    "{} makes keys from {} on under the policy {}",
                    offer.mechanism.name,
                    offer.min_key_size,
                    self.name()
                ),
            ));
        }
        Ok(())
    }

    /// Whether a key, or another object, is one that is kept and used.
    ///
    /// # Errors
    /// CKR_KEY_SIZE_RANGE, CKR_CURVE_NOT_SUPPORTED, CKR_MECHANISM_INVALID for a type that has none.
    pub fn permit_key(self, object: &Object) -> Result<()> {
        let Some(key_type) = object.key_type() else { return Ok(()) };
        let attributes = object.attributes();
        let short = |why: String| Err(Error::new(ErrorCode::KeySizeRange, why));
        match key_type {
            CKK_RSA => {
                let bits = attributes.bytes(CKA_MODULUS).map_or(0, attribute::bits);
                // What was signed long ago may still be verified.
                let old = self == Self::Default
                    && object.class() == CKO_PUBLIC_KEY
                    && bits >= RSA_TO_VERIFY;
                // Old programs made keys of 512 bits that begin with a zero.
                let rounded = if self == Self::Compat { bits.next_multiple_of(8) } else { bits };
                if rounded < self.smallest_rsa() && !old {
                    return short(format!(
                        "an RSA key of {bits} bits; the policy {} begins with {}",
                        self.name(),
                        self.smallest_rsa()
                    ));
                }
            }
            CKK_EC => {
                let curve = key::curve(attributes.bytes(CKA_EC_PARAMS).unwrap_or_default())?;
                if !self.allows_curve(curve) {
                    return Err(Error::new(
                        ErrorCode::CurveNotSupported,
                        format!("no key is on this curve under the policy {}", self.name()),
                    ));
                }
            }
            CKK_DSA | CKK_DH | CKK_DES | CKK_DES2 | CKK_DES3 | CKK_MD5_HMAC
                if self != Self::Compat =>
            {
                return Err(Error::new(
                    ErrorCode::MechanismInvalid,
                    format!("keys of this type are not kept under the policy {}", self.name()),
                ));
            }
            CKK_EC_MONTGOMERY if self == Self::Fips => {
                return Err(Error::new(
                    ErrorCode::CurveNotSupported,
                    "no key is on this curve under the policy fips",
                ));
            }
            _ if object.class() == CKO_SECRET_KEY && self == Self::Fips => {
                let length = attributes.number(CKA_VALUE_LEN).unwrap_or_default();
                if length < BYTES_OF_112_BITS {
                    return short(format!(
                        "a secret key of {length} bytes; the policy fips begins with \
                         {BYTES_OF_112_BITS}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether keys on a curve are made and used.
    #[must_use]
    pub fn allows_curve(self, curve: Curve) -> bool {
        match self {
            Self::Compat => true,
            // 112 bits of security, and none of the twins that RFC 5639 has of each curve.
            Self::Default => curve.bits() >= EC as u32 && !curve.is_twisted(),
            // NIST SP 800-186 has secp256k1 for blockchains, Brainpool's for those who must.
            Self::Fips => {
                matches!(curve, Curve::P224 | Curve::P256 | Curve::P384 | Curve::P521)
            }
        }
    }

    /// The smallest RSA key that is made, imported or used, in bits.
    #[must_use]
    pub fn smallest_rsa(self) -> u64 {
        if self == Self::Compat { OLD_RSA } else { RSA }
    }
}

impl From<wire::Policy> for Policy {
    fn from(policy: wire::Policy) -> Self {
        match policy {
            wire::Policy::Unspecified | wire::Policy::Default => Self::Default,
            wire::Policy::Fips => Self::Fips,
            wire::Policy::Compat => Self::Compat,
        }
    }
}

impl From<Policy> for wire::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Default => Self::Default,
            Policy::Fips => Self::Fips,
            Policy::Compat => Self::Compat,
        }
    }
}

/// The flags of a mechanism that stand for a use.
fn flags_of(usage: u64) -> u64 {
    match usage {
        CKA_SIGN => CKF_SIGN | CKF_MESSAGE_SIGN,
        CKA_SIGN_RECOVER => CKF_SIGN_RECOVER,
        CKA_VERIFY => CKF_VERIFY | CKF_MESSAGE_VERIFY,
        CKA_VERIFY_RECOVER => CKF_VERIFY_RECOVER,
        CKA_ENCRYPT => CKF_ENCRYPT | CKF_MESSAGE_ENCRYPT,
        CKA_DECRYPT => CKF_DECRYPT | CKF_MESSAGE_DECRYPT,
        CKA_WRAP => CKF_WRAP,
        CKA_UNWRAP => CKF_UNWRAP,
        CKA_DERIVE => CKF_DERIVE,
        CKA_ENCAPSULATE => CKF_ENCAPSULATE,
        CKA_DECAPSULATE => CKF_DECAPSULATE,
        _ => 0,
    }
}

fn is_rsa(family: Family) -> bool {
    matches!(
        family,
        Family::PairGeneration(CKK_RSA)
            | Family::RsaPkcs(_)
            | Family::RsaPss(_)
            | Family::RsaOaep
            | Family::RsaX509
            | Family::RsaAesKeyWrap
    )
}

/// What is offered to old programs only.
fn is_old(family: Family) -> bool {
    matches!(
        family,
        Family::PairGeneration(CKK_DSA | CKK_DH)
            | Family::SecretGeneration(CKK_DES | CKK_DES2 | CKK_DES3)
            | Family::ParameterGeneration(_)
            | Family::Dsa(_)
            | Family::Derivation(
                Derived::Dh
                    | Derived::Tls10Master
                    | Derived::TlsKeys { tls12: false, .. }
                    | Derived::TlsPrf,
            )
            | Family::Block { cipher: BlockCipher::TripleDes | BlockCipher::Des, .. }
            | Family::Derivation(Derived::Encryption {
                cipher: BlockCipher::TripleDes | BlockCipher::Des,
                ..
            })
            | Family::Cmac { cipher: BlockCipher::TripleDes, .. }
    ) || hash_of(family) == Some(Hash::Md5)
}

/// What NIST does not approve at all.
fn is_unapproved(mechanism: &Mechanism) -> bool {
    matches!(
        mechanism.family,
        // X25519, and RSA without padding.
        Family::PairGeneration(CKK_EC_MONTGOMERY) | Family::RsaX509
    ) || mechanism.number == CKM_SHA1_KEY_DERIVATION
}

/// Takes away what NIST does not approve of a mechanism.
fn approved_part(offer: &mut Offer) {
    match offer.mechanism.family {
        Family::RsaPkcs(None) => {
            offer.flags &= !(CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP);
        }
        // Old signatures may still be verified (NIST SP 800-131A section 3).
        Family::RsaPkcs(Some(Hash::Sha1))
        | Family::RsaPss(Some(Hash::Sha1))
        | Family::Ecdsa(Some(Hash::Sha1)) => {
            offer.flags &= !(CKF_SIGN | CKF_MESSAGE_SIGN);
        }
        Family::Hmac { .. } => offer.min_key_size = BYTES_OF_112_BITS,
        Family::SecretGeneration(_) => {
            offer.min_key_size = offer.min_key_size.max(BYTES_OF_112_BITS);
        }
        _ => {}
    }
}

fn hash_of(family: Family) -> Option<Hash> {
    match family {
        Family::RsaPkcs(hash)
        | Family::RsaPss(hash)
        | Family::Ecdsa(hash)
        | Family::Dsa(hash)
        | Family::HashMlDsa(hash) => hash,
        Family::Hmac { hash, .. }
        | Family::Digest(hash)
        | Family::Derivation(Derived::Digest(hash)) => Some(hash),
        _ => None,
    }
}

/// Flags that stand for a function; the others say something about it.
const FUNCTIONS: u64 = CKF_ENCRYPT
    | CKF_DECRYPT
    | CKF_DIGEST
    | CKF_SIGN
    | CKF_SIGN_RECOVER
    | CKF_VERIFY
    | CKF_VERIFY_RECOVER
    | CKF_GENERATE
    | CKF_GENERATE_KEY_PAIR
    | CKF_WRAP
    | CKF_UNWRAP
    | CKF_DERIVE
    | CKF_ENCAPSULATE
    | CKF_DECAPSULATE;

/// Bits.
const RSA: u64 = 2048;
const RSA_TO_VERIFY: u64 = 1024;
const OLD_RSA: u64 = 512;
const EC: u64 = 224;
const OLD_EC: u64 = 160;

const BYTES_OF_112_BITS: u64 = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::PREPARED;

    fn all() -> impl Iterator<Item = &'static Mechanism> {
        REGISTRY.iter().chain(PREPARED)
    }

    fn named(name: &str) -> &'static Mechanism {
        all().find(|mechanism| mechanism.name == name).unwrap()
    }

    #[test]
    fn compat_offers_everything_and_the_others_part_of_it() {
        for mechanism in all() {
            let compat = Policy::Compat.offer(mechanism).unwrap();
            assert_eq!(compat.flags, mechanism.flags);
            for policy in [Policy::Default, Policy::Fips] {
                if let Some(offer) = policy.offer(mechanism) {
                    assert_eq!(offer.flags & !compat.flags, 0, "{}", mechanism.name);
                    assert!(offer.min_key_size >= compat.min_key_size, "{}", mechanism.name);
                }
            }
        }
    }

    #[test]
    fn each_policy_leaves_out_what_it_says() {
        const SIGN: u64 = CKF_SIGN | CKF_VERIFY;
        const CRYPT: u64 = CKF_ENCRYPT | CKF_DECRYPT;
        for (name, default, fips) in [
            ("CKM_MD5", 0, 0),
            ("CKM_MD5_HMAC", 0, 0),
            ("CKM_MD5_RSA_PKCS", 0, 0),
            ("CKM_DES3_CBC", 0, 0),
            ("CKM_DES3_CMAC", 0, 0),
            ("CKM_DSA_SHA256", 0, 0),
            ("CKM_DH_PKCS_DERIVE", 0, 0),
            ("CKM_RSA_X_509", SIGN | CRYPT, 0),
            ("CKM_EC_MONTGOMERY_KEY_PAIR_GEN", CKF_GENERATE_KEY_PAIR, 0),
            ("CKM_SHA1_RSA_PKCS", SIGN, CKF_VERIFY),
            ("CKM_SHA1_RSA_PKCS_PSS", SIGN, CKF_VERIFY),
            ("CKM_ECDSA_SHA1", SIGN, CKF_VERIFY),
            ("CKM_SHA256_RSA_PKCS", SIGN, SIGN),
            ("CKM_SHA_1_HMAC", SIGN, SIGN),
            ("CKM_RSA_PKCS", SIGN | CRYPT, SIGN),
            ("CKM_RSA_PKCS_OAEP", CRYPT, CRYPT),
            ("CKM_AES_CTR", CRYPT, CRYPT),
        ] {
            for (policy, expected) in [(Policy::Default, default), (Policy::Fips, fips)] {
                let offer = policy.offer(named(name)).map_or(0, |offer| offer.flags);
                let functions = offer & (SIGN | CRYPT | CKF_GENERATE_KEY_PAIR | CKF_DERIVE);
                assert_eq!(functions, expected, "{name} under {}", policy.name());
            }
        }
    }

    #[test]
    fn key_sizes_follow_the_policy() {
        let least = |policy: Policy, name| policy.offer(named(name)).unwrap().min_key_size;
        assert_eq!(least(Policy::Compat, "CKM_RSA_PKCS_PSS"), 512);
        assert_eq!(least(Policy::Compat, "CKM_ECDSA_SHA256"), 160);
        assert_eq!(least(Policy::Compat, "CKM_SHA224_HMAC"), 1);
        assert_eq!(least(Policy::Default, "CKM_ECDH1_DERIVE"), 224);
        assert_eq!(least(Policy::Default, "CKM_RSA_PKCS_PSS"), 2048);
        assert_eq!(least(Policy::Fips, "CKM_SHA256_HMAC"), 14);
        assert_eq!(least(Policy::Default, "CKM_SHA256_HMAC"), 1);
        assert_eq!(least(Policy::Fips, "CKM_AES_KEY_GEN"), 16);
    }

    #[test]
    fn names_are_read_back() {
        for policy in Policy::ALL {
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(Policy::from_name("FIPS"), None);
    }
}
