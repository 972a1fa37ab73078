//! Mechanisms and their parameters.

mod derivation;
mod material;

use cryptoki_sys::*;
use keyward_token::mechanism::{Family, ModeName, Parameter, find};

use super::arguments::{bad, bytes};
use crate::error::{Error, Result};
pub(super) use derivation::put_version;
pub(super) use material::{Place, gives_parts};

/// [`read`], where there is no operation that null could cancel.
///
/// # Errors
/// CKR_ARGUMENTS_BAD for null; else as [`read`].
///
/// # Safety
/// As [`read`].
pub(super) unsafe fn required(
    mechanism: CK_MECHANISM_PTR,
) -> Result<(CK_MECHANISM_TYPE, Parameter)> {
    // SAFETY: the caller's promise.
    unsafe { read(mechanism) }?.ok_or_else(|| bad("pMechanism"))
}

/// Reads a mechanism; `None` for null, which cancels the operation.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID if the parameter has not the mechanism's size.
///
/// # Safety
/// `mechanism` is null or valid, and its pParameter is null or valid for reads
/// of its length and of what the structure in it points to.
pub(super) unsafe fn read(
    mechanism: CK_MECHANISM_PTR,
) -> Result<Option<(CK_MECHANISM_TYPE, Parameter)>> {
    if mechanism.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and valid by the caller's promise.
    let mechanism = unsafe { mechanism.read_unaligned() };
    let family = find(mechanism.mechanism).ok().map(|mechanism| mechanism.family);
    let parameter = match family {
        Some(Family::RsaPss(_)) => {
            // SAFETY: the caller's promise.
            let pss: CK_RSA_PKCS_PSS_PARAMS = unsafe { structure(&mechanism) }?;
            Parameter::Pss { hash: pss.hashAlg, mgf: pss.mgf, salt_length: pss.sLen }
        }
        Some(Family::RsaOaep) => {
            // SAFETY: the caller's promise.
            let oaep: CK_RSA_PKCS_OAEP_PARAMS = unsafe { structure(&mechanism) }?;
            // SAFETY: the caller's promise.
            let label = unsafe { oaep_label(&oaep) }?;
            Parameter::Oaep { hash: oaep.hashAlg, mgf: oaep.mgf, label }
        }
        Some(Family::RsaAesKeyWrap) => {
            // SAFETY: the caller's promise, here and below.
            let wrap: CK_RSA_AES_KEY_WRAP_PARAMS = unsafe { structure(&mechanism) }?;
            if wrap.pOAEPParams.is_null() {
                return Err(missing());
            }
            // SAFETY: not null, and valid by the caller's promise.
            let oaep = unsafe { wrap.pOAEPParams.read_unaligned() };
            // SAFETY: as above.
            let label = unsafe { oaep_label(&oaep) }?;
            let (aes_bits, hash, mgf) = (wrap.ulAESKeyBits, oaep.hashAlg, oaep.mgf);
            Parameter::RsaAesKeyWrap { aes_bits, hash, mgf, label }
        }
        Some(Family::Eddsa) if !is_absent(&mechanism) => {
            // SAFETY: the caller's promise.
            let eddsa: CK_EDDSA_PARAMS = unsafe { structure(&mechanism) }?;
            // SAFETY: as above.
            let context = unsafe { bytes(eddsa.pContextData, eddsa.ulContextDataLen) }?.to_vec();
            Parameter::Eddsa { prehashed: eddsa.phFlag != CK_FALSE, context }
        }
        Some(Family::MlDsa | Family::HashMlDsa(Some(_))) if !is_absent(&mechanism) => {
            // SAFETY: as above.
            let sign: CK_SIGN_ADDITIONAL_CONTEXT = unsafe { structure(&mechanism) }?;
            // SAFETY: as above.
            let context = unsafe { bytes(sign.pContext, sign.ulContextLen) }?.to_vec();
            Parameter::SignContext { hedge: sign.hedgeVariant, context, hash: None }
        }
        Some(Family::HashMlDsa(None)) => {
            // SAFETY: as above.
            let sign: CK_HASH_SIGN_ADDITIONAL_CONTEXT = unsafe { structure(&mechanism) }?;
            // SAFETY: as above.
            let context = unsafe { bytes(sign.pContext, sign.ulContextLen) }?.to_vec();
            Parameter::SignContext { hedge: sign.hedgeVariant, context, hash: Some(sign.hash) }
        }
        Some(Family::KeyWrap { .. }) => {
            // SAFETY: the caller's promise.
            unsafe { initial_value(&mechanism) }?
        }
        Some(Family::Hmac { general: true, .. } | Family::Cmac { general: true, .. }) => {
            // SAFETY: the caller's promise.
            Parameter::Number(unsafe { structure(&mechanism) }?)
        }
        Some(Family::TlsMac) => {
            // SAFETY: the caller's promise.
            let mac: CK_TLS_MAC_PARAMS = unsafe { structure(&mechanism) }?;
            Parameter::TlsMac {
                hash: mac.prfHashMechanism,
                length: mac.ulMacLength,
                server_or_client: mac.ulServerOrClient,
            }
        }
        Some(Family::PasswordGeneration) => {
            // SAFETY: the caller's promise.
            unsafe { password(&mechanism) }?
        }
        Some(Family::PremasterGeneration) => {
            // SAFETY: the caller's promise.
            let version: CK_VERSION = unsafe { structure(&mechanism) }?;
            Parameter::Version([version.major, version.minor])
        }
        Some(Family::Block { mode, .. }) => {
            // SAFETY: the caller's promise.
            unsafe { of_block(mode, &mechanism) }?
        }
        Some(Family::Derivation(derived)) => {
            // SAFETY: the caller's promise.
            unsafe { derivation::read(derived, &mechanism) }?
        }
        // Some hosts give an empty or stray parameter where there is none.
        _ => Parameter::None,
    };
    Ok(Some((mechanism.mechanism, parameter)))
}

unsafe fn oaep_label(oaep: &CK_RSA_PKCS_OAEP_PARAMS) -> Result<Vec<u8>> {
    match oaep.source {
        // 0: some hosts say so without a label.
        CKZ_DATA_SPECIFIED | 0 => {
            // SAFETY: the caller's promise.
            Ok(unsafe { bytes(oaep.pSourceData.cast(), oaep.ulSourceDataLen) }?.to_vec())
        }
        _ => Err(bad("source of CK_RSA_PKCS_OAEP_PARAMS")),
    }
}

/// An initial value, or nothing.
unsafe fn initial_value(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    if is_absent(mechanism) {
        return Ok(Parameter::None);
    }
    // SAFETY: the caller's promise.
    let value = unsafe { bytes(mechanism.pParameter.cast(), mechanism.ulParameterLen) }?;
    Ok(Parameter::Bytes(value.to_vec()))
}

unsafe fn password(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    // SAFETY: the caller's promise, here and below.
    let pbkd2: CK_PKCS5_PBKD2_PARAMS2 = unsafe { structure(mechanism) }?;
    if pbkd2.saltSource != CKZ_SALT_SPECIFIED || pbkd2.ulPrfDataLen != 0 {
        return Err(bad("saltSource or pPrfData of CK_PKCS5_PBKD2_PARAMS2"));
    }
    let mut length = pbkd2.ulPasswordLen;
    if length > LONGEST_PASSWORD && !pbkd2.pPassword.is_null() {
        // CK_PKCS5_PBKD2_PARAMS of v2.40 has the same size and a pointer there, which no length is
        // as great as. NSS goes on with it.
        let pointer = std::ptr::with_exposed_provenance::<CK_ULONG>(length as usize);
        // SAFETY: as above.
        length = unsafe { pointer.read_unaligned() };
    }
    if length > LONGEST_PASSWORD {
        return Err(bad("ulPasswordLen of CK_PKCS5_PBKD2_PARAMS2"));
    }
    // SAFETY: as above.
    let salt = unsafe { bytes(pbkd2.pSaltSourceData.cast(), pbkd2.ulSaltSourceDataLen) }?.to_vec();
    // SAFETY: as above.
    let password = unsafe { bytes(pbkd2.pPassword, length) }?.to_vec().into();
    Ok(Parameter::Password { prf: pbkd2.prf, salt, iterations: pbkd2.iterations, password })
}

fn is_absent(mechanism: &CK_MECHANISM) -> bool {
    mechanism.pParameter.is_null() || mechanism.ulParameterLen == 0
}

unsafe fn of_block(mode: ModeName, mechanism: &CK_MECHANISM) -> Result<Parameter> {
    Ok(match mode {
        ModeName::Ecb => Parameter::None,
        ModeName::Cbc | ModeName::CbcPad | ModeName::Feedback(_) => {
            // SAFETY: the caller's promise, here and below.
            let iv = unsafe { bytes(mechanism.pParameter.cast(), mechanism.ulParameterLen) }?;
            Parameter::Bytes(iv.to_vec())
        }
        ModeName::Ctr => {
            // SAFETY: as above.
            let counter: CK_AES_CTR_PARAMS = unsafe { structure(mechanism) }?;
            Parameter::Counter { bits: counter.ulCounterBits, block: counter.cb }
        }
        ModeName::Gcm => {
            // SAFETY: as above.
            let gcm = unsafe { gcm(mechanism) }?;
            // SAFETY: as above.
            let iv = unsafe { bytes(gcm.pIv, gcm.ulIvLen) }?.to_vec();
            // SAFETY: as above.
            let associated = unsafe { bytes(gcm.pAAD, gcm.ulAADLen) }?.to_vec();
            Parameter::Gcm { iv, associated, tag_bits: gcm.ulTagBits }
        }
        ModeName::Ccm => {
            // SAFETY: as above.
            let ccm: CK_CCM_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let nonce = unsafe { bytes(ccm.pNonce, ccm.ulNonceLen) }?.to_vec();
            // SAFETY: as above.
            let associated = unsafe { bytes(ccm.pAAD, ccm.ulAADLen) }?.to_vec();
            Parameter::Ccm {
                data_length: ccm.ulDataLen,
                nonce,
                associated,
                mac_length: ccm.ulMACLen,
            }
        }
    })
}

/// CK_GCM_PARAMS as v2.30 had it and some hosts still do: without ulIvBits.
#[repr(C)]
struct ShortGcm {
    iv: CK_BYTE_PTR,
    iv_length: CK_ULONG,
    associated: CK_BYTE_PTR,
    associated_length: CK_ULONG,
    tag_bits: CK_ULONG,
}

unsafe fn gcm(mechanism: &CK_MECHANISM) -> Result<CK_GCM_PARAMS> {
    if mechanism.ulParameterLen != size_of::<ShortGcm>() as CK_ULONG {
        // SAFETY: the caller's promise.
        return unsafe { structure(mechanism) };
    }
    // SAFETY: the caller's promise.
    let short: ShortGcm = unsafe { structure(mechanism) }?;
    Ok(CK_GCM_PARAMS {
        pIv: short.iv,
        ulIvLen: short.iv_length,
        ulIvBits: short.iv_length.saturating_mul(8),
        pAAD: short.associated,
        ulAADLen: short.associated_length,
        ulTagBits: short.tag_bits,
    })
}

unsafe fn structure<T>(mechanism: &CK_MECHANISM) -> Result<T> {
    if mechanism.pParameter.is_null() || mechanism.ulParameterLen != size_of::<T>() as CK_ULONG {
        return Err(missing());
    }
    // SAFETY: not null, of the right size, and valid by the caller's promise.
    Ok(unsafe { mechanism.pParameter.cast::<T>().read_unaligned() })
}

fn missing() -> Error {
    Error::new(
        CKR_MECHANISM_PARAM_INVALID,
        "the mechanism's parameter is missing or has the wrong size",
    )
}

/// In bytes.
const LONGEST_PASSWORD: CK_ULONG = 1 << 16;
