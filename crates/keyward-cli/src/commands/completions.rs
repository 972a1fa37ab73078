//! `keyward completions`.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::output;

/// Print the completions of a shell
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  keyward completions bash > /usr/share/bash-completion/completions/keyward"
)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keyward", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
