//! Times, and what is told of them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde::Serialize;

/// What one thread, or all of them, saw of one kind of request.
#[derive(Default)]
pub struct Samples {
    /// Of requests that were answered.
    taken: Vec<Duration>,
    /// How often each failure came.
    failures: BTreeMap<String, u64>,
    /// The time that was spent on them by each thread, together.
    spent: Duration,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// Half of all were as fast.
    pub p50_ms: f64,
    /// Nine of ten were as fast.
    pub p90_ms: f64,
    /// 99 of a hundred were as fast.
    pub p99_ms: f64,
    /// None was slower.
    pub max_ms: f64,
}

impl Samples {
    /// A request that took so long.
    pub fn add<T>(&mut self, result: anyhow::Result<T>, taken: Duration) {
        self.spent += taken;
        match result {
            Ok(_) => self.taken.push(taken),
            Err(error) => *self.failures.entry(error.to_string()).or_default() += 1,
        }
    }

    /// Takes in what another thread saw.
    pub fn join(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.spent += other.spent;
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
    }

    /// How many were answered.
    pub fn count(&self) -> usize {
        self.taken.len()
    }

    /// How many were not.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// How often each failure came.
    pub fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Answers in a second, by so many threads that did nothing else meanwhile.
    pub fn rate(&self, threads: usize) -> f64 {
        let seconds = self.spent.as_secs_f64() / threads as f64;
        if seconds > 0.0 { self.taken.len() as f64 / seconds } else { 0.0 }
    }

    /// The latencies; zeros if nothing was answered.
    pub fn latencies(&mut self) -> Latencies {
        self.taken.sort_unstable();
        let at = |share: f64| {
            // The smallest that so large a share of all does not exceed.
            let rank = (share * self.taken.len() as f64).ceil() as usize;
            let taken = self.taken.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            milliseconds(taken)
        };
        Latencies { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

/// Milliseconds, to a microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// To a tenth.
pub fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// To a hundredth.
pub fn hundredth(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// The processor time that this process has used.
pub fn processor_time() -> Duration {
    // The fields after the name, which may hold spaces: the state is the first,
    // user and system time the twelfth and thirteenth, in ticks (proc(5)).
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 =
        after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_failures_are_none() {
        let mut samples = Samples::default();
        assert_eq!(samples.latencies(), Latencies::default());
        for number in (1..=100).rev() {
            samples.add(Ok(()), Duration::from_millis(number));
        }
        let mut other = Samples::default();
        other.add::<()>(Err(anyhow::anyhow!("no")), Duration::from_secs(9));
        samples.join(other);
        let latencies = samples.latencies();
        assert_eq!(
            [latencies.p50_ms, latencies.p90_ms, latencies.p99_ms, latencies.max_ms],
            [50.0, 90.0, 99.0, 100.0]
        );
        assert_eq!((samples.count(), samples.failed()), (100, 1));
        // 100 in 14.05 s of one thread.
        assert!((samples.rate(1) - 7.12).abs() < 0.01, "{}", samples.rate(1));
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = processor_time();
        let until = std::time::Instant::now() + Duration::from_millis(200);
        let mut number = 0_u64;
        while std::time::Instant::now() < until {
            number = std::hint::black_box(number.wrapping_add(1));
        }
        assert!(processor_time() > before);
    }
}
