//! What the service does with a request, whatever it came in by.

mod access;
mod admin;
mod attach;
mod backup;
mod catalogue;
mod derivation;
mod encapsulation;
mod hsm;
mod identities;
mod keys;
mod objects;
mod pieces;
mod pins;
mod repeat;
mod rotation;
mod sealed;
mod snapshot;
mod tickets;
mod tokens;
mod wrapping;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Request, Response, Result, Revision};
use zeroize::Zeroizing;

use self::access::Access;
use self::repeat::Plan;
use crate::SOFTWARE;
use crate::authority::Shown;
use crate::config::Config;
use crate::counters::{self, Counters};
use crate::id::Id;
use crate::signer::Signer;
use crate::state::{Identity, State};
use crate::store::Store;
use crate::store::vault::Vault;
use crate::workers::Workers;

pub(crate) use self::hsm::Hsms;
pub(crate) use self::identities::valid_name;

/// Tells how many connections an identity has, and how many there are.
pub(crate) trait Connected: Send + Sync {
    /// Open ones of an identity.
    fn of(&self, identity: Id) -> u32;
    /// All open ones.
    fn all(&self) -> u32;
    /// All accepted since the start.
    fn accepted(&self) -> u64;
}

/// The service behind its connections.
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    state: Arc<State>,
    workers: Workers,
    counters: Counters,
    connected: Arc<dyn Connected>,
    repeats: repeat::InFlight,
    attempts: pins::Attempts,
    backups: backup::Turn,
    snapshots: snapshot::Snapshots,
    replica: [u8; 16],
    request_life: Duration,
    access_life: Duration,
    pins: crate::config::Pins,
    hsms: hsm::Hsms,
}

/// What an [`Engine`] is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) state: Arc<State>,
    pub(crate) workers: Workers,
    pub(crate) connected: Arc<dyn Connected>,
    pub(crate) signer: Signer,
    pub(crate) hsms: hsm::Hsms,
}

/// A request without its operation: who asks, and how.
struct Call {
    identity: Arc<Identity>,
    ticket: Option<wire::Ticket>,
    at_least: Option<Revision>,
    operation_id: Vec<u8>,
    instance: Vec<u8>,
    /// Nobody waits for the answer after this.
    deadline: Instant,
    label: String,
    /// Of what is asked, if it changes something.
    digest: [u8; 32],
}

/// What a handler answers.
struct Answer {
    /// Absent where the first frame is one of a catalogue.
    result: Option<Answered>,
    /// The revision of the token, if it concerns one.
    revision: Option<u64>,
    ticket: Option<wire::Ticket>,
    frames: Option<Frames>,
}

/// The frames behind an answer's first one.
enum Frames {
    Catalogue(catalogue::Frames),
    Backup(backup::Frames),
    Snapshot(snapshot::Frames),
    Pieces(pieces::Frames),
}

/// The frames of an answer, made one by one as they are sent.
pub(crate) struct Reply {
    head: Option<Response>,
    frames: Option<Frames>,
    id: u64,
    revision: Option<Revision>,
}

impl Engine {
    pub(crate) fn new(parts: Parts, config: &Config) -> Self {
        Self {
            store: parts.store,
            vault: parts.vault,
            state: parts.state,
            workers: parts.workers,
            connected: parts.connected,
            counters: Counters::new(),
            repeats: repeat::InFlight::default(),
            attempts: pins::Attempts::default(),
            backups: backup::Turn::default(),
            snapshots: snapshot::Snapshots::new(parts.signer, config.deadlines.snapshot()),
            replica: keyward_crypto::random::bytes(),
            request_life: config.deadlines.request(),
            access_life: config.deadlines.access(),
            pins: config.pins.clone(),
            hsms: parts.hsms,
        }
    }

    /// The identity, if it is not revoked.
    pub(crate) fn identity(&self, uid: Id) -> Option<Arc<Identity>> {
        self.state.identity(uid).filter(|identity| !identity.record.revoked)
    }

    /// The identity that shows this certificate, if it may connect with it.
    pub(crate) fn admit(&self, shown: &Shown) -> Option<Arc<Identity>> {
        self.identity(shown.uid).filter(|identity| identity.record.accepts(&shown.serial))
    }

    /// As [`admit`](Self::admit), with a look for what other replicas changed.
    ///
    /// # Errors
    /// What to tell the peer.
    pub(crate) async fn admit_up_to_date(&self, shown: &Shown) -> Result<Arc<Identity>> {
        let seen = self.state.sequence();
        if let Some(identity) = self.admit(shown) {
            return Ok(identity);
        }
        // It may have been made or renewed by way of another replica just now.
        if self.catch_up(seen, Instant::now() + NEWS).await.is_none() {
            return Err(crate::workers::later(
                "this identity is not known here, and the store does not say whether it is new",
            ));
        }
        self.admit(shown).ok_or_else(|| match self.identity(shown.uid) {
            Some(_) => certificate_revoked(),
            None => revoked(),
        })
    }

    /// Answers one request.
    pub(crate) async fn handle(&self, uid: Id, mut request: Request) -> Reply {
        let id = request.id;
        let mut operation = request.operation.take();
        let name = operation.as_ref().map_or(counters::UNKNOWN, counters::name);
        let token = match operation {
            Some(ref operation) if concerns_token(operation) => {
                self.state.token_labelled(request.token.trim_end()).map(|token| token.id)
            }
            _ => None,
        };
        // A head is no request of its own, if the rest comes.
        let is_head = matches!(operation, Some(Operation::Long(_)));
        if !is_head {
            self.counters.count(token, name);
        }
        let label = request.token.trim_end().to_owned();
        let result = match (self.identity(uid), &operation) {
            (None, _) => Err(revoked()),
            (_, None) => Err(Error::new(
                ErrorCode::OperationUnknown,
                "this service does not know the operation; it may be older than the client",
            )),
            (Some(identity), Some(operation)) => match self.call(identity, request, operation) {
                Ok(call) => self.answer_up_to_date(call, operation).await,
                Err(error) => Err(error),
            },
        };
        if let Some(operation) = &mut operation {
            operation.wipe();
        }
        if let Err(error) = &result {
            if is_head {
                self.counters.count(token, name);
            }
            self.failed(uid, id, (token, &label), name, error);
        }
        let revision = match &result {
            Ok(answer) => answer.revision,
            Err(_) => token.and_then(|id| self.state.token(id)).map(|token| token.revision),
        };
        self.reply(id, revision, result)
    }

    /// Refuses a long request whose head was not looked at yet.
    pub(crate) fn refuse(&self, uid: Id, request: &Request, error: &Error) -> Reply {
        let label = request.token.trim_end();
        let token = self.state.token_labelled(label).map(|token| token.id);
        let name = request.operation.as_ref().map_or(counters::UNKNOWN, counters::name);
        self.counters.count(token, name);
        self.failed(uid, request.id, (token, label), name, error);
        Reply::failure(request.id, error)
    }

    /// How long a request may take that does not say it.
    pub(crate) fn request_life(&self) -> Duration {
        self.request_life
    }

    /// Counts a failure and logs it.
    fn failed(
        &self,
        uid: Id,
        id: u64,
        (token, label): (Option<Id>, &str),
        operation: &'static str,
        error: &Error,
    ) {
        self.counters.fail(token, operation);
        if error.code == ErrorCode::Later {
            self.counters.put_off_one();
        }
        self.log_failure(uid, id, label, operation, error);
    }

    /// Reads the envelope of a request.
    fn call(
        &self,
        identity: Arc<Identity>,
        request: Request,
        operation: &Operation,
    ) -> Result<Call> {
        let changing = operation.changes_something();
        if changing && request.operation_id.len() != 16 {
            return Err(malformed("an operation that changes something needs an id of 16 bytes"));
        }
        if !matches!(request.instance.len(), 0 | 16) {
            return Err(malformed("the module instance is not 16 bytes long"));
        }
        let patience = Duration::from_millis(u64::from(request.patience_ms));
        let life =
            if patience.is_zero() { self.request_life } else { patience.min(self.request_life) };
        let label = request.token.trim_end().to_owned();
        let mut call = Call {
            identity,
            ticket: request.ticket,
            at_least: request.at_least,
            operation_id: request.operation_id,
            instance: request.instance,
            deadline: Instant::now() + life,
            label,
            digest: [0; 32],
        };
        if changing {
            let mut encoded = Zeroizing::new(call.label.clone().into_bytes());
            encoded.push(0);
            operation.encode(&mut *encoded);
            call.digest = self.vault.digest("operation", &encoded);
        }
        Ok(call)
    }

    /// Answers by a state that is not older than what the caller has seen; and
    /// what this replica does not know yet is not refused before it has asked
    /// for what others changed.
    async fn answer_up_to_date(&self, mut call: Call, operation: &Operation) -> Result<Answer> {
        if let Some(least) = call.at_least
            && least.incarnation == self.state.incarnation()
            && least.sequence > self.state.sequence()
        {
            // The answer that this one is behind comes while somebody listens.
            let deadline = repeat::answer_by(&call);
            self.state.reaches(least.sequence, deadline).await;
            self.look_again(&mut call)?;
        }
        let seen = self.sequence();
        let answer = self.answer(&call, operation).await;
        match &answer {
            // While the store is away this is all that is known.
            Err(error) if may_be_old(error.code) && self.store.health().trouble.is_none() => {
                let deadline = repeat::answer_by(&call).min(Instant::now() + NEWS);
                if self.catch_up(seen, deadline).await != Some(true) {
                    return answer;
                }
                self.look_again(&mut call)?;
                self.answer(&call, operation).await
            }
            _ => answer,
        }
    }

    /// Takes over what became of a caller's identity meanwhile.
    fn look_again(&self, call: &mut Call) -> Result<()> {
        call.identity = self.identity(call.identity.uid).ok_or_else(revoked)?;
        Ok(())
    }

    /// The number of the last commit that is known here.
    pub(crate) fn sequence(&self) -> u64 {
        self.state.sequence()
    }

    /// Has this replica take over what others changed. Whether more is known
    /// then than at commit number `seen`; `None` if that cannot be found out.
    async fn catch_up(&self, seen: u64, deadline: Instant) -> Option<bool> {
        self.store.catch_up(deadline).await.ok()?;
        Some(self.state.sequence() > seen)
    }

    async fn answer(&self, call: &Call, operation: &Operation) -> Result<Answer> {
        if operation.changes_something() {
            return self.once(call, operation).await;
        }
        match operation {
            Operation::Hello(hello) => Ok(self.hello(call, hello)),
            Operation::ListTokens(_) => Ok(self.list_tokens(call)),
            Operation::ListIdentities(_) => self.list_identities(call),
            Operation::Status(_) => self.status(call),
            Operation::ListHsmKeys(_) => self.list_hsm_keys(call).await,
            Operation::Backup(backup) => self.backup(call, backup).await,
            Operation::Catalogue(catalogue) => {
                let access = self.access(call)?;
                let (known, scope) = (catalogue.known.as_ref(), catalogue.scope());
                let frames = self.catalogue(call, &access, known, scope);
                Ok(Answer { frames: Some(Frames::Catalogue(frames)), ..access.answer(None) })
            }
            Operation::Snapshot(snapshot) => {
                let access = self.access_without_ticket(call)?;
                self.snapshot(call, &access, snapshot).await
            }
            Operation::Find(find) => {
                let access = self.access(call)?;
                self.find(&access, find)
            }
            Operation::Sign(sign) => {
                let access = self.access(call)?;
                self.sign(call, access, sign).await
            }
            Operation::Decrypt(decrypt) => {
                let access = self.access(call)?;
                self.decrypt(call, access, decrypt).await
            }
            Operation::Encrypt(encrypt) => {
                let access = self.access(call)?;
                self.encrypt(call, access, encrypt).await
            }
            Operation::Verify(verify) => {
                let access = self.access(call)?;
                self.verify(call, access, verify).await
            }
            Operation::WrapKey(wrap) => {
                let access = self.access(call)?;
                self.wrap_key(call, access, wrap).await
            }
            Operation::Long(long) => {
                let access = self.access(call)?;
                Self::expect(&access, long)?;
                Ok(access.answer(Some(Answered::SendOn(wire::Done {}))))
            }
            _ => Err(Error::new(ErrorCode::Internal, "an operation without a handler")),
        }
    }

    /// What an operation that changes something would change. Nothing has
    /// happened yet when it returns.
    async fn plan(&self, call: &Call, operation: &Operation) -> Result<Plan> {
        match operation {
            Operation::Login(login) => self.login(call, login).await,
            Operation::GenerateKey(generate) => self.generate_key(call, generate).await,
            Operation::GenerateKeyPair(generate) => self.generate_key_pair(call, generate).await,
            Operation::DeriveKey(derive) => self.derive_key(call, derive).await,
            Operation::DeriveKeys(derive) => self.derive_keys(call, derive).await,
            Operation::EncapsulateKey(send) => self.encapsulate_key(call, send).await,
            Operation::DecapsulateKey(open) => self.decapsulate_key(call, open).await,
            Operation::UnwrapKey(unwrap) => self.unwrap_key(call, unwrap).await,
            Operation::CreateObject(create) => self.create_object(call, create).await,
            Operation::CopyObject(copy) => self.copy_object(call, copy).await,
            Operation::SetAttributes(set) => self.set_attributes(call, set),
            Operation::DestroyObject(destroy) => self.destroy_object(call, destroy),
            Operation::InstallCertificate(install) => self.install_certificate(call, install),
            Operation::RetireKey(retire) => self.retire_key(call, retire),
            Operation::SetPin(set) => self.set_pin(call, set).await,
            Operation::InitPin(init) => self.init_pin(call, init).await,
            Operation::InitToken(init) => self.init_token(call, init).await,
            Operation::CreateToken(create) => self.create_token(call, create).await,
            Operation::CreateIdentity(create) => self.create_identity(call, create),
            Operation::RevokeIdentity(revoke) => self.revoke_identity(call, revoke),
            Operation::RenewIdentity(renew) => self.renew_identity(call, renew),
            Operation::RevokeCertificates(revoke) => self.revoke_certificates(call, revoke),
            Operation::UnlockToken(unlock) => self.unlock_token(call, unlock),
            Operation::DeleteToken(_) => self.delete_token(call),
            Operation::SetPolicy(set) => self.set_policy(call, set),
            Operation::AttachKeys(attach) => self.attach_keys(call, attach).await,
            _ => Err(Error::new(ErrorCode::Internal, "an operation without a handler")),
        }
    }

    fn hello(&self, call: &Call, hello: &wire::Hello) -> Answer {
        let software: String =
            hello.software.chars().filter(|c| !c.is_control()).take(100).collect();
        tracing::info!(identity = %call.identity.record.name, %software, "hello");
        Answer::of(Answered::Hello(wire::HelloResult {
            software: SOFTWARE.to_owned(),
            identity: call.identity.record.name.clone(),
            replica: self.replica.to_vec(),
            administrator: call.identity.record.administrator,
        }))
    }

    fn reply(&self, id: u64, revision: Option<u64>, result: Result<Answer>) -> Reply {
        let revision = revision.map(|sequence| self.revision(sequence));
        let response =
            |result, ticket| Response { id, revision, ticket, result, ..Response::default() };
        match result {
            Ok(Answer { result, mut ticket, frames, .. }) => {
                let (result, pieces) = pieces::cut(result);
                Reply {
                    // A ticket goes with the first frame, whichever that is.
                    head: result.map(|result| response(Some(result), ticket.take())),
                    frames: frames.or(pieces.map(Frames::Pieces)).map(|frames| match frames {
                        Frames::Catalogue(frames) => Frames::Catalogue(frames.with_ticket(ticket)),
                        frames => frames,
                    }),
                    id,
                    revision,
                }
            }
            Err(error) => Reply {
                head: Some(response(
                    Some(Answered::Failure(wire::Failure::from_error(&error))),
                    None,
                )),
                frames: None,
                id,
                revision,
            },
        }
    }

    fn revision(&self, sequence: u64) -> Revision {
        Revision { incarnation: self.state.incarnation(), sequence }
    }

    fn log_failure(&self, uid: Id, id: u64, token: &str, operation: &str, error: &Error) {
        let identity = self.state.identity(uid);
        let identity = identity.as_ref().map_or("?", |identity| identity.record.name.as_str());
        let code = error.code.as_str_name();
        let reason = error.message.as_ref();
        match error.code {
            ErrorCode::Internal | ErrorCode::StoreUnavailable => {
                tracing::error!(identity, token, operation, code, request = id, reason, "failed");
            }
            ErrorCode::PinIncorrect
            | ErrorCode::PinLocked
            | ErrorCode::NotPermitted
            | ErrorCode::IdentityRevoked
            | ErrorCode::Later => {
                tracing::warn!(identity, token, operation, code, request = id, reason, "refused");
            }
            _ => tracing::info!(identity, token, operation, code, request = id, reason, "failed"),
        }
    }
}

impl Answer {
    fn of(result: Answered) -> Self {
        Self { result: Some(result), revision: None, ticket: None, frames: None }
    }
}

impl Access {
    /// An answer about the token as it was found.
    fn answer(&self, result: Option<Answered>) -> Answer {
        Answer {
            result,
            revision: Some(self.token.revision),
            ticket: self.renewed.clone(),
            frames: None,
        }
    }
}

impl Reply {
    /// The answer to a request whose handler panicked.
    pub(crate) fn panicked(id: u64) -> Self {
        Self::failure(id, &crate::workers::panicked())
    }

    /// The last answer on a connection that is not served.
    pub(crate) fn refused(error: &Error) -> Self {
        Self::failure(0, error)
    }

    /// The last answer on a connection for which there is no room.
    pub(crate) fn full() -> Self {
        Self::failure(
            0,
            &crate::workers::later("the service has as many connections as it may have"),
        )
    }

    /// The answer to a request that failed.
    pub(crate) fn failure(id: u64, error: &Error) -> Self {
        let head = Response {
            id,
            result: Some(Answered::Failure(wire::Failure::from_error(error))),
            ..Response::default()
        };
        Self { head: Some(head), frames: None, id, revision: None }
    }

    /// Whether the peer is told to send the rest of its request.
    pub(crate) fn sends_on(&self) -> bool {
        self.head.as_ref().is_some_and(|head| matches!(head.result, Some(Answered::SendOn(_))))
    }

    /// The next frame; `None` after the last.
    pub(crate) fn next_frame(&mut self) -> Option<Response> {
        let sends_on = self.sends_on();
        if let Some(mut head) = self.head.take() {
            head.more = self.frames.is_some() || sends_on;
            return Some(head);
        }
        let (result, ticket, more) = match self.frames.as_mut()? {
            Frames::Catalogue(frames) => {
                let (result, ticket, more) = frames.next_frame()?;
                (Answered::Catalogue(result), ticket, more)
            }
            Frames::Backup(frames) => {
                let (result, more) = frames.next_frame()?;
                (result, None, more)
            }
            Frames::Snapshot(frames) => {
                let (part, more) = frames.next_frame()?;
                (Answered::Snapshot(part), None, more)
            }
            Frames::Pieces(frames) => {
                let (result, more) = frames.next_frame()?;
                (result, None, more)
            }
        };
        if !more {
            self.frames = None;
        }
        Some(Response {
            id: self.id,
            revision: self.revision,
            ticket,
            more,
            result: Some(result),
            ..Response::default()
        })
    }
}

/// Whether a failure may come from a state that others have changed since.
fn may_be_old(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TokenNotPresent
            | ErrorCode::TicketInvalid
            | ErrorCode::NotFound
            | ErrorCode::AlreadyExists
            | ErrorCode::ObjectHandleInvalid
    )
}

fn concerns_token(operation: &Operation) -> bool {
    !matches!(
        operation,
        Operation::Hello(_)
            | Operation::ListTokens(_)
            | Operation::CreateToken(_)
            | Operation::CreateIdentity(_)
            | Operation::ListIdentities(_)
            | Operation::RevokeIdentity(_)
            | Operation::RenewIdentity(_)
            | Operation::RevokeCertificates(_)
            | Operation::Status(_)
            | Operation::Backup(_)
    )
}

fn malformed(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::Malformed, message)
}

/// The certificate was revoked, while the identity was not.
fn certificate_revoked() -> Error {
    let message = "this certificate of the identity is revoked; it was renewed since";
    Error::new(ErrorCode::IdentityRevoked, message)
}

fn revoked() -> Error {
    Error::new(ErrorCode::IdentityRevoked, "this identity is revoked or not known here")
}

/// For asking what others changed just now.
const NEWS: Duration = Duration::from_secs(5);
