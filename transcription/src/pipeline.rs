//! One recording from file to transcript: read, detect, pack, hear, tidy.

use std::path::Path;

use crate::audio::{self, AudioError};
use crate::config::Config;
use crate::engine::{self, Engine, EngineError, Window};
use crate::limits;
use crate::segment::{Side, Transcript};
use crate::text;
use crate::vad::{self, Vad, VadError};

/// Why a recording has no transcript.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The file can't be read.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// Voice activity detection can't be made or failed.
    #[error(transparent)]
    Vad(#[from] VadError),
    /// The engine can't be made or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// An engine and a detector, loaded once and used for many recordings.
pub struct Pipeline {
    engine: Box<dyn Engine>,
    vad: Box<dyn Vad + Send>,
}

impl Pipeline {
    /// Loads what the configuration asks for.
    ///
    /// # Errors
    /// [`PipelineError::Engine`] and [`PipelineError::Vad`].
    pub fn open(cfg: &Config) -> Result<Self, PipelineError> {
        Ok(Self { engine: engine::open(cfg)?, vad: vad::detector(cfg)? })
    }

    /// Name of the engine.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Name of the detector.
    #[must_use]
    pub fn vad(&self) -> &'static str {
        self.vad.name()
    }

    /// Model of the engine.
    #[must_use]
    pub fn model(&self) -> String {
        self.engine.model()
    }

    /// Transcribes one WAV. `progress` is called at least once a second of
    /// work on audio with the milliseconds done and to do, all channels together.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn transcribe(&mut self, path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Transcript, PipelineError> {
        let header = audio::header(path)?;
        let channels = header.channels.min(limits::CHANNELS_MAX);
        let total_ms = header.duration_ms * u64::from(channels);
        let mut all = Vec::new();
        let (mut speech_ms, mut audio_ms, mut truncated) = (0, 0, header.channels > channels);
        self.engine.begin();
        for index in 0..channels {
            let channel = audio::read_channel(path, index)?;
            let base_ms = header.duration_ms * u64::from(index);
            truncated |= channel.truncated;
            audio_ms = audio_ms.max(channel.duration_ms());
            let spans = vad::detect(self.vad.as_mut(), &channel, &mut || progress(base_ms, total_ms))?;
            speech_ms += spans.iter().map(vad::Span::len_ms).sum::<u64>();
            let side = Side::of_channel(index);
            for window in engine::plan(&channel, &spans) {
                let cut = Window::cut(&channel, &window);
                all.extend(self.engine.transcribe(&cut, side)?);
                progress(base_ms + window.last().map_or(0, |s| s.t1_ms), total_ms);
            }
        }
        let (segments, cut) = text::tidy(all);
        Ok(Transcript {
            engine: self.engine.name().into(),
            model: self.engine.model(),
            version: env!("CARGO_PKG_VERSION").into(),
            vad: self.vad.name().into(),
            segments,
            audio_ms,
            speech_ms,
            truncated: truncated || cut,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineKind;
    use crate::testdata;

    fn fake() -> Config {
        Config { engine: EngineKind::Fake, fake_texts: vec!["人民路井蓋沒了".into()], ..Config::default() }
    }

    /// Stereo 8 kHz: the clip at 1 s on the left, at 8 s on the right.
    fn talk(clip: &Path, out: &Path) {
        let clip = audio::read_channel(clip, 0).unwrap();
        let narrow: Vec<i16> =
            clip.samples.chunks_exact(2).map(|p| ((i32::from(p[0]) + i32::from(p[1])) / 2) as i16).collect();
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(out, spec).unwrap();
        for i in 0..8_000_usize * 16 {
            let at = |from: usize| i.checked_sub(from).and_then(|i| narrow.get(i)).copied().unwrap_or(0);
            writer.write_sample(at(8_000)).unwrap();
            writer.write_sample(at(64_000)).unwrap();
        }
        writer.finalize().unwrap();
    }

    #[test]
    fn a_conversation_becomes_segments_of_both_sides_in_time_order() {
        let Some(clips) = testdata::dir("clips") else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("talk.wav");
        talk(&clips.join("funasr_sample.wav"), &path);
        let mut beats = Vec::new();
        let got =
            Pipeline::open(&fake()).unwrap().transcribe(&path, &mut |done, total| beats.push((done, total))).unwrap();
        assert_eq!(got.audio_ms, 16_000);
        assert_eq!(got.segments[0].side, Side::Citizen);
        assert_eq!(got.segments[0].text, "人民路井盖没了");
        assert!(got.segments.iter().any(|s| s.side == Side::Operator && s.t0_ms >= 7_500));
        assert!(got.segments.windows(2).all(|w| w[0].t0_ms <= w[1].t0_ms));
        assert!(got.segments.iter().all(|s| s.side == Side::Operator || s.t1_ms < 8_000));
        assert!(beats.iter().all(|(done, total)| done <= total && *total == 32_000));
        assert!(beats.windows(2).all(|w| w[0].0 <= w[1].0));
    }

    #[test]
    fn silence_gives_an_empty_transcript() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.wav");
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for _ in 0..32_000 {
            writer.write_sample(0_i16).unwrap();
        }
        writer.finalize().unwrap();
        let got = Pipeline::open(&fake()).unwrap().transcribe(&path, &mut |_, _| {}).unwrap();
        assert!(got.segments.is_empty());
        assert_eq!((got.audio_ms, got.speech_ms, got.truncated), (2_000, 0, false));
    }
}
