//! The pacing wheel: ticks of 5 ms by absolute time, every leg served on every fourth.
//!
//! Tick n is due at start + n × 5 ms whatever happened before, so prompts never drift.

use std::time::{Duration, Instant};

use crate::{
    LegId,
    limits::{TICK_CATCH_UP_MAX, TICK_LEGS_SHARED, TICK_MS, TICK_PHASES},
};

#[derive(Debug)]
pub(super) struct Wheel {
    started: Instant,
    /// Ticks served or skipped.
    done: u64,
    slots: [Vec<LegId>; TICK_PHASES],
}

impl Wheel {
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, done: 0, slots: Default::default() }
    }

    fn tick_at(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX) / TICK_MS
    }

    fn instant_of(&self, tick: u64) -> Instant {
        self.started + Duration::from_millis(tick * TICK_MS)
    }

    fn is_empty(&self) -> bool {
        self.slots.iter().all(Vec::is_empty)
    }

    /// Adds a leg that is not on the wheel to a phase, which the leg has to remember. Few legs share a
    /// phase, since each phase in use wakes the thread 50 times a second; many spread.
    pub(super) fn add(&mut self, now: Instant, leg: LegId) -> usize {
        if self.is_empty() {
            self.done = self.tick_at(now);
        }
        // Among equals the phase that comes next, so that a prompt starts without delay.
        let next = (self.done + 1) as usize;
        let phases = || (0..TICK_PHASES).map(|n| (next + n) % TICK_PHASES);
        let shared = phases().find(|slot| (1..TICK_LEGS_SHARED).contains(&self.slots[*slot].len()));
        let slot = shared.or_else(|| phases().min_by_key(|slot| self.slots[*slot].len())).unwrap_or(0);
        self.slots[slot].push(leg);
        slot
    }

    /// Takes a leg off its phase; only for a leg that closes while it is paced.
    pub(super) fn remove(&mut self, slot: usize, leg: LegId) {
        if let Some(index) = self.slots[slot].iter().position(|other| *other == leg) {
            self.remove_at(slot, index);
        }
    }

    /// Takes the leg at `index` off a phase; the last one takes its place.
    pub(super) fn remove_at(&mut self, slot: usize, index: usize) {
        self.slots[slot].swap_remove(index);
    }

    pub(super) fn legs(&self, slot: usize) -> &[LegId] {
        &self.slots[slot]
    }

    /// The next tick that is due by `now` and has legs: its phase and its scheduled time.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let current = self.tick_at(now);
        if self.is_empty() {
            self.done = current.max(self.done);
            return None;
        }
        self.done = self.done.max(current.saturating_sub(TICK_CATCH_UP_MAX));
        while self.done < current {
            self.done += 1;
            let slot = self.done as usize % TICK_PHASES;
            if !self.slots[slot].is_empty() {
                return Some((slot, self.instant_of(self.done)));
            }
        }
        None
    }

    /// When the next tick with legs is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (1..=TICK_PHASES as u64)
            .map(|n| self.done + n)
            .find(|tick| !self.slots[*tick as usize % TICK_PHASES].is_empty())
            .map(|tick| self.instant_of(tick))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
mod tests {
    use super::*;

    #[test]
    fn few_legs_share_a_phase_many_spread_and_are_served_every_20_ms() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let legs = TICK_LEGS_SHARED * TICK_PHASES + 8;
        for n in 0..legs {
            wheel.add(start, LegId(n as u64));
            let used = wheel.slots.iter().filter(|slot| !slot.is_empty()).count();
            assert!(used == TICK_PHASES || used == n / TICK_LEGS_SHARED + 1, "{n} legs on {used} phases");
        }
        assert!(wheel.slots.iter().all(|slot| slot.len() == TICK_LEGS_SHARED + 2));
        let mut served = 0;
        for ms in 1..=1000 {
            while let Some((slot, at)) = wheel.next_due(start + Duration::from_millis(ms)) {
                assert!(at <= start + Duration::from_millis(ms));
                served += wheel.legs(slot).len();
            }
        }
        assert_eq!(served, legs * 50);
    }

    #[test]
    fn a_long_stall_is_not_made_up_for() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let slot = wheel.add(start, LegId(1));
        let mut served = 0;
        while wheel.next_due(start + Duration::from_secs(60)).is_some() {
            served += 1;
        }
        assert_eq!(served, 10);
        wheel.remove(slot, LegId(1));
        assert_eq!(wheel.next_at(), None);
    }
}
