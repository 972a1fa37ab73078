//! What becomes of a derivation that gives several keys, or bytes: its parts.

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use super::{Derived, Family, Parameter, find, not_for, parameter_invalid};
use crate::attribute::Attributes;

/// The parts of what is derived, in their order; lengths in bytes.
#[derive(Clone, Debug)]
pub struct Material {
    /// Each with its CKA_VALUE_LEN: two that authenticate, then two that encrypt, as far as there
    /// are any.
    pub keys: Vec<Attributes>,
    /// Behind the keys.
    pub data: Vec<usize>,
}

impl Material {
    /// What a mechanism with its parameter makes of a template (section 6.39.6 of v3.1).
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID if it does not give parts, CKR_MECHANISM_PARAM_INVALID if the parameter
    /// does not fit, CKR_TEMPLATE_INCONSISTENT if the template wants another length.
    pub fn new(number: u64, parameter: &Parameter, template: &Attributes) -> Result<Self> {
        let Family::Derivation(derived) = find(number)?.family else {
            return Err(not_for(number, "derive a key"));
        };
        match (derived, parameter) {
            (
                Derived::TlsKeys { safe, .. },
                Parameter::TlsKeys { mac_bits, key_bits, iv_bits, .. },
            ) => {
                let (mac, key) = (bytes(*mac_bits)?, bytes(*key_bits)?);
                let iv = if safe { 0 } else { bytes(*iv_bits)? };
                let mut keys = Vec::new();
                if mac > 0 {
                    keys = vec![authenticating(template, mac); 2];
                }
                if key > 0 {
                    let template = encrypting(template, key)?;
                    keys.extend([template.clone(), template]);
                }
                let data = if iv > 0 { vec![iv, iv] } else { Vec::new() };
                if keys.is_empty() && data.is_empty() {
                    return Err(parameter_invalid("nothing is asked for"));
                }
                Ok(Self { keys, data })
            }
            (Derived::TlsPrf, Parameter::TlsPrf { length, .. }) => {
                let length = usize::try_from(*length)
                    .ok()
                    .filter(|length| (1..=MOST_DATA).contains(length))
                    .ok_or_else(|| parameter_invalid("the PRF is asked for 1 to 65,536 bytes"))?;
                Ok(Self { keys: Vec::new(), data: vec![length] })
            }
            _ => Err(not_for(number, "give several keys")),
        }
    }

    /// Whether a mechanism gives just such parts. What it derives is a secret of the base key, and
    /// parts that the client gets to see are for those mechanisms alone that say so.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID.
    pub fn must_be_of(&self, number: u64) -> Result<()> {
        let derived = match find(number)?.family {
            Family::Derivation(derived) => derived,
            _ => return Err(not_for(number, "derive a key")),
        };
        let (keys, data) = (self.keys.len(), self.data.len());
        let fits = match derived {
            Derived::TlsKeys { safe, .. } => {
                matches!(keys, 0 | 2 | 4) && (data == 0 || (data == 2 && !safe)) && keys + data > 0
            }
            Derived::TlsPrf => (keys, data) == (0, 1),
            _ => false,
        };
        if fits && self.data.iter().all(|length| (1..=MOST_DATA).contains(length)) {
            return Ok(());
        }
        Err(parameter_invalid("the mechanism does not give such parts"))
    }
}

/// In bytes.
fn bytes(bits: u64) -> Result<usize> {
    usize::try_from(bits / 8)
        .ok()
        .filter(|bytes| bits.is_multiple_of(8) && *bytes <= LONGEST)
        .ok_or_else(|| parameter_invalid("a size is not in whole bytes, or beyond all reason"))
}

/// The template of a key that authenticates: of the caller's it has what holds for all four.
fn authenticating(template: &Attributes, length: usize) -> Attributes {
    let mut own = Attributes::new();
    for (attribute, value) in template.iter() {
        if matches!(
            attribute,
            CKA_TOKEN | CKA_PRIVATE | CKA_SENSITIVE | CKA_EXTRACTABLE | CKA_LABEL | CKA_ID
        ) {
            own.set(attribute, value.clone());
        }
    }
    own.set(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    own.set(CKA_VALUE_LEN, length as u64);
    for (usage, on) in [
        (CKA_SIGN, true),
        (CKA_VERIFY, true),
        (CKA_DERIVE, true),
        (CKA_ENCRYPT, false),
        (CKA_DECRYPT, false),
        (CKA_WRAP, false),
        (CKA_UNWRAP, false),
    ] {
        own.set(usage, on);
    }
    own
}

fn encrypting(template: &Attributes, length: usize) -> Result<Attributes> {
    let mut own = template.clone();
    if own.number(CKA_VALUE_LEN).is_some_and(|given| given != length as u64) {
        return Err(Error::new(
            ErrorCode::TemplateInconsistent,
            "CKA_VALUE_LEN is not ulKeySizeInBits",
        ));
    }
    own.set(CKA_VALUE_LEN, length as u64);
    for usage in [CKA_ENCRYPT, CKA_DECRYPT, CKA_DERIVE] {
        own.set_default(usage, true);
    }
    Ok(own)
}

/// Of a key or an initialisation vector, in bytes; more than any cipher of TLS has.
const LONGEST: usize = 1024;

/// In bytes.
const MOST_DATA: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Data are what the client gets to see of a secret: only those mechanisms give them that say so.
    #[test]
    fn only_some_mechanisms_give_data() {
        let material = |keys, data: &[usize]| Material {
            keys: vec![Attributes::new(); keys],
            data: data.to_vec(),
        };
        for (number, keys, data, fits) in [
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 4, &[16, 16][..], true),
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 2, &[], true),
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 0, &[4, 4], true),
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 0, &[], false),
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 3, &[16, 16], false),
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 4, &[16], false),
            (CKM_TLS12_KEY_AND_MAC_DERIVE, 4, &[MOST_DATA + 1, 1], false),
            (CKM_TLS12_KEY_SAFE_DERIVE, 4, &[], true),
            (CKM_TLS12_KEY_SAFE_DERIVE, 4, &[16, 16], false),
            (CKM_TLS_PRF, 0, &[48], true),
            (CKM_TLS_PRF, 2, &[48], false),
            (CKM_SHA256_KEY_DERIVATION, 0, &[32], false),
            (CKM_CONCATENATE_BASE_AND_DATA, 1, &[], false),
            (CKM_AES_CBC, 4, &[], false),
        ] {
            let is = material(keys, data).must_be_of(number).is_ok();
            assert_eq!(is, fits, "{number:#x} {keys} {data:?}");
        }
    }
}
