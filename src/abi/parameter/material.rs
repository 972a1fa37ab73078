//! The parameters of mechanisms that derive several keys, or bytes, and the places
//! in them where these go.

use cryptoki_sys::*;
use keyward_token::mechanism::{Derived, Family, Parameter, find};

use super::super::arguments::bytes;
use super::derivation::{invalid, randoms};
use super::{missing, structure};
use crate::error::Result;
use crate::session::DerivedKeys;

/// Whether C_DeriveKey gives no single key by a mechanism.
pub(in super::super) fn gives_parts(number: CK_MECHANISM_TYPE) -> bool {
    matches!(
        find(number).map(|mechanism| mechanism.family),
        Ok(Family::Derivation(derived)) if derived.gives_parts()
    )
}

/// Reads what goes in.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID.
///
/// # Safety
/// As [`super::read`].
pub(super) unsafe fn read(derived: Derived, mechanism: &CK_MECHANISM) -> Result<Parameter> {
    if derived == Derived::TlsPrf {
        // SAFETY: the caller's promise, here and in all that follow.
        let prf: CK_TLS_PRF_PARAMS = unsafe { structure(mechanism) }?;
        if prf.pulOutputLen.is_null() {
            return Err(missing());
        }
        // SAFETY: as above.
        let seed = unsafe { bytes(prf.pSeed, prf.ulSeedLen) }?.to_vec();
        // SAFETY: as above.
        let label = unsafe { bytes(prf.pLabel, prf.ulLabelLen) }?.to_vec();
        // SAFETY: as above.
        let length = unsafe { prf.pulOutputLen.read_unaligned() };
        return Ok(Parameter::TlsPrf { seed, label, length });
    }
    // SAFETY: as above.
    let (keys, hash) = unsafe { key_material(derived, mechanism) }?;
    if keys.bIsExport != CK_FALSE {
        return Err(invalid("keys for export are not derived"));
    }
    // SAFETY: as above.
    let (client_random, server_random) = unsafe { randoms(&keys.RandomInfo) }?;
    Ok(Parameter::TlsKeys {
        hash,
        mac_bits: keys.ulMacSizeInBits,
        key_bits: keys.ulKeySizeInBits,
        iv_bits: keys.ulIVSizeInBits,
        client_random,
        server_random,
    })
}

/// The two structures differ in the hash at their end.
unsafe fn key_material(
    derived: Derived,
    mechanism: &CK_MECHANISM,
) -> Result<(CK_SSL3_KEY_MAT_PARAMS, CK_MECHANISM_TYPE)> {
    if !matches!(derived, Derived::TlsKeys { tls12: true, .. }) {
        // SAFETY: the caller's promise, here and below.
        return Ok((unsafe { structure(mechanism) }?, CKM_TLS_PRF));
    }
    // SAFETY: as above.
    let tls12: CK_TLS12_KEY_MAT_PARAMS = unsafe { structure(mechanism) }?;
    let keys = CK_SSL3_KEY_MAT_PARAMS {
        ulMacSizeInBits: tls12.ulMacSizeInBits,
        ulKeySizeInBits: tls12.ulKeySizeInBits,
        ulIVSizeInBits: tls12.ulIVSizeInBits,
        bIsExport: tls12.bIsExport,
        RandomInfo: tls12.RandomInfo,
        pReturnedKeyMaterial: tls12.pReturnedKeyMaterial,
    };
    Ok((keys, tls12.prfHashMechanism))
}

/// Where what was derived goes.
#[derive(Debug)]
pub(in super::super) enum Place {
    Keys {
        /// Not null.
        place: *mut CK_SSL3_KEY_MAT_OUT,
        /// As they were before.
        found: CK_SSL3_KEY_MAT_OUT,
        /// Which of the keys there are.
        authenticating: bool,
    },
    /// Not null, and with room for what was asked for.
    Bytes(*mut CK_BYTE),
}

impl Place {
    /// Looks for the places before anything is derived.
    ///
    /// # Errors
    /// CKR_MECHANISM_PARAM_INVALID if one is missing.
    ///
    /// # Safety
    /// `mechanism` is not null, and as [`super::read`], which has read `parameter` from it; what its
    /// structure names as places is null or valid for writes of the lengths beside.
    pub(in super::super) unsafe fn of(
        mechanism: CK_MECHANISM_PTR,
        parameter: &Parameter,
    ) -> Result<Self> {
        // SAFETY: the caller's promise, here and below.
        let mechanism = unsafe { mechanism.read_unaligned() };
        let Parameter::TlsKeys { mac_bits, iv_bits, .. } = parameter else {
            // SAFETY: as above.
            let prf: CK_TLS_PRF_PARAMS = unsafe { structure(&mechanism) }?;
            if prf.pOutput.is_null() {
                return Err(missing());
            }
            return Ok(Self::Bytes(prf.pOutput));
        };
        let Ok(Family::Derivation(derived)) = find(mechanism.mechanism).map(|known| known.family)
        else {
            return Err(missing());
        };
        // SAFETY: as above.
        let (keys, _) = unsafe { key_material(derived, &mechanism) }?;
        let place = keys.pReturnedKeyMaterial;
        if place.is_null() {
            return Err(missing());
        }
        // SAFETY: not null, and valid by the caller's promise.
        let found = unsafe { place.read_unaligned() };
        let ivs = *iv_bits > 0 && !matches!(derived, Derived::TlsKeys { safe: true, .. });
        if ivs && (found.pIVClient.is_null() || found.pIVServer.is_null()) {
            return Err(invalid("pIVClient or pIVServer is missing"));
        }
        Ok(Self::Keys { place, found, authenticating: *mac_bits > 0 })
    }

    /// Tells the host what was derived; the handles of keys that were not asked for become 0.
    ///
    /// # Errors
    /// None.
    ///
    /// # Safety
    /// As [`Place::of`], from which it comes; `derived` has the lengths that the parameter says.
    pub(in super::super) unsafe fn put(self, derived: DerivedKeys) -> Result<()> {
        let copy = |data: Option<&Vec<u8>>, place: *mut CK_BYTE| {
            if let Some(data) = data {
                // SAFETY: there is room for as much as was asked for, by the caller's promise.
                unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), place, data.len()) };
            }
        };
        match self {
            Self::Bytes(place) => copy(derived.data.first(), place),
            Self::Keys { place, mut found, authenticating } => {
                let mut keys = derived.keys.into_iter();
                let none = [CK_INVALID_HANDLE; 2];
                let mut pair = || [keys.next(), keys.next()].map(Option::unwrap_or_default);
                let macs = if authenticating { pair() } else { none };
                let ciphers = pair();
                [found.hClientMacSecret, found.hServerMacSecret] = macs;
                [found.hClientKey, found.hServerKey] = ciphers;
                copy(derived.data.first(), found.pIVClient);
                copy(derived.data.get(1), found.pIVServer);
                // SAFETY: not null, and valid by the caller's promise.
                unsafe { place.write_unaligned(found) };
            }
        }
        Ok(())
    }
}
