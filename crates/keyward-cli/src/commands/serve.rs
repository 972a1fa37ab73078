//! `keyward serve`: runs the service in the foreground.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use keyward_service::ServeError;
use keyward_service::config::{Config, LogFormat};
use keyward_service::master::MasterKeyError;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::service_config;

/// Run the service in the foreground
#[derive(Args, Debug)]
#[command(
    after_long_help = "SIGTERM and SIGINT let what is under way finish, then end the service.\n\nExample:\n  keyward serve --config /etc/keyward/keyward.toml"
)]
pub struct ServeArgs {
    /// The service's configuration
    #[arg(long, value_name = "FILE", default_value = service_config::PATH)]
    config: PathBuf,
    /// What is logged: error, warn, info, debug, trace, or a filter such as keyward_service=debug
    #[arg(long, value_name = "LEVEL", env = "KEYWARD_LOG")]
    log: Option<String>,
    /// How a line of the log looks [default: as the configuration says, else text]
    #[arg(long, value_enum)]
    log_format: Option<Format>,
    /// End when standard input does: the parent is gone
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
    /// Write a line to standard output when ready
    #[arg(long, hide = true)]
    announce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

impl ServeArgs {
    /// Runs the command until the service is told to stop.
    ///
    /// # Errors
    /// If the configuration, the store or the address cannot be used.
    pub fn run(self) -> Result<()> {
        let config = service_config::load(&self.config)?;
        self.start_log(&config)?;
        if self.exit_with_stdin {
            end_with_stdin();
        }
        allow_files();
        let announce = self.announce;
        keyward_service::run(config, move |address| ready(address, announce))
            .map_err(|error| failure(&error))?;
        Ok(())
    }

    fn start_log(&self, config: &Config) -> Result<()> {
        let filter = match self.log.as_deref().filter(|filter| !filter.is_empty()) {
            Some(filter) => filter,
            None if config.log.filter.is_empty() => "info",
            None => &config.log.filter,
        };
        let filter = EnvFilter::try_new(filter).map_err(|error| {
            Failure::new(format!("the log filter {filter:?} is wrong: {error}"))
                .hint("it is a level (error, warn, info, debug, trace) or as keyward_service=debug")
        })?;
        let json = match self.log_format {
            Some(format) => format == Format::Json,
            None => config.log.format == LogFormat::Json,
        };
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        let started = if json { log.json().try_init() } else { log.try_init() };
        started.map_err(|error| anyhow::anyhow!("{error}")).context("the log cannot be started")
    }
}

fn failure(error: &ServeError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        // Each start is a try that counts at the token, until that is locked.
        ServeError::MasterKey(MasterKeyError::PinRefused { .. }) => failure.with_code(CONFIG),
        _ => failure,
    }
}

/// EX_CONFIG of sysexits.h, for RestartPreventExitStatus= of systemd.
const CONFIG: u8 = 78;

/// Tells whoever waits for it that the service takes connections.
fn ready(address: SocketAddr, announce: bool) {
    if announce {
        let mut stdout = io::stdout().lock();
        // Whoever asked for the line and went away does without it.
        let _ = writeln!(stdout, "{READY} {address}").and_then(|()| stdout.flush());
    }
    if let Err(error) = tell_systemd() {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// What `--announce` writes before the address.
pub const READY: &str = "ready";

/// The message of sd_notify(3), for units of Type=notify.
fn tell_systemd() -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => net::SocketAddr::from_abstract_name(name)?,
        _ => net::SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(|_| ())
}

/// Takes as many files as may be had: each connection is one, and a usual limit
/// is less than the connections that a service allows.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    // Without it there are as many as there were.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Has the service stop as after SIGTERM when standard input ends.
fn end_with_stdin() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = kill_process(getpid(), Signal::TERM);
    });
}
