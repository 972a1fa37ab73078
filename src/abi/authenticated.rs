//! C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated (v3.2, section 5.18): the nonce
//! and the tag are where the mechanism's parameter says, that of a message.

#![allow(clippy::too_many_arguments, reason = "the standard's prototypes")]

use cryptoki_sys::*;
use keyward_token::mechanism::{Family, ModeName, find};

use super::arguments::{Room, bad, bytes, give, put, room};
use super::message_cipher::{Told, put_bytes, told};
use super::template;
use crate::error::{Error, Result};
use crate::library::Library;
use crate::remote::unexpected;

pub(super) unsafe fn wrap(
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
    let session = library.session(session)?;
    if length.is_null() {
        return Err(bad("pulWrappedKeyLen"));
    }
    // SAFETY: the host's promise, here and below.
    let (number, mode, mut told) = unsafe { read(mechanism) }?;
    // SAFETY: as above.
    let associated = unsafe { bytes(associated, associated_length) }?;
    let generated = told.parameter.generate(library)?;
    let parameter = told.parameter.of(mode, associated);
    let tag_length = told.parameter.tag_length();
    let wrapping = session.wrapping(&library.remote, (number, &parameter), wrapping_key, key)?;
    if let Some(known) = wrapping.length()?
        // SAFETY: as above.
        && unsafe { room(wrapped, length, known.saturating_sub(tag_length)) }? == Room::Asked
    {
        return Ok(());
    }
    let made = wrapping.wrap(&library.remote)?;
    let at = made.len().checked_sub(tag_length).ok_or_else(unexpected)?;
    let (text, tag) = made.split_at(at);
    // SAFETY: as above; nonce and tag are as long as the parameter says.
    unsafe {
        if give(text, wrapped, length)? == Room::Enough {
            put_bytes(Some(tag), told.tag);
            put_bytes(generated.then_some(&told.parameter.nonce), told.nonce);
        }
    }
    Ok(())
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
    associated: CK_BYTE_PTR,
    associated_length: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if key.is_null() {
        return Err(bad("phKey"));
    }
    // SAFETY: the host's promise, here and below.
    let (number, mode, told) = unsafe { read(mechanism) }?;
    // SAFETY: as above.
    let associated = unsafe { bytes(associated, associated_length) }?;
    // SAFETY: as above.
    let template = unsafe { template::read(template, count) }?;
    // SAFETY: as above.
    let wrapped = unsafe { bytes(wrapped, length) }?;
    let parameter = told.parameter.of(mode, associated);
    // SAFETY: as above.
    let tag = unsafe { bytes(told.tag, told.parameter.tag_bits / 8) }?;
    let wrapped = [wrapped, tag].concat();
    let mechanism = (number, &parameter);
    let made =
        session.unwrap_key(&library.remote, mechanism, unwrapping_key, &wrapped, template)?;
    // SAFETY: as above.
    unsafe { put(key, made) }
}

/// A mechanism that authenticates, its mode, and what its parameter tells.
unsafe fn read(mechanism: CK_MECHANISM_PTR) -> Result<(CK_MECHANISM_TYPE, ModeName, Told)> {
    if mechanism.is_null() {
        return Err(bad("pMechanism"));
    }
    // SAFETY: not null, and valid by the caller's promise.
    let mechanism = unsafe { mechanism.read_unaligned() };
    let number = mechanism.mechanism;
    let Family::Block { mode: mode @ (ModeName::Gcm | ModeName::Ccm), .. } = find(number)?.family
    else {
        return Err(Error::new(
            CKR_MECHANISM_INVALID,
            format!("mechanism {number:#x} does not authenticate what it wraps"),
        ));
    };
    // SAFETY: the caller's promise.
    let told = unsafe { told(mode, mechanism.pParameter, mechanism.ulParameterLen) }?;
    if told.parameter.tag_bits > LONGEST_TAG {
        return Err(Error::new(CKR_MECHANISM_PARAM_INVALID, "a tag has 128 bits at the most"));
    }
    Ok((number, mode, told))
}

/// Bits; a tag's place is not read before its length is known to make sense.
const LONGEST_TAG: CK_ULONG = 128;
