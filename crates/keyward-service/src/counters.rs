//! How often each operation was asked for, and how often it failed, since the
//! start.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use keyward_wire::long::Of;
use keyward_wire::request::Operation;
use keyward_wire::{OperationCount, TokenStatus};

use crate::id::Id;

/// The operations' names: those of the fields of the schema's `Request`.
macro_rules! operations {
    ($($variant:ident $name:literal,)*) => {
        /// An operation's name.
        pub(crate) fn name(operation: &Operation) -> &'static str {
            match operation {
                $(Operation::$variant(_) => $name,)*
                Operation::Long(long) => match long.of {
                    Some(Of::Sign(_)) => "sign",
                    Some(Of::Verify(_)) => "verify",
                    Some(Of::Encrypt(_)) => "encrypt",
                    Some(Of::Decrypt(_)) => "decrypt",
                    None => UNKNOWN,
                },
                Operation::Part(_) => UNKNOWN,
            }
        }

        const NAMES: &[&str] = &[$($name,)* UNKNOWN];
    };
}

operations! {
    Hello "hello",
    ListTokens "list_tokens",
    Login "login",
    Catalogue "catalogue",
    Find "find",
    Sign "sign",
    Decrypt "decrypt",
    Encrypt "encrypt",
    Verify "verify",
    GenerateKey "generate_key",
    GenerateKeyPair "generate_key_pair",
    CreateObject "create_object",
    CopyObject "copy_object",
    SetAttributes "set_attributes",
    DestroyObject "destroy_object",
    SetPin "set_pin",
    InitPin "init_pin",
    InitToken "init_token",
    InstallCertificate "install_certificate",
    RetireKey "retire_key",
    Snapshot "snapshot",
    WrapKey "wrap_key",
    UnwrapKey "unwrap_key",
    DeriveKey "derive_key",
    DeriveKeys "derive_keys",
    EncapsulateKey "encapsulate_key",
    DecapsulateKey "decapsulate_key",
    CreateToken "create_token",
    CreateIdentity "create_identity",
    ListIdentities "list_identities",
    RevokeIdentity "revoke_identity",
    Status "status",
    Backup "backup",
    RenewIdentity "renew_identity",
    RevokeCertificates "revoke_certificates",
    UnlockToken "unlock_token",
    DeleteToken "delete_token",
    SetPolicy "set_policy",
    ListHsmKeys "list_hsm_keys",
    AttachKeys "attach_keys",
}

/// The name of an operation that this version does not know.
pub(crate) const UNKNOWN: &str = "unknown";

/// All counters.
pub(crate) struct Counters {
    started: Instant,
    requests: AtomicU64,
    put_off: AtomicU64,
    /// By token; `None`: what concerned no token, or none that is there.
    tokens: RwLock<HashMap<Option<Id>, Arc<ByOperation>>>,
}

type ByOperation = HashMap<&'static str, Counter>;

/// Of one operation on one token.
#[derive(Default)]
struct Counter {
    count: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// All at zero.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            requests: AtomicU64::new(0),
            put_off: AtomicU64::new(0),
            tokens: RwLock::new(HashMap::new()),
        }
    }

    /// Counts a request.
    pub(crate) fn count(&self, token: Option<Id>, operation: &'static str) {
        self.requests.fetch_add(1, Relaxed);
        if let Some(counter) = self.of(token).get(operation) {
            counter.count.fetch_add(1, Relaxed);
        }
    }

    /// Counts the failure of a request that was counted.
    pub(crate) fn fail(&self, token: Option<Id>, operation: &'static str) {
        if let Some(counter) = self.of(token).get(operation) {
            counter.failed.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that was told to come later.
    pub(crate) fn put_off_one(&self) {
        self.put_off.fetch_add(1, Relaxed);
    }

    /// The requests that were told to come later.
    pub(crate) fn put_off(&self) -> u64 {
        self.put_off.load(Relaxed)
    }

    /// All requests.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Seconds since the start.
    pub(crate) fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// What was counted, by token (as `label` calls it) and operation. Tokens
    /// that are gone are left out.
    pub(crate) fn status(&self, label: impl Fn(Id) -> Option<String>) -> Vec<TokenStatus> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let mut status: Vec<_> = tokens
            .iter()
            .filter_map(|(token, counters)| {
                let token = match token {
                    Some(token) => label(*token)?,
                    None => String::new(),
                };
                let mut operations: Vec<_> = counters
                    .iter()
                    .map(|(operation, counter)| OperationCount {
                        operation: (*operation).to_owned(),
                        count: counter.count.load(Relaxed),
                        failed: counter.failed.load(Relaxed),
                    })
                    .filter(|counted| counted.count > 0)
                    .collect();
                operations.sort_by(|a, b| a.operation.cmp(&b.operation));
                Some(TokenStatus { token, operations })
            })
            .collect();
        status.sort_by(|a, b| a.token.cmp(&b.token));
        status
    }

    fn of(&self, token: Option<Id>) -> Arc<ByOperation> {
        let known = self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(&token).cloned();
        known.unwrap_or_else(|| {
            let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(NAMES.iter().map(|name| (*name, Counter::default())).collect());
            Arc::clone(tokens.entry(token).or_insert_with(fresh))
        })
    }
}
