//! Engines: speech windows in, segments out.

pub mod fake;
pub mod http;
#[cfg(feature = "whisper")]
pub mod whisper;
pub mod window;

pub use window::{Piece, Window, plan};

use crate::config::{Config, EngineKind};
use crate::segment::{Segment, Side};

/// Why an engine gave no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing can be transcribed before someone acts: no model, no server.
    #[error("{0}")]
    Unavailable(String),
    /// This time it failed; another attempt may succeed.
    #[error("{0}")]
    Failed(String),
}

/// One speech engine. Not shared between threads: each child has its own.
pub trait Engine {
    /// `fake`, `http` or `whisper`.
    fn name(&self) -> &'static str;
    /// Model file or name, for the transcript.
    fn model(&self) -> String;
    /// A new recording begins.
    fn begin(&mut self) {}
    /// Text of one window of 16 kHz speech spoken by `side`, with times of the
    /// recording, in time order.
    ///
    /// # Errors
    /// [`EngineError`].
    fn transcribe(&mut self, audio: &Window, side: Side) -> Result<Vec<Segment>, EngineError>;
}

/// The engine the configuration asks for.
///
/// # Errors
/// [`EngineError::Unavailable`] with the remedy.
pub fn open(cfg: &Config) -> Result<Box<dyn Engine>, EngineError> {
    cfg.ready().map_err(|e| EngineError::Unavailable(e.to_string()))?;
    match cfg.engine {
        EngineKind::None => Err(EngineError::Unavailable("no engine".into())),
        EngineKind::Fake => Ok(Box::new(fake::Fake::new(cfg.fake_texts.clone()))),
        EngineKind::Http => Ok(Box::new(http::Http::new(cfg)?)),
        #[cfg(feature = "whisper")]
        EngineKind::Whisper => Ok(Box::new(whisper::Whisper::open(cfg)?)),
        #[cfg(not(feature = "whisper"))]
        EngineKind::Whisper => Err(EngineError::Unavailable("this build has no whisper".into())),
    }
}
