//! The connections: at most [`CONNECTIONS`], each used by one call at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::connection::Connection;

/// How many connections a client keeps at most.
pub const CONNECTIONS: usize = 8;

/// The connections of a client.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// The one used last is on top.
    idle: Vec<Connection>,
    /// `idle.len() <= open <= CONNECTIONS`
    open: usize,
}

/// A place in the pool: with a connection, or leave to open one.
pub(crate) struct Place<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Pool {
    /// Takes a connection or the leave to open one; `None` when the deadline
    /// passes first.
    pub(crate) fn take(&self, deadline: Instant) -> Option<Place<'_>> {
        let mut state = self.state();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Some(Place { pool: self, connection: Some(connection) });
            }
            if state.open < CONNECTIONS {
                state.open += 1;
                return Some(Place { pool: self, connection: None });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state =
                self.returned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Drops the idle connections to an endpoint that has stopped answering.
    pub(crate) fn forget(&self, endpoint: usize) {
        let mut state = self.state();
        let before = state.idle.len();
        state.idle.retain(|connection| connection.endpoint != endpoint);
        state.open -= before - state.idle.len();
        drop(state);
        self.returned.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// The connection, if there is one.
    pub(crate) fn take_connection(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    /// Gives a working connection back.
    pub(crate) fn give_back(mut self, connection: Connection) {
        self.connection = Some(connection);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
