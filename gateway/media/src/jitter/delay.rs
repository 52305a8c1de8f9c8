//! How long to wait: the quickest packet lately is delay 0, and nearly all the others are to be
//! in time.

use super::ms;
use crate::limits::{FRAME_MS, JITTER_DELAY_MS_MAX, JITTER_DELAY_MS_MIN, JITTER_DELAY_MS_START};

/// Width of a class of delays.
const CLASS_MS: u64 = 5;
const CLASSES: usize = 64;
/// The share of packets that are to be in time.
const IN_TIME: f64 = 0.97;
/// Each packet weighs this much more than the one before: what was 10 s ago counts for a third.
const GROWTH: f64 = 1.002;
/// Weights are scaled down before they leave the numbers' range.
const WEIGHT_MAX: f64 = 1e12;
/// Packets that the starting value counts for.
const START_WEIGHT: f64 = 10.0;
/// The quickest packet is looked for in this many pieces of the past, of so many packets each: 5 s.
const PIECES: usize = 8;
const PIECE_PACKETS: u32 = 32;

#[derive(Debug)]
pub(super) struct DelayEstimate {
    /// The least transit time of each piece of the past; only differences mean something.
    least: [i64; PIECES],
    piece: usize,
    piece_packets: u32,
    classes: [f64; CLASSES],
    sum: f64,
    weight: f64,
    target: i64,
}

impl Default for DelayEstimate {
    fn default() -> Self {
        let mut classes = [0.0; CLASSES];
        classes[((JITTER_DELAY_MS_START - FRAME_MS) / CLASS_MS) as usize - 1] = START_WEIGHT;
        Self {
            least: [i64::MAX; PIECES],
            piece: 0,
            piece_packets: 0,
            classes,
            sum: START_WEIGHT,
            weight: 1.0,
            target: ms(JITTER_DELAY_MS_START),
        }
    }
}

impl DelayEstimate {
    /// Transit time of the quickest packet lately; `None` before the first.
    pub(super) fn base(&self) -> Option<i64> {
        self.least.iter().min().copied().filter(|least| *least != i64::MAX)
    }

    /// The delay behind the quickest packet at which to play, in samples.
    pub(super) fn target(&self) -> i64 {
        self.target
    }

    /// Takes the transit time of a packet.
    pub(super) fn observe(&mut self, transit: i64) {
        if self.piece_packets == PIECE_PACKETS {
            self.piece = (self.piece + 1) % PIECES;
            self.piece_packets = 0;
            self.least[self.piece] = i64::MAX;
        }
        self.piece_packets += 1;
        self.least[self.piece] = self.least[self.piece].min(transit);
        let delay = transit - self.base().unwrap_or(transit);
        let class = usize::try_from(delay / ms(CLASS_MS)).unwrap_or(0).min(CLASSES - 1);
        self.weight *= GROWTH;
        self.classes[class] += self.weight;
        self.sum += self.weight;
        if self.weight > WEIGHT_MAX {
            for value in self.classes.iter_mut().chain([&mut self.sum, &mut self.weight]) {
                *value /= WEIGHT_MAX;
            }
        }
        self.aim();
    }

    fn aim(&mut self) {
        let mut in_time = 0.0;
        let class = self.classes.iter().position(|share| {
            in_time += share;
            in_time >= self.sum * IN_TIME
        });
        let delay = ms((class.unwrap_or(CLASSES - 1) as u64 + 1) * CLASS_MS);
        // A frame more: a tick reads up to a frame ahead of the packet it needs last.
        let aim = delay + ms(FRAME_MS);
        self.target = aim.clamp(ms(JITTER_DELAY_MS_MIN), ms(JITTER_DELAY_MS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_network_needs_little_and_a_shaken_one_as_much_as_it_shakes() {
        let mut estimate = DelayEstimate::default();
        assert_eq!(estimate.target(), ms(JITTER_DELAY_MS_START));
        for _ in 0..1000 {
            estimate.observe(5000);
        }
        assert_eq!(estimate.target(), ms(25));
        assert_eq!(estimate.base(), Some(5000));
        for n in 0..2000 {
            estimate.observe(5000 + (n * 7919) % ms(60));
        }
        assert!((ms(75)..=ms(80)).contains(&estimate.target()), "{}", estimate.target());
        for _ in 0..4000 {
            estimate.observe(5000);
        }
        assert_eq!(estimate.target(), ms(25), "calm again");
    }

    #[test]
    fn one_straggler_changes_nothing_and_a_slower_route_is_the_new_zero() {
        let mut estimate = DelayEstimate::default();
        for n in 0..1000 {
            estimate.observe(if n % 500 == 499 { ms(150) } else { 0 });
        }
        assert_eq!(estimate.target(), ms(25));
        for _ in 0..3000 {
            estimate.observe(ms(80));
        }
        assert_eq!((estimate.base(), estimate.target()), (Some(ms(80)), ms(25)));
    }

    #[test]
    fn hours_of_packets_keep_the_numbers_in_range() {
        let mut estimate = DelayEstimate::default();
        for n in 0..200_000 {
            estimate.observe((n % 10) * 40);
        }
        assert!(estimate.sum.is_finite() && estimate.weight <= WEIGHT_MAX);
        assert!((ms(65)..=ms(70)).contains(&estimate.target()));
    }
}
