//! Texts as a phone cuts and shows them.

use std::collections::BTreeMap;

use super::Submitted;

/// `Msg_Fmt` of UTF-16BE.
pub const UCS2: u8 = 8;

/// UTF-16BE in one piece, or in parts with the header `05 00 03`.
#[must_use]
pub fn parts_of(text: &str, reference: u8) -> Vec<Vec<u8>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let octets = |units: &[u16]| units.iter().flat_map(|u| u.to_be_bytes()).collect::<Vec<u8>>();
    if units.len() <= 70 {
        return vec![octets(&units)];
    }
    let pieces: Vec<&[u16]> = units.chunks(67).collect();
    let total = pieces.len() as u8;
    let part = |(n, piece): (usize, &&[u16])| [vec![5, 0, 3, reference, total, n as u8 + 1], octets(piece)].concat();
    pieces.iter().enumerate().map(part).collect()
}

fn shown(fmt: u8, octets: &[u8]) -> String {
    if fmt == UCS2 {
        let units: Vec<u16> = octets.chunks(2).map(|c| u16::from_be_bytes([c[0], *c.get(1).unwrap_or(&0)])).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(octets).into_owned()
    }
}

/// Whole texts to a number in the order of their first parts; what was refused is left out.
pub(super) fn texts_to(submits: &[Submitted], to: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut open: BTreeMap<(Vec<u8>, usize), BTreeMap<u8, Vec<u8>>> = BTreeMap::new();
    for s in submits.iter().filter(|s| s.to == to && s.result.is_none_or(|r| r == 0)) {
        if !s.has_header {
            texts.push(shown(s.fmt, &s.content));
            continue;
        }
        let header = usize::from(s.content[0]) + 1;
        let (reference, place) = s.content[..header].split_at(header - 2);
        let parts = open.entry((reference.to_vec(), usize::from(place[0]))).or_default();
        parts.insert(place[1], s.content[header..].to_vec());
        if parts.len() == usize::from(place[0]) {
            let whole: Vec<u8> = parts.values().flatten().copied().collect();
            parts.clear();
            texts.push(shown(s.fmt, &whole));
        }
    }
    texts
}
