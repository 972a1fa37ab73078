//! Login, and whatever else takes a PIN.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, PinState, Result, UserType};
use prost::Message;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::access::{Access, Rights};
use super::repeat::{Changes, Plan};
use super::tickets::{generation, new_generation};
use super::tokens::valid_label;
use super::{Answer, Call, Engine, Frames};
use crate::id::Id;
use crate::pin::{self, Pin};
use crate::state::Token;
use crate::store::paths::{self, PinKey};
use crate::store::records::{Claims, PinCountRecord, PinRecord, TokenRecord};
use crate::workers::later;

/// PINs that are being verified, and the tokens that hold answers back.
#[derive(Default)]
pub(super) struct Attempts {
    running: Arc<Running>,
    /// Wrong PINs that the store could not count.
    uncounted: Arc<Uncounted>,
    /// Wrong PINs of late, by token, and when the last one was.
    wrong: Mutex<HashMap<Id, (u32, Instant)>>,
}

#[derive(Default)]
struct Running {
    /// How many PINs are being verified; together with those counted as wrong
    /// never more than the tries that there are.
    by_key: Mutex<HashMap<PinKey, u32>>,
    changed: Notify,
}

/// Wrong PINs that the store could not count because it was away.
#[derive(Default)]
struct Uncounted {
    by_key: Mutex<HashMap<PinKey, HashSet<Asked>>>,
}

/// An operation's identifier and the digest of what was asked under it.
type Asked = (Id, [u8; 32]);

/// One of the tries, taken while a PIN is verified and the result stored.
pub(super) struct Attempt {
    running: Arc<Running>,
    uncounted: Arc<Uncounted>,
    key: PinKey,
    /// The PIN is wrong, and the store has not counted it yet.
    wrong: Option<Asked>,
}

/// What became of a PIN that was tried.
enum Tried {
    /// It is the right one; its counter goes back to zero with these changes.
    Right(Box<Changes>, Attempt),
    /// It is not: this is to be stored and answered.
    Wrong(Box<Plan>),
}

impl Engine {
    /// C_Login.
    pub(super) async fn login(&self, call: &Call, login: &wire::Login) -> Result<Plan> {
        let mut access = self.access_without_ticket(call)?;
        if login.user_type() == UserType::ContextSpecific {
            return self.authenticate(call, &access, login).await;
        }
        let officer = is_officer(login.user_type())?;
        let (changes, attempt) = match &login.pin {
            Some(pin) => {
                let pin = Pin::new(pin.clone());
                match self.try_pin(call, &access, officer, pin).await? {
                    Tried::Right(changes, attempt) => (*changes, Some(attempt)),
                    Tried::Wrong(plan) => return Ok(*plan),
                }
            }
            None if access.rights == Rights::User && !officer => (Changes::default(), None),
            None => {
                return Err(Error::new(ErrorCode::ArgumentsBad, "this token asks for a PIN"));
            }
        };
        access.rights = if officer { Rights::Officer } else { Rights::User };
        let mut info = self.token_info(call, &access.token);
        if attempt.is_some() {
            *(if officer { &mut info.so_pin } else { &mut info.user_pin }) = PinState::Fine.into();
        }
        let frames = login
            .want_catalogue
            .then(|| self.catalogue(call, &access, login.known.as_ref(), login.scope()));
        let result = Answered::Login(wire::LoginResult { token: Some(info) });
        let frames = frames.map(Frames::Catalogue);
        let answer = Answer { frames, ..access.answer(Some(result)) };
        let user_type = if officer { UserType::SecurityOfficer } else { UserType::User };
        Ok(Plan {
            claims: Some(self.claims(call, &access.token, user_type)),
            attempt,
            // The PIN is right whether or not the counter can go back to zero.
            optional: true,
            ..Plan::new(changes, answer).about(who(officer))
        })
    }

    /// C_Login with CKU_CONTEXT_SPECIFIC.
    async fn authenticate(
        &self,
        call: &Call,
        access: &Access,
        login: &wire::Login,
    ) -> Result<Plan> {
        let pin = login
            .pin
            .clone()
            .ok_or_else(|| Error::new(ErrorCode::ArgumentsBad, "this token asks for a PIN"))?;
        let (changes, attempt) = match self.try_pin(call, access, false, Pin::new(pin)).await? {
            Tried::Right(changes, attempt) => (*changes, attempt),
            Tried::Wrong(plan) => return Ok(*plan),
        };
        let claims = self.claims(call, &access.token, UserType::ContextSpecific);
        let result = Answered::Login(wire::LoginResult { token: None });
        Ok(Plan {
            claims: Some(Claims { key: login.key.clone(), ..claims }),
            attempt: Some(attempt),
            optional: true,
            ..Plan::new(changes, access.answer(Some(result))).about(&login.key)
        })
    }

    /// C_SetPIN.
    pub(super) async fn set_pin(&self, call: &Call, set: &wire::SetPin) -> Result<Plan> {
        let access = self.access_without_ticket(call)?;
        access.may_write()?;
        let officer = is_officer(set.user_type())?;
        let new_pin = pin::acceptable(set.new_pin.clone())?;
        let old_pin = Pin::new(set.old_pin.clone());
        let (mut changes, attempt) = match self.try_pin(call, &access, officer, old_pin).await? {
            Tried::Right(changes, attempt) => (*changes, attempt),
            Tried::Wrong(plan) => return Ok(*plan),
        };
        let hashed = self.hash_pin(call, new_pin).await?;
        let mut record = (*access.token.record).clone();
        let user_type = if officer {
            record.so_pin = hashed;
            record.so_generation = new_generation();
            UserType::SecurityOfficer
        } else {
            record.user_pin = Some(hashed);
            record.user_generation = new_generation();
            UserType::User
        };
        changes.put_token(&access.token, &record);
        let mut claims = self.claims(call, &access.token, user_type);
        claims.generation = generation(&record, user_type);
        Ok(Plan {
            claims: Some(claims),
            attempt: Some(attempt),
            ..Plan::new(changes, access.answer(Some(DONE))).about(who(officer))
        })
    }

    /// C_InitPIN.
    pub(super) async fn init_pin(&self, call: &Call, init: &wire::InitPin) -> Result<Plan> {
        let access = self.access(call)?;
        if access.rights != Rights::Officer && !call.identity.record.administrator {
            return Err(Error::new(
                ErrorCode::UserNotLoggedIn,
                "the user PIN is set by the security officer or an administrator",
            ));
        }
        access.may_write()?;
        let new_pin = pin::acceptable(init.new_pin.clone())?;
        let mut record = (*access.token.record).clone();
        record.user_pin = Some(self.hash_pin(call, new_pin).await?);
        record.user_generation = new_generation();
        let mut changes = Changes::default();
        changes.put_token(&access.token, &record);
        for (key, count) in self.state.pins_of(access.token.id) {
            if !key.officer {
                changes.delete_early(paths::pin(key), count.version);
            }
        }
        Ok(Plan::new(changes, access.answer(Some(DONE))))
    }

    /// C_InitToken: everything goes, in one transaction.
    pub(super) async fn init_token(&self, call: &Call, init: &wire::InitToken) -> Result<Plan> {
        let access = self.access_without_ticket(call)?;
        access.may_write()?;
        let token = &access.token;
        let label = valid_label(&init.label)?;
        let so_pin = Pin::new(init.so_pin.clone());
        let (mut changes, attempt) = match self.try_pin(call, &access, true, so_pin).await? {
            Tried::Right(changes, attempt) => (*changes, attempt),
            Tried::Wrong(plan) => return Ok(*plan),
        };
        let old_label = &token.record.label;
        if label != *old_label {
            let old_path = self.label_path(old_label);
            changes.delete_any(old_path);
            self.claim_label(&mut changes, &label, token.id)?;
        }
        let shown_label = match init.shown_label.as_str() {
            "" => String::new(),
            shown => Some(valid_label(shown)?).filter(|shown| *shown != label).unwrap_or_default(),
        };
        let record = TokenRecord {
            label: label.clone(),
            shown_label,
            user_pin: None,
            user_generation: new_generation(),
            so_generation: new_generation(),
            ..(*token.record).clone()
        };
        changes.put_token(token, &record);
        // An object that was made meanwhile must not stay behind.
        changes.require(paths::revision(token.id), token.revision);
        changes.delete_all(paths::objects(token.id));
        for (key, count) in self.state.pins_of(token.id) {
            if !key.officer {
                changes.delete_early(paths::pin(key), count.version);
            }
        }
        let plan = Plan::new(changes, access.answer(Some(DONE)));
        Ok(Plan { attempt: Some(attempt), ..plan }.about(label))
    }

    /// Hashes a PIN on a worker.
    pub(super) async fn hash_pin(&self, call: &Call, pin: Pin) -> Result<PinRecord> {
        self.workers.run_slow(call.identity.uid, call.deadline, move || pin::hash(&pin)).await
    }

    /// Answers to wrong PINs of a token are given at once again.
    pub(super) fn stop_holding_back(&self, token: Id) {
        lock(&self.attempts.uncounted.by_key).retain(|key, _| key.token != token);
        self.attempts.forget(token);
    }

    /// Who has tried wrong PINs of a token, by name.
    pub(super) fn pin_counts(&self, token: Id) -> Vec<wire::PinCount> {
        let mut counts: Vec<_> = self
            .state
            .pins_of(token)
            .into_iter()
            .filter_map(|(key, count)| {
                // Of a revoked identity there is nothing to unlock.
                let identity = self.identity(key.identity)?;
                let user_type =
                    if key.officer { UserType::SecurityOfficer } else { UserType::User };
                Some(wire::PinCount {
                    identity: identity.record.name.clone(),
                    user_type: user_type.into(),
                    wrong: count.wrong,
                    locked: count.wrong >= self.pins.tries,
                })
            })
            .collect();
        counts.sort_by(|a, b| (&a.identity, a.user_type).cmp(&(&b.identity, b.user_type)));
        counts
    }

    /// How a PIN stands for an identity.
    pub(super) fn pin_state(&self, key: PinKey) -> PinState {
        let wrong = self.wrong(key);
        match self.pins.tries.saturating_sub(wrong) {
            _ if wrong == 0 => PinState::Fine,
            0 => PinState::Locked,
            1 => PinState::FinalTry,
            _ => PinState::CountLow,
        }
    }

    /// Tries a PIN: at most as often as the counter allows, however many try
    /// at once.
    async fn try_pin(
        &self,
        call: &Call,
        access: &Access,
        officer: bool,
        pin: Pin,
    ) -> Result<Tried> {
        let record = &access.token.record;
        let hashed = if officer { Some(&record.so_pin) } else { record.user_pin.as_ref() };
        let hashed = hashed.cloned().ok_or_else(|| {
            Error::new(ErrorCode::UserPinNotInitialized, "the token's user PIN is not set yet")
        })?;
        let key = access.pin_key(call, officer);
        let mut attempt = self.begin_attempt(key, call).await?;
        let right = self
            .workers
            .run_slow(call.identity.uid, call.deadline, move || pin::verify(&hashed, &pin))
            .await?;
        let mut changes = Changes::default();
        let counted = self.state.pin(key);
        // Others may have used up the tries by way of another replica.
        if counted.is_some_and(|count| count.wrong >= self.pins.tries) {
            return Err(locked());
        }
        if right {
            if let Some(count) = counted {
                changes.delete(paths::pin(key), count.version);
            }
            self.attempts.forget(key.token);
            self.attempts.uncounted.forget(key);
            return Ok(Tried::Right(Box::new(changes), attempt));
        }
        attempt.wrong =
            Id::from_bytes(&call.operation_id).map(|operation| (operation, call.digest));
        // Tried on the PIN that is still the token's: another replica may have
        // set a new one.
        changes.require(paths::token(access.token.id), access.token.version);
        let wrong = counted.map_or(0, |count| count.wrong) + 1;
        let count = PinCountRecord { wrong }.encode_to_vec();
        match counted {
            Some(seen) => changes.replace(paths::pin(key), seen.version, count),
            None => changes.add(paths::pin(key), count),
        }
        let message = match self.pins.tries.saturating_sub(self.wrong(key) + 1) {
            0 => "the PIN is wrong; this identity is locked out of the token now".to_owned(),
            1 => "the PIN is wrong; one more wrong PIN locks this identity out".to_owned(),
            left => format!("the PIN is wrong; {left} tries are left"),
        };
        let delay = self.attempts.hold_back(key.token, Duration::from_millis(self.pins.backoff_ms));
        Ok(Tried::Wrong(Box::new(Plan {
            changes,
            outcome: Err(Error::new(ErrorCode::PinIncorrect, message)),
            claims: None,
            attempt: Some(attempt),
            delay: delay.min(call.deadline.saturating_duration_since(Instant::now())),
            subject: who(officer).to_owned(),
            optional: false,
            hsm: super::hsm::Effects::default(),
        })))
    }

    /// Wrong PINs since the last right one.
    fn wrong(&self, key: PinKey) -> u32 {
        let stored = self.state.pin(key).map_or(0, |count| count.wrong);
        stored.saturating_add(self.attempts.uncounted.of(key))
    }

    /// Takes one of the tries that are left.
    async fn begin_attempt(&self, key: PinKey, call: &Call) -> Result<Attempt> {
        if self.attempts.uncounted.of(key) > 0 && self.store.health().trouble.is_none() {
            let left = call.deadline.saturating_duration_since(Instant::now());
            self.count_uncounted(Instant::now() + COUNT_DEADLINE.min(left / 4)).await;
        }
        let running = &self.attempts.running;
        loop {
            let changed = running.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut by_key = lock(&running.by_key);
                let wrong = self.state.pin(key).map_or(0, |count| count.wrong);
                let uncounted = self.attempts.uncounted.of(key);
                let left = self.pins.tries.saturating_sub(wrong);
                if left > 0 && left <= uncounted {
                    return Err(Error::new(
                        ErrorCode::PinLocked,
                        "too many wrong PINs while the store cannot count them: this identity is \
                         locked out of the token",
                    ));
                }
                let left = left.saturating_sub(uncounted);
                if left == 0 {
                    return Err(locked());
                }
                let now = by_key.entry(key).or_insert(0);
                if *now < left {
                    *now += 1;
                    let uncounted = Arc::clone(&self.attempts.uncounted);
                    return Ok(Attempt {
                        running: Arc::clone(running),
                        uncounted,
                        key,
                        wrong: None,
                    });
                }
            }
            timeout_at(call.deadline.into(), changed)
                .await
                .map_err(|_| later("too many PINs are being tried at once"))?;
        }
    }
}

impl Engine {
    /// Has the store count the wrong PINs that it could not count before.
    pub(super) async fn count_uncounted(&self, deadline: Instant) {
        for (key, asked) in self.attempts.uncounted.all() {
            // The outcome was not known: some may have been counted after all.
            let known =
                |(operation, _): &&Asked| self.state.operation(key.identity, *operation).is_none();
            let missing: Vec<_> = asked.iter().filter(known).take(MOST_COUNTED).collect();
            let mut changes = Changes::default();
            let counted = self.state.pin(key);
            let mut wrong = counted.map_or(0, |count| count.wrong);
            for (operation, digest) in &missing {
                wrong = wrong.saturating_add(1);
                let error = Error::new(ErrorCode::PinIncorrect, "the PIN is wrong");
                changes.record(key.identity, *operation, digest, &error);
            }
            let count = PinCountRecord { wrong }.encode_to_vec();
            match counted {
                Some(seen) => changes.replace(paths::pin(key), seen.version, count),
                None => changes.add(paths::pin(key), count),
            }
            if !missing.is_empty()
                && self.state.token(key.token).is_some()
                && let Err(error) = self.commit(changes, deadline).await
            {
                tracing::warn!(%error, "wrong PINs are counted in memory only for now");
                continue;
            }
            self.attempts.uncounted.counted(key, &asked);
        }
    }
}

impl Changes {
    /// Writes a token's record anew.
    pub(super) fn put_token(&mut self, token: &Token, record: &TokenRecord) {
        self.replace(paths::token(token.id), token.version, record.encode_to_vec());
        self.touched = Some(token.id);
    }
}

impl Attempts {
    /// For how long the answer to one more wrong PIN of a token is held back.
    fn hold_back(&self, token: Id, longest: Duration) -> Duration {
        let mut wrong = lock(&self.wrong);
        let now = Instant::now();
        let (count, last) = wrong.entry(token).or_insert((0, now));
        if now.duration_since(*last) > FORGIVEN_AFTER {
            *count = 0;
        }
        (*count, *last) = (count.saturating_add(1), now);
        match count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST_DELAY * 2_u32.pow(doublings.min(10))).min(longest),
        }
    }

    fn forget(&self, token: Id) {
        lock(&self.wrong).remove(&token);
    }
}

impl Attempt {
    /// A wrong PIN was counted in the store, or is going to be tried again.
    pub(super) fn settled(&mut self) {
        self.wrong = None;
    }
}

impl Uncounted {
    fn of(&self, key: PinKey) -> u32 {
        let count = lock(&self.by_key).get(&key).map_or(0, HashSet::len);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn all(&self) -> Vec<(PinKey, HashSet<Asked>)> {
        lock(&self.by_key).iter().map(|(key, tried)| (*key, tried.clone())).collect()
    }

    /// A wrong PIN that could not be counted, or whose caller went away before
    /// it was known to be, stays one of the tries: else right and wrong could be
    /// told apart without end while the store is away. A repeat of the same call
    /// is the same try.
    fn add(&self, key: PinKey, asked: Asked) {
        lock(&self.by_key).entry(key).or_default().insert(asked);
    }

    fn forget(&self, key: PinKey) {
        lock(&self.by_key).remove(&key);
    }

    /// Forgets those that are in the store now.
    fn counted(&self, key: PinKey, operations: &HashSet<Asked>) {
        let mut by_key = lock(&self.by_key);
        if let Some(tried) = by_key.get_mut(&key) {
            tried.retain(|one| !operations.contains(one));
            if tried.is_empty() {
                by_key.remove(&key);
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(asked) = self.wrong {
            self.uncounted.add(self.key, asked);
        }
        let mut by_key = lock(&self.running.by_key);
        if let Some(now) = by_key.get_mut(&self.key) {
            *now -= 1;
            if *now == 0 {
                by_key.remove(&self.key);
            }
        }
        drop(by_key);
        self.running.changed.notify_waiters();
    }
}

fn locked() -> Error {
    Error::new(
        ErrorCode::PinLocked,
        "too many wrong PINs: this identity is locked out of the token until it is unlocked or \
         the PIN is set anew",
    )
}

fn is_officer(user_type: UserType) -> Result<bool> {
    match user_type {
        UserType::User => Ok(false),
        UserType::SecurityOfficer => Ok(true),
        UserType::ContextSpecific | UserType::Unspecified => {
            Err(Error::new(ErrorCode::UserTypeInvalid, "neither the user nor the security officer"))
        }
    }
}

fn who(officer: bool) -> &'static str {
    if officer { "security officer" } else { "user" }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer of what has none.
pub(super) const DONE: Answered = Answered::Done(wire::Done {});

/// So many wrong PINs of a token are answered at once.
const FREE: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(25);
/// At once; the records of their calls are to fit into a transaction.
const MOST_COUNTED: usize = 80;
pub(super) const COUNT_DEADLINE: Duration = Duration::from_secs(2);
/// Without a wrong PIN for so long, nothing is held back any more.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_held_back_more_and_more_up_to_the_limit() {
        let attempts = Attempts::default();
        let token = Id::random();
        let longest = Duration::from_millis(200);
        let delays: Vec<_> =
            (0..8).map(|_| attempts.hold_back(token, longest).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 25, 50, 100, 200, 200]);
        assert_eq!(attempts.hold_back(Id::random(), longest), Duration::ZERO);
        attempts.forget(token);
        assert_eq!(attempts.hold_back(token, longest), Duration::ZERO);
    }
}
