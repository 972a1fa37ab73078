//! Seeing what there is: tokens, the whole catalogue of one, a search.

use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;
use std::vec::IntoIter;

use keyward_token::Attributes;
use keyward_wire::catalogue_result::State as CatalogueState;
use keyward_wire::response::Result as Answered;
use keyward_wire::{
    self as wire, CATALOGUE_LIMIT, CatalogueResult, Result, Revision, Scope, TokenInfo,
};
use prost::Message;

use super::access::Access;
use super::{Answer, Call, Engine, malformed};
use crate::clock;
use crate::state::{StoredObject, Token};
use crate::store::paths::PinKey;

/// The frames of a catalogue. Objects are encoded frame by frame: an answer
/// that a slow client does not take costs a list of pointers.
pub(crate) struct Frames {
    state: CatalogueState,
    objects: Peekable<IntoIter<Arc<StoredObject>>>,
    /// Goes with the first frame.
    token: Option<TokenInfo>,
    /// Goes with the first frame.
    ticket: Option<wire::Ticket>,
    done: bool,
}

impl Engine {
    /// The catalogue of what may be seen, or that it is the known one.
    ///
    /// The known revision counts for the same rights and scope only, and the
    /// client says it only then: what a user sees at a revision is more than
    /// what is public.
    pub(super) fn catalogue(
        &self,
        call: &Call,
        access: &Access,
        known: Option<&Revision>,
        scope: Scope,
    ) -> Frames {
        let mut frames = Frames {
            state: CatalogueState::Complete,
            objects: Vec::new().into_iter().peekable(),
            token: Some(self.token_info(call, &access.token)),
            ticket: None,
            done: false,
        };
        if known == Some(&self.revision(access.token.revision)) {
            frames.state = CatalogueState::Unchanged;
            return frames;
        }
        let visible: Vec<_> = access
            .token
            .objects
            .values()
            .filter(|stored| access.shows(&stored.object, scope))
            .cloned()
            .collect();
        let length: usize = visible.iter().map(|stored| encoded_length(stored)).sum();
        if length > CATALOGUE_LIMIT {
            frames.state = CatalogueState::TooLarge;
        } else {
            frames.objects = visible.into_iter().peekable();
        }
        frames
    }

    /// One page of the objects that a template matches, in the order of their
    /// CKA_UNIQUE_ID.
    pub(super) fn find(&self, access: &Access, find: &wire::Find) -> Result<Answer> {
        let template = Attributes::try_from(find.template.clone())?;
        let cursor = std::str::from_utf8(&find.cursor)
            .map_err(|_| malformed("the cursor is none that this service gave"))?;
        let most = match find.most {
            0 => FOUND_BY_DEFAULT,
            most => usize::try_from(most).unwrap_or(MOST_FOUND).min(MOST_FOUND),
        };
        let after = if cursor.is_empty() { Bound::Unbounded } else { Bound::Excluded(cursor) };
        let mut result = wire::FindResult::default();
        let mut length = 0;
        for stored in access.token.objects.range::<str, _>((after, Bound::Unbounded)) {
            let (unique_id, stored) = stored;
            let shown = access.shows(&stored.object, find.scope());
            if !(shown && stored.object.matches(&template)) {
                continue;
            }
            length += encoded_length(stored);
            if result.objects.len() == most || length > FRAME_BUDGET {
                // The last one of this page is where the next one starts.
                result.cursor = result
                    .objects
                    .last()
                    .map_or(unique_id.as_bytes(), |last| last.unique_id.as_bytes())
                    .to_vec();
                break;
            }
            result.objects.push(stored.view().clone());
        }
        Ok(access.answer(Some(Answered::Find(result))))
    }

    /// The tokens that an identity was given.
    pub(super) fn list_tokens(&self, call: &Call) -> Answer {
        let tokens = self
            .state
            .tokens()
            .iter()
            .filter(|token| call.identity.grant(token.id).is_some())
            .map(|token| self.token_info(call, token))
            .collect();
        Answer::of(Answered::Tokens(wire::TokenList { tokens }))
    }

    /// A token as it stands for an identity.
    pub(super) fn token_info(&self, call: &Call, token: &Token) -> TokenInfo {
        let pin = |officer| {
            self.pin_state(PinKey { token: token.id, officer, identity: call.identity.uid }).into()
        };
        TokenInfo {
            label: token.record.label.clone(),
            serial: token.record.serial.clone(),
            login_mode: token.record.login_mode,
            user_pin_initialized: token.record.user_pin.is_some(),
            user_pin: pin(false),
            so_pin: pin(true),
            read_only: call.identity.grant(token.id).unwrap_or(true),
            objects: token.objects.len() as u64,
            revision: Some(self.revision(token.revision)),
            created: token.record.created,
            pin_counts: match call.identity.record.administrator {
                true => self.pin_counts(token.id),
                false => Vec::new(),
            },
            policy: wire::Policy::from(token.record.policy_in_force()).into(),
            hsm: token.record.hsm.clone(),
            shown_label: token.record.shown_label.clone(),
            mechanisms: self.hsm_mechanisms(token),
            time: clock::seconds(),
        }
    }
}

impl Frames {
    pub(super) fn with_ticket(mut self, ticket: Option<wire::Ticket>) -> Self {
        self.ticket = ticket;
        self
    }

    /// The next frame, a ticket to go with it, and whether more follow; `None`
    /// after the last.
    pub(super) fn next_frame(&mut self) -> Option<(CatalogueResult, Option<wire::Ticket>, bool)> {
        if self.done {
            return None;
        }
        let mut result = CatalogueResult {
            state: self.state.into(),
            objects: Vec::new(),
            token: self.token.take(),
        };
        let mut length = 0;
        while let Some(stored) = self.objects.next_if(|next| {
            length += encoded_length(next);
            result.objects.is_empty() || length <= FRAME_BUDGET
        }) {
            result.objects.push(stored.view().clone());
        }
        self.done = self.objects.peek().is_none();
        Some((result, self.ticket.take(), !self.done))
    }
}

/// Of an object inside a frame, with its field's header, in bytes.
fn encoded_length(stored: &StoredObject) -> usize {
    stored.view().encoded_len() + 8
}

/// What objects may take of a frame, in bytes; the rest of it is small.
const FRAME_BUDGET: usize = (1 << 20) - (16 << 10);
const FOUND_BY_DEFAULT: usize = 100;
const MOST_FOUND: usize = 1000;
