//! What is in a piece of audio: level, tones, dominant frequency.

use std::f64::consts::PI;

/// Samples per second of all telephone audio here.
pub const RATE_HZ: u32 = 8_000;
/// Full scale of a 16-bit sample.
const FULL_SCALE: f64 = 32_768.0;
/// Length of the windows in which a tone is looked for, milliseconds.
const WINDOW_MS: usize = 40;
/// Below this level a window counts as silence, dB of full scale (sine = −3).
pub const SILENCE_DBOV: f64 = -50.0;
/// Share of a window's power that a tone must hold to be "heard".
pub const TONE_SHARE_MIN: f64 = 0.6;

/// A sine of `duration_ms` at `dbov` (RMS against full scale; −10 is loud, −30 soft).
#[must_use]
pub fn sine(hz: f64, dbov: f64, duration_ms: u64, rate_hz: u32) -> Vec<i16> {
    let count = u64::from(rate_hz) * duration_ms / 1_000;
    (0..count).map(|n| sine_sample(hz, dbov, n, rate_hz)).collect()
}

/// Sample `n` of the sine described by [`sine`].
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "clamped to 16 bits before the cast")]
#[allow(clippy::cast_precision_loss, reason = "sample numbers stay below 2^52")]
pub fn sine_sample(hz: f64, dbov: f64, n: u64, rate_hz: u32) -> i16 {
    let peak = 10_f64.powf(dbov / 20.0) * std::f64::consts::SQRT_2 * FULL_SCALE;
    let phase = 2.0 * PI * hz * n as f64 / f64::from(rate_hz);
    (peak * phase.sin()).clamp(-32_767.0, 32_767.0).round() as i16
}

/// Mean power of the samples (full scale squared = 2^30).
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "lengths stay below 2^52")]
pub fn power(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let sum: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    sum / samples.len() as f64
}

/// RMS level against full scale, dB; −200 for digital silence.
#[must_use]
pub fn level_dbov(samples: &[i16]) -> f64 {
    (10.0 * (power(samples) / (FULL_SCALE * FULL_SCALE)).log10()).max(-200.0)
}

/// Power of the component at `hz`, by the Goertzel recurrence; a pure sine of
/// `hz` gives its whole [`power`].
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "lengths stay below 2^52")]
pub fn goertzel_power(samples: &[i16], rate_hz: u32, hz: f64) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let coefficient = 2.0 * (2.0 * PI * hz / f64::from(rate_hz)).cos();
    let (mut s1, mut s2) = (0.0_f64, 0.0_f64);
    for &sample in samples {
        let s0 = f64::from(sample) + coefficient * s1 - s2;
        s2 = s1;
        s1 = s0;
    }
    let count = samples.len() as f64;
    let magnitude_squared = s1.mul_add(s1, s2 * s2) - coefficient * s1 * s2;
    2.0 * magnitude_squared / (count * count)
}

/// Share of the samples' power that lies at `hz`, 0–1; 0 for silence.
#[must_use]
pub fn tone_share(samples: &[i16], rate_hz: u32, hz: f64) -> f64 {
    if level_dbov(samples) < SILENCE_DBOV {
        return 0.0;
    }
    (goertzel_power(samples, rate_hz, hz) / power(samples)).clamp(0.0, 1.0)
}

/// How much of the audio carries the tone: the sum of the 40 ms windows in
/// which it holds at least 60 % of the power, milliseconds.
#[must_use]
pub fn tone_ms(samples: &[i16], rate_hz: u32, hz: f64) -> u64 {
    windows_ms(samples, rate_hz, |window| tone_share(window, rate_hz, hz) >= TONE_SHARE_MIN)
}

/// How much of the audio is above −50 dBov, in 40 ms windows, milliseconds.
#[must_use]
pub fn sound_ms(samples: &[i16], rate_hz: u32) -> u64 {
    windows_ms(samples, rate_hz, |window| level_dbov(window) >= SILENCE_DBOV)
}

fn windows_ms(samples: &[i16], rate_hz: u32, counts: impl Fn(&[i16]) -> bool) -> u64 {
    let window = rate_hz as usize * WINDOW_MS / 1_000;
    let found = samples.chunks_exact(window.max(1)).filter(|w| counts(w)).count();
    (found * WINDOW_MS) as u64
}

/// Milliseconds from the start to the first 40 ms window that carries the tone.
#[must_use]
pub fn tone_starts_ms(samples: &[i16], rate_hz: u32, hz: f64) -> Option<u64> {
    let window = (rate_hz as usize * WINDOW_MS / 1_000).max(1);
    samples
        .chunks_exact(window)
        .position(|w| tone_share(w, rate_hz, hz) >= TONE_SHARE_MIN)
        .map(|index| (index * WINDOW_MS) as u64)
}

/// The strongest frequency between 100 and 3,400 Hz on a 10 Hz grid and its
/// share of the power; `None` for silence.
#[must_use]
pub fn dominant_hz(samples: &[i16], rate_hz: u32) -> Option<(f64, f64)> {
    if level_dbov(samples) < SILENCE_DBOV {
        return None;
    }
    (10..=340)
        .map(|step| f64::from(step) * 10.0)
        .map(|hz| (hz, tone_share(samples, rate_hz, hz)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_has_the_level_it_was_made_with() {
        let samples = sine(440.0, -16.0, 1_000, RATE_HZ);
        assert!((level_dbov(&samples) + 16.0).abs() < 0.1);
    }

    #[test]
    fn a_sine_holds_its_own_power_and_no_other() {
        let samples = sine(1_000.0, -16.0, 1_000, RATE_HZ);
        assert!(tone_share(&samples, RATE_HZ, 1_000.0) > 0.99);
        assert!(tone_share(&samples, RATE_HZ, 440.0) < 0.01);
        assert_eq!(tone_ms(&samples, RATE_HZ, 1_000.0), 1_000);
        assert_eq!(tone_ms(&samples, RATE_HZ, 440.0), 0);
    }

    #[test]
    fn silence_has_no_tone_and_no_dominant_frequency() {
        let samples = vec![0_i16; 8_000];
        assert_eq!(tone_ms(&samples, RATE_HZ, 440.0), 0);
        assert_eq!(dominant_hz(&samples, RATE_HZ), None);
        assert_eq!(sound_ms(&samples, RATE_HZ), 0);
    }

    #[test]
    fn a_tone_after_silence_is_found_where_it_starts() {
        let mut samples = vec![0_i16; 4_000];
        samples.extend(sine(440.0, -16.0, 500, RATE_HZ));
        let start = tone_starts_ms(&samples, RATE_HZ, 440.0);
        assert!(start.is_some_and(|ms| (480..=540).contains(&ms)), "{start:?}");
        assert_eq!(dominant_hz(&samples[4_000..], RATE_HZ).map(|d| d.0), Some(440.0));
    }
}
