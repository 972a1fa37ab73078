//! Who starts the worker, gives it work, ends it when it hangs, and starts it
//! again.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_wire::{self as wire, Error, ErrorCode, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use zeroize::Zeroizing;

use crate::Abilities;
use crate::config::{HsmConfig, ReadPin};
use crate::protocol::{self, Done, Lost, Open, Outcome, Ready, Task, Work};

/// How an HSM is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// Whether it can be asked.
    pub ready: bool,
    /// Why not, if it cannot be asked.
    pub trouble: Option<String>,
    /// It did not take the PIN, and is not asked again before that is another.
    pub pin_refused: bool,
    /// Label, serial number and model of the token, once it was there.
    pub token: Option<(String, String, String)>,
    /// What it can do, once it was there.
    pub abilities: Option<Arc<Abilities>>,
    /// How often the worker was started.
    pub starts: u64,
}

/// What somebody waits for.
pub(crate) struct Job {
    pub(crate) key: Option<wire::Attributes>,
    pub(crate) work: Work,
    /// Nobody waits for the answer after this.
    pub(crate) deadline: Instant,
    /// The worker hangs if it takes longer.
    pub(crate) limit: Duration,
    pub(crate) answer: oneshot::Sender<Result<Done>>,
}

impl Job {
    /// Whether it does no harm to do it twice.
    fn may_be_repeated(&self) -> bool {
        !matches!(
            self.work,
            Work::GenerateKeyPair(_) | Work::GenerateKey(_) | Work::Create(_) | Work::Unwrap(_)
        )
    }

    fn is_over(&self) -> bool {
        self.answer.is_closed() || Instant::now() >= self.deadline
    }
}

pub(crate) struct Supervisor {
    config: HsmConfig,
    /// The program that is the worker, with its arguments.
    program: Vec<OsString>,
    read_pin: ReadPin,
    jobs: mpsc::Receiver<Job>,
    status: watch::Sender<Status>,
    waiting: VecDeque<Job>,
    worker: Option<Worker>,
    /// Since when it cannot be asked.
    away: Instant,
    pause: Duration,
    next_start: Instant,
    /// The PIN that the token did not take.
    refused: Option<Zeroizing<String>>,
    last_id: u64,
}

/// A worker that runs.
struct Worker {
    child: Child,
    tasks: mpsc::UnboundedSender<Zeroizing<Vec<u8>>>,
    outcomes: mpsc::Receiver<Outcome>,
    under_way: HashMap<u64, (Job, Instant)>,
    pin: Zeroizing<String>,
    /// The library is loaded, and all sessions are open.
    ready: bool,
    /// When it was started.
    started: Instant,
}

impl Supervisor {
    pub(crate) fn new(
        config: HsmConfig,
        program: Vec<OsString>,
        read_pin: ReadPin,
        jobs: mpsc::Receiver<Job>,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        Self {
            config,
            program,
            read_pin,
            jobs,
            status,
            waiting: VecDeque::new(),
            worker: None,
            away: now,
            pause: FIRST_PAUSE,
            next_start: now,
            refused: None,
            last_id: 0,
        }
    }

    /// Works until nobody is left who could ask.
    pub(crate) async fn run(mut self) {
        loop {
            if self.worker.is_none() && Instant::now() >= self.next_start {
                self.start();
            }
            self.hand_out();
            let next = self.next_event();
            let Self { jobs, worker, .. } = &mut self;
            let outcome = async {
                match worker {
                    Some(worker) => worker.outcomes.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => self.take(job),
                    None => break,
                },
                outcome = outcome => match outcome {
                    Some(outcome) => self.settle(outcome),
                    None => self.lose(gone("the worker ended by itself; did the library crash?")),
                },
                () = sleep_until(next.into()) => self.look(),
            }
        }
        if let Some(mut worker) = self.worker.take() {
            // Its input ends, and then it does.
            drop(worker.tasks);
            if tokio::time::timeout(FAREWELL, worker.child.wait()).await.is_err() {
                let _ = worker.child.kill().await;
            }
        }
    }

    /// Starts a worker.
    fn start(&mut self) {
        let started = Instant::now();
        let pin = match (self.read_pin)(&self.config.pin) {
            Ok(pin) => pin,
            Err(why) => return self.lose(gone(why)),
        };
        if let Some(refused) = &self.refused {
            if *refused == pin {
                // Each try with it counts at the token.
                self.next_start = started + LONGEST_PAUSE;
                return;
            }
            self.refused = None;
        }
        let worker = Worker::start(&self.config, &self.program, pin);
        self.status.send_modify(|status| status.starts += 1);
        match worker {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => self.lose(gone(format!("the worker cannot be started: {error}"))),
        }
    }

    fn take(&mut self, job: Job) {
        if self.is_long_away() {
            let _ = job.answer.send(Err(self.away()));
        } else if self.waiting.len() >= MOST_WAITING {
            let _ = job.answer.send(Err(later("too much waits for the HSM", SOON)));
        } else {
            self.waiting.push_back(job);
        }
    }

    /// Gives the worker as much work as it has sessions.
    fn hand_out(&mut self) {
        let Some(worker) = self.worker.as_mut().filter(|worker| worker.ready) else { return };
        while worker.under_way.len() < self.config.sessions {
            let Some(mut job) = self.waiting.pop_front() else { return };
            if job.is_over() {
                continue;
            }
            self.last_id += 1;
            let frame = protocol::frame_once(Task {
                id: self.last_id,
                key: job.key.clone(),
                work: Some(job.work.clone()),
            });
            if !job.may_be_repeated() {
                job.work.wipe();
            }
            match frame {
                Ok(frame) => {
                    // If it is gone, its outcomes end too.
                    let _ = worker.tasks.send(frame);
                    worker.under_way.insert(self.last_id, (job, Instant::now()));
                }
                Err(error) => {
                    let error = Error::new(ErrorCode::DataLenRange, error.to_string());
                    let _ = job.answer.send(Err(error));
                }
            }
        }
    }

    fn settle(&mut self, Outcome { id, done }: Outcome) {
        match done {
            Some(Done::Ready(ready)) => self.greet(&ready),
            Some(Done::Lost(lost)) => self.lose(lost),
            None => self.lose(gone("the worker said nothing that makes sense")),
            Some(done) => {
                let job = self.worker.as_mut().and_then(|worker| worker.under_way.remove(&id));
                if let Some((job, _)) = job {
                    let answer = match done {
                        Done::Failure(failure) => Err(failure.into()),
                        done => Ok(done),
                    };
                    let _ = job.answer.send(answer);
                }
            }
        }
    }

    fn greet(&mut self, ready: &Ready) {
        if let Some(worker) = &mut self.worker {
            worker.ready = true;
        }
        self.pause = FIRST_PAUSE;
        tracing::info!(
            hsm = self.config.name,
            label = ready.label,
            serial = ready.serial,
            model = ready.model,
            sessions = self.config.sessions,
            "the HSM is there"
        );
        let token = (ready.label.clone(), ready.serial.clone(), ready.model.clone());
        self.status.send_modify(|status| {
            status.ready = true;
            status.trouble = None;
            status.pin_refused = false;
            status.token = Some(token);
            status.abilities = Some(Arc::new(Abilities::new(ready)));
        });
    }

    /// Ends the worker, if there is one; what may be repeated waits for the
    /// next.
    fn lose(&mut self, lost: Lost) {
        let now = Instant::now();
        let was_ready = self.status.borrow().ready;
        if was_ready {
            self.away = now;
        }
        tracing::warn!(hsm = self.config.name, why = lost.why, "the HSM cannot be asked");
        self.status.send_modify(|status| {
            status.ready = false;
            status.trouble = Some(lost.why.clone());
            status.pin_refused = lost.pin;
        });
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.child.start_kill();
            if lost.pin {
                self.refused = Some(worker.pin.clone());
            }
            let mut under_way: Vec<_> = worker.under_way.drain().collect();
            under_way.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
            for (_, (job, _)) in under_way {
                if job.may_be_repeated() {
                    self.waiting.push_front(job);
                } else {
                    let _ = job.answer.send(Err(later(
                        "the HSM was lost while it made a key; whether it is there is not known",
                        SOON,
                    )));
                }
            }
            // It is waited for, so that nothing of it stays.
            tokio::spawn(async move { worker.child.wait().await });
        }
        self.next_start = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.look();
    }

    /// Ends what takes too long, and answers what waits in vain.
    fn look(&mut self) {
        let now = Instant::now();
        if let Some(worker) = &self.worker {
            let why = if !worker.ready && now >= worker.started + self.config.start() {
                Some(format!("the library did not start within {} ms", self.config.start_ms))
            } else {
                let hangs =
                    worker.under_way.values().find(|(job, since)| now >= *since + job.limit);
                hangs.map(|(job, _)| format!("a call hung for {} ms", job.limit.as_millis()))
            };
            if let Some(why) = why {
                if worker.ready {
                    self.drop_hanging(now);
                }
                return self.lose(gone(why));
            }
        }
        if self.is_long_away() {
            let error = self.away();
            for job in self.waiting.drain(..) {
                let _ = job.answer.send(Err(error.clone()));
            }
        }
        self.waiting.retain(|job| !job.is_over());
    }

    /// What hung once is not tried again: it might be what makes the library
    /// hang.
    fn drop_hanging(&mut self, now: Instant) {
        let Some(worker) = &mut self.worker else { return };
        let hanging: Vec<u64> = worker
            .under_way
            .iter()
            .filter(|(_, (job, since))| now >= *since + job.limit)
            .map(|(id, _)| *id)
            .collect();
        for id in hanging {
            if let Some((job, _)) = worker.under_way.remove(&id) {
                let _ = job.answer.send(Err(later("the HSM did not answer in time", SOON)));
            }
        }
    }

    fn next_event(&self) -> Instant {
        let now = Instant::now();
        let mut next = now + LONGEST_PAUSE;
        if self.worker.is_none() {
            next = next.min(self.next_start);
            if !self.waiting.is_empty() {
                next = next.min(self.away + GRACE);
            }
        }
        if let Some(worker) = &self.worker {
            if !worker.ready {
                next = next.min(worker.started + self.config.start());
            }
            for (job, since) in worker.under_way.values() {
                next = next.min(*since + job.limit);
            }
        }
        for job in &self.waiting {
            next = next.min(job.deadline);
        }
        next.max(now + SHORTEST)
    }

    /// Whether it is away for so long that nobody is kept waiting.
    fn is_long_away(&self) -> bool {
        !self.status.borrow().ready && self.away.elapsed() >= GRACE
    }

    fn away(&self) -> Error {
        let status = self.status.borrow();
        let why = status.trouble.as_deref().unwrap_or("it has not started yet");
        later(format!("the HSM {:?} cannot be asked: {why}", self.config.name), LONG)
    }
}

impl Worker {
    fn start(config: &HsmConfig, program: &[OsString], pin: Zeroizing<String>) -> io::Result<Self> {
        let (program, arguments) =
            program.split_first().ok_or_else(|| io::Error::other("no program was named"))?;
        let mut child = Command::new(program)
            // What `ps` shows.
            .arg0("keyward")
            .args(arguments)
            .envs(&config.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's signals are for the service.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (tasks, to_write) = mpsc::unbounded_channel();
        let (told, outcomes) = mpsc::channel(64);
        if let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        {
            tokio::spawn(feed(input, to_write));
            tokio::spawn(listen(output, told));
            tokio::spawn(log(errors, config.name.clone()));
        }
        let open = Open {
            module: config.module.to_string_lossy().into_owned(),
            token: config.token.clone().unwrap_or_default(),
            serial: config.serial.clone().unwrap_or_default(),
            pin: pin.to_string(),
            sessions: u32::try_from(config.sessions).unwrap_or(u32::MAX),
        };
        let task = Task { id: 0, key: None, work: Some(Work::Open(open)) };
        let _ = tasks.send(protocol::frame_once(task)?);
        let under_way = HashMap::new();
        Ok(Self { child, tasks, outcomes, under_way, pin, ready: false, started: Instant::now() })
    }
}

async fn feed(
    mut input: ChildStdin,
    mut frames: mpsc::UnboundedReceiver<Zeroizing<Vec<u8>>>,
) -> io::Result<()> {
    while let Some(frame) = frames.recv().await {
        input.write_all(&frame).await?;
        input.flush().await?;
    }
    Ok(())
}

async fn listen(output: ChildStdout, told: mpsc::Sender<Outcome>) -> io::Result<()> {
    let mut output = BufReader::new(output);
    while let Some(outcome) = protocol::receive(&mut output).await? {
        if told.send(outcome).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// What the library prints.
async fn log(errors: ChildStderr, hsm: String) -> io::Result<()> {
    let mut lines = BufReader::new(errors).lines();
    while let Some(line) = lines.next_line().await? {
        let line: String = line.chars().filter(|c| !c.is_control()).take(500).collect();
        tracing::info!(hsm, line, "the library printed");
    }
    Ok(())
}

fn gone(why: impl Into<String>) -> Lost {
    Lost { why: why.into(), pin: false }
}

fn later(message: impl Into<String>, retry_after_ms: u32) -> Error {
    Error { retry_after_ms, ..Error::new(ErrorCode::Later, message.into()) }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For so long after it was lost those who ask are kept waiting.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
const FAREWELL: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(1);
const MOST_WAITING: usize = 10_000;
/// Milliseconds; the caller tries again while it has time.
const SOON: u32 = 200;
/// Milliseconds; longer than any call waits, so that nobody does.
const LONG: u32 = 60_000;
