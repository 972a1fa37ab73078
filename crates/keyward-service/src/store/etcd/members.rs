//! The members of etcd: which of them is asked, and what is made of their
//! failures.
//!
//! Each has a client of its own. One that fails or does not answer in time is
//! left for the next, and gets a fresh client, because a connection that hangs
//! would hang for whoever asks next as well.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use tokio::time::{sleep, timeout};

use crate::config::Etcd as Settings;
use crate::files;
use crate::files::FileError;
use crate::store::{MemberHealth, StoreError};

/// All members that the configuration names.
pub(super) struct Members {
    members: Vec<Member>,
    /// The place of the one that is asked first. Less than their number.
    current: AtomicUsize,
    options: ConnectOptions,
    /// For one question to one member.
    request: Duration,
}

struct Member {
    endpoint: String,
    client: Mutex<Option<Client>>,
    /// Why it did not answer the last time.
    trouble: Mutex<Option<String>>,
}

impl Members {
    /// Reads the files that the settings name; connects to nothing yet.
    pub(super) fn new(settings: &Settings) -> Result<Self, FileError> {
        let authority = Certificate::from_pem(files::read(&settings.authority)?);
        let certificate = files::read(&settings.certificate)?;
        let private_key = files::read_secret(&settings.private_key)?;
        let tls = TlsOptions::new()
            .ca_certificate(authority)
            .identity(Identity::from_pem(certificate, private_key.as_slice()));
        let options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(settings.request())
            // A member that lost its leader says so instead of waiting for one.
            .with_require_leader(true)
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_ANSWER)
            .with_keep_alive_while_idle(true);
        let members: Vec<_> = settings
            .endpoints
            .iter()
            .map(|endpoint| Member {
                endpoint: endpoint.clone(),
                client: Mutex::new(None),
                trouble: Mutex::new(None),
            })
            .collect();
        // Replicas spread over the members.
        let first = usize::from(keyward_crypto::random::bytes::<1>()[0]) % members.len().max(1);
        Ok(Self { members, current: AtomicUsize::new(first), options, request: settings.request() })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// The place of the one that is asked first.
    pub(super) fn current(&self) -> usize {
        self.current.load(Relaxed)
    }

    /// Asks a member, and others when it fails, until one answers or refuses.
    /// What is asked must bear being asked twice.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] at `deadline`, with what each member said;
    /// [`StoreError::Refused`] if asking again cannot help.
    pub(super) async fn ask<T, F>(
        &self,
        deadline: Instant,
        question: impl Fn(Client) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut failed = 0_usize;
        loop {
            let place = self.current();
            match self.ask_one(place, deadline, &question).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Lasting(reason)) => return Err(StoreError::Refused(reason)),
                Err(Trouble::Passing(_)) => self.leave(place),
            }
            failed += 1;
            let pause = if failed.is_multiple_of(self.count()) { PAUSE } else { Duration::ZERO };
            if deadline.saturating_duration_since(Instant::now()) <= pause {
                return Err(StoreError::Unavailable(self.story()));
            }
            sleep(pause).await;
        }
    }

    /// Asks one member once.
    pub(super) async fn ask_one<T, F>(
        &self,
        place: usize,
        deadline: Instant,
        question: impl Fn(Client) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let member = &self.members[place];
        let patience = self.request.min(deadline.saturating_duration_since(Instant::now()));
        let answer = async {
            let client = self.client(member).await?;
            question(client).await
        };
        let trouble = match timeout(patience, answer).await {
            Ok(Ok(answer)) => {
                *lock(&member.trouble) = None;
                return Ok(answer);
            }
            Ok(Err(error)) => Trouble::of(&error),
            Err(_) => {
                Trouble::Passing(format!("it did not answer within {} ms", patience.as_millis()))
            }
        };
        // With no time left it was not asked fairly.
        if !patience.is_zero() {
            *lock(&member.trouble) = Some(trouble.reason().to_owned());
        }
        // What etcd itself says came over a connection that works.
        if !trouble.reason().starts_with(SAID_BY_ETCD) {
            *lock(&member.client) = None;
        }
        Err(trouble)
    }

    /// Has the next member asked first, if this one is now.
    pub(super) fn leave(&self, place: usize) {
        let next = (place + 1) % self.count();
        // Somebody else may have left it already.
        let _ = self.current.compare_exchange(place, next, Relaxed, Relaxed);
    }

    /// How each did the last time that it was asked.
    pub(super) fn health(&self) -> Vec<MemberHealth> {
        self.members
            .iter()
            .map(|member| MemberHealth {
                endpoint: member.endpoint.clone(),
                trouble: lock(&member.trouble).clone(),
            })
            .collect()
    }

    /// Why nothing can be written, in a sentence that names etcd.
    pub(super) fn story(&self) -> String {
        let health = self.health();
        let mut reasons: Vec<_> = health
            .iter()
            .filter_map(|member| Some((member.endpoint.as_str(), member.trouble.as_deref()?)))
            .collect();
        if reasons.iter().any(|(_, reason)| reason.contains(NO_LEADER)) {
            reasons.retain(|(_, reason)| !reason.contains(NO_LEADER));
            let others = if reasons.is_empty() { "" } else { ", " };
            return format!(
                "etcd has no leader, since most of its members are away or cannot reach each \
                 other{others}{}",
                list(&reasons)
            );
        }
        if reasons.is_empty() {
            return "etcd did not answer in time".to_owned();
        }
        format!("etcd does not answer: {}", list(&reasons))
    }

    async fn client(&self, member: &Member) -> Result<Client, Error> {
        let known = lock(&member.client).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        // Connects when it is first used.
        let client = Client::connect([&member.endpoint], Some(self.options.clone())).await?;
        *lock(&member.client) = Some(client.clone());
        Ok(client)
    }
}

/// Why a member did not do what it was asked.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Another member, or the same one later, may do it.
    Passing(String),
    /// No member ever will.
    Lasting(String),
}

impl Trouble {
    pub(super) fn of(error: &Error) -> Self {
        let Error::GRpcStatus(status) = error else { return Self::Passing(chain(error)) };
        let message = status.message();
        // The codes of gRPC, as etcd uses them.
        match i32::from(status.code()) {
            INVALID_ARGUMENT | PERMISSION_DENIED | FAILED_PRECONDITION | OUT_OF_RANGE
            | DATA_LOSS | UNAUTHENTICATED => Self::Lasting(message.to_owned()),
            RESOURCE_EXHAUSTED if message.contains("space") => Self::Lasting(format!(
                "{message}: its database is as large as its quota allows; compact and defragment \
                 it, then disarm the alarm"
            )),
            _ => Self::Passing(chain(status)),
        }
    }

    pub(super) fn reason(&self) -> &str {
        let (Self::Passing(reason) | Self::Lasting(reason)) = self;
        reason
    }
}

/// The last cause of an error tells most.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = match error.source() {
        None => error.to_string(),
        Some(_) => String::new(),
    };
    let mut source = error.source();
    while let Some(error) = source {
        source = error.source();
        if source.is_none() {
            told = error.to_string();
        }
    }
    // A status without a cause repeats itself at length.
    match told.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"')) {
        Some((message, _)) => message.to_owned(),
        None => told,
    }
}

fn list(reasons: &[(&str, &str)]) -> String {
    let told: Vec<_> =
        reasons.iter().map(|(endpoint, reason)| format!("{endpoint}: {reason}")).collect();
    told.join(", ")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// etcd takes no more than one ping in five seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(6);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(3);
/// When all members have failed in turn.
const PAUSE: Duration = Duration::from_millis(100);

const SAID_BY_ETCD: &str = "etcdserver: ";
const NO_LEADER: &str = "no leader";

const INVALID_ARGUMENT: i32 = 3;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const DATA_LOSS: i32 = 15;
const UNAUTHENTICATED: i32 = 16;
