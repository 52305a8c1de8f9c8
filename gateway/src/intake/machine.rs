//! Senders that are no people: they are stored and never answered. Pure.

/// Whether a number is a machine's: 106… of service providers, short numbers of carriers and banks.
/// `number` is E.164 or the digits as they came.
#[must_use]
pub fn is_machine(number: &str) -> bool {
    let national = number.strip_prefix("+86").unwrap_or(number.trim_start_matches('+'));
    // 10 is also Peking's area code: a fixed line there has ten digits.
    let provider = national.starts_with("106") && !(number.starts_with('+') && national.len() == 10);
    let carrier =
        ["100", "101", "118", "125", "95", "96"].iter().any(|p| national.starts_with(p)) && national.len() < 9;
    provider || carrier || (!number.starts_with('+') && national.len() < 7) || national.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_machine;

    #[test]
    fn machines_are_told_from_people() {
        for number in
            ["106901234567", "+86106901234567", "1065502004123456", "10086", "95588", "12306", "100861", "955880"]
        {
            assert!(is_machine(number), "{number}");
        }
        for number in ["+8613812345678", "+861065123456", "+8651985201234", "85201234", "+85223456789", "+861012345678"]
        {
            assert!(!is_machine(number), "{number}");
        }
    }
}
