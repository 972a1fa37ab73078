//! The plan that a command is about, and the journal beside it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use keyward_migrate::journal::{Entry, Journal};
use keyward_migrate::plan::Plan;

use super::access::failed;

/// What a plan's commands have in common.
#[derive(Args, Debug)]
pub struct PlanFiles {
    /// The plan
    plan: PathBuf,
    /// What was done [default: the plan's name and .journal]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl PlanFiles {
    /// Where the plan is.
    pub fn path(&self) -> &Path {
        &self.plan
    }

    /// # Errors
    /// As [`Plan::read`].
    pub fn plan(&self) -> Result<Plan> {
        Plan::read(&self.plan).map_err(failed)
    }

    /// The journal, to be written.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn journal(&self) -> Result<Journal> {
        Journal::open(&self.journal_path()).map_err(failed)
    }

    /// What the journal says.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn entries(&self) -> Result<Vec<Entry>> {
        Journal::read(&self.journal_path()).map_err(failed)
    }

    fn journal_path(&self) -> PathBuf {
        self.journal.clone().unwrap_or_else(|| {
            let mut name = self.plan.as_os_str().to_owned();
            name.push(".journal");
            name.into()
        })
    }
}
