//! Tickets: what a login gave, under a MAC that any replica can check.
//!
//! A part is the encoded claims and an HMAC over them. The access part expires,
//! the refresh part holds as long as the PIN's generation.

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
        }
    }

    /// A ticket that says so.
    pub(super) fn issue(&self, claims: &Claims) -> Ticket {
        let life = u64::try_from(self.access_life.as_millis()).unwrap_or(u64::MAX);
        let access =
            Claims { expires: clock::milliseconds().saturating_add(life), ..claims.clone() };
        let refresh = Claims { expires: 0, ..claims.clone() };
        Ticket { access: self.protect(ACCESS, &access), refresh: self.protect(REFRESH, &refresh) }
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
        UserType::User | UserType::Unspecified => record.user_generation,
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
