//! The pitch period of what was played last, and its repetition.

use super::HISTORY;
use crate::limits::{CONCEAL_PITCH_MAX, CONCEAL_PITCH_MIN};

/// The last samples are compared with what lies a period before them over this.
const WINDOW: usize = 160;

/// The lag at which the end of `history` resembles itself most.
pub(super) fn period(history: &[i16; HISTORY]) -> usize {
    let recent = &history[HISTORY - WINDOW..];
    let mut best = (CONCEAL_PITCH_MIN, f32::MIN);
    for lag in CONCEAL_PITCH_MIN..=CONCEAL_PITCH_MAX {
        let before = &history[HISTORY - WINDOW - lag..HISTORY - lag];
        let likeness = likeness(recent, before);
        if likeness > best.1 {
            best = (lag, likeness);
        }
    }
    best.0
}

/// The correlation of two pieces in −1…1; 0 where one is silent.
pub(crate) fn likeness(a: &[i16], b: &[i16]) -> f32 {
    let (mut cross, mut power_a, mut power_b) = (0.0f32, 0.0f32, 0.0f32);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f32::from(a), f32::from(b));
        cross += a * b;
        power_a += a * a;
        power_b += b * b;
    }
    let power = (power_a * power_b).sqrt();
    if power < 1.0 { 0.0 } else { cross / power }
}

/// The last one to three periods, repeated without a seam.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    history: [i16; HISTORY],
    pub(super) period: usize,
    pub(super) periods: usize,
    at: usize,
}

impl Cycle {
    pub(super) fn new(history: &[i16; HISTORY], period: usize, periods: usize) -> Self {
        Self { history: *history, period, periods, at: 0 }
    }

    /// One period more, at the same place within the period.
    pub(super) fn lengthened(&self) -> Self {
        Self { periods: self.periods + 1, at: self.at % self.period, ..self.clone() }
    }

    pub(super) fn next(&mut self) -> i16 {
        let len = self.period * self.periods;
        let start = HISTORY - len;
        let value = self.history[start + self.at];
        // The last quarter turns into what came before the first sample, so that the end meets the start.
        let quarter = self.period / 4;
        let left = len - self.at;
        let value = if left <= quarter {
            let before = f32::from(self.history[start - left]);
            let weight = left as f32 / (quarter + 1) as f32;
            (before + (f32::from(value) - before) * weight) as i16
        } else {
            value
        };
        self.at = (self.at + 1) % len;
        value
    }
}
