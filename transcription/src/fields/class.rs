//! The problem's class by keywords (GB/T 47678.5).

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::limits;

/// `code5 TAB name TAB keywords`; a keyword's parts are joined by `+`.
const TABLE: &str = include_str!("../../data/classes.tsv");
/// The parts of a keyword stand within this many characters.
const NEAR_CHARS: usize = 10;

/// A class the text seems to be about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassGuess {
    /// Five digits, for example 01003.
    pub code5: String,
    /// The class's name.
    pub name: String,
    /// The words that led to it.
    pub keyword: String,
    /// Characters matched; more is better.
    pub score: u32,
}

struct Rule {
    code5: &'static str,
    name: &'static str,
    keyword: &'static str,
    parts: Vec<Vec<char>>,
}

fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let mut out = Vec::new();
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            let mut columns = line.split('\t');
            let (Some(code5), Some(name), Some(words)) = (columns.next(), columns.next(), columns.next()) else {
                continue;
            };
            for keyword in words.split(' ').filter(|w| !w.is_empty()) {
                let parts = keyword.split('+').map(|p| p.chars().collect()).collect();
                out.push(Rule { code5, name, keyword, parts });
            }
        }
        out
    })
}

/// Classes of `text`, the most characters matched first.
#[must_use]
pub fn guess(text: &[char]) -> Vec<ClassGuess> {
    let mut out: Vec<ClassGuess> = Vec::new();
    for rule in rules() {
        let Some(score) = matched(text, &rule.parts) else {
            continue;
        };
        match out.iter_mut().find(|g| g.code5 == rule.code5) {
            Some(known) if known.score >= score => {}
            Some(known) => {
                known.score = score;
                known.keyword = rule.keyword.into();
            }
            None => out.push(ClassGuess {
                code5: rule.code5.into(),
                name: rule.name.into(),
                keyword: rule.keyword.into(),
                score,
            }),
        }
    }
    // Stable: among equals the table's order decides.
    out.sort_by_key(|g| std::cmp::Reverse(g.score));
    out.truncate(limits::CLASSES_MAX);
    out
}

fn matched(text: &[char], parts: &[Vec<char>]) -> Option<u32> {
    let (first, others) = parts.split_first()?;
    let found = text.windows(first.len()).enumerate().filter(|(_, w)| w == first).any(|(at, _)| {
        let near = &text[at.saturating_sub(NEAR_CHARS)..(at + first.len() + NEAR_CHARS).min(text.len())];
        others.iter().all(|p| near.windows(p.len()).any(|w| w == p.as_slice()))
    });
    let len = parts.iter().map(Vec::len).sum::<usize>() * 2 - (parts.len() - 1);
    found.then(|| u32::try_from(len).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(text: &str) -> Option<String> {
        guess(&text.chars().collect::<Vec<_>>()).first().map(|g| g.code5.clone())
    }

    #[test]
    fn the_table_is_well_formed() {
        assert!(rules().len() > 150);
        for r in rules() {
            assert!(r.code5.len() == 5 && r.code5.bytes().all(|b| b.is_ascii_digit()), "{}", r.code5);
            assert!(r.parts.iter().all(|p| !p.is_empty()), "{}: {}", r.name, r.keyword);
        }
    }

    #[test]
    fn what_citizens_say_leads_to_the_class() {
        for (text, code) in [
            ("井盖没了", "01023"),
            ("雨水井盖坏了", "01003"),
            ("污水井盖松动", "01002"),
            ("路灯不亮了", "01037"),
            ("路上有个大坑", "06013"),
            ("垃圾桶满了溢出来", "06042"),
            ("工地晚上施工太吵", "08001"),
            ("烧烤摊油烟很大", "06027"),
            ("共享单车乱放", "09011"),
            ("汽车停在人行道上", "09009"),
            ("占用消防通道", "09012"),
            ("红绿灯坏了", "02014"),
            ("电线垂下来了", "10002"),
            ("墙上贴满小广告", "07001"),
            ("违章建筑", "06001"),
            ("渣土车没盖盖子", "08011"),
            ("公厕很脏", "03001"),
            ("树倒了", "04002"),
            ("下水道堵了", "06030"),
        ] {
            assert_eq!(best(text).as_deref(), Some(code), "{text}: {:?}", guess(&text.chars().collect::<Vec<_>>()));
        }
    }

    #[test]
    fn no_keyword_no_guess_and_never_more_than_the_limit() {
        assert_eq!(best("请问你们几点下班"), None);
        let all: Vec<char> = rules().iter().flat_map(|r| r.parts.concat()).collect();
        assert_eq!(guess(&all).len(), limits::CLASSES_MAX);
    }
}
