//! One call: a request, repeated where it must be, until it is answered or its
//! time is up.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, ErrorCode, Request, Response};
use rustls_pki_types::ServerName;

use crate::config::{Config, ConfigError};
use crate::connection::Connection;
use crate::endpoint::Endpoints;
use crate::error::{Error, Result};
use crate::pool::{Place, Pool};
use crate::tls::Tls;

/// While the service counts as down, one probe at a time is sent, and takes
/// this long at most.
const PROBE: Duration = Duration::from_millis(250);

/// Pauses between attempts grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Making a key pair may take this long, and longer still by a factor of two
/// when it has to be repeated.
const GENERATION: Duration = Duration::from_secs(60);

/// A client of the Keyward service.
pub struct Client {
    config: Config,
    endpoints: Endpoints,
    tls: Tls,
    pool: Pool,
    outage: Outage,
    instance: [u8; 16],
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints.names()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is read or connected yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        // A name that is none fits no certificate: the handshake will say so.
        let name = ServerName::try_from(config.server_name.clone())
            .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        Self {
            endpoints: Endpoints::new(&config.endpoints, name),
            tls: Tls::default(),
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

    /// Sends a request and gives back the frames of its answer, at least one.
    /// Request id, instance, operation id and patience are filled in.
    ///
    /// # Errors
    /// What the service said, or that none answered in time.
    pub fn call(&self, request: Request) -> Result<Vec<Response>> {
        let patience = self.patience(&request);
        self.call_within(request, patience)
    }

    /// As [`Client::call`], with a deadline of its own.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_within(&self, mut request: Request, patience: Duration) -> Result<Vec<Response>> {
        request.instance = self.instance.to_vec();
        let changes = request.operation.as_ref().is_some_and(Operation::changes_something);
        if changes && request.operation_id.is_empty() {
            request.operation_id = keyward_crypto::random::bytes::<16>().to_vec();
        }
        let limit = match request.operation {
            Some(Operation::GenerateKeyPair(_)) => GENERATION,
            _ => self.config.deadlines.request(),
        };
        let deadline = Instant::now() + patience;
        let Some(_probe) = self.outage.enter() else {
            return Err(self.unreachable(0, "the service does not answer at present"));
        };
        // The one that probes while the service is down does not wait long.
        let deadline =
            if self.outage.is_down() { deadline.min(Instant::now() + PROBE) } else { deadline };
        let result = self.attempts(&mut request, limit, deadline);
        if let Some(operation) = &mut request.operation {
            operation.wipe();
        }
        match &result {
            Err(Error::Unreachable { .. }) => self.outage.begin(),
            Err(Error::Config(_) | Error::Refused { .. }) => {}
            Ok(_) | Err(Error::Service(_)) => self.outage.end(),
        }
        result
    }

    fn patience(&self, request: &Request) -> Duration {
        match request.operation {
            Some(Operation::GenerateKeyPair(_)) => 2 * GENERATION,
            _ => self.config.deadlines.call(),
        }
    }

    fn attempts(
        &self,
        request: &mut Request,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Vec<Response>> {
        let mut attempts = 0;
        let mut refusals = 0;
        let mut pause = FIRST_PAUSE;
        let mut last;
        loop {
            attempts += 1;
            let mut said = None;
            let wait = match self.attempt(request, limit, deadline) {
                Ok(frames) => match failure(&frames) {
                    None => return Ok(frames),
                    Some(error) if is_passing(error.code) => {
                        last = error.to_string();
                        let asked = Duration::from_millis(u64::from(error.retry_after_ms));
                        said = Some(error);
                        asked.max(pause)
                    }
                    Some(error) => return Err(error.into()),
                },
                Err(Failed::Config(error)) => return Err(error.into()),
                Err(Failed::Tls(reason)) => {
                    refusals += 1;
                    if refusals >= self.config.endpoints.len() {
                        return Err(Error::Refused { reason });
                    }
                    last = reason;
                    pause
                }
                Err(Failed::Connection(error)) => {
                    last = error;
                    pause
                }
            };
            let now = Instant::now();
            if now + wait >= deadline {
                return Err(match said {
                    // It is there, and has said why not: that is no outage.
                    Some(error) => error.into(),
                    None => self.unreachable(attempts, &last),
                });
            }
            // The first repeat goes out at once: an idle connection that was
            // cut while it lay there says nothing about the service. Who was
            // told to come later does not come at once.
            if attempts > 1 || said.is_some() {
                std::thread::sleep(wait);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// One attempt on one connection.
    fn attempt(
        &self,
        request: &mut Request,
        limit: Duration,
        deadline: Instant,
    ) -> std::result::Result<Vec<Response>, Failed> {
        let Some(mut place) = self.pool.take(deadline) else {
            return Err(Failed::Connection("all connections are busy".to_owned()));
        };
        let mut connection = self.connection(&mut place, deadline)?;
        let endpoint = connection.endpoint;
        match connection.exchange(request, deadline.min(Instant::now() + limit)) {
            Ok(frames) => {
                let drains = frames.iter().any(|frame| frame.draining);
                if drains {
                    self.endpoints.drains(endpoint);
                } else if frames.iter().all(|frame| frame.id != 0) {
                    place.give_back(connection);
                }
                Ok(frames)
            }
            Err(error) => {
                self.endpoints.failed(endpoint);
                if error.kind() == io::ErrorKind::TimedOut {
                    self.pool.forget(endpoint);
                }
                Err(self.failed(endpoint, &error))
            }
        }
    }

    /// The place's connection if it still stands, else a new one to the first
    /// endpoint that takes it.
    fn connection(
        &self,
        place: &mut Place<'_>,
        deadline: Instant,
    ) -> std::result::Result<Connection, Failed> {
        if let Some(mut connection) = place.take_connection()
            && !connection.is_stale()
        {
            return Ok(connection);
        }
        self.dial(deadline)
    }

    /// A new connection to the first endpoint that takes it.
    fn dial(&self, deadline: Instant) -> std::result::Result<Connection, Failed> {
        let tls = self.tls.config(&self.config).map_err(Failed::Config)?;
        let mut last = Failed::Connection(String::new());
        for endpoint in self.endpoints.order() {
            let until = deadline.min(Instant::now() + self.config.deadlines.connect());
            let opened = self.endpoints.address(endpoint).and_then(|address| {
                let name = self.endpoints.server_name.clone();
                Connection::open(address, endpoint, name, tls.clone(), until)
            });
            match opened {
                Ok(connection) => {
                    self.endpoints.succeeded(endpoint);
                    return Ok(connection);
                }
                Err(error) => {
                    self.endpoints.failed(endpoint);
                    last = self.failed(endpoint, &error);
                }
            }
        }
        Err(last)
    }

    /// A new connection that no other call uses.
    pub(crate) fn own_connection(&self) -> Result<Connection> {
        self.dial(Instant::now() + self.config.deadlines.call()).map_err(|error| self.told(error))
    }

    /// Why an answer on such a connection broke off.
    pub(crate) fn broken(&self, endpoint: usize, error: &io::Error) -> Error {
        self.told(self.failed(endpoint, error))
    }

    fn told(&self, failed: Failed) -> Error {
        match failed {
            Failed::Connection(last) => self.unreachable(1, &last),
            Failed::Tls(reason) => Error::Refused { reason },
            Failed::Config(error) => error.into(),
        }
    }

    fn failed(&self, endpoint: usize, error: &io::Error) -> Failed {
        let name = self.endpoints.name(endpoint);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Failed::Connection(format!("{name}: the connection was closed"))
            }
            // What TLS does not like today it will not like in a second either.
            io::ErrorKind::InvalidData => Failed::Tls(format!("{name}: {error}")),
            _ => Failed::Connection(format!("{name}: {error}")),
        }
    }

    fn unreachable(&self, attempts: u32, last: &str) -> Error {
        Error::Unreachable { endpoints: self.endpoints.names(), attempts, last: last.to_owned() }
    }
}

/// Why an attempt failed before there was an answer.
enum Failed {
    Connection(String),
    /// One side does not accept the other, or does not speak the protocol.
    Tls(String),
    Config(ConfigError),
}

fn failure(frames: &[Response]) -> Option<wire::Error> {
    frames.iter().find_map(|frame| match &frame.result {
        Some(Answer::Failure(failure)) => Some(failure.clone().into()),
        _ => None,
    })
}

/// What another replica, or the same a moment later, may answer otherwise.
fn is_passing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Later | ErrorCode::StoreUnavailable | ErrorCode::RevisionBehind)
}

/// Whether the service counts as down. Then one call at a time probes, and
/// those that come meanwhile share its result.
#[derive(Default)]
struct Outage {
    state: Mutex<OutageState>,
    probed: Condvar,
}

#[derive(Default)]
struct OutageState {
    down: bool,
    probing: bool,
}

/// The right to try; ends a probe when it is dropped.
struct Entry<'a> {
    outage: &'a Outage,
    probe: bool,
}

impl Outage {
    /// The right to try. While the service is down one call gets it and the
    /// others wait for what comes of that: `None` if it failed.
    fn enter(&self) -> Option<Entry<'_>> {
        let mut state = self.state();
        if !state.down {
            return Some(Entry { outage: self, probe: false });
        }
        if !state.probing {
            state.probing = true;
            return Some(Entry { outage: self, probe: true });
        }
        let until = Instant::now() + PROBE + PROBE / 5;
        while state.probing && state.down {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.probed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (!state.down).then_some(Entry { outage: self, probe: false })
    }

    fn is_down(&self) -> bool {
        self.state().down
    }

    fn begin(&self) {
        self.state().down = true;
    }

    fn end(&self) {
        self.state().down = false;
    }

    fn state(&self) -> MutexGuard<'_, OutageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.outage.state().probing = false;
            self.outage.probed.notify_all();
        }
    }
}
