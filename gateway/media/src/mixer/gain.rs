//! Automatic gain: brings a member's speech slowly to one level. Pauses change nothing, so noise
//! doesn't swell between words.

use super::{Frame, level::power_dbfs, sum::limit};
use crate::limits::{AGC_GAIN_DB_MAX, AGC_TARGET_DBFS, FRAME_SAMPLES};

/// What is quieter is no speech.
const GATE_DBFS: f32 = -48.0;
/// Share of a frame of speech in the measured level: 63 % of a step after 1 s of speech.
const SMOOTHING: f32 = 0.02;
/// Fastest rise: 3 dB in a second of speech.
const RISE_DB: f32 = 0.06;
/// Fastest fall: 10 dB in a second, since too loud hurts.
const FALL_DB: f32 = 0.2;

/// The gain of one member; one `apply` per 20 ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct AutoGain {
    /// Power of the speech so far.
    speech: Option<f32>,
    gain_db: f32,
}

impl AutoGain {
    /// Changes the frame, whose mean power is `power` (as [`super::Meter::measure`] gives it).
    pub fn apply(&mut self, frame: &mut Frame, power: f32) {
        let before = self.gain_db;
        if power_dbfs(power) > GATE_DBFS {
            let speech = self.speech.map_or(power, |speech| speech + (power - speech) * SMOOTHING);
            self.speech = Some(speech);
            let wanted = (AGC_TARGET_DBFS - power_dbfs(speech)).clamp(-AGC_GAIN_DB_MAX, AGC_GAIN_DB_MAX);
            self.gain_db += (wanted - self.gain_db).clamp(-FALL_DB, RISE_DB);
        }
        if before == 0.0 && self.gain_db == 0.0 {
            return;
        }
        // From the old gain to the new one in a straight line: a step would be heard as a buzz.
        let (mut gain, to) = (linear(before), linear(self.gain_db));
        let step = (to - gain) / FRAME_SAMPLES as f32;
        for sample in frame {
            gain += step;
            *sample = limit((f32::from(*sample) * gain) as i32);
        }
    }

    /// The gain now, in decibels.
    #[must_use]
    pub fn gain_db(&self) -> f32 {
        self.gain_db
    }
}

fn linear(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

#[cfg(test)]
mod tests {
    use super::super::{Meter, SILENT};
    use super::*;

    /// Speech-like: 1 s of tone, 0.5 s of faint noise. Returns the level of the last tone.
    fn run(gain: &mut AutoGain, amplitude: f64, seconds: usize) -> f32 {
        let (mut meter, mut level) = (Meter::default(), 0.0);
        for n in 0..seconds * 50 {
            let pause = n % 75 >= 50;
            let mut frame: Frame = std::array::from_fn(|k| {
                let wave = (((n * 160 + k) as f64) * 0.3).sin();
                if pause { (k % 5) as i16 } else { (wave * amplitude) as i16 }
            });
            let power = meter.measure(&frame);
            gain.apply(&mut frame, power);
            if !pause {
                level = power_dbfs(Meter::default().measure(&frame));
            }
        }
        level
    }

    #[test]
    fn a_quiet_voice_is_raised_slowly_and_at_most_by_the_limit() {
        let mut gain = AutoGain::default();
        // −29 dBFS wants 9 dB, which take 3 s of speech at least.
        assert!(run(&mut gain, 1643.0, 2) < -24.0);
        let level = run(&mut gain, 1643.0, 20);
        assert!((level - AGC_TARGET_DBFS).abs() < 0.5, "{level}");
        let mut faint = AutoGain::default();
        run(&mut faint, 300.0, 30);
        assert!((faint.gain_db() - AGC_GAIN_DB_MAX).abs() < 0.01, "{}", faint.gain_db());
    }

    #[test]
    fn a_loud_voice_is_lowered_and_pauses_keep_the_gain() {
        let mut gain = AutoGain::default();
        let level = run(&mut gain, 16_000.0, 20);
        assert!((level - AGC_TARGET_DBFS).abs() < 0.5, "{level}");
        let before = gain.gain_db();
        for _ in 0..500 {
            let mut frame = [3; FRAME_SAMPLES];
            gain.apply(&mut frame, 1e-8);
        }
        assert!((gain.gain_db() - before).abs() < f32::EPSILON);
        let mut silent = SILENT;
        gain.apply(&mut silent, 0.0);
        assert_eq!(silent, SILENT);
    }
}
