//! `keyward migrate rollback` and `remove-source`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keyward_migrate::journal::State;
use keyward_migrate::manifest::Manifest;
use keyward_migrate::rollback::{Removed, remove_at_source, rollback};
use keyward_migrate::{Access, Libraries};

use super::access::{SourceSecrets, TargetSecrets, failed};
use super::files::PlanFiles;
use super::progress::Bar;
use crate::terminal;

/// `keyward migrate rollback`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Only what the journal says that this plan's run made is removed; the source is not needed and\nnot changed.\n\nExample:\n  keyward migrate rollback plan.toml --to-pin-file pin"
)]
pub struct RollbackArgs {
    #[command(flatten)]
    files: PlanFiles,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: TargetSecrets,
}

impl RollbackArgs {
    pub(super) fn run(self) -> Result<bool> {
        let plan = self.files.plan()?;
        let mut journal = self.files.journal()?;
        let mut libraries = Libraries::default();
        let target = self.target.open(&plan.target, &mut libraries)?;
        let made = State::of(journal.entries()).made.len();
        terminal::confirm(&format!("Remove {made} objects from {}?", plan.target), self.yes)?;
        let bar = Bar::new();
        let outcome = rollback(&plan, None, &target, &mut journal, &bar);
        drop(bar);
        Ok(tell(&outcome.map_err(failed)?, "the target"))
    }
}

/// `keyward migrate remove-source`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "The last step, and one that cannot be taken back: what the manifest proves to be in the target is\ndestroyed in the source token. Files are never removed.\n\nExample:\n  keyward migrate remove-source plan.toml --manifest manifest.json --public-key migration.pub \\\n      --from-pin-file old.pin"
)]
pub struct RemoveSourceArgs {
    #[command(flatten)]
    files: PlanFiles,
    /// The proof
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// The public key of who signed it, in PEM
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    secrets: SourceSecrets,
}

impl RemoveSourceArgs {
    pub(super) fn run(self) -> Result<bool> {
        let plan = self.files.plan()?;
        let manifest = Manifest::check(&self.manifest, &self.public_key).map_err(failed)?;
        let mut journal = self.files.journal()?;
        let mut libraries = Libraries::default();
        let source = self.secrets.open(&plan.source, &mut libraries, Access::Write)?;
        let proved = manifest.objects.iter().filter(|proof| proof.verdict.is_good()).count();
        let question = format!("Destroy {proved} objects in {}?", plan.source.join(" "));
        terminal::confirm(&question, self.yes)?;
        let bar = Bar::new();
        let outcome = remove_at_source(&plan, &manifest, &source, &mut journal, &bar);
        drop(bar);
        Ok(tell(&outcome.map_err(failed)?, "the source"))
    }
}

fn tell(outcome: &Removed, place: &str) -> bool {
    let gone = match outcome.gone {
        0 => String::new(),
        gone => format!(", {gone} were not there any more"),
    };
    terminal::note(&format!("{} objects removed from {place}{gone}", outcome.removed));
    if !outcome.failed.is_empty() {
        terminal::note(&format!("{} could not be removed", outcome.failed.len()));
    }
    outcome.failed.is_empty()
}
