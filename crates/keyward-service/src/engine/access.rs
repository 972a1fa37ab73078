//! What an identity may do with a token.

use std::sync::Arc;

use keyward_token::Stage;
use keyward_token::mechanism::Policy;
use keyward_token::rules::Author;
use keyward_wire::{Error, ErrorCode, LoginMode, Result, Scope};

use super::{Call, Engine};
use crate::state::{StoredObject, Token};
use crate::store::paths::PinKey;
use crate::store::records::Claims;

/// What a request may see and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Objects that are not private.
    Public,
    /// All objects.
    User,
    /// As public, and the user's PIN.
    Officer,
}

/// A token, and what may be done with it.
pub(super) struct Access {
    pub(super) token: Arc<Token>,
    pub(super) rights: Rights,
    pub(super) read_only: bool,
    /// A ticket to replace the one that was shown.
    pub(super) renewed: Option<keyward_wire::Ticket>,
    /// What the ticket said that was shown.
    pub(super) claims: Option<Claims>,
}

impl Engine {
    /// The token of a request, if its identity was given it, and the rights
    /// that its ticket or certificate gives.
    ///
    /// # Errors
    /// `TOKEN_NOT_PRESENT`, `TICKET_INVALID`, `REVISION_BEHIND`.
    pub(super) fn access(&self, call: &Call) -> Result<Access> {
        let mut access = self.access_without_ticket(call)?;
        if let Some(ticket) = &call.ticket {
            let (claims, renewed) = self.check_ticket(call, &access.token, ticket)?;
            access.rights = match claims.user_type() {
                keyward_wire::UserType::SecurityOfficer => Rights::Officer,
                _ => Rights::User,
            };
            access.renewed = renewed;
            access.claims = Some(claims);
        }
        Ok(access)
    }

    /// As [`access`](Self::access), for operations that bring a PIN: whatever
    /// the ticket says plays no part.
    pub(super) fn access_without_ticket(&self, call: &Call) -> Result<Access> {
        let not_present = || {
            Error::new(
                ErrorCode::TokenNotPresent,
                "there is no such token, or this identity was not given it",
            )
        };
        let token = self.state.token_labelled(&call.label).ok_or_else(not_present)?;
        let read_only = call.identity.grant(token.id).ok_or_else(not_present)?;
        if let Some(least) = call.at_least
            && least.incarnation == self.state.incarnation()
            && least.sequence > self.state.sequence()
        {
            return Err(Error::new(
                ErrorCode::RevisionBehind,
                "the client has seen a newer state of the token than this service has",
            ));
        }
        let administrator = call.identity.record.administrator;
        let by_certificate = token.record.login_mode() == LoginMode::Certificate;
        let rights = if administrator || by_certificate { Rights::User } else { Rights::Public };
        Ok(Access { token, rights, read_only, renewed: None, claims: None })
    }
}

impl Access {
    /// Whether the rights reach as far as an object.
    pub(super) fn sees(&self, object: &keyward_token::Object) -> bool {
        self.rights == Rights::User || !object.is_private()
    }

    /// Whether an object is one of those that are asked for.
    pub(super) fn shows(&self, object: &keyward_token::Object, scope: Scope) -> bool {
        let in_scope = match Stage::of(object.attributes()) {
            Stage::Current => true,
            Stage::Superseded { .. } => scope != Scope::Current,
            Stage::Pending { .. } => scope == Scope::All,
        };
        in_scope && self.sees(object)
    }

    /// The object of this CKA_UNIQUE_ID, if it may be seen.
    pub(super) fn object(&self, unique_id: &str) -> Option<&Arc<StoredObject>> {
        self.token.objects.get(unique_id).filter(|stored| self.sees(&stored.object))
    }

    /// Refuses what changes the token for an identity that may only read.
    pub(super) fn may_write(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::new(
                ErrorCode::TokenWriteProtected,
                "this identity was given the token for reading only",
            ));
        }
        Ok(())
    }

    /// Refuses what only a user may do.
    pub(super) fn must_be_user(&self) -> Result<()> {
        if self.rights != Rights::User {
            return Err(Error::new(
                ErrorCode::UserNotLoggedIn,
                "private objects are made only after the user has logged in",
            ));
        }
        Ok(())
    }

    /// Which mechanisms and keys the token offers.
    pub(super) fn policy(&self) -> Policy {
        self.token.record.policy_in_force()
    }

    /// In whose name objects are made and changed.
    pub(super) fn author(&self) -> Author {
        match self.rights {
            Rights::Officer => Author::Officer,
            Rights::User | Rights::Public => Author::User,
        }
    }

    /// Where wrong PINs of an identity are counted.
    pub(super) fn pin_key(&self, call: &Call, officer: bool) -> PinKey {
        PinKey { token: self.token.id, officer, identity: call.identity.uid }
    }
}
