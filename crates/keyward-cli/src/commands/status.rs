//! `keyward status`: what the service has done since it started.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{HsmStatus, Status, StatusResult, StoreMember, StoreStatus};
use serde::Serialize;

use crate::admin::{Admin, AdminArgs};
use crate::output::{self, Table};

/// Show what the service has done since it started
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  keyward status --json | jq '.tokens[] | {token, operations}'"
)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl StatusArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let status = admin.one("", Operation::Status(Status {}), |answer| match answer {
            Answer::Status(status) => Some(StatusView::from(status)),
            _ => None,
        })?;
        if self.json {
            return output::json(&status);
        }
        let requests = format!(
            "{}, {} waiting now, {} told to come later",
            status.requests, status.waiting, status.put_off
        );
        let mut lines = vec![
            ("Service", admin.config().endpoints.join(", ")),
            ("Software", status.software.clone()),
            ("Process", status.process_id.to_string()),
            ("Up", duration(status.uptime_seconds)),
            ("Store", status.store_line()),
        ];
        for member in &status.store_status.members {
            let state = member.trouble.as_deref().unwrap_or("answers");
            lines.push(("  member", format!("{}: {state}", member.endpoint)));
        }
        for hsm in &status.hsms {
            lines.push(("HSM", hsm.line()));
        }
        lines.extend([
            ("Connections", format!("{} now, {} accepted", status.connections, status.accepted)),
            ("Requests", requests),
        ]);
        output::pairs(&lines)?;
        let mut table = Table::new(["TOKEN", "OPERATION", "COUNT", "FAILED"]);
        for token in &status.tokens {
            for (operation, counts) in &token.operations {
                table.row([
                    if token.token.is_empty() { "-" } else { &token.token }.to_owned(),
                    operation.clone(),
                    counts.count.to_string(),
                    counts.failed.to_string(),
                ]);
            }
        }
        output::print("\n")?;
        table.print("no operation yet")
    }
}

/// The status as `--json` shows it.
#[derive(Serialize)]
struct StatusView {
    software: String,
    uptime_seconds: u64,
    process_id: u32,
    connections: u32,
    requests: u64,
    accepted: u64,
    store: String,
    /// Empty: the store takes changes.
    store_trouble: String,
    store_status: StoreView,
    waiting: u32,
    put_off: u64,
    tokens: Vec<TokenCounts>,
    hsms: Vec<HsmView>,
}

#[derive(Serialize)]
struct StoreView {
    members: Vec<MemberView>,
    sequence: u64,
    lag_ms: u64,
}

#[derive(Serialize)]
struct MemberView {
    endpoint: String,
    /// Why it did not answer the last time.
    trouble: Option<String>,
}

#[derive(Serialize)]
struct HsmView {
    name: String,
    /// Of the token in it; empty before it was there once.
    label: String,
    serial: String,
    model: String,
    /// Why it cannot be asked; empty: it can.
    trouble: String,
    /// How often its library was started.
    starts: u64,
}

impl From<HsmStatus> for HsmView {
    fn from(hsm: HsmStatus) -> Self {
        let HsmStatus { name, trouble, label, serial, model, starts } = hsm;
        Self { name, label, serial, model, trouble, starts }
    }
}

impl HsmView {
    fn line(&self) -> String {
        let token = match self.label.as_str() {
            "" => String::new(),
            label => format!(" (token {label:?}, serial number {})", self.serial),
        };
        let state = match self.trouble.as_str() {
            "" => "answers",
            trouble => trouble,
        };
        format!("{}{token}: {state}", self.name)
    }
}

#[derive(Serialize)]
struct TokenCounts {
    /// Empty: what concerned no token.
    token: String,
    operations: BTreeMap<String, Counts>,
}

#[derive(Serialize)]
struct Counts {
    count: u64,
    failed: u64,
}

impl From<StatusResult> for StatusView {
    fn from(status: StatusResult) -> Self {
        let counts = |token: keyward_wire::TokenStatus| TokenCounts {
            token: token.token,
            operations: token
                .operations
                .into_iter()
                .map(|it| (it.operation, Counts { count: it.count, failed: it.failed }))
                .collect(),
        };
        Self {
            software: status.software,
            uptime_seconds: status.uptime_seconds,
            process_id: status.process_id,
            connections: status.connections,
            requests: status.requests,
            accepted: status.accepted,
            store: status.store,
            store_trouble: status.store_trouble,
            store_status: status.store_status.unwrap_or_default().into(),
            waiting: status.waiting,
            put_off: status.put_off,
            tokens: status.tokens.into_iter().map(counts).collect(),
            hsms: status.hsms.into_iter().map(HsmView::from).collect(),
        }
    }
}

impl StatusView {
    /// The store's name, and what there is to say of it.
    fn store_line(&self) -> String {
        match (self.store_trouble.as_str(), self.store_status.lag_ms) {
            ("", 1_000..) => format!("{}, {} ms behind", self.store, self.store_status.lag_ms),
            ("", _) => self.store.clone(),
            (trouble, _) => format!("{}, takes no changes: {trouble}", self.store),
        }
    }
}

impl From<StoreStatus> for StoreView {
    fn from(status: StoreStatus) -> Self {
        let told = |text: String| (!text.is_empty()).then_some(text);
        let member = |member: StoreMember| MemberView {
            endpoint: member.endpoint,
            trouble: told(member.trouble),
        };
        Self {
            members: status.members.into_iter().map(member).collect(),
            sequence: status.sequence,
            lag_ms: status.lag_ms,
        }
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        for (seconds, text) in
            [(5, "5 s"), (65, "1 min 5 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
