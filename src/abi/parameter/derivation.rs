//! The parameters of mechanisms that derive keys.

use cryptoki_sys::*;
use keyward_token::mechanism::{BlockCipher, DataField, Derived, Parameter, Salt};
use zeroize::Zeroizing;

use super::super::arguments::bytes;
use super::{material, missing, structure};
use crate::error::{Error, Result};

/// Reads the parameter of a mechanism that derives keys.
///
/// # Errors
/// CKR_MECHANISM_PARAM_INVALID.
///
/// # Safety
/// As [`super::read`].
pub(super) unsafe fn read(derived: Derived, mechanism: &CK_MECHANISM) -> Result<Parameter> {
    Ok(match derived {
        Derived::Ecdh => {
            // SAFETY: the caller's promise, here and in all that follow.
            let ecdh: CK_ECDH1_DERIVE_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let shared = unsafe { bytes(ecdh.pSharedData, ecdh.ulSharedDataLen) }?.to_vec();
            // SAFETY: as above.
            let public = unsafe { bytes(ecdh.pPublicData, ecdh.ulPublicDataLen) }?.to_vec();
            Parameter::Ecdh { kdf: ecdh.kdf, shared, public }
        }
        Derived::Dh => {
            // SAFETY: as above.
            let public = unsafe { bytes(mechanism.pParameter.cast(), mechanism.ulParameterLen) }?;
            Parameter::Bytes(public.to_vec())
        }
        // SAFETY: as above.
        Derived::Hkdf => unsafe { hkdf(mechanism) }?,
        // SAFETY: as above.
        Derived::CounterMode => unsafe { counter_mode(mechanism) }?,
        // SAFETY: as above.
        Derived::FeedbackMode => unsafe { feedback_mode(mechanism) }?,
        // SAFETY: as above.
        Derived::BaseAndKey => Parameter::Key(unsafe { structure(mechanism) }?),
        // SAFETY: as above.
        Derived::Extract => Parameter::Number(unsafe { structure(mechanism) }?),
        Derived::BaseAndData | Derived::DataAndBase | Derived::Xor => {
            // SAFETY: as above.
            Parameter::StringData(unsafe { string_data(mechanism) }?)
        }
        Derived::Digest(_) | Derived::PublicKey => Parameter::None,
        Derived::Encryption { cbc: false, .. } => {
            // SAFETY: as above.
            Parameter::Encryption { iv: None, data: unsafe { string_data(mechanism) }? }
        }
        Derived::Encryption { cbc: true, cipher: BlockCipher::TripleDes | BlockCipher::Des } => {
            // SAFETY: as above.
            let cbc: CK_DES_CBC_ENCRYPT_DATA_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let data = unsafe { bytes(cbc.pData, cbc.length) }?.to_vec().into();
            Parameter::Encryption { iv: Some(cbc.iv.to_vec()), data }
        }
        Derived::Encryption { cbc: true, cipher: BlockCipher::Aes } => {
            // SAFETY: as above.
            let cbc: CK_AES_CBC_ENCRYPT_DATA_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let data = unsafe { bytes(cbc.pData, cbc.length) }?.to_vec().into();
            Parameter::Encryption { iv: Some(cbc.iv.to_vec()), data }
        }
        Derived::Tls12Master => {
            // SAFETY: as above.
            let tls: CK_TLS12_MASTER_KEY_DERIVE_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let (client_random, server_random) = unsafe { randoms(&tls.RandomInfo) }?;
            Parameter::TlsMaster { hash: tls.prfHashMechanism, client_random, server_random }
        }
        Derived::Tls12ExtendedMaster => {
            // SAFETY: as above.
            let tls: CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let session_hash = unsafe { bytes(tls.pSessionHash, tls.ulSessionHashLen) }?.to_vec();
            Parameter::TlsExtendedMaster { hash: tls.prfHashMechanism, session_hash }
        }
        Derived::TlsKdf => {
            // SAFETY: as above.
            let tls: CK_TLS_KDF_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let (client_random, server_random) = unsafe { randoms(&tls.RandomInfo) }?;
            // SAFETY: as above.
            let label = unsafe { bytes(tls.pLabel, tls.ulLabelLength) }?.to_vec();
            // SAFETY: as above.
            let context = unsafe { bytes(tls.pContextData, tls.ulContextDataLength) }?.to_vec();
            let context = (!tls.pContextData.is_null()).then_some(context);
            Parameter::TlsKdf {
                hash: tls.prfMechanism,
                label,
                client_random,
                server_random,
                context,
            }
        }
        Derived::Tls10Master => {
            // SAFETY: as above.
            let tls: CK_SSL3_MASTER_KEY_DERIVE_PARAMS = unsafe { structure(mechanism) }?;
            // SAFETY: as above.
            let (client_random, server_random) = unsafe { randoms(&tls.RandomInfo) }?;
            Parameter::TlsMaster { hash: CKM_TLS_PRF, client_random, server_random }
        }
        Derived::TlsKeys { .. } | Derived::TlsPrf => {
            // SAFETY: as above.
            unsafe { material::read(derived, mechanism) }?
        }
    })
}

/// Tells the host the version that a premaster secret begins with, if the
/// parameter has a place for it.
///
/// # Safety
/// `mechanism` is not null, and as [`super::read`]; pVersion in its parameter is
/// null or valid for a write.
pub(in super::super) unsafe fn put_version(mechanism: CK_MECHANISM_PTR, version: CK_VERSION) {
    // SAFETY: not null, and valid by the caller's promise, here and below.
    let mechanism = unsafe { mechanism.read_unaligned() };
    let place = match mechanism.mechanism {
        CKM_TLS12_MASTER_KEY_DERIVE => {
            // SAFETY: as above.
            unsafe { structure::<CK_TLS12_MASTER_KEY_DERIVE_PARAMS>(&mechanism) }
                .map(|tls| tls.pVersion)
        }
        CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE => {
            // SAFETY: as above.
            unsafe { structure::<CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS>(&mechanism) }
                .map(|tls| tls.pVersion)
        }
        CKM_TLS_MASTER_KEY_DERIVE => {
            // SAFETY: as above.
            unsafe { structure::<CK_SSL3_MASTER_KEY_DERIVE_PARAMS>(&mechanism) }
                .map(|tls| tls.pVersion)
        }
        _ => return,
    };
    if let Ok(place) = place
        && !place.is_null()
    {
        // SAFETY: not null, and valid by the caller's promise.
        unsafe { place.write_unaligned(version) };
    }
}

unsafe fn hkdf(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    // SAFETY: the caller's promise, here and below.
    let hkdf: CK_HKDF_PARAMS = unsafe { structure(mechanism) }?;
    let (extract, expand) = (hkdf.bExtract != CK_FALSE, hkdf.bExpand != CK_FALSE);
    let salt = match hkdf.ulSaltType {
        CKF_HKDF_SALT_DATA => {
            // SAFETY: as above.
            Salt::Data(unsafe { bytes(hkdf.pSalt, hkdf.ulSaltLen) }?.to_vec())
        }
        CKF_HKDF_SALT_KEY => Salt::Key(hkdf.hSaltKey),
        CKF_HKDF_SALT_NULL => Salt::None,
        // Without the first step there is no salt to speak of.
        _ if !extract => Salt::None,
        _ => return Err(invalid("ulSaltType is none of the three")),
    };
    let info = if expand {
        // SAFETY: as above.
        unsafe { bytes(hkdf.pInfo, hkdf.ulInfoLen) }?.to_vec()
    } else {
        Vec::new()
    };
    Ok(Parameter::Hkdf { extract, expand, hash: hkdf.prfHashMechanism, salt, info })
}

unsafe fn counter_mode(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    // SAFETY: the caller's promise, here and below.
    let kdf: CK_SP800_108_KDF_PARAMS = unsafe { structure(mechanism) }?;
    if kdf.ulAdditionalDerivedKeys != 0 {
        return Err(invalid("one key is derived at a time"));
    }
    // SAFETY: as above.
    let fields = unsafe { fields(kdf.pDataParams, kdf.ulNumberOfDataParams, false) }?;
    Ok(Parameter::CounterMode { prf: kdf.prfType, fields })
}

unsafe fn feedback_mode(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    // SAFETY: the caller's promise, here and below.
    let kdf: CK_SP800_108_FEEDBACK_KDF_PARAMS = unsafe { structure(mechanism) }?;
    if kdf.ulAdditionalDerivedKeys != 0 {
        return Err(invalid("one key is derived at a time"));
    }
    // SAFETY: as above.
    let fields = unsafe { fields(kdf.pDataParams, kdf.ulNumberOfDataParams, true) }?;
    // SAFETY: as above.
    let iv = unsafe { bytes(kdf.pIV, kdf.ulIVLen) }?.to_vec();
    Ok(Parameter::FeedbackMode { prf: kdf.prfType, fields, iv })
}

unsafe fn fields(
    start: *mut CK_PRF_DATA_PARAM,
    count: CK_ULONG,
    feeds_back: bool,
) -> Result<Vec<DataField>> {
    if start.is_null() || count > MOST_FIELDS {
        return Err(missing());
    }
    let mut fields = Vec::new();
    for index in 0..count as usize {
        // SAFETY: there are so many, by the caller's promise.
        let field = unsafe { start.add(index).read_unaligned() };
        // SAFETY: as above.
        let value = unsafe { bytes(field.pValue.cast(), field.ulValueLen) }?;
        fields.push(match field.type_ {
            CK_SP800_108_ITERATION_VARIABLE if feeds_back => DataField::Before,
            CK_SP800_108_ITERATION_VARIABLE | CK_SP800_108_COUNTER
                if feeds_back == (field.type_ == CK_SP800_108_COUNTER) =>
            {
                // SAFETY: the structures are numbers only, of which all values are valid.
                let format: CK_SP800_108_COUNTER_FORMAT = unsafe { of_bytes(value) }?;
                DataField::Counter {
                    little_endian: format.bLittleEndian != CK_FALSE,
                    bits: format.ulWidthInBits,
                }
            }
            CK_SP800_108_DKM_LENGTH => {
                // SAFETY: as above.
                let format: CK_SP800_108_DKM_LENGTH_FORMAT = unsafe { of_bytes(value) }?;
                DataField::Length {
                    of_keys: match format.dkmLengthMethod {
                        CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS => true,
                        CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS => false,
                        _ => return Err(invalid("dkmLengthMethod is neither of the two")),
                    },
                    little_endian: format.bLittleEndian != CK_FALSE,
                    bits: format.ulWidthInBits,
                }
            }
            CK_SP800_108_BYTE_ARRAY => DataField::Bytes(value.to_vec()),
            _ => return Err(invalid("a field is of a type that the mode does not take")),
        });
    }
    Ok(fields)
}

unsafe fn string_data(mechanism: &CK_MECHANISM) -> Result<Zeroizing<Vec<u8>>> {
    // SAFETY: the caller's promise, here and below.
    let data: CK_KEY_DERIVATION_STRING_DATA = unsafe { structure(mechanism) }?;
    // SAFETY: as above.
    Ok(unsafe { bytes(data.pData, data.ulLen) }?.to_vec().into())
}

pub(super) unsafe fn randoms(info: &CK_SSL3_RANDOM_DATA) -> Result<(Vec<u8>, Vec<u8>)> {
    // SAFETY: the caller's promise, here and below.
    let client = unsafe { bytes(info.pClientRandom, info.ulClientRandomLen) }?.to_vec();
    // SAFETY: as above.
    let server = unsafe { bytes(info.pServerRandom, info.ulServerRandomLen) }?.to_vec();
    Ok((client, server))
}

/// # Safety
/// All bit patterns are values of `T`.
unsafe fn of_bytes<T>(value: &[u8]) -> Result<T> {
    if value.len() != size_of::<T>() {
        return Err(missing());
    }
    // SAFETY: it is that long, and its bytes are a `T` by the caller's promise.
    Ok(unsafe { value.as_ptr().cast::<T>().read_unaligned() })
}

pub(super) fn invalid(why: &'static str) -> Error {
    Error::new(CKR_MECHANISM_PARAM_INVALID, why)
}

/// More than any KDF of sense has.
const MOST_FIELDS: CK_ULONG = 64;
