//! Object management functions (section 5.7).

use cryptoki_sys::*;

use super::arguments::{bad, put};
use super::template;
use crate::error::Result;
use crate::library::Library;

pub(super) unsafe fn create(
    library: &Library,
    session: CK_SESSION_HANDLE,
    attributes: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if handle.is_null() {
        return Err(bad("phObject"));
    }
    // SAFETY: the host's promise.
    let attributes = unsafe { template::read(attributes, count) }?;
    let created = session.create_object(&library.remote, attributes)?;
    // SAFETY: the host's promise.
    unsafe { put(handle, created) }
}

pub(super) unsafe fn copy(
    library: &Library,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attributes: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    handle: CK_OBJECT_HANDLE_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if handle.is_null() {
        return Err(bad("phNewObject"));
    }
    // SAFETY: the host's promise.
    let attributes = unsafe { template::read(attributes, count) }?;
    let copied = session.copy_object(&library.remote, object, &attributes)?;
    // SAFETY: the host's promise.
    unsafe { put(handle, copied) }
}

pub(super) unsafe fn destroy(
    library: &Library,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
) -> Result<()> {
    library.session(session)?.destroy_object(&library.remote, object)
}

pub(super) unsafe fn size(
    library: &Library,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    size: CK_ULONG_PTR,
) -> Result<()> {
    let known = library.session(session)?.slot.object(&library.remote, object)?;
    // SAFETY: the host's promise.
    unsafe { put(size, known.object.size() as CK_ULONG) }
}

pub(super) unsafe fn attribute_value(
    library: &Library,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attributes: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    if attributes.is_null() && count > 0 {
        return Err(bad("pTemplate"));
    }
    let known = session.slot.object(&library.remote, object)?;
    // SAFETY: the host's promise.
    unsafe { template::fill(&known.object, attributes, count) }
}

pub(super) unsafe fn set_attribute_value(
    library: &Library,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attributes: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    // SAFETY: the host's promise.
    let attributes = unsafe { template::read(attributes, count) }?;
    session.set_attributes(&library.remote, object, &attributes)
}

pub(super) unsafe fn find_init(
    library: &Library,
    session: CK_SESSION_HANDLE,
    attributes: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    if session.operations().search.is_some() {
        return Err(CKR_OPERATION_ACTIVE.into());
    }
    // SAFETY: the host's promise.
    let attributes = unsafe { template::read(attributes, count) }?;
    let found = session.slot.search(&library.remote, &attributes)?;
    session.operations().search = Some(found.into());
    Ok(())
}

pub(super) unsafe fn find(
    library: &Library,
    session: CK_SESSION_HANDLE,
    handles: CK_OBJECT_HANDLE_PTR,
    most: CK_ULONG,
    count: CK_ULONG_PTR,
) -> Result<()> {
    let session = library.session(session)?;
    if count.is_null() || (handles.is_null() && most > 0) {
        return Err(bad("phObject or pulObjectCount"));
    }
    let mut operations = session.operations();
    let search = operations.search.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(search.len());
    for (index, found) in search.drain(..most).enumerate() {
        // SAFETY: there is room for `most` handles by the host's promise.
        unsafe { put(handles.add(index), found) }?;
    }
    // SAFETY: the host's promise.
    unsafe { put(count, most as CK_ULONG) }
}

pub(super) unsafe fn find_final(library: &Library, session: CK_SESSION_HANDLE) -> Result<()> {
    let session = library.session(session)?;
    let ended = session.operations().search.take();
    ended.map(|_| ()).ok_or_else(|| CKR_OPERATION_NOT_INITIALIZED.into())
}
