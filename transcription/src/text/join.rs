//! Segments to one transcript.

use crate::limits;
use crate::segment::{Segment, Side};

/// Simplifies, trims, drops empty segments, orders by time, keeps the limits.
/// The flag is true where a limit cut something off.
#[must_use]
pub fn tidy(segments: Vec<Segment>) -> (Vec<Segment>, bool) {
    let mut cut = false;
    let mut out = Vec::with_capacity(segments.len());
    for mut segment in segments {
        let text = super::simplify(segment.text.trim());
        let text: String = text.chars().filter(|c| !c.is_control() && *c != '\u{fffd}').collect();
        segment.text = match text.char_indices().nth(limits::SEGMENT_CHARS_MAX) {
            Some((at, _)) => {
                cut = true;
                text[..at].to_owned()
            }
            None => text,
        };
        segment.t1_ms = segment.t1_ms.max(segment.t0_ms);
        segment.confidence = segment.confidence.filter(|c| c.is_finite());
        if !segment.text.trim().is_empty() {
            out.push(segment);
        }
    }
    out.sort_by_key(|s| (s.t0_ms, s.side, s.t1_ms));
    if out.len() > limits::SEGMENTS_MAX {
        cut = true;
        out.truncate(limits::SEGMENTS_MAX);
    }
    (out, cut)
}

/// The whole talk as text: one line per turn, with the speaker's word before it
/// where both sides spoke.
#[must_use]
pub fn join(segments: &[Segment]) -> String {
    let both = segments.iter().any(|s| s.side == Side::Citizen) && segments.iter().any(|s| s.side == Side::Operator);
    let mut out = String::new();
    let mut last = None;
    for segment in segments {
        if last == Some(segment.side) {
            push(&mut out, &segment.text);
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        if both {
            out.push_str(segment.side.label());
            out.push(':');
        }
        out.push_str(&segment.text);
        last = Some(segment.side);
    }
    out
}

/// What one side said, on one line.
#[must_use]
pub fn of_side(segments: &[Segment], side: Side) -> String {
    let mut out = String::new();
    for segment in segments.iter().filter(|s| s.side == side) {
        push(&mut out, &segment.text);
    }
    out
}

/// A pause becomes a comma where the text has no mark there.
fn push(out: &mut String, text: &str) {
    let marked = |c: char| c.is_ascii_punctuation() || ",。?!;:、…".contains(c);
    if !out.is_empty() && !out.ends_with(marked) && !text.starts_with(marked) {
        out.push(',');
    }
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(t0_ms: u64, side: Side, text: &str) -> Segment {
        Segment { t0_ms, t1_ms: t0_ms + 10, side, text: text.into(), confidence: None }
    }

    #[test]
    fn both_sides_are_ordered_by_time_and_empty_ones_dropped() {
        let (got, cut) = tidy(vec![
            segment(900, Side::Operator, "您好"),
            segment(100, Side::Operator, "  "),
            segment(500, Side::Citizen, " 井蓋\u{0}丟了 "),
        ]);
        assert!(!cut);
        assert_eq!(got.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["井盖丢了", "您好"]);
    }

    #[test]
    fn limits_cut_and_say_so() {
        let (got, cut) = tidy(vec![segment(0, Side::Citizen, &"长".repeat(limits::SEGMENT_CHARS_MAX + 5))]);
        assert!(cut);
        assert_eq!(got[0].text.chars().count(), limits::SEGMENT_CHARS_MAX);
    }

    #[test]
    fn turns_are_lines_with_the_speaker_where_two_speak() {
        let talk = [
            segment(0, Side::Operator, "您好"),
            segment(1, Side::Citizen, "井盖没了"),
            segment(2, Side::Citizen, "在人民路。"),
            segment(3, Side::Citizen, "快来"),
        ];
        assert_eq!(join(&talk), "受理员:您好\n诉求人:井盖没了,在人民路。快来");
        assert_eq!(join(&talk[1..]), "井盖没了,在人民路。快来");
        assert_eq!(of_side(&talk, Side::Operator), "您好");
        assert_eq!(join(&[]), "");
    }
}
