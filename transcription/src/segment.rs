//! What a transcript consists of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who spoke: the recording's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The citizen: left channel, and the only one of a mono recording.
    #[serde(rename = "L")]
    Citizen,
    /// The operator: right channel.
    #[serde(rename = "R")]
    Operator,
}

impl Side {
    /// The side of channel `index` (0 = left).
    #[must_use]
    pub fn of_channel(index: u16) -> Self {
        if index == 0 { Self::Citizen } else { Self::Operator }
    }

    /// The word shown before the side's lines.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Citizen => "诉求人",
            Self::Operator => "受理员",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Citizen => "L",
            Self::Operator => "R",
        })
    }
}

/// One utterance. Times count from the recording's first sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Begin, ms.
    pub t0_ms: u64,
    /// End, ms.
    pub t1_ms: u64,
    /// Who spoke.
    pub side: Side,
    /// What was said, simplified Chinese.
    pub text: String,
    /// 0 to 1 where the engine tells one.
    pub confidence: Option<f32>,
}

/// The outcome of one recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// `whisper`, `http` or `fake`.
    pub engine: String,
    /// Model file or name.
    pub model: String,
    /// Version of this pipeline and its engine.
    pub version: String,
    /// `silero` or `earshot`.
    pub vad: String,
    /// In time order, both sides.
    pub segments: Vec<Segment>,
    /// Length of the audio, ms.
    pub audio_ms: u64,
    /// Speech found on all channels together, ms.
    pub speech_ms: u64,
    /// True where a limit or a damaged file cut something off.
    pub truncated: bool,
}
