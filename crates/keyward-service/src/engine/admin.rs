//! What only administrators may do: tokens, identities, the service's state.

use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, LoginMode, Result};
use prost::Message;

use super::pins::DONE;
use super::repeat::{Changes, Plan};
use super::{Answer, Call, Engine, SOFTWARE};
use crate::authority::{Authority, requested_key};
use crate::clock;
use crate::id::{self, Id};
use crate::pin;
use crate::state::{Identity, Token};
use crate::store::paths;
use crate::store::records::{GrantRecord, IdentityRecord, TokenRecord};

impl Engine {
    pub(super) async fn create_token(
        &self,
        call: &Call,
        create: &wire::CreateToken,
    ) -> Result<Plan> {
        administrators_only(call)?;
        let label = valid_label(&create.label)?;
        let login_mode = match create.login_mode() {
            LoginMode::Unspecified => LoginMode::Pin,
            given => given,
        };
        let so_pin = pin::acceptable(create.so_pin.clone())?;
        let user_pin = match create.user_pin.as_slice() {
            [] => None,
            given => Some(pin::acceptable(given.to_vec())?),
        };
        let id = Id::random();
        let mut changes = Changes::default();
        self.claim_label(&mut changes, &label, id)?;
        let record = TokenRecord {
            label: label.clone(),
            serial: id::encode(&keyward_crypto::random::bytes::<8>()),
            login_mode: login_mode.into(),
            so_pin: self.hash_pin(call, so_pin).await?,
            user_pin: match user_pin {
                Some(pin) => Some(self.hash_pin(call, pin).await?),
                None => None,
            },
            so_generation: 1,
            user_generation: 1,
            created: clock::seconds(),
        };
        changes.add(paths::token(id), record.encode_to_vec());
        changes.touched = Some(id);
        let token = Token {
            id,
            record: record.into(),
            version: 0,
            objects: std::collections::BTreeMap::new(),
            revision: 0,
        };
        let info = self.token_info(call, &token);
        Ok(Plan::new(changes, Answer::of(Answered::Token(info))).about(label))
    }

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
        let requested = requested_key(&create.certificate_request)
            .map_err(|error| Error::new(ErrorCode::DataInvalid, error.to_string()))?;
        let internal =
            |error: &dyn std::fmt::Display| Error::new(ErrorCode::Internal, error.to_string());
        let record = self.state.authority().ok_or_else(|| internal(&"the store has no authority"))?;
        let authority = Authority::open(&record).map_err(|error| internal(&error))?;
        let days = match create.valid_days {
            0 => DEFAULT_DAYS,
            days => days.min(MOST_DAYS),
        };
        let uid = Id::random();
        let (certificate, certificate_expires) = authority
            .identity(uid, &create.name, &requested, days)
            .map_err(|error| internal(&error))?;
        let identity = Identity {
            uid,
            record: IdentityRecord {
                name: create.name.clone(),
                grants,
                administrator: create.administrator,
                revoked: false,
                created: clock::seconds(),
                certificate_expires,
            },
            version: 0,
        };
        let mut changes = Changes::default();
        changes.add(paths::identity(uid), identity.record.encode_to_vec());
        let name_path = self.name_path(&create.name);
        match self.state.unique(&name_path) {
            Some(version) => changes.replace(name_path, version, uid.as_bytes().to_vec()),
            None => changes.add(name_path, uid.as_bytes().to_vec()),
        }
        let answer = Answer::of(Answered::Identity(wire::IdentityResult {
            identity: Some(self.shown(&identity)),
            certificate: certificate.to_vec(),
            authority: authority.certificate().to_vec(),
        }));
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
        let identity = self.state.identity_named(&revoke.name).ok_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                format!("there is no identity {}, or it is revoked already", revoke.name),
            )
        })?;
        let mut changes = Changes::default();
        if identity.record.administrator {
            let other = self
                .state
                .identities()
                .into_iter()
                .find(|other| {
                    other.uid != identity.uid
                        && other.record.administrator
                        && !other.record.revoked
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

    pub(super) fn status(&self, call: &Call) -> Result<Answer> {
        administrators_only(call)?;
        let label = |token| self.state.token(token).map(|token| token.record.label.clone());
        Ok(Answer::of(Answered::Status(wire::StatusResult {
            software: SOFTWARE.to_owned(),
            uptime_seconds: self.counters.uptime(),
            process_id: std::process::id(),
            connections: self.connected.all(),
            requests: self.counters.requests(),
            accepted: self.connected.accepted(),
            store: self.store.name().to_owned(),
            tokens: self.counters.status(label),
        })))
    }

    /// Makes a label a token's, if it is nobody's.
    pub(super) fn claim_label(&self, changes: &mut Changes, label: &str, token: Id) -> Result<()> {
        let path = self.label_path(label);
        if self.state.unique(&path).is_some() {
            return Err(Error::new(
                ErrorCode::AlreadyExists,
                format!("there is a token {label:?} already"),
            ));
        }
        changes.add(path, token.as_bytes().to_vec());
        Ok(())
    }

    pub(super) fn label_path(&self, label: &str) -> String {
        paths::token_label(&self.vault.hash("label", label.as_bytes()))
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
                Some(wire::Grant {
                    token: token.record.label.clone(),
                    read_only: grant.read_only,
                })
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

fn administrators_only(call: &Call) -> Result<()> {
    if call.identity.record.administrator {
        return Ok(());
    }
    Err(Error::new(ErrorCode::NotPermitted, "this identity is no administrator"))
}

/// A label without the blanks that pad it: 1 to 32 bytes.
pub(super) fn valid_label(label: &str) -> Result<String> {
    let label = label.trim();
    if label.is_empty() || label.len() > 32 || label.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorCode::ArgumentsBad,
            "a token's label is 1 to 32 bytes of UTF-8 without control characters",
        ));
    }
    Ok(label.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_out_of_range_are_refused() {
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
        for (label, valid) in [
            ("dev", Some("dev")),
            ("  dev   ", Some("dev")),
            ("two words", Some("two words")),
            ("   ", None),
            (&"x".repeat(33), None),
            ("a\nb", None),
        ] {
            assert_eq!(valid_label(label).ok().as_deref(), valid, "{label:?}");
        }
    }
}
