//! `keyward migrate run`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keyward_migrate::run::run;
use keyward_migrate::{Access, Libraries};
use serde_json::json;

use super::access::{Secrets, failed, officers_pin};
use super::files::PlanFiles;
use super::progress::Bar;
use crate::failure::Failure;
use crate::output;
use crate::terminal::{self, quote};

/// `keyward migrate run`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Whatever ends it, run the same command again: it goes on where it was, and makes nothing twice.\nNothing is changed at the source. The exit code is 1 if an object could not be made.\n\nExamples:\n  keyward migrate run plan.toml --password-file passwords --to-pin-file pin\n  keyward migrate run plan.toml --from-pin-file old.pin --from-so-pin-file old.so-pin --jobs 8"
)]
pub struct RunArgs {
    #[command(flatten)]
    files: PlanFiles,
    /// How many objects are on the way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Where the plan's transport is trusted: the PIN of the source's security officer; - is standard
    /// input [env: KEYWARD_MIGRATE_FROM_SO_PIN]
    #[arg(long, value_name = "FILE")]
    from_so_pin_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
}

impl RunArgs {
    pub(super) fn run(self) -> Result<bool> {
        let plan = self.files.plan()?;
        let mut journal = self.files.journal()?;
        let mut libraries = Libraries::default();
        let officer = match plan.transport.as_ref().is_some_and(|transport| transport.trusted) {
            true => Some(officers_pin(self.from_so_pin_file.as_deref())?),
            false => None,
        };
        let access = officer.as_ref().map_or(Access::Read, |pin| Access::Trusting(pin));
        let (source, target) =
            self.secrets.open((&plan.source, &plan.target), &mut libraries, access)?;
        let bar = Bar::new();
        let outcome = run(&plan, &source, &target, &mut journal, self.jobs.into(), &bar);
        drop(bar);
        let outcome = outcome.map_err(failed)?;
        if self.json {
            let failed: Vec<_> = outcome
                .failed
                .iter()
                .map(|(what, why)| json!({ "what": what, "why": why }))
                .collect();
            output::json(&json!({
                "made": outcome.made,
                "there": outcome.there,
                "failed": failed,
                "stopped": outcome.stopped.as_ref().map(ToString::to_string),
            }))?;
        }
        let there = match outcome.there {
            0 => String::new(),
            there => format!(", {there} were there from before"),
        };
        terminal::note(&format!("{} objects made{there}", outcome.made));
        if let Some(error) = outcome.stopped {
            let failure = Failure::new(format!("the run stopped: {error}"));
            return Err(failure
                .hint(error.next_step().unwrap_or("run it again: it goes on where it was"))
                .into());
        }
        if !outcome.failed.is_empty() {
            let n = outcome.failed.len();
            terminal::note(&format!("{n} could not be made; the others are there"));
            return Ok(false);
        }
        terminal::hint(&format!(
            "prove it: keyward migrate verify {} --signing-key KEY --out manifest.json",
            quote(&self.files.path().display().to_string())
        ));
        Ok(true)
    }
}
