//! Parts of a long message as one text.

use super::text::{Coding, decode};

/// One part's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// From 1.
    pub number: u8,
    /// How its octets are to be read.
    pub coding: Coding,
    /// Octets without the header.
    pub content: &'a [u8],
}

/// What the parts say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The text; a part that is missing stands as `〔缺第2段〕`.
    pub text: String,
    /// Some octets could not be read.
    pub lossy: bool,
    /// Numbers of the parts that are missing.
    pub missing: Vec<u8>,
}

/// Joins pieces in order of their numbers; of two with one number the first counts. Neighbours in one
/// coding are read together: careless senders split characters.
#[must_use]
pub fn join(total: u8, pieces: &[Piece<'_>]) -> Joined {
    let mut joined = Joined { text: String::new(), lossy: false, missing: Vec::new() };
    let mut run: Option<(Coding, Vec<u8>)> = None;
    for number in 1..=total {
        match (pieces.iter().find(|p| p.number == number), &mut run) {
            (Some(piece), Some((coding, bytes))) if *coding == piece.coding => bytes.extend(piece.content),
            (Some(piece), _) => {
                flush(&mut run, &mut joined);
                run = Some((piece.coding, piece.content.to_vec()));
            }
            (None, _) => {
                flush(&mut run, &mut joined);
                joined.text.push_str(&format!("〔缺第{number}段〕"));
                joined.missing.push(number);
            }
        }
    }
    flush(&mut run, &mut joined);
    joined
}

fn flush(run: &mut Option<(Coding, Vec<u8>)>, joined: &mut Joined) {
    if let Some((coding, bytes)) = run.take() {
        let read = decode(coding, &bytes);
        joined.text.push_str(&read.text);
        joined.lossy |= read.lossy;
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::{to_gbk, to_ucs2};
    use super::*;

    #[test]
    fn parts_are_read_in_order_and_a_missing_one_is_marked() {
        let (a, b) = (to_ucs2("人民路"), to_ucs2("井盖"));
        let piece = |number, content| Piece { number, coding: Coding::Ucs2, content };
        let all = join(2, &[piece(2, &b), piece(1, &a), piece(1, &b)]);
        assert_eq!((all.text.as_str(), all.missing.is_empty()), ("人民路井盖", true));
        let some = join(3, &[piece(3, &b), piece(1, &a)]);
        assert_eq!((some.text.as_str(), some.missing), ("人民路〔缺第2段〕井盖", vec![2]));
    }

    #[test]
    fn a_character_split_between_parts_is_whole_again() {
        let bytes = to_gbk("井盖缺失").unwrap();
        let (a, b) = bytes.split_at(3);
        let piece = |number, content| Piece { number, coding: Coding::Gbk, content };
        assert_eq!(
            join(2, &[piece(1, a), piece(2, b)]),
            Joined { text: "井盖缺失".into(), lossy: false, missing: vec![] }
        );
        let bytes = to_ucs2("路😀");
        let (a, b) = bytes.split_at(4);
        let piece = |number, content| Piece { number, coding: Coding::Ucs2, content };
        assert_eq!(join(2, &[piece(1, a), piece(2, b)]).text, "路😀");
        let mixed = [Piece { number: 1, coding: Coding::Ascii, content: b"at " }, piece(2, &bytes)];
        assert_eq!(join(2, &mixed).text, "at 路😀");
    }
}
