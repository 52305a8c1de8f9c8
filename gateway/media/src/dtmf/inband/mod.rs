//! Digits heard as tones (ITU-T Q.23, Q.24), for trunks whose callers' keys arrive as sound.
//!
//! Audio is looked at in hops of 10 ms and windows of three. Between hops the phase of a tone
//! turns by its distance from the nominal frequency, so that a frequency is known to a hertz or
//! two from 30 ms; what matters against speech is that the two tones are nearly all there is.

use std::sync::LazyLock;

use super::Digit;
use crate::limits::{INBAND_BRIDGED_MS_MAX, SAMPLES_PER_MS};

/// Samples of a hop.
const HOP: usize = 80;
const HOP_MS: u32 = 10;
const HOPS: usize = 3;
const WINDOW: usize = HOP * HOPS;
/// The low group, then the high group.
const TONES_HZ: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Amplitude of the softest tone taken: −33 dBm0.
const AMPLITUDE_MIN: f32 = 500.0;
/// Share of the power that the two tones have.
const SHARE_MIN: f32 = 0.78;
/// Q.24 demands ±1.5 % and forbids ±3.5 %.
const DEVIATION_MAX: f32 = 0.025;
/// One tone may be stronger than the other by 8 dB.
const TWIST_MAX: f32 = 6.31;
/// Windows in a row that make a digit: 40 ms of tone have two.
const WINDOWS_MIN: u32 = 2;
/// Windows in a row without it that end it: a pause of 40 ms has five, a break of 10 ms three.
const MISSES_END: u32 = 4;

/// cos and −sin of each tone at each sample of a hop.
static WAVES: LazyLock<Box<[[f32; 16]; HOP]>> = LazyLock::new(|| {
    let mut waves = Box::new([[0.0; 16]; HOP]);
    for (n, row) in waves.iter_mut().enumerate() {
        for (index, hz) in TONES_HZ.iter().enumerate() {
            let (sin, cos) = (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin_cos();
            row[index] = cos as f32;
            row[index + 8] = -sin as f32;
        }
    }
    waves
});

type Complex = (f32, f32);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

fn turned(by: f32) -> Complex {
    let (sin, cos) = by.sin_cos();
    (cos, sin)
}

/// One hop: its spectrum at the tones, and its power.
#[derive(Clone, Copy, Debug, Default)]
struct Hop {
    /// Real parts, then imaginary ones.
    sums: [f32; 16],
    power: f32,
}

impl Hop {
    fn of(samples: &[i16; HOP]) -> Self {
        let mut hop = Self::default();
        for (&sample, wave) in samples.iter().zip(WAVES.iter()) {
            let sample = f32::from(sample);
            hop.power += sample * sample;
            for (sum, wave) in hop.sums.iter_mut().zip(wave) {
                *sum += sample * wave;
            }
        }
        hop
    }

    fn at(&self, tone: usize) -> Complex {
        (self.sums[tone], self.sums[tone + 8])
    }
}

/// A tone found in a window.
struct Tone {
    index: usize,
    power: f32,
    deviation: f32,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    key: char,
    windows: u32,
    misses: u32,
}

/// Finds the digits in one direction of one leg.
#[derive(Clone, Debug)]
pub struct InbandDetector {
    samples: [i16; HOP],
    filled: usize,
    hops: [Hop; HOPS],
    /// Hops that follow on each other.
    joined: usize,
    pressed: Option<Pressed>,
    /// RTP timestamp of the next sample.
    expected: Option<u32>,
}

impl Default for InbandDetector {
    fn default() -> Self {
        Self { samples: [0; HOP], filled: 0, hops: [Hop::default(); HOPS], joined: 0, pressed: None, expected: None }
    }
}

impl InbandDetector {
    /// Takes a packet's samples, `timestamp` counting samples. Stragglers are passed over; a loss
    /// does not split a digit unless it is longer than `INBAND_BRIDGED_MS_MAX`.
    pub fn receive(&mut self, timestamp: u32, samples: &[i16], mut found: impl FnMut(Digit)) {
        let gap = self.expected.map_or(0, |expected| timestamp.wrapping_sub(expected) as i32);
        if (-8000..0).contains(&gap) {
            return;
        }
        self.expected = Some(timestamp.wrapping_add(samples.len() as u32));
        if gap != 0 {
            // What follows doesn't continue the phase of what was before.
            (self.filled, self.joined) = (0, 0);
            if gap as u32 > INBAND_BRIDGED_MS_MAX * SAMPLES_PER_MS as u32 {
                self.finish().into_iter().for_each(&mut found);
            }
        }
        for &sample in samples {
            self.samples[self.filled] = sample;
            self.filled += 1;
            if self.filled == HOP {
                self.filled = 0;
                self.take_hop().into_iter().for_each(&mut found);
            }
        }
    }

    /// Ends the digit under way, because nothing comes any more.
    pub fn flush(&mut self) -> Option<Digit> {
        (self.filled, self.joined) = (0, 0);
        self.finish()
    }

    fn take_hop(&mut self) -> Option<Digit> {
        self.hops.rotate_left(1);
        self.hops[HOPS - 1] = Hop::of(&self.samples);
        self.joined += 1;
        if self.joined < HOPS {
            return None;
        }
        let key = judge(&self.hops);
        match (&mut self.pressed, key) {
            (None, None) => None,
            (None, Some(key)) => {
                self.pressed = Some(Pressed { key, windows: 1, misses: 0 });
                None
            }
            (Some(pressed), Some(key)) if pressed.key == key => {
                pressed.windows += 1 + pressed.misses;
                pressed.misses = 0;
                None
            }
            (Some(pressed), key) => {
                // Until it is sure, nothing may come in between.
                if pressed.windows < WINDOWS_MIN {
                    self.pressed = key.map(|key| Pressed { key, windows: 1, misses: 0 });
                    return None;
                }
                pressed.misses += 1;
                if pressed.misses < MISSES_END {
                    return None;
                }
                let finished = self.finish();
                self.pressed = key.map(|key| Pressed { key, windows: 1, misses: 0 });
                finished
            }
        }
    }

    fn finish(&mut self) -> Option<Digit> {
        let pressed = self.pressed.take().filter(|pressed| pressed.windows >= WINDOWS_MIN)?;
        Some(Digit { digit: pressed.key, duration_ms: (pressed.windows + HOPS as u32 - 1) * HOP_MS })
    }
}

/// The key whose two tones a window consists of.
fn judge(hops: &[Hop; HOPS]) -> Option<char> {
    let power: f32 = hops.iter().map(|hop| hop.power).sum();
    // Two tones at the threshold have this power.
    if power < AMPLITUDE_MIN * AMPLITUDE_MIN * WINDOW as f32 * SHARE_MIN {
        return None;
    }
    let low = strongest(hops, 0)?;
    let high = strongest(hops, 4)?;
    let share = (low.power + high.power) * WINDOW as f32 / power;
    let is_balanced = low.power <= high.power * TWIST_MAX && high.power <= low.power * TWIST_MAX;
    let is_loud = low.power.min(high.power) >= AMPLITUDE_MIN * AMPLITUDE_MIN / 2.0;
    let is_exact = low.deviation.abs() <= DEVIATION_MAX && high.deviation.abs() <= DEVIATION_MAX;
    (share >= SHARE_MIN && is_balanced && is_loud && is_exact).then(|| KEYS[low.index][high.index - 4])
}

/// The strongest tone of the group that begins at `group`, measured at the frequency it has.
fn strongest(hops: &[Hop; HOPS], group: usize) -> Option<Tone> {
    let norm = |tone: usize| hops.iter().map(|hop| hop.at(tone)).map(|(re, im)| re * re + im * im).sum::<f32>();
    let index = (group..group + 4).max_by(|a, b| norm(*a).total_cmp(&norm(*b)))?;
    let hz = TONES_HZ[index] as f32;
    let nominal = std::f32::consts::TAU * (hz * HOP as f32 / 8000.0).fract();
    // How far the phase turns from hop to hop beyond what the nominal frequency does.
    let mut turn = (0.0, 0.0);
    for pair in hops.windows(2) {
        let (before, after) = (pair[0].at(index), pair[1].at(index));
        let step = times(times(after, (before.0, -before.1)), turned(-nominal));
        turn = (turn.0 + step.0, turn.1 + step.1);
    }
    let turn = turn.1.atan2(turn.0);
    let mut sum = (0.0, 0.0);
    for (n, hop) in hops.iter().enumerate() {
        let back = times(hop.at(index), turned(-(nominal + turn) * n as f32));
        sum = (sum.0 + back.0, sum.1 + back.1);
    }
    // Within a hop the deviation still costs some amplitude.
    let half = turn / 2.0;
    let loss = if half.abs() < 1e-3 { 1.0 } else { half.sin() / half };
    let amplitude = 2.0 * (sum.0 * sum.0 + sum.1 * sum.1).sqrt() / (WINDOW as f32 * loss);
    let deviation_hz = turn / std::f32::consts::TAU * 8000.0 / HOP as f32;
    Some(Tone { index, power: amplitude * amplitude / 2.0, deviation: deviation_hz / hz })
}

#[cfg(test)]
mod tests;
