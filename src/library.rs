//! What C_Initialize makes and C_Finalize ends: config, slots, sessions.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use cryptoki_sys::*;
use keyward_client::Config;
use keyward_client::config::Profile;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::random::Random;
use crate::remote::Remote;
use crate::session::{Session, Sessions};
use crate::slot::Slot;

/// Names the config file.
const VARIABLE: &str = "KEYWARD_CONFIG";

/// The config file when the environment names none.
const DEFAULT_CONFIG: &str = "/etc/keyward/client.toml";

/// An initialised module.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) remote: Remote,
    pub(crate) log: Arc<Log>,
    pub(crate) profile: Profile,
    pub(crate) sessions: Sessions,
    pub(crate) random: Random,
    ended: (Mutex<bool>, Condvar),
    /// `None` until the service has said which tokens there are.
    slots: Mutex<Option<Slots>>,
}

type Slots = Arc<[Arc<Slot>]>;

impl Library {
    /// Reads the config. Nothing goes over the network.
    pub(crate) fn new() -> Result<Self> {
        let path =
            std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from(DEFAULT_CONFIG), PathBuf::from);
        let config = Config::load(&path)
            .map_err(|error| Error::new(CKR_GENERAL_ERROR, error.to_string()))?;
        Ok(Self::of(config))
    }

    /// What a config makes.
    pub(crate) fn of(config: Config) -> Self {
        let profile = config.profile;
        let log = Arc::new(Log::new(&config.log));
        let named: Vec<_> = (0..)
            .zip(&config.slots)
            .map(|(id, slot)| Arc::new(Slot::new(id, slot.clone(), profile, &log)))
            .collect();
        Self {
            log,
            profile,
            sessions: Sessions::default(),
            random: Random::default(),
            ended: Default::default(),
            slots: Mutex::new((!named.is_empty()).then(|| named.into())),
            remote: Remote::new(config),
        }
    }

    /// The slots. Without named ones in the config the service is asked, once.
    pub(crate) fn slots(&self) -> Result<Slots> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = &*slots {
            return Ok(Arc::clone(slots));
        }
        let mut tokens = self.remote.tokens()?;
        tokens.sort_by(|a, b| (a.created, &a.label).cmp(&(b.created, &b.label)));
        let found: Slots = (0..)
            .zip(tokens)
            .map(|(id, info)| Arc::new(Slot::described(id, info, self.profile, &self.log)))
            .collect();
        *slots = Some(Arc::clone(&found));
        Ok(found)
    }

    /// C_Finalize was called: whoever waits for it goes on.
    pub(crate) fn end(&self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }

    /// Waits for C_Finalize, as long as a call may take: whether it came.
    pub(crate) fn wait_for_end(&self) -> bool {
        let deadline = self.remote.config().deadlines.call();
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.1.wait_timeout_while(ended, deadline, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// A slot by its id.
    ///
    /// # Errors
    /// CKR_SLOT_ID_INVALID.
    pub(crate) fn slot(&self, id: CK_SLOT_ID) -> Result<Arc<Slot>> {
        self.slots()?
            .iter()
            .find(|slot| slot.id == id)
            .cloned()
            .ok_or_else(|| CKR_SLOT_ID_INVALID.into())
    }

    /// A session by its handle.
    ///
    /// # Errors
    /// CKR_SESSION_HANDLE_INVALID.
    pub(crate) fn session(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>> {
        self.sessions.find(handle)
    }
}
