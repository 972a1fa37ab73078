//! Key management (section 5.18).

#![allow(clippy::too_many_arguments, reason = "the standard's prototypes")]

use cryptoki_sys::*;

use super::arguments::{Room, bad, bytes, give, put, room};
use super::{parameter, template};
use crate::error::Result;
use crate::library::Library;

pub(super) unsafe fn generate_pair(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public_template: CK_ATTRIBUTE_PTR,
    public_count: CK_ULONG,
    private_template: CK_ATTRIBUTE_PTR,
    private_count: CK_ULONG,
    public_key: CK_OBJECT_HANDLE_PTR,
    private_key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if public_key.is_null() || private_key.is_null() {
        return Err(bad("phPublicKey or phPrivateKey"));
    }
    // SAFETY: the host's promise, here and below.
    let (mechanism, _) = unsafe { parameter::required(mechanism) }?;
    // SAFETY: as above.
    let public = unsafe { template::read(public_template, public_count) }?;
    // SAFETY: as above.
    let private = unsafe { template::read(private_template, private_count) }?;
    let (public, private) =
        session.generate_key_pair(&library.remote, mechanism, &public, &private)?;
    // SAFETY: as above.
    unsafe {
        put(public_key, public)?;
        put(private_key, private)
    }
}

pub(super) unsafe fn generate(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if key.is_null() {
        return Err(bad("phKey"));
    }
    // SAFETY: the host's promise, here and below.
    let (mechanism, parameter) = unsafe { parameter::required(mechanism) }?;
    // SAFETY: as above.
    let template = unsafe { template::read(template, count) }?;
    let mechanism = (mechanism, &parameter);
    let made = session.generate_key(&library.remote, mechanism, template)?;
    // SAFETY: as above.
    unsafe { put(key, made) }
}

pub(super) unsafe fn derive(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    base: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the host's promise, here and below.
    let (number, parameter) = unsafe { parameter::required(mechanism) }?;
    // SAFETY: as above.
    let template = unsafe { template::read(template, count) }?;
    if parameter::gives_parts(number) {
        // SAFETY: as above; the mechanism is not null.
        let place = unsafe { parameter::Place::of(mechanism, &parameter) }?;
        let derived =
            session.derive_keys(&library.remote, (number, &parameter), base, &template)?;
        // SAFETY: as above.
        return unsafe { place.put(derived) };
    }
    if key.is_null() {
        return Err(bad("phKey"));
    }
    let (made, version) =
        session.derive_key(&library.remote, (number, &parameter), base, template)?;
    if let &[major, minor] = version.as_slice() {
        // SAFETY: as above; the mechanism is not null.
        unsafe { parameter::put_version(mechanism, CK_VERSION { major, minor }) };
    }
    // SAFETY: as above.
    unsafe { put(key, made) }
}

pub(super) unsafe fn encapsulate(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public_key: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    ciphertext: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if length.is_null() {
        return Err(bad("pulCiphertextLen"));
    }
    // SAFETY: the host's promise, here and below.
    let (mechanism, _) = unsafe { parameter::required(mechanism) }?;
    // SAFETY: as above.
    let template = unsafe { template::read(template, count) }?;
    let sending = session.encapsulation(&library.remote, mechanism, public_key, template)?;
    // SAFETY: as above.
    if unsafe { room(ciphertext, length, sending.length()) }? == Room::Asked {
        return Ok(());
    }
    if key.is_null() {
        return Err(bad("phKey"));
    }
    let (made, sent) = sending.send(&library.remote)?;
    // SAFETY: as above.
    unsafe {
        give(&sent, ciphertext, length)?;
        put(key, made)
    }
}

pub(super) unsafe fn decapsulate(
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    private_key: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    ciphertext: CK_BYTE_PTR,
    length: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if key.is_null() {
        return Err(bad("phKey"));
    }
    // SAFETY: the host's promise, here and below.
    let (mechanism, _) = unsafe { parameter::required(mechanism) }?;
    // SAFETY: as above.
    let template = unsafe { template::read(template, count) }?;
    // SAFETY: as above.
    let sent = unsafe { bytes(ciphertext, length) }?;
    let remote = &library.remote;
    let made = session.decapsulate_key(remote, mechanism, private_key, sent, template)?;
    // SAFETY: as above.
    unsafe { put(key, made) }
}
