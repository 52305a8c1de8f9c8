//! A transcript as the database keeps it.

use hotline_db::{Json, NewTranscript};

use crate::segment::{Segment, Transcript};
use crate::text;

/// The row to store and the whole text, both within the database's limits.
pub(super) fn row(mut transcript: Transcript) -> (NewTranscript, String) {
    let mut bytes = 0;
    let fits = |s: &Segment| {
        // Text in JSON grows at most twofold here; 160 bytes for the rest of a segment.
        bytes += s.text.len() * 2 + 160;
        bytes < hotline_db::limits::JSON_BYTES_MAX
    };
    transcript.segments = transcript.segments.into_iter().take_while(fits).collect();
    let cut = |text: String| match text.char_indices().nth(hotline_db::limits::LONG_TEXT_CHARS_MAX) {
        Some((at, _)) => text[..at].to_owned(),
        None => text,
    };
    let whole = cut(text::join(&transcript.segments));
    let new = NewTranscript {
        engine: transcript.engine,
        model: transcript.model,
        version: transcript.version,
        segments: Json(serde_json::to_value(&transcript.segments).unwrap_or_default()),
        redacted_text: cut(text::redact(&whole)),
        text: whole.clone(),
    };
    (new, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Side;

    #[test]
    fn a_transcript_beyond_the_limits_is_cut_to_them() {
        let segment = |i: u64| Segment {
            t0_ms: i,
            t1_ms: i,
            side: Side::Citizen,
            text: "话13800138000".repeat(60),
            confidence: None,
        };
        let transcript = Transcript {
            engine: "fake".into(),
            model: "none".into(),
            version: "0".into(),
            vad: "earshot".into(),
            segments: (0..20_000).map(segment).collect(),
            audio_ms: 0,
            speech_ms: 0,
            truncated: false,
        };
        let (new, whole) = row(transcript);
        assert!(whole.chars().count() <= hotline_db::limits::LONG_TEXT_CHARS_MAX);
        assert!(new.segments.0.to_string().len() <= hotline_db::limits::JSON_BYTES_MAX);
        assert!(!new.redacted_text.contains("13800138000"));
    }
}
