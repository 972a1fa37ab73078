//! `keyward init`: makes a service.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keyward_service::init::{Options, Report, init};

use crate::failure::Failure;
use crate::output;
use crate::terminal::quote;

/// Make a new service: its configuration, keys, store and administrator
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  keyward init --dir /etc/keyward --listen 10.0.0.5:7512 --san keyward.example.org"
)]
pub struct InitArgs {
    /// The service's folder: empty, or not there yet
    #[arg(long)]
    dir: PathBuf,
    /// The address to accept connections on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7512")]
    listen: SocketAddr,
    /// A name or address that clients reach the service by, for its certificate
    #[arg(long = "san", value_name = "NAME|IP")]
    sans: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl InitArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If the folder is in use or cannot be written.
    pub fn run(self) -> Result<()> {
        let report = make(self.dir, self.listen, self.sans)?;
        let shown = |path: &PathBuf| path.display().to_string();
        if self.json {
            return output::json(&serde_json::json!({
                "config": shown(&report.config),
                "authority": shown(&report.authority),
                "certificate": shown(&report.certificate),
                "private_key": shown(&report.private_key),
                "master_key": shown(&report.master_key),
                "data": shown(&report.data),
                "admin_config": shown(&report.admin_config),
            }));
        }
        output::print("Made a service:\n")?;
        output::pairs(&[
            ("  configuration", shown(&report.config)),
            ("  authority", shown(&report.authority)),
            ("  server certificate", shown(&report.certificate)),
            ("  store", shown(&report.data)),
            ("  master key", format!("{} (keep a copy elsewhere)", shown(&report.master_key))),
            ("  administrator", shown(&report.admin_config)),
        ])?;
        output::print(&format!(
            "\nStart it, and make a token:\n  keyward serve --config {}\n  \
             keyward token create --label dev --admin {}\n",
            quote(&shown(&report.config)),
            quote(&shown(&report.admin_config)),
        ))
    }
}

/// Makes a service.
///
/// # Errors
/// If the folder is in use or cannot be written.
pub fn make(dir: PathBuf, listen: SocketAddr, sans: Vec<String>) -> Result<Report, Failure> {
    let options = Options { dir, listen, sans, admin_name: "admin".to_owned() };
    init(&options).map_err(|error| Failure::from_error(&error))
}
