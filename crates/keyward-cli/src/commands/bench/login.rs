//! `keyward bench login`.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Args;
use keyward_wire::request::Operation;
use keyward_wire::{self as wire};
use serde::Serialize;

use super::measure::{Latencies, Samples, hundredth, milliseconds, processor_time};
use super::sign::latencies;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output;
use crate::terminal::PinSource;

/// `keyward bench login`.
#[derive(Args, Debug)]
pub struct Login {
    /// The token's label
    #[arg(long)]
    token: String,
    /// Clients, each with a connection of its own
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=2048))]
    clients: u16,
    /// A file with the user PIN; -: standard input [default: KEYWARD_PIN, or be asked]
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What was measured, as `--json` shows it.
#[derive(Serialize)]
struct Report {
    token: String,
    clients: u16,
    logins: usize,
    failed: u64,
    /// From the first connection to the last answer.
    all_ms: f64,
    #[serde(flatten)]
    latencies: Latencies,
    /// A call fails when it has taken so long.
    deadline_ms: u64,
    /// The share of one processor that this program used.
    generator_cpu: f64,
    failures: Vec<String>,
}

impl Login {
    pub(super) fn run(self) -> Result<()> {
        let pin = PinSource {
            name: "user PIN",
            flag: ("", None),
            file: ("--pin-file", self.pin_file.as_deref()),
            variable: Some("KEYWARD_PIN"),
            twice: false,
        }
        .read()?;
        let admin = Admin::open(&self.admin)?;
        let login = || {
            Operation::Login(wire::Login {
                user_type: wire::UserType::User.into(),
                pin: Some(pin.as_bytes().to_vec()),
                want_catalogue: true,
                ..wire::Login::default()
            })
        };
        // A wrong PIN is tried once.
        admin.done(&self.token, login())?;

        let clients = usize::from(self.clients);
        let start = Barrier::new(clients + 1);
        let mut samples = Samples::default();
        let before = processor_time();
        let mut began = Instant::now();
        thread::scope(|scope| -> Result<()> {
            let opened: Result<Vec<_>> = (0..clients).map(|_| Admin::open(&self.admin)).collect();
            let mut running = Vec::new();
            for client in opened? {
                let (start, token, login) = (&start, &self.token, login());
                running.push(scope.spawn(move || {
                    start.wait();
                    let began = Instant::now();
                    let mut own = Samples::default();
                    let result = client.done(token, login);
                    own.add(result, began.elapsed());
                    own
                }));
            }
            start.wait();
            began = Instant::now();
            for thread in running {
                samples.join(thread.join().map_err(|_| anyhow!("a thread panicked"))?);
            }
            Ok(())
        })?;
        let elapsed = began.elapsed();
        let used = processor_time().saturating_sub(before);
        let report = Report {
            token: self.token,
            clients: self.clients,
            logins: samples.count(),
            failed: samples.failed(),
            all_ms: milliseconds(elapsed),
            latencies: samples.latencies(),
            deadline_ms: admin.config().deadlines.call_ms,
            generator_cpu: hundredth(used.as_secs_f64() / elapsed.as_secs_f64()),
            failures: samples
                .failures()
                .iter()
                .map(|(text, count)| format!("{count} times: {text}"))
                .collect(),
        };
        report.print(self.json)
    }
}

impl Report {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            output::json(self)?;
        } else {
            output::pairs(&[
                ("Token", self.token.clone()),
                (
                    "Logins",
                    format!("{} in {} ms, {} failed", self.logins, self.all_ms, self.failed),
                ),
                ("Latency", latencies(&self.latencies)),
                ("Deadline", format!("{} ms", self.deadline_ms)),
                ("This program", format!("{} of a processor", self.generator_cpu)),
            ])?;
        }
        match self.failures.first() {
            None => Ok(()),
            Some(first) => {
                Err(Failure::new(format!("{} logins failed, {first}", self.failed)).into())
            }
        }
    }
}
