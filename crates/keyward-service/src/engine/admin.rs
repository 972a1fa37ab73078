//! What only administrators may do, and the service's own state.

use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::{Answer, Call, Engine};
use crate::SOFTWARE;

impl Engine {
    pub(super) fn status(&self, call: &Call) -> Result<Answer> {
        administrators_only(call)?;
        let label = |token| self.state.token(token).map(|token| token.record.label.clone());
        let health = self.store.health();
        let members = health.members.into_iter().map(|member| wire::StoreMember {
            endpoint: member.endpoint,
            trouble: member.trouble.unwrap_or_default(),
        });
        let store_status = wire::StoreStatus {
            members: members.collect(),
            sequence: self.state.sequence(),
            lag_ms: u64::try_from(health.lag.as_millis()).unwrap_or(u64::MAX),
        };
        Ok(Answer::of(Answered::Status(wire::StatusResult {
            software: SOFTWARE.to_owned(),
            uptime_seconds: self.counters.uptime(),
            process_id: std::process::id(),
            connections: self.connected.all(),
            requests: self.counters.requests(),
            accepted: self.connected.accepted(),
            store: self.store.name().to_owned(),
            tokens: self.counters.status(label),
            store_trouble: health.trouble.unwrap_or_default(),
            store_status: Some(store_status),
            waiting: self.workers.waiting(),
            put_off: self.counters.put_off(),
            hsms: self.hsms.status(),
        })))
    }
}

/// Refuses who is no administrator.
pub(super) fn administrators_only(call: &Call) -> Result<()> {
    if call.identity.record.administrator {
        return Ok(());
    }
    Err(Error::new(ErrorCode::NotPermitted, "this identity is no administrator"))
}
