//! What a token says when it refuses.

use cryptoki::error::{Error as Cryptoki, RvError};
pub(crate) use keyward_hsm::error_name as name;

use crate::error::Error;

/// An error of a library in one sentence; whether the whole token is at fault.
pub(crate) fn failure(what: &str, error: &Cryptoki) -> Error {
    let Cryptoki::Pkcs11(value, function) = error else {
        return Error::new(format!("{what}: {error}"));
    };
    let sentence = format!("{what}: C_{function:?} says {}", name(value));
    match value {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            Error::password(format!("{what}: the PIN is wrong"))
        }
        RvError::PinLocked => Error::password(format!("{what}: the PIN is locked"))
            .hint("the token's security officer sets a new one"),
        RvError::DeviceMemory => {
            Error::token(sentence).hint("the token is full; make room there and run this again")
        }
        RvError::SessionReadOnly | RvError::TokenWriteProtected => Error::token(sentence)
            .hint("the token cannot be written; for Keyward `writable = true` in client.toml"),
        RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::HostMemory
        | RvError::CryptokiNotInitialized => {
            Error::token(sentence).hint("the token is not to be had now; run this again later")
        }
        _ => Error::new(sentence),
    }
}

/// Whether the token says this.
pub(crate) fn says(error: &Cryptoki, values: &[RvError]) -> bool {
    let names: Vec<_> = values.iter().map(name).collect();
    matches!(error, Cryptoki::Pkcs11(value, _) if names.contains(&name(value)))
}
