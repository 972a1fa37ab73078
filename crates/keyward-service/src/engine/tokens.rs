//! Tokens: made, unlocked, destroyed.

use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, LoginMode, Result};
use prost::Message;

use super::admin::administrators_only;
use super::pins::DONE;
use super::repeat::{Changes, Plan};
use super::tickets::new_generation;
use super::{Answer, Call, Engine};
use crate::clock;
use crate::id::{self, Id};
use crate::pin;
use crate::state::Token;
use crate::store::paths;
use crate::store::records::TokenRecord;

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
        known_policy(create.policy)?;
        self.known_hsm(&create.hsm)?;
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
            so_generation: new_generation(),
            user_generation: new_generation(),
            created: clock::seconds(),
            policy: create.policy,
            hsm: create.hsm.clone(),
            shown_label: String::new(),
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

    /// Forgets wrong PINs. The PINs' generations stay, and with them all tickets.
    pub(super) fn unlock_token(&self, call: &Call, unlock: &wire::UnlockToken) -> Result<Plan> {
        administrators_only(call)?;
        let access = self.access_without_ticket(call)?;
        let only = match unlock.identity.as_str() {
            "" => None,
            name => Some(self.living(name)?.uid),
        };
        let mut changes = Changes::default();
        for (key, count) in self.state.pins_of(access.token.id) {
            if only.is_none_or(|uid| uid == key.identity) {
                changes.delete_early(paths::pin(key), count.version);
            }
        }
        self.stop_holding_back(access.token.id);
        Ok(Plan::new(changes, access.answer(Some(DONE))).about(&unlock.identity))
    }

    /// Another policy. What it leaves out is refused from now on, and nothing is destroyed.
    pub(super) fn set_policy(&self, call: &Call, set: &wire::SetPolicy) -> Result<Plan> {
        administrators_only(call)?;
        known_policy(set.policy)?;
        let access = self.access_without_ticket(call)?;
        let record = TokenRecord { policy: set.policy, ..(*access.token.record).clone() };
        let mut changes = Changes::default();
        changes.put_token(&access.token, &record);
        Ok(Plan::new(changes, access.answer(Some(DONE))).about(record.policy_in_force().name()))
    }

    /// Destroys a token: its objects and its counters. What identities were
    /// given of it is theirs no more; their records are put right afterwards.
    pub(super) fn delete_token(&self, call: &Call) -> Result<Plan> {
        administrators_only(call)?;
        let token = self.access_without_ticket(call)?.token;
        let mut changes = Changes::default();
        changes.delete(paths::token(token.id), token.version);
        // An object that was made meanwhile must not stay behind.
        changes.delete(paths::revision(token.id), token.revision);
        changes.delete_any(self.label_path(&token.record.label));
        changes.delete_all(paths::objects(token.id));
        changes.delete_all(paths::pins(token.id));
        Ok(Plan::new(changes, Answer::of(DONE)).about(&token.record.label))
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
}

fn known_policy(number: i32) -> Result<()> {
    match wire::Policy::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(
            ErrorCode::ArgumentsBad,
            format!("this service does not know policy {number} of a newer version"),
        )),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_out_of_range_are_refused() {
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
