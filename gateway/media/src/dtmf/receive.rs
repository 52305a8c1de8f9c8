//! Reception: each key press is reported once, whatever the network does to its packets.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{EventPayload, digit_of};
use crate::limits::{DTMF_END_TIMEOUT_MS, DTMF_SEEN_MAX, SAMPLES_PER_MS};

/// A finished key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// `0-9 * # A-D`.
    pub digit: char,
    /// How long it was held, as far as received.
    pub duration_ms: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    key: (u32, u32),
    event: u8,
    /// Duration of earlier segments of a very long press (RFC 4733 §2.5.1.3).
    segments: u32,
    duration: u16,
    heard_at: Instant,
}

impl Pressed {
    fn digit(&self) -> Option<Digit> {
        let samples = u64::from(self.segments) + u64::from(self.duration);
        let duration_ms = u32::try_from(samples / SAMPLES_PER_MS).unwrap_or(u32::MAX);
        digit_of(self.event).map(|digit| Digit { digit, duration_ms })
    }
}

/// Reception state of one leg.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    pressed: Option<Pressed>,
    /// (SSRC, timestamp) of finished presses: their repeated ends are ignored.
    seen: VecDeque<(u32, u32)>,
    presses: u32,
}

impl Receiver {
    /// Takes an event packet. At most two digits result: a press whose end was lost, finished by
    /// the next one, and that next one.
    pub fn receive(&mut self, now: Instant, ssrc: u32, timestamp: u32, payload: &[u8]) -> [Option<Digit>; 2] {
        let Some(event) = EventPayload::parse(payload) else {
            return [None; 2];
        };
        let key = (ssrc, timestamp);
        if digit_of(event.event).is_none() || self.seen.contains(&key) {
            return [None; 2];
        }
        let mut finished = None;
        match &mut self.pressed {
            Some(pressed) if pressed.key == key && pressed.event == event.event => {
                pressed.duration = pressed.duration.max(event.duration);
                pressed.heard_at = now;
            }
            Some(pressed) if follows(pressed, key, event) => {
                pressed.segments += 0xFFFF;
                pressed.key = key;
                pressed.duration = event.duration;
                pressed.heard_at = now;
            }
            Some(pressed) if is_older(key, pressed.key) => return [None; 2],
            _ => {
                finished = self.finish();
                self.presses = self.presses.wrapping_add(1);
                let duration = event.duration;
                self.pressed = Some(Pressed { key, event: event.event, segments: 0, duration, heard_at: now });
            }
        }
        [finished, if event.end { self.finish() } else { None }]
    }

    /// How many presses have begun: the number of the one in progress, or of the last.
    #[must_use]
    pub fn presses(&self) -> u32 {
        self.presses
    }

    /// Finishes a press that has not been heard of for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Digit> {
        let due = self.poll_timeout().is_some_and(|due| due <= now);
        if due { self.finish() } else { None }
    }

    /// Finishes the press in progress, because the leg ends.
    pub fn flush(&mut self) -> Option<Digit> {
        self.finish()
    }

    /// When the press in progress counts as ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pressed.map(|pressed| pressed.heard_at + Duration::from_millis(DTMF_END_TIMEOUT_MS))
    }

    fn finish(&mut self) -> Option<Digit> {
        let pressed = self.pressed.take()?;
        if self.seen.len() == DTMF_SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(pressed.key);
        pressed.digit()
    }
}

/// The next segment of a press longer than the duration field holds.
fn follows(pressed: &Pressed, key: (u32, u32), event: EventPayload) -> bool {
    pressed.event == event.event
        && pressed.duration > 0xF000
        && key.0 == pressed.key.0
        && key.1 == pressed.key.1.wrapping_add(0xFFFF)
}

/// A straggler of a press that was finished and forgotten.
fn is_older(key: (u32, u32), than: (u32, u32)) -> bool {
    let behind = than.1.wrapping_sub(key.1);
    key.0 == than.0 && behind > 0 && behind < 8000 * 10
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
mod tests {
    use super::*;

    fn packet(event: u8, end: bool, duration: u16) -> [u8; 4] {
        EventPayload { event, end, volume: 10, duration }.bytes()
    }

    #[test]
    fn one_press_is_reported_once_with_its_duration() {
        let now = Instant::now();
        let mut receiver = Receiver::default();
        let mut digits = Vec::new();
        for n in 1..=5u16 {
            digits.extend(receiver.receive(now, 1, 800, &packet(5, false, n * 160)));
        }
        for _ in 0..3 {
            digits.extend(receiver.receive(now, 1, 800, &packet(5, true, 960)));
        }
        let digits: Vec<Digit> = digits.into_iter().flatten().collect();
        assert_eq!(digits, [Digit { digit: '5', duration_ms: 120 }]);
        assert_eq!(receiver.handle_timeout(now + Duration::from_secs(9)), None);
    }

    #[test]
    fn lost_ends_are_replaced_by_the_timeout_or_the_next_press() {
        let now = Instant::now();
        let mut receiver = Receiver::default();
        receiver.receive(now, 1, 800, &packet(1, false, 320));
        assert_eq!(receiver.handle_timeout(now + Duration::from_millis(199)), None);
        let late = now + Duration::from_millis(200);
        assert_eq!(receiver.handle_timeout(late).map(|d| d.digit), Some('1'));
        assert_eq!(receiver.receive(late, 1, 800, &packet(1, true, 400)), [None; 2], "already reported");
        receiver.receive(late, 1, 4000, &packet(10, false, 160));
        let [first, second] = receiver.receive(late, 1, 6000, &packet(11, true, 400));
        assert_eq!(first.map(|d| d.digit), Some('*'));
        assert_eq!(second.map(|d| d.digit), Some('#'));
        assert_eq!(receiver.receive(late, 1, 4000, &packet(10, true, 160)), [None; 2]);
    }

    #[test]
    fn the_same_key_twice_is_two_digits_and_a_very_long_press_is_one() {
        let now = Instant::now();
        let mut receiver = Receiver::default();
        let mut count = 0;
        for press in 0..2u32 {
            for _ in 0..3 {
                count += receiver.receive(now, 1, press * 2000, &packet(7, true, 800)).into_iter().flatten().count();
            }
        }
        assert_eq!(count, 2);
        assert_eq!(receiver.receive(now, 1, 10_000, &packet(2, false, 0xFFFF)), [None; 2]);
        assert_eq!(receiver.receive(now, 1, 10_000 + 0xFFFF, &packet(2, false, 160)), [None; 2]);
        let [_, done] = receiver.receive(now, 1, 10_000 + 0xFFFF, &packet(2, true, 800));
        assert_eq!(done, Some(Digit { digit: '2', duration_ms: (0xFFFF + 800) / 8 }));
    }

    #[test]
    fn events_beyond_dtmf_and_short_payloads_are_ignored() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.receive(Instant::now(), 1, 0, &packet(16, true, 800)), [None; 2]);
        assert_eq!(receiver.receive(Instant::now(), 1, 0, &[1, 2, 3]), [None; 2]);
        assert_eq!(receiver.poll_timeout(), None);
    }
}
