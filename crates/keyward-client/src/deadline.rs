//! Until when a wait may last.

use std::time::{Duration, Instant};

use crate::outage::{Outage, PROBE};

/// Until when a wait may last. If it belongs to a call, and the service comes
/// to count as down meanwhile, the wait ends a probe's time after that.
#[derive(Clone, Copy)]
pub(crate) struct Deadline<'a> {
    at: Instant,
    outage: Option<&'a Outage>,
}

impl<'a> Deadline<'a> {
    /// A deadline that no outage brings nearer.
    pub(crate) fn at(at: Instant) -> Self {
        Self { at, outage: None }
    }

    /// A call's deadline.
    pub(crate) fn of_call(at: Instant, outage: &'a Outage) -> Self {
        Self { at, outage: Some(outage) }
    }

    /// What can be done at once and no more.
    pub(crate) fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The same, but no later than in `duration`.
    pub(crate) fn within(self, duration: Duration) -> Self {
        Self { at: self.at.min(Instant::now() + duration), ..self }
    }

    /// The time that is left; zero when it is over.
    pub(crate) fn left(self) -> Duration {
        let cut = self.outage.and_then(Outage::since).map(|since| since + PROBE);
        let at = cut.map_or(self.at, |cut| cut.min(self.at));
        at.saturating_duration_since(Instant::now())
    }

    /// Whether no time is left.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }
}
