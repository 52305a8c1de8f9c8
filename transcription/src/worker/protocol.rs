//! JSON lines between parent and child.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::segment::Transcript;

/// Parent to child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// First line: load engine and detector.
    Configure {
        /// The whole configuration.
        config: Box<Config>,
    },
    /// Transcribe one file.
    Transcribe {
        /// Repeated in every reply about it.
        id: u64,
        /// The WAV.
        path: PathBuf,
    },
}

/// Child to parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// Engine and detector are loaded.
    Ready {
        /// Engine's name.
        engine: String,
        /// Model's name.
        model: String,
        /// Detector's name.
        vad: String,
    },
    /// The request goes on.
    Progress {
        /// The request.
        id: u64,
        /// Milliseconds of audio done, all channels together.
        done_ms: u64,
        /// Milliseconds of audio altogether.
        total_ms: u64,
    },
    /// The request is done.
    Result {
        /// The request.
        id: u64,
        /// Its outcome.
        transcript: Box<Transcript>,
    },
    /// The request, or without `id` the configuration, failed.
    Fault {
        /// The request.
        id: Option<u64>,
        /// What the parent should do.
        kind: FaultKind,
        /// For people.
        message: String,
    },
}

/// What a failure means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// No recording can be transcribed now: the job waits.
    Unavailable,
    /// Another attempt may succeed.
    Retry,
    /// This recording never will.
    Permanent,
}

/// Reads one line of the other side. Lines that are no message (a native
/// library may print) are `None`.
#[must_use]
pub fn parse<T: for<'a> Deserialize<'a>>(line: &[u8]) -> Option<T> {
    let line = line.trim_ascii();
    if line.first() != Some(&b'{') { None } else { serde_json::from_slice(line).ok() }
}

/// One line with its end.
#[must_use]
pub fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // Messages hold no map with keys other than text: this can't fail.
    let mut out = serde_json::to_vec(message).unwrap_or_default();
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_line() {
        let request = Request::Transcribe { id: 7, path: "/r/录音.wav".into() };
        assert_eq!(parse::<Request>(&line(&request)), Some(request));
        let configure = Request::Configure { config: Box::default() };
        assert_eq!(parse::<Request>(&line(&configure)), Some(configure));
        let fault = Reply::Fault { id: None, kind: FaultKind::Unavailable, message: "a\nb".into() };
        let bytes = line(&fault);
        assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
        assert_eq!(parse::<Reply>(&bytes), Some(fault));
    }

    #[test]
    fn truncated_and_mutated_lines_are_no_message_or_another_one() {
        let whole = line(&Reply::Progress { id: 1, done_ms: 5, total_ms: 10 });
        for cut in 0..whole.len() - 2 {
            assert_eq!(parse::<Reply>(&whole[..cut]), None);
        }
        let mut seed = 1_u64;
        for _ in 0..2_000 {
            let mut bytes = whole.clone();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(3);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 20) as u8;
            let _ = parse::<Reply>(&bytes);
        }
    }
}
