use std::f64::consts::TAU;

use super::*;
use crate::{Clip, Codec, codec};

/// dBm0 of one tone to its amplitude: a full-scale sine is +3.14 dBm0 in A-law (G.711 table 5).
fn amplitude(dbm0: f64) -> f64 {
    32_124.0 * 10f64.powf((dbm0 * 100.0 - 314.0) / 2000.0)
}

struct Line {
    samples: Vec<i16>,
    random: u64,
    noise: f64,
}

impl Line {
    fn new() -> Self {
        Self { samples: vec![0; 400], random: 5, noise: 0.0 }
    }

    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }

    /// `samples` of two tones at these frequencies and amplitudes.
    fn tones(&mut self, hz: [f64; 2], amplitudes: [f64; 2], samples: usize) {
        for n in 0..samples {
            // The sum of twelve is nearly Gaussian of variance 4.
            let noise: f64 = (0..12).map(|_| self.uniform()).sum::<f64>() / 2.0 * self.noise;
            let value: f64 = (0..2).map(|i| (TAU * hz[i] * n as f64 / 8000.0).sin() * amplitudes[i]).sum();
            self.samples.push((value + noise).clamp(-32_768.0, 32_767.0) as i16);
        }
    }

    fn key(&mut self, key: char, amplitudes: [f64; 2], on: usize, off: usize) {
        self.tones(pair(key), amplitudes, on);
        self.tones([0.0; 2], [0.0; 2], off);
    }

    /// What is found after an A-law line.
    fn heard(&self) -> String {
        let mut detector = InbandDetector::default();
        found(&mut detector, &self.samples).iter().map(|digit| digit.digit).collect()
    }
}

fn pair(key: char) -> [f64; 2] {
    let at = KEYS.as_flattened().iter().position(|k| *k == key).unwrap();
    [TONES_HZ[at / 4], TONES_HZ[4 + at % 4]]
}

fn found(detector: &mut InbandDetector, samples: &[i16]) -> Vec<Digit> {
    let (mut coded, mut line, mut digits) = (Vec::new(), Vec::new(), Vec::new());
    codec::encode_into(Codec::Pcma, samples, &mut coded);
    codec::decode_into(Codec::Pcma, &coded, &mut line);
    for (n, packet) in line.chunks(160).enumerate() {
        detector.receive(n as u32 * 160, packet, |digit| digits.push(digit));
    }
    digits
}

const ALL: &str = "123A456B789C*0#D";

#[test]
fn all_digits_are_found_at_every_level_and_twist() {
    for dbm0 in [-3.0, -10.0, -20.0, -30.0] {
        for twist_db in [-6.0, 0.0, 6.0] {
            // The weaker tone loses: at −3 dBm0 there is no room above.
            let weaker = amplitude(dbm0 - f64::abs(twist_db));
            let amplitudes = if twist_db < 0.0 { [weaker, amplitude(dbm0)] } else { [amplitude(dbm0), weaker] };
            if dbm0 - f64::abs(twist_db) < -30.0 {
                continue;
            }
            let mut line = Line::new();
            for (n, key) in ALL.chars().enumerate() {
                // Off the grid of hops, every time by something else.
                line.key(key, amplitudes, 800, 800 + n * 7);
            }
            assert_eq!(line.heard(), ALL, "{dbm0} dBm0, {twist_db} dB");
        }
    }
}

#[test]
fn forty_milliseconds_on_and_forty_off_are_enough_and_twenty_are_too_short() {
    for shift in 0..80 {
        let (mut line, mut short) = (Line::new(), Line::new());
        line.samples.resize(400 + shift, 0);
        short.samples.resize(400 + shift, 0);
        for key in "5580##".chars() {
            line.key(key, [amplitude(-10.0); 2], 320, 320);
            short.key(key, [amplitude(-10.0); 2], 160, 320);
        }
        line.samples.resize(line.samples.len() + 800, 0);
        assert_eq!((line.heard().as_str(), short.heard().as_str()), ("5580##", ""), "shift {shift}");
    }
}

#[test]
fn a_break_of_ten_milliseconds_splits_nothing() {
    let mut line = Line::new();
    line.key('7', [amplitude(-10.0); 2], 480, 80);
    line.key('7', [amplitude(-10.0); 2], 480, 800);
    let digits = found(&mut InbandDetector::default(), &line.samples);
    assert_eq!(digits.len(), 1);
    assert!((100..=160).contains(&digits[0].duration_ms), "{digits:?}");
}

#[test]
fn frequencies_may_be_off_by_one_and_a_half_percent_and_not_by_three_and_a_half() {
    for key in ALL.chars() {
        for (off, expected) in [(0.015, 1), (-0.015, 1), (0.035, 0), (-0.035, 0)] {
            for which in 0..2 {
                let (mut line, mut hz) = (Line::new(), pair(key));
                hz[which] *= 1.0 + off;
                line.tones(hz, [amplitude(-10.0); 2], 800);
                line.tones([0.0; 2], [0.0; 2], 800);
                assert_eq!(line.heard().len(), expected, "{key}, tone {which} off by {off}");
            }
        }
    }
}

#[test]
fn digits_are_found_in_noise_15_db_below() {
    for dbm0 in [-5.0, -15.0, -25.0] {
        let mut line = Line::new();
        // Noise 15 dB below the power of the two tones together.
        line.noise = amplitude(dbm0) * 10f64.powf(-15.0 / 20.0) / 2.0;
        let mut expected = String::new();
        for round in 0..20 {
            for key in ALL.chars() {
                line.key(key, [amplitude(dbm0); 2], 400 + round * 3, 400);
                expected.push(key);
            }
        }
        assert_eq!(line.heard(), expected, "{dbm0} dBm0");
    }
}

#[test]
fn lost_packets_split_no_digit_and_stragglers_change_nothing() {
    let mut line = Line::new();
    line.key('4', [amplitude(-10.0); 2], 1600, 1600);
    line.key('4', [amplitude(-10.0); 2], 1600, 1600);
    let mut digits = String::new();
    let mut detector = InbandDetector::default();
    for (n, packet) in line.samples.chunks(160).enumerate() {
        if n % 6 != 5 {
            detector.receive((n as u32 * 160).wrapping_sub(2000), packet, |digit| digits.push(digit.digit));
        }
        if n % 9 == 8 {
            detector.receive(((n as u32 - 3) * 160).wrapping_sub(2000), packet, |digit| digits.push(digit.digit));
        }
    }
    assert_eq!(digits, "44");
}

#[test]
fn tones_of_the_network_are_no_digits() {
    for hz in [
        [450.0, 450.0],
        [350.0, 440.0],
        [425.0, 850.0],
        [697.0, 770.0],
        [1209.0, 1336.0],
        [941.0, 941.0],
        [950.0, 1400.0],
    ] {
        let mut line = Line::new();
        line.tones(hz, [amplitude(-10.0); 2], 8000);
        line.tones([0.0; 2], [0.0; 2], 800);
        assert_eq!(line.heard(), "", "{hz:?}");
    }
}

/// 300–3400 Hz, 8 kHz.
fn telephone(samples: &[i16], rate_hz: usize) -> Vec<i16> {
    const REACH: isize = 50;
    let step = rate_hz as f64 / 8000.0;
    let cut = |hz: f64, n: f64| {
        let x = 2.0 * hz / rate_hz as f64;
        if n == 0.0 { x } else { (std::f64::consts::PI * x * n).sin() / (std::f64::consts::PI * n) }
    };
    let taps: Vec<f64> = (-REACH..=REACH)
        .map(|n| {
            let window = 0.54 + 0.46 * (std::f64::consts::PI * n as f64 / REACH as f64).cos();
            (cut(3400.0, n as f64) - cut(300.0, n as f64)) * window
        })
        .collect();
    (0..(samples.len() as f64 / step) as usize)
        .map(|index| {
            let center = (index as f64 * step) as isize;
            let value: f64 = (-REACH..=REACH)
                .zip(&taps)
                .filter_map(|(n, tap)| Some(f64::from(*samples.get(usize::try_from(center + n).ok()?)?) * tap))
                .sum();
            value.clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

/// Digits heard in `samples` as they are and louder and softer, in A-law.
fn false_digits(samples: &[i16]) -> String {
    let mut digits = String::new();
    for gain in [0.5, 1.0, 2.0] {
        let scaled: Vec<i16> =
            samples.iter().map(|&s| (f64::from(s) * gain).clamp(-32_768.0, 32_767.0) as i16).collect();
        // Other phases of the hops are other windows.
        for shift in [0, 40] {
            digits.extend(found(&mut InbandDetector::default(), &scaled[shift..]).iter().map(|digit| digit.digit));
        }
    }
    digits
}

#[test]
fn our_prompts_hold_no_digits() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sounds");
    let mut count = 0;
    for language in ["zh-CN", "en"] {
        for file in std::fs::read_dir(format!("{folder}/{language}")).unwrap() {
            let path = file.unwrap().path();
            let clip = Clip::from_wav(&path).unwrap();
            assert_eq!(false_digits(&telephone(clip.samples(), 8000)), "", "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 100);
}

#[test]
fn mandarin_speech_holds_no_digits() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let named = std::env::var("HOTLINE_TEST_DATA").ok();
    // Who names the data has them: then nothing is skipped in silence.
    let count_min = if named.is_some() { 5 } else { 0 };
    let folder = named.unwrap_or_else(|| default.into()) + "/clips";
    let Ok(files) = std::fs::read_dir(&folder) else {
        assert_eq!(count_min, 0, "no folder {folder}");
        return println!("skipped mandarin_speech_holds_no_digits: no folder {folder}");
    };
    let mut count = 0;
    for path in files.map(|file| file.unwrap().path()) {
        let Some((samples, rate_hz)) = read(&path) else {
            println!("skipped {}: needs sox", path.display());
            continue;
        };
        assert_eq!(false_digits(&telephone(&samples, rate_hz)), "", "{}", path.display());
        count += 1;
    }
    println!("mandarin_speech_holds_no_digits: {count} clips examined");
    assert!(count >= count_min, "{count} clips of {folder} could be examined");
}

/// The first channel of a WAV file, or of anything `sox` reads.
fn read(path: &std::path::Path) -> Option<(Vec<i16>, usize)> {
    let bytes = if path.extension().is_some_and(|extension| extension == "wav") {
        std::fs::read(path).unwrap()
    } else {
        let sox = std::process::Command::new("sox").arg(path).args(["-b", "16", "-t", "wav", "-"]).output();
        sox.ok().filter(|output| output.status.success())?.stdout
    };
    let mut reader = hound::WavReader::new(bytes.as_slice()).unwrap();
    let spec = reader.spec();
    let samples: Vec<i16> = match spec.sample_format {
        hound::SampleFormat::Int => reader.samples::<i16>().map_while(Result::ok).collect(),
        hound::SampleFormat::Float => {
            reader.samples::<f32>().map_while(Result::ok).map(|s| (s * 32_767.0) as i16).collect()
        }
    };
    Some((samples.into_iter().step_by(spec.channels.into()).collect(), spec.sample_rate as usize))
}
