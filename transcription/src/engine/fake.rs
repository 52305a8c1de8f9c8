//! Deterministic texts: the whole path without a model.

use super::{Engine, EngineError, Window};
use crate::segment::{Segment, Side};

/// Says the configured texts in turn for the citizen's stretches of speech, and
/// `[speech 3.2s]` for the rest and for the operator.
pub struct Fake {
    texts: Vec<String>,
    next: usize,
}

impl Fake {
    /// `texts` may be empty.
    #[must_use]
    pub fn new(texts: Vec<String>) -> Self {
        Self { texts, next: 0 }
    }
}

impl Engine for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn model(&self) -> String {
        "none".into()
    }

    fn begin(&mut self) {
        self.next = 0;
    }

    fn transcribe(&mut self, audio: &Window, side: Side) -> Result<Vec<Segment>, EngineError> {
        let mut out = Vec::new();
        for piece in &audio.pieces {
            let span = piece.span;
            let spoken = || format!("[speech {:.1}s]", span.len_ms() as f64 / 1_000.0);
            let text = if side == Side::Citizen {
                let text = self.texts.get(self.next).cloned();
                self.next += 1;
                text.unwrap_or_else(spoken)
            } else {
                spoken()
            };
            out.push(Segment { t0_ms: span.t0_ms, t1_ms: span.t1_ms, side, text, confidence: Some(1.0) });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Piece;
    use crate::vad::Span;

    #[test]
    fn texts_come_in_turn_and_begin_anew_with_each_recording() {
        let piece = |t0_ms| Piece { at_ms: 0, span: Span { t0_ms, t1_ms: t0_ms + 3_200 } };
        let window = Window { samples: Vec::new(), pieces: vec![piece(0), piece(9_000)] };
        let mut fake = Fake::new(vec!["井盖没了".into()]);
        for _ in 0..2 {
            fake.begin();
            let got = fake.transcribe(&window, Side::Citizen).unwrap();
            assert_eq!(got[0].text, "井盖没了");
            assert_eq!(got[1].text, "[speech 3.2s]");
            assert_eq!(got[1].t0_ms, 9_000);
        }
        fake.begin();
        assert_eq!(fake.transcribe(&window, Side::Operator).unwrap()[0].text, "[speech 3.2s]");
    }
}
