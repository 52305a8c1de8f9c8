//! Comfort noise (RFC 3389): the peer's description of its background, and noise made from it.

use crate::limits::COMFORT_ORDER_MAX;

/// The payload type of comfort noise at 8 kHz (RFC 3551 §6).
pub const PAYLOAD_TYPE: u8 = 13;
/// The level's change per sample: a new description is reached in about 20 ms.
const GLIDE: f32 = 1.0 / 160.0;

/// A background: its level and the shape of its spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Description {
    /// Decibels below overload (RFC 3389 §3.1), 0 to 127.
    pub level_minus_dbov: u8,
    /// Reflection coefficients, the unused ones 0 (§3.2).
    reflection: [f32; COMFORT_ORDER_MAX],
    order: usize,
}

impl Description {
    /// White noise.
    #[must_use]
    pub const fn white(level_minus_dbov: u8) -> Self {
        Self { level_minus_dbov, reflection: [0.0; COMFORT_ORDER_MAX], order: 0 }
    }

    /// Reads a payload; `None` if it is empty. Coefficients beyond `COMFORT_ORDER_MAX` are passed
    /// over, as §3.3 permits.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&level, coefficients) = payload.split_first()?;
        let mut description = Self::white(level & 0x7F);
        for (to, &byte) in description.reflection.iter_mut().zip(coefficients) {
            // 255 is no value of a coefficient: the lattice would not be stable.
            *to = (f32::from(byte.min(254)) - 127.0) * 258.0 / 32_768.0;
            description.order += 1;
        }
        Some(description)
    }

    /// The amplitude of the noise that excites the lattice, for the level to come out right.
    fn excitation(&self) -> f32 {
        let rms = 32_768.0 * 10f32.powf(-f32::from(self.level_minus_dbov) / 20.0);
        let gain: f32 = self.reflection.iter().map(|k| 1.0 - k * k).product();
        rms * gain.max(0.0).sqrt()
    }
}

/// Makes noise by a description.
#[derive(Clone, Debug)]
pub struct Generator {
    description: Description,
    amplitude: f32,
    target: f32,
    /// Backward errors of the lattice.
    backward: [f32; COMFORT_ORDER_MAX + 1],
    random: u32,
}

impl Generator {
    /// Noise by `description`, from its first sample on. Equal seeds make equal noise.
    #[must_use]
    pub fn new(description: Description, seed: u32) -> Self {
        let target = description.excitation();
        let backward = [0.0; COMFORT_ORDER_MAX + 1];
        Self { description, amplitude: target, target, backward, random: seed | 1 }
    }

    /// Goes over to another description without a step in the level.
    pub fn set(&mut self, description: Description) {
        self.target = description.excitation();
        self.description = description;
    }

    /// Writes the next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            self.amplitude += (self.target - self.amplitude) * GLIDE;
            let excitation = self.next_random() * self.amplitude;
            let value = self.synthesize(excitation);
            *sample = value.clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
        }
    }

    /// One step of the all-pole lattice whose denominator has these reflection coefficients.
    fn synthesize(&mut self, excitation: f32) -> f32 {
        let mut forward = excitation;
        for index in (0..self.description.order).rev() {
            let k = self.description.reflection[index];
            forward -= k * self.backward[index];
            self.backward[index + 1] = self.backward[index] + k * forward;
        }
        self.backward[0] = forward;
        forward
    }

    /// Uniform noise of variance 1 (xorshift).
    fn next_random(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        (self.random as i32 as f32 / i32::MAX as f32) * 1.732_050_8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms_dbov(samples: &[i16]) -> f64 {
        let power: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum::<f64>() / samples.len() as f64;
        10.0 * (power / (32_768.0 * 32_768.0)).log10()
    }

    fn made(payload: &[u8]) -> Vec<i16> {
        let mut samples = vec![0; 16_000];
        Generator::new(Description::parse(payload).unwrap(), 7).fill(&mut samples);
        samples
    }

    #[test]
    fn noise_has_the_described_level_whatever_its_spectrum() {
        for payload in [&[40u8][..], &[40, 127 + 90], &[40, 127 - 90, 127 + 40], &[40, 200, 60, 140, 100, 130, 127]] {
            let level = rms_dbov(&made(payload));
            assert!((level + 40.0).abs() < 1.0, "{payload:?}: {level}");
        }
        assert!(made(&[127]).iter().all(|&sample| sample == 0));
        assert!(Description::parse(&[]).is_none());
    }

    #[test]
    fn reflection_coefficients_shape_the_spectrum() {
        // A pole near 1 makes low-pass noise: neighbouring samples resemble each other.
        let likeness = |samples: &[i16]| crate::conceal::likeness(&samples[1..], &samples[..samples.len() - 1]);
        assert!(likeness(&made(&[30, 127 - 100])) > 0.6);
        assert!(likeness(&made(&[30, 127 + 100])) < -0.6);
        assert!(likeness(&made(&[30])).abs() < 0.1);
    }

    #[test]
    fn any_payload_makes_bounded_noise() {
        for seed in 0..200u32 {
            let payload: Vec<u8> = (0..seed % 40).map(|n| (seed * 31 + n * 97) as u8).collect();
            if let Some(description) = Description::parse(&payload) {
                let mut generator = Generator::new(Description::white(60), seed);
                generator.set(description);
                generator.fill(&mut [0; 4000]);
                assert!(generator.backward.iter().all(|value| value.is_finite()));
            }
        }
        assert!(made(&[0, 255, 255, 0, 0]).iter().any(|&sample| sample != 0));
    }
}
