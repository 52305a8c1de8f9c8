use std::fmt;

/// Personal data in memory: `Debug` and `Display` print a mask, so no log line can leak it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    /// Wraps.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
    /// The value itself: for dialling and sealing, never for showing.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<str>> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_phone(self.0.as_ref()))
    }
}

impl<T: AsRef<str>> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `13812345678` → `138****5678`; shorter numbers keep only their last two digits.
#[must_use]
pub fn mask_phone(number: &str) -> String {
    let chars: Vec<char> = number.chars().collect();
    match chars.len() {
        0 => String::new(),
        1..=4 => "*".repeat(chars.len()),
        5..=8 => {
            let tail: String = chars[chars.len() - 2..].iter().collect();
            format!("{}{tail}", "*".repeat(chars.len() - 2))
        }
        n => {
            let head: String = chars[..3].iter().collect();
            let tail: String = chars[n - 4..].iter().collect();
            format!("{head}{}{tail}", "*".repeat(n - 7))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_show_more_than_seven_digits() {
        assert_eq!(mask_phone("13812345678"), "138****5678");
        assert_eq!(mask_phone("051912345678"), "051*****5678");
        assert_eq!(mask_phone("12319"), "***19");
        assert_eq!(mask_phone("110"), "***");
        assert_eq!(format!("{:?}", Pii::new("13812345678")), "138****5678");
    }
}
