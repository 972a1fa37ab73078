//! The service's side of an HSM.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_token::Attributes;
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;

use crate::Abilities;
use crate::config::{HsmConfig, ReadPin};
use crate::protocol::{Done, Generation, Unwrap, Work};
use crate::supervisor::{GRACE, Job, Status, Supervisor};

/// An HSM, and the worker that holds its library. The worker ends with it.
///
/// `key` is always the template that finds the key in the HSM, and `deadline`
/// when nobody waits any more. All fail with `LATER` while the HSM is away: the
/// first three seconds they wait for it.
#[derive(Debug)]
pub struct Hsm {
    name: String,
    call: Duration,
    generate: Duration,
    jobs: mpsc::Sender<Job>,
    status: watch::Receiver<Status>,
}

impl Hsm {
    /// Starts the worker. `program` is what runs [`worker::run`](crate::worker::run), with its
    /// arguments; the PIN is read anew for each start. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(config: HsmConfig, program: Vec<OsString>, read_pin: ReadPin) -> Self {
        let (jobs, taken) = mpsc::channel(1024);
        let (told, status) = watch::channel(Status::default());
        let hsm = Self {
            name: config.name.clone(),
            call: config.call(),
            generate: config.generate(),
            jobs,
            status,
        };
        tokio::spawn(Supervisor::new(config, program, read_pin, taken, told).run());
        hsm
    }

    /// As the configuration calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until it can be asked: till `deadline`, or, unless `patient`, till something is in the
    /// way. Nothing but another PIN helps against one that was refused, so that ends it too.
    ///
    /// # Errors
    /// How it is instead.
    pub async fn arrive(
        &self,
        deadline: Instant,
        patient: bool,
    ) -> std::result::Result<(), Status> {
        let mut status = self.status.clone();
        let settled = |status: &Status| {
            status.ready || status.pin_refused || (!patient && status.trouble.is_some())
        };
        let _ = timeout_at(deadline.into(), status.wait_for(settled)).await;
        let status = self.status();
        if status.ready { Ok(()) } else { Err(status) }
    }

    /// Ends the worker, and waits until the library has had its last word.
    pub async fn close(self) {
        let Self { jobs, mut status, .. } = self;
        drop(jobs);
        while status.changed().await.is_ok() {}
    }

    /// What it can do; waits a moment for it to be there for the first time.
    ///
    /// # Errors
    /// `LATER`.
    pub async fn abilities(&self, deadline: Instant) -> Result<Arc<Abilities>> {
        let mut status = self.status.clone();
        let known = status.wait_for(|status| status.abilities.is_some());
        let deadline = deadline.min(Instant::now() + GRACE);
        let waited = timeout_at(deadline.into(), known).await;
        let abilities =
            waited.ok().and_then(std::result::Result::ok).map(|it| it.abilities.clone());
        abilities.flatten().ok_or_else(|| {
            let trouble = self.status.borrow().trouble.clone().unwrap_or_default();
            let message = format!("the HSM {:?} was not there yet: {trouble}", self.name);
            Error { retry_after_ms: 60_000, ..Error::new(ErrorCode::Later, message) }
        })
    }

    /// C_Sign, also of authentication codes. `sign` needs neither key nor
    /// authentication.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn sign(
        &self,
        key: &Attributes,
        sign: wire::Sign,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        bytes(self.ask(Some(key), Work::Sign(sign), deadline).await?)
    }

    /// C_Decrypt.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn decrypt(
        &self,
        key: &Attributes,
        decrypt: wire::Decrypt,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        bytes(self.ask(Some(key), Work::Decrypt(decrypt), deadline).await?)
    }

    /// C_Encrypt with a secret key.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn encrypt(
        &self,
        key: &Attributes,
        encrypt: wire::Encrypt,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        bytes(self.ask(Some(key), Work::Encrypt(encrypt), deadline).await?)
    }

    /// What this key and the other side's public one give both sides
    /// (CKM_ECDH1_DERIVE without a KDF).
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn agree(&self, key: &Attributes, peer: &[u8], deadline: Instant) -> Result<Vec<u8>> {
        bytes(self.ask(Some(key), Work::Agree(peer.to_vec()), deadline).await?)
    }

    /// C_GenerateKeyPair; answers what the public key shows.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn generate_key_pair(
        &self,
        mechanism: u64,
        public: &Attributes,
        private: &Attributes,
        deadline: Instant,
    ) -> Result<Attributes> {
        let (public, private) = (Some(encoded(public)), Some(encoded(private)));
        let work = Work::GenerateKeyPair(Generation { mechanism, public, private });
        object(self.ask(None, work, deadline).await?)
    }

    /// C_GenerateKey; answers what the key shows.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn generate_key(
        &self,
        mechanism: u64,
        template: &Attributes,
        deadline: Instant,
    ) -> Result<Attributes> {
        let private = Some(encoded(template));
        let work = Work::GenerateKey(Generation { mechanism, public: None, private });
        object(self.ask(None, work, deadline).await?)
    }

    /// C_CreateObject; answers what the object shows.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn create(&self, template: &Attributes, deadline: Instant) -> Result<Attributes> {
        object(self.ask(None, Work::Create(encoded(template)), deadline).await?)
    }

    /// C_UnwrapKey; answers what the key shows.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn unwrap_key(
        &self,
        key: &Attributes,
        wrapping: wire::Wrapping,
        wrapped: Vec<u8>,
        template: &Attributes,
        deadline: Instant,
    ) -> Result<Attributes> {
        let (wrapping, template) = (Some(wrapping), Some(encoded(template)));
        let work = Work::Unwrap(Unwrap { wrapping, wrapped, template });
        object(self.ask(Some(key), work, deadline).await?)
    }

    /// Destroys what the template finds, which may be nothing.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn destroy(&self, key: &Attributes, deadline: Instant) -> Result<()> {
        self.ask(Some(key), Work::Destroy(wire::Done {}), deadline).await.map(drop)
    }

    /// All objects that the HSM shows, keys without their secret parts.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn objects(&self, deadline: Instant) -> Result<Vec<Attributes>> {
        objects(self.ask(None, Work::Objects(wire::Done {}), deadline).await?)
    }

    /// The objects that a template finds, keys without their secret parts.
    ///
    /// # Errors
    /// What the HSM says.
    pub async fn find(&self, template: &Attributes, deadline: Instant) -> Result<Vec<Attributes>> {
        objects(self.ask(Some(template), Work::Objects(wire::Done {}), deadline).await?)
    }

    async fn ask(&self, key: Option<&Attributes>, work: Work, deadline: Instant) -> Result<Done> {
        let limit = match work {
            Work::GenerateKeyPair(_) => self.generate,
            _ => self.call,
        };
        let (answer, answered) = oneshot::channel();
        let job = Job { key: key.map(encoded), work, deadline, limit, answer };
        let asked = async {
            self.jobs.send(job).await.ok()?;
            answered.await.ok()
        };
        let late = || {
            let message = format!("the HSM {:?} did not answer in time", self.name);
            Error::new(ErrorCode::Later, message)
        };
        timeout_at(deadline.into(), asked).await.ok().flatten().ok_or_else(late)?
    }
}

fn encoded(attributes: &Attributes) -> wire::Attributes {
    wire::Attributes { attributes: attributes.into() }
}

fn bytes(done: Done) -> Result<Vec<u8>> {
    match done {
        Done::Bytes(bytes) => Ok(bytes),
        _ => Err(senseless()),
    }
}

fn objects(done: Done) -> Result<Vec<Attributes>> {
    match done {
        Done::Objects(objects) => {
            objects.objects.into_iter().map(|one| Attributes::try_from(one.attributes)).collect()
        }
        _ => Err(senseless()),
    }
}

fn object(done: Done) -> Result<Attributes> {
    objects(done)?.into_iter().next().ok_or_else(senseless)
}

fn senseless() -> Error {
    Error::new(ErrorCode::Internal, "the HSM's worker answered something else")
}
