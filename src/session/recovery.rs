//! Verifying signatures that hold their data: C_VerifyRecover. The key is
//! public, so it is done here.

use cryptoki_sys::*;
use keyward_token::key::PublicKey;
use keyward_token::mechanism::{Parameter, Signing};
use keyward_wire::ErrorCode;

use crate::error::{Error, Result};
use crate::object::Known;
use crate::session::signature::check_type;

/// A verification with recovery that has begun.
#[derive(Debug)]
pub(crate) struct Recovery {
    key: PublicKey,
    signing: Signing,
}

impl Recovery {
    pub(crate) fn new(
        key: &Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        let signing = Signing::recoverable(mechanism, parameter)?;
        if key.object.class() != CKO_PUBLIC_KEY {
            return Err(Error::new(CKR_KEY_TYPE_INCONSISTENT, "verifying takes a public key"));
        }
        check_type(key, &signing)?;
        key.object.permit(CKA_VERIFY_RECOVER)?;
        Ok(Self { key: PublicKey::of(key.object.attributes())?, signing })
    }

    /// The data that the signature holds.
    ///
    /// # Errors
    /// CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE.
    pub(crate) fn recover(&self, signature: &[u8]) -> Result<Vec<u8>> {
        self.key.recover(&self.signing.scheme, signature).map_err(|error| match error.code {
            // Numbers that are no residue of the modulus.
            ErrorCode::DataInvalid | ErrorCode::DataLenRange => {
                Error::new(CKR_SIGNATURE_INVALID, error.message)
            }
            _ => error.into(),
        })
    }
}
