//! Acceptance numbers and query codes: pure functions.
//!
//! Acceptance number, 19 digits: region 6 (GB/T 2260) · YYMMDD in local time · channel 1 ·
//! sequence of the day 5 · check 1. Query code, 8 digits: 7 random · check 1, keyable on a phone.
//! The check digit is ISO/IEC 7064 MOD 11,10: it finds every single wrong digit and nearly every
//! swap of neighbours.

use crate::{
    error::{DbError, Result},
    limits::DAILY_NUMBERS_MAX,
};

/// China Standard Time, in minutes east of UTC.
pub const UTC_OFFSET_MIN_CHINA: i32 = 8 * 60;

/// The check digit of a string of ASCII digits (ISO/IEC 7064 MOD 11,10); `None` if it isn't one.
#[must_use]
pub fn check_digit(digits: &str) -> Option<char> {
    let product = product(digits)?;
    char::from_digit((11 - product) % 10, 10)
}

/// Whether the last digit is the check digit of those before it.
#[must_use]
pub fn is_valid(number: &str) -> bool {
    if number.len() < 2 || !number.is_ascii() {
        return false;
    }
    let (digits, check) = number.split_at(number.len() - 1);
    check_digit(digits).is_some_and(|c| check.starts_with(c))
}

/// Whether the text has the form of a query code with a right check digit.
#[must_use]
pub fn is_query_code(code: &str) -> bool {
    code.len() == 8 && is_valid(code)
}

/// Whether the text has the form of an acceptance number with a right check digit.
#[must_use]
pub fn is_acceptance_no(number: &str) -> bool {
    number.len() == 19 && is_valid(number)
}

/// The running product after all digits, 1..=10.
fn product(digits: &str) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(10, |product, c| {
        let sum = match (product + c.to_digit(10)?) % 10 {
            0 => 10,
            sum => sum,
        };
        Some(sum * 2 % 11)
    })
}

/// An acceptance number of the day of `at` (epoch ms) in the zone `utc_offset_min`; `seq` counts
/// from 1 per region, day and channel.
///
/// # Errors
/// [`DbError::Invalid`] for a region that isn't six digits or a channel above 9,
/// [`DbError::Exhausted`] when `seq` has more than five digits.
pub fn acceptance_no(region: &str, at: i64, utc_offset_min: i32, channel: u8, seq: i64) -> Result<String> {
    check_region(region)?;
    if channel > 9 {
        return Err(DbError::Invalid { field: "channel", why: "more than one digit".into() });
    }
    if !(1..=DAILY_NUMBERS_MAX).contains(&seq) {
        return Err(DbError::Exhausted("the acceptance numbers of this day and channel"));
    }
    let body = format!("{region}{}{channel}{seq:05}", yymmdd(at, utc_offset_min));
    Ok(with_check(body))
}

/// A query code from a random number; only its remainder by 10,000,000 counts.
#[must_use]
pub fn query_code(random: u32) -> String {
    with_check(format!("{:07}", random % 10_000_000))
}

fn with_check(mut body: String) -> String {
    // A body made of digits always has a check digit.
    body.extend(check_digit(&body));
    body
}

pub(crate) fn check_region(region: &str) -> Result<()> {
    if region.len() == 6 && region.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Err(DbError::Invalid { field: "region", why: "six digits are expected (GB/T 2260)".into() })
}

/// The local calendar date of an instant: year, month, day.
#[must_use]
pub fn local_date(at: i64, utc_offset_min: i32) -> (i64, i64, i64) {
    const DAY_MS: i64 = 86_400_000;
    civil(at.saturating_add(i64::from(utc_offset_min) * 60_000).div_euclid(DAY_MS))
}

/// The local date of an instant as YYMMDD.
#[must_use]
pub fn yymmdd(at: i64, utc_offset_min: i32) -> String {
    let (year, month, day) = local_date(at, utc_offset_min);
    format!("{:02}{month:02}{day:02}", year.rem_euclid(100))
}

/// Year, month, day of a day number since 1970-01-01 in the Gregorian calendar, counted in
/// 400-year eras that begin on 1 March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example_has_check_digit_5() {
        assert_eq!(check_digit("0794"), Some('5'));
        assert!(is_valid("07945"));
    }

    #[test]
    fn every_single_wrong_digit_is_found() {
        let code = query_code(4_711_003);
        assert!(is_query_code(&code));
        for place in 0..code.len() {
            for digit in '0'..='9' {
                let mut wrong: Vec<char> = code.chars().collect();
                if wrong[place] == digit {
                    continue;
                }
                wrong[place] = digit;
                assert!(!is_query_code(&wrong.iter().collect::<String>()));
            }
        }
    }

    #[test]
    fn the_date_is_the_local_one() {
        // 2026-02-28 16:00 UTC is midnight of 1 March in China.
        let at = 1_772_294_400_000;
        assert_eq!(yymmdd(at - 1, UTC_OFFSET_MIN_CHINA), "260228");
        assert_eq!(yymmdd(at, UTC_OFFSET_MIN_CHINA), "260301");
        assert_eq!(yymmdd(at, 0), "260228");
        assert_eq!(yymmdd(951_782_400_000, 0), "000229");
    }

    #[test]
    fn an_acceptance_number_has_its_parts_in_order() {
        let number = acceptance_no("330106", 1_772_294_400_000, UTC_OFFSET_MIN_CHINA, 1, 42).unwrap();
        assert!(number.starts_with("330106260301100042"), "{number}");
        assert!(is_acceptance_no(&number));
    }

    #[test]
    fn ranges_are_guarded() {
        assert!(matches!(acceptance_no("330106", 0, 0, 1, 100_000), Err(DbError::Exhausted(_))));
        assert!(matches!(acceptance_no("33010６", 0, 0, 1, 1), Err(DbError::Invalid { .. })));
        assert!(matches!(acceptance_no("330106", 0, 0, 10, 1), Err(DbError::Invalid { .. })));
    }

    #[test]
    fn hostile_text_is_neither_valid_nor_a_panic() {
        for text in ["", "7", "井", "井井井", "1234567\u{0}", "１２３４５６７８", "-1234567"] {
            assert!(!is_query_code(text));
            assert!(!is_acceptance_no(text));
            assert!(!is_valid(text) || text.is_ascii());
        }
        for at in [i64::MIN, i64::MAX, 0, -1] {
            assert_eq!(yymmdd(at, 480).len(), 6);
        }
    }

    #[test]
    fn mutated_numbers_never_panic_and_rarely_pass() {
        let valid = acceptance_no("330106", 0, UTC_OFFSET_MIN_CHINA, 1, 7).unwrap();
        let mut seed = 0x9e37_79b9_u32;
        let mut next = || {
            // xorshift: any fixed sequence will do.
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed as usize
        };
        let mut passed = 0;
        for _ in 0..20_000 {
            let mut bytes = valid.clone().into_bytes();
            bytes.truncate(next() % (bytes.len() + 1));
            for _ in 0..next() % 3 {
                if !bytes.is_empty() {
                    let place = next() % bytes.len();
                    bytes[place] = next() as u8;
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            passed += i32::from(is_acceptance_no(&text) && text != valid);
            let _ = (is_query_code(&text), check_digit(&text), text.parse::<crate::Id>().is_ok());
        }
        assert!(passed < 20, "{passed} of 20,000");
    }
}
