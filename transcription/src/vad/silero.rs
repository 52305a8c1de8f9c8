//! Silero through whisper.cpp's voice activity context.

use std::path::Path;

use whisper_rs::{WhisperVadContext, WhisperVadContextParams};

use super::{Vad, VadError};

/// Samples of one probability at 16 kHz: 32 ms.
const FRAME: usize = 512;
/// Frames judged at a time: about one second.
const STEP: usize = 32;
/// Frames before them that are fed again: the context starts each call with
/// an empty memory, and needs half a second to hear what came before.
const LEAD: usize = 16;

/// The better detector; its file is installed by the site.
pub struct Silero {
    context: WhisperVadContext,
    /// At most `LEAD` old frames, then what is not judged yet.
    held: Vec<f32>,
    lead: usize,
}

impl Silero {
    /// Loads a checked file.
    ///
    /// # Errors
    /// [`VadError::Model`].
    pub fn open(path: &Path) -> Result<Self, VadError> {
        let text = path.to_str().ok_or_else(|| VadError::Model("its path is not UTF-8".into()))?;
        let mut params = WhisperVadContextParams::new();
        // The default of 4 never finishes on 2 cores.
        params.set_n_threads(1);
        let context = WhisperVadContext::new(text, params).map_err(|e| VadError::Model(e.to_string()))?;
        Ok(Self { context, held: Vec::new(), lead: 0 })
    }

    /// Judges `frames` new frames that follow the lead.
    fn judge(&mut self, frames: usize, out: &mut Vec<f32>) -> Result<(), VadError> {
        let end = (self.lead + frames) * FRAME;
        self.context.detect_speech(&self.held[..end]).map_err(|e| VadError::Failed(e.to_string()))?;
        let all = self.context.probabilities();
        let new = all.get(self.lead..self.lead + frames).ok_or_else(|| {
            VadError::Failed(format!("{} probabilities for {} frames", all.len(), self.lead + frames))
        })?;
        out.extend_from_slice(new);
        let keep = LEAD.min(self.lead + frames);
        self.held.drain(..end - keep * FRAME);
        self.lead = keep;
        Ok(())
    }
}

impl Vad for Silero {
    fn name(&self) -> &'static str {
        "silero"
    }

    fn frame_samples(&self) -> usize {
        FRAME
    }

    fn reset(&mut self) {
        self.held.clear();
        self.lead = 0;
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
        self.held.extend_from_slice(samples);
        while self.held.len() >= (self.lead + STEP) * FRAME {
            self.judge(STEP, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), VadError> {
        let new = self.held.len() - self.lead * FRAME;
        if new > 0 {
            let frames = new.div_ceil(FRAME);
            self.held.resize((self.lead + frames) * FRAME, 0.0);
            self.judge(frames, out)?;
        }
        self.reset();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Channel, read_channel};
    use crate::vad::detect;

    fn data() -> Option<std::path::PathBuf> {
        crate::testdata::dir("models")?.parent().map(Into::into)
    }

    #[test]
    fn silence_and_tones_are_no_speech_and_clips_are() {
        let Some(root) = data() else { return };
        let mut vad = Silero::open(&root.join("models/for-tests-silero-v6.2.0-ggml.bin")).unwrap();
        let tone = (0..80_000)
            .map(|i| ((f64::from(i) * 450.0 * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0) as i16)
            .collect::<Vec<_>>();
        for samples in [vec![0; 80_000], tone] {
            let channel = Channel { rate_hz: 8_000, samples, truncated: false };
            assert!(detect(&mut vad, &channel, &mut || {}).unwrap().is_empty());
        }
        for clip in ["funasr_sample.wav", "wenet_mid.wav", "yeyupiaoling_test.wav"] {
            let channel = read_channel(&root.join("clips").join(clip), 0).unwrap();
            let spans = detect(&mut vad, &channel, &mut || {}).unwrap();
            let speech: u64 = spans.iter().map(super::super::Span::len_ms).sum();
            assert!(speech * 2 > channel.duration_ms(), "{clip}: {speech} of {} ms", channel.duration_ms());
        }
    }

    #[test]
    fn every_frame_gets_one_probability() {
        let Some(root) = data() else { return };
        let mut vad = Silero::open(&root.join("models/for-tests-silero-v6.2.0-ggml.bin")).unwrap();
        for len in [1, 511, 512, 513, 16_000, 50_001] {
            let mut out = Vec::new();
            for block in vec![0.01; len].chunks(777) {
                vad.push(block, &mut out).unwrap();
            }
            vad.finish(&mut out).unwrap();
            assert_eq!(out.len(), len.div_ceil(FRAME), "{len}");
        }
    }
}
