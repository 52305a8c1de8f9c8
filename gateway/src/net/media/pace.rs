//! How often a busy thread looks: at most about once a millisecond.
//!
//! A wake-up costs as much as a packet. With 10,000 packets a second each would bring its own;
//! a short sleep before each look lets one wake-up serve those of a millisecond, which delays a
//! packet by at most that much. A thread with little to do doesn't sleep: it would gain nothing.

use std::time::{Duration, Instant};

use super::limits::{BUSY_PACKETS, COALESCE_US, PACE_MS, READY_MAX};

#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    datagrams: usize,
    is_busy: bool,
    was_full: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, datagrams: 0, is_busy: false, was_full: false }
    }

    /// Counts what one look found. Returns whether a period of counting has ended.
    pub(super) fn note(&mut self, now: Instant, datagrams: usize) -> bool {
        self.datagrams += datagrams;
        self.was_full = datagrams >= READY_MAX;
        let ended = now.saturating_duration_since(self.since) >= Duration::from_millis(PACE_MS);
        if ended {
            self.is_busy = self.datagrams >= BUSY_PACKETS;
            self.datagrams = 0;
            self.since = now;
        }
        ended
    }

    /// How long to sleep before the next look; never when more is known to wait.
    pub(super) fn nap(&self) -> Option<Duration> {
        (self.is_busy && !self.was_full).then_some(Duration::from_micros(COALESCE_US))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_thread_sleeps_and_never_with_more_waiting() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |n: u64| start + Duration::from_millis(n * PACE_MS);
        pace.note(at(1), BUSY_PACKETS - 1);
        assert_eq!(pace.nap(), None);
        assert!(!pace.note(at(1) + Duration::from_millis(1), BUSY_PACKETS));
        assert_eq!(pace.nap(), None, "judged once a period");
        assert!(pace.note(at(2), 0));
        assert_eq!(pace.nap(), Some(Duration::from_micros(COALESCE_US)));
        pace.note(at(2), READY_MAX);
        assert_eq!(pace.nap(), None);
        pace.note(at(2), 0);
        assert!(pace.nap().is_some());
        pace.note(at(3), 0);
        pace.note(at(4), 0);
        assert_eq!(pace.nap(), None, "quiet again");
    }
}
