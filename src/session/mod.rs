//! Sessions: they exist in the module only, so that opening and closing one
//! costs nothing and none is lost with a connection.

mod cipher;
mod context;
mod derivation;
mod digest;
mod encapsulation;
mod message;
mod message_cipher;
mod objects;
mod recovery;
mod signature;
mod wrapping;

pub(crate) use derivation::DerivedKeys;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cryptoki_sys::*;
use keyward_wire::UserType;

use crate::error::Result;
use crate::slot::Slot;

pub(crate) use cipher::{Cipher, Way};
pub(crate) use digest::Digest;
pub(crate) use message::Messages;
pub(crate) use message_cipher::{CipherMessage, CipherMessages, MessageParameter};
pub(crate) use recovery::Recovery;
pub(crate) use signature::{Presented, Signature, Verification};

/// An open session. It may be used by any thread.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) handle: CK_SESSION_HANDLE,
    pub(crate) slot: Arc<Slot>,
    pub(crate) read_write: bool,
    operations: Mutex<Operations>,
}

/// What a session is in the middle of: at most one of each kind.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    /// The handles that C_FindObjects has not given yet.
    pub(crate) search: Option<VecDeque<CK_OBJECT_HANDLE>>,
    pub(crate) signature: Option<Signature>,
    /// C_SignRecoverInit.
    pub(crate) recoverable: Option<Signature>,
    /// C_MessageSignInit.
    pub(crate) signed_messages: Option<Messages<Signature>>,
    pub(crate) verification: Option<Verification>,
    /// C_VerifySignatureInit.
    pub(crate) presented: Option<Presented>,
    /// C_VerifyRecoverInit.
    pub(crate) recovery: Option<Recovery>,
    /// C_MessageVerifyInit.
    pub(crate) verified_messages: Option<Messages<Verification>>,
    /// C_MessageEncryptInit.
    pub(crate) encrypted_messages: Option<CipherMessages>,
    /// C_MessageDecryptInit.
    pub(crate) decrypted_messages: Option<CipherMessages>,
    pub(crate) encryption: Option<Cipher>,
    pub(crate) decryption: Option<Cipher>,
    pub(crate) digest: Option<Digest>,
}

/// All open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: RwLock<HashMap<CK_SESSION_HANDLE, Arc<Session>>>,
}

impl Session {
    pub(crate) fn operations(&self) -> MutexGuard<'_, Operations> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// CKS_... (tables 6 and 7).
    pub(crate) fn state(&self) -> CK_STATE {
        match (self.slot.login_state(), self.read_write) {
            (Some(UserType::SecurityOfficer), _) => CKS_RW_SO_FUNCTIONS,
            (Some(_), true) => CKS_RW_USER_FUNCTIONS,
            (Some(_), false) => CKS_RO_USER_FUNCTIONS,
            (None, true) => CKS_RW_PUBLIC_SESSION,
            (None, false) => CKS_RO_PUBLIC_SESSION,
        }
    }
}

impl Operations {
    /// C_SessionCancel: ends the operations that `flags`, those of
    /// CK_MECHANISM_INFO, name.
    pub(crate) fn cancel(&mut self, flags: CK_FLAGS) {
        fn end<T>(operation: &mut Option<T>, named: bool) {
            if named {
                *operation = None;
            }
        }
        let named = |flag| flags & flag != 0;
        end(&mut self.search, named(CKF_FIND_OBJECTS));
        end(&mut self.signature, named(CKF_SIGN));
        end(&mut self.recoverable, named(CKF_SIGN_RECOVER));
        end(&mut self.signed_messages, named(CKF_MESSAGE_SIGN));
        end(&mut self.verification, named(CKF_VERIFY));
        end(&mut self.presented, named(CKF_VERIFY));
        end(&mut self.recovery, named(CKF_VERIFY_RECOVER));
        end(&mut self.verified_messages, named(CKF_MESSAGE_VERIFY));
        end(&mut self.encrypted_messages, named(CKF_MESSAGE_ENCRYPT));
        end(&mut self.decrypted_messages, named(CKF_MESSAGE_DECRYPT));
        end(&mut self.encryption, named(CKF_ENCRYPT));
        end(&mut self.decryption, named(CKF_DECRYPT));
        end(&mut self.digest, named(CKF_DIGEST));
    }

    /// Whether an operation with a key is under way that the standard lets
    /// C_GetOperationState save.
    pub(crate) fn has_keys_at_work(&self) -> bool {
        self.signature.is_some()
            || self.verification.is_some()
            || self.encryption.is_some()
            || self.decryption.is_some()
    }
}

impl Sessions {
    pub(crate) fn open(&self, slot: Arc<Slot>, read_write: bool) -> CK_SESSION_HANDLE {
        let handle = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        slot.session_opened(read_write);
        let session = Session { handle, slot, read_write, operations: Mutex::default() };
        self.write().insert(handle, Arc::new(session));
        handle
    }

    pub(crate) fn find(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        self.read().get(&handle).cloned().ok_or_else(|| CKR_SESSION_HANDLE_INVALID.into())
    }

    pub(crate) fn close(&self, handle: CK_SESSION_HANDLE) -> Result<()> {
        let session = self.write().remove(&handle).ok_or(CKR_SESSION_HANDLE_INVALID)?;
        session.slot.session_closed(handle, session.read_write);
        Ok(())
    }

    pub(crate) fn close_all(&self, slot: &Slot) {
        let closed: Vec<_> =
            self.write().extract_if(|_, session| session.slot.id == slot.id).collect();
        for (handle, session) in closed {
            slot.session_closed(handle, session.read_write);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<CK_SESSION_HANDLE, Arc<Session>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<CK_SESSION_HANDLE, Arc<Session>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last handle given in this process. It goes on over C_Finalize, so that a
/// late C_CloseSession of a thread from before closes nobody's session.
static LAST: AtomicU64 = AtomicU64::new(0);
