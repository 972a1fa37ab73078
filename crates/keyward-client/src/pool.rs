//! The connections: at most [`CONNECTIONS`], each used by one call at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::deadline::Deadline;

/// How many connections a client keeps at most.
pub const CONNECTIONS: usize = 8;

/// How many of them calls that take long may have at once, so that the others
/// are not starved by them.
const FOR_LONG: usize = CONNECTIONS / 2;

/// Who has just given a connection back may take it again before others who
/// wait, which saves a change of threads; but not if one of them has waited for
/// this long.
const FAIR: Duration = Duration::from_millis(5);

/// The connections of a client.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one used last is on top.
    idle: Vec<Connection>,
    /// `idle.len() <= open <= CONNECTIONS`
    open: usize,
    /// How many places are with calls that take long; `<= FOR_LONG`
    long: usize,
    /// Those who wait, the first to come first.
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    wake: Arc<Condvar>,
    since: Instant,
    need: Need,
}

/// What a place is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Short,
    /// The service may work on it for seconds.
    Long,
}

/// A place in the pool: with a connection, or leave to open one.
pub(crate) struct Place<'a> {
    pool: &'a Pool,
    need: Need,
    connection: Option<Connection>,
}

impl Pool {
    /// Takes a connection or the leave to open one; `None` when the deadline
    /// passes first. Connections to the endpoints in `avoid` are not taken.
    pub(crate) fn take(
        &self,
        need: Need,
        avoid: &[usize],
        deadline: Deadline<'_>,
    ) -> Option<Place<'_>> {
        let mut state = self.state();
        if state.has_room(need) && !state.owes_another(None) {
            return Some(self.place(&mut state, need, avoid));
        }
        let wake = Arc::new(Condvar::new());
        state.waiting.push_back(Waiter { wake: Arc::clone(&wake), since: Instant::now(), need });
        loop {
            if state.has_room(need) && !state.owes_another(Some(&wake)) {
                state.leave(&wake);
                let place = self.place(&mut state, need, avoid);
                // There may be room for one more.
                state.wake_next();
                return Some(place);
            }
            let left = deadline.left();
            if left.is_zero() {
                state.leave(&wake);
                // The call that woke this one may have meant another.
                state.wake_next();
                return None;
            }
            state = wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Drops the idle connections to an endpoint that has stopped answering.
    pub(crate) fn forget(&self, endpoint: usize) {
        let mut state = self.state();
        let mut gone = Vec::new();
        for connection in std::mem::take(&mut state.idle) {
            if connection.endpoint == endpoint {
                gone.push(connection);
            } else {
                state.idle.push(connection);
            }
        }
        state.open -= gone.len();
        state.wake_next();
    }

    /// Has all who wait look at their deadline again.
    pub(crate) fn wake_all(&self) {
        for waiter in &self.state().waiting {
            waiter.wake.notify_one();
        }
    }

    fn place(&self, state: &mut State, need: Need, avoid: &[usize]) -> Place<'_> {
        if need == Need::Long {
            state.long += 1;
        }
        let wanted = state.idle.iter().rposition(|idle| !avoid.contains(&idle.endpoint));
        let connection = wanted.map(|index| state.idle.remove(index));
        if connection.is_none() {
            if state.open < CONNECTIONS {
                state.open += 1;
            } else {
                // One to an endpoint that is to be avoided makes room.
                state.idle.pop();
            }
        }
        Place { pool: self, need, connection }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, need: Need) -> bool {
        (!self.idle.is_empty() || self.open < CONNECTIONS)
            && (need == Need::Short || self.long < FOR_LONG)
    }

    /// Whether somebody else has waited for so long that it is his turn.
    fn owes_another(&self, me: Option<&Arc<Condvar>>) -> bool {
        self.waiting
            .iter()
            .find(|waiter| self.has_room(waiter.need))
            .filter(|first| !me.is_some_and(|me| Arc::ptr_eq(me, &first.wake)))
            .is_some_and(|first| first.since.elapsed() >= FAIR)
    }

    fn leave(&mut self, me: &Arc<Condvar>) {
        self.waiting.retain(|waiter| !Arc::ptr_eq(&waiter.wake, me));
    }

    fn wake_next(&self) {
        if let Some(next) = self.waiting.iter().find(|waiter| self.has_room(waiter.need)) {
            next.wake.notify_one();
        }
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
        if self.need == Need::Long {
            state.long -= 1;
        }
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open -= 1,
        }
        state.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn soon() -> Deadline<'static> {
        Deadline::at(Instant::now() + Duration::from_secs(20))
    }

    /// Threads that ask again and again leave none of them without a place.
    #[test]
    fn everybody_gets_a_turn() {
        let pool = Pool::default();
        let over = Instant::now() + Duration::from_millis(600);
        let turns: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
        let longest = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for count in &turns {
                scope.spawn(|| {
                    while Instant::now() < over {
                        let asked = Instant::now();
                        let place = pool.take(Need::Short, &[], soon()).unwrap();
                        let waited = u64::try_from(asked.elapsed().as_millis()).unwrap();
                        longest.fetch_max(waited, Ordering::Relaxed);
                        let used = Instant::now();
                        while used.elapsed() < Duration::from_micros(50) {
                            std::hint::spin_loop();
                        }
                        drop(place);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let turns: Vec<u64> = turns.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let (least, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
        println!("turns {least} to {most}, longest wait {longest:?} ms");
        assert!(*least > 0 && *most < least * 20, "{turns:?}");
    }

    #[test]
    fn those_who_take_long_leave_places_for_others() {
        let pool = Pool::default();
        let long: Vec<_> =
            (0..FOR_LONG).map(|_| pool.take(Need::Long, &[], soon()).unwrap()).collect();
        assert!(pool.take(Need::Long, &[], Deadline::now()).is_none());
        let short: Vec<_> =
            (FOR_LONG..CONNECTIONS).map(|_| pool.take(Need::Short, &[], soon()).unwrap()).collect();
        assert!(pool.take(Need::Short, &[], Deadline::now()).is_none());
        drop(long);
        assert!(pool.take(Need::Long, &[], Deadline::now()).is_some());
        drop(short);
        assert_eq!(pool.state().open, 0);
    }
}
