//! Who keeps failing: pauses that grow, and when a source has had its chances

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::limits;

#[derive(Clone, Copy)]
struct Record {
    /// Wrong passwords, and attempts during a pause
    failures: u32,
    /// Requests that got us nothing but work: challenges nobody answered, refusals
    idle: u32,
    last: Instant,
    pause_until: Instant,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self { failures: 0, idle: 0, last: now, pause_until: now }
    }

    fn has_lapsed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > Duration::from_millis(limits::FAILURE_WINDOW_MS)
    }
}

/// The failures of sources, or of claimed users
///
/// Beyond [`limits::FAILURE_RECORD_COUNT_MAX`] the rest share one record.
pub(crate) struct Failures<K> {
    /// Failures without a pause
    free: u32,
    by_key: HashMap<K, Record>,
    shared: Option<Record>,
    swept_at: Option<Instant>,
}

impl<K: Hash + Eq + Clone> Failures<K> {
    pub(crate) fn new(free: u32) -> Self {
        Self { free, by_key: HashMap::new(), shared: None, swept_at: None }
    }

    fn record(&mut self, now: Instant, key: &K) -> (&mut Record, bool) {
        if !self.by_key.contains_key(key) && self.by_key.len() >= limits::FAILURE_RECORD_COUNT_MAX {
            let pause = Duration::from_millis(limits::SWEEP_PAUSE_MS);
            if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= pause) {
                self.swept_at = Some(now);
                self.by_key.retain(|_, record| !record.has_lapsed(now));
            }
            if self.by_key.len() >= limits::FAILURE_RECORD_COUNT_MAX {
                return (self.shared.get_or_insert_with(|| Record::new(now)), false);
            }
        }
        (self.by_key.entry(key.clone()).or_insert_with(|| Record::new(now)), true)
    }

    /// Whether `key` has to wait before it may try again; counts the attempt if so
    pub(crate) fn is_paused(&mut self, now: Instant, key: &K) -> bool {
        let full = self.by_key.len() >= limits::FAILURE_RECORD_COUNT_MAX;
        let record = match self.by_key.get_mut(key) {
            Some(record) => Some(record),
            None if full => self.shared.as_mut(),
            None => None,
        };
        let Some(record) = record.filter(|r| r.pause_until > now) else {
            return false;
        };
        record.failures = record.failures.saturating_add(1);
        true
    }

    /// A wrong password; gives the failures so far, 0 for one of the crowd
    pub(crate) fn note_failure(&mut self, now: Instant, key: &K) -> u32 {
        let free = self.free;
        let (record, is_own) = self.record(now, key);
        if record.has_lapsed(now) {
            *record = Record::new(now);
        }
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        if record.failures > free {
            let doublings = (record.failures - free - 1).min(16);
            let pause_ms = (limits::PAUSE_FIRST_MS << doublings).min(limits::PAUSE_MS_MAX);
            record.pause_until = now + Duration::from_millis(pause_ms);
        }
        if is_own { record.failures } else { 0 }
    }

    /// A request that led to nothing, `weight` times; gives their sum, 0 for one of the crowd
    pub(crate) fn note_idle(&mut self, now: Instant, key: &K, weight: u32) -> u32 {
        let (record, is_own) = self.record(now, key);
        if record.has_lapsed(now) {
            *record = Record::new(now);
        }
        record.idle = record.idle.saturating_add(weight);
        record.last = now;
        if is_own { record.idle } else { 0 }
    }

    /// Failures counted so far
    pub(crate) fn count(&self, key: &K) -> u32 {
        self.by_key.get(key).map_or(0, |record| record.failures)
    }

    /// A right password: what it asked for led to something; its failures stand
    pub(crate) fn note_success(&mut self, key: &K) {
        if let Some(record) = self.by_key.get_mut(key) {
            record.idle = 0;
            if record.failures == 0 {
                self.by_key.remove(key);
            }
        }
    }

    pub(crate) fn forget(&mut self, key: &K) {
        self.by_key.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::at;

    #[test]
    fn pauses_grow_and_lapse() {
        let mut failures = Failures::new(3);
        for n in 1..=3 {
            assert_eq!(failures.note_failure(at(0), &"a"), n);
            assert!(!failures.is_paused(at(0), &"a"), "{n}");
        }
        failures.note_failure(at(0), &"a");
        assert!(failures.is_paused(at(999), &"a"));
        assert!(!failures.is_paused(at(1_000), &"a"));
        assert!(!failures.is_paused(at(0), &"b"), "nobody else waits");
        assert_eq!(failures.note_failure(at(1_000), &"a"), 6, "the attempt in the pause counts");
        assert!(failures.is_paused(at(4_999), &"a") && !failures.is_paused(at(5_000), &"a"));
        for _ in 0..40 {
            failures.note_failure(at(5_000), &"a");
        }
        assert!(!failures.is_paused(at(5_000 + limits::PAUSE_MS_MAX), &"a"));
        let later = 10_000 + limits::FAILURE_WINDOW_MS;
        assert_eq!(failures.note_failure(at(later), &"a"), 1, "old failures are forgotten");
    }

    #[test]
    fn a_success_clears_idle_requests_only() {
        let mut failures = Failures::new(3);
        assert_eq!(failures.note_idle(at(0), &"a", 10), 10);
        failures.note_failure(at(0), &"a");
        failures.note_success(&"a");
        assert_eq!((failures.note_idle(at(0), &"a", 1), failures.count(&"a")), (1, 1));
        failures.note_idle(at(0), &"b", 1);
        failures.note_success(&"b");
        assert_eq!(failures.by_key.len(), 1);
    }

    #[test]
    fn a_crowd_is_paused_together_and_blamed_for_nothing() {
        let mut failures = Failures::new(1);
        for n in 0..limits::FAILURE_RECORD_COUNT_MAX {
            assert_eq!(failures.note_failure(at(0), &n), 1);
        }
        assert_eq!(failures.note_failure(at(0), &usize::MAX), 0);
        failures.note_failure(at(0), &(usize::MAX - 1));
        assert!(failures.is_paused(at(1), &(usize::MAX - 2)));
        assert_eq!(failures.by_key.len(), limits::FAILURE_RECORD_COUNT_MAX);
    }
}
