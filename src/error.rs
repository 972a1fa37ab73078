//! The module's error: a CK_RV and the sentence behind it.

use std::borrow::Cow;

use cryptoki_sys::*;
use keyward_wire::{self as wire, ErrorCode};

/// Why a function failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    /// What the host gets.
    pub(crate) rv: CK_RV,
    /// What the log says.
    pub(crate) message: Cow<'static, str>,
}

/// What a function of the module comes to.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(rv: CK_RV, message: impl Into<Cow<'static, str>>) -> Self {
        Self { rv, message: message.into() }
    }

    /// The same, with what it was about.
    pub(crate) fn about(self, what: std::fmt::Arguments<'_>) -> Self {
        Self { message: format!("{what}: {}", self.message).into(), ..self }
    }

    /// Whether the service did not answer.
    pub(crate) fn is_outage(&self) -> bool {
        self.rv == UNAVAILABLE
    }
}

impl From<CK_RV> for Error {
    fn from(rv: CK_RV) -> Self {
        Self::new(rv, "")
    }
}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        Self { rv: rv(error.code), message: error.message }
    }
}

impl From<keyward_client::Error> for Error {
    fn from(error: keyward_client::Error) -> Self {
        let mut message = error.to_string();
        if let Some(hint) = error.hint() {
            message.push_str("; hint: ");
            message.push_str(hint);
        }
        Self { rv: rv(error.code()), message: message.into() }
    }
}

/// The host hears this when the service does not answer. CKR_DEVICE_REMOVED
/// and CKR_TOKEN_NOT_PRESENT would make some hosts drop the token for good.
const UNAVAILABLE: CK_RV = CKR_DEVICE_ERROR;

/// The one table from the wire's codes to the standard's.
fn rv(code: ErrorCode) -> CK_RV {
    match code {
        ErrorCode::Unspecified
        | ErrorCode::OperationUnknown
        | ErrorCode::Malformed
        | ErrorCode::Internal => CKR_GENERAL_ERROR,
        ErrorCode::Later
        | ErrorCode::StoreUnavailable
        | ErrorCode::RevisionBehind
        | ErrorCode::Unavailable => UNAVAILABLE,
        ErrorCode::IdentityRevoked => CKR_DEVICE_ERROR,
        ErrorCode::NotPermitted | ErrorCode::ActionProhibited => CKR_ACTION_PROHIBITED,
        ErrorCode::AlreadyExists | ErrorCode::NotFound | ErrorCode::ArgumentsBad => {
            CKR_ARGUMENTS_BAD
        }
        ErrorCode::TicketInvalid | ErrorCode::UserNotLoggedIn => CKR_USER_NOT_LOGGED_IN,
        ErrorCode::AttributeReadOnly => CKR_ATTRIBUTE_READ_ONLY,
        ErrorCode::AttributeSensitive => CKR_ATTRIBUTE_SENSITIVE,
        ErrorCode::AttributeTypeInvalid => CKR_ATTRIBUTE_TYPE_INVALID,
        ErrorCode::AttributeValueInvalid => CKR_ATTRIBUTE_VALUE_INVALID,
        ErrorCode::DataInvalid => CKR_DATA_INVALID,
        ErrorCode::DataLenRange => CKR_DATA_LEN_RANGE,
        ErrorCode::EncryptedDataInvalid => CKR_ENCRYPTED_DATA_INVALID,
        ErrorCode::EncryptedDataLenRange => CKR_ENCRYPTED_DATA_LEN_RANGE,
        ErrorCode::KeyHandleInvalid => CKR_KEY_HANDLE_INVALID,
        ErrorCode::KeySizeRange => CKR_KEY_SIZE_RANGE,
        ErrorCode::KeyTypeInconsistent => CKR_KEY_TYPE_INCONSISTENT,
        ErrorCode::KeyFunctionNotPermitted => CKR_KEY_FUNCTION_NOT_PERMITTED,
        ErrorCode::MechanismInvalid => CKR_MECHANISM_INVALID,
        ErrorCode::MechanismParamInvalid => CKR_MECHANISM_PARAM_INVALID,
        ErrorCode::ObjectHandleInvalid => CKR_OBJECT_HANDLE_INVALID,
        ErrorCode::PinIncorrect => CKR_PIN_INCORRECT,
        ErrorCode::PinInvalid => CKR_PIN_INVALID,
        ErrorCode::PinLenRange => CKR_PIN_LEN_RANGE,
        ErrorCode::PinLocked => CKR_PIN_LOCKED,
        ErrorCode::SignatureInvalid => CKR_SIGNATURE_INVALID,
        ErrorCode::SignatureLenRange => CKR_SIGNATURE_LEN_RANGE,
        ErrorCode::TemplateIncomplete => CKR_TEMPLATE_INCOMPLETE,
        ErrorCode::TemplateInconsistent => CKR_TEMPLATE_INCONSISTENT,
        ErrorCode::TokenNotPresent => CKR_TOKEN_NOT_PRESENT,
        ErrorCode::TokenWriteProtected => CKR_TOKEN_WRITE_PROTECTED,
        ErrorCode::UserPinNotInitialized => CKR_USER_PIN_NOT_INITIALIZED,
        ErrorCode::UserTypeInvalid => CKR_USER_TYPE_INVALID,
        ErrorCode::CurveNotSupported => CKR_CURVE_NOT_SUPPORTED,
        ErrorCode::PublicKeyInvalid => CKR_PUBLIC_KEY_INVALID,
        ErrorCode::DeviceMemory => CKR_DEVICE_MEMORY,
        ErrorCode::KeyUnextractable => CKR_KEY_UNEXTRACTABLE,
        ErrorCode::KeyNotWrappable => CKR_KEY_NOT_WRAPPABLE,
        ErrorCode::WrappingKeyHandleInvalid => CKR_WRAPPING_KEY_HANDLE_INVALID,
        ErrorCode::WrappingKeyTypeInconsistent => CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
        ErrorCode::UnwrappingKeyHandleInvalid => CKR_UNWRAPPING_KEY_HANDLE_INVALID,
        ErrorCode::UnwrappingKeyTypeInconsistent => CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
        ErrorCode::WrappedKeyInvalid => CKR_WRAPPED_KEY_INVALID,
        ErrorCode::WrappedKeyLenRange => CKR_WRAPPED_KEY_LEN_RANGE,
    }
}

macro_rules! names {
    ($($name:ident)*) => {
        /// The standard's name of a code that the module returns.
        pub(crate) fn name(rv: CK_RV) -> Cow<'static, str> {
            match rv {
                $($name => Cow::Borrowed(stringify!($name)),)*
                other => Cow::Owned(format!("CKR {other:#x}")),
            }
        }
    };
}

names! {
    CKR_OK CKR_ACTION_PROHIBITED CKR_AEAD_DECRYPT_FAILED CKR_ARGUMENTS_BAD CKR_ATTRIBUTE_READ_ONLY CKR_ATTRIBUTE_SENSITIVE
    CKR_ATTRIBUTE_TYPE_INVALID CKR_ATTRIBUTE_VALUE_INVALID CKR_BUFFER_TOO_SMALL CKR_CANT_LOCK
    CKR_CRYPTOKI_ALREADY_INITIALIZED CKR_CRYPTOKI_NOT_INITIALIZED CKR_CURVE_NOT_SUPPORTED
    CKR_DATA_INVALID CKR_DATA_LEN_RANGE CKR_DEVICE_ERROR CKR_DEVICE_MEMORY
    CKR_ENCRYPTED_DATA_INVALID CKR_ENCRYPTED_DATA_LEN_RANGE CKR_FUNCTION_NOT_PARALLEL
    CKR_GENERAL_ERROR CKR_KEY_FUNCTION_NOT_PERMITTED CKR_KEY_HANDLE_INVALID CKR_KEY_INDIGESTIBLE
    CKR_KEY_NOT_NEEDED CKR_KEY_NOT_WRAPPABLE CKR_KEY_SIZE_RANGE CKR_KEY_TYPE_INCONSISTENT CKR_KEY_UNEXTRACTABLE
    CKR_MECHANISM_INVALID CKR_MECHANISM_PARAM_INVALID CKR_NO_EVENT CKR_OBJECT_HANDLE_INVALID
    CKR_OPERATION_ACTIVE CKR_OPERATION_NOT_INITIALIZED CKR_PIN_INCORRECT CKR_PIN_INVALID
    CKR_PIN_LEN_RANGE CKR_PIN_LOCKED CKR_PUBLIC_KEY_INVALID CKR_SAVED_STATE_INVALID
    CKR_SESSION_ASYNC_NOT_SUPPORTED CKR_SESSION_EXISTS CKR_SESSION_HANDLE_INVALID
    CKR_SESSION_PARALLEL_NOT_SUPPORTED CKR_SESSION_READ_ONLY CKR_SESSION_READ_ONLY_EXISTS
    CKR_SESSION_READ_WRITE_SO_EXISTS CKR_SIGNATURE_INVALID CKR_SIGNATURE_LEN_RANGE
    CKR_SLOT_ID_INVALID CKR_STATE_UNSAVEABLE CKR_TEMPLATE_INCOMPLETE CKR_TEMPLATE_INCONSISTENT
    CKR_TOKEN_NOT_PRESENT CKR_TOKEN_WRITE_PROTECTED CKR_UNWRAPPING_KEY_HANDLE_INVALID
    CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT CKR_USER_ALREADY_LOGGED_IN
    CKR_USER_ANOTHER_ALREADY_LOGGED_IN CKR_USER_NOT_LOGGED_IN CKR_USER_PIN_NOT_INITIALIZED
    CKR_USER_TYPE_INVALID CKR_WRAPPED_KEY_INVALID CKR_WRAPPED_KEY_LEN_RANGE
    CKR_WRAPPING_KEY_HANDLE_INVALID CKR_WRAPPING_KEY_TYPE_INCONSISTENT
}
