//! Any rate to 16 kHz by a linear-phase polyphase filter.

use std::f64::consts::PI;

/// What engines and detectors hear, samples per second.
pub const ENGINE_RATE_HZ: u32 = 16_000;

/// Zero crossings of the sinc on each side: stop band beyond 80 dB.
const HALF_LOBES: usize = 24;
/// Kaiser window's shape for that stop band.
const KAISER_BETA: f64 = 8.0;
/// Share of the narrower band that passes.
const PASS: f64 = 0.94;

/// Converts 16-bit samples of one rate to 16 kHz, block by block. The filter's
/// delay is taken out: sample times stay as they are.
#[derive(Debug, Clone)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// One row of taps per phase.
    phases: Vec<Vec<f32>>,
    half: usize,
    /// Input still needed, beginning with the zeros before the first sample.
    held: Vec<f32>,
    /// Position of the next output in the upsampled time of `held`.
    next: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A converter from `rate_hz` (above 0) to 16 kHz.
    #[must_use]
    pub fn new(rate_hz: u32) -> Self {
        let rate_hz = rate_hz.max(1);
        let g = gcd(rate_hz, ENGINE_RATE_HZ);
        let (up, down) = ((ENGINE_RATE_HZ / g) as usize, (rate_hz / g) as usize);
        // Width of the filter in input samples: wider when the rate is lowered.
        let narrow = up.min(down) as f64 / down as f64;
        let half = if up == down { 0 } else { (HALF_LOBES as f64 / narrow).ceil() as usize };
        let phases = (0..up).map(|p| taps(p, up, half, narrow)).collect();
        Self { up, down, phases, half, held: vec![0.0; half], next: 0, taken: 0, given: 0 }
    }

    /// Adds `input` and appends what can be computed to `out`.
    pub fn push(&mut self, input: &[i16], out: &mut Vec<f32>) {
        self.taken += input.len() as u64;
        self.held.extend(input.iter().map(|s| f32::from(*s) / 32_768.0));
        self.run(u64::MAX, out);
    }

    /// Appends the rest, so that all output is as long as all input.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        self.held.resize(self.held.len() + self.half + 1, 0.0);
        let total = self.taken * self.up as u64 / self.down as u64;
        self.run(total, out);
    }

    fn run(&mut self, total: u64, out: &mut Vec<f32>) {
        // Output at upsampled time t needs held[t/up ..= t/up + 2*half].
        while self.given < total {
            let at = self.next / self.up;
            let Some(window) = self.held.get(at..=at + 2 * self.half) else {
                break;
            };
            let taps = &self.phases[self.next % self.up];
            out.push(window.iter().zip(taps).map(|(x, h)| x * h).sum());
            self.given += 1;
            self.next += self.down;
        }
        let drop = (self.next / self.up).min(self.held.len());
        self.held.drain(..drop);
        self.next -= drop * self.up;
    }

    /// All of `input` at once.
    #[must_use]
    pub fn whole(rate_hz: u32, input: &[i16]) -> Vec<f32> {
        let mut out = Vec::new();
        let mut resampler = Self::new(rate_hz);
        resampler.push(input, &mut out);
        resampler.finish(&mut out);
        out
    }
}

/// The row for outputs that lie `phase / up` after an input sample.
fn taps(phase: usize, up: usize, half: usize, narrow: f64) -> Vec<f32> {
    if half == 0 {
        return vec![1.0];
    }
    let cut = narrow * PASS;
    let shift = phase as f64 / up as f64;
    let row: Vec<f64> = (0..=2 * half)
        .map(|k| {
            let x = k as f64 - half as f64 - shift;
            let edge = x / (half as f64 + 1.0);
            sinc(cut * x) * kaiser(edge)
        })
        .collect();
    // Each phase passes a constant unchanged: no ripple at the input's rate.
    let sum: f64 = row.iter().sum();
    row.iter().map(|h| (h / sum) as f32).collect()
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { bessel(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel(KAISER_BETA) }
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, q) = (1.0, 1.0, x * x / 4.0);
    for k in 1..40 {
        term *= q / f64::from(k * k);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate_hz: u32, freq_hz: f64, ms: u32) -> Vec<i16> {
        (0..rate_hz * ms / 1_000)
            .map(|i| ((2.0 * PI * freq_hz * f64::from(i) / f64::from(rate_hz)).sin() * 16_000.0) as i16)
            .collect()
    }

    /// Amplitude of `freq_hz` in 16 kHz audio.
    fn level(audio: &[f32], freq_hz: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (i, s) in audio.iter().enumerate() {
            let a = 2.0 * PI * freq_hz * i as f64 / 16_000.0;
            re += f64::from(*s) * a.cos();
            im += f64::from(*s) * a.sin();
        }
        2.0 * (re * re + im * im).sqrt() / audio.len() as f64
    }

    #[test]
    fn telephone_tones_keep_level_length_and_time() {
        for freq in [440.0, 1_000.0, 3_400.0] {
            let out = Resampler::whole(8_000, &tone(8_000, freq, 500));
            assert_eq!(out.len(), 8_000);
            let db = 20.0 * (level(&out[800..7_200], freq) / (16_000.0 / 32_768.0)).log10();
            assert!(db.abs() < 0.2, "{freq} Hz: {db} dB");
            let image = 20.0 * (level(&out[800..7_200], 8_000.0 - freq) / 0.488).log10();
            assert!(image < -60.0, "image of {freq} Hz: {image} dB");
            // Time: compare with the tone made at 16 kHz.
            let want = tone(16_000, freq, 500);
            for i in 1_000..1_100 {
                assert!((out[i] - f32::from(want[i]) / 32_768.0).abs() < 0.01, "{freq} Hz at {i}");
            }
        }
    }

    #[test]
    fn other_rates_come_out_with_the_right_length_and_level() {
        for rate in [11_025, 16_000, 22_050, 44_100, 48_000] {
            let out = Resampler::whole(rate, &tone(rate, 1_000.0, 400));
            assert!(out.len().abs_diff(6_400) <= 1, "{rate}: {}", out.len());
            assert!((level(&out[640..5_760], 1_000.0) - 0.488).abs() < 0.01, "{rate}");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed() {
        let out = Resampler::whole(48_000, &tone(48_000, 12_000.0, 200));
        assert!(level(&out[320..2_880], 4_000.0) < 0.001);
    }

    #[test]
    fn blocks_of_any_size_give_the_same_result() {
        let input = tone(8_000, 700.0, 300);
        let whole = Resampler::whole(8_000, &input);
        for size in [1, 7, 160, 999] {
            let (mut r, mut out) = (Resampler::new(8_000), Vec::new());
            for block in input.chunks(size) {
                r.push(block, &mut out);
            }
            r.finish(&mut out);
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert!(Resampler::whole(8_000, &[]).is_empty());
    }
}
