//! Whether the service counts as down, and what a call may do then.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;

/// While the service counts as down, one probe at a time is sent, and takes
/// this long at most; as long again once a replica has shaken hands.
pub(crate) const PROBE: Duration = Duration::from_millis(250);

/// What a thread that waits for another's probe allows for the way back.
const SLACK: Duration = Duration::from_millis(25);

/// Whether the service counts as down. Then one call at a time probes, and
/// those that come meanwhile share its result.
#[derive(Default)]
pub(crate) struct Outage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    down_since: Option<Instant>,
    /// Until when the present probe lasts at most.
    probe: Option<Instant>,
    /// How many probes have ended.
    probes: u64,
    /// When the service answered last.
    answered: Option<Instant>,
}

/// The right to try; ends a probe when it is dropped.
pub(crate) struct Entry<'a> {
    outage: &'a Outage,
    probe: bool,
}

impl Outage {
    /// The right to try. While the service is down one call gets it and the
    /// others wait for what comes of that: `None` if it failed.
    pub(crate) fn enter(&self) -> Option<Entry<'_>> {
        let mut state = self.state();
        if state.down_since.is_some() && state.probe.is_none() {
            state.probe = Some(Instant::now() + PROBE);
            return Some(Entry { outage: self, probe: true });
        }
        let probes = state.probes;
        while state.down_since.is_some() {
            let until = state.probe.filter(|_| state.probes == probes)?;
            let left = (until + SLACK).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(Entry { outage: self, probe: false })
    }

    /// Since when the service counts as down.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.state().down_since
    }

    /// A call that began at `began` has used up its time. The service counts as
    /// down from now on, unless it has answered another meanwhile. Says whether
    /// that is news.
    pub(crate) fn begin(&self, began: Instant) -> bool {
        let mut state = self.state();
        if state.down_since.is_some() || state.answered.is_some_and(|answered| answered > began) {
            return false;
        }
        state.down_since = Some(Instant::now());
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The service has answered.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        state.answered = Some(Instant::now());
        if state.down_since.take().is_some() {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Sleeps, but not beyond the deadline.
    pub(crate) fn pause(&self, pause: Duration, deadline: Deadline<'_>) {
        let until = deadline.within(pause);
        loop {
            // Looks at the state itself, so before it is locked.
            let left = until.left();
            if left.is_zero() {
                return;
            }
            let state = self.state();
            drop(self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// Whether this call is the one that probes.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe
    }

    /// A replica has shaken hands, so there is an answer to wait for: the probe
    /// begins anew. Those who share it wait along.
    pub(crate) fn prolong(&self) {
        if self.probe {
            self.outage.state().probe = Some(Instant::now() + PROBE);
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.probe {
            let mut state = self.outage.state();
            state.probe = None;
            state.probes += 1;
            drop(state);
            self.outage.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probes_and_the_others_share_its_failure() {
        let outage = Outage::default();
        assert!(!outage.enter().unwrap().is_probe());
        assert!(outage.begin(Instant::now()));
        let probe = outage.enter().unwrap();
        assert!(probe.is_probe());
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| outage.enter().is_none())).collect();
            std::thread::sleep(Duration::from_millis(50));
            drop(probe);
            for other in others {
                assert!(other.join().unwrap(), "it did not share the failure");
            }
        });
        assert!(outage.enter().unwrap().is_probe());
    }

    #[test]
    fn an_answer_ends_it_for_all() {
        let outage = Outage::default();
        outage.begin(Instant::now());
        let probe = outage.enter().unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| outage.enter().is_some_and(|entry| !entry.is_probe()));
            std::thread::sleep(Duration::from_millis(20));
            outage.answered();
            drop(probe);
            assert!(other.join().unwrap());
        });
        assert!(outage.since().is_none());
    }

    /// A call that got stuck alone says nothing about the service.
    #[test]
    fn a_service_that_answers_others_is_not_down() {
        let outage = Outage::default();
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        outage.answered();
        assert!(!outage.begin(began));
        assert!(outage.since().is_none());
        assert!(outage.begin(Instant::now()));
    }

    #[test]
    fn waits_that_are_under_way_end_a_probe_after_it_began() {
        let outage = Outage::default();
        let deadline = Deadline::of_call(Instant::now() + Duration::from_secs(60), &outage);
        assert!(deadline.left() > Duration::from_secs(50));
        outage.begin(Instant::now());
        assert!(deadline.left() <= PROBE);
        let started = Instant::now();
        outage.pause(Duration::from_secs(50), deadline);
        assert!(started.elapsed() < Duration::from_secs(10));
        outage.answered();
        assert!(deadline.left() > Duration::from_secs(50));
    }
}
