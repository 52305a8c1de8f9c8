//! What was submitted and isn't answered, and how fast more may follow.

use std::collections::BTreeMap;

use super::limits::{THROTTLE_MS, THROTTLE_MS_MAX};

/// One request of ours that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) token: u64,
    pub(super) since: u64,
}

/// Thousandths of a message: whole numbers are enough for any rate.
const ONE: u64 = 1_000;

/// The sliding window and the rate of a connection.
#[derive(Debug)]
pub(super) struct Window {
    len_max: usize,
    rate: u64,
    waiting: BTreeMap<u32, Waiting>,
    next: u32,
    tokens: u64,
    filled_at: u64,
    paused_until: u64,
    pause_ms: u64,
}

impl Window {
    /// `rate` is messages a second; 0: any.
    pub(super) fn new(len_max: usize, rate: u32, first_sequence: u32, now: u64) -> Self {
        let rate = u64::from(rate);
        Self {
            len_max: len_max.max(1),
            rate,
            waiting: BTreeMap::new(),
            next: first_sequence,
            tokens: rate.max(1) * ONE,
            filled_at: now,
            paused_until: 0,
            pause_ms: THROTTLE_MS,
        }
    }

    /// A sequence nobody waits for.
    pub(super) fn sequence(&mut self) -> u32 {
        loop {
            self.next = self.next.wrapping_add(1);
            if self.next != 0 && !self.waiting.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    fn fill(&mut self, now: u64) {
        // One second's worth at most is saved up.
        let gained = now.saturating_sub(self.filled_at).min(ONE) * self.rate;
        self.tokens = (self.tokens + gained).min(self.rate.max(1) * ONE);
        self.filled_at = now;
    }

    /// When the next message may go: `now`, later, or `None` while the window is full.
    pub(super) fn ready_at(&self, now: u64) -> Option<u64> {
        if self.waiting.len() >= self.len_max {
            return None;
        }
        let saved = self.tokens + now.saturating_sub(self.filled_at).min(ONE) * self.rate;
        let by_rate = if self.rate == 0 || saved >= ONE { now } else { now + (ONE - saved).div_ceil(self.rate) };
        Some(by_rate.max(self.paused_until))
    }

    /// Takes a place and one message of the rate.
    pub(super) fn take(&mut self, token: u64, now: u64) -> u32 {
        self.fill(now);
        self.tokens = self.tokens.saturating_sub(ONE);
        let sequence = self.sequence();
        self.waiting.insert(sequence, Waiting { token, since: now });
        sequence
    }

    /// The answer to `sequence` is there.
    pub(super) fn answered(&mut self, sequence: u32) -> Option<Waiting> {
        self.waiting.remove(&sequence)
    }

    /// The carrier wants less: nothing for a while, longer each time.
    pub(super) fn throttled(&mut self, now: u64) {
        // Answers to what was under way already say nothing new.
        if now >= self.paused_until {
            self.paused_until = now + self.pause_ms;
            self.pause_ms = (self.pause_ms * 2).min(THROTTLE_MS_MAX);
        }
    }

    /// The carrier took one: the next pause is short again.
    pub(super) fn flows(&mut self, now: u64) {
        if now >= self.paused_until {
            self.pause_ms = THROTTLE_MS;
        }
    }

    /// When the oldest answer is overdue.
    pub(super) fn overdue_at(&self, response_ms: u64) -> Option<u64> {
        self.waiting.values().map(|w| w.since + response_ms).min()
    }

    /// Gives up on what has waited since `response_ms` or longer.
    pub(super) fn overdue(&mut self, now: u64, response_ms: u64) -> Vec<u64> {
        let late: Vec<u32> =
            self.waiting.iter().filter(|(_, w)| w.since + response_ms <= now).map(|(s, _)| *s).collect();
        late.iter().filter_map(|s| self.waiting.remove(s)).map(|w| w.token).collect()
    }

    /// Gives up on everything.
    pub(super) fn abandon(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.waiting).into_values().map(|w| w.token).collect()
    }

    /// Requests not answered yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_never_exceeded_and_the_rate_is_kept() {
        let mut window = Window::new(16, 20, u32::MAX - 3, 0);
        let mut now = 0;
        let mut sent = 0u64;
        let mut open = std::collections::VecDeque::new();
        while now < 10_000 {
            while window.ready_at(now).is_some_and(|at| at <= now) {
                open.push_back(window.take(sent, now));
                sent += 1;
                assert!(window.len() <= 16);
            }
            if let Some(sequence) = open.pop_front() {
                assert!(sequence != 0 && window.answered(sequence).is_some());
            }
            now += 5;
        }
        // Ten seconds at 20 a second and the second saved up at the start.
        assert!((215..=221).contains(&sent), "{sent}");
    }

    #[test]
    fn a_full_window_waits_for_answers_and_gives_up_in_time() {
        let mut window = Window::new(2, 0, 0, 0);
        window.take(7, 0);
        let second = window.take(8, 10);
        assert_eq!(window.ready_at(20), None);
        assert_eq!(window.overdue_at(60_000), Some(60_000));
        assert_eq!(window.overdue(60_000, 60_000), [7]);
        assert_eq!(window.answered(second).unwrap().token, 8);
        assert_eq!(window.answered(second), None, "an answer that comes twice counts once");
    }

    #[test]
    fn flow_control_pauses_longer_each_time() {
        let mut window = Window::new(16, 0, 0, 0);
        window.throttled(0);
        window.throttled(10);
        assert_eq!(window.ready_at(10), Some(1_000), "answers under way don't add up");
        window.throttled(1_000);
        assert_eq!(window.ready_at(1_000), Some(3_000));
        window.flows(3_000);
        window.throttled(3_000);
        assert_eq!(window.ready_at(3_000), Some(4_000));
    }
}
