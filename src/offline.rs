//! Starting while the service is away: a slot's snapshot, which is kept fresh
//! while the service is there and shown when it is not.
//!
//! A newer snapshot is asked for by an errand, whose answer no call waits for:
//! calls that pass take it a step further, and the last of these writes the
//! file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use keyward_client::config::OfflineStart;
use keyward_client::snapshot::{Refused, Snapshot};
use keyward_client::{Config, Errand, Progress};
use keyward_wire::request::Operation;
use keyward_wire::{self as wire, ErrorCode, Request, Revision};

use crate::log::Log;
use crate::remote::Remote;

/// Between two errands, whatever came of the first.
const PAUSE: Duration = Duration::from_secs(60);

/// The same when the service gives no snapshots: it is older, or does not want to.
const LONG_PAUSE: Duration = Duration::from_secs(3600);

/// A slot's offline start.
#[derive(Debug)]
pub(crate) struct Offline {
    settings: OfflineStart,
    /// The token's label.
    token: String,
    log: Arc<Log>,
    keeping: Mutex<Keeping>,
    /// Whether there is an errand: read without a lock by calls that pass.
    under_way: AtomicBool,
}

#[derive(Debug, Default)]
struct Keeping {
    file: File,
    errand: Option<Errand>,
    /// No errand begins before.
    rest_until: Option<Instant>,
    /// The service has said that this client may not see the token.
    barred: bool,
    /// What the log was told last, so that it is not told again and again.
    told: String,
}

/// What is known of the file.
#[derive(Debug, Default)]
enum File {
    #[default]
    NotLookedAt,
    /// Nothing that could be shown.
    Useless,
    Good {
        revision: Revision,
        renew_at: SystemTime,
    },
}

impl Offline {
    pub(crate) fn new(settings: OfflineStart, token: String, log: Arc<Log>) -> Self {
        let keeping = Mutex::default();
        Self { settings, token, log, keeping, under_way: AtomicBool::new(false) }
    }

    /// What may be shown if the service does not answer. `seen` is the newest
    /// revision that it has told this process: nothing older is shown.
    ///
    /// # Errors
    /// Why there is nothing: a sentence for the log.
    pub(crate) fn snapshot(
        &self,
        config: &Config,
        seen: Option<Revision>,
    ) -> Result<Snapshot, String> {
        let mut keeping = self.keeping();
        let found = self.look(&mut keeping, config);
        let refused = |why: &dyn std::fmt::Display| {
            format!("offline start is not possible with {}: {why}", self.settings.file.display())
        };
        if keeping.barred {
            return Err(refused(&"the service has said that this client may not see the token"));
        }
        let snapshot = found.map_err(|why| refused(&why))?;
        if let Some(seen) = seen
            && !reaches(snapshot.revision(), seen)
        {
            return Err(refused(&"it is older than what this process has seen of the token"));
        }
        Ok(snapshot)
    }

    /// The service has answered about the token, and told this revision: sees to
    /// it that the snapshot is of that one, and not old. Waits for nothing.
    pub(crate) fn keep(&self, remote: &Remote, seen: Option<Revision>) {
        let mut keeping = match self.keeping.try_lock() {
            Ok(keeping) => keeping,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody else is at it.
            Err(TryLockError::WouldBlock) => return,
        };
        keeping.barred = false;
        if let Some(errand) = keeping.errand.take() {
            self.step(&mut keeping, remote, errand);
        } else if keeping.rest_until.is_none_or(|until| Instant::now() >= until)
            && self.needs_another(&mut keeping, remote.config(), seen)
        {
            let wanted =
                wire::Snapshot { scope: wire::Scope::Usable.into(), life_s: self.settings.life() };
            let request = Request {
                token: self.token.clone(),
                at_least: seen,
                operation: Some(Operation::Snapshot(wanted)),
                ..Request::default()
            };
            match remote.client().errand(request) {
                Ok(errand) => self.step(&mut keeping, remote, errand),
                Err(error) => self.failed(&mut keeping, &error),
            }
        }
        self.under_way.store(keeping.errand.is_some(), Ordering::Relaxed);
    }

    /// A call passes that does not ask the service.
    pub(crate) fn pass(&self, remote: &Remote) {
        if self.under_way.load(Ordering::Relaxed)
            && let Ok(mut keeping) = self.keeping.try_lock()
            && let Some(errand) = keeping.errand.take()
        {
            self.step(&mut keeping, remote, errand);
            self.under_way.store(keeping.errand.is_some(), Ordering::Relaxed);
        }
    }

    /// The service has said that this client may not see the token. What was kept
    /// of it goes.
    pub(crate) fn bar(&self) {
        let mut keeping = self.keeping();
        keeping.errand = None;
        keeping.file = File::Useless;
        if !std::mem::replace(&mut keeping.barred, true)
            && let Err(why) = Snapshot::delete(&self.settings.file)
        {
            self.tell(&mut keeping, format!("the snapshot cannot be deleted: {why}"));
        }
    }

    /// The host is shown a snapshot from now on.
    pub(crate) fn began(&self, snapshot: &wire::SnapshotContent, why: &str) {
        let age = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(snapshot.issued))
            .unwrap_or_default();
        let text = format!(
            "shows the token as it was {} s ago, {} objects, without the service ({why})",
            age.as_secs(),
            snapshot.objects.len()
        );
        self.tell(&mut self.keeping(), text);
    }

    fn needs_another(
        &self,
        keeping: &mut Keeping,
        config: &Config,
        seen: Option<Revision>,
    ) -> bool {
        let up_to_date = |keeping: &Keeping| match &keeping.file {
            File::Good { revision, renew_at } => {
                SystemTime::now() < *renew_at && seen.is_none_or(|seen| reaches(*revision, seen))
            }
            _ => false,
        };
        if up_to_date(keeping) {
            return false;
        }
        // Another process may have written it.
        match self.look(keeping, config) {
            Ok(_) => !up_to_date(keeping),
            Err(Refused::Missing) => true,
            Err(why) => {
                self.tell(keeping, format!("the snapshot is not used: {why}"));
                true
            }
        }
    }

    /// Reads the file.
    fn look(&self, keeping: &mut Keeping, config: &Config) -> Result<Snapshot, Refused> {
        let found = Snapshot::read(config, &self.token, &self.settings);
        keeping.file = found.as_ref().map_or(File::Useless, File::of);
        found
    }

    fn step(&self, keeping: &mut Keeping, remote: &Remote, errand: Errand) {
        let frames = match remote.client().step(errand) {
            Ok(Progress::OnItsWay(errand)) => {
                keeping.errand = Some(errand);
                return;
            }
            Ok(Progress::Answered(frames)) => frames,
            Err(error) => return self.failed(keeping, &error),
        };
        keeping.rest_until = Some(Instant::now() + PAUSE);
        let taken = Snapshot::of_answer(remote.config(), &self.token, &self.settings, frames)
            .and_then(|snapshot| snapshot.write(&self.settings.file).map(|()| snapshot));
        match taken {
            Ok(snapshot) => {
                keeping.file = File::of(&snapshot);
                let left_out = match snapshot.content().left_out {
                    0 => String::new(),
                    count => format!("; {count} objects are not in it, since they show secrets"),
                };
                let objects = snapshot.content().objects.len();
                self.log.detail(format_args!(
                    "{} is written, {objects} objects{left_out}",
                    self.name()
                ));
                keeping.told.clear();
            }
            Err(why) => self.tell(keeping, format!("the snapshot cannot be kept: {why}")),
        }
    }

    fn failed(&self, keeping: &mut Keeping, error: &keyward_client::Error) {
        let (pause, why) = match error.code() {
            ErrorCode::OperationUnknown => {
                (LONG_PAUSE, "the service is older than the module and knows none".to_owned())
            }
            ErrorCode::NotPermitted | ErrorCode::DataLenRange => (LONG_PAUSE, error.to_string()),
            _ => (PAUSE, error.to_string()),
        };
        keeping.rest_until = Some(Instant::now() + pause);
        self.tell(keeping, format!("the service gave no snapshot: {why}"));
    }

    /// Writes a line to the log, unless it says the same as the last one.
    fn tell(&self, keeping: &mut Keeping, text: String) {
        if keeping.told != text {
            self.log.notice(format_args!("{}: {text}", self.name()));
            keeping.told = text;
        }
    }

    fn name(&self) -> String {
        format!("token {}, offline start by {}", self.token, self.settings.file.display())
    }

    fn keeping(&self) -> MutexGuard<'_, Keeping> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn of(snapshot: &Snapshot) -> Self {
        Self::Good { revision: snapshot.revision(), renew_at: snapshot.renew_at() }
    }
}

/// Whether a revision is of the same store, and no older.
fn reaches(revision: Revision, seen: Revision) -> bool {
    revision.incarnation == seen.incarnation && revision.sequence >= seen.sequence
}
