//! The rules as a file: versioned, dated, checked when they are read.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Least and most one reporter may get: ¥2 and ¥200.
pub const AMOUNT_FEN: (i64, i64) = (200, 20_000);
/// Rules of one file.
pub const RULES_MAX: usize = 200;
/// Co-reporters one rule may pay.
pub const CO_REPORTERS_MAX: usize = 20;
/// Bytes of the file.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why rules can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file can't be read.
    #[error("{path}: {source}. 请检查 reward.rules_file / check reward.rules_file")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it makes no sense.
    #[error("{0}. 对照 ops/reward.example.toml 修改 / compare with ops/reward.example.toml")]
    Bad(String),
}

/// At which point of a case the reward is earned.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// The case core handles it: 立案.
    Filed,
    /// The case is closed: 结案.
    #[default]
    Closed,
}

/// What an unnamed reporter gets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// Nothing.
    #[default]
    Never,
    /// The amount, claimed with the query code.
    Code,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in decisions.
    pub id: String,
    /// First local day of arrival it applies to, `2026-01-01`.
    pub from: String,
    /// Last one.
    pub to: String,
    /// Beginnings of class codes; empty: every item, a class or not.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Kinds of request; empty: every kind.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Channels of the contact; empty: every channel.
    #[serde(default)]
    pub channels: Vec<String>,
    /// What the first reporter gets, fen.
    pub first_fen: i64,
    /// What the second, third … get, fen; its length is how many are paid.
    #[serde(default)]
    pub co_fen: Vec<i64>,
    /// When it is earned.
    #[serde(default)]
    pub when: When,
    /// Most one person gets in a local month, fen; 0: no cap.
    #[serde(default)]
    pub monthly_cap_fen: i64,
    /// Most incidents one person is paid for in a local month; 0: no cap.
    #[serde(default)]
    pub monthly_cap_count: i64,
    /// Citizens who reported after an inspector get nothing.
    #[serde(default = "yes")]
    pub before_inspector: bool,
    /// What an unnamed reporter gets.
    #[serde(default)]
    pub anonymous: Anonymous,
}

const fn yes() -> bool {
    true
}

/// All rules; the first that fits counts.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Stands in every decision; change it with the rules.
    pub version: String,
    /// In order.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

impl Rules {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, RulesError> {
        let read = |source| RulesError::Read { path: path.display().to_string(), source };
        if std::fs::metadata(path).map_err(read)?.len() > FILE_BYTES_MAX {
            return Err(RulesError::Bad(format!("{}: more than {FILE_BYTES_MAX} bytes", path.display())));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text).map_err(|e| match e {
            RulesError::Bad(why) => RulesError::Bad(format!("{}: {why}", path.display())),
            e @ RulesError::Read { .. } => e,
        })
    }

    /// Reads and checks a text.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let rules: Self = toml::from_str(text).map_err(|e| RulesError::Bad(e.to_string().trim_end().to_owned()))?;
        rules.check().map_err(RulesError::Bad)?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), String> {
        if self.version.trim().is_empty() || self.version.len() > 64 {
            return Err("version: 1–64 bytes".into());
        }
        if self.rules.len() > RULES_MAX {
            return Err(format!("rule: more than {RULES_MAX}"));
        }
        for (n, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|why| format!("rule {}: {why}", n + 1))?;
            if self.rules[..n].iter().any(|r| r.id == rule.id) {
                return Err(format!("rule {}: id {:?} 重复 / stands twice", n + 1, rule.id));
            }
        }
        Ok(())
    }
}

/// `2026-01-31`: text order is order in time.
fn is_day(text: &str) -> bool {
    let b = text.as_bytes();
    b.len() == 10
        && b.iter().enumerate().all(|(n, c)| if matches!(n, 4 | 7) { *c == b'-' } else { c.is_ascii_digit() })
        && ("01"..="12").contains(&&text[5..7])
        && ("01"..="31").contains(&&text[8..10])
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        if self.id.is_empty() || self.id.len() > 64 {
            return Err("id: 1–64 bytes".into());
        }
        if !is_day(&self.from) || !is_day(&self.to) || self.from > self.to {
            return Err("from, to: 写作 2026-01-31,先后有序 / write 2026-01-31, in order".into());
        }
        if self.co_fen.len() > CO_REPORTERS_MAX {
            return Err(format!("co_fen: at most {CO_REPORTERS_MAX}"));
        }
        let (least, most) = AMOUNT_FEN;
        for fen in std::iter::once(&self.first_fen).chain(&self.co_fen) {
            if !(least..=most).contains(fen) {
                return Err(format!(
                    "{fen}: 金额应为 {least}–{most} 分(¥2–200)/ amounts are {least} to {most} fen (¥2 to ¥200)"
                ));
            }
        }
        if self.co_fen.iter().any(|co| *co > self.first_fen) {
            return Err("co_fen: 共报不高于首报 / a co-reporter gets no more than the first".into());
        }
        if self.monthly_cap_fen < 0 || self.monthly_cap_count < 0 {
            return Err("monthly_cap: 0 (none) or more".into());
        }
        if self.classes.iter().any(|c| c.is_empty() || c.len() > 5 || !c.bytes().all(|b| b.is_ascii_digit())) {
            return Err("classes: 类别代码的开头数字 / the first digits of class codes".into());
        }
        Ok(())
    }

    /// What a place is worth, fen.
    #[must_use]
    pub fn amount(&self, place: usize) -> Option<i64> {
        match place {
            0 => None,
            1 => Some(self.first_fen),
            n => self.co_fen.get(n - 2).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version = \"1\"\n[[rule]]\nid = \"a\"\nfrom = \"2026-01-01\"\nto = \"2026-12-31\"\nfirst_fen = 2000\nco_fen = [500]\n";

    #[test]
    fn the_example_can_be_used() {
        let rules = Rules::parse(include_str!("../../../ops/reward.example.toml")).unwrap();
        assert!(!rules.rules.is_empty());
    }

    #[test]
    fn amounts_and_dates_are_checked() {
        assert!(Rules::parse(GOOD).is_ok());
        for (from, to) in [
            ("2000", "199"),
            ("2000", "20001"),
            ("[500]", "[2500]"),
            ("[500]", "[0]"),
            ("\"2026-01-01\"", "\"2027-01-01\""),
            ("\"2026-01-01\"", "\"1.1.2026\""),
            ("\"2026-01-01\"", "\"2026-13-01\""),
            ("id = \"a\"", "id = \"\""),
            ("version = \"1\"", "version = \"\""),
            ("id = \"a\"", "id = \"a\"\nclasses = [\"x\"]"),
            ("id = \"a\"", "id = \"a\"\nbonus = 1"),
            ("id = \"a\"", "id = \"a\"\nmonthly_cap_fen = -1"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert!(matches!(Rules::parse(&text), Err(RulesError::Bad(_))), "{text}");
        }
        let twice = format!("{GOOD}{}", GOOD.split_once('\n').unwrap().1);
        assert!(Rules::parse(&twice).is_err());
    }

    #[test]
    fn a_place_has_its_amount_or_none() {
        let rule = &Rules::parse(GOOD).unwrap().rules[0];
        assert_eq!([0, 1, 2, 3].map(|place| rule.amount(place)), [None, Some(2000), Some(500), None]);
    }
}
