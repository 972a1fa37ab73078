//! CKA_ALWAYS_AUTHENTICATE: the PIN is asked for at each use of a key (section 5.6.8).

use cryptoki_sys::*;

use crate::error::{Error, Result};
use crate::object::Known;
use crate::remote::Remote;
use crate::session::{Operations, Session};

/// Whether the PIN was given for an operation that is under way.
#[derive(Debug)]
pub(crate) enum Context {
    /// Nobody asks for it.
    Free,
    /// C_Login with CKU_CONTEXT_SPECIFIC is still to come.
    Wanted,
    /// What the service answered to it.
    Given(Vec<u8>),
}

impl Context {
    /// Of a key that is about to be used.
    pub(crate) fn of(key: &Known) -> Self {
        match key.object.attributes().is_true(CKA_ALWAYS_AUTHENTICATE) {
            true => Self::Wanted,
            false => Self::Free,
        }
    }

    /// What goes to the service with the use.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN if the PIN was not given.
    pub(crate) fn proof(&self) -> Result<Vec<u8>> {
        match self {
            Self::Free => Ok(Vec::new()),
            Self::Given(proof) => Ok(proof.clone()),
            Self::Wanted => Err(Error::new(
                CKR_USER_NOT_LOGGED_IN,
                "the key has CKA_ALWAYS_AUTHENTICATE: C_Login with CKU_CONTEXT_SPECIFIC comes first",
            )),
        }
    }
}

impl Session {
    /// C_Login with CKU_CONTEXT_SPECIFIC, for the operation that waits for it.
    ///
    /// # Errors
    /// CKR_OPERATION_NOT_INITIALIZED if none does; CKR_PIN_INCORRECT, after which it still waits.
    pub(crate) fn authenticate(&self, remote: &Remote, pin: Option<&[u8]>) -> Result<()> {
        let (_, key) = waiting(&mut self.operations()).ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        let proof = self.slot.authenticate(remote, &key, pin)?;
        // Another thread may have ended the operation meanwhile.
        let mut operations = self.operations();
        let (context, _) = waiting(&mut operations).ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        *context = Context::Given(proof);
        Ok(())
    }
}

/// The operation that waits for the PIN, and its key.
fn waiting(operations: &mut Operations) -> Option<(&mut Context, Known)> {
    let signatures = [&mut operations.signature, &mut operations.recoverable];
    let signed = signatures.into_iter().flatten().map(|one| one.context());
    signed
        .chain(operations.decryption.as_mut().map(|one| one.context()))
        .find(|(context, _)| matches!(context, Context::Wanted))
}
