//! Token buckets: how many messages a source may have looked at

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits;

/// A token bucket's measure; `per_s: 0` means no limit
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second in the long run
    pub per_s: u32,
    /// Messages at once
    pub burst: u32,
}

/// Tokens in thousandths, so that slow rates need no fractions
#[derive(Clone, Copy)]
struct Bucket {
    millitokens: u64,
    at: Instant,
}

/// The buckets of one class of sources
///
/// Sources beyond [`limits::BUCKET_COUNT_MAX`] share one bucket: a crowd of forged addresses
/// throws nobody's own bucket out and gets no more for its number.
pub(crate) struct Buckets {
    rate: Rate,
    by_source: HashMap<IpAddr, Bucket>,
    shared: Option<Bucket>,
    swept_at: Option<Instant>,
}

impl Buckets {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, by_source: HashMap::new(), shared: None, swept_at: None }
    }

    /// Takes a token; false when there is none
    pub(crate) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        let rate = self.rate;
        if rate.per_s == 0 {
            return true;
        }
        if self.by_source.len() >= limits::BUCKET_COUNT_MAX && !self.by_source.contains_key(&source) {
            self.sweep(now);
            if self.by_source.len() >= limits::BUCKET_COUNT_MAX {
                return self.shared.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now);
            }
        }
        self.by_source.entry(source).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }

    /// A bucket that is full again says no more than none at all
    fn sweep(&mut self, now: Instant) {
        let pause = Duration::from_millis(limits::SWEEP_PAUSE_MS);
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < pause) {
            return;
        }
        self.swept_at = Some(now);
        let rate = self.rate;
        self.by_source.retain(|_, bucket| bucket.tokens(rate, now) < full(rate));
    }
}

fn full(rate: Rate) -> u64 {
    u64::from(rate.burst.max(1)) * 1_000
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { millitokens: full(rate), at: now }
    }

    fn tokens(&self, rate: Rate, now: Instant) -> u64 {
        let ms = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.millitokens.saturating_add(ms.saturating_mul(u64::from(rate.per_s))).min(full(rate))
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let tokens = self.tokens(rate, now);
        let is_enough = tokens >= 1_000;
        // The time of a refusal is not noted: less than a millisecond's worth would be lost each time.
        if is_enough {
            self.millitokens = tokens - 1_000;
            self.at = now;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::at;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut buckets = Buckets::new(Rate { per_s: 5, burst: 10 });
        assert_eq!((0..100).filter(|_| buckets.take(at(0), ip(1))).count(), 10);
        assert!(buckets.take(at(0), ip(2)), "another source has its own");
        assert_eq!((0..1_000).filter(|ms| buckets.take(at(*ms), ip(1))).count(), 4);
        assert!(buckets.take(at(1_000), ip(1)));
        assert_eq!((0..100).filter(|_| buckets.take(at(60_000), ip(1))).count(), 10, "never more than the burst");
    }

    #[test]
    fn no_rate_means_no_limit() {
        let mut buckets = Buckets::new(Rate { per_s: 0, burst: 0 });
        assert!((0..10_000).all(|_| buckets.take(at(0), ip(1))));
        assert!(buckets.by_source.is_empty());
    }

    #[test]
    fn a_crowd_shares_one_bucket_and_evicts_nobody() {
        let mut buckets = Buckets::new(Rate { per_s: 1, burst: 2 });
        assert!(buckets.take(at(0), ip(1)) && buckets.take(at(0), ip(1)));
        for n in 0..200_000 {
            buckets.take(at(0), ip(1_000 + n));
        }
        assert_eq!(buckets.by_source.len(), limits::BUCKET_COUNT_MAX);
        assert!(!buckets.take(at(0), ip(1)), "the first is remembered");
        assert!(!buckets.take(at(500), ip(5_000_000)), "the crowd's bucket is empty");
        assert!(buckets.take(at(10_000), ip(5_000_000)), "and all are forgotten once full again");
        assert!(buckets.by_source.len() < 10);
    }
}
