//! Which codecs a trunk or a phone is offered.

use hotline_media::Codec;
use serde::{Deserialize, Serialize};

/// A codec by its name in SDP.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub enum CodecName {
    /// G.711 A-law.
    #[serde(rename = "PCMA")]
    Pcma,
    /// G.711 µ-law.
    #[serde(rename = "PCMU")]
    Pcmu,
    /// G.722.
    #[serde(rename = "G722")]
    G722,
    /// Opus.
    #[serde(rename = "opus")]
    Opus,
}

impl CodecName {
    /// G.711, A-law first: what Chinese carriers speak.
    #[must_use]
    pub fn g711() -> Vec<Self> {
        vec![Self::Pcma, Self::Pcmu]
    }

    /// The codec meant.
    #[must_use]
    pub const fn codec(self) -> Codec {
        match self {
            Self::Pcma => Codec::Pcma,
            Self::Pcmu => Codec::Pcmu,
            Self::G722 => Codec::G722,
            Self::Opus => Codec::Opus,
        }
    }
}

/// What is wrong with a list of codecs, if anything.
pub(super) fn problem_of(codecs: &[CodecName]) -> Option<&'static str> {
    let is_twice = codecs.iter().enumerate().any(|(i, codec)| codecs[..i].contains(codec));
    match codecs {
        [] => Some("no codec"),
        _ if is_twice => Some("a codec is named twice"),
        _ => None,
    }
}
