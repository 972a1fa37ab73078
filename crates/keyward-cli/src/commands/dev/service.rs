//! The service as a child process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::commands::dev::supervise::Signals;
use crate::commands::serve::READY;
use crate::failure::Failure;
use crate::terminal;

/// A service that runs in a process of its own and ends when this one does.
pub struct Service {
    child: Child,
    /// The service stops when this end of the pipe is closed, however that
    /// comes about.
    _life: Option<ChildStdin>,
}

/// How long the service may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to stop: somewhat more than its own `drain_ms`.
const STOPPED_WITHIN: Duration = Duration::from_secs(12);

/// So many lines of its log are shown when it fails without a sentence.
const LINES: usize = 20;

impl Service {
    /// Starts the service of `dir` and waits until it is ready.
    ///
    /// # Errors
    /// If it ends before, takes too long, or a signal comes meanwhile. It does
    /// not run then.
    pub async fn start(dir: &Path, signals: &mut Signals) -> Result<Self> {
        let log = Log::open(dir.join("service.log"))?;
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let mut child = Command::new(program)
            .args(["serve", "--exit-with-stdin", "--announce", "--config"])
            .arg(dir.join("keyward.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.file.try_clone()?)
            // The terminal's signals are for COMMAND; the service outlives it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("the service cannot be started")?;
        let life = child.stdin.take();
        let stdout = child.stdout.take().context("the service has no standard output")?;
        let mut service = Self { child, _life: life };
        let mut line = String::new();
        let mut announcement = BufReader::new(stdout);
        tokio::select! {
            read = timeout(READY_WITHIN, announcement.read_line(&mut line)) => match read {
                Ok(_) if line.starts_with(READY) => Ok(service),
                Ok(_) => {
                    let status = service.child.wait().await?;
                    Err(log.why(&format!("it ended with {status}")).into())
                }
                Err(_) => {
                    service.kill().await;
                    let limit = READY_WITHIN.as_secs();
                    Err(log.why(&format!("it was not ready within {limit} s")).into())
                }
            },
            _ = signals.next() => {
                service.stop(signals).await;
                Err(Failure::new("interrupted before the service was ready").into())
            }
        }
    }

    /// Its process id, as long as it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Lets it finish what is under way; kills it when that takes too long or
    /// another signal comes.
    pub async fn stop(&mut self, signals: &mut Signals) {
        let Some(pid) = self.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
            return;
        };
        let _ = kill_process(pid, Signal::TERM);
        let stopped = tokio::select! {
            ended = timeout(STOPPED_WITHIN, self.child.wait()) => ended.is_ok(),
            _ = signals.next() => false,
        };
        if !stopped {
            terminal::warning("the service did not stop in time and is killed");
            self.kill().await;
        }
    }

    async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            terminal::warning(&format!("the service cannot be killed: {error}"));
        }
    }
}

/// The service's log, from where it stood when the service was started.
struct Log {
    path: PathBuf,
    file: File,
    start: u64,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let start = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Ok(Self { path, file, start })
    }

    /// Why the service did not start: by its own words, if it had any.
    fn why(&self, otherwise: &str) -> Failure {
        let text = self.read().unwrap_or_default();
        let said = |prefix: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
        };
        let sentences = said("keyward: error: ");
        let Some(sentence) = sentences.last() else {
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                eprintln!("{line}");
            }
            return Failure::new(format!("the service did not start: {otherwise}"))
                .hint(format!("its log is {}", self.path.display()));
        };
        said("keyward: hint: ")
            .into_iter()
            .fold(Failure::new(format!("the service did not start: {sentence}")), Failure::hint)
    }

    fn read(&self) -> Result<String> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
