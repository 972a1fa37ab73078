//! A slot and its token: login, catalogue, session objects.

mod catalogue;
mod clock;
mod reserve;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use keyward_client::config::{self, Profile};
use keyward_token::Attributes;
use keyward_token::mechanism::Policy;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, ErrorCode, Response, Revision, Ticket, TokenInfo, UserType};

use self::reserve::{Borrowed, Reserve};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::object::{self, Catalogue, Clock, Extent, Handles, Known, Profiles, SessionObjects};
use crate::offline::Offline;
use crate::remote::{Asker, Remote, unexpected};

/// A search asks the service whether the catalogue is still right when the last
/// proof of that is older than this.
const PROOF_LASTS: Duration = Duration::from_secs(1);

/// Superseded keys too: they are no longer found, but whoever has the handle of
/// one goes on with it.
const SCOPE: wire::Scope = wire::Scope::Usable;

/// A slot and the token in it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: CK_SLOT_ID,
    pub(crate) config: config::Slot,
    profile: Profile,
    handles: Handles,
    state: Mutex<State>,
    session_objects: Mutex<SessionObjects>,
    offline: Option<Offline>,
    /// Made for the first host that asks for them.
    profiles: OnceLock<Profiles>,
    clock: OnceLock<Clock>,
    /// Held over login, logout and refresh, so that there is one at a time.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    login: Option<UserType>,
    ticket: Option<Ticket>,
    /// As the present login sees the token.
    catalogue: Option<Arc<Catalogue>>,
    /// Counts how often what was seen had to be forgotten.
    view: u64,
    /// When the catalogue was last known to be right.
    proof: Option<Instant>,
    /// The newest revision that the service has told; no answer may be older.
    newest: Option<Revision>,
    /// The catalogue is that of a snapshot.
    borrowed: Option<Borrowed>,
    info: Option<(TokenInfo, Instant)>,
    /// When the service was last asked for it and said nothing.
    asked_in_vain: Option<Instant>,
    /// As the token was last described; `None` until it was.
    policy: Option<Policy>,
    /// What the token's HSM can do, if its keys are in one and that is known.
    abilities: Option<Arc<[u64]>>,
    sessions: Count,
}

/// How many sessions are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) read_only: usize,
    pub(crate) read_write: usize,
}

impl Slot {
    pub(crate) fn new(
        id: CK_SLOT_ID,
        config: config::Slot,
        profile: Profile,
        log: &Arc<Log>,
    ) -> Self {
        let offline = config
            .offline_start
            .clone()
            .map(|settings| Offline::new(settings, config.token.clone(), Arc::clone(log)));
        Self {
            offline,
            id,
            config,
            profile,
            handles: Handles::default(),
            state: Mutex::default(),
            session_objects: Mutex::default(),
            profiles: OnceLock::new(),
            clock: OnceLock::new(),
            turn: Mutex::default(),
        }
    }

    /// A slot whose token the service has just described.
    pub(crate) fn described(
        id: CK_SLOT_ID,
        info: TokenInfo,
        profile: Profile,
        log: &Arc<Log>,
    ) -> Self {
        let login = match info.login_mode() {
            wire::LoginMode::Certificate => config::Login::Certificate,
            _ => config::Login::Pin,
        };
        let slot = Self::new(
            id,
            config::Slot {
                token: info.label.clone(),
                login,
                writable: !info.read_only,
                offline_start: None,
            },
            profile,
            log,
        );
        slot.state().learn(info, Instant::now());
        slot
    }

    // ---- login -------------------------------------------------------------

    /// Who is logged in.
    pub(crate) fn login_state(&self) -> Option<UserType> {
        self.state().login
    }

    /// Whether private objects may be seen and used.
    pub(crate) fn is_user(&self) -> bool {
        self.config.login == config::Login::Certificate
            || self.state().login == Some(UserType::User)
    }

    /// Logs in, and brings the catalogue along.
    pub(crate) fn login(&self, remote: &Remote, user: UserType, pin: Option<&[u8]>) -> Result<()> {
        let _turn = self.turn();
        match self.state().login {
            Some(present) if present == user => return Err(CKR_USER_ALREADY_LOGGED_IN.into()),
            Some(_) => return Err(CKR_USER_ANOTHER_ALREADY_LOGGED_IN.into()),
            None => {}
        }
        let started = Instant::now();
        let by_certificate = self.config.login == config::Login::Certificate;
        let login = wire::Login {
            user_type: user as i32,
            // The certificate is enough; whatever PIN the host has is not sent.
            pin: pin.filter(|_| !(by_certificate && user == UserType::User)).map(<[u8]>::to_vec),
            want_catalogue: user == UserType::User,
            known: None,
            scope: SCOPE.into(),
            key: String::new(),
        };
        self.state().info = None;
        let reserve = match by_certificate && user == UserType::User {
            true => self.reserve(remote),
            false => Reserve::None,
        };
        let frames = match self.question(remote, Operation::Login(login), &reserve) {
            Ok(frames) => frames,
            Err(error) => {
                self.show(reserve, error)?;
                // There is nothing to make up for later: the service asks for
                // the certificate only, and sees it with each request.
                drop(self.logged_in(user)?);
                return Ok(());
            }
        };
        let mut info = None;
        for frame in &frames {
            if let Some(Answer::Login(result)) = &frame.result {
                info.clone_from(&result.token);
            }
        }
        let ticket = frames.iter().find_map(|frame| frame.ticket.clone());
        let catalogue = self.catalogue_of(frames)?;
        let mut state = self.logged_in(user)?;
        state.borrowed = None;
        state.ticket = ticket;
        if let Some(info) = info {
            state.learn(info, started);
        }
        state.proof = catalogue.is_some().then_some(started);
        state.catalogue = catalogue.map(Arc::new);
        Ok(())
    }

    fn logged_in(&self, user: UserType) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.sessions == Count::default() {
            // The last session was closed meanwhile, and that is a logout.
            return Err(CKR_SESSION_HANDLE_INVALID.into());
        }
        state.login = Some(user);
        Ok(state)
    }

    /// C_Login with CKU_CONTEXT_SPECIFIC: what shows that the PIN was given for one use of a key.
    /// Nothing is asked where the certificate is enough.
    pub(crate) fn authenticate(
        &self,
        remote: &Remote,
        key: &Known,
        pin: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        if self.config.login == config::Login::Certificate {
            return Ok(Vec::new());
        }
        let login = wire::Login {
            user_type: UserType::ContextSpecific.into(),
            pin: pin.map(<[u8]>::to_vec),
            key: match &key.place {
                object::Place::Token(unique_id) => unique_id.to_string(),
                _ => String::new(),
            },
            ..wire::Login::default()
        };
        let frames = remote
            .ask(&self.asker(), Operation::Login(login), None)
            .map_err(|error| self.failed(error))?;
        let ticket = frames.into_iter().find_map(|frame| frame.ticket).ok_or_else(unexpected)?;
        Ok(ticket.access)
    }

    /// Logs out: private session objects are gone, token objects keep their
    /// handles.
    pub(crate) fn logout(&self) -> Result<()> {
        let _turn = self.turn();
        if self.state().login.is_none() {
            return Err(CKR_USER_NOT_LOGGED_IN.into());
        }
        self.forget_login();
        Ok(())
    }

    fn forget_login(&self) {
        self.state().forget_login();
        self.session_objects().logout();
    }

    // ---- sessions ----------------------------------------------------------

    /// How many sessions are open.
    pub(crate) fn sessions(&self) -> Count {
        self.state().sessions
    }

    pub(crate) fn session_opened(&self, read_write: bool) {
        *self.state().sessions.of(read_write) += 1;
    }

    /// A session was closed: its objects go, and with the last session the
    /// login (section 5.6.2).
    pub(crate) fn session_closed(&self, session: CK_SESSION_HANDLE, read_write: bool) {
        self.session_objects().close(session);
        let mut state = self.state();
        *state.sessions.of(read_write) -= 1;
        if state.sessions == Count::default() {
            state.forget_login();
        }
    }

    // ---- the token ---------------------------------------------------------

    /// What is known of the token, for a host that is told who it is: the first
    /// answer may take as long as a connection, because a serial number that
    /// comes later than the rest makes another token of it, as for p11-kit.
    pub(crate) fn token_info(&self, remote: &Remote) -> Option<TokenInfo> {
        let unknown = self.state().info.is_none();
        self.news(remote, unknown)
    }

    /// The token has become another.
    pub(crate) fn forget_info(&self) {
        self.state().info = None;
    }

    /// What is known of the token. In profile `full` the service is asked, for
    /// a moment unless the host is patient, and not if it was just now: hosts
    /// ask for one mechanism after the other.
    pub(crate) fn news(&self, remote: &Remote, patient: bool) -> Option<TokenInfo> {
        let known = self.state().info.clone();
        if let Some((info, when)) = &known
            && when.elapsed() < PROOF_LASTS
        {
            return Some(info.clone());
        }
        let in_vain = self.state().asked_in_vain;
        let lately = in_vain.is_some_and(|when| when.elapsed() < PROOF_LASTS);
        if self.profile == Profile::Full && (patient || !lately) {
            match remote.token_info(&self.config.token, patient) {
                Ok(Some(info)) => {
                    self.state().learn(info.clone(), Instant::now());
                    return Some(info);
                }
                Err(error) if error.is_outage() && known.is_none() => {
                    self.state().asked_in_vain = Some(Instant::now());
                    if let Reserve::Snapshot(snapshot) = self.reserve(remote) {
                        return snapshot.into_content().token;
                    }
                }
                _ => self.state().asked_in_vain = Some(Instant::now()),
            }
        }
        known.map(|(info, _)| info)
    }

    /// Which mechanisms and keys the token offers, as far as it has told; the service knows better
    /// for what it does itself. A host need not log in or look at the token before it works with
    /// session objects, so in profile `full` the token is asked if it never told.
    pub(crate) fn policy(&self, remote: &Remote) -> Policy {
        let known = self.state().policy;
        known.unwrap_or_else(|| {
            self.news(remote, false);
            self.state().policy.unwrap_or_default()
        })
    }

    /// Whether the token's keys can do what this mechanism does, as far as that is known.
    pub(crate) fn is_able(&self, mechanism: CK_MECHANISM_TYPE) -> bool {
        self.state().abilities.as_ref().is_none_or(|able| able.contains(&mechanism))
    }

    /// Asks the service something about this token.
    pub(crate) fn ask(&self, remote: &Remote, operation: Operation) -> Result<Vec<Response>> {
        self.question(remote, operation, &Reserve::None).map_err(|error| self.failed(error))
    }

    /// Asks, and does not wait for long if there is something in reserve.
    fn question(
        &self,
        remote: &Remote,
        operation: Operation,
        reserve: &Reserve,
    ) -> std::result::Result<Vec<Response>, keyward_client::Error> {
        let patience = match reserve {
            Reserve::None | Reserve::Refused(_) => None,
            // As long as one replica is given to answer.
            Reserve::Catalogue | Reserve::Snapshot(_) => {
                let deadlines = &remote.config().deadlines;
                Some(deadlines.request().min(deadlines.call()))
            }
        };
        match remote.ask(&self.asker(), operation, patience) {
            Ok(frames) => {
                self.note(&frames);
                if let Some(offline) = &self.offline {
                    offline.keep(remote, self.state().newest);
                }
                Ok(frames)
            }
            Err(error) => {
                match error.code() {
                    // Back to the public state, so that the host's next attempt
                    // logs in again.
                    ErrorCode::TicketInvalid => self.forget_login(),
                    // What was seen may be seen no more. The login stays: the
                    // certificate may be renewed at this moment.
                    ErrorCode::IdentityRevoked => self.state().forget_catalogue(),
                    _ => {}
                }
                let refuses =
                    matches!(error.code(), ErrorCode::IdentityRevoked | ErrorCode::TokenNotPresent);
                if refuses && let Some(offline) = &self.offline {
                    offline.bar();
                }
                Err(error)
            }
        }
    }

    /// What went wrong with this slot's token.
    fn failed(&self, error: keyward_client::Error) -> Error {
        Error::from(error).about(format_args!("slot {}, token {}", self.id, self.config.token))
    }

    /// Asks for a change. What is known of the token is out of date then.
    pub(crate) fn ask_for_change(
        &self,
        remote: &Remote,
        operation: Operation,
    ) -> Result<Vec<Response>> {
        let frames = self.ask(remote, operation)?;
        let mut state = self.state();
        state.proof = None;
        state.info = None;
        Ok(frames)
    }

    /// Keeps what every answer may bring: a renewed ticket, a newer revision.
    fn note(&self, frames: &[Response]) {
        let mut state = self.state();
        state.asked(false);
        for frame in frames {
            if frame.ticket.is_some() && state.login.is_some() {
                state.ticket.clone_from(&frame.ticket);
            }
            if let Some(told) = frame.revision
                && state.newest.is_none_or(|newest| {
                    newest.incarnation != told.incarnation || newest.sequence < told.sequence
                })
            {
                state.newest = Some(told);
            }
        }
    }

    fn asker(&self) -> Asker<'_> {
        let state = self.state();
        Asker { token: &self.config.token, ticket: state.ticket.clone(), at_least: state.newest }
    }

    // ---- objects -----------------------------------------------------------

    /// An object by its handle.
    ///
    /// # Errors
    /// CKR_OBJECT_HANDLE_INVALID if there is none, or if it may not be seen.
    pub(crate) fn object(&self, remote: &Remote, handle: CK_OBJECT_HANDLE) -> Result<Known> {
        self.pass(remote);
        if let Some(known) = self.session_objects().object(handle) {
            return Ok(known.clone());
        }
        if let Some(known) = self.profiles.get().and_then(|profiles| profiles.object(handle)) {
            return Ok(known.clone());
        }
        if self.clock.get().is_some_and(|clock| clock.handle() == handle) {
            return self.clock(remote);
        }
        let catalogue = match self.known() {
            Some(catalogue) => catalogue,
            None => self.refresh(remote)?,
        };
        if let Some(known) = catalogue.object(handle) {
            return Ok(known.clone());
        }
        if catalogue.extent == Extent::Partial
            && let Some(unique_id) = self.handles.unique_id(handle)
        {
            // A refresh has dropped what was looked at so far; the host has not.
            let template = [(CKA_UNIQUE_ID, unique_id.as_bytes().into())];
            self.search_remotely(remote, &Attributes::from_pairs(template)?)?;
            let looked_at = self.state().catalogue.clone();
            if let Some(known) = looked_at.as_ref().and_then(|catalogue| catalogue.object(handle)) {
                return Ok(known.clone());
            }
        }
        Err(match self.handles.unique_id(handle) {
            Some(_) => Error::new(
                CKR_OBJECT_HANDLE_INVALID,
                "the object of this handle is gone or not visible; if it is a key, was it retired? \
                 Then load the keystore anew",
            ),
            None => Error::new(CKR_OBJECT_HANDLE_INVALID, "no visible object has this handle"),
        })
    }

    /// The key for an operation, by its handle.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN if a login would show it,
    /// CKR_KEY_HANDLE_INVALID if there is none.
    pub(crate) fn key(&self, remote: &Remote, handle: CK_OBJECT_HANDLE) -> Result<Known> {
        self.object(remote, handle).map_err(|error| match error.rv {
            CKR_OBJECT_HANDLE_INVALID
                if !self.is_user() && self.handles.unique_id(handle).is_some() =>
            {
                Error::new(
                    CKR_USER_NOT_LOGGED_IN,
                    "the key is not visible; a login has ended: was the PIN changed?",
                )
            }
            CKR_OBJECT_HANDLE_INVALID => Error { rv: CKR_KEY_HANDLE_INVALID, ..error },
            _ => error,
        })
    }

    /// The handles of the objects that match, token objects first.
    pub(crate) fn search(
        &self,
        remote: &Remote,
        template: &Attributes,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        self.pass(remote);
        if self.profile == Profile::Full && template.number(CKA_CLASS) == Some(CKO_PROFILE) {
            let profiles = self.profiles.get_or_init(|| Profiles::new(&self.handles));
            return Ok(profiles.search(template));
        }
        if self.profile == Profile::Full && template.number(CKA_CLASS) == Some(CKO_HW_FEATURE) {
            return self.search_features(remote, template);
        }
        let mut found = if template.boolean(CKA_TOKEN) == Some(false) {
            Vec::new()
        } else {
            let catalogue = self.fresh_catalogue(remote)?;
            match catalogue.extent {
                Extent::Complete => catalogue.search(template),
                Extent::Partial => self.search_remotely(remote, template)?,
            }
        };
        let session_objects = self.session_objects();
        let visible = self.is_user();
        found.extend(
            session_objects
                .search(template)
                .into_iter()
                .filter(|(_, known)| visible || !known.object.is_private())
                .map(|(handle, _)| handle),
        );
        Ok(found)
    }

    /// Takes a session object in.
    pub(crate) fn adopt(&self, session: CK_SESSION_HANDLE, known: Known) -> CK_OBJECT_HANDLE {
        let handle = self.handles.fresh();
        self.session_objects().insert(handle, session, known);
        handle
    }

    /// Takes in what the service has made or changed: a token object, or a
    /// session object of `session`.
    pub(crate) fn take_in(
        &self,
        session: CK_SESSION_HANDLE,
        object: wire::Object,
    ) -> Result<CK_OBJECT_HANDLE> {
        let known = object::from_wire(object)?;
        let object::Place::Token(unique_id) = &known.place else {
            return Ok(self.adopt(session, known));
        };
        let handle = self.handles.of(unique_id);
        self.edit(|catalogue| catalogue.with([(handle, known)], None));
        Ok(handle)
    }

    /// Puts another state in the place of a session object.
    pub(crate) fn replace(&self, handle: CK_OBJECT_HANDLE, known: Known) {
        self.session_objects().replace(handle, known);
    }

    /// Forgets an object that was destroyed.
    pub(crate) fn remove(&self, handle: CK_OBJECT_HANDLE) {
        self.session_objects().remove(handle);
        self.edit(|catalogue| catalogue.with([], Some(handle)));
    }

    fn edit(&self, change: impl FnOnce(&Catalogue) -> Catalogue) {
        let mut state = self.state();
        if let Some(catalogue) = &state.catalogue {
            state.catalogue = Some(Arc::new(change(catalogue)));
        }
    }

    // ---- what is inside ----------------------------------------------------

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session_objects(&self) -> MutexGuard<'_, SessionObjects> {
        self.session_objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn learn(&mut self, info: TokenInfo, when: Instant) {
        self.learn_offer(&info);
        self.info = Some((info, when));
    }

    /// What the token offers.
    fn learn_offer(&mut self, info: &TokenInfo) {
        self.policy = Some(info.policy().into());
        if !info.mechanisms.is_empty() {
            self.abilities = Some(info.mechanisms.as_slice().into());
        }
    }

    fn forget_login(&mut self) {
        self.login = None;
        self.ticket = None;
        self.forget_catalogue();
    }

    fn forget_catalogue(&mut self) {
        self.borrowed = None;
        self.catalogue = None;
        self.proof = None;
        self.view += 1;
    }
}

impl Count {
    fn of(&mut self, read_write: bool) -> &mut usize {
        if read_write { &mut self.read_write } else { &mut self.read_only }
    }
}
