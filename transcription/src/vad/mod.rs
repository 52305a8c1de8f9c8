//! Voice activity: which parts of a channel are speech.

pub mod earshot;
#[cfg(feature = "whisper")]
pub mod silero;
pub mod spans;

pub use spans::{Span, spans};

use crate::audio::{Channel, ENGINE_RATE_HZ, Resampler};
use crate::config::{Config, VadKind};

/// The detector couldn't be made or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VadError {
    /// The file asked for can't be used.
    #[error("voice activity model: {0}")]
    Model(String),
    /// The native code reported an error.
    #[error("voice activity detection failed: {0}")]
    Failed(String),
}

/// A detector of one stream of 16 kHz samples.
pub trait Vad {
    /// `earshot` or `silero`.
    fn name(&self) -> &'static str;
    /// Length of one probability, samples at 16 kHz.
    fn frame_samples(&self) -> usize;
    /// Forgets the stream before.
    fn reset(&mut self);
    /// Takes more samples and appends one probability per completed frame.
    ///
    /// # Errors
    /// [`VadError::Failed`].
    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError>;
    /// Ends the stream: the last unfinished frame, filled up with silence.
    ///
    /// # Errors
    /// [`VadError::Failed`].
    fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), VadError>;
}

/// The detector the configuration asks for.
///
/// # Errors
/// [`VadError::Model`] where Silero is asked for by name and can't be used.
pub fn detector(cfg: &Config) -> Result<Box<dyn Vad + Send>, VadError> {
    if cfg.vad == VadKind::Earshot {
        return Ok(Box::new(earshot::Earshot::new()));
    }
    match cfg.silero_path() {
        #[cfg(feature = "whisper")]
        Ok(path) => Ok(Box::new(silero::Silero::open(&path)?)),
        #[cfg(not(feature = "whisper"))]
        Ok(_) => Ok(Box::new(earshot::Earshot::new())),
        Err(why) if cfg.vad == VadKind::Silero => Err(VadError::Model(why)),
        Err(_) => Ok(Box::new(earshot::Earshot::new())),
    }
}

/// Finds the speech of one channel. `beat` is called after each second of
/// audio, so that a caller can show progress.
///
/// # Errors
/// [`VadError::Failed`].
pub fn detect(vad: &mut dyn Vad, channel: &Channel, beat: &mut dyn FnMut()) -> Result<Vec<Span>, VadError> {
    vad.reset();
    let mut resampler = Resampler::new(channel.rate_hz);
    let (mut block, mut probabilities) = (Vec::new(), Vec::new());
    for second in channel.samples.chunks(channel.rate_hz.max(1) as usize) {
        block.clear();
        resampler.push(second, &mut block);
        vad.push(&block, &mut probabilities)?;
        beat();
    }
    block.clear();
    resampler.finish(&mut block);
    vad.push(&block, &mut probabilities)?;
    vad.finish(&mut probabilities)?;
    let frame_us = vad.frame_samples() as u64 * 1_000_000 / u64::from(ENGINE_RATE_HZ);
    Ok(spans(&probabilities, frame_us, channel.duration_ms()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_falls_back_to_the_detector_without_a_file() {
        assert_eq!(detector(&Config::default()).unwrap().name(), "earshot");
    }

    #[test]
    fn silero_by_name_without_its_file_is_an_error() {
        let cfg = Config { vad: VadKind::Silero, ..Config::default() };
        assert!(matches!(detector(&cfg).map(|_| ()), Err(VadError::Model(_))));
    }
}
