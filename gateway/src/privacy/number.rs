/// One form for the many ways a number arrives: `+86138…`, `0086138…`, `86138…`, `138…/1`, `tel:` parts.
/// Returns E.164 with `+` for mainland numbers, else the digits as they are; `None` for an anonymous caller.
/// `area_code` without its 0 (常州: `519`) completes a local number of seven or eight digits.
#[must_use]
pub fn normalize_phone(raw: &str, area_code: &str) -> Option<String> {
    let first = raw.split(['/', ';', ',']).next().unwrap_or_default();
    let plus = first.trim_start().starts_with('+');
    let digits: String = first.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 3 || digits.len() > 20 || first.chars().any(char::is_alphabetic) {
        return None;
    }
    if plus {
        return Some(format!("+{digits}"));
    }
    if let Some(rest) = digits.strip_prefix("0086") {
        return Some(format!("+86{rest}"));
    }
    if digits.len() == 13 && digits.starts_with("861") {
        return Some(format!("+{digits}"));
    }
    if digits.len() == 11 && digits.starts_with('1') {
        return Some(format!("+86{digits}"));
    }
    if digits.len() >= 10 && digits.starts_with('0') {
        return Some(format!("+86{}", &digits[1..]));
    }
    let local = (digits.len() == 7 || digits.len() == 8) && digits.starts_with(|c: char| ('2'..='8').contains(&c));
    if local && !area_code.is_empty() {
        return Some(format!("+86{area_code}{digits}"));
    }
    if !area_code.is_empty() && digits.len() >= 10 && digits.starts_with(area_code) {
        return Some(format!("+86{digits}"));
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::normalize_phone;

    #[test]
    fn a_person_has_one_number_however_the_carrier_writes_it() {
        for raw in
            ["13812345678", "+8613812345678", "8613812345678", "008613812345678", "13812345678/1", " +86 138-1234-5678"]
        {
            assert_eq!(normalize_phone(raw, "").as_deref(), Some("+8613812345678"), "{raw}");
        }
        assert_eq!(normalize_phone("051912345678", "").as_deref(), Some("+8651912345678"));
        assert_eq!(normalize_phone("12319", "519").as_deref(), Some("12319"));
        assert_eq!(normalize_phone("85201234", "519").as_deref(), Some("+8651985201234"));
        assert_eq!(normalize_phone("51985201234", "519").as_deref(), Some("+8651985201234"));
        assert_eq!(normalize_phone("85201234", "").as_deref(), Some("85201234"));
        for raw in ["", "anonymous", "Anonymous", "unknown", "+", "1"] {
            assert_eq!(normalize_phone(raw, "519"), None, "{raw}");
        }
    }
}
