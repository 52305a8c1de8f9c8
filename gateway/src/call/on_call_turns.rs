//! Whose turn it is among the phones on call: the roster in order, some rounds with pauses. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The whole roster is rung so often for one wait. Who is in danger is not given up: they are asked for again …
const ROUNDS_MAX: u8 = 3;
/// … after this pause, as long as the caller holds.
const DANGER_PAUSE: Duration = Duration::from_secs(60);
/// Pause between two rounds. A round in which every number talked with somebody else, or none could be dialled, counts
/// for none: it is as if the caller waited for an operator who talks.
const ROUND_PAUSE: Duration = Duration::from_secs(10);

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    all: Vec<String>,
    left: VecDeque<String>,
    round: u8,
    /// A number was rung in this round, or never will be.
    tried: bool,
    /// When the next round begins, in a pause.
    pub(super) again_at: Option<Instant>,
}

impl Turns {
    pub(super) fn new(all: Vec<String>) -> Self {
        Self { left: all.iter().cloned().collect(), all, round: 1, tried: false, again_at: None }
    }

    /// The next number to ring. `None`: the round is over, another follows after a pause, or none.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        let next = self.left.pop_front();
        let goes_on = self.round < ROUNDS_MAX || !self.tried;
        if next.is_none() && self.again_at.is_none() && goes_on && !self.all.is_empty() {
            self.again_at = Some(now + ROUND_PAUSE);
        }
        next
    }

    /// That number rings, or no later round would: this one counts.
    pub(super) fn tried(&mut self) {
        self.tried = true;
    }

    /// All rounds are over, and begin anew after a pause.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        (self.round, self.again_at) = (0, Some(now + DANGER_PAUSE));
    }

    /// The pause is over.
    pub(super) fn begin_round(&mut self, now: Instant) -> bool {
        let begins = self.again_at.take_if(|at| *at <= now).is_some();
        if begins {
            self.round += u8::from(self.tried || self.round == 0);
            self.tried = false;
            self.left = self.all.iter().cloned().collect();
        }
        begins
    }

    /// Nobody is to be rung any more.
    pub(super) fn is_over(&self) -> bool {
        self.again_at.is_none() && self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roster_is_rung_in_order_three_times_and_then_no_more() {
        let mut now = Instant::now();
        let mut turns = Turns::new(vec!["1".into(), "2".into()]);
        let mut rung = Vec::new();
        loop {
            while let Some(number) = turns.next(now) {
                turns.tried();
                rung.push(number);
            }
            if turns.is_over() {
                break;
            }
            assert!(!turns.begin_round(now), "a pause first");
            now += ROUND_PAUSE;
            assert!(turns.begin_round(now));
        }
        assert_eq!(rung, ["1", "2", "1", "2", "1", "2"]);
        assert!(!turns.begin_round(now + ROUND_PAUSE));
    }

    #[test]
    fn a_round_in_which_everybody_talks_counts_for_none_and_danger_is_asked_for_again() {
        let mut now = Instant::now();
        let mut turns = Turns::new(vec!["1".into()]);
        for _ in 0..2 * ROUNDS_MAX {
            assert_eq!((turns.next(now), turns.next(now)), (Some("1".into()), None), "in use");
            assert!(!turns.is_over());
            now += ROUND_PAUSE;
            assert!(turns.begin_round(now));
        }
        for round in 1..=ROUNDS_MAX {
            assert_eq!(turns.next(now), Some("1".into()));
            turns.tried();
            assert_eq!((turns.next(now), turns.is_over()), (None, round == ROUNDS_MAX));
            now += ROUND_PAUSE;
            turns.begin_round(now);
        }
        turns.begin_anew(now);
        assert!(!turns.begin_round(now + ROUND_PAUSE) && turns.begin_round(now + DANGER_PAUSE));
        assert_eq!((turns.next(now), turns.is_over()), (Some("1".into()), true), "not yet told to go on");
        turns.tried();
        assert_eq!((turns.next(now), turns.is_over()), (None, false), "three rounds again");
    }
}
