//! How recordings are stored, and what is recorded.

use hotline_media::recorder::WavFormat;
use serde::{Deserialize, Serialize};

/// The WAV files' samples.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RecordingFormat {
    /// 16-bit linear: any player plays it; 115 MB an hour.
    #[default]
    Pcm16,
    /// G.711 A-law: half the size, and A-law calls are stored bit by bit as they came.
    Alaw,
}

impl From<RecordingFormat> for WavFormat {
    fn from(format: RecordingFormat) -> Self {
        match format {
            RecordingFormat::Pcm16 => Self::Pcm16,
            RecordingFormat::Alaw => Self::Alaw,
        }
    }
}

/// From when on calls to a hotline number are recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Nothing but messages citizens leave.
    Off,
    /// The talk with an operator.
    #[default]
    Talk,
    /// From the answer on: greeting, menus and waiting too.
    Answer,
}
