//! The open connections, by identity.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::authority::Shown;
use crate::engine::Connected;
use crate::id::Id;

/// All open connections.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
    accepted: AtomicU64,
}

#[derive(Default)]
struct Open {
    by_identity: HashMap<Id, HashMap<u64, Connection>>,
    count: u32,
}

/// A connection of an identity.
struct Connection {
    /// The serial number of the certificate that it was made with.
    serial: Vec<u8>,
    /// What it waits on.
    close: Arc<Notify>,
}

/// A connection that is open for as long as this lives.
pub(super) struct Entry {
    all: Arc<Connections>,
    identity: Id,
    number: u64,
    close: Arc<Notify>,
}

impl Connections {
    /// Counts a connection that was accepted, whoever it is; answers its number.
    pub(super) fn accept(&self) -> u64 {
        self.accepted.fetch_add(1, Relaxed)
    }

    /// Enters a connection whose identity is known.
    pub(super) fn enter(self: &Arc<Self>, shown: &Shown, number: u64) -> Entry {
        let identity = shown.uid;
        let close = Arc::new(Notify::new());
        let connection = Connection { serial: shown.serial.clone(), close: Arc::clone(&close) };
        let mut open = self.lock();
        open.by_identity.entry(identity).or_default().insert(number, connection);
        open.count += 1;
        drop(open);
        Entry { all: Arc::clone(self), identity, number, close }
    }

    /// Closes the connections of an identity that were made with a certificate
    /// which is not good any more.
    pub(super) fn close(&self, identity: Id, is_good: impl Fn(&[u8]) -> bool) {
        if let Some(connections) = self.lock().by_identity.get(&identity) {
            connections
                .values()
                .filter(|connection| !is_good(&connection.serial))
                // A permit is kept for a connection that does not wait just now.
                .for_each(|connection| connection.close.notify_one());
        }
    }

    /// Closes a connection so that `identity` gets one, if another identity has
    /// at least two more: the oldest of the one that has most. Its client makes
    /// a new one when it needs it.
    pub(super) fn make_room(&self, identity: Id) -> bool {
        let open = self.lock();
        let own = open.by_identity.get(&identity).map_or(0, HashMap::len);
        let most = open.by_identity.values().max_by_key(|connections| connections.len());
        let Some(most) = most.filter(|most| most.len() > own + 1) else { return false };
        let oldest = most.iter().min_by_key(|(number, _)| **number);
        if let Some((_, connection)) = oldest {
            connection.close.notify_one();
        }
        oldest.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected for Connections {
    fn of(&self, identity: Id) -> u32 {
        let open = self.lock();
        let count = open.by_identity.get(&identity).map_or(0, HashMap::len);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn all(&self) -> u32 {
        self.lock().count
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }
}

impl Entry {
    /// Ends when the connection is to be closed at once.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        open.count -= 1;
        if let Some(connections) = open.by_identity.get_mut(&self.identity) {
            connections.remove(&self.number);
            if connections.is_empty() {
                open.by_identity.remove(&self.identity);
            }
        }
    }
}
