use super::*;
use crate::tone;

fn at(n: usize, hz: f64) -> f64 {
    (n as f64 * hz * std::f64::consts::TAU / 8000.0).sin()
}

fn sine(hz: f64) -> Vec<i16> {
    (0..16_000).map(|n| (at(n, hz) * 8000.0) as i16).collect()
}

/// Something like a vowel: a gliding pitch with formants, in syllables.
fn voice() -> Vec<i16> {
    let mut phase = 0.0f64;
    (0..16_000)
        .map(|n| {
            phase += (120.0 + 25.0 * at(n, 1.3)) / 8000.0;
            let envelope = 0.55 - 0.45 * at(n, 3.0);
            let sum: f64 = (1..=20)
                .map(|h| {
                    let hz = 120.0 * f64::from(h);
                    let formant =
                        1.0 / (1.0 + ((hz - 600.0) / 200.0).powi(2)) + 0.5 / (1.0 + ((hz - 1700.0) / 250.0).powi(2));
                    (phase * f64::from(h) * std::f64::consts::TAU).sin() * formant
                })
                .sum();
            (sum * envelope * 5000.0) as i16
        })
        .collect()
}

/// Loses a twentieth of the frames; either conceals or fills with zeros.
fn lose(audio: &[i16], conceal: bool) -> Vec<i16> {
    let mut concealer = Concealer::default();
    let mut state = 3u32;
    let mut out = Vec::new();
    for frame in audio.chunks_exact(160) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut frame = frame.to_vec();
        if (state >> 8) % 100 < 5 && out.len() >= 800 {
            frame.fill(0);
            if conceal {
                concealer.conceal(&mut frame);
            }
        } else if conceal {
            concealer.merge(&mut frame);
            concealer.remember(&frame);
        }
        out.extend(frame);
    }
    out
}

fn snr_db(clean: &[i16], heard: &[i16]) -> f64 {
    let power = |f: &dyn Fn(usize) -> f64| (0..heard.len()).map(|n| f(n).powi(2)).sum::<f64>();
    10.0 * (power(&|n| f64::from(clean[n])) / power(&|n| f64::from(clean[n]) - f64::from(heard[n]))).log10()
}

fn steepest(samples: &[i16]) -> u32 {
    samples.windows(2).map(|w| (i32::from(w[0]) - i32::from(w[1])).unsigned_abs()).max().unwrap_or(0)
}

/// Mean distance of the frames' spectra in dB, over the frames that differ.
fn spectral_distance_db(clean: &[i16], heard: &[i16]) -> f64 {
    let bands = |frame: &[i16]| -> Vec<f64> {
        (1..=17).map(|n| 20.0 * (tone::amplitude_at(frame, f64::from(n) * 200.0) + 1.0).log10()).collect()
    };
    let (mut sum, mut count) = (0.0, 0.0);
    for (clean, heard) in clean.chunks_exact(160).zip(heard.chunks_exact(160)).filter(|(a, b)| a != b) {
        let squares: f64 = bands(clean).iter().zip(bands(heard)).map(|(a, b)| (a - b).powi(2)).sum();
        sum += (squares / 17.0).sqrt();
        count += 1.0;
    }
    sum / count
}

#[test]
fn a_lossy_tone_is_closer_to_the_original_than_with_holes() {
    for hz in [130.0, 450.0, 1000.0] {
        let clean = sine(hz);
        let holes = snr_db(&clean, &lose(&clean, false));
        let concealed = snr_db(&clean, &lose(&clean, true));
        assert!(concealed > holes + 12.0, "{hz} Hz: {holes:.1} dB with holes, {concealed:.1} dB concealed");
    }
}

#[test]
fn lossy_voice_keeps_its_spectrum() {
    let clean = voice();
    let holes = spectral_distance_db(&clean, &lose(&clean, false));
    let concealed = spectral_distance_db(&clean, &lose(&clean, true));
    assert!(concealed < holes / 3.0, "{holes:.1} dB with holes, {concealed:.1} dB concealed");
}

#[test]
fn no_click_where_audio_ends_or_comes_back() {
    for clean in [sine(450.0), sine(1000.0), voice()] {
        let (before, holes, after) = (steepest(&clean), steepest(&lose(&clean, false)), steepest(&lose(&clean, true)));
        assert!(after <= before * 5 / 4, "{before} clean, {holes} with holes, {after} concealed");
    }
}

#[test]
fn a_long_loss_fades_to_silence_in_60_ms() {
    let mut concealer = Concealer::default();
    concealer.remember(&sine(450.0)[..800]);
    let mut peaks = Vec::new();
    for _ in 0..8 {
        let mut frame = [0; 80];
        let heard = concealer.conceal(&mut frame);
        let peak = frame.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert_eq!(heard, peak > 0);
        peaks.push(peak);
    }
    assert!(peaks[0] > 7500, "{peaks:?}");
    assert!(peaks.is_sorted_by(|a, b| a > b || *b == 0), "{peaks:?}");
    assert_eq!(&peaks[6..], [0, 0]);
    let mut back = sine(450.0)[..160].to_vec();
    concealer.merge(&mut back);
    assert!(back[0].abs() < 500 && back[159] == sine(450.0)[159]);
}

#[test]
fn silence_and_any_noise_are_concealed_without_a_fault() {
    let mut concealer = Concealer::default();
    let mut frame = [1; 160];
    concealer.conceal(&mut frame);
    assert_eq!(frame, [0; 160]);
    let mut state = 1u32;
    for round in 0..500usize {
        let mut audio: Vec<i16> = (0..round % 400)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state & 0x100 == 0 { i16::MIN } else { i16::MAX }
            })
            .collect();
        if state & 0x200 == 0 {
            concealer.conceal(&mut audio);
        } else {
            concealer.merge(&mut audio);
            concealer.remember(&audio);
        }
    }
}
