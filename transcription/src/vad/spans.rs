//! Probabilities to stretches of speech.

use serde::{Deserialize, Serialize};

/// Speech begins where a frame reaches this …
const ONSET: f32 = 0.5;
/// … and goes on until frames stay below this.
const OFFSET: f32 = 0.35;
/// Pause that ends a stretch, ms.
const SILENCE_MS: u64 = 400;
/// Shorter stretches are clicks, ms.
const SPEECH_MS_MIN: u64 = 200;
/// Kept before and after, ms: soft beginnings and endings.
const PAD_MS: u64 = 150;

/// A stretch of speech, ms from the recording's first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Begin, ms.
    pub t0_ms: u64,
    /// End, ms.
    pub t1_ms: u64,
}

impl Span {
    /// Length, ms.
    #[must_use]
    pub fn len_ms(&self) -> u64 {
        self.t1_ms.saturating_sub(self.t0_ms)
    }
}

/// Joins frames of `frame_us` microseconds into padded stretches within
/// `0..total_ms`, in order, never overlapping.
#[must_use]
pub fn spans(probabilities: &[f32], frame_us: u64, total_ms: u64) -> Vec<Span> {
    let mut raw: Vec<Span> = Vec::new();
    let mut begin: Option<u64> = None;
    let mut last_voice = 0;
    let at = |frame: usize| frame as u64 * frame_us / 1_000;
    for (i, p) in probabilities.iter().enumerate() {
        let threshold = if begin.is_some() { OFFSET } else { ONSET };
        if *p >= threshold {
            begin.get_or_insert(at(i));
            last_voice = at(i + 1);
        } else if let Some(t0_ms) = begin
            && at(i + 1).saturating_sub(last_voice) >= SILENCE_MS
        {
            raw.push(Span { t0_ms, t1_ms: last_voice });
            begin = None;
        }
    }
    if let Some(t0_ms) = begin {
        raw.push(Span { t0_ms, t1_ms: last_voice });
    }
    let mut out: Vec<Span> = Vec::new();
    for span in raw.into_iter().filter(|s| s.len_ms() >= SPEECH_MS_MIN) {
        let t0_ms = span.t0_ms.saturating_sub(PAD_MS);
        let t1_ms = (span.t1_ms + PAD_MS).min(total_ms);
        match out.last_mut() {
            Some(before) if before.t1_ms >= t0_ms => before.t1_ms = t1_ms,
            _ if t1_ms > t0_ms => out.push(Span { t0_ms, t1_ms }),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 ms frames from (probability, count) pairs.
    fn frames(parts: &[(f32, usize)]) -> Vec<f32> {
        parts.iter().flat_map(|(p, n)| vec![*p; *n]).collect()
    }

    #[test]
    fn a_stretch_is_padded_and_stays_inside_the_recording() {
        let got = spans(&frames(&[(0.0, 100), (0.9, 100), (0.0, 100)]), 10_000, 3_000);
        assert_eq!(got, [Span { t0_ms: 850, t1_ms: 2_150 }]);
        let edge = spans(&frames(&[(0.9, 100)]), 10_000, 1_000);
        assert_eq!(edge, [Span { t0_ms: 0, t1_ms: 1_000 }]);
    }

    #[test]
    fn short_pauses_join_and_long_ones_part() {
        let joined = spans(&frames(&[(0.9, 50), (0.1, 30), (0.9, 50)]), 10_000, 1_300);
        assert_eq!(joined.len(), 1);
        let parted = spans(&frames(&[(0.9, 50), (0.1, 90), (0.9, 50)]), 10_000, 1_900);
        assert_eq!(parted.len(), 2);
    }

    #[test]
    fn clicks_are_no_speech_and_hesitation_is() {
        assert!(spans(&frames(&[(0.0, 50), (0.9, 10), (0.0, 50)]), 10_000, 1_100).is_empty());
        // Once begun, 0.4 keeps it alive; alone it never begins.
        assert!(spans(&frames(&[(0.4, 200)]), 10_000, 2_000).is_empty());
        let one = spans(&frames(&[(0.9, 10), (0.4, 100)]), 10_000, 1_100);
        assert_eq!(one[0].t1_ms, 1_100);
    }

    #[test]
    fn arbitrary_probabilities_give_ordered_spans() {
        let mut seed = 3_u64;
        for _ in 0..200 {
            let probabilities: Vec<f32> = (0..500)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(9);
                    if seed >> 60 == 0 { f32::NAN } else { (seed >> 40) as f32 / 16_777_216.0 }
                })
                .collect();
            let got = spans(&probabilities, 16_000, 7_000);
            assert!(got.iter().all(|s| s.t0_ms < s.t1_ms && s.t1_ms <= 7_000));
            assert!(got.windows(2).all(|w| w[0].t1_ms < w[1].t0_ms));
        }
    }
}
