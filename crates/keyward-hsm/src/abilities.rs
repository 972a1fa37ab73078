//! What an HSM can do of what Keyward offers.

use std::collections::HashMap;

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_token::mechanism::{BlockCipher, Family, Mechanism, ModeName};

use crate::protocol::Ready;

/// The mechanisms of an HSM.
#[derive(Clone, Debug, Default)]
pub struct Abilities {
    /// CK_MECHANISM_INFO's flags by mechanism.
    flags: HashMap<u64, u64>,
}

impl Abilities {
    pub(crate) fn new(ready: &Ready) -> Self {
        Self { flags: ready.mechanisms.iter().map(|one| (one.number, one.flags)).collect() }
    }

    /// Whether keys in the HSM do all that `mechanism` does with a private or
    /// secret key. What works without one (digests) is always offered: it is
    /// done elsewhere.
    #[must_use]
    pub fn has(&self, mechanism: &Mechanism) -> bool {
        match needed(mechanism.number, mechanism.family) {
            Need::Nothing => true,
            Need::Never => false,
            Need::Does(number, flags) => {
                self.flags.get(&number).is_some_and(|own| own & flags == flags)
            }
        }
    }
}

/// What the HSM has to have.
enum Need {
    /// No key is used.
    Nothing,
    /// It is not done by HSMs.
    Never,
    /// A mechanism with these flags.
    Does(u64, u64),
}

fn needed(number: u64, family: Family) -> Need {
    match family {
        Family::Digest(_) => Need::Nothing,
        Family::PairGeneration(CKK_RSA | CKK_EC | CKK_EC_EDWARDS) => {
            Need::Does(number, CKF_GENERATE_KEY_PAIR)
        }
        Family::SecretGeneration(CKK_AES | CKK_GENERIC_SECRET) => Need::Does(number, CKF_GENERATE),
        // Digests are made before the HSM is asked.
        Family::RsaPkcs(_) => Need::Does(CKM_RSA_PKCS, CKF_SIGN | CKF_DECRYPT),
        Family::RsaPss(_) => Need::Does(CKM_RSA_PKCS_PSS, CKF_SIGN),
        Family::RsaOaep => Need::Does(CKM_RSA_PKCS_OAEP, CKF_DECRYPT),
        Family::RsaX509 => Need::Does(CKM_RSA_X_509, CKF_SIGN | CKF_DECRYPT),
        Family::Ecdsa(_) => Need::Does(CKM_ECDSA, CKF_SIGN),
        Family::Eddsa => Need::Does(CKM_EDDSA, CKF_SIGN),
        Family::Hmac { hash, .. } => match hmac(hash) {
            Some(number) => Need::Does(number, CKF_SIGN),
            None => Need::Never,
        },
        Family::Cmac { cipher: BlockCipher::Aes, .. } => Need::Does(CKM_AES_CMAC, CKF_SIGN),
        Family::Block {
            cipher: BlockCipher::Aes,
            mode: ModeName::Ecb | ModeName::Cbc | ModeName::CbcPad | ModeName::Gcm,
        } => Need::Does(number, CKF_ENCRYPT | CKF_DECRYPT),
        Family::KeyWrap { .. } => Need::Does(number, CKF_UNWRAP),
        _ => Need::Never,
    }
}

/// The mechanism of an HMAC that HSMs are asked for.
pub(crate) fn hmac(hash: Hash) -> Option<u64> {
    match hash {
        Hash::Sha1 => Some(CKM_SHA_1_HMAC),
        Hash::Sha224 => Some(CKM_SHA224_HMAC),
        Hash::Sha256 => Some(CKM_SHA256_HMAC),
        Hash::Sha384 => Some(CKM_SHA384_HMAC),
        Hash::Sha512 => Some(CKM_SHA512_HMAC),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use keyward_token::mechanism;

    use super::*;

    fn offered(flags: &[(u64, u64)], number: u64) -> bool {
        let abilities = Abilities { flags: flags.iter().copied().collect() };
        abilities.has(mechanism::find(number).unwrap())
    }

    #[test]
    fn what_digests_needs_what_signs_digests() {
        let flags = [(CKM_ECDSA, CKF_SIGN | CKF_VERIFY)];
        assert!(offered(&flags, CKM_ECDSA_SHA384));
        assert!(!offered(&flags, CKM_SHA384_RSA_PKCS));
        assert!(!offered(&[(CKM_ECDSA, CKF_VERIFY)], CKM_ECDSA_SHA384));
    }

    #[test]
    fn digests_are_offered_and_derivations_are_not() {
        assert!(offered(&[], CKM_SHA256));
        assert!(!offered(&[(CKM_HKDF_DERIVE, CKF_DERIVE)], CKM_HKDF_DERIVE));
    }
}
