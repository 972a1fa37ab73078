//! Identities and their certificates: made, renewed, revoked.

use std::sync::Arc;

use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use prost::Message;

use super::admin::administrators_only;
use super::pins::DONE;
use super::repeat::{Changes, Plan};
use super::{Answer, Call, Engine};
use crate::authority::{Authority, requested_key};
use crate::clock;
use crate::id::Id;
use crate::state::Identity;
use crate::store::paths;
use crate::store::records::{CertificateRecord, GrantRecord, IdentityRecord};

/// A certificate that was made, and the one of the authority, DER.
struct Issued {
    certificate: Vec<u8>,
    authority: Vec<u8>,
}

impl Engine {
    pub(super) fn create_identity(
        &self,
        call: &Call,
        create: &wire::CreateIdentity,
    ) -> Result<Plan> {
        administrators_only(call)?;
        valid_name(&create.name)?;
        if self.state.identity_named(&create.name).is_some() {
            return Err(Error::new(
                ErrorCode::AlreadyExists,
                format!("there is an identity {} already; revoke it first", create.name),
            ));
        }
        let grants = create.grants.iter().map(|grant| self.grant(grant)).collect::<Result<_>>()?;
        let valid_days = match create.valid_days {
            0 => DEFAULT_DAYS,
            days => days.min(MOST_DAYS),
        };
        let uid = Id::random();
        let record = IdentityRecord {
            name: create.name.clone(),
            grants,
            administrator: create.administrator,
            created: clock::seconds(),
            valid_days,
            ..IdentityRecord::default()
        };
        let mut identity = Identity { uid, record, version: 0 };
        let issued =
            self.issue_certificate(&mut identity, &create.certificate_request, valid_days)?;
        let mut changes = Changes::default();
        changes.add(paths::identity(uid), identity.record.encode_to_vec());
        let name_path = self.name_path(&create.name);
        match self.state.unique(&name_path) {
            Some(version) => changes.replace(name_path, version, uid.as_bytes().to_vec()),
            None => changes.add(name_path, uid.as_bytes().to_vec()),
        }
        let answer = self.identity_answer(&identity, issued);
        Ok(Plan::new(changes, answer).about(&create.name))
    }

    pub(super) fn list_identities(&self, call: &Call) -> Result<Answer> {
        administrators_only(call)?;
        let identities =
            self.state.identities().iter().map(|identity| self.shown(identity)).collect();
        Ok(Answer::of(Answered::Identities(wire::IdentityList { identities })))
    }

    pub(super) fn revoke_identity(
        &self,
        call: &Call,
        revoke: &wire::RevokeIdentity,
    ) -> Result<Plan> {
        administrators_only(call)?;
        let identity = self.living(&revoke.name)?;
        let mut changes = Changes::default();
        if identity.record.administrator {
            let other = self
                .state
                .identities()
                .into_iter()
                .find(|other| {
                    other.uid != identity.uid && other.record.administrator && !other.record.revoked
                })
                .ok_or_else(|| {
                    Error::new(
                        ErrorCode::NotPermitted,
                        "it is the last administrator; create another one first",
                    )
                })?;
            // Two administrators that revoke each other at once: one wins.
            changes.require(paths::identity(other.uid), other.version);
        }
        let record = IdentityRecord { revoked: true, ..identity.record.clone() };
        changes.replace(paths::identity(identity.uid), identity.version, record.encode_to_vec());
        Ok(Plan::new(changes, Answer::of(DONE)).about(&revoke.name))
    }

    /// A new certificate for an identity that goes on.
    pub(super) fn renew_identity(&self, call: &Call, renew: &wire::RenewIdentity) -> Result<Plan> {
        let mut identity = (*self.own_or_named(call, &renew.name)?).clone();
        let usual = match identity.record.valid_days {
            0 => DEFAULT_DAYS,
            days => days,
        };
        let days = match renew.valid_days {
            0 => usual,
            days if call.identity.record.administrator => days.min(MOST_DAYS),
            days => days.min(usual),
        };
        if call.identity.record.administrator {
            identity.record.valid_days = days;
        }
        let issued = self.issue_certificate(&mut identity, &renew.certificate_request, days)?;
        let mut changes = Changes::default();
        let path = paths::identity(identity.uid);
        changes.replace(path, identity.version, identity.record.encode_to_vec());
        let answer = self.identity_answer(&identity, issued);
        Ok(Plan::new(changes, answer).about(&identity.record.name))
    }

    /// Ends all certificates of an identity but one.
    pub(super) fn revoke_certificates(
        &self,
        call: &Call,
        revoke: &wire::RevokeCertificates,
    ) -> Result<Plan> {
        let mut identity = (*self.own_or_named(call, &revoke.name)?).clone();
        let record = &mut identity.record;
        let zeros = revoke.keep.iter().take_while(|byte| **byte == 0).count();
        let keep = &revoke.keep[zeros..];
        // Nobody is to be shut out by a number that was mistyped.
        if !record.certificates.iter().any(|issued| issued.serial == keep) {
            return Err(Error::new(
                ErrorCode::NotFound,
                "the identity has no certificate of this serial number that is good, or it is \
                 from before certificates were recorded: renew it first",
            ));
        }
        record.certificates.retain(|issued| issued.serial == keep);
        record.recorded_only = true;
        let mut changes = Changes::default();
        changes.replace(paths::identity(identity.uid), identity.version, record.encode_to_vec());
        Ok(Plan::new(changes, Answer::of(DONE)).about(&record.name))
    }

    /// The identity of this name that is not revoked.
    pub(super) fn living(&self, name: &str) -> Result<Arc<Identity>> {
        self.state.identity_named(name).ok_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                format!("there is no identity {name}, or it is revoked already"),
            )
        })
    }

    /// The caller's own identity, or for an administrator the one of this name.
    fn own_or_named(&self, call: &Call, name: &str) -> Result<Arc<Identity>> {
        if name.is_empty() || name == call.identity.record.name {
            // As it is now: a repeat of the plan must see what others changed.
            return self.identity(call.identity.uid).ok_or_else(super::revoked);
        }
        administrators_only(call)?;
        self.living(name)
    }

    /// Makes a certificate for an identity and records it there.
    fn issue_certificate(
        &self,
        identity: &mut Identity,
        certificate_request: &[u8],
        days: u32,
    ) -> Result<Issued> {
        let requested = requested_key(certificate_request)
            .map_err(|error| Error::new(ErrorCode::DataInvalid, error.to_string()))?;
        let internal =
            |error: &dyn std::fmt::Display| Error::new(ErrorCode::Internal, error.to_string());
        let record =
            self.state.authority().ok_or_else(|| internal(&"the store has no authority"))?;
        let authority = Authority::open(&record).map_err(|error| internal(&error))?;
        let (certificate, shown) = authority
            .identity(identity.uid, &identity.record.name, &requested, days)
            .map_err(|error| internal(&error))?;
        let record = &mut identity.record;
        record.certificate_expires = shown.expires;
        record.certificates.retain(|issued| issued.expires > clock::seconds());
        if record.certificates.len() >= MOST_CERTIFICATES {
            return Err(Error::new(
                ErrorCode::NotPermitted,
                "the identity has very many certificates that are good; revoke the old ones first",
            ));
        }
        record
            .certificates
            .push(CertificateRecord { serial: shown.serial, expires: shown.expires });
        Ok(Issued {
            certificate: certificate.to_vec(),
            authority: authority.certificate().to_vec(),
        })
    }

    fn identity_answer(&self, identity: &Identity, issued: Issued) -> Answer {
        Answer::of(Answered::Identity(wire::IdentityResult {
            identity: Some(self.shown(identity)),
            certificate: issued.certificate,
            authority: issued.authority,
        }))
    }

    fn name_path(&self, name: &str) -> String {
        paths::identity_name(&self.vault.hash("identity", name.as_bytes()))
    }

    fn grant(&self, grant: &wire::Grant) -> Result<GrantRecord> {
        let token = self.state.token_labelled(grant.token.trim_end()).ok_or_else(|| {
            Error::new(ErrorCode::NotFound, format!("there is no token {:?}", grant.token))
        })?;
        Ok(GrantRecord { token: token.id.as_bytes().to_vec(), read_only: grant.read_only })
    }

    fn shown(&self, identity: &Identity) -> wire::Identity {
        let grants = identity
            .record
            .grants
            .iter()
            .filter_map(|grant| {
                let token = self.state.token(Id::from_bytes(&grant.token)?)?;
                Some(wire::Grant { token: token.record.label.clone(), read_only: grant.read_only })
            })
            .collect();
        wire::Identity {
            name: identity.record.name.clone(),
            grants,
            administrator: identity.record.administrator,
            revoked: identity.record.revoked,
            created: identity.record.created,
            certificate_expires: identity.record.certificate_expires,
            connections: self.connected.of(identity.uid),
        }
    }
}

/// Whether an identity may have this name.
///
/// # Errors
/// `ARGUMENTS_BAD`.
pub(crate) fn valid_name(name: &str) -> Result<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::ArgumentsBad,
        "an identity's name is 1 to 64 letters (without accents), digits, dots, underscores and hyphens",
    ))
}

const DEFAULT_DAYS: u32 = 365;
const MOST_DAYS: u32 = 3650;
/// Good ones of one identity.
const MOST_CERTIFICATES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_out_of_range_are_refused() {
        for (name, fine) in [
            ("node-1.dc_a", true),
            ("Node", true),
            ("", false),
            ("a b", false),
            ("é", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(valid_name(name).is_ok(), fine, "{name}");
        }
    }
}
