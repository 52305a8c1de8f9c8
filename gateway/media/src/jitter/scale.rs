//! Shortening and lengthening of audio by one period: the piece taken out or put in resembles its
//! surroundings, and is faded over, so it isn't heard.

use crate::{
    conceal::{crossfade, likeness},
    limits::FRAME_SAMPLES,
};

/// Shortest piece (400 Hz); longer ones are as good for higher tones.
const LAG_MIN: usize = 20;
/// Longest piece (15 ms).
const LAG_MAX: usize = 120;
/// What is compared and faded over.
const WINDOW_MAX: usize = 120;
/// Audio softer than this (RMS, −50 dB or so) may be cut anywhere.
const QUIET_RMS: f32 = 100.0;
/// Samples that shortening has to look at, a frame to be played included.
pub(super) const LOOK_AHEAD: usize = FRAME_SAMPLES + LAG_MAX;

/// The best lag within `audio`, if its likeness is at least `likeness_min`, and the window used.
fn find(audio: &[i16], likeness_min: f32) -> Option<(usize, usize)> {
    let lag_max = LAG_MAX.min(audio.len() / 2);
    let window = WINDOW_MAX.min(audio.len() - lag_max);
    if lag_max < LAG_MIN {
        return None;
    }
    let mut best = (lag_max, -1.0f32);
    for lag in LAG_MIN..=lag_max {
        let likeness = likeness(&audio[..window], &audio[lag..lag + window]);
        if likeness > best.1 {
            best = (lag, likeness);
        }
    }
    let seen = &audio[..lag_max + window];
    let power = seen.iter().map(|&s| f32::from(s) * f32::from(s)).sum::<f32>() / seen.len() as f32;
    let is_quiet = power < QUIET_RMS * QUIET_RMS;
    (is_quiet || best.1 >= likeness_min).then_some((best.0, window))
}

/// Takes one period out near the beginning of `audio`; the number of samples removed.
pub(super) fn shorten(audio: &mut Vec<i16>, likeness_min: f32) -> usize {
    let Some((lag, window)) = find(audio, likeness_min) else {
        return 0;
    };
    let mut from = [0; WINDOW_MAX];
    from[..window].copy_from_slice(&audio[..window]);
    crossfade(&from[..window], &mut audio[lag..lag + window]);
    audio.drain(..lag);
    lag
}

/// Puts one period in near the beginning of `audio`; the number of samples added.
pub(super) fn lengthen(audio: &mut Vec<i16>, likeness_min: f32) -> usize {
    let Some((lag, window)) = find(audio, likeness_min) else {
        return 0;
    };
    let mut from = [0; WINDOW_MAX];
    from[..window].copy_from_slice(&audio[lag..lag + window]);
    let len = audio.len();
    audio.resize(len + lag, 0);
    audio.copy_within(..len, lag);
    // Now the first `lag` samples are there twice; after them the old way fades into the repeated one.
    crossfade(&from[..window], &mut audio[lag..lag + window]);
    lag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone;

    /// How much of the power is the tone's, in dB over the rest.
    fn purity_db(samples: &[i16], hz: f64) -> f64 {
        let total = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
        let of_tone = tone::amplitude_at(samples, hz).powi(2) / 2.0;
        10.0 * (of_tone / (total - of_tone).max(1e-9)).log10()
    }

    #[test]
    fn a_period_more_or_less_is_not_heard_in_a_tone() {
        for hz in [200.0, 450.0, 1000.0] {
            let clean = tone::sine(hz, 60);
            let (mut shorter, mut longer) = (clean[80..400].to_vec(), clean[80..400].to_vec());
            let removed = shorten(&mut shorter, 0.9);
            let added = lengthen(&mut longer, 0.9);
            assert!(removed >= LAG_MIN && added == removed, "{hz}");
            assert_eq!((shorter.len(), longer.len()), (320 - removed, 320 + added));
            assert_eq!((shorter[0].abs_diff(clean[80]) < 400, longer[0]), (true, clean[80]));
            let steepest = |s: &[i16]| s.windows(2).map(|w| u32::from(w[0].abs_diff(w[1]))).max().unwrap();
            assert!(
                steepest(&shorter) <= steepest(&clean) * 21 / 20 && steepest(&longer) <= steepest(&clean) * 21 / 20
            );
            assert!(purity_db(&shorter[..160], hz) > purity_db(&clean[80..240], hz).min(25.0) - 3.0, "{hz}");
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_soft() {
        let mut state = 1u32;
        let mut noise = |amplitude: i32| -> Vec<i16> {
            (0..320)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((state >> 16) as i32 % (2 * amplitude) - amplitude) as i16
                })
                .collect()
        };
        assert_eq!(shorten(&mut noise(5000), 0.9), 0);
        assert_eq!(lengthen(&mut noise(5000), 0.9), 0);
        assert!(shorten(&mut noise(50), 0.9) > 0);
        assert!(lengthen(&mut noise(50), 0.9) > 0);
        assert!(shorten(&mut vec![0; 30], 0.0) == 0, "too short to look at");
    }
}
