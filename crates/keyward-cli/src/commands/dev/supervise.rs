//! Runs COMMAND, passes signals on, and waits.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};

use crate::commands::dev::service::Service;
use crate::terminal;

/// The signals that end a program, as they come.
pub struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// From now on these signals no longer end this program by themselves.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> Result<Self> {
        let listen = |kind| unix::signal(kind).context("signals cannot be received");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}

/// Runs COMMAND to its end. The service may end before: COMMAND may have killed
/// it to see what happens.
///
/// # Errors
/// What the system says.
pub async fn command(
    program: &OsStr,
    arguments: &[OsString],
    variables: &[(&'static str, OsString)],
    service: &mut Service,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let spawned = Command::new(program).args(arguments).envs(variables.iter().cloned()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let (code, what) = match error.kind() {
                io::ErrorKind::NotFound => (NOT_FOUND, "command not found".to_owned()),
                _ => (NOT_EXECUTABLE, error.to_string()),
            };
            eprintln!("keyward: error: {}: {what}", program.display());
            return Ok(ExitCode::from(code));
        }
    };
    let mut service_runs = true;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            // Collected at once, so that its process id is free for all to see.
            _ = service.ended(), if service_runs => service_runs = false,
            signal = signals.next() => pass_on(signal, &child),
        }
    }
}

/// Waits for a signal.
///
/// # Errors
/// None.
pub async fn until_interrupted(service: &mut Service, signals: &mut Signals) -> Result<ExitCode> {
    tokio::select! {
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
        status = service.ended() => {
            let status = status.map(|status| status.to_string()).unwrap_or_default();
            terminal::warning(&format!("the service has ended ({status}); it is not started again"));
        }
    }
    signals.next().await;
    Ok(ExitCode::SUCCESS)
}

/// What a terminal sends goes to the whole foreground group, COMMAND included;
/// everything else came to this process alone.
fn pass_on(signal: Signal, child: &Child) {
    if matches!(signal, Signal::INT | Signal::QUIT) && is_in_foreground() {
        return;
    }
    // The child was not waited for yet: the id is still its own.
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let _ = kill_process(pid, signal);
    }
}

fn is_in_foreground() -> bool {
    File::open("/dev/tty")
        .ok()
        .and_then(|terminal| tcgetpgrp(&terminal).ok())
        .is_some_and(|group| group == getpgrp())
}

/// As a shell tells it: 128 and the signal's number for what a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// What a shell says of a command that is not there.
const NOT_FOUND: u8 = 127;
/// What a shell says of a command that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
