//! Long messages: cut into parts with the concatenation header of 3GPP TS 23.040 §9.2.3.24, and
//! that header read from what arrives.

use super::limits::{CLUSTER_BACK_MAX, PART_BYTES_MAX, PARTS_OUT_MAX, SEPTETS_MAX};
use super::text::{Coding, is_plain_ascii, to_gsm, to_ucs2};

/// Which part of which long message (§9.2.3.24.1, §9.2.3.24.8; SMPP's `sar_*` parameters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concat {
    /// The sender's number for the whole message.
    pub reference: u16,
    /// The reference has 16 bits (`06 08 04`), not 8 (`05 00 03`).
    pub wide: bool,
    /// Parts in all, 2 to 255.
    pub total: u8,
    /// This one, from 1.
    pub number: u8,
}

impl Concat {
    /// The user data header, its length octet first.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let [high, low] = self.reference.to_be_bytes();
        if self.wide {
            vec![6, 8, 4, high, low, self.total, self.number]
        } else {
            vec![5, 0, 3, low, self.total, self.number]
        }
    }

    fn checked(self) -> Option<Self> {
        (self.total >= 2 && (1..=self.total).contains(&self.number)).then_some(self)
    }
}

/// User data without its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// Which part it is, if the header says so.
    pub concat: Option<Concat>,
    /// The octets after the header.
    pub content: &'a [u8],
    /// The header makes no sense; `content` is everything then.
    pub malformed: bool,
}

/// Takes the header off user data that is announced to have one (`TP_udhi`). Elements other than
/// concatenation are skipped; of two concatenations the last counts (§9.2.3.24).
#[must_use]
pub fn read_header(data: &[u8]) -> Body<'_> {
    let whole = Body { concat: None, content: data, malformed: true };
    let Some((&len, rest)) = data.split_first() else { return whole };
    let Some((mut header, content)) = rest.split_at_checked(usize::from(len)) else { return whole };
    let mut concat = None;
    while let [id, len, rest @ ..] = header {
        let Some((value, next)) = rest.split_at_checked(usize::from(*len)) else { return whole };
        let found = match (id, value) {
            (0, [reference, total, number]) => {
                Concat { reference: u16::from(*reference), wide: false, total: *total, number: *number }.checked()
            }
            (8, [high, low, total, number]) => {
                let reference = u16::from_be_bytes([*high, *low]);
                Concat { reference, wide: true, total: *total, number: *number }.checked()
            }
            _ => None,
        };
        concat = found.or(concat);
        header = next;
    }
    Body { concat, content, malformed: !header.is_empty() }
}

/// Some gateways drop the flag and keep the header. A text in UCS2 doesn't begin like this by chance:
/// it would be a rare Cyrillic letter followed by a Greek or a combining one.
#[must_use]
pub fn read_unannounced_header(coding: Coding, data: &[u8]) -> Body<'_> {
    let is_header = coding == Coding::Ucs2 && (data.starts_with(&[5, 0, 3]) || data.starts_with(&[6, 8, 4]));
    let read = if is_header { read_header(data) } else { Body { concat: None, content: data, malformed: true } };
    if read.concat.is_some() { read } else { Body { concat: None, content: data, malformed: false } }
}

/// What a carrier takes as one text of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The alphabet for texts that have no other characters: [`Coding::Ascii`] or [`Coding::Gsm`].
    pub seven_bit: Coding,
    /// References of 16 bits.
    pub wide: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seven_bit: Coding::Ascii, wide: false }
    }
}

/// A text ready for the carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How its octets are to be read.
    pub coding: Coding,
    /// User data of each part, with its header if there are several.
    pub parts: Vec<Vec<u8>>,
}

impl Cut {
    /// Whether the parts begin with a header.
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.parts.len() > 1
    }
}

/// A text no carrier takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// Nothing to send.
    #[error("短信内容为空 / the text is empty")]
    Empty,
    /// More than `PARTS_OUT_MAX` parts.
    #[error("短信过长:{0} 段,最多 {PARTS_OUT_MAX} 段;请缩短模板 / too long: {0} parts, shorten the template")]
    TooLong(usize),
}

/// Cuts a text into parts of at most 140 octets, header included. No surrogate pair is split, and where
/// there is a choice no sequence that is read as one character.
pub fn cut(text: &str, reference: u16, plan: Plan) -> Result<Cut, CutError> {
    if text.is_empty() {
        return Err(CutError::Empty);
    }
    let header = if plan.wide { 7 } else { 6 };
    let seven = match plan.seven_bit {
        Coding::Gsm => to_gsm(text).map(|bytes| (Coding::Gsm, bytes)),
        _ => is_plain_ascii(text).then(|| (Coding::Ascii, text.as_bytes().to_vec())),
    };
    let (coding, pieces) = match seven {
        // Octets, not septets, are counted where there is a header: whether the carrier packs is its own affair.
        Some((coding, bytes)) if bytes.len() <= SEPTETS_MAX => (coding, vec![bytes]),
        Some((coding, bytes)) => (coding, seven_bit_pieces(coding, &bytes, PART_BYTES_MAX - header)),
        None => {
            let whole = to_ucs2(text);
            let fits = whole.len() <= PART_BYTES_MAX;
            (Coding::Ucs2, if fits { vec![whole] } else { ucs2_pieces(text, (PART_BYTES_MAX - header) / 2) })
        }
    };
    let total = u8::try_from(pieces.len()).unwrap_or(u8::MAX);
    if pieces.len() > PARTS_OUT_MAX {
        return Err(CutError::TooLong(pieces.len()));
    }
    if total == 1 {
        return Ok(Cut { coding, parts: pieces });
    }
    let parts = pieces.into_iter().zip(1..).map(|(piece, number)| {
        let mut part = Concat { reference, wide: plan.wide, total, number }.header();
        part.extend(piece);
        part
    });
    Ok(Cut { coding, parts: parts.collect() })
}

/// An escape of the GSM alphabet stays with what it escapes.
fn seven_bit_pieces(coding: Coding, bytes: &[u8], room: usize) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let mut end = rest.len().min(room);
        if end < rest.len() && coding == Coding::Gsm && rest[end - 1] == 0x1B {
            end -= 1;
        }
        let (piece, next) = rest.split_at(end);
        pieces.push(piece.to_vec());
        rest = next;
    }
    pieces
}

/// Pieces of at most `room` UTF-16 units.
fn ucs2_pieces(text: &str, room: usize) -> Vec<Vec<u8>> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < chars.len() {
        let mut end = start;
        let mut units = 0;
        while end < chars.len() && units + chars[end].len_utf16() <= room {
            units += chars[end].len_utf16();
            end += 1;
        }
        let end = whole_cluster(&chars, start, end);
        pieces.push(to_ucs2(&chars[start..end].iter().collect::<String>()));
        start = end;
    }
    pieces
}

/// The last place at or before `end` between two characters as people read them (a short form of
/// UAX #29); `end` itself if there is none nearby.
fn whole_cluster(chars: &[char], start: usize, end: usize) -> usize {
    if end >= chars.len() {
        return end;
    }
    let joined = |at: usize| {
        let (before, after) = (chars[at - 1], chars[at]);
        let flags = chars[start..at].iter().rev().take_while(|c| is_regional(**c)).count();
        is_extending(after)
            || before == '\u{200d}'
            || (before == '\r' && after == '\n')
            || (is_regional(after) && flags % 2 == 1)
    };
    let least = start.max(end.saturating_sub(CLUSTER_BACK_MAX)) + 1;
    (least..=end).rev().find(|at| !joined(*at)).unwrap_or(end)
}

fn is_regional(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

/// Combining marks, joiners, variation selectors, skin tones
fn is_extending(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20f0}' | '\u{200c}' | '\u{200d}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::text::decode;
    use super::*;

    fn joined(cut: &Cut) -> String {
        let text = |part: &Vec<u8>| {
            let content = if cut.has_header() { read_header(part).content } else { part.as_slice() };
            let read = decode(cut.coding, content);
            assert!(!read.lossy, "{part:?}");
            read.text
        };
        cut.parts.iter().map(text).collect()
    }

    #[test]
    fn seventy_characters_fit_and_the_next_makes_two_parts_of_67() {
        assert_eq!(cut(&"井".repeat(70), 1, Plan::default()).unwrap().parts.len(), 1);
        let two = cut(&"井".repeat(71), 0x1234, Plan::default()).unwrap();
        assert_eq!(two.parts[0][..6], [5, 0, 3, 0x34, 2, 1]);
        assert_eq!((two.parts[0].len(), two.parts[1].len()), (140, 6 + 8));
        let wide = cut(&"井".repeat(71), 0x1234, Plan { wide: true, ..Plan::default() }).unwrap();
        assert_eq!(wide.parts[1][..7], [6, 8, 4, 0x12, 0x34, 2, 2]);
        assert!(wide.parts.iter().all(|p| p.len() <= 140));
        assert_eq!(cut("", 1, Plan::default()), Err(CutError::Empty));
        assert_eq!(cut(&"井".repeat(671), 1, Plan::default()), Err(CutError::TooLong(11)));
        assert_eq!(cut(&"a".repeat(160), 1, Plan::default()).unwrap().parts.len(), 1);
        assert_eq!(cut(&"a".repeat(161), 1, Plan::default()).unwrap().parts[0].len(), 140);
    }

    #[test]
    fn what_is_read_as_one_character_stays_in_one_part() {
        for odd in ["😀", "👨\u{200d}👩\u{200d}👧", "🇨🇳", "👍🏽", "e\u{301}"] {
            for before in 60..75 {
                let text = "井".repeat(before) + odd + &"盖".repeat(20);
                let cut = cut(&text, 9, Plan::default()).unwrap();
                assert_eq!(joined(&cut), text);
                let has = |part: &Vec<u8>| decode(cut.coding, read_header(part).content).text.contains(odd);
                assert!(cut.parts.iter().any(has), "{odd} after {before}");
            }
        }
        // A chain without an end is cut all the same.
        let zalgo = "e".to_owned() + &"\u{301}".repeat(200);
        assert_eq!(joined(&cut(&zalgo, 9, Plan::default()).unwrap()), zalgo);
        let escapes = "€".repeat(100);
        assert_eq!(joined(&cut(&escapes, 9, Plan { seven_bit: Coding::Gsm, wide: false }).unwrap()), escapes);
    }

    #[test]
    fn any_text_comes_back_whole_from_parts_of_140_octets() {
        let mut rng = StdRng::seed_from_u64(7);
        let alphabet: Vec<char> = "aZ9 井盖路é€\u{301}\u{200d}😀🇨🇳👍🏽\n".chars().collect();
        for _ in 0..2_000 {
            let len = rng.random_range(1..300);
            let text: String = (0..len).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
            let plan = Plan { seven_bit: if rng.random() { Coding::Ascii } else { Coding::Gsm }, wide: rng.random() };
            match cut(&text, rng.random(), plan) {
                Ok(cut) => {
                    assert!(cut.parts.iter().all(|p| p.len() <= 140 || !cut.has_header()), "{text:?}");
                    assert_eq!(joined(&cut), text);
                }
                Err(e) => assert!(matches!(e, CutError::TooLong(n) if n > PARTS_OUT_MAX), "{e}"),
            }
        }
    }

    #[test]
    fn headers_are_read_whatever_else_they_hold() {
        let concat = |reference, wide, total, number| Some(Concat { reference, wide, total, number });
        let read = |data: &'static [u8]| read_header(data);
        assert_eq!(read(&[5, 0, 3, 7, 2, 1, b'x']).concat, concat(7, false, 2, 1));
        assert_eq!(read(&[6, 8, 4, 1, 2, 3, 3]).concat, concat(0x102, true, 3, 3));
        let ports = read(&[11, 5, 4, 0, 1, 0, 2, 0, 3, 9, 2, 2, b'y']);
        assert_eq!((ports.concat, ports.content), (concat(9, false, 2, 2), &b"y"[..]));
        for odd in [&[][..], &[200, 0], &[3, 0, 9, 1], &[5, 0, 3, 7, 2, 3], &[5, 0, 3, 7, 0, 0], &[1, 0]] {
            let body = read_header(odd);
            assert!(body.concat.is_none(), "{odd:?}");
        }
        assert_eq!(read(&[200, 0]).content, [200, 0], "nothing is lost to a broken header");
        assert!(read(&[200, 0]).malformed);
    }

    #[test]
    fn a_header_without_its_flag_is_seen_in_ucs2_only() {
        let data = [5, 0, 3, 7, 2, 1, 0x4E, 0x95];
        assert_eq!(read_unannounced_header(Coding::Ucs2, &data).content, [0x4E, 0x95]);
        assert_eq!(read_unannounced_header(Coding::Gbk, &data).content, data);
        assert_eq!(read_unannounced_header(Coding::Ucs2, &[5, 0, 3, 7, 2, 9, 0, 0]).content.len(), 8);
    }
}
