//! Removes from a target what a run put there, and nothing else; and, as a step
//! of its own, from a source what a manifest proves to be in the target.

use cryptoki_sys::*;

use crate::error::{Error, Kind, Result};
use crate::journal::{Event, Journal, State};
use crate::manifest::Manifest;
use crate::object::Object;
use crate::plan::Plan;
use crate::run::{Progress, find_made, token_of};
use crate::source::Source;
use crate::token::failure::failure;

/// What came of it.
#[derive(Debug, Default)]
pub struct Removed {
    /// Objects that were removed.
    pub removed: usize,
    /// Objects that were not there any more.
    pub gone: usize,
    /// Objects that could not be removed, by name, and why.
    pub failed: Vec<(String, String)>,
}

/// Takes back what a journal says that its run made, the last one first.
///
/// # Errors
/// If the journal is another plan's or cannot be written, or the token stops to
/// answer.
pub fn rollback(
    plan: &Plan,
    source: Option<&Source>,
    target: &Source,
    journal: &mut Journal,
    progress: &dyn Progress,
) -> Result<Removed> {
    let state = State::of(journal.entries());
    if state.plan != Some(plan.digest()?) {
        return Err(Error::new(
            "the journal belongs to another plan, or the plan was changed since",
        ));
    }
    let mut references: Vec<_> = state.order.iter().rev().collect();
    references.extend(&state.unknown);
    progress.begin(references.len(), 0);
    let session = token_of(target)?.session()?;
    let mut outcome = Removed::default();
    for reference in references {
        let Some(step) = plan.steps.iter().find(|step| step.reference == *reference) else {
            continue;
        };
        if state.removed.contains(reference) {
            let why = "it was removed from the source: the target has the only one".to_owned();
            progress.failed(&step.what, &why);
            outcome.failed.push((step.what.clone(), why));
            continue;
        }
        let unique = state.made.get(reference).and_then(Option::as_deref);
        let there = match unique {
            Some(unique) => target
                .objects
                .iter()
                .find(|it| it.attributes.bytes(CKA_UNIQUE_ID) == Some(unique.as_bytes())),
            None => by_name(step, source, target)?,
        };
        let Some(handle) = there.and_then(|there| there.handle) else {
            outcome.gone += 1;
            journal.add(Event::RolledBack { reference: reference.clone() })?;
            progress.made(&step.what);
            continue;
        };
        journal.add(Event::RollingBack { reference: reference.clone() })?;
        match session.destroy_object(handle) {
            Ok(()) => {
                journal.add(Event::RolledBack { reference: reference.clone() })?;
                outcome.removed += 1;
                progress.made(&step.what);
            }
            Err(error) => {
                let error = failure("the target", &error);
                if error.kind() == Kind::Token {
                    return Err(error.of(&step.what));
                }
                progress.failed(&step.what, &error.to_string());
                outcome.failed.push((step.what.clone(), error.to_string()));
            }
        }
    }
    Ok(outcome)
}

/// For tokens that give their objects no identifier of their own.
fn by_name<'a>(
    step: &crate::plan::Step,
    source: Option<&Source>,
    target: &'a Source,
) -> Result<Option<&'a Object>> {
    let object =
        source.and_then(|source| source.objects.iter().find(|it| it.reference == step.reference));
    if let Some(object) = object {
        return find_made(step, object, target);
    }
    // Without the source: by class, label, id and what the plan knows of its public part.
    let (id, label) = (step.id_bytes()?, step.label_bytes()?);
    let class = step.reference.rsplit_once('-').map_or("", |(class, _)| class).to_owned();
    Ok(target.objects.iter().find(|there| {
        let reference_class = there.class_name().replace(' ', "-");
        (class == reference_class || step.reference.starts_with(&format!("{reference_class}-")))
            && there.attributes.bytes(CKA_LABEL).unwrap_or_default() == label
            && (there.class() == CKO_DATA || there.id() == id)
            && (step.sha256.is_none()
                || there.fingerprint().is_none()
                || there.fingerprint() == step.sha256)
    }))
}

/// Removes from a source token what a manifest proves to be in the target.
///
/// # Errors
/// If the manifest is not whole or the journal another plan's.
pub fn remove_at_source(
    plan: &Plan,
    manifest: &Manifest,
    source: &Source,
    journal: &mut Journal,
    progress: &dyn Progress,
) -> Result<Removed> {
    let token = source.token.as_ref().ok_or_else(|| {
        Error::new("the source is files, and only you know who else has copies of them")
            .hint("destroy them as your rules say, backups too")
    })?;
    let digest = plan.digest()?;
    if State::of(journal.entries()).plan.as_ref() != Some(&digest) || manifest.plan != digest {
        return Err(Error::new("plan, journal and manifest do not belong together"));
    }
    let session = token.session()?;
    let mut outcome = Removed::default();
    let proved: Vec<_> = manifest.objects.iter().filter(|proof| proof.verdict.is_good()).collect();
    progress.begin(proved.len(), 0);
    for proof in proved {
        let object = source.objects.iter().find(|it| it.reference == proof.reference);
        let Some(handle) = object.and_then(|object| object.handle) else {
            outcome.gone += 1;
            continue;
        };
        match session.destroy_object(handle) {
            Ok(()) => {
                journal.add(Event::RemovedAtSource { reference: proof.reference.clone() })?;
                outcome.removed += 1;
                progress.made(&proof.what);
            }
            Err(error) => {
                let error = failure("the source", &error);
                if error.kind() == Kind::Token {
                    return Err(error.of(&proof.what));
                }
                progress.failed(&proof.what, &error.to_string());
                outcome.failed.push((proof.what.clone(), error.to_string()));
            }
        }
    }
    Ok(outcome)
}
