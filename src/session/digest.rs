//! A digest under way.

use cryptoki_sys::{CKR_SAVED_STATE_INVALID, CKR_STATE_UNSAVEABLE};
use keyward_crypto::digest::{Digester, Hash};

use crate::error::{Error, Result};

/// A digest under way.
#[derive(Debug)]
pub(crate) struct Digest {
    digester: Digester,
    /// Parts came in: what began so does not end in one call.
    pub(crate) in_parts: bool,
}

impl Digest {
    pub(crate) fn new(hash: Hash) -> Self {
        Self { digester: Digester::new(hash), in_parts: false }
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        self.digester.update(part);
        self.in_parts = true;
    }

    /// The state, for C_GetOperationState.
    ///
    /// # Errors
    /// CKR_STATE_UNSAVEABLE for SHA-3, whose state AWS-LC does not show.
    pub(crate) fn state(&self) -> Result<Vec<u8>> {
        let state = self.digester.state().ok_or_else(|| {
            Error::new(CKR_STATE_UNSAVEABLE, "the state of a SHA-3 digest cannot be saved")
        })?;
        Ok([&[u8::from(self.in_parts)], state.as_slice()].concat())
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// CKR_SAVED_STATE_INVALID.
    pub(crate) fn from_state(state: &[u8]) -> Result<Self> {
        let (in_parts, digester) = match state {
            [in_parts @ (0 | 1), state @ ..] => (*in_parts == 1, Digester::from_state(state).ok()),
            _ => (false, None),
        };
        let digester = digester.ok_or(CKR_SAVED_STATE_INVALID)?;
        Ok(Self { digester, in_parts })
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.digester.finish()
    }

    /// How long the digest will be, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.digester.hash().length()
    }
}
