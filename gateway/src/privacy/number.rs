//! The many ways a telephone number arrives, and their one form.

const COUNTRY: &str = "86";

/// One form for the many ways a number arrives: `+86138…`, `0086138…`, `86138…`, `0138…`, `138…/1`, `+86(0)519…`,
/// `85201234;phone-context=+86519`, full-width digits, visual separators.
/// Returns E.164 with `+` where the number is complete, else the digits as they are; `None` for an anonymous caller.
/// `area_code` without its 0 (常州: `519`) completes a local number of seven or eight digits.
#[must_use]
pub fn normalize_phone(raw: &str, area_code: &str) -> Option<String> {
    let mut parts = raw.split([';', '/', ',']);
    let first = ascii(parts.next().unwrap_or_default());
    let context = parts.find_map(|p| p.trim().strip_prefix("phone-context=").map(ascii)).unwrap_or_default();
    if first.chars().any(char::is_alphabetic) {
        return None;
    }
    let plus = first.trim_start_matches([' ', '(']).starts_with('+');
    let digits: String = first.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 3 || digits.len() > 20 || digits.bytes().all(|b| b == b'0') {
        return None;
    }
    if plus {
        return Some(international(&digits));
    }
    // RFC 3966 §5.1.5: the context is what stands before a local number.
    let prefix: String = context.strip_prefix('+').unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    let area_code = prefix.strip_prefix(COUNTRY).filter(|area| !area.is_empty()).unwrap_or(area_code);
    if !prefix.is_empty() && !prefix.starts_with(COUNTRY) && digits.len() >= 5 {
        return Some(format!("+{prefix}{}", digits.trim_start_matches('0')));
    }
    if let Some(rest) = digits.strip_prefix("00").filter(|rest| rest.len() >= 7) {
        return Some(international(rest));
    }
    let national = digits.strip_prefix('0').unwrap_or(&digits);
    if is_national(national) && (national.len() < digits.len() || is_mobile(national)) {
        return Some(format!("+{COUNTRY}{national}"));
    }
    if let Some(rest) = digits.strip_prefix(COUNTRY).filter(|rest| is_national(rest)) {
        return Some(format!("+{COUNTRY}{rest}"));
    }
    if is_local(&digits) && !area_code.is_empty() {
        return Some(format!("+{COUNTRY}{area_code}{digits}"));
    }
    if !area_code.is_empty() && digits.strip_prefix(area_code).is_some_and(is_local) {
        return Some(format!("+{COUNTRY}{digits}"));
    }
    Some(digits)
}

/// Whether a number dialled on some trunk is the configured one: `12319` is also `051912319`, `+8651912319`,
/// `8651912319` and `12319;phone-context=+86519`.
#[must_use]
pub fn is_same_number(configured: &str, dialled: &str, area_code: &str) -> bool {
    if configured == dialled {
        return true;
    }
    let (ours, theirs) = (bare(configured, area_code), bare(dialled, area_code));
    !ours.is_empty() && ours == theirs
}

/// Digits without country and own area
fn bare(number: &str, area_code: &str) -> String {
    let first = ascii(number.split([';', '/', ',']).next().unwrap_or_default());
    if first.chars().any(char::is_alphabetic) {
        return String::new();
    }
    let digits: String = first.chars().filter(char::is_ascii_digit).collect();
    let rest = digits.strip_prefix("00").unwrap_or(&digits);
    // What is left has to be a number still: 86520110 is no number of country 86.
    let after = |text: &str, prefix: &str| text.strip_prefix(prefix).filter(|r| r.len() >= 3).map(str::to_owned);
    let is_international = first.trim_start().starts_with('+') || rest.len() < digits.len();
    let long = rest.len() > 8;
    let national = if is_international || long { after(rest, COUNTRY) } else { None };
    let national = national.unwrap_or_else(|| rest.to_owned());
    let significant = national.strip_prefix('0').unwrap_or(&national);
    let had_prefix = significant.len() < digits.len();
    let local = if area_code.is_empty() || !(had_prefix || long) { None } else { after(significant, area_code) };
    local.unwrap_or_else(|| significant.to_owned())
}

/// Full-width digits and signs as ASCII
fn ascii(text: &str) -> String {
    let half = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' | '\u{a0}' => ' ',
        c => c,
    };
    text.chars().map(half).collect()
}

/// `+86(0)519…`: the 0 in front of an area is for calls inside the country
fn international(digits: &str) -> String {
    match digits.strip_prefix(COUNTRY) {
        Some(rest) => format!("+{COUNTRY}{}", rest.strip_prefix('0').unwrap_or(rest)),
        None => format!("+{digits}"),
    }
}

fn is_mobile(national: &str) -> bool {
    national.len() == 11 && national.starts_with('1') && !national.starts_with("10")
}

/// Seven or eight digits of a town
fn is_local(digits: &str) -> bool {
    (digits.len() == 7 || digits.len() == 8) && digits.starts_with(|c: char| ('2'..='8').contains(&c))
}

/// A mobile number, or an area without its 0 (10, 2x, or three digits) and what a town uses
fn is_national(digits: &str) -> bool {
    let area = if digits.starts_with("10") || digits.starts_with('2') { 2 } else { 3 };
    is_mobile(digits) || (digits.len() > area && !digits.starts_with('0') && is_local(&digits[area..]))
}

#[cfg(test)]
mod tests {
    use super::{is_same_number, normalize_phone};

    #[test]
    fn a_person_has_one_number_however_the_carrier_writes_it() {
        for raw in [
            "13812345678",
            "+8613812345678",
            "8613812345678",
            "008613812345678",
            "013812345678",
            "13812345678/1",
            " +86 138-1234-5678",
            "+86(0)13812345678",
            "(138)1234.5678",
            "+8613812345678;npdi;rn=+8613900000000",
            "１３８１２３４５６７８",
            "＋８６１３８１２３４５６７８",
            "13812345678;phone-context=+86",
            "13812345678;phone-context=ims.example",
        ] {
            assert_eq!(normalize_phone(raw, "").as_deref(), Some("+8613812345678"), "{raw}");
        }
    }

    #[test]
    fn a_fixed_line_has_one_number_too() {
        for raw in [
            "051985201234",
            "+8651985201234",
            "+86051985201234",
            "+86(0)519-8520 1234",
            "8651985201234",
            "008651985201234",
            "85201234;phone-context=+86519",
        ] {
            assert_eq!(normalize_phone(raw, "").as_deref(), Some("+8651985201234"), "{raw}");
        }
        assert_eq!(normalize_phone("85201234", "519").as_deref(), Some("+8651985201234"));
        assert_eq!(normalize_phone("51985201234", "519").as_deref(), Some("+8651985201234"));
        assert_eq!(normalize_phone("01085201234", "519").as_deref(), Some("+861085201234"));
        assert_eq!(normalize_phone("861085201234", "519").as_deref(), Some("+861085201234"));
        assert_eq!(normalize_phone("85201234", "").as_deref(), Some("85201234"));
        assert_eq!(normalize_phone("0085223456789", "519").as_deref(), Some("+85223456789"));
        assert_eq!(normalize_phone("23456789;phone-context=+852", "519").as_deref(), Some("+85223456789"));
    }

    #[test]
    fn short_numbers_and_anonymous_callers_stay_what_they_are() {
        for raw in ["12319", "10086", "110", "12319;phone-context=+86519"] {
            assert_eq!(normalize_phone(raw, "519").as_deref(), raw.split(';').next(), "{raw}");
        }
        for raw in ["", "anonymous", "Anonymous", "unknown", "+", "1", "0000", "+0", "restricted;phone-context=+86"] {
            assert_eq!(normalize_phone(raw, "519"), None, "{raw}");
        }
    }

    #[test]
    fn a_hotline_is_known_by_every_form_of_its_number() {
        for dialled in [
            "12319",
            "051912319",
            "+8651912319",
            "8651912319",
            "008651912319",
            "+86 519 12319",
            "+8612319",
            "12319;x=y",
        ] {
            assert!(is_same_number("12319", dialled, "519"), "{dialled}");
        }
        for dialled in ["86520110", "051986520110", "+8651986520110", "8651986520110", "51986520110"] {
            assert!(is_same_number("86520110", dialled, "519"), "{dialled}");
            assert!(is_same_number("051986520110", dialled, "519"), "{dialled}");
        }
        for (ours, dialled) in [
            ("12319", "12345"),
            ("12319", "2319"),
            ("86520110", "520110"),
            ("12319", "051012319"),
            ("12319", ""),
            ("12319", "anonymous"),
            ("2966110", "5192966"),
        ] {
            assert!(!is_same_number(ours, dialled, "519"), "{ours} {dialled}");
        }
    }
}
