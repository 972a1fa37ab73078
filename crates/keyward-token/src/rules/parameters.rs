//! Domain parameters (section 4.11): the numbers that many DSA or Diffie-Hellman keys share.

use cryptoki_sys::*;
use keyward_crypto::{DhGroup, DsaParameters, Error as CryptoError, Stop};
use keyward_wire::{Error, ErrorCode, Result};

use super::defaults::storage_defaults;
use super::generation::for_generation;
use super::{incomplete, number};
use crate::attribute::{self, Attributes, value_invalid};
use crate::key::from_crypto;
use crate::mechanism::{self, Family};
use crate::object::Object;

/// Whether C_GenerateKey makes domain parameters by a mechanism, not a key.
#[must_use]
pub fn makes_parameters(mechanism: u64) -> bool {
    matches!(
        mechanism::find(mechanism).map(|mechanism| mechanism.family),
        Ok(Family::ParameterGeneration(_))
    )
}

/// Domain parameters that are to be made.
#[derive(Clone, Debug)]
pub struct Domain {
    attributes: Attributes,
    key_type: u64,
    /// Of the prime.
    bits: u32,
}

impl Domain {
    /// Reads the template that C_GenerateKey gets.
    ///
    /// # Errors
    /// As [`create`](super::create), CKR_MECHANISM_INVALID, CKR_KEY_SIZE_RANGE.
    pub fn new(mechanism: u64, template: Attributes) -> Result<Self> {
        let found = mechanism::find(mechanism)?;
        let Family::ParameterGeneration(key_type) = found.family else {
            return Err(Error::new(
                ErrorCode::MechanismInvalid,
                format!("mechanism {mechanism:#x} makes no domain parameters"),
            ));
        };
        let mut attributes = for_generation(template, CKO_DOMAIN_PARAMETERS, key_type)?;
        let bits = number(&attributes, CKA_PRIME_BITS)?;
        if !(found.min_key_size..=found.max_key_size).contains(&bits) {
            return Err(size_range(key_type));
        }
        storage_defaults(&mut attributes, false);
        attributes.set(CKA_LOCAL, true);
        Ok(Self { attributes, key_type, bits: u32::try_from(bits).unwrap_or(u32::MAX) })
    }

    /// CKA_TOKEN.
    #[must_use]
    pub fn is_token_object(&self) -> bool {
        self.attributes.is_true(CKA_TOKEN)
    }

    /// CKA_PRIVATE.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.attributes.is_true(CKA_PRIVATE)
    }

    /// Looks for the numbers, which takes a processor for seconds, until `stop` says so.
    ///
    /// # Errors
    /// CKR_KEY_SIZE_RANGE for a size that is not made, CKR_ATTRIBUTE_VALUE_INVALID for a subprime of
    /// another size, `UNAVAILABLE` if the search was stopped.
    pub fn generate(self, stop: Stop<'_>) -> Result<Object> {
        let Self { mut attributes, key_type, bits } = self;
        let found = match key_type {
            CKK_DSA => {
                let wanted = attributes.number(CKA_SUBPRIME_BITS);
                let own = if bits < 2048 { 160 } else { 256 };
                if wanted.is_some_and(|wanted| wanted != own) {
                    return Err(value_invalid(CKA_SUBPRIME_BITS));
                }
                DsaParameters::generate(bits, stop).map(Group::Dsa)
            }
            _ => DhGroup::generate(bits, stop).map(Group::Dh),
        };
        found.map_err(|error| refused(key_type, error))?.describe(&mut attributes)?;
        Object::from_attributes(attributes)
    }
}

/// Completes domain parameters that C_CreateObject gets.
pub(super) fn create(attributes: &mut Attributes) -> Result<()> {
    let key_type = number(attributes, CKA_KEY_TYPE)?;
    let part = |attribute| attributes.bytes(attribute).ok_or_else(|| incomplete(attribute));
    let group = match key_type {
        CKK_DSA => DsaParameters::new(part(CKA_PRIME)?, part(CKA_SUBPRIME)?, part(CKA_BASE)?)
            .map(Group::Dsa),
        CKK_DH => DhGroup::new(part(CKA_PRIME)?, part(CKA_BASE)?).map(Group::Dh),
        _ => return Err(value_invalid(CKA_KEY_TYPE)),
    };
    group.map_err(|error| refused(key_type, error))?.describe(attributes)?;
    storage_defaults(attributes, false);
    attributes.set(CKA_LOCAL, false);
    Ok(())
}

enum Group {
    Dsa(DsaParameters),
    Dh(DhGroup),
}

impl Group {
    /// Writes the numbers and their sizes as attributes. A size that the template gives has to be
    /// the right one.
    fn describe(&self, attributes: &mut Attributes) -> Result<()> {
        let (prime, subprime, base) = match self {
            Self::Dsa(dsa) => (dsa.prime(), Some(dsa.subprime()), dsa.base()),
            Self::Dh(dh) => (dh.prime(), None, dh.base()),
        };
        for (size, of) in [(CKA_PRIME_BITS, Some(prime)), (CKA_SUBPRIME_BITS, subprime)] {
            let bits = of.map(attribute::bits);
            match (attributes.number(size), bits) {
                (given, Some(bits)) if given.is_none_or(|given| given == bits) => {
                    attributes.set(size, bits);
                }
                (None, None) => {}
                _ => return Err(value_invalid(size)),
            }
        }
        if subprime.is_none() && attributes.contains(CKA_SUBPRIME) {
            return Err(Error::new(
                ErrorCode::AttributeTypeInvalid,
                "Diffie-Hellman parameters have no CKA_SUBPRIME",
            ));
        }
        for (attribute, number) in
            [(CKA_PRIME, Some(prime)), (CKA_SUBPRIME, subprime), (CKA_BASE, Some(base))]
        {
            if let Some(number) = number {
                attributes.set(attribute, number);
            }
        }
        Ok(())
    }
}

fn refused(key_type: u64, error: CryptoError) -> Error {
    match error {
        CryptoError::UnsupportedKeySize => size_range(key_type),
        other => from_crypto(other),
    }
}

fn size_range(key_type: u64) -> Error {
    Error::new(
        ErrorCode::KeySizeRange,
        match key_type {
            CKK_DSA => {
                "DSA takes a prime of 1024 to 3072 bits, in steps of 64 for a new one, and a \
                 subprime of 160, 224 or 256"
            }
            _ => {
                "Diffie-Hellman takes a prime of 1024 to 8192 bits; beyond 2048 there are those of \
                 3072, 4096, 6144 and 8192"
            }
        },
    )
}
