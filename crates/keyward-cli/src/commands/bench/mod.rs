//! `keyward bench`: how fast a service is, beside the least that it could take.

mod login;
mod measure;
mod sign;

use anyhow::Result;
use clap::Subcommand;

use self::login::Login;
use self::sign::Sign;

/// How fast the service is
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Sign with a key, over and over, on one connection for each thread
    #[command(
        after_long_help = "Each thread has a connection of its own and asks again when it has its answer. A round\ntrip without a signature is measured in turns with it, and a signature of the same kind\nin this process: their sum is the least that it could take.\n\nExample:\n  keyward bench sign --token node1 node1 --threads 16 --seconds 10"
    )]
    Sign(Sign),
    /// Connect and log in with a PIN, all at the same moment
    #[command(
        after_long_help = "As nodes do that start together: a TLS handshake, the PIN, the whole catalogue.\n\nExample:\n  keyward bench login --token node1 --clients 200 --pin-file pin"
    )]
    Login(Login),
}

impl BenchCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What the service said, or what is wrong with the input.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Sign(args) => args.run(),
            Self::Login(args) => args.run(),
        }
    }
}
