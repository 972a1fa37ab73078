//! Executes a plan, object by object, under a journal.
//!
//! Before an object is made, the journal says so; after, that it is there. A run
//! that was killed in between looks in the target which of the two it was. An
//! object is one call to the target (C_CreateObject or C_UnwrapKey): it is there
//! whole or not at all.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_hsm::attributes::{Template, read};
use keyward_token::{Attributes, attribute};

use crate::error::{Error, Kind, Result};
use crate::journal::{Event, Journal, State};
use crate::object::Object;
use crate::plan::{Plan, Step, Way, is_same};
use crate::planning::Planning;
use crate::source::{Source, all_of};
use crate::token::failure::failure;
use crate::transport::Bridge;

/// Somebody who watches.
pub trait Progress: Sync {
    /// So many objects are to be made, of which so many are there.
    fn begin(&self, total: usize, there: usize);
    /// One more is there.
    fn made(&self, what: &str);
    /// One could not be made.
    fn failed(&self, what: &str, why: &str);
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Objects that this run made.
    pub made: usize,
    /// Objects that were there from a run before.
    pub there: usize,
    /// Objects that could not be made, by name, and why.
    pub failed: Vec<(String, String)>,
    /// Why the run stopped before its end.
    pub stopped: Option<Error>,
}

impl Outcome {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.stopped.is_none()
    }
}

/// Does what a plan says and is not done.
///
/// # Errors
/// If the plan cannot be done as it is, or the journal is another plan's or
/// cannot be written. What happens to single objects is in the [`Outcome`].
pub fn run(
    plan: &Plan,
    source: &Source,
    target: &Source,
    journal: &mut Journal,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let digest = plan.digest()?;
    let before = State::of(journal.entries());
    if before.plan.as_ref().is_some_and(|known| *known != digest) {
        return Err(Error::new(
            "the journal belongs to another plan, or the plan was changed since",
        )
        .hint("go on with the plan of then, or take another journal"));
    }
    let mut settled: BTreeSet<String> = before.made.keys().cloned().collect();
    settled.extend(before.unknown.iter().cloned());
    Planning::new(source, target)?.check(plan, &settled)?;
    journal.add(Event::Begin {
        plan: digest,
        signed_off_by: plan.sign_off.by.clone(),
        target: plan.target.clone(),
    })?;
    adopt(plan, source, target, journal, &before)?;
    let state = State::of(journal.entries());
    let tasks = tasks(plan, source, target, &state);
    let total = tasks.len() + state.made.len();
    progress.begin(total, state.made.len());
    let bridge = match &plan.transport {
        Some(transport) if tasks.iter().any(|task| task.step.way == Way::Wrapped) => {
            let from = source.token.as_ref().ok_or_else(|| Error::new("the source is no token"))?;
            Some(Bridge::build(transport, from, token_of(target)?)?)
        }
        _ => None,
    };
    let work = Work {
        queue: Mutex::new(tasks.into()),
        journal: Mutex::new(journal),
        outcome: Mutex::new(Outcome { there: state.made.len(), ..Outcome::default() }),
        stop: AtomicBool::new(false),
        bridge: bridge.as_ref(),
        source,
        target,
        progress,
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| work.go());
        }
    });
    let Work { journal, outcome, .. } = work;
    let mut outcome = unpoisoned(outcome.into_inner());
    if let Some(bridge) = &bridge
        && let Err(error) = bridge.take_down()
    {
        outcome.failed.push(("the transport's key".to_owned(), error.to_string()));
    }
    let journal = unpoisoned(journal.into_inner());
    // If the journal is what failed, this fails too, and the reason is known.
    if outcome.stopped.is_none() {
        journal.add(Event::End { complete: outcome.is_complete() })?;
    }
    Ok(outcome)
}

/// Settles what a run before this one was about to make when it ended.
fn adopt(
    plan: &Plan,
    source: &Source,
    target: &Source,
    journal: &mut Journal,
    before: &State,
) -> Result<()> {
    if before.unknown.is_empty() {
        return Ok(());
    }
    let session = token_of(target)?.session()?;
    let mut pieces = all_of(token_of(target)?, &session)?;
    pieces.retain(Object::is_incomplete);
    for reference in &before.unknown {
        let Some(step) = plan.steps.iter().find(|step| step.reference == *reference) else {
            continue;
        };
        let Some(object) = source.objects.iter().find(|it| it.reference == *reference) else {
            return Err(Error::new("it is not in the source any more").of(reference));
        };
        match find_made(step, object, target)? {
            Some(there) => journal.add(made(step, &there.attributes))?,
            None => {
                // A token that writes an object in pieces may have been stopped between them.
                let piece = pieces
                    .iter()
                    .position(|piece| piece.refused || piece.class() == object.class());
                if let Some(handle) = piece.and_then(|at| pieces.swap_remove(at).handle) {
                    session.destroy_object(handle).map_err(|error| {
                        failure(&format!("what is left of {}, in the target", step.what), &error)
                    })?;
                }
                journal.add(Event::Failed {
                    reference: reference.clone(),
                    why: "the run ended before it was made".to_owned(),
                })?;
            }
        }
    }
    Ok(())
}

/// An object in the target that a step made.
pub(crate) fn find_made<'a>(
    step: &Step,
    object: &Object,
    target: &'a Source,
) -> Result<Option<&'a Object>> {
    let (id, label) = (step.id_bytes()?, step.label_bytes()?);
    Ok(target.objects.iter().find(|there| {
        let named = there.class() == object.class()
            && there.attributes.bytes(CKA_LABEL).unwrap_or_default() == label
            && (object.class() == CKO_DATA || there.id() == id);
        // Some tokens do not show the public half of a private key: its name must do.
        let same = match object.class() {
            CKO_PRIVATE_KEY if there.info.is_none() || object.info.is_none() => true,
            CKO_SECRET_KEY => true,
            _ => is_same(object, there),
        };
        named && same
    }))
}

struct Task<'a> {
    step: &'a Step,
    object: &'a Object,
}

fn tasks<'a>(plan: &'a Plan, source: &'a Source, target: &Source, state: &State) -> Vec<Task<'a>> {
    let mut tasks: Vec<Task<'a>> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.way, Way::Plain | Way::Wrapped))
        .filter(|step| !state.made.contains_key(&step.reference))
        .filter_map(|step| {
            let object = source.objects.iter().find(|it| it.reference == step.reference)?;
            // What came there by other means since the plan was made is not ours.
            let there = target.objects.iter().any(|there| is_same(object, there));
            (!there).then_some(Task { step, object })
        })
        .collect();
    // Certificates last: one without its key is what a host would take for an authority.
    tasks.sort_by_key(|task| task.object.class() == CKO_CERTIFICATE);
    tasks
}

struct Work<'a> {
    queue: Mutex<VecDeque<Task<'a>>>,
    journal: Mutex<&'a mut Journal>,
    outcome: Mutex<Outcome>,
    stop: AtomicBool,
    bridge: Option<&'a Bridge>,
    source: &'a Source,
    target: &'a Source,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    fn go(&self) {
        let sessions = match self.sessions() {
            Ok(sessions) => sessions,
            Err(error) => return self.stop(error),
        };
        while !self.stop.load(Ordering::Relaxed) {
            let Some(task) = unpoisoned(self.queue.lock()).pop_front() else { return };
            if let Err(error) = self.one(&sessions, &task) {
                return self.stop(error);
            }
        }
    }

    fn sessions(&self) -> Result<(Option<Session>, Session)> {
        let from = self.source.token.as_ref().map(|token| token.session()).transpose()?;
        Ok((from, token_of(self.target)?.session()?))
    }

    fn stop(&self, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcome = unpoisoned(self.outcome.lock());
        outcome.stopped.get_or_insert(error);
    }

    fn note(&self, event: Event) -> Result<()> {
        unpoisoned(self.journal.lock()).add(event)
    }

    /// # Errors
    /// Those after which nothing else would succeed.
    fn one(&self, sessions: &(Option<Session>, Session), task: &Task<'_>) -> Result<()> {
        let reference = || task.step.reference.clone();
        let what = &task.step.what;
        self.note(Event::Making { reference: reference() })?;
        let error = match self.make(sessions, task) {
            Ok(handle) => {
                let unique = read(&sessions.1, handle, &[CKA_UNIQUE_ID]).unwrap_or_default();
                self.note(made(task.step, &unique))?;
                unpoisoned(self.outcome.lock()).made += 1;
                self.progress.made(what);
                return Ok(());
            }
            Err(error) => error,
        };
        if error.kind() == Kind::Token {
            // Whether it is there is for the next run to see.
            return Err(error.of(what));
        }
        let why = error.to_string();
        self.progress.failed(what, &why);
        unpoisoned(self.outcome.lock()).failed.push((what.clone(), why.clone()));
        self.note(Event::Failed { reference: reference(), why })
    }

    fn make(
        &self,
        (from, to): &(Option<Session>, Session),
        task: &Task<'_>,
    ) -> Result<ObjectHandle> {
        let mut template = task.step.attributes(task.object)?;
        match task.step.way {
            Way::Wrapped => {
                for part in IN_THE_WRAPPED_KEY {
                    template.remove(*part);
                }
                let (Some(bridge), Some(from), Some(key)) = (self.bridge, from, task.object.handle)
                else {
                    return Err(Error::new("there is nothing to wrap it with"));
                };
                bridge.carry((from, to), key, &template, &task.step.what)
            }
            _ => {
                for (number, value) in self.secret(from.as_ref(), task.object)?.iter() {
                    if attribute::is_secret(number) {
                        template.set(number, value.clone());
                    }
                }
                // It follows from the value, and some tokens refuse both together.
                template.remove(CKA_VALUE_LEN);
                let refused = |error| failure("the target", &error);
                to.create_object(Template::from(&template).as_slice()).map_err(refused)
            }
        }
    }

    /// The secret parts of a key that may be read; nothing for what has none.
    fn secret(&self, from: Option<&Session>, object: &Object) -> Result<Attributes> {
        if let Some(secret) = &object.secret {
            return Ok(secret.clone());
        }
        let parts: &[u64] = match (object.class(), object.attributes.number(CKA_KEY_TYPE)) {
            (CKO_PRIVATE_KEY, Some(CKK_RSA)) => RSA_PARTS,
            (CKO_PRIVATE_KEY | CKO_SECRET_KEY, _) => &[CKA_VALUE],
            _ => return Ok(Attributes::new()),
        };
        let (Some(from), Some(handle)) = (from, object.handle) else {
            return Err(Error::new("its value is not at hand"));
        };
        let refused = |error| failure("the source", &error);
        let mut secret = read(from, handle, parts).map_err(refused)?;
        if let Some(missing) = parts.iter().find(|part| secret.bytes(**part).is_none()) {
            let name = attribute::name(*missing);
            return Err(Error::new(format!("the source does not show its {name}")));
        }
        pad_scalar(object, &mut secret);
        Ok(secret)
    }
}

/// SoftHSM keeps an EC key's number as it was given, leading zeros missing too;
/// others want it as long as the curve's order.
fn pad_scalar(object: &Object, secret: &mut Attributes) {
    if object.attributes.number(CKA_KEY_TYPE) != Some(CKK_EC) {
        return;
    }
    let Some(curve) = object
        .attributes
        .bytes(CKA_EC_PARAMS)
        .and_then(|parameters| keyward_crypto::ec::Curve::from_params_der(parameters).ok())
    else {
        return;
    };
    let length = curve.field_length();
    let padded = secret.bytes(CKA_VALUE).filter(|value| value.len() < length).map(|value| {
        let mut padded = vec![0; length - value.len()];
        padded.extend_from_slice(value);
        padded
    });
    if let Some(padded) = padded {
        secret.set(CKA_VALUE, padded);
    }
}

fn made(step: &Step, attributes: &Attributes) -> Event {
    let unique_id = attributes.bytes(CKA_UNIQUE_ID).filter(|id| !id.is_empty());
    Event::Made {
        reference: step.reference.clone(),
        way: step.way.name().to_owned(),
        unique_id: unique_id.map(|id| String::from_utf8_lossy(id).into_owned()),
    }
}

pub(crate) fn token_of(source: &Source) -> Result<&crate::token::Token> {
    source.token.as_ref().ok_or_else(|| Error::new("the target is no token"))
}

/// A thread that panicked has done no half step: the journal is written before
/// and after.
fn unpoisoned<T>(locked: std::result::Result<T, std::sync::PoisonError<T>>) -> T {
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}

const RSA_PARTS: &[u64] = &[
    CKA_PRIVATE_EXPONENT,
    CKA_PRIME_1,
    CKA_PRIME_2,
    CKA_EXPONENT_1,
    CKA_EXPONENT_2,
    CKA_COEFFICIENT,
];

/// What a template for C_UnwrapKey must not say (PKCS#11 v3.1 section 5.18.4).
const IN_THE_WRAPPED_KEY: &[u64] =
    &[CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT, CKA_VALUE, CKA_VALUE_LEN];
