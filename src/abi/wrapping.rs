//! Wrapping and unwrapping keys (v3.2, section 5.18), with the tag of a mechanism
//! that authenticates behind the wrapped key or where the parameter says.

#![allow(clippy::too_many_arguments, reason = "the standard's prototypes")]

use cryptoki_sys::*;
use keyward_token::mechanism::{Family, ModeName, Parameter, find};

use super::arguments::{Room, bad, bytes, give, put, room};
use super::message_cipher::{Told, put_bytes, told};
use super::{parameter, template};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::remote::unexpected;
use crate::session::MessageParameter;

/// How a key is wrapped or unwrapped.
struct How {
    mechanism: CK_MECHANISM_TYPE,
    parameter: Parameter,
    /// A nonce that was made here, and where the host wants it.
    nonce: Option<(Vec<u8>, *mut CK_BYTE)>,
    /// The place of a tag that is apart from the wrapped key, and its length in
    /// bytes.
    tag: Option<(*mut CK_BYTE, usize)>,
}

/// What becomes of a nonce that the host leaves to the module.
type Generate<'a> = Option<&'a Library>;

pub(super) unsafe fn wrap(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    // SAFETY: the host's promise.
    let how = || unsafe { How::read(mechanism, Some(library)) };
    // SAFETY: as above.
    unsafe { wrap_by(library, session, how, (wrapping_key, key), wrapped, length) }
}

pub(super) unsafe fn wrap_authenticated(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    associated: CK_BYTE_PTR,
    associated_length: CK_ULONG,
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let associated = (associated, associated_length);
    // SAFETY: the host's promise.
    let how = || unsafe { How::read_authenticated(mechanism, associated, Some(library)) };
    // SAFETY: as above.
    unsafe { wrap_by(library, session, how, (wrapping_key, key), wrapped, length) }
}

pub(super) unsafe fn unwrap(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    // SAFETY: the host's promise.
    let how = || unsafe { How::read(mechanism, None) };
    let (wrapped, template) = ((wrapped, length), (template, count));
    // SAFETY: as above.
    unsafe { unwrap_by(library, session, how, unwrapping_key, wrapped, template, key) }
}

pub(super) unsafe fn unwrap_authenticated(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    associated: CK_BYTE_PTR,
    associated_length: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let associated = (associated, associated_length);
    // SAFETY: the host's promise.
    let how = || unsafe { How::read_authenticated(mechanism, associated, None) };
    let (wrapped, template) = ((wrapped, length), (template, count));
    // SAFETY: as above.
    unsafe { unwrap_by(library, session, how, unwrapping_key, wrapped, template, key) }
}

unsafe fn wrap_by(
    library: &Library,
    session: CK_SESSION_HANDLE,
    how: impl FnOnce() -> Result<How>,
    (wrapping_key, key): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if length.is_null() {
        return Err(bad("pulWrappedKeyLen"));
    }
    let how = how()?;
    let apart = how.tag.map_or(0, |(_, length)| length);
    let mechanism = (how.mechanism, &how.parameter);
    let wrapping = session.wrapping(&library.remote, mechanism, wrapping_key, key)?;
    if let Some(known) = wrapping.length()?
        // SAFETY: the host's promise, here and below.
        && unsafe { room(wrapped, length, known.saturating_sub(apart)) }? == Room::Asked
    {
        return Ok(());
    }
    let made = wrapping.wrap(&library.remote)?;
    let at = made.len().checked_sub(apart).ok_or_else(unexpected)?;
    let (text, tag) = made.split_at(at);
    // SAFETY: as above; nonce and tag are as long as the parameter says.
    unsafe {
        if give(text, wrapped, length)? == Room::Enough {
            if let Some((place, _)) = how.tag {
                put_bytes(Some(tag), place);
            }
            if let Some((nonce, place)) = &how.nonce {
                put_bytes(Some(nonce), *place);
            }
        }
    }
    Ok(())
}

unsafe fn unwrap_by(
    library: &Library,
    session: CK_SESSION_HANDLE,
    how: impl FnOnce() -> Result<How>,
    unwrapping_key: CK_OBJECT_HANDLE,
    (wrapped, length): (CK_BYTE_PTR, CK_ULONG),
    (template, count): (CK_ATTRIBUTE_PTR, CK_ULONG),
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if key.is_null() {
        return Err(bad("phKey"));
    }
    let how = how()?;
    // SAFETY: the host's promise, here and below.
    let template = unsafe { template::read(template, count) }?;
    // SAFETY: as above.
    let wrapped = unsafe { bytes(wrapped, length) }?;
    let tag = match how.tag {
        // SAFETY: as above.
        Some((place, length)) => unsafe { bytes(place, length as CK_ULONG) }?,
        None => &[],
    };
    let wrapped = [wrapped, tag].concat();
    let (remote, mechanism) = (&library.remote, (how.mechanism, &how.parameter));
    let made = session.unwrap_key(remote, mechanism, unwrapping_key, &wrapped, template)?;
    // SAFETY: as above.
    unsafe { put(key, made) }
}

impl How {
    /// Of C_WrapKey and C_UnwrapKey: the parameter that encryption has as well, or
    /// CK_GCM_WRAP_PARAMS and CK_CCM_WRAP_PARAMS, which no other has the size of.
    unsafe fn read(mechanism: CK_MECHANISM_PTR, generate: Generate<'_>) -> Result<Self> {
        if mechanism.is_null() {
            return Err(bad("pMechanism"));
        }
        // SAFETY: not null, and valid by the caller's promise.
        let given = unsafe { mechanism.read_unaligned() };
        // SAFETY: the caller's promise.
        if let Some((mode, told, associated)) = unsafe { of_wrapping(&given) }? {
            let how = Self::told(given.mechanism, mode, told, &associated, generate)?;
            return Ok(Self { tag: None, ..how });
        }
        // SAFETY: the caller's promise.
        let (mechanism, parameter) = unsafe { parameter::required(mechanism) }?;
        Ok(Self { mechanism, parameter, nonce: None, tag: None })
    }

    /// Of C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated: the parameter of a
    /// message.
    unsafe fn read_authenticated(
        mechanism: CK_MECHANISM_PTR,
        (associated, length): (CK_BYTE_PTR, CK_ULONG),
        generate: Generate<'_>,
    ) -> Result<Self> {
        if mechanism.is_null() {
            return Err(bad("pMechanism"));
        }
        // SAFETY: not null, and valid by the caller's promise.
        let given = unsafe { mechanism.read_unaligned() };
        let number = given.mechanism;
        let Some(mode) = authenticating(number)? else {
            return Err(Error::new(
                CKR_MECHANISM_INVALID,
                format!("mechanism {number:#x} does not authenticate what it wraps"),
            ));
        };
        // SAFETY: the caller's promise, here and below.
        let told = unsafe { told(mode, given.pParameter, given.ulParameterLen) }?;
        // SAFETY: as above.
        let associated = unsafe { bytes(associated, length) }?;
        Self::told(number, mode, told, associated, generate)
    }

    fn told(
        mechanism: CK_MECHANISM_TYPE,
        mode: ModeName,
        mut told: Told,
        associated: &[u8],
        generate: Generate<'_>,
    ) -> Result<Self> {
        if told.parameter.tag_bits > LONGEST_TAG {
            return Err(Error::new(CKR_MECHANISM_PARAM_INVALID, "a tag has 128 bits at the most"));
        }
        let generated = match generate {
            Some(library) => told.parameter.generate(library)?,
            None => false,
        };
        let parameter = told.parameter.of(mode, associated);
        let tag = Some((told.tag, told.parameter.tag_length()));
        let nonce = generated.then_some((told.parameter.nonce, told.nonce));
        Ok(Self { mechanism, parameter, nonce, tag })
    }
}

/// CK_GCM_WRAP_PARAMS or CK_CCM_WRAP_PARAMS, if it is that, and what is
/// associated.
unsafe fn of_wrapping(mechanism: &CK_MECHANISM) -> Result<Option<(ModeName, Told, Vec<u8>)>> {
    let Ok(Some(mode)) = authenticating(mechanism.mechanism) else { return Ok(None) };
    let size = match mode {
        ModeName::Ccm => size_of::<CK_CCM_WRAP_PARAMS>(),
        _ => size_of::<CK_GCM_WRAP_PARAMS>(),
    };
    if mechanism.pParameter.is_null() || mechanism.ulParameterLen != size as CK_ULONG {
        return Ok(None);
    }
    let (nonce, associated, fixed_bits, generator, tag_bits, data_length);
    if mode == ModeName::Ccm {
        // SAFETY: not null, of the right size, and valid by the caller's promise.
        let ccm = unsafe { mechanism.pParameter.cast::<CK_CCM_WRAP_PARAMS>().read_unaligned() };
        (nonce, associated) = ((ccm.pNonce, ccm.ulNonceLen), (ccm.pAAD, ccm.ulAADLen));
        (fixed_bits, generator) = (ccm.ulNonceFixedBits, ccm.nonceGenerator);
        (tag_bits, data_length) = (ccm.ulMACLen.saturating_mul(8), Some(ccm.ulDataLen));
    } else {
        // SAFETY: as above.
        let gcm = unsafe { mechanism.pParameter.cast::<CK_GCM_WRAP_PARAMS>().read_unaligned() };
        (nonce, associated) = ((gcm.pIv, gcm.ulIvLen), (gcm.pAAD, gcm.ulAADLen));
        (fixed_bits, generator) = (gcm.ulIvFixedBits, gcm.ivGenerator);
        (tag_bits, data_length) = (gcm.ulTagBits, None);
    }
    // SAFETY: the caller's promise, here and below.
    let associated = unsafe { bytes(associated.0, associated.1) }?.to_vec();
    let place = nonce.0;
    // SAFETY: as above.
    let nonce = unsafe { bytes(nonce.0, nonce.1) }?.to_vec();
    let parameter = MessageParameter { nonce, fixed_bits, generator, tag_bits, data_length };
    let told = Told { parameter, nonce: place, tag: std::ptr::null_mut() };
    Ok(Some((mode, told, associated)))
}

/// GCM or CCM, if it is one of them.
///
/// # Errors
/// CKR_MECHANISM_INVALID if there is no such mechanism.
fn authenticating(mechanism: CK_MECHANISM_TYPE) -> Result<Option<ModeName>> {
    Ok(match find(mechanism)?.family {
        Family::Block { mode: mode @ (ModeName::Gcm | ModeName::Ccm), .. } => Some(mode),
        _ => None,
    })
}

/// Bits; a tag's place is not read before its length is known to make sense.
const LONGEST_TAG: CK_ULONG = 128;
