//! All fields of one text.

use serde::{Deserialize, Serialize};

use super::{ClassGuess, Place, UrgencyHit, class, place, urgency};
use crate::limits;

/// What a text seems to say. Every field is a guess.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Fields {
    /// Place candidates, best first, at most [`limits::PLACES_MAX`].
    pub places: Vec<Place>,
    /// Classes of GB/T 47678.5, best first, at most [`limits::CLASSES_MAX`].
    pub classes: Vec<ClassGuess>,
    /// Emergency words in order of appearance.
    pub urgent: Vec<UrgencyHit>,
    /// True: red lane, page the shift leader.
    pub red: bool,
}

impl Fields {
    /// The best place's text.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.places.first().map(|p| p.text.as_str())
    }

    /// The best class.
    #[must_use]
    pub fn class(&self) -> Option<&ClassGuess> {
        self.classes.first()
    }
}

/// Reads `text` (simplified Chinese, a transcript or a message). Only its first
/// [`limits::FIELD_TEXT_CHARS_MAX`] characters are read.
#[must_use]
pub fn extract(text: &str) -> Fields {
    let chars: Vec<char> =
        text.chars().take(limits::FIELD_TEXT_CHARS_MAX).filter(|c| !c.is_control() || *c == '\n').collect();
    let urgent = urgency::find(&chars);
    Fields { places: place::find(&chars), classes: class::guess(&chars), red: !urgent.is_empty(), urgent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_yields_place_class_and_urgency() {
        let got = extract("您好,我在人民路88号门口,这里的雨水井盖缺失,很危险,有人掉下去了");
        assert_eq!(got.place(), Some("人民路88号门口"));
        assert_eq!(got.class().unwrap().code5, "01003");
        assert!(got.red);
        assert_eq!(got.urgent[0].word, "井盖缺失");
    }

    #[test]
    fn an_everyday_matter_is_not_red() {
        let got = extract("阳光小区东门外有人占道经营卖水果");
        assert!(!got.red);
        assert_eq!(got.class().unwrap().code5, "09006");
        assert_eq!(got.place(), Some("阳光小区东门"));
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert_eq!(extract(""), Fields::default());
        assert_eq!(extract("[speech 3.2s]"), Fields::default());
    }

    #[test]
    fn hostile_text_never_panics() {
        let alphabet: Vec<char> = "路号井盖缺失在人民小区,。\n燃气泄漏栋村桥1二\u{0}🙂没了".chars().collect();
        let mut seed = 5_u64;
        for _ in 0..3_000 {
            let mut text = String::new();
            for _ in 0..60 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
            }
            let got = extract(&text);
            assert!(got.places.len() <= limits::PLACES_MAX);
            assert!(got.places.iter().all(|p| p.text.chars().count() <= limits::PLACE_CHARS_MAX));
        }
        let _ = extract(&"路".repeat(300_000));
        let _ = extract(&"人民路88号".repeat(30_000));
    }
}
