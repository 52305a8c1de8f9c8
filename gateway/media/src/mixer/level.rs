//! How loud a member is, as a meter shows it.

use super::Frame;

/// Below this a level is given as this: the quietest a G.711 sample can be is some −75 dBFS.
const FLOOR_DBFS: f32 = -90.0;
/// Share of a new frame in the smoothed power: 63 % of a step after 100 ms.
const SMOOTHING: f32 = 0.2;
/// The peak falls by a tenth in each frame: 20 dB in 0.44 s.
const PEAK_FALL: f32 = 0.9;

/// Smoothed power and falling peak of one member; one `measure` per 20 ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    power: f32,
    peak: f32,
}

impl Meter {
    /// Takes the next frame. Returns its mean power (square of the RMS, full scale is 1).
    pub fn measure(&mut self, frame: &Frame) -> f32 {
        let (mut squares, mut peak) = (0u64, 0u16);
        for &sample in frame {
            let magnitude = sample.unsigned_abs();
            squares += u64::from(u32::from(magnitude) * u32::from(magnitude));
            peak = peak.max(magnitude);
        }
        let full = 32_768.0f32;
        let power = squares as f32 / frame.len() as f32 / (full * full);
        self.power += (power - self.power) * SMOOTHING;
        self.peak = (self.peak * PEAK_FALL).max(f32::from(peak) / full);
        power
    }

    /// Level over the last 0.1 s, RMS against full scale: a sine that just fits has −3 dBFS.
    #[must_use]
    pub fn rms_dbfs(&self) -> f32 {
        power_dbfs(self.power)
    }

    /// Highest sample lately, against full scale.
    #[must_use]
    pub fn peak_dbfs(&self) -> f32 {
        power_dbfs(self.peak * self.peak)
    }
}

/// A power (full scale is 1) in decibels.
pub(super) fn power_dbfs(power: f32) -> f32 {
    if power <= 0.0 { FLOOR_DBFS } else { (10.0 * power.log10()).max(FLOOR_DBFS) }
}

#[cfg(test)]
mod tests {
    use super::super::SILENT;
    use super::*;

    fn sine(n: usize, amplitude: f64) -> Frame {
        std::array::from_fn(|k| ((((n * 160 + k) as f64) * 0.3).sin() * amplitude) as i16)
    }

    #[test]
    fn a_sine_reads_at_its_level_and_silence_falls_to_the_floor() {
        let mut meter = Meter::default();
        assert_eq!((meter.rms_dbfs(), meter.peak_dbfs()), (FLOOR_DBFS, FLOOR_DBFS));
        (0..50).for_each(|n| {
            meter.measure(&sine(n, 3276.8));
        });
        assert!((meter.rms_dbfs() + 23.0).abs() < 0.2, "{}", meter.rms_dbfs());
        assert!((meter.peak_dbfs() + 20.0).abs() < 0.2, "{}", meter.peak_dbfs());
        (0..25).for_each(|_| {
            meter.measure(&SILENT);
        });
        assert!(meter.rms_dbfs() < -45.0 && meter.peak_dbfs() < -40.0);
        let mut loudest = Meter::default();
        (0..100).for_each(|_| {
            loudest.measure(&[i16::MIN; 160]);
        });
        assert!(loudest.rms_dbfs().abs() < 0.01 && loudest.peak_dbfs().abs() < 0.01);
    }
}
