//! Speech made of pieces, and how the pieces become prompt files.

use crate::limits::{SILENCE_MS_MAX, SPOKEN_DIGITS_MAX, SPOKEN_NUMBER_MAX};

/// Length of the prompt `silence_100` in milliseconds.
const SILENCE_STEP_MS: u32 = 100;

/// One piece of speech.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// A prompt by its id.
    Prompt(String),
    /// Each digit for itself, as codes and telephone numbers are read.
    /// Characters other than digits are left out.
    Digits(String),
    /// A number read in Chinese, `25` as 二十五.
    Number(u32),
    /// Nothing for a while.
    Silence {
        /// How long, in milliseconds; rounded up to 100 ms, at most [`SILENCE_MS_MAX`].
        ms: u32,
    },
}

/// Turns speech into the prompt ids to play one after another.
///
/// Uses the ids `digit_0` … `digit_9`, `ten`, `hundred` and `silence_100` for
/// everything that isn't a prompt already. Never fails: what can't be said is
/// left out.
pub fn expand(pieces: &[Say]) -> Vec<String> {
    let mut ids = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Say::Prompt(id) => ids.push(id.clone()),
            Say::Digits(text) => push_digits(&mut ids, text),
            Say::Number(number) => push_number(&mut ids, *number),
            Say::Silence { ms } => {
                let steps = (*ms).min(SILENCE_MS_MAX).div_ceil(SILENCE_STEP_MS);
                ids.extend((0..steps).map(|_| "silence_100".to_owned()));
            }
        }
    }
    ids
}

/// All ids that [`expand`] may add for digits.
pub(crate) const DIGIT_IDS: [&str; 10] =
    ["digit_0", "digit_1", "digit_2", "digit_3", "digit_4", "digit_5", "digit_6", "digit_7", "digit_8", "digit_9"];

fn push_digits(ids: &mut Vec<String>, text: &str) {
    let digits = text.chars().filter_map(|c| c.to_digit(10));
    ids.extend(digits.take(SPOKEN_DIGITS_MAX).map(|d| digit_id(d).to_owned()));
}

fn digit_id(digit: u32) -> &'static str {
    DIGIT_IDS[(digit % 10) as usize]
}

/// Chinese reading: 10 十, 15 十五, 20 二十, 105 一百零五, 110 一百一十, 200 二百.
fn push_number(ids: &mut Vec<String>, number: u32) {
    if number > SPOKEN_NUMBER_MAX {
        return push_digits(ids, &number.to_string());
    }
    let (hundreds, tens, ones) = (number / 100, number / 10 % 10, number % 10);
    let mut push = |id: &str| ids.push(id.to_owned());
    if hundreds > 0 {
        push(digit_id(hundreds));
        push("hundred");
    }
    if tens > 0 {
        // A leading 一 is dropped from 十 … 十九, but kept after hundreds.
        if tens > 1 || hundreds > 0 {
            push(digit_id(tens));
        }
        push("ten");
    } else if hundreds > 0 && ones > 0 {
        push("digit_0");
    }
    if ones > 0 || number == 0 {
        push(digit_id(ones));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(number: u32) -> String {
        let ids = expand(&[Say::Number(number)]);
        let words = ids.iter().map(|id| match id.as_str() {
            "ten" => "十".to_owned(),
            "hundred" => "百".to_owned(),
            other => {
                let digit: usize = other.trim_start_matches("digit_").parse().unwrap();
                "零一二三四五六七八九".chars().nth(digit).unwrap().to_string()
            }
        });
        words.collect()
    }

    #[test]
    fn numbers_are_read_as_people_say_them() {
        let cases = [
            (0, "零"),
            (1, "一"),
            (9, "九"),
            (10, "十"),
            (11, "十一"),
            (20, "二十"),
            (25, "二十五"),
            (99, "九十九"),
            (100, "一百"),
            (101, "一百零一"),
            (110, "一百一十"),
            (115, "一百一十五"),
            (200, "二百"),
            (230, "二百三十"),
            (999, "九百九十九"),
        ];
        for (number, words) in cases {
            assert_eq!(read(number), words);
        }
    }

    #[test]
    fn numbers_beyond_999_are_read_digit_by_digit() {
        assert_eq!(read(1000), "一零零零");
        assert_eq!(read(u32::MAX), "四二九四九六七二九五");
    }

    #[test]
    fn digits_skip_separators_and_stop_at_the_limit() {
        let ids = expand(&[Say::Digits("+86 (0)1-x".into())]);
        assert_eq!(ids, ["digit_8", "digit_6", "digit_0", "digit_1"]);
        assert_eq!(expand(&[Say::Digits("1".repeat(500))]).len(), SPOKEN_DIGITS_MAX);
        assert!(expand(&[Say::Digits("一二".into())]).is_empty());
    }

    #[test]
    fn silence_becomes_steps_of_100_ms() {
        assert_eq!(expand(&[Say::Silence { ms: 250 }]).len(), 3);
        assert_eq!(expand(&[Say::Silence { ms: 0 }]).len(), 0);
        assert_eq!(expand(&[Say::Silence { ms: u32::MAX }]).len(), 100);
    }
}
