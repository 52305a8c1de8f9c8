//! Delivery receipts: parameters of SMPP 3.4 (§5.3.2.12, §5.3.2.35) and the customary text of its Appendix B,
//! of which carriers write as many dialects as there are carriers.

use super::limits::{MESSAGE_ID_MAX, RECEIPT_BYTES_MAX};

/// What became of a message (§5.2.28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Still on its way: nothing is settled.
    EnRoute,
    /// It arrived.
    Delivered,
    /// Its time was over.
    Expired,
    /// It won't arrive.
    Failed,
    /// The carrier doesn't know.
    Unknown,
}

impl State {
    /// From `message_state`.
    #[must_use]
    pub(super) const fn from_number(n: u8) -> Self {
        match n {
            // SCHEDULED (5.0), ENROUTE, ACCEPTED: read on somebody's behalf, not by them.
            0 | 1 | 6 => Self::EnRoute,
            2 => Self::Delivered,
            3 => Self::Expired,
            // DELETED, UNDELIVERABLE, REJECTED, SKIPPED (5.0)
            4 | 5 | 8 | 9 => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// From the word after `stat:`; only its beginning counts, as carriers write it out to different lengths.
    #[must_use]
    pub(super) fn from_word(word: &str) -> Self {
        let word = word.to_ascii_uppercase();
        let begins = |beginnings: &[&str]| beginnings.iter().any(|b| word.starts_with(b));
        if begins(&["DELIV"]) {
            Self::Delivered
        } else if begins(&["EXPIR"]) {
            Self::Expired
        } else if begins(&["UNDEL", "DELET", "REJEC", "FAIL", "SKIP", "BLOCK"]) {
            Self::Failed
        } else if begins(&["ENROU", "ACCEP", "SCHED", "BUFFE", "SUBMI"]) {
            Self::EnRoute
        } else {
            Self::Unknown
        }
    }
}

/// A receipt as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The carrier's id of the message.
    pub id: String,
    /// Its fate.
    pub state: State,
    /// The carrier's own words for it: `UNDELIV 27`.
    pub code: String,
}

/// What the parameters beside the text say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `receipted_message_id`.
    pub id: Option<String>,
    /// `message_state`.
    pub state: Option<u8>,
    /// `network_error_code`'s number.
    pub error: Option<u16>,
}

/// Reads a receipt; parameters count more than the text. `None` where neither names a message.
#[must_use]
pub(super) fn read(parameters: &Parameters, text: &[u8]) -> Option<Receipt> {
    let text = String::from_utf8_lossy(&text[..text.len().min(RECEIPT_BYTES_MAX)]);
    let id =
        parameters.id.as_deref().filter(|id| is_id(id)).or_else(|| word_after(&text, "id").filter(|id| is_id(id)))?;
    let word = word_after(&text, "stat").filter(|w| w.len() <= 16 && w.bytes().all(|b| b.is_ascii_alphanumeric()));
    let state = match (parameters.state, word) {
        (Some(n), _) => State::from_number(n),
        (None, Some(word)) => State::from_word(word),
        // A receipt that says nothing settles nothing.
        (None, None) => State::Unknown,
    };
    let error = word_after(&text, "err").filter(|w| w.len() <= 8 && w.bytes().all(|b| b.is_ascii_alphanumeric()));
    let error = parameters.error.map(|n| n.to_string()).or_else(|| error.map(str::to_owned));
    let named = word.map(str::to_owned).or_else(|| parameters.state.map(|n| format!("state {n}")));
    let code = [named, error].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(Receipt { id: id.to_owned(), state, code })
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MESSAGE_ID_MAX && id.bytes().all(|b| b.is_ascii_graphic())
}

/// The word after `key:`, whatever the case; a key inside a word (`subid:`) is none, and nothing after `text:` counts,
/// for that is what the citizen was sent.
fn word_after<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let bytes = text.as_bytes();
    let find = |key: &str| {
        (0..bytes.len().saturating_sub(key.len())).find(|at| {
            let is_key = bytes[*at..].get(..key.len()).is_some_and(|b| b.eq_ignore_ascii_case(key.as_bytes()));
            let begins = *at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
            is_key && begins && bytes.get(at + key.len()) == Some(&b':')
        })
    };
    let at = find(key)?;
    if find("text").is_some_and(|end| end < at) {
        return None;
    }
    let rest = text.get(at + key.len() + 1..)?.trim_start_matches(' ');
    let end = rest.find([' ', '\0', '\r', '\n', '\t', ',', ';']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|w| !w.is_empty())
}

/// Some carriers answer with a hexadecimal id and report on the same number in decimal.
#[must_use]
pub(super) fn hex_to_decimal(id: &str) -> Option<String> {
    u64::from_str_radix(id, 16).ok().map(|n| n.to_string())
}

/// A decimal id without the zeros Appendix B's ten digits are filled up with; anything else as it is.
#[must_use]
pub(super) fn without_zeros(id: &str) -> &str {
    if id.bytes().all(|b| b.is_ascii_digit()) {
        Some(id.trim_start_matches('0')).filter(|id| !id.is_empty()).unwrap_or("0")
    } else {
        id
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn of(text: &str) -> Option<Receipt> {
        read(&Parameters::default(), text.as_bytes())
    }

    #[test]
    fn the_customary_text_is_read_in_all_its_dialects() {
        let full =
            "id:0123456789 sub:001 dlvrd:001 submit date:2611220430 done date:2611220431 stat:DELIVRD err:000 text:hi";
        let expected = Receipt { id: "0123456789".into(), state: State::Delivered, code: "DELIVRD 000".into() };
        assert_eq!(of(full), Some(expected));
        assert_eq!(of("ID: a-b STAT: UNDELIVERABLE ERR: 1F").unwrap().state, State::Failed);
        assert_eq!(of("stat:EXPIRED id:7").unwrap().state, State::Expired);
        assert_eq!(of("id:7,stat:ACCEPTD").unwrap().state, State::EnRoute);
        assert_eq!(of("id:7 stat:PUZZLED").unwrap().state, State::Unknown);
        assert_eq!(of("id:7"), Some(Receipt { id: "7".into(), state: State::Unknown, code: String::new() }));
    }

    #[test]
    fn parameters_count_more_than_the_text() {
        let parameters = Parameters { id: Some("x1".into()), state: Some(5), error: Some(27) };
        let read = read(&parameters, b"id:y2 stat:DELIVRD err:000").unwrap();
        assert_eq!(read, Receipt { id: "x1".into(), state: State::Failed, code: "DELIVRD 27".into() });
        let only = super::read(&parameters, b"").unwrap();
        assert_eq!((only.id.as_str(), only.code.as_str()), ("x1", "state 5 27"));
    }

    #[test]
    fn what_a_citizen_wrote_settles_nothing() {
        assert_eq!(of("sub:001 text:id:7 stat:DELIVRD"), None);
        let read = of("id:1 stat:UNDELIV text:stat:DELIVRD id:2").unwrap();
        assert_eq!((read.id.as_str(), read.state), ("1", State::Failed));
        assert_eq!(of("subid:9"), None);
        assert_eq!(of(&format!("id:{}", "9".repeat(65))), None, "an id too long");
        assert_eq!(of("id:\u{7f}a stat:DELIVRD"), None);
    }

    #[test]
    fn hostile_receipts_end_in_something_short() {
        let mut rng = StdRng::seed_from_u64(3);
        let seed = b"id:0123456789 sub:001 stat:DELIVRD err:000 text:\xff\x00\xc3 id: stat: :::";
        for _ in 0..20_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..rng.random_range(0..8) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, rng.random()),
                }
            }
            if let Some(r) = read(&Parameters::default(), &bytes) {
                assert!(!r.id.is_empty() && r.id.len() <= MESSAGE_ID_MAX && r.code.len() <= 32, "{r:?}");
            }
        }
        assert_eq!(of(&"id:".repeat(100_000)), None);
        let _ = read(&Parameters { id: Some("\0".into()), ..Parameters::default() }, &[0xff; 4096]);
    }

    #[test]
    fn hexadecimal_ids_become_decimal() {
        assert_eq!(hex_to_decimal("1A2B").as_deref(), Some("6699"));
        assert_eq!(without_zeros("0000006699"), "6699", "a receipt fills it up");
        assert_eq!((without_zeros("0000"), without_zeros("00ab")), ("0", "00ab"));
        assert_eq!(hex_to_decimal("xyz"), None);
        assert_eq!(hex_to_decimal(""), None);
    }
}
