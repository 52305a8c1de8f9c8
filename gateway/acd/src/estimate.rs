//! How long a place in the line takes: measured, never guessed.
//!
//! Two figures are kept. The *gap* is the mean time between two service starts while somebody is kept waiting, over
//! about the last [`GAPS`]; place × gap is the time until a caller's turn if everybody ahead is served. The
//! *correction* is how the waits of callers who joined at about the same place (1, 2, 3–4, 5–8 …) really compared
//! with that product: callers ahead who give up, skills and lanes are all in it. Without a measured gap there is no
//! estimate. Callers offered at once say nothing about waiting and are left out.

/// Service starts a mean reaches back over.
const GAPS: u32 = 20;
/// Waits needed before a correction counts.
const WAITS_MIN: u32 = 3;
/// A single wait corrects no further than this either way: one odd caller is no rule.
const CORRECTION: (f64, f64) = (0.2, 5.0);
/// Places told apart: 1, 2, 3–4, 5–8, … and all beyond.
const BUCKETS: usize = 10;

/// The measurements of one queue.
#[derive(Clone, Debug)]
pub struct Estimator {
    gap_ms: f64,
    gaps: u32,
    last_start: Option<i64>,
    /// Somebody is kept waiting since then.
    busy_since: Option<i64>,
    kept: usize,
    corrections: [(f64, u32); BUCKETS],
}

impl Default for Estimator {
    fn default() -> Self {
        Self { gap_ms: 0.0, gaps: 0, last_start: None, busy_since: None, kept: 0, corrections: [(1.0, 0); BUCKETS] }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "estimates of minutes")]
impl Estimator {
    /// A caller has to wait.
    pub const fn kept(&mut self, now: i64) {
        self.kept += 1;
        if self.busy_since.is_none() {
            self.busy_since = Some(now);
        }
    }

    /// A caller who had to wait is gone; `served`: an operator has them. `joined`: place and [`Self::product`] then.
    pub fn left(&mut self, now: i64, entered_at: i64, joined: (usize, i64), served: bool) {
        if served {
            let from = self.last_start.max(self.busy_since).unwrap_or(entered_at);
            self.gaps = (self.gaps + 1).min(GAPS);
            self.gap_ms += ((now - from).max(0) as f64 - self.gap_ms) / f64::from(self.gaps);
            self.last_start = Some(now);
            let (place, product) = joined;
            if product > 0 {
                let (mean, seen) = &mut self.corrections[bucket(place)];
                let found = ((now - entered_at).max(0) as f64 / product as f64).clamp(CORRECTION.0, CORRECTION.1);
                *seen = (*seen + 1).min(GAPS);
                *mean += (found - *mean) / f64::from(*seen);
            }
        }
        self.kept = self.kept.saturating_sub(1);
        if self.kept == 0 {
            self.busy_since = None;
        }
    }

    /// The clock was set by so much.
    pub(crate) fn clock_set(&mut self, by_ms: i64) {
        for at in [&mut self.last_start, &mut self.busy_since] {
            *at = at.map(|at| at + by_ms);
        }
    }

    /// Place × gap in milliseconds; 0 while nothing was measured.
    #[must_use]
    pub fn product(&self, place: usize) -> i64 {
        (self.gap_ms * place as f64) as i64
    }

    /// Milliseconds a caller who joins at this place will wait; `None` while nothing was measured.
    #[must_use]
    pub fn estimate(&self, place: usize) -> Option<i64> {
        if self.gaps == 0 {
            return None;
        }
        let (mean, seen) = self.corrections[bucket(place)];
        let correction = if seen >= WAITS_MIN { mean } else { 1.0 };
        Some((self.gap_ms * place as f64 * correction) as i64)
    }
}

const fn bucket(place: usize) -> usize {
    let place = if place == 0 { 1 } else { place };
    let log = (usize::BITS - (place - 1).leading_zeros()) as usize;
    if log < BUCKETS { log } else { BUCKETS - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_before_anything_was_measured() {
        let mut e = Estimator::default();
        assert_eq!(e.estimate(1), None);
        e.kept(0);
        e.left(5_000, 0, (1, 0), false);
        assert_eq!(e.estimate(1), None, "who gave up was not served");
    }

    #[test]
    fn places_are_told_apart_by_doubling() {
        assert_eq!([1, 2, 3, 4, 5, 8, 9, 1_000_000].map(bucket), [0, 1, 2, 2, 3, 3, 4, 9]);
    }

    #[test]
    fn a_steady_line_is_foretold() {
        let mut e = Estimator::default();
        // Ten wait; one is served every 12 s.
        for _ in 0..10 {
            e.kept(0);
        }
        for n in 1..=9 {
            e.left(n * 12_000, 0, (usize::try_from(n).unwrap(), 0), true);
        }
        assert_eq!(e.estimate(4), Some(48_000));
    }

    #[test]
    fn callers_who_give_up_ahead_shorten_the_estimate() {
        let mut e = Estimator::default();
        for n in 1..=40_i64 {
            e.kept(n * 10_000);
            // At place 4 with a gap of 10 s, yet served after 20 s: half of those ahead left.
            e.left(n * 10_000 + 10_000, n * 10_000 - 10_000, (4, 40_000), true);
        }
        let estimate = e.estimate(4).unwrap();
        assert!((19_000..=21_000).contains(&estimate), "{estimate}");
    }
}
