//! How a carrier wants numbers written.

use crate::config::NumberRule;

/// The number after the first rule that fits; unchanged where none does.
#[must_use]
pub fn rewrite(rules: &[NumberRule], number: &str) -> String {
    let fits = |rule: &&NumberRule| {
        number.starts_with(&rule.prefix) && (rule.length == 0 || rule.length == number.chars().count())
    };
    match rules.iter().find(fits) {
        Some(rule) => rule.add.chars().chain(number.chars().skip(rule.strip)).collect(),
        None => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str, length: usize, strip: usize, add: &str) -> NumberRule {
        NumberRule { prefix: prefix.into(), length, strip, add: add.into() }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = [rule("0519", 0, 4, ""), rule("1", 11, 0, "+86"), rule("0", 0, 1, "+86")];
        for (number, written) in [
            ("051981234567", "81234567"),
            ("13812345678", "+8613812345678"),
            ("02112345678", "+862112345678"),
            ("12319", "12319"),
            ("", ""),
        ] {
            assert_eq!(rewrite(&rules, number), written, "{number}");
        }
        assert_eq!(rewrite(&[rule("", 0, 99, "9")], "12319"), "9");
    }
}
