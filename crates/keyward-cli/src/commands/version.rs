//! `keyward version`.

use anyhow::Result;
use clap::Args;

use crate::output;

/// Print the version
#[derive(Args, Debug)]
#[command(after_long_help = "Example:\n  keyward version --json")]
pub struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl VersionArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn run(self) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            return output::json(&serde_json::json!({ "software": "keyward", "version": version }));
        }
        output::print(&format!("keyward {version}\n"))
    }
}
