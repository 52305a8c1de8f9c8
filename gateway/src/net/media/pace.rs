//! How often a busy thread looks: at most about every two milliseconds.
//!
//! A wake-up costs as much as a packet. With 10,000 packets a second each would bring its own;
//! a short sleep before each look lets one wake-up serve those that came in it, which delays a
//! packet by at most that much, a tenth of its length. A thread with little to do doesn't sleep: it
//! would gain nothing. Neither does one that finds more on a socket it has just read: a look takes
//! one datagram of each, and a burst or flood on one must not wait for its turns.

use std::time::{Duration, Instant};

use super::limits::{BUSY_PACKETS, COALESCE_US, PACE_MS, READY_MAX};

#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    datagrams: usize,
    is_busy: bool,
    has_more: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, datagrams: 0, is_busy: false, has_more: false }
    }

    /// Counts what one look found, `again` of it on sockets the look before had read, too. Returns
    /// whether a period of counting has ended.
    pub(super) fn note(&mut self, now: Instant, datagrams: usize, again: usize) -> bool {
        self.datagrams += datagrams;
        self.has_more = datagrams >= READY_MAX || again > 0;
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
        (self.is_busy && !self.has_more).then_some(Duration::from_micros(COALESCE_US))
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
        pace.note(at(1), BUSY_PACKETS - 1, 0);
        assert_eq!(pace.nap(), None);
        assert!(!pace.note(at(1) + Duration::from_millis(1), BUSY_PACKETS, 0));
        assert_eq!(pace.nap(), None, "judged once a period");
        assert!(pace.note(at(2), 0, 0));
        assert_eq!(pace.nap(), Some(Duration::from_micros(COALESCE_US)));
        pace.note(at(2), READY_MAX, 0);
        assert_eq!(pace.nap(), None);
        pace.note(at(2), 0, 0);
        assert!(pace.nap().is_some());
        pace.note(at(2), 3, 1);
        assert_eq!(pace.nap(), None, "a socket with more than one");
        pace.note(at(2), 3, 0);
        assert!(pace.nap().is_some());
        pace.note(at(3), 0, 0);
        pace.note(at(4), 0, 0);
        assert_eq!(pace.nap(), None, "quiet again");
    }
}
