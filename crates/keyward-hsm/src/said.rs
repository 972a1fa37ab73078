//! What libraries say.

use cryptoki::error::RvError;
use keyward_wire::{Error, ErrorCode};

/// CKR_DEVICE_ERROR for `DeviceError`.
#[must_use]
pub fn error_name(value: &RvError) -> String {
    let mut name = "CKR".to_owned();
    for letter in format!("{value:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// What a token's refusal is called on the wire; `None`: it is the token or the
/// session that is gone.
pub(crate) fn refusal(value: &RvError, sentence: String) -> Option<Error> {
    let code = match value {
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::DeviceError
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::OperationActive
        | RvError::OperationNotInitialized
        | RvError::CryptokiNotInitialized => return None,
        RvError::AttributeReadOnly => ErrorCode::AttributeReadOnly,
        RvError::AttributeTypeInvalid => ErrorCode::AttributeTypeInvalid,
        RvError::AttributeValueInvalid => ErrorCode::AttributeValueInvalid,
        RvError::ActionProhibited => ErrorCode::ActionProhibited,
        RvError::DataInvalid => ErrorCode::DataInvalid,
        RvError::DataLenRange => ErrorCode::DataLenRange,
        RvError::EncryptedDataInvalid => ErrorCode::EncryptedDataInvalid,
        RvError::EncryptedDataLenRange => ErrorCode::EncryptedDataLenRange,
        RvError::CurveNotSupported => ErrorCode::CurveNotSupported,
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => ErrorCode::KeyHandleInvalid,
        RvError::KeySizeRange => ErrorCode::KeySizeRange,
        RvError::KeyTypeInconsistent => ErrorCode::KeyTypeInconsistent,
        RvError::KeyFunctionNotPermitted => ErrorCode::KeyFunctionNotPermitted,
        RvError::MechanismInvalid => ErrorCode::MechanismInvalid,
        RvError::MechanismParamInvalid => ErrorCode::MechanismParamInvalid,
        RvError::TemplateIncomplete => ErrorCode::TemplateIncomplete,
        RvError::TemplateInconsistent => ErrorCode::TemplateInconsistent,
        RvError::TokenWriteProtected => ErrorCode::TokenWriteProtected,
        RvError::WrappedKeyInvalid => ErrorCode::WrappedKeyInvalid,
        RvError::WrappedKeyLenRange => ErrorCode::WrappedKeyLenRange,
        RvError::DeviceMemory | RvError::HostMemory => ErrorCode::DeviceMemory,
        _ => ErrorCode::Internal,
    };
    Some(Error::new(code, sentence))
}
