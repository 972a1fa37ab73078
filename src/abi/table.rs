//! All functions of the standard, one line each, by its versions and chapters.
//!
//! A line says which function answers and how it is entered: `library` ones
//! need C_Initialize, `free` ones do not. The exported symbols, the three
//! function lists and the header all come from these lines.

#![allow(non_snake_case, missing_docs, clippy::missing_safety_doc)]

use cryptoki_sys::*;

use super::{
    asynchronous, digest, dual, encryption, general, interface, key, message, message_cipher,
    object, process, random, recover, session, signature, slot, state, wrapping,
};

/// A function's name and its arguments: name and C type of each.
pub type Signature = (&'static str, &'static [(&'static str, &'static str)]);

macro_rules! functions {
    (
        v2_40 { $($two:tt)* }
        v3_0 { $($three:tt)* }
        v3_2 { $($three_two:tt)* }
    ) => {
        functions! { @define FUNCTIONS_2_40 $($two)* }
        functions! { @define FUNCTIONS_3_0 $($three)* }
        functions! { @define FUNCTIONS_3_2 $($three_two)* }

        // A list's C_GetInfo says the list's version; by name it says 2.40.
        functions! { @list FUNCTION_LIST, CK_FUNCTION_LIST, general::V2_40, C_GetInfo;
            $($two)* }
        functions! { @list FUNCTION_LIST_3_0, CK_FUNCTION_LIST_3_0, general::V3_0, get_info_3_0;
            $($two)* $($three)* }
        functions! { @list FUNCTION_LIST_3_2, CK_FUNCTION_LIST_3_2, general::V3_2, get_info_3_2;
            $($two)* $($three)* $($three_two)* }
    };
    (@define $all:ident
        $($kind:ident $name:ident($($argument:ident: $type:ty),*) => $answers:path;)*
    ) => {
        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                functions!(@body $kind $name($($argument),*) => $answers)
            }
        )*

        /// The functions of one version, for the header and for tests.
        pub const $all: &[Signature] = &[
            $((stringify!($name), &[$((stringify!($argument), stringify!($type))),*]),)*
        ];
    };
    (@list $list:ident, $type:ident, $version:path, $info:path;
        $($kind:ident $name:ident($($arguments:tt)*) => $answers:path;)*
    ) => {
        pub(super) static $list: $type = {
            let list = $type { version: $version, $($name: Some($name),)* };
            $type { C_GetInfo: Some($info), ..list }
        };
    };
    (@body library $name:ident($($argument:ident),*) => $answers:path) => {
        process::with_library(stringify!($name), |library| {
            // SAFETY: the host's promise: each pointer is null or valid for
            // what the standard says of this argument.
            unsafe { $answers(library $(, $argument)*) }
        })
    };
    (@body free $name:ident($($argument:ident),*) => $answers:path) => {
        process::without_library(stringify!($name), || {
            // SAFETY: as above.
            unsafe { $answers($($argument),*) }
        })
    };
}

/// All exported functions, in the order of the versions that brought them.
pub fn functions() -> impl Iterator<Item = &'static Signature> {
    [FUNCTIONS_2_40, FUNCTIONS_3_0, FUNCTIONS_3_2].into_iter().flatten()
}

unsafe extern "C" fn get_info_3_0(info: CK_INFO_PTR) -> CK_RV {
    // SAFETY: the host's promise.
    process::with_library("C_GetInfo", |_| unsafe { general::put_info(info, general::V3_0) })
}

unsafe extern "C" fn get_info_3_2(info: CK_INFO_PTR) -> CK_RV {
    // SAFETY: the host's promise.
    process::with_library("C_GetInfo", |_| unsafe { general::put_info(info, general::V3_2) })
}

functions! {
    v2_40 {
        // 5.4 General-purpose functions
        free C_Initialize(pInitArgs: CK_VOID_PTR) => general::initialize;
        free C_Finalize(pReserved: CK_VOID_PTR) => general::finalize;
        library C_GetInfo(pInfo: CK_INFO_PTR) => general::info;
        free C_GetFunctionList(ppFunctionList: CK_FUNCTION_LIST_PTR_PTR) => general::function_list;

        // 5.5 Slot and token management functions
        library C_GetSlotList(tokenPresent: CK_BBOOL, pSlotList: CK_SLOT_ID_PTR, pulCount: CK_ULONG_PTR) => slot::list;
        library C_GetSlotInfo(slotID: CK_SLOT_ID, pInfo: CK_SLOT_INFO_PTR) => slot::info;
        library C_GetTokenInfo(slotID: CK_SLOT_ID, pInfo: CK_TOKEN_INFO_PTR) => slot::token_info;
        library C_WaitForSlotEvent(flags: CK_FLAGS, pSlot: CK_SLOT_ID_PTR, pReserved: CK_VOID_PTR) => slot::wait_for_event;
        library C_GetMechanismList(slotID: CK_SLOT_ID, pMechanismList: CK_MECHANISM_TYPE_PTR, pulCount: CK_ULONG_PTR) => slot::mechanism_list;
        library C_GetMechanismInfo(slotID: CK_SLOT_ID, r#type: CK_MECHANISM_TYPE, pInfo: CK_MECHANISM_INFO_PTR) => slot::mechanism_info;
        library C_InitToken(slotID: CK_SLOT_ID, pPin: CK_UTF8CHAR_PTR, ulPinLen: CK_ULONG, pLabel: CK_UTF8CHAR_PTR) => slot::init_token;
        library C_InitPIN(hSession: CK_SESSION_HANDLE, pPin: CK_UTF8CHAR_PTR, ulPinLen: CK_ULONG) => slot::init_pin;
        library C_SetPIN(hSession: CK_SESSION_HANDLE, pOldPin: CK_UTF8CHAR_PTR, ulOldLen: CK_ULONG, pNewPin: CK_UTF8CHAR_PTR, ulNewLen: CK_ULONG) => slot::set_pin;

        // 5.6 Session management functions
        library C_OpenSession(slotID: CK_SLOT_ID, flags: CK_FLAGS, pApplication: CK_VOID_PTR, Notify: CK_NOTIFY, phSession: CK_SESSION_HANDLE_PTR) => session::open;
        library C_CloseSession(hSession: CK_SESSION_HANDLE) => session::close;
        library C_CloseAllSessions(slotID: CK_SLOT_ID) => session::close_all;
        library C_GetSessionInfo(hSession: CK_SESSION_HANDLE, pInfo: CK_SESSION_INFO_PTR) => session::info;
        library C_GetOperationState(hSession: CK_SESSION_HANDLE, pOperationState: CK_BYTE_PTR, pulOperationStateLen: CK_ULONG_PTR) => state::get;
        library C_SetOperationState(hSession: CK_SESSION_HANDLE, pOperationState: CK_BYTE_PTR, ulOperationStateLen: CK_ULONG, hEncryptionKey: CK_OBJECT_HANDLE, hAuthenticationKey: CK_OBJECT_HANDLE) => state::set;
        library C_Login(hSession: CK_SESSION_HANDLE, userType: CK_USER_TYPE, pPin: CK_UTF8CHAR_PTR, ulPinLen: CK_ULONG) => session::login;
        library C_Logout(hSession: CK_SESSION_HANDLE) => session::logout;

        // 5.7 Object management functions
        library C_CreateObject(hSession: CK_SESSION_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulCount: CK_ULONG, phObject: CK_OBJECT_HANDLE_PTR) => object::create;
        library C_CopyObject(hSession: CK_SESSION_HANDLE, hObject: CK_OBJECT_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulCount: CK_ULONG, phNewObject: CK_OBJECT_HANDLE_PTR) => object::copy;
        library C_DestroyObject(hSession: CK_SESSION_HANDLE, hObject: CK_OBJECT_HANDLE) => object::destroy;
        library C_GetObjectSize(hSession: CK_SESSION_HANDLE, hObject: CK_OBJECT_HANDLE, pulSize: CK_ULONG_PTR) => object::size;
        library C_GetAttributeValue(hSession: CK_SESSION_HANDLE, hObject: CK_OBJECT_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulCount: CK_ULONG) => object::attribute_value;
        library C_SetAttributeValue(hSession: CK_SESSION_HANDLE, hObject: CK_OBJECT_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulCount: CK_ULONG) => object::set_attribute_value;
        library C_FindObjectsInit(hSession: CK_SESSION_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulCount: CK_ULONG) => object::find_init;
        library C_FindObjects(hSession: CK_SESSION_HANDLE, phObject: CK_OBJECT_HANDLE_PTR, ulMaxObjectCount: CK_ULONG, pulObjectCount: CK_ULONG_PTR) => object::find;
        library C_FindObjectsFinal(hSession: CK_SESSION_HANDLE) => object::find_final;

        // 5.8 Encryption functions
        library C_EncryptInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => encryption::encrypt_init;
        library C_Encrypt(hSession: CK_SESSION_HANDLE, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pEncryptedData: CK_BYTE_PTR, pulEncryptedDataLen: CK_ULONG_PTR) => encryption::encrypt;
        library C_EncryptUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG, pEncryptedPart: CK_BYTE_PTR, pulEncryptedPartLen: CK_ULONG_PTR) => encryption::encrypt_update;
        library C_EncryptFinal(hSession: CK_SESSION_HANDLE, pLastEncryptedPart: CK_BYTE_PTR, pulLastEncryptedPartLen: CK_ULONG_PTR) => encryption::encrypt_final;

        // 5.10 Decryption functions
        library C_DecryptInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => encryption::decrypt_init;
        library C_Decrypt(hSession: CK_SESSION_HANDLE, pEncryptedData: CK_BYTE_PTR, ulEncryptedDataLen: CK_ULONG, pData: CK_BYTE_PTR, pulDataLen: CK_ULONG_PTR) => encryption::decrypt;
        library C_DecryptUpdate(hSession: CK_SESSION_HANDLE, pEncryptedPart: CK_BYTE_PTR, ulEncryptedPartLen: CK_ULONG, pPart: CK_BYTE_PTR, pulPartLen: CK_ULONG_PTR) => encryption::decrypt_update;
        library C_DecryptFinal(hSession: CK_SESSION_HANDLE, pLastPart: CK_BYTE_PTR, pulLastPartLen: CK_ULONG_PTR) => encryption::decrypt_final;

        // 5.12 Message digesting functions
        library C_DigestInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR) => digest::init;
        library C_Digest(hSession: CK_SESSION_HANDLE, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pDigest: CK_BYTE_PTR, pulDigestLen: CK_ULONG_PTR) => digest::digest;
        library C_DigestUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG) => digest::update;
        library C_DigestKey(hSession: CK_SESSION_HANDLE, hKey: CK_OBJECT_HANDLE) => digest::key;
        library C_DigestFinal(hSession: CK_SESSION_HANDLE, pDigest: CK_BYTE_PTR, pulDigestLen: CK_ULONG_PTR) => digest::finish;

        // 5.13 Signing and MACing functions
        library C_SignInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => signature::sign_init;
        library C_Sign(hSession: CK_SESSION_HANDLE, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, pulSignatureLen: CK_ULONG_PTR) => signature::sign;
        library C_SignUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG) => signature::sign_update;
        library C_SignFinal(hSession: CK_SESSION_HANDLE, pSignature: CK_BYTE_PTR, pulSignatureLen: CK_ULONG_PTR) => signature::sign_final;
        library C_SignRecoverInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => recover::sign_init;
        library C_SignRecover(hSession: CK_SESSION_HANDLE, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, pulSignatureLen: CK_ULONG_PTR) => recover::sign;

        // 5.15 Functions for verifying signatures and MACs
        library C_VerifyInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => signature::verify_init;
        library C_Verify(hSession: CK_SESSION_HANDLE, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, ulSignatureLen: CK_ULONG) => signature::verify;
        library C_VerifyUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG) => signature::verify_update;
        library C_VerifyFinal(hSession: CK_SESSION_HANDLE, pSignature: CK_BYTE_PTR, ulSignatureLen: CK_ULONG) => signature::verify_final;
        library C_VerifyRecoverInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => recover::verify_init;
        library C_VerifyRecover(hSession: CK_SESSION_HANDLE, pSignature: CK_BYTE_PTR, ulSignatureLen: CK_ULONG, pData: CK_BYTE_PTR, pulDataLen: CK_ULONG_PTR) => recover::verify;

        // 5.17 Dual-function cryptographic functions
        library C_DigestEncryptUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG, pEncryptedPart: CK_BYTE_PTR, pulEncryptedPartLen: CK_ULONG_PTR) => dual::digest_encrypt;
        library C_DecryptDigestUpdate(hSession: CK_SESSION_HANDLE, pEncryptedPart: CK_BYTE_PTR, ulEncryptedPartLen: CK_ULONG, pPart: CK_BYTE_PTR, pulPartLen: CK_ULONG_PTR) => dual::decrypt_digest;
        library C_SignEncryptUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG, pEncryptedPart: CK_BYTE_PTR, pulEncryptedPartLen: CK_ULONG_PTR) => dual::sign_encrypt;
        library C_DecryptVerifyUpdate(hSession: CK_SESSION_HANDLE, pEncryptedPart: CK_BYTE_PTR, ulEncryptedPartLen: CK_ULONG, pPart: CK_BYTE_PTR, pulPartLen: CK_ULONG_PTR) => dual::decrypt_verify;

        // 5.18 Key management functions
        library C_GenerateKey(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, pTemplate: CK_ATTRIBUTE_PTR, ulCount: CK_ULONG, phKey: CK_OBJECT_HANDLE_PTR) => key::generate;
        library C_GenerateKeyPair(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, pPublicKeyTemplate: CK_ATTRIBUTE_PTR, ulPublicKeyAttributeCount: CK_ULONG, pPrivateKeyTemplate: CK_ATTRIBUTE_PTR, ulPrivateKeyAttributeCount: CK_ULONG, phPublicKey: CK_OBJECT_HANDLE_PTR, phPrivateKey: CK_OBJECT_HANDLE_PTR) => key::generate_pair;
        library C_WrapKey(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hWrappingKey: CK_OBJECT_HANDLE, hKey: CK_OBJECT_HANDLE, pWrappedKey: CK_BYTE_PTR, pulWrappedKeyLen: CK_ULONG_PTR) => wrapping::wrap;
        library C_UnwrapKey(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hUnwrappingKey: CK_OBJECT_HANDLE, pWrappedKey: CK_BYTE_PTR, ulWrappedKeyLen: CK_ULONG, pTemplate: CK_ATTRIBUTE_PTR, ulAttributeCount: CK_ULONG, phKey: CK_OBJECT_HANDLE_PTR) => wrapping::unwrap;
        library C_DeriveKey(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hBaseKey: CK_OBJECT_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulAttributeCount: CK_ULONG, phKey: CK_OBJECT_HANDLE_PTR) => key::derive;

        // 5.20 Random number generation functions
        library C_SeedRandom(hSession: CK_SESSION_HANDLE, pSeed: CK_BYTE_PTR, ulSeedLen: CK_ULONG) => random::seed;
        library C_GenerateRandom(hSession: CK_SESSION_HANDLE, RandomData: CK_BYTE_PTR, ulRandomLen: CK_ULONG) => random::generate;

        // 5.21 Parallel function management functions
        library C_GetFunctionStatus(hSession: CK_SESSION_HANDLE) => session::not_parallel;
        library C_CancelFunction(hSession: CK_SESSION_HANDLE) => session::not_parallel;
    }

    v3_0 {
        // 5.4 General-purpose functions
        free C_GetInterfaceList(pInterfacesList: CK_INTERFACE_PTR, pulCount: CK_ULONG_PTR) => interface::list;
        free C_GetInterface(pInterfaceName: CK_UTF8CHAR_PTR, pVersion: CK_VERSION_PTR, ppInterface: CK_INTERFACE_PTR_PTR, flags: CK_FLAGS) => interface::get;

        // 5.6 Session management functions
        library C_LoginUser(hSession: CK_SESSION_HANDLE, userType: CK_USER_TYPE, pPin: CK_UTF8CHAR_PTR, ulPinLen: CK_ULONG, pUsername: CK_UTF8CHAR_PTR, ulUsernameLen: CK_ULONG) => session::login_user;
        library C_SessionCancel(hSession: CK_SESSION_HANDLE, flags: CK_FLAGS) => session::cancel;

        // 5.9 Message-based encryption functions
        library C_MessageEncryptInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => message_cipher::encrypt_init;
        library C_EncryptMessage(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pAssociatedData: CK_BYTE_PTR, ulAssociatedDataLen: CK_ULONG, pPlaintext: CK_BYTE_PTR, ulPlaintextLen: CK_ULONG, pCiphertext: CK_BYTE_PTR, pulCiphertextLen: CK_ULONG_PTR) => message_cipher::encrypt;
        library C_EncryptMessageBegin(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pAssociatedData: CK_BYTE_PTR, ulAssociatedDataLen: CK_ULONG) => message_cipher::encrypt_begin;
        library C_EncryptMessageNext(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pPlaintextPart: CK_BYTE_PTR, ulPlaintextPartLen: CK_ULONG, pCiphertextPart: CK_BYTE_PTR, pulCiphertextPartLen: CK_ULONG_PTR, flags: CK_FLAGS) => message_cipher::encrypt_next;
        library C_MessageEncryptFinal(hSession: CK_SESSION_HANDLE) => message_cipher::encrypt_final;

        // 5.11 Message-based decryption functions
        library C_MessageDecryptInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => message_cipher::decrypt_init;
        library C_DecryptMessage(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pAssociatedData: CK_BYTE_PTR, ulAssociatedDataLen: CK_ULONG, pCiphertext: CK_BYTE_PTR, ulCiphertextLen: CK_ULONG, pPlaintext: CK_BYTE_PTR, pulPlaintextLen: CK_ULONG_PTR) => message_cipher::decrypt;
        library C_DecryptMessageBegin(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pAssociatedData: CK_BYTE_PTR, ulAssociatedDataLen: CK_ULONG) => message_cipher::decrypt_begin;
        library C_DecryptMessageNext(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pCiphertextPart: CK_BYTE_PTR, ulCiphertextPartLen: CK_ULONG, pPlaintextPart: CK_BYTE_PTR, pulPlaintextPartLen: CK_ULONG_PTR, flags: CK_FLAGS) => message_cipher::decrypt_next;
        library C_MessageDecryptFinal(hSession: CK_SESSION_HANDLE) => message_cipher::decrypt_final;

        // 5.14 Message-based signing and MACing functions
        library C_MessageSignInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => message::sign_init;
        library C_SignMessage(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, pulSignatureLen: CK_ULONG_PTR) => message::sign;
        library C_SignMessageBegin(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG) => message::sign_begin;
        library C_SignMessageNext(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, pulSignatureLen: CK_ULONG_PTR) => message::sign_next;
        library C_MessageSignFinal(hSession: CK_SESSION_HANDLE) => message::sign_final;

        // 5.16 Message-based functions for verifying signatures and MACs
        library C_MessageVerifyInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE) => message::verify_init;
        library C_VerifyMessage(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, ulSignatureLen: CK_ULONG) => message::verify;
        library C_VerifyMessageBegin(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG) => message::verify_begin;
        library C_VerifyMessageNext(hSession: CK_SESSION_HANDLE, pParameter: CK_VOID_PTR, ulParameterLen: CK_ULONG, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG, pSignature: CK_BYTE_PTR, ulSignatureLen: CK_ULONG) => message::verify_next;
        library C_MessageVerifyFinal(hSession: CK_SESSION_HANDLE) => message::verify_final;
    }

    v3_2 {
        // 5.18 Key management functions
        library C_EncapsulateKey(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hPublicKey: CK_OBJECT_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulAttributeCount: CK_ULONG, pCiphertext: CK_BYTE_PTR, pulCiphertextLen: CK_ULONG_PTR, phKey: CK_OBJECT_HANDLE_PTR) => key::encapsulate;
        library C_DecapsulateKey(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hPrivateKey: CK_OBJECT_HANDLE, pTemplate: CK_ATTRIBUTE_PTR, ulAttributeCount: CK_ULONG, pCiphertext: CK_BYTE_PTR, ulCiphertextLen: CK_ULONG, phKey: CK_OBJECT_HANDLE_PTR) => key::decapsulate;

        // 5.15 Functions for verifying signatures and MACs
        library C_VerifySignatureInit(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hKey: CK_OBJECT_HANDLE, pSignature: CK_BYTE_PTR, ulSignatureLen: CK_ULONG) => signature::verify_signature_init;
        library C_VerifySignature(hSession: CK_SESSION_HANDLE, pData: CK_BYTE_PTR, ulDataLen: CK_ULONG) => signature::verify_signature;
        library C_VerifySignatureUpdate(hSession: CK_SESSION_HANDLE, pPart: CK_BYTE_PTR, ulPartLen: CK_ULONG) => signature::verify_signature_update;
        library C_VerifySignatureFinal(hSession: CK_SESSION_HANDLE) => signature::verify_signature_final;

        // 5.6 Session management functions
        library C_GetSessionValidationFlags(hSession: CK_SESSION_HANDLE, r#type: CK_SESSION_VALIDATION_FLAGS_TYPE, pFlags: CK_FLAGS_PTR) => session::validation_flags;

        // 5.22 Asynchronous function management functions
        library C_AsyncComplete(hSession: CK_SESSION_HANDLE, pFunctionName: CK_UTF8CHAR_PTR, pResult: CK_ASYNC_DATA_PTR) => asynchronous::complete;
        library C_AsyncGetID(hSession: CK_SESSION_HANDLE, pFunctionName: CK_UTF8CHAR_PTR, pulID: CK_ULONG_PTR) => asynchronous::id;
        library C_AsyncJoin(hSession: CK_SESSION_HANDLE, pFunctionName: CK_UTF8CHAR_PTR, ulID: CK_ULONG, pData: CK_BYTE_PTR, ulData: CK_ULONG) => asynchronous::join;

        // 5.18 Key management functions
        library C_WrapKeyAuthenticated(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hWrappingKey: CK_OBJECT_HANDLE, hKey: CK_OBJECT_HANDLE, pAssociatedData: CK_BYTE_PTR, ulAssociatedDataLen: CK_ULONG, pWrappedKey: CK_BYTE_PTR, pulWrappedKeyLen: CK_ULONG_PTR) => wrapping::wrap_authenticated;
        library C_UnwrapKeyAuthenticated(hSession: CK_SESSION_HANDLE, pMechanism: CK_MECHANISM_PTR, hUnwrappingKey: CK_OBJECT_HANDLE, pWrappedKey: CK_BYTE_PTR, ulWrappedKeyLen: CK_ULONG, pTemplate: CK_ATTRIBUTE_PTR, ulAttributeCount: CK_ULONG, pAssociatedData: CK_BYTE_PTR, ulAssociatedDataLen: CK_ULONG, phKey: CK_OBJECT_HANDLE_PTR) => wrapping::unwrap_authenticated;
    }
}
