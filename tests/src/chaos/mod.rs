//! Things that go wrong between programs: a TCP proxy, seeded moments. Bad networks: [`crate::impair`].

mod tcp;

pub use tcp::{TcpMode, TcpProxy};

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// `count` pauses between `ms_min` and `ms_max` milliseconds. The same seed gives
/// the same pauses: a failing seed is a test.
#[must_use]
pub fn moments(seed: u64, count: usize, ms_min: u64, ms_max: u64) -> Vec<Duration> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| Duration::from_millis(random.random_range(ms_min..=ms_max))).collect()
}

/// The seed of this run: `HOTLINE_TEST_SEED`, or the given one.
#[must_use]
pub fn seed_or(default: u64) -> u64 {
    std::env::var("HOTLINE_TEST_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_moments_and_keeps_the_bounds() {
        let all = moments(5, 100, 10, 20);
        assert_eq!(all, moments(5, 100, 10, 20));
        assert_ne!(all, moments(6, 100, 10, 20));
        assert!(all.iter().all(|d| (10..=20).contains(&d.as_millis())));
    }
}
