//! `keyward man`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};

use crate::Cli;

/// Write the man pages, one for each command
#[derive(Args, Debug)]
#[command(after_long_help = "Example:\n  keyward man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder, made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl ManArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn run(self) -> Result<()> {
        let shown = self.out.display();
        fs::create_dir_all(&self.out).with_context(|| format!("{shown} cannot be made"))?;
        clap_mangen::generate_to(Cli::command(), &self.out)
            .with_context(|| format!("{shown} cannot be written"))
    }
}
