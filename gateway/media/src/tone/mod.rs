//! Tones of the Chinese network (450 Hz, GB/T 3380) and DTMF as sound, by synthesis.

use std::f64::consts::TAU;

use crate::{Clip, limits::SAMPLE_RATE_HZ};

/// −10 dBm0 or so: loud enough, far from clipping.
const AMPLITUDE: f64 = 6000.0;
/// Ramp at both ends of a tone, so that it doesn't click.
const RAMP_SAMPLES: usize = 40;
const TONE_HZ: f64 = 450.0;

/// A sine pair with continuous phase.
#[derive(Clone, Copy, Debug)]
pub struct Dual {
    step: [f64; 2],
    phase: [f64; 2],
    amplitude: f64,
}

impl Dual {
    /// The pair of a DTMF key (ITU-T Q.23); unknown keys sound like `0`.
    #[must_use]
    pub fn dtmf(digit: char) -> Self {
        const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
        const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
        let index = "123A456B789C*0#D".find(digit.to_ascii_uppercase()).unwrap_or(13);
        let step = |hz: f64| TAU * hz / f64::from(SAMPLE_RATE_HZ);
        Self { step: [step(LOW[index / 4]), step(HIGH[index % 4])], phase: [0.0; 2], amplitude: AMPLITUDE }
    }

    /// Writes the next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            let value = (self.phase[0].sin() + self.phase[1].sin()) * self.amplitude;
            *sample = value as i16;
            for (phase, step) in self.phase.iter_mut().zip(self.step) {
                *phase = (*phase + step) % TAU;
            }
        }
    }
}

/// `ms` of a sine, with soft edges.
#[must_use]
pub fn sine(hz: f64, ms: u32) -> Vec<i16> {
    let len = (ms * (SAMPLE_RATE_HZ / 1000)) as usize;
    let step = TAU * hz / f64::from(SAMPLE_RATE_HZ);
    (0..len)
        .map(|n| {
            let edge = n.min(len - 1 - n).min(RAMP_SAMPLES) as f64 / RAMP_SAMPLES as f64;
            ((n as f64 * step).sin() * AMPLITUDE * edge) as i16
        })
        .collect()
}

/// `ms` of silence.
#[must_use]
pub fn silence(ms: u32) -> Vec<i16> {
    vec![0; (ms * (SAMPLE_RATE_HZ / 1000)) as usize]
}

/// Pieces of (on, off) milliseconds of `hz`.
fn cadence(hz: f64, pieces: &[(u32, u32)]) -> Clip {
    let mut samples = Vec::new();
    for &(on_ms, off_ms) in pieces {
        samples.extend(sine(hz, on_ms));
        samples.extend(silence(off_ms));
    }
    Clip::from_samples(samples)
}

/// Ring-back, 回铃音: 450 Hz, 1 s on, 4 s off; play it, and all that follow, with `repeat`.
#[must_use]
pub fn ring_back() -> Clip {
    cadence(TONE_HZ, &[(1000, 4000)])
}

/// Busy, 忙音: 450 Hz, 0.35 s on, 0.35 s off.
#[must_use]
pub fn busy() -> Clip {
    cadence(TONE_HZ, &[(350, 350)])
}

/// Congestion, 拥塞音: 450 Hz, 0.7 s on, 0.7 s off.
#[must_use]
pub fn congestion() -> Clip {
    cadence(TONE_HZ, &[(700, 700)])
}

/// Vacant number, 空号音: 450 Hz, three short of 0.1 s and a long one of 0.4 s.
#[must_use]
pub fn vacant_number() -> Clip {
    cadence(TONE_HZ, &[(100, 100), (100, 100), (100, 100), (400, 400)])
}

/// Call waiting, 呼入等待音: 450 Hz, 0.4 s on, 4 s off.
#[must_use]
pub fn call_waiting() -> Clip {
    cadence(TONE_HZ, &[(400, 4000)])
}

/// A third party is on the line, 提醒音: 1400 Hz, 0.4 s on, 10 s off.
#[must_use]
pub fn third_party() -> Clip {
    cadence(1400.0, &[(400, 10_000)])
}

/// All of them under the names flows play them by.
#[must_use]
pub fn named() -> [(&'static str, Clip); 6] {
    [
        ("tone_ring_back", ring_back()),
        ("tone_busy", busy()),
        ("tone_congestion", congestion()),
        ("tone_vacant_number", vacant_number()),
        ("tone_call_waiting", call_waiting()),
        ("tone_third_party", third_party()),
    ]
}

/// The power of one frequency in `samples`, as the amplitude of a sine of it (Goertzel).
#[must_use]
pub fn amplitude_at(samples: &[i16], hz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hz / f64::from(SAMPLE_RATE_HZ)).cos();
    let (mut one, mut two) = (0.0f64, 0.0f64);
    for &sample in samples {
        let zero = f64::from(sample) + coefficient * one - two;
        two = one;
        one = zero;
    }
    let power = one * one + two * two - coefficient * one * two;
    2.0 * power.max(0.0).sqrt() / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_back_is_450_hz_for_one_second_of_five() {
        let clip = ring_back();
        assert_eq!(clip.samples().len(), 5 * 8000);
        assert!(amplitude_at(&clip.samples()[..8000], 450.0) > 5000.0);
        assert!(clip.samples()[8000..].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn busy_has_its_cadence() {
        assert_eq!(busy().duration_ms(), 700);
        assert!(amplitude_at(&busy().samples()[..2800], 450.0) > 5000.0);
    }

    /// Where 10 ms windows turn from silent to loud or back, in milliseconds.
    fn edges(clip: &Clip) -> Vec<usize> {
        let loud: Vec<bool> = clip.samples().chunks(80).map(|window| window.iter().any(|s| s.abs() > 500)).collect();
        (1..loud.len()).filter(|n| loud[*n] != loud[n - 1]).map(|n| n * 10).collect()
    }

    #[test]
    fn each_tone_of_the_chinese_plan_has_its_cadence_and_frequency() {
        assert_eq!((congestion().duration_ms(), edges(&congestion())), (1400, vec![700]));
        assert_eq!(edges(&vacant_number()), [100, 200, 300, 400, 500, 600, 1000]);
        assert_eq!((vacant_number().duration_ms(), call_waiting().duration_ms()), (1400, 4400));
        assert_eq!((edges(&call_waiting()), edges(&third_party())), (vec![400], vec![400]));
        for (clip, hz) in [(congestion(), 450.0), (call_waiting(), 450.0), (third_party(), 1400.0)] {
            assert!(amplitude_at(&clip.samples()[..3200], hz) > 5000.0, "{hz}");
            assert!(amplitude_at(&clip.samples()[..3200], hz * 1.3) < 200.0, "{hz}");
        }
    }

    #[test]
    fn dtmf_keys_sound_with_their_two_frequencies() {
        for (key, low, high) in [('1', 697.0, 1209.0), ('0', 941.0, 1336.0), ('#', 941.0, 1477.0), ('d', 941.0, 1633.0)]
        {
            let mut samples = [0; 1600];
            Dual::dtmf(key).fill(&mut samples);
            assert!(amplitude_at(&samples, low) > 5000.0, "{key}");
            assert!(amplitude_at(&samples, high) > 5000.0, "{key}");
            assert!(amplitude_at(&samples, 1100.0) < 1000.0, "{key}");
        }
    }
}
