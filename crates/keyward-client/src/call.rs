//! One call: a request, repeated where it must be, until it is answered or its
//! time is up.

use std::io;
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, ErrorCode, Request, Response, parts};
use prost::Message;

use crate::config::Config;
use crate::connection::{Connection, Question};
use crate::deadline::Deadline;
use crate::dial::{Dialer, Failed};
use crate::error::{Error, Result};
use crate::outage::{Entry, Outage, PROBE};
use crate::pool::{Need, Pool};

/// Pauses between attempts grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A connection that was not used for so long may be dead without anybody having
/// been told.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// An attempt gets half of what is left when there is to be time for another,
/// but not less than this.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

/// Making a key pair may take this long, and longer still by a factor of two
/// when it has to be repeated.
const GENERATION: Duration = Duration::from_secs(60);

/// A client of the Keyward service.
pub struct Client {
    config: Config,
    dialer: Dialer,
    pool: Pool,
    outage: Outage,
    instance: [u8; 16],
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let endpoints = self.dialer.endpoints.names();
        f.debug_struct("Client").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is read or connected yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            dialer: Dialer::new(&config),
            pool: Pool::default(),
            outage: Outage::default(),
            instance: keyward_crypto::random::bytes(),
            config,
        }
    }

    /// The config that the client was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(crate) fn instance(&self) -> Vec<u8> {
        self.instance.to_vec()
    }

    /// Sends a request and gives back the frames of its answer, at least one.
    /// Request id, instance, operation id and patience are filled in.
    ///
    /// # Errors
    /// What the service said, or that none answered in time.
    pub fn call(&self, request: Request) -> Result<Vec<Response>> {
        let is_long = takes_long(&request);
        let patience = if is_long { 2 * GENERATION } else { self.config.deadlines.call() };
        self.call_within(request, patience)
    }

    /// As [`Client::call`], with a deadline of its own, which is later for what is
    /// longer than a frame. One of no more than a quarter of a second says nothing
    /// about the service when it passes.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_within(&self, mut request: Request, patience: Duration) -> Result<Vec<Response>> {
        request.instance = self.instance.to_vec();
        let changes = request.operation.as_ref().is_some_and(Operation::changes_something);
        if changes && request.operation_id.is_empty() {
            request.operation_id = keyward_crypto::random::bytes::<16>().to_vec();
        }
        let mut question = Question::new(request);
        if question.request.encoded_len() > parts::PART {
            return Err(Error::Service(wire::Error::new(
                question.too_long_code(),
                "a request of more than 1 MiB, besides the data that come in parts",
            )));
        }
        let patience = patience + 2 * parts::allowance(question.rest.len());
        let began = Instant::now();
        // Kept until the result is told: those who wait for this probe look at
        // that when it ends.
        let entry = self.outage.enter();
        let result = match &entry {
            Some(entry) => self.attempts(&mut question, entry, began + patience),
            None => Err(self.unreachable(0, "the service does not answer at present")),
        };
        if let Some(operation) = &mut question.request.operation {
            operation.wipe();
        }
        match &result {
            Ok(_) | Err(Error::Service(_)) => self.outage.answered(),
            Err(Error::Unreachable { .. } | Error::Busy) if patience > PROBE => {
                if self.outage.begin(began) {
                    self.pool.wake_all();
                }
            }
            Err(_) => {}
        }
        result
    }

    fn attempts(
        &self,
        question: &mut Question,
        entry: &Entry<'_>,
        until: Instant,
    ) -> Result<Vec<Response>> {
        // The one that probes while the service is down does not wait long.
        let deadline = if entry.is_probe() {
            Deadline::at(until).within(PROBE)
        } else {
            Deadline::of_call(until, &self.outage)
        };
        let endpoints = &self.dialer.endpoints;
        let mut attempts = 0;
        // Those that this call has asked in vain, since it paused last.
        let mut asked: Vec<usize> = Vec::new();
        let mut pause = FIRST_PAUSE;
        // What may take long once it is under way is not refused for longer than
        // anything else.
        let in_vain = match takes_long(&question.request) {
            true => self.config.deadlines.call(),
            false => until.saturating_duration_since(Instant::now()),
        };
        let mut since = Instant::now();
        // What a service gave as its reason.
        let mut told: Option<wire::Error> = None;
        loop {
            attempts += 1;
            let (wait, error) = match self.attempt(question, entry, deadline, until, &asked) {
                Ok((endpoint, frames)) => match failure(&frames) {
                    None => return Ok(frames),
                    Some(error) if question.is_not_known(error.code) => {
                        // Others may be newer already.
                        asked.push(endpoint);
                        let error = question.too_long();
                        if !endpoints.has_another(&asked) {
                            return Err(error);
                        }
                        (None, error)
                    }
                    Some(error) if is_passing(error.code) => {
                        told = Some(error.clone());
                        let again = asked.contains(&endpoint);
                        asked.push(endpoint);
                        if !again && endpoints.has_another(&asked) {
                            (None, error.into())
                        } else {
                            let wait = Duration::from_millis(error.retry_after_ms.into());
                            (Some(jitter(wait).max(pause)), Error::from(error))
                        }
                    }
                    Some(error) => return Err(error.into()),
                },
                Err(Missed::Busy) if self.outage.since().is_none() => return Err(Error::Busy),
                Err(Missed::Busy) => {
                    return Err(self.unreachable(attempts, "all connections are waited for"));
                }
                Err(Missed::NotConnected(Failed::Config(error))) => return Err(error.into()),
                Err(Missed::NotConnected(Failed::Tls(reason))) => {
                    return Err(Error::Refused { reason });
                }
                Err(Missed::NotConnected(last)) => {
                    (Some(pause), self.unreachable(attempts, last.reason()))
                }
                Err(Missed::NotAnswered(_, Failed::Tls(reason))) if !endpoints.has_another(&[]) => {
                    return Err(Error::Refused { reason });
                }
                Err(Missed::NotAnswered(endpoint, last)) => {
                    asked.push(endpoint);
                    since = Instant::now();
                    // A connection that broke says nothing about the service,
                    // and the endpoint is left alone already.
                    let at_once = attempts == 1 || endpoints.has_another(&[]);
                    // Where little time was left the end of it says less than what
                    // was told before, and nothing about the service.
                    let error = told
                        .clone()
                        .map_or_else(|| self.unreachable(attempts, last.reason()), Error::from);
                    (Some(pause).filter(|_| !at_once), error)
                }
            };
            let left = deadline.left().min(in_vain.saturating_sub(since.elapsed()));
            if deadline.is_over() || wait.is_some_and(|wait| wait >= left) {
                return Err(error);
            }
            if let Some(wait) = wait {
                asked.clear();
                self.outage.pause(wait, deadline);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// One attempt on one connection: the endpoint and its answer.
    fn attempt(
        &self,
        question: &mut Question,
        entry: &Entry<'_>,
        mut deadline: Deadline<'_>,
        until: Instant,
        avoid: &[usize],
    ) -> std::result::Result<(usize, Vec<Response>), Missed> {
        let endpoints = &self.dialer.endpoints;
        let is_long = takes_long(&question.request);
        let need = if is_long || !question.rest.is_empty() { Need::Long } else { Need::Short };
        let Some(mut place) = self.pool.take(need, avoid, deadline) else {
            return Err(Missed::Busy);
        };
        let kept = place
            .take_connection()
            .and_then(|mut connection| (!connection.is_stale()).then_some(connection));
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let connection = self
                    .dialer
                    .connect(&self.config, avoid, deadline)
                    .map_err(Missed::NotConnected)?;
                if entry.is_probe() {
                    entry.prolong();
                    deadline = Deadline::at(until).within(PROBE);
                }
                connection
            }
        };
        let endpoint = connection.endpoint;
        let another = endpoints.has_another(&[endpoint]);
        let mut limit = if is_long { GENERATION } else { self.config.deadlines.request() };
        limit += parts::allowance(question.rest.len());
        if entry.is_probe() {
            // Each of them may be the one that is back.
            let others = endpoints.count().saturating_sub(avoid.len()).max(1);
            let share = deadline.left() / u32::try_from(others).unwrap_or(u32::MAX);
            limit = limit.min(share.max(SHORTEST_ATTEMPT));
        }
        // A repeat is worth its cost where it may go another way: to another
        // endpoint, or past a firewall that has forgotten the connection.
        if another || connection.rested() > FORGOTTEN {
            limit = limit.min((deadline.left() / 2).max(SHORTEST_ATTEMPT));
        }
        // Where another endpoint works, one that says nothing at all is not
        // waited for that long.
        let quiet = (self.config.deadlines.request() / 4).min(limit / 2);
        let silence = (another && !is_long).then_some(quiet);
        let heard = endpoints.heard(endpoint);
        match connection.exchange(question, deadline.within(limit), heard, silence) {
            Ok(frames) => {
                if frames.iter().any(|frame| frame.draining) {
                    endpoints.drains(endpoint);
                    drop(connection);
                    self.pool.forget(endpoint);
                } else if frames.iter().all(|frame| frame.id != 0) {
                    endpoints.answered(endpoint);
                    place.give_back(self.dialer.look_around(&self.config, connection));
                }
                Ok((endpoint, frames))
            }
            Err(error) => {
                endpoints.failed(endpoint);
                if error.kind() == io::ErrorKind::TimedOut {
                    self.pool.forget(endpoint);
                }
                Err(Missed::NotAnswered(endpoint, self.dialer.failed(endpoint, &error)))
            }
        }
    }

    /// A new connection that no other call uses.
    pub(crate) fn own_connection(&self) -> Result<Connection> {
        let deadline = Deadline::at(Instant::now() + self.config.deadlines.call());
        self.dialer.connect(&self.config, &[], deadline).map_err(|failed| self.told(failed))
    }

    /// Why an answer on such a connection broke off.
    pub(crate) fn broken(&self, endpoint: usize, error: &io::Error) -> Error {
        self.told(self.dialer.failed(endpoint, error))
    }

    pub(crate) fn told(&self, failed: Failed) -> Error {
        match failed {
            Failed::Connection(last) => self.unreachable(1, &last),
            Failed::Tls(reason) => Error::Refused { reason },
            Failed::Config(error) => error.into(),
        }
    }

    fn unreachable(&self, attempts: u32, last: &str) -> Error {
        Error::Unreachable {
            endpoints: self.dialer.endpoints.names(),
            attempts,
            last: last.to_owned(),
        }
    }
}

impl Question {
    /// Whether a service that says this knows no requests of several frames.
    fn is_not_known(&self, code: ErrorCode) -> bool {
        !self.rest.is_empty() && code == ErrorCode::OperationUnknown
    }

    /// What such a service means.
    fn too_long(&self) -> Error {
        let code = self.too_long_code();
        let message = "the service is older than this client and takes 1 MiB at once; update it";
        Error::Service(wire::Error::new(code, message))
    }

    fn too_long_code(&self) -> ErrorCode {
        match &self.request.operation {
            Some(Operation::Long(long)) => long.too_long(),
            _ => ErrorCode::DataLenRange,
        }
    }
}

/// What an attempt failed by, if not by its answer.
enum Missed {
    /// No connection came free in time.
    Busy,
    /// No endpoint takes a connection.
    NotConnected(Failed),
    /// The connection to this endpoint broke, or brought no answer.
    NotAnswered(usize, Failed),
}

fn failure(frames: &[Response]) -> Option<wire::Error> {
    frames.iter().find_map(|frame| match &frame.result {
        Some(Answer::Failure(failure)) => Some(failure.clone().into()),
        _ => None,
    })
}

fn takes_long(request: &Request) -> bool {
    request.operation.as_ref().is_some_and(Operation::takes_long)
}

/// What another replica, or the same a moment later, may answer otherwise.
fn is_passing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Later | ErrorCode::StoreUnavailable | ErrorCode::RevisionBehind)
}

/// Up to a quarter longer, by chance: those who were told to come back later
/// should not all come at once.
fn jitter(wait: Duration) -> Duration {
    wait + wait * u32::from(keyward_crypto::random::bytes::<1>()[0]) / 1024
}
