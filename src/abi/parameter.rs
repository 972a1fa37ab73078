//! Mechanisms and their parameters.

use cryptoki_sys::*;
use keyward_token::mechanism::Parameter;

use super::arguments::{bad, bytes};
use crate::error::{Error, Result};

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
    let parameter = match mechanism.mechanism {
        CKM_RSA_PKCS_PSS
        | CKM_SHA1_RSA_PKCS_PSS
        | CKM_SHA224_RSA_PKCS_PSS
        | CKM_SHA256_RSA_PKCS_PSS
        | CKM_SHA384_RSA_PKCS_PSS
        | CKM_SHA512_RSA_PKCS_PSS
        | CKM_SHA3_224_RSA_PKCS_PSS
        | CKM_SHA3_256_RSA_PKCS_PSS
        | CKM_SHA3_384_RSA_PKCS_PSS
        | CKM_SHA3_512_RSA_PKCS_PSS => {
            // SAFETY: the caller's promise.
            let pss: CK_RSA_PKCS_PSS_PARAMS = unsafe { structure(&mechanism) }?;
            Parameter::Pss { hash: pss.hashAlg, mgf: pss.mgf, salt_length: pss.sLen }
        }
        CKM_RSA_PKCS_OAEP => {
            // SAFETY: the caller's promise.
            let oaep: CK_RSA_PKCS_OAEP_PARAMS = unsafe { structure(&mechanism) }?;
            let label = match oaep.source {
                // 0: some hosts say so without a label.
                CKZ_DATA_SPECIFIED | 0 => {
                    // SAFETY: the caller's promise.
                    unsafe { bytes(oaep.pSourceData.cast(), oaep.ulSourceDataLen) }?
                }
                _ => return Err(bad("source of CK_RSA_PKCS_OAEP_PARAMS")),
            };
            Parameter::Oaep { hash: oaep.hashAlg, mgf: oaep.mgf, label: label.to_vec() }
        }
        // Some hosts give an empty or stray parameter where there is none.
        _ => Parameter::None,
    };
    Ok(Some((mechanism.mechanism, parameter)))
}

unsafe fn structure<T>(mechanism: &CK_MECHANISM) -> Result<T> {
    if mechanism.pParameter.is_null() || mechanism.ulParameterLen != size_of::<T>() as CK_ULONG {
        return Err(Error::new(
            CKR_MECHANISM_PARAM_INVALID,
            "the mechanism's parameter is missing or has the wrong size",
        ));
    }
    // SAFETY: not null, of the right size, and valid by the caller's promise.
    Ok(unsafe { mechanism.pParameter.cast::<T>().read_unaligned() })
}
