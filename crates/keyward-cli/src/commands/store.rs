//! `keyward store`: moves a store from one place to another.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use keyward_service::transfer::copy;

use crate::failure::Failure;
use crate::output;
use crate::service_config;
use crate::terminal::quote;

/// Move a store from one place to another
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    Copy(CopyArgs),
}

/// Copy the store of one configuration into the empty one of another
#[derive(Args, Debug)]
#[command(
    after_long_help = "Either may be a file or in etcd. Stop the services of both first, all replicas of them. Everything\nis read back before the destination becomes a store; one that was cut off is none, and `keyward\nserve` says so. If the second configuration names another master key, that is the copy's. The source\nstays as it is.\n\nExamples:\n  keyward store copy --from /etc/keyward/keyward.toml --to /etc/keyward/new.toml\n  keyward store copy --from /etc/keyward/keyward.toml --to /etc/keyward/etcd.toml"
)]
pub struct CopyArgs {
    /// The configuration whose store is read
    #[arg(long, value_name = "CONFIG")]
    from: PathBuf,
    /// The configuration whose store is written: not there yet, or empty
    #[arg(long, value_name = "CONFIG")]
    to: PathBuf,
    /// Delete what an attempt that was cut off has left, and begin anew
    #[arg(long)]
    resume: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl StoreCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// If the source cannot be read, or the destination is not empty.
    pub fn run(self) -> Result<()> {
        let Self::Copy(args) = self;
        let (from, to) = (service_config::load(&args.from)?, service_config::load(&args.to)?);
        let copied = copy(&from, &to, args.resume).map_err(|error| Failure::from_error(&error))?;
        if args.json {
            return output::json(&serde_json::json!({
                "from": copied.from,
                "to": copied.to,
                "entries": copied.entries,
                "other_master_key": copied.other_master_key,
            }));
        }
        let key = match copied.other_master_key {
            true => "\nIts master key is the one of the second configuration.",
            false => "",
        };
        output::print(&format!(
            "Copied {} entries, all of which open:\n  from {}\n  to   {}{key}\n\n\
             Start it, and let the old store's service never run again:\n  \
             keyward serve --config {}\n",
            copied.entries,
            copied.from,
            copied.to,
            quote(&args.to.display().to_string()),
        ))
    }
}
