//! A slot's catalogue: asked for, asked after, or searched in the service.

use std::sync::Arc;
use std::time::Instant;

use cryptoki_sys::*;
use keyward_client::config::Profile;
use keyward_token::Attributes;
use keyward_wire::catalogue_result::State as CatalogueState;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, Response, Revision};

use super::reserve::Reserve;
use super::{SCOPE, Slot};
use crate::error::Result;
use crate::object::{self, Catalogue, Extent, Known, Matches};
use crate::remote::{Remote, unexpected};

/// How many objects one page of a search brings at most.
const PAGE: u32 = 500;

impl Slot {
    /// The catalogue, asked after if its proof is old. If the service does not
    /// answer, what is known has to do.
    pub(super) fn fresh_catalogue(&self, remote: &Remote) -> Result<Arc<Catalogue>> {
        if let Some(known) = self.known()
            && self.state().is_fresh()
        {
            return Ok(known);
        }
        match self.refresh(remote) {
            Err(error) if error.is_outage() => {
                let mut state = self.state();
                state.asked(true);
                // If the service has said that nothing may be seen, there is none.
                state.catalogue.clone().ok_or(error)
            }
            result => result,
        }
    }

    /// Asks the service for the catalogue, or whether it is unchanged.
    pub(super) fn refresh(&self, remote: &Remote) -> Result<Arc<Catalogue>> {
        let asked = Instant::now();
        let _turn = self.turn();
        {
            let state = self.state();
            // Another thread did it while this one waited for its turn.
            if let (Some(catalogue), Some(done)) = (&state.catalogue, state.last_asked())
                && done >= asked
            {
                return Ok(Arc::clone(catalogue));
            }
        }
        loop {
            if let Some(catalogue) = self.ask_for_catalogue(remote)? {
                return Ok(catalogue);
            }
        }
    }

    /// `None` if what was seen was forgotten meanwhile: a logout waits for no answer. It takes a
    /// turn to log in again, so that this does not happen without end.
    fn ask_for_catalogue(&self, remote: &Remote) -> Result<Option<Arc<Catalogue>>> {
        let (known, view) = {
            let state = self.state();
            (state.catalogue.as_ref().map(|catalogue| catalogue.revision), state.view)
        };
        let started = Instant::now();
        let reserve = if known.is_some() { Reserve::None } else { self.reserve(remote) };
        let question = Operation::Catalogue(wire::Catalogue { known, scope: SCOPE.into() });
        let frames = match self.question(remote, question, &reserve) {
            Ok(frames) => frames,
            Err(error) => {
                self.show(reserve, error)?;
                return Ok(self.known());
            }
        };
        let newer = self.catalogue_of(frames)?;
        let mut state = self.state();
        if state.view != view {
            return Ok(None);
        }
        let catalogue = match (newer, &state.catalogue) {
            (Some(catalogue), _) => Arc::new(catalogue),
            (None, Some(unchanged)) => Arc::clone(unchanged),
            (None, None) => return Err(unexpected()),
        };
        state.catalogue = Some(Arc::clone(&catalogue));
        state.proof = Some(started);
        state.borrowed = None;
        Ok(Some(catalogue))
    }

    /// The catalogue in an answer; `None` if it says that nothing has changed,
    /// or if there is none in it.
    pub(super) fn catalogue_of(&self, frames: Vec<Response>) -> Result<Option<Catalogue>> {
        let mut extent = None;
        let mut revision = Revision::default();
        let mut objects = Vec::new();
        for frame in frames {
            let Some(Answer::Catalogue(part)) = frame.result else { continue };
            match part.state() {
                CatalogueState::Unchanged => return Ok(None),
                CatalogueState::TooLarge => extent = Some(Extent::Partial),
                CatalogueState::Complete => extent = Some(Extent::Complete),
                CatalogueState::Unspecified => return Err(unexpected()),
            }
            revision = frame.revision.unwrap_or_default();
            if let Some(token) = part.token {
                self.state().learn_offer(&token);
            }
            for object in part.objects {
                objects.extend(self.entry(object)?);
            }
        }
        Ok(extent.map(|extent| Catalogue::new(revision, extent, objects)))
    }

    /// Searches a token that is too large for a catalogue.
    pub(super) fn search_remotely(
        &self,
        remote: &Remote,
        template: &Attributes,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let mut found = Matches::new(template);
        let mut cursor = Vec::new();
        loop {
            let find =
                wire::Find { template: template.into(), cursor, most: PAGE, scope: SCOPE.into() };
            let Answer::Find(page) = crate::remote::one(self.ask(remote, Operation::Find(find))?)?
            else {
                return Err(unexpected());
            };
            let entries: Vec<_> = page
                .objects
                .into_iter()
                .map(|object| self.entry(object))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect();
            for (handle, known) in &entries {
                found.add(*handle, known);
            }
            self.edit(|catalogue| catalogue.with(entries, None));
            if page.cursor.is_empty() {
                return Ok(found.handles());
            }
            cursor = page.cursor;
        }
    }

    /// A token object with its handle; `None` if the profile hides it.
    pub(super) fn entry(&self, object: wire::Object) -> Result<Option<(CK_OBJECT_HANDLE, Known)>> {
        let known = object::from_wire(object)?;
        let object::Place::Token(unique_id) = &known.place else {
            return Err(unexpected());
        };
        let hidden = self.profile == Profile::Tls
            && (known.object.class() == CKO_SECRET_KEY
                || known.object.attributes().is_true(CKA_ALWAYS_AUTHENTICATE));
        if hidden {
            return Ok(None);
        }
        Ok(Some((self.handles.of(unique_id), known)))
    }
}
