//! Message-based signing and verifying (sections 5.14 and 5.16): a key and a
//! mechanism are named once, and each message is then signed or verified by
//! itself.

use cryptoki_sys::*;
use keyward_token::mechanism::Parameter;

use crate::error::{Error, Result};
use crate::library::Library;
use crate::object::Known;
use crate::session::{Session, Signature, Verification};

/// A message-based process.
#[derive(Debug)]
pub(crate) struct Messages<T> {
    key: CK_OBJECT_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    parameter: Parameter,
    /// The message that comes in parts, while it does.
    pub(crate) current: Option<T>,
}

/// What is done with each message.
pub(crate) trait Message: Sized {
    /// Begins with one message.
    fn begin(
        handle: CK_OBJECT_HANDLE,
        key: Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self>;
}

impl<T: Message> Messages<T> {
    /// Begins: what a first message would be refused for is refused now.
    pub(crate) fn new(
        handle: CK_OBJECT_HANDLE,
        key: Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        T::begin(handle, key, mechanism, parameter)?;
        Ok(Self { key: handle, mechanism, parameter: parameter.clone(), current: None })
    }

    /// A new message. The key is looked up each time: it may be gone, or its
    /// sealed blob renewed.
    ///
    /// # Errors
    /// CKR_OPERATION_ACTIVE while another message comes in parts.
    pub(crate) fn begin(&self, library: &Library, session: &Session) -> Result<T> {
        if self.current.is_some() {
            return Err(Error::new(CKR_OPERATION_ACTIVE, "a message in parts is not finished"));
        }
        let known = session.slot.key(&library.remote, self.key)?;
        T::begin(self.key, known, self.mechanism, &self.parameter)
    }
}

impl Message for Signature {
    fn begin(
        handle: CK_OBJECT_HANDLE,
        key: Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        Self::new(handle, key, CKA_SIGN, mechanism, parameter)
    }
}

impl Message for Verification {
    fn begin(
        handle: CK_OBJECT_HANDLE,
        key: Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        Self::new(handle, &key, mechanism, parameter)
    }
}
