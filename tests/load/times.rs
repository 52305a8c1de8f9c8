//! Delays of many requests.

use std::time::Duration;

/// Milliseconds, unsorted until asked.
#[derive(Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1_000.0);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value `permille` of a thousand stay at or below, ms; NaN of none.
    pub(crate) fn at(&mut self, permille: usize) -> f64 {
        self.0.sort_by(f64::total_cmp);
        let last = self.0.len().saturating_sub(1);
        self.0.get((last * permille).div_ceil(1_000)).copied().unwrap_or(f64::NAN)
    }

    /// p50, p95, p99 and the longest, as cells.
    pub(crate) fn cells(&mut self) -> [String; 4] {
        [500, 950, 990, 1_000].map(|permille| format!("{:.1}", self.at(permille)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred_and_of_none() {
        let mut times = Times::default();
        for ms in (1..=100).rev() {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.cells(), ["51.0", "96.0", "100.0", "100.0"]);
        assert!(Times::default().at(990).is_nan());
    }
}
