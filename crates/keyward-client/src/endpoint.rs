//! The endpoints, and which of them to try first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::address::Address;

/// A dead endpoint is left alone for this long at first, then twice as long
/// each time, up to [`LONGEST_REST`]; and up to a quarter longer, by chance, so
/// that many clients do not come back at once.
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// All endpoints of the service.
pub(crate) struct Endpoints {
    /// In this client's own order, so that many clients spread over all
    /// replicas, and those of a dead one over all others.
    list: Vec<Endpoint>,
}

struct Endpoint {
    address: Address,
    heard: Heard,
    health: Mutex<Health>,
}

/// When an endpoint was heard last, on any connection.
pub(crate) struct Heard {
    base: Instant,
    /// Milliseconds since `base`.
    last: AtomicU64,
}

#[derive(Default)]
struct Health {
    /// Failures in a row that were not close together. A recovery that did not
    /// last for [`LONGEST_REST`] does not end the row.
    streak: u32,
    /// Others are tried first until then, and also after that, until it has
    /// answered again. `None`: it works.
    rests_until: Option<Instant>,
    recovered: Option<Instant>,
}

impl Endpoints {
    pub(crate) fn new(names: &[String]) -> Self {
        let mut names: Vec<&String> = names.iter().collect();
        let mut list = Vec::new();
        while !names.is_empty() {
            let random = u64::from_le_bytes(keyward_crypto::random::bytes());
            let index = usize::try_from(random % names.len() as u64).unwrap_or(0);
            list.push(Endpoint {
                address: Address::new(names.swap_remove(index)),
                heard: Heard { base: Instant::now(), last: AtomicU64::new(0) },
                health: Mutex::default(),
            });
        }
        Self { list }
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The endpoints in the order in which to try them: those that work, then
    /// those that do not, the one that has rested longest first; those in
    /// `avoid` behind the others of their kind.
    pub(crate) fn order(&self, avoid: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|index| {
            let rests_until = self.health(*index).rests_until;
            (rests_until.is_some(), avoid.contains(index), rests_until)
        });
        order
    }

    /// The first that works.
    pub(crate) fn best(&self) -> Option<usize> {
        (0..self.list.len()).find(|index| self.works(*index))
    }

    /// Whether one works that is not in `avoid`.
    pub(crate) fn has_another(&self, avoid: &[usize]) -> bool {
        (0..self.list.len()).any(|index| !avoid.contains(&index) && self.works(index))
    }

    /// One that does not work and has rested long enough to be tried. It rests
    /// again, so that nobody else tries it meanwhile.
    pub(crate) fn take_rested(&self) -> Option<usize> {
        let now = Instant::now();
        let rested = |index: &usize| {
            let mut health = self.health(*index);
            let rested = health.rests_until.is_some_and(|until| until <= now);
            if rested {
                health.rests_until = Some(now + health.rest());
            }
            rested
        };
        (0..self.list.len()).find(rested)
    }

    /// The endpoint has answered a request.
    pub(crate) fn answered(&self, index: usize) {
        let mut health = self.health(index);
        if health.rests_until.take().is_some() {
            health.recovered = Some(Instant::now());
        }
    }

    /// A connection to the endpoint could not be made, or broke, or brought no
    /// answer.
    pub(crate) fn failed(&self, index: usize) {
        let now = Instant::now();
        let mut health = self.health(index);
        if health.rests_until.is_some_and(|until| until > now) {
            // Several connections break at once; that is one failure.
            return;
        }
        let lasted = |since: Instant| now.duration_since(since) > LONGEST_REST;
        if health.rests_until.is_none() && health.recovered.is_none_or(lasted) {
            health.streak = 0;
        }
        health.rests_until = Some(now + health.rest());
        health.streak = health.streak.saturating_add(1);
        drop(health);
        self.list[index].address.failed();
    }

    /// The endpoint is about to stop: others are tried first for a while.
    pub(crate) fn drains(&self, index: usize) {
        self.health(index).rests_until = Some(Instant::now() + FIRST_REST);
    }

    pub(crate) fn address(&self, index: usize) -> &Address {
        &self.list[index].address
    }

    pub(crate) fn heard(&self, index: usize) -> &Heard {
        &self.list[index].heard
    }

    /// All endpoints, comma-separated, in this client's order.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.list.iter().map(|one| one.address.name()).collect();
        names.join(", ")
    }

    fn works(&self, index: usize) -> bool {
        self.health(index).rests_until.is_none()
    }

    fn health(&self, index: usize) -> MutexGuard<'_, Health> {
        self.list[index].health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn rest(&self) -> Duration {
        let jitter = u32::from(keyward_crypto::random::bytes::<1>()[0]);
        let rest = (FIRST_REST * 2_u32.pow(self.streak.min(6))).min(LONGEST_REST);
        rest + rest * jitter / 1024
    }
}

impl Heard {
    pub(crate) fn note(&self) {
        let now = u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// When it was heard last, or `asked` if that was later.
    pub(crate) fn since(&self, asked: Instant) -> Instant {
        asked.max(self.base + Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: usize) -> Endpoints {
        let names: Vec<String> = (1..=count).map(|port| format!("127.0.0.1:{port}")).collect();
        Endpoints::new(&names)
    }

    fn pass(endpoints: &Endpoints, index: usize) {
        endpoints.health(index).rests_until = Some(Instant::now());
    }

    fn rest(endpoints: &Endpoints, index: usize) -> Duration {
        endpoints.health(index).rests_until.unwrap().duration_since(Instant::now())
    }

    #[test]
    fn a_failed_endpoint_is_tried_last_until_it_has_answered() {
        let endpoints = endpoints(3);
        assert_eq!(endpoints.order(&[]), [0, 1, 2]);
        endpoints.failed(0);
        assert_eq!(endpoints.order(&[]), [1, 2, 0]);
        assert_eq!(endpoints.take_rested(), None);
        pass(&endpoints, 0);
        assert_eq!(endpoints.order(&[]), [1, 2, 0]);
        assert_eq!(endpoints.best(), Some(1));
        assert_eq!(endpoints.take_rested(), Some(0));
        assert_eq!(endpoints.take_rested(), None, "two tried it at once");
        endpoints.answered(0);
        assert_eq!(endpoints.order(&[]), [0, 1, 2]);
        assert_eq!(endpoints.order(&[0]), [1, 2, 0]);
        for index in [2, 0, 1] {
            endpoints.failed(index);
        }
        assert_eq!(endpoints.order(&[2]).last(), Some(&2));
    }

    #[test]
    fn rests_grow_and_failures_at_the_same_time_count_once() {
        let endpoints = endpoints(1);
        let mut last = Duration::ZERO;
        for _ in 0..6 {
            for _ in 0..8 {
                endpoints.failed(0);
            }
            let now = rest(&endpoints, 0);
            assert!(now > last, "{now:?} after {last:?}");
            assert!(now < last * 3 + FIRST_REST * 2, "{now:?} after {last:?}");
            last = now;
            pass(&endpoints, 0);
        }
        endpoints.failed(0);
        assert!(rest(&endpoints, 0) <= LONGEST_REST * 5 / 4);
    }

    /// One that shakes hands and then does not answer must not be tried every
    /// quarter of a second for ever.
    #[test]
    fn a_recovery_that_does_not_last_is_none() {
        let endpoints = endpoints(1);
        for _ in 0..5 {
            endpoints.failed(0);
            endpoints.answered(0);
        }
        endpoints.failed(0);
        assert!(rest(&endpoints, 0) > FIRST_REST * 10, "{:?}", rest(&endpoints, 0));
        endpoints.answered(0);
        endpoints.health(0).recovered = Instant::now().checked_sub(LONGEST_REST * 2);
        endpoints.failed(0);
        assert!(rest(&endpoints, 0) < FIRST_REST * 2);
    }

    #[test]
    fn clients_spread_over_the_endpoints() {
        let names: Vec<String> = (1..=3).map(|port| format!("127.0.0.1:{port}")).collect();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            seen.insert(Endpoints::new(&names).names());
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }
}
