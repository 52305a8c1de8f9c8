//! What was sent and not answered yet: sans-IO, `now` is a parameter (ms of a clock
//! that is never set; its beginning doesn't matter).

use std::collections::BTreeMap;

use super::limits::{THROTTLED_MS, THROTTLED_MS_MAX};

/// Outstanding submissions of a connection by their sequence number (SMPP 3.4 §2.9), and when the next may go.
#[derive(Debug)]
pub(super) struct Window<T> {
    size: usize,
    response_ms: i64,
    /// Least time between two submissions; 0: none.
    gap_us: i64,
    next_us: i64,
    waiting: BTreeMap<u32, (i64, T)>,
    throttled_ms: i64,
    resume_at: i64,
}

impl<T> Window<T> {
    /// `per_second` 0: as fast as the answers come.
    pub(super) fn new(size: usize, response_ms: i64, per_second: u32) -> Self {
        let gap_us = if per_second == 0 { 0 } else { 1_000_000 / i64::from(per_second) };
        let waiting = BTreeMap::new();
        Self { size: size.max(1), response_ms, gap_us, next_us: 0, waiting, throttled_ms: 0, resume_at: 0 }
    }

    /// Whether another submission may be sent now.
    pub(super) fn has_room(&self, now: i64) -> bool {
        self.waiting.len() < self.size && now >= self.resume_at && now * 1000 >= self.next_us
    }

    /// Notes a submission; the job a hostile or wrapped sequence number pushes out.
    pub(super) fn sent(&mut self, sequence: u32, job: T, now: i64) -> Option<T> {
        // A second's worth may catch up at once after a pause.
        self.next_us = (self.next_us.max(now * 1000 - 1_000_000)) + self.gap_us;
        self.waiting.insert(sequence, (now + self.response_ms, job)).map(|(_, job)| job)
    }

    /// The job a response belongs to; `None` for one nobody asked for, or a second one.
    pub(super) fn answered(&mut self, sequence: u32) -> Option<T> {
        self.waiting.remove(&sequence).map(|(_, job)| job)
    }

    /// The peer wants us to be slower.
    pub(super) fn throttled(&mut self, now: i64) {
        // Answers to what was on its way already say the same thing once.
        if now >= self.resume_at {
            self.throttled_ms = (self.throttled_ms * 2).clamp(THROTTLED_MS, THROTTLED_MS_MAX);
            self.resume_at = now + self.throttled_ms;
        }
    }

    /// The peer took one.
    pub(super) fn flows(&mut self, now: i64) {
        if now >= self.resume_at {
            self.throttled_ms = 0;
        }
    }

    /// Jobs that were not answered in time.
    pub(super) fn expired(&mut self, now: i64) -> Vec<T> {
        let late: Vec<u32> = self.waiting.iter().filter(|(_, (at, _))| *at <= now).map(|(seq, _)| *seq).collect();
        late.into_iter().filter_map(|seq| self.answered(seq)).collect()
    }

    /// When something is to be looked at again.
    pub(super) fn next_timeout(&self, now: i64) -> Option<i64> {
        let response = self.waiting.values().map(|(at, _)| *at).min();
        let pause = Some(self.resume_at.max((self.next_us + 999) / 1000)).filter(|at| *at > now);
        response.into_iter().chain(pause).min()
    }

    /// All jobs, when the connection is gone.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::mem::take(&mut self.waiting).into_values().map(|(_, job)| job).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_outstanding_than_the_window_has() {
        let mut window = Window::new(2, 5_000, 0);
        assert!(window.sent(1, "a", 0).is_none() && window.has_room(0));
        window.sent(3, "b", 0);
        assert!(!window.has_room(0));
        assert_eq!((window.answered(3), window.answered(3)), (Some("b"), None), "a second answer is nobody's");
        assert!(window.has_room(0));
        assert_eq!(window.next_timeout(0), Some(5_000));
        assert_eq!((window.expired(4_999).len(), window.expired(5_000)), (0, vec!["a"]));
        window.sent(5, "c", 0);
        assert_eq!(window.sent(5, "d", 0), Some("c"), "the same number again");
        assert_eq!(window.drain(), ["d"]);
    }

    #[test]
    fn throttling_pauses_longer_each_time_and_ends_when_it_flows() {
        let mut window: Window<()> = Window::new(8, 5_000, 0);
        window.throttled(0);
        window.throttled(500);
        assert!(!window.has_room(999) && window.has_room(1_000), "answers within a pause count once");
        assert_eq!(window.next_timeout(0), Some(1_000));
        window.throttled(1_000);
        assert!(!window.has_room(2_999) && window.has_room(3_000));
        for at in (10_000..2_000_000).step_by(70_000) {
            window.throttled(at);
            assert!(window.has_room(at + THROTTLED_MS_MAX));
        }
        window.flows(3_000_000);
        window.throttled(3_000_000);
        assert!(window.has_room(3_000_000 + THROTTLED_MS));
    }

    #[test]
    fn a_rate_is_kept_over_seconds() {
        let mut window = Window::new(10_000, 60_000, 20);
        let mut sent = 0;
        for now in 100_000..110_000 {
            while window.has_room(now) {
                sent += 1;
                window.sent(sent, (), now);
            }
        }
        assert!((200..=222).contains(&sent), "{sent} in ten seconds, the first second's worth at once");
        assert!(window.next_timeout(109_999).is_some());
    }
}
