//! Random choices that a seed brings back, for tests that fuzz. No other
//! dependency than the standard library: crates include this file by its path.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::{Duration, Instant};

/// How long each such test runs, in seconds; a test's own short time without it.
const SECONDS: &str = "KEYWARD_FUZZ_SECONDS";

/// The one round that is to be run again.
const SEED: &str = "KEYWARD_FUZZ_SEED";

/// The first round's seed. Without it a run begins with the same one each time,
/// so that a change is blamed for what it did.
const FROM: &str = "KEYWARD_FUZZ_FROM";

/// A generator: splitmix64.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// A number such as goes wrong: small, at a bound, or any.
    pub fn number(&mut self) -> u64 {
        let power = 1_u64 << self.below(64);
        match self.below(8) {
            0..4 => self.below(40) as u64,
            4 => power,
            5 => power.wrapping_sub(1),
            6 => u64::MAX - self.below(3) as u64,
            _ => self.next(),
        }
    }

    /// Changes some bytes, takes some away, adds some.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.pick(&[0, 1, 0x7f, 0x80, 0xff]),
                2 => bytes.truncate(at),
                3 => {
                    let end = (at + 1 + self.below(8)).min(bytes.len());
                    bytes.drain(at..end);
                }
                4 => {
                    let count = 1 + self.below(12);
                    let more = self.bytes(count);
                    bytes.splice(at..at, more);
                }
                5 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                // A length of several bytes that announces much.
                _ => {
                    let end = (at + 4).min(bytes.len());
                    bytes.splice(at..end, [0xff, 0xff, 0xff, 0x7f]);
                }
            }
        }
    }
}

/// How long a test fuzzes that by itself takes so long.
pub fn time(short: Duration) -> Duration {
    variable(SECONDS).map_or(short, Duration::from_secs)
}

/// One seed after another until the time is over, or just the one that is to be
/// run again.
pub fn seeds(short: Duration) -> impl Iterator<Item = u64> {
    let end = Instant::now() + time(short);
    let again = variable(SEED);
    let first = again.unwrap_or_else(|| variable(FROM).unwrap_or(1));
    (first..).take_while(move |seed| *seed == first || (again.is_none() && Instant::now() < end))
}

/// Calls `round` with these seeds. Tells the seed of the round that panics.
pub fn rounds(short: Duration, mut round: impl FnMut(u64)) {
    let mut count = 0;
    for seed in seeds(short) {
        let tells = Tells(seed);
        round(seed);
        drop(tells);
        count += 1;
    }
    println!("{count} rounds");
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

struct Tells(u64);

impl Drop for Tells {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was this round: {SEED}={} runs it again", self.0);
        }
    }
}
