//! New connections: which endpoint takes one first, and whether an endpoint
//! that did not work does again.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::{Hello, Request};
use rustix::event::PollFd;
use rustls_pki_types::ServerName;

use crate::config::{Config, ConfigError};
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::endpoint::Endpoints;
use crate::opening::Opening;
use crate::stream::await_one;
use crate::tls::Tls;

/// An endpoint that has not shaken hands after this time gets a rival.
const HEAD_START: Duration = Duration::from_millis(100);

/// Makes connections.
pub(crate) struct Dialer {
    pub(crate) endpoints: Endpoints,
    /// The name in the service's certificate.
    server_name: ServerName<'static>,
    tls: Tls,
    scout: Mutex<Option<Scout>>,
}

/// Why there is no connection, or no answer on it.
pub(crate) enum Failed {
    Connection(String),
    /// One side does not accept the other, or does not speak the protocol.
    Tls(String),
    /// Ends a call at once.
    Config(ConfigError),
}

/// Looks whether an endpoint works again. Calls that have their answer take it
/// a step further as they pass, and none waits for it.
enum Scout {
    Opening(Opening),
    /// It has said hello.
    Asking(Connection, Instant),
}

impl Failed {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Connection(reason) | Self::Tls(reason) => reason,
            Self::Config(_) => "",
        }
    }
}

impl Dialer {
    pub(crate) fn new(config: &Config) -> Self {
        // A name that is none fits no certificate: the handshake will say so.
        let server_name = ServerName::try_from(config.server_name.clone())
            .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        Self {
            endpoints: Endpoints::new(&config.endpoints),
            server_name,
            tls: Tls::default(),
            scout: Mutex::default(),
        }
    }

    /// A connection to the endpoint that shakes hands first. They set out in
    /// their order, each a little after the one before, or when all before have
    /// failed: an endpoint that swallows packets costs others no more than that.
    pub(crate) fn connect(
        &self,
        config: &Config,
        avoid: &[usize],
        deadline: Deadline<'_>,
    ) -> Result<Connection, Failed> {
        let mut order = self.endpoints.order(avoid);
        // Looking up a name holds up those that are on their way.
        order.sort_by_key(|endpoint| !self.endpoints.address(*endpoint).is_known());
        let deadline = deadline.within(config.deadlines.connect());
        let shares = u32::try_from(order.len() + 1).unwrap_or(u32::MAX);
        let head_start = HEAD_START.min(deadline.left() / shares);
        let mut order = order.into_iter();
        let mut running: Vec<Opening> = Vec::new();
        let mut refused = true;
        let mut last = Failed::Connection("no time was left to connect".to_owned());
        let mut fail = |endpoint, error: &io::Error| {
            self.endpoints.failed(endpoint);
            let failed = self.failed(endpoint, error);
            refused &= matches!(failed, Failed::Tls(_));
            // That one does not accept us says more than that another is away.
            if !matches!(last, Failed::Tls(_)) {
                last = failed;
            }
        };
        loop {
            let late = running.last().is_none_or(|newest| newest.began.elapsed() >= head_start);
            if late && let Some(endpoint) = order.next() {
                match self.begin(config, endpoint).map_err(Failed::Config)? {
                    Ok(opening) => running.push(opening),
                    Err(error) => fail(endpoint, &error),
                }
            }
            let mut index = 0;
            while index < running.len() {
                match running[index].step() {
                    Ok(true) => {
                        // Those that had a head start and lost it are slow.
                        let slow = running[..index].iter().chain(&running[index + 1..]);
                        for opening in slow.filter(|one| one.began < running[index].began) {
                            self.endpoints.failed(opening.endpoint);
                        }
                        return Ok(running.swap_remove(index).finish());
                    }
                    Ok(false) => index += 1,
                    Err(error) => fail(running.remove(index).endpoint, &error),
                }
            }
            if running.is_empty() && order.len() == 0 {
                break;
            }
            if deadline.is_over() {
                for opening in &running {
                    fail(opening.endpoint, &ErrorKind::TimedOut.into());
                }
                break;
            }
            if let Some(newest) = running.last() {
                let rival = head_start.saturating_sub(newest.began.elapsed());
                let until = if order.len() > 0 { deadline.within(rival) } else { deadline };
                let mut events: Vec<PollFd<'_>> = running.iter().map(Opening::awaits).collect();
                await_one(&mut events, until)
                    .map_err(|error| Failed::Connection(error.to_string()))?;
            }
        }
        match last {
            Failed::Tls(reason) if !refused => Err(Failed::Connection(reason)),
            last => Err(last),
        }
    }

    /// For a call that has its answer from this connection: looks, in passing,
    /// after an endpoint that did not work, and after the best one if the
    /// connection leads to another. Gives back the connection to keep.
    pub(crate) fn look_around(&self, config: &Config, connection: Connection) -> Connection {
        if self.endpoints.count() == 1 {
            return connection;
        }
        let mut scout = match self.scout.try_lock() {
            Ok(scout) => scout,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return connection,
        };
        let best = self.endpoints.best();
        let strays = best.is_some_and(|best| best != connection.endpoint);
        let Some(under_way) = scout.take() else {
            let goal = self.endpoints.take_rested().or(best.filter(|_| strays));
            if let Some(endpoint) = goal {
                match self.begin(config, endpoint) {
                    Ok(Ok(opening)) => *scout = Some(Scout::Opening(opening)),
                    Ok(Err(_)) => self.endpoints.failed(endpoint),
                    Err(_) => {}
                }
            }
            return connection;
        };
        let endpoint = under_way.endpoint();
        let began = under_way.began();
        match under_way.step() {
            Ok(Step::Back(found)) => {
                self.endpoints.answered(endpoint);
                if self.endpoints.best() == Some(endpoint) && connection.endpoint != endpoint {
                    return found;
                }
            }
            Ok(Step::Drains) => self.endpoints.drains(endpoint),
            Ok(Step::OnItsWay(under_way)) => {
                if began.elapsed() > config.deadlines.connect() {
                    self.endpoints.failed(endpoint);
                } else {
                    *scout = Some(under_way);
                }
            }
            Err(_) => self.endpoints.failed(endpoint),
        }
        connection
    }

    /// Sets out to an endpoint that works, or may, and whose address is known.
    pub(crate) fn set_out(&self, config: &Config) -> Result<Opening, Failed> {
        let known = |endpoint: &usize| self.endpoints.address(*endpoint).is_known();
        let endpoint =
            self.endpoints.order(&[]).into_iter().find(known).ok_or_else(|| {
                Failed::Connection("the address of no endpoint is known".to_owned())
            })?;
        self.begin(config, endpoint)
            .map_err(Failed::Config)?
            .map_err(|error| self.failed(endpoint, &error))
    }

    fn begin(&self, config: &Config, endpoint: usize) -> Result<io::Result<Opening>, ConfigError> {
        let tls = self.tls.config(config)?;
        Ok(self
            .endpoints
            .address(endpoint)
            .current()
            .and_then(|address| Opening::begin(address, endpoint, self.server_name.clone(), tls)))
    }

    /// What went wrong with an endpoint.
    pub(crate) fn failed(&self, endpoint: usize, error: &io::Error) -> Failed {
        let name = self.endpoints.address(endpoint).name();
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                Failed::Connection(format!("{name}: the connection was closed"))
            }
            ErrorKind::TimedOut => {
                Failed::Connection(format!("{name}: no answer within the deadline"))
            }
            // What TLS does not like today it will not like in a second either.
            ErrorKind::InvalidData => Failed::Tls(format!("{name}: {error}")),
            _ => Failed::Connection(format!("{name}: {error}")),
        }
    }
}

enum Step {
    OnItsWay(Scout),
    Back(Connection),
    Drains,
}

impl Scout {
    fn endpoint(&self) -> usize {
        match self {
            Self::Opening(opening) => opening.endpoint,
            Self::Asking(connection, _) => connection.endpoint,
        }
    }

    fn began(&self) -> Instant {
        match self {
            Self::Opening(opening) => opening.began,
            Self::Asking(_, asked) => *asked,
        }
    }

    fn step(self) -> io::Result<Step> {
        let (mut connection, asked) = match self {
            Self::Opening(mut opening) => {
                if !opening.step()? {
                    return Ok(Step::OnItsWay(Self::Opening(opening)));
                }
                let mut connection = opening.finish();
                let hello = Operation::Hello(Hello::default());
                let mut request = Request { operation: Some(hello), ..Request::default() };
                // It fits into the socket's buffer.
                connection.ask(&mut request, Deadline::now())?;
                (connection, Instant::now())
            }
            Self::Asking(connection, asked) => (connection, asked),
        };
        loop {
            if let Some(frames) = connection.answer()? {
                let drains = frames.iter().any(|frame| frame.draining || frame.id == 0);
                return Ok(if drains { Step::Drains } else { Step::Back(connection) });
            }
            match connection.receive(Deadline::now()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Ok(Step::OnItsWay(Self::Asking(connection, asked)));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
