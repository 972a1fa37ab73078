//! Key management (section 5.18).

use cryptoki_sys::*;

use super::arguments::{bad, put};
use super::{parameter, template};
use crate::error::Result;
use crate::library::Library;

#[expect(clippy::too_many_arguments, reason = "the standard's prototype")]
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
    let Some((mechanism, _)) = (unsafe { parameter::read(mechanism) })? else {
        return Err(bad("pMechanism"));
    };
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
