//! Operations that change something happen once, however often they are asked
//! for: the result is stored with the effect, under the operation's id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{Error, ErrorCode, Failure, Response, Result, UserType};
use prost::Message;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use super::pins::{Attempt, COUNT_DEADLINE};
use super::tickets::generation;
use super::{Answer, Call, Engine, malformed};
use crate::id::Id;
use crate::store::records::{Claims, OperationRecord};
use crate::store::{Check, MOST_OPERATIONS, StoreError, Transaction, paths};
use crate::workers::later;
use crate::{clock, counters};

/// What an operation would change, and what it answers then.
pub(super) struct Plan {
    pub(super) changes: Changes,
    /// A failure may have an effect too: a wrong PIN is counted.
    pub(super) outcome: Result<Answer>,
    /// The answer carries a ticket of these claims.
    pub(super) claims: Option<Claims>,
    /// Is given back when the effect is there.
    pub(super) attempt: Option<Attempt>,
    /// The answer holds even if the store takes no changes just now.
    pub(super) optional: bool,
    /// For so long the answer is held back.
    pub(super) delay: Duration,
    /// To what it happens, for the audit log.
    pub(super) subject: String,
    /// What it means for the keys in an HSM.
    pub(super) hsm: super::hsm::Effects,
}

/// Changes to the store, not encrypted yet.
#[derive(Default)]
pub(super) struct Changes {
    checks: Vec<Check>,
    puts: Vec<(String, Zeroizing<Vec<u8>>)>,
    deletes: Vec<String>,
    prefix_deletes: Vec<String>,
    /// May go before the rest happens, and even if the rest does not.
    early_deletes: Vec<(String, u64)>,
    /// The token whose revision grows.
    pub(super) touched: Option<Id>,
}

/// The operations under way.
#[derive(Default)]
pub(super) struct InFlight {
    operations: Mutex<HashMap<(Id, Id), Arc<Notify>>>,
}

/// An operation that is under way for as long as this lives.
struct Entered<'a> {
    all: &'a InFlight,
    key: (Id, Id),
    done: Arc<Notify>,
}

impl Engine {
    /// Does an operation once: a repeat gets the first one's result.
    pub(super) async fn once(&self, call: &Call, operation: &Operation) -> Result<Answer> {
        let uid = call.identity.uid;
        let operation_id = Id::from_bytes(&call.operation_id)
            .ok_or_else(|| malformed("the operation's id is not 16 bytes long"))?;
        let _entered = self.repeats.enter((uid, operation_id), call).await?;
        for _ in 0..TRIES {
            if let Some(record) = self.state.operation(uid, operation_id) {
                return self.replay(call, &record);
            }
            let mut plan = self.plan(call, operation).await?;
            if !plan.changes.is_empty() {
                self.remember(call, operation_id, &mut plan);
                let touched = plan.changes.touched;
                let changes = std::mem::take(&mut plan.changes);
                let committed = self.commit(changes, answer_by(call)).await;
                if let (Some(attempt), Ok(_) | Err(StoreError::Conflict)) =
                    (&mut plan.attempt, &committed)
                {
                    attempt.settled();
                }
                plan.hsm.settle(&committed);
                match committed {
                    Ok(sequence) => {
                        if touched.is_some() {
                            self.stamp(&mut plan.outcome, sequence);
                        }
                    }
                    Err(StoreError::Conflict) => continue,
                    Err(StoreError::Unavailable(reason)) if plan.optional => {
                        tracing::warn!(reason, "a counter of wrong PINs stays for now");
                    }
                    Err(error) => return Err(failed(&error)),
                }
            }
            audit(call, operation, &plan);
            if matches!(operation, Operation::DeleteToken(_)) {
                self.forget_lost_tokens().await;
            }
            drop(plan.attempt);
            if !plan.delay.is_zero() {
                sleep(plan.delay).await;
            }
            if let (Ok(answer), Some(claims)) = (&mut plan.outcome, &plan.claims) {
                answer.ticket = Some(self.issue(claims));
            }
            return plan.outcome;
        }
        Err(later("others keep changing the same thing"))
    }

    /// Forgets operations that nobody repeats any more, and what else is left
    /// over. Other replicas do the same: what is gone already does no harm.
    pub(crate) async fn sweep(&self) {
        self.count_uncounted(Instant::now() + COUNT_DEADLINE).await;
        self.forget_before(clock::seconds().saturating_sub(KEPT_SECONDS)).await;
        self.forget_lost_tokens().await;
    }

    /// Forgets operations that are older than `before` (seconds since
    /// 1970-01-01 UTC).
    async fn forget_before(&self, before: u64) {
        loop {
            let old = self.state.operations_before(before, SWEPT_AT_ONCE);
            if old.is_empty() {
                return;
            }
            let mut changes = Changes::default();
            for (identity, operation) in old {
                changes.deletes.push(paths::operation(identity, operation));
            }
            if let Err(error) = self.commit(changes, Instant::now() + COMMIT_DEADLINE).await {
                tracing::warn!(%error, "old operations stay in the store for now");
                return;
            }
        }
    }

    /// Takes tokens that are gone from the identities that were given them.
    /// Nobody sees what is left of that: a token's identifier is never used
    /// again.
    pub(super) async fn forget_lost_tokens(&self) {
        loop {
            let identities = self.state.identities_of_lost_tokens(SWEPT_AT_ONCE);
            if identities.is_empty() {
                return;
            }
            let mut changes = Changes::default();
            for identity in identities {
                let mut record = identity.record.clone();
                record.grants.retain(|grant| {
                    Id::from_bytes(&grant.token).is_some_and(|id| self.state.token(id).is_some())
                });
                let path = paths::identity(identity.uid);
                changes.replace(path, identity.version, record.encode_to_vec());
            }
            match self.commit(changes, Instant::now() + COMMIT_DEADLINE).await {
                // Whoever changed one of them may have been faster.
                Ok(_) => {}
                Err(error) => {
                    tracing::info!(%error, "tokens that are gone stay with identities for now");
                    return;
                }
            }
        }
    }

    /// Makes changes durable; answers the commit's number.
    pub(super) async fn commit(
        &self,
        changes: Changes,
        deadline: Instant,
    ) -> std::result::Result<u64, StoreError> {
        let mut transaction = Transaction {
            checks: changes.checks,
            deletes: changes.deletes,
            prefix_deletes: changes.prefix_deletes,
            ..Transaction::default()
        };
        let touch = changes.touched.map(|token| (paths::revision(token), Zeroizing::default()));
        for (path, plaintext) in changes.puts.into_iter().chain(touch) {
            let sealed = self
                .vault
                .seal(&path, &plaintext)
                .map_err(|_| StoreError::TooLarge("a value cannot be sealed".to_owned()))?;
            transaction.puts.push((path, sealed));
        }
        let mut early = changes.early_deletes;
        let changed = transaction.puts.len() + transaction.deletes.len();
        let taken = transaction.checks.len().max(changed + transaction.prefix_deletes.len());
        let room = MOST_OPERATIONS.saturating_sub(taken);
        let fitting = early.split_off(early.len().saturating_sub(room));
        for some in early.chunks(MOST_OPERATIONS) {
            let mut ahead = Transaction::default();
            ahead.delete_versions(some.to_vec());
            self.store(ahead, deadline).await?;
        }
        transaction.delete_versions(fitting);
        self.store(transaction, deadline).await
    }

    async fn store(
        &self,
        transaction: Transaction,
        deadline: Instant,
    ) -> std::result::Result<u64, StoreError> {
        // Who has time for a long operation need not hear for as long that it
        // cannot be stored.
        let deadline = deadline.min(Instant::now() + STORE_PATIENCE);
        timeout(COMMIT_DEADLINE, self.store.commit(transaction, deadline))
            .await
            .map_err(|_| StoreError::Unavailable("it did not answer in time".to_owned()))?
    }

    /// Adds the operation's result to its effect.
    fn remember(&self, call: &Call, operation_id: Id, plan: &mut Plan) {
        let result = match &plan.outcome {
            Ok(answer) => answer.result.clone(),
            Err(error) => Some(Answered::Failure(Failure::from_error(error))),
        };
        // A login that went well is done again instead: the PIN is the proof,
        // and the repeat gets a fresh ticket.
        if matches!(result, Some(Answered::Login(_))) {
            return;
        }
        let record = OperationRecord {
            time: clock::seconds(),
            digest: call.digest.to_vec(),
            response: Response { result, ..Response::default() }.encode_to_vec(),
            claims: plan.claims.clone(),
            token: plan.changes.touched.map_or(Vec::new(), |token| token.as_bytes().to_vec()),
        };
        let path = paths::operation(call.identity.uid, operation_id);
        plan.changes.checks.push(Check::Absent(path.clone()));
        plan.changes.puts.push((path, Zeroizing::new(record.encode_to_vec())));
    }

    /// The result of an operation that was done already.
    fn replay(&self, call: &Call, record: &OperationRecord) -> Result<Answer> {
        if record.digest != call.digest {
            return Err(malformed("the operation's id was used for something else before"));
        }
        let response = Response::decode(record.response.as_slice())
            .map_err(|_| Error::new(ErrorCode::Internal, "a stored result does not parse"))?;
        let token = Id::from_bytes(&record.token).and_then(|id| self.state.token(id));
        let mut outcome = match response.result {
            Some(Answered::Failure(failure)) => return Err(failure.into()),
            result => Ok(Answer { result, revision: None, ticket: None, frames: None }),
        };
        if let Some(token) = token {
            self.stamp(&mut outcome, token.revision);
            // Its tickets ended if the PIN was changed again since.
            let claims = record.claims.as_ref().filter(|claims| {
                let user_type = UserType::try_from(claims.user_type).unwrap_or_default();
                claims.generation == generation(&token.record, user_type)
                    && claims.instance == call.instance
            });
            if let (Ok(answer), Some(claims)) = (&mut outcome, claims) {
                answer.ticket = Some(self.issue(claims));
            }
        }
        outcome
    }

    /// Puts a revision into an answer, and into the token that it shows.
    fn stamp(&self, outcome: &mut Result<Answer>, sequence: u64) {
        if let Ok(answer) = outcome {
            answer.revision = Some(sequence);
            if let Some(Answered::Token(token)) = &mut answer.result {
                token.revision = Some(self.revision(sequence));
            }
        }
    }
}

impl Plan {
    pub(super) fn new(changes: Changes, answer: Answer) -> Self {
        Self {
            changes,
            outcome: Ok(answer),
            claims: None,
            attempt: None,
            delay: Duration::ZERO,
            subject: String::new(),
            optional: false,
            hsm: super::hsm::Effects::default(),
        }
    }

    /// Adds what it means for the keys in an HSM.
    pub(super) fn with(self, hsm: super::hsm::Effects) -> Self {
        Self { hsm, ..self }
    }

    /// Names to what it happens, for the audit log.
    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }
}

impl Changes {
    /// Writes a value that may be there or not.
    pub(super) fn put(&mut self, path: String, plaintext: Vec<u8>) {
        self.puts.push((path, Zeroizing::new(plaintext)));
    }

    /// Writes a value that must be new.
    pub(super) fn add(&mut self, path: String, plaintext: Vec<u8>) {
        self.checks.push(Check::Absent(path.clone()));
        self.put(path, plaintext);
    }

    /// Writes a value in place of the version that was seen.
    pub(super) fn replace(&mut self, path: String, version: u64, plaintext: Vec<u8>) {
        self.checks.push(Check::Version(path.clone(), version));
        self.put(path, plaintext);
    }

    /// Deletes the version that was seen.
    pub(super) fn delete(&mut self, path: String, version: u64) {
        self.checks.push(Check::Version(path.clone(), version));
        self.deletes.push(path);
    }

    /// Deletes whatever is there.
    pub(super) fn delete_any(&mut self, path: String) {
        self.deletes.push(path);
    }

    /// Deletes the version that was seen, perhaps before the rest happens, and
    /// even if the rest does not: there may be more of it than fits into a
    /// transaction.
    pub(super) fn delete_early(&mut self, path: String, version: u64) {
        self.early_deletes.push((path, version));
    }

    /// Deletes all whose paths begin so.
    pub(super) fn delete_all(&mut self, prefix: String) {
        self.prefix_deletes.push(prefix);
    }

    /// Notes that an operation failed, so that a repeat fails alike.
    pub(super) fn record(&mut self, identity: Id, operation: Id, digest: &[u8], error: &Error) {
        let result = Some(Answered::Failure(Failure::from_error(error)));
        let record = OperationRecord {
            time: clock::seconds(),
            digest: digest.to_vec(),
            response: Response { result, ..Response::default() }.encode_to_vec(),
            ..OperationRecord::default()
        };
        self.add(paths::operation(identity, operation), record.encode_to_vec());
    }

    /// Does nothing unless this version is still there.
    pub(super) fn require(&mut self, path: String, version: u64) {
        self.checks.push(Check::Version(path, version));
    }

    fn is_empty(&self) -> bool {
        self.puts.is_empty()
            && self.deletes.is_empty()
            && self.prefix_deletes.is_empty()
            && self.early_deletes.is_empty()
            && self.touched.is_none()
    }
}

impl InFlight {
    /// Enters an operation; waits while another copy of it is under way.
    async fn enter(&self, key: (Id, Id), call: &Call) -> Result<Entered<'_>> {
        loop {
            let first = {
                let mut operations = self.lock();
                if let Some(done) = operations.get(&key) {
                    Arc::clone(done)
                } else {
                    let done = Arc::new(Notify::new());
                    operations.insert(key, Arc::clone(&done));
                    return Ok(Entered { all: self, key, done });
                }
            };
            let done = first.notified();
            tokio::pin!(done);
            // From here on its end is not missed; it may have come before.
            done.as_mut().enable();
            if !self.lock().get(&key).is_some_and(|now| Arc::ptr_eq(now, &first)) {
                continue;
            }
            timeout_at(call.deadline.into(), done)
                .await
                .map_err(|_| later("the same operation is still under way"))?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Id, Id), Arc<Notify>>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
        self.done.notify_waiters();
    }
}

/// One line for each login, wrong PIN and change.
fn audit(call: &Call, operation: &Operation, plan: &Plan) {
    let identity = call.identity.record.name.as_str();
    let token = call.label.as_str();
    let operation = counters::name(operation);
    let subject = plan.subject.as_str();
    let code = plan.outcome.as_ref().err().map_or("OK", |error| error.code.as_str_name());
    tracing::info!(target: "audit", identity, token, operation, subject, code);
}

/// The failure of an operation whose store failed.
fn failed(error: &StoreError) -> Error {
    let code = match error {
        StoreError::TooLarge(_) => ErrorCode::DeviceMemory,
        _ => ErrorCode::StoreUnavailable,
    };
    Error::new(code, error.to_string())
}

/// When a caller is told why it takes so long, before it stops listening.
pub(super) fn answer_by(call: &Call) -> Instant {
    let left = call.deadline.saturating_duration_since(Instant::now());
    call.deadline - left / 10
}

/// How often an operation is planned anew because of others' changes.
const TRIES: usize = 16;
/// For how long a result is kept.
const KEPT_SECONDS: u64 = 600;
const SWEPT_AT_ONCE: usize = MOST_OPERATIONS;
const COMMIT_DEADLINE: Duration = Duration::from_secs(20);
/// For a store that can say why it takes so long; one that chooses a new leader
/// is back before.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use keyward_wire as wire;

    use super::*;
    use crate::config::Config;
    use crate::init::{Options, init};
    use crate::server::open_for_tests;

    #[tokio::test]
    async fn an_operation_is_forgotten_when_nobody_repeats_it_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path().join("service"), "127.0.0.1:0".parse().unwrap());
        let report = init(&options).unwrap();
        let config = Config::load(&report.config).unwrap();
        let (engine, store) = open_for_tests(&config).await;
        let admin = engine.state.identity_named("admin").unwrap().uid;
        let create = |number: u32| wire::Request {
            operation_id: Id::random().as_bytes().to_vec(),
            operation: Some(Operation::CreateToken(wire::CreateToken {
                label: format!("token-{number}"),
                so_pin: b"12345678".to_vec(),
                ..wire::CreateToken::default()
            })),
            ..wire::Request::default()
        };
        let first = create(1);
        for request in [first.clone(), create(2), first.clone()] {
            let answer = engine.handle(admin, request).await.next_frame().unwrap();
            assert!(matches!(answer.result, Some(Answered::Token(_))));
        }
        let kept = async || store.snapshot("operation/").await.unwrap().entries.len();
        assert_eq!(kept().await, 2);
        engine.sweep().await;
        assert_eq!(kept().await, 2);
        let later = clock::seconds() + 1;
        assert_eq!(engine.state.operations_before(later, 10).len(), 2);
        engine.forget_before(later).await;
        assert_eq!(kept().await, 0);
        assert!(engine.state.operations_before(later, 10).is_empty());
        // What is forgotten is new.
        let answer = engine.handle(admin, first).await.next_frame().unwrap();
        let Some(Answered::Failure(failure)) = answer.result else { panic!() };
        assert_eq!(failure.code(), ErrorCode::AlreadyExists);
        drop(engine);
        store.close();
    }
}
