//! Tickets: what a login gave, under a MAC that any replica can check.
//!
//! A part is the encoded claims and an HMAC over them. The access part expires,
//! the refresh part holds as long as the PIN's generation.

use std::time::Duration;

use keyward_crypto::{hmac_sha256, hmac_sha256_verify, random};
use keyward_wire::{Error, ErrorCode, Result, Ticket, UserType};
use prost::Message;

use super::{Call, Engine};
use crate::clock;
use crate::state::Token;
use crate::store::records::{Claims, TokenRecord};

impl Engine {
    /// What a ticket for this call's identity and instance says.
    pub(super) fn claims(&self, call: &Call, token: &Token, user_type: UserType) -> Claims {
        Claims {
            identity: call.identity.uid.as_bytes().to_vec(),
            token: token.id.as_bytes().to_vec(),
            user_type: user_type.into(),
            generation: generation(&token.record, user_type),
            instance: call.instance.clone(),
            expires: 0,
            key: String::new(),
        }
    }

    /// A ticket that says so.
    pub(super) fn issue(&self, claims: &Claims) -> Ticket {
        let one_use = claims.user_type() == UserType::ContextSpecific;
        let life = if one_use { USE_LIFE } else { self.access_life };
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let access =
            Claims { expires: clock::milliseconds().saturating_add(life), ..claims.clone() };
        if one_use {
            return Ticket { access: self.protect(USE, &access), refresh: Vec::new() };
        }
        let refresh = Claims { expires: 0, ..claims.clone() };
        Ticket { access: self.protect(ACCESS, &access), refresh: self.protect(REFRESH, &refresh) }
    }

    /// Whether the PIN was given for this use of a key, a moment ago.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN.
    pub(super) fn check_authentication(
        &self,
        call: &Call,
        token: &Token,
        key: &str,
        proof: &[u8],
    ) -> Result<()> {
        let wanted = self.claims(call, token, UserType::ContextSpecific);
        let given = self.unprotect(USE, proof).is_some_and(|claims| {
            claims.expires > clock::milliseconds()
                && claims == Claims { expires: claims.expires, key: key.to_owned(), ..wanted }
        });
        if given {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::UserNotLoggedIn,
            "the key has CKA_ALWAYS_AUTHENTICATE, and the PIN was not given for this use",
        ))
    }

    /// What a ticket says, and a new one if its access part is stale.
    ///
    /// # Errors
    /// `TICKET_INVALID`.
    pub(super) fn check_ticket(
        &self,
        call: &Call,
        token: &Token,
        ticket: &Ticket,
    ) -> Result<(Claims, Option<Ticket>)> {
        let fresh = self
            .unprotect(ACCESS, &ticket.access)
            .filter(|claims| claims.expires > clock::milliseconds());
        let stale = fresh.is_none();
        let claims = fresh
            .or_else(|| self.unprotect(REFRESH, &ticket.refresh))
            .ok_or_else(|| invalid("the ticket was not issued here, or it has expired"))?;
        if claims.identity != call.identity.uid.as_bytes() || claims.instance != call.instance {
            return Err(invalid("the ticket was issued to another client"));
        }
        if claims.token != token.id.as_bytes() {
            return Err(invalid("the ticket was issued for another token"));
        }
        if claims.generation != generation(&token.record, claims.user_type()) {
            return Err(invalid("the PIN was changed since the login; log in again"));
        }
        let renewed = stale.then(|| self.issue(&claims));
        Ok((claims, renewed))
    }

    fn protect(&self, part: &[u8], claims: &Claims) -> Vec<u8> {
        let mut protected = claims.encode_to_vec();
        let mac = hmac_sha256(&*self.vault.tickets, &[part, &protected].concat());
        protected.extend_from_slice(&mac);
        protected
    }

    fn unprotect(&self, part: &[u8], protected: &[u8]) -> Option<Claims> {
        let (claims, mac) = protected.split_last_chunk::<32>()?;
        hmac_sha256_verify(&*self.vault.tickets, &[part, claims].concat(), mac).ok()?;
        Claims::decode(claims).ok()
    }
}

/// Of the PIN of a user type.
pub(super) fn generation(record: &TokenRecord, user_type: UserType) -> u64 {
    match user_type {
        UserType::SecurityOfficer => record.so_generation,
        UserType::User | UserType::ContextSpecific | UserType::Unspecified => {
            record.user_generation
        }
    }
}

/// That of a new PIN. Random, so that a store that was put back to an earlier
/// state never comes to a generation that tickets were given out for meanwhile.
pub(super) fn new_generation() -> u64 {
    u64::from_be_bytes(random::bytes())
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorCode::TicketInvalid, message)
}

// What is authenticated before the claims: one part does not pass for the other.
const ACCESS: &[u8] = b"access\0";
const REFRESH: &[u8] = b"refresh\0";
const USE: &[u8] = b"use\0";

/// From the PIN to the use of a key with CKA_ALWAYS_AUTHENTICATE, with all repeats.
const USE_LIFE: Duration = Duration::from_secs(60);
