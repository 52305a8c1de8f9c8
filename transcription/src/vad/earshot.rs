//! The detector that carries its own weights.

use earshot::Detector;

use super::{Vad, VadError};
use crate::audio::to_i16;

/// Samples of one frame at 16 kHz: 16 ms.
const FRAME: usize = 256;
/// Frames a probability is averaged over: single loud frames are clicks.
const SMOOTH: usize = 3;

/// Pure Rust, no file needed, some tenths of a percent of a core.
pub struct Earshot {
    detector: Box<Detector>,
    rest: Vec<i16>,
    recent: [f32; SMOOTH],
    at: usize,
}

impl Earshot {
    /// A fresh detector.
    #[must_use]
    pub fn new() -> Self {
        Self { detector: Box::new(Detector::default()), rest: Vec::with_capacity(FRAME), recent: [0.0; SMOOTH], at: 0 }
    }

    fn frame(&mut self, frame: &[i16]) -> f32 {
        let p = self.detector.predict_i16(frame);
        self.recent[self.at % SMOOTH] = if p.is_finite() { p.clamp(0.0, 1.0) } else { 0.0 };
        self.at += 1;
        self.recent.iter().sum::<f32>() / SMOOTH as f32
    }
}

impl Default for Earshot {
    fn default() -> Self {
        Self::new()
    }
}

impl Vad for Earshot {
    fn name(&self) -> &'static str {
        "earshot"
    }

    fn frame_samples(&self) -> usize {
        FRAME
    }

    fn reset(&mut self) {
        self.detector.reset();
        self.rest.clear();
        self.recent = [0.0; SMOOTH];
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
        let mut pending = std::mem::take(&mut self.rest);
        pending.extend(samples.iter().copied().map(to_i16));
        let frames = pending.chunks_exact(FRAME);
        self.rest.extend_from_slice(frames.remainder());
        for frame in frames {
            let p = self.frame(frame);
            out.push(p);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), VadError> {
        if !self.rest.is_empty() {
            let mut frame = std::mem::take(&mut self.rest);
            frame.resize(FRAME, 0);
            let p = self.frame(&frame);
            out.push(p);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Channel;
    use crate::vad::detect;

    fn find(rate_hz: u32, samples: Vec<i16>) -> Vec<super::super::Span> {
        let channel = Channel { rate_hz, samples, truncated: false };
        detect(&mut Earshot::new(), &channel, &mut || {}).unwrap()
    }

    #[test]
    fn silence_and_dial_tone_are_no_speech() {
        assert!(find(8_000, vec![0; 80_000]).is_empty());
        let tone = |f: f64| {
            (0..80_000)
                .map(|i| ((f64::from(i) * f * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0) as i16)
                .collect::<Vec<_>>()
        };
        let total: u64 = find(8_000, tone(450.0)).iter().map(super::super::Span::len_ms).sum();
        assert!(total < 2_000, "450 Hz for 10 s: {total} ms taken for speech");
    }

    #[test]
    fn block_sizes_do_not_matter() {
        let samples: Vec<f32> = (0..16_000).map(|i| ((i * i) % 251) as f32 / 251.0 - 0.5).collect();
        let run = |size: usize| {
            let (mut vad, mut out) = (Earshot::new(), Vec::new());
            for block in samples.chunks(size) {
                vad.push(block, &mut out).unwrap();
            }
            vad.finish(&mut out).unwrap();
            out
        };
        assert_eq!(run(1), run(1_000));
        assert_eq!(run(256).len(), 63);
    }

    #[test]
    fn spoken_clips_are_found() {
        let Some(clips) = crate::testdata::dir("clips") else {
            return;
        };
        let mut seen = 0;
        for entry in std::fs::read_dir(clips).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "wav") {
                let channel = crate::audio::read_channel(&path, 0).unwrap();
                let found = detect(&mut Earshot::new(), &channel, &mut || {}).unwrap();
                assert!(!found.is_empty(), "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen >= 5);
    }

    #[test]
    fn rendered_prompts_are_taken_for_speech() {
        let sounds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sounds/zh-CN");
        let (mut speech, mut total) = (0, 0);
        for name in ["greeting.wav", "message_done.wav", "survey_question.wav"] {
            let path = sounds.join(name);
            if !path.is_file() {
                println!("skipped: {} is absent", path.display());
                return;
            }
            let channel = crate::audio::read_channel(&path, 0).unwrap();
            let found = detect(&mut Earshot::new(), &channel, &mut || {}).unwrap();
            speech += found.iter().map(super::super::Span::len_ms).sum::<u64>();
            total += channel.duration_ms();
        }
        assert!(speech * 2 > total, "{speech} of {total} ms");
    }
}
