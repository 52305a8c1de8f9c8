//! Emergency words.
//!
//! A negation ("没有漏电") is not looked at: a false alarm costs a look, a
//! missed one may cost a life.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The table: `word TAB pattern`, a pattern being parts joined by `+`.
const TABLE: &str = include_str!("../../data/urgency.tsv");
/// The parts of a pattern stand within this many characters.
const NEAR_CHARS: usize = 12;

/// One emergency found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrgencyHit {
    /// What it is, for the red lane: 燃气泄漏, 井盖缺失 …
    pub word: String,
    /// Where it begins, characters from the text's begin.
    pub at_chars: usize,
}

struct Rule {
    word: &'static str,
    parts: Vec<Vec<char>>,
}

fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        TABLE
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.split_once('\t'))
            .map(|(word, pattern)| Rule {
                word,
                parts: pattern.trim().split('+').map(|p| p.chars().collect()).collect(),
            })
            .collect()
    })
}

/// All emergencies in `text`, each word once, in order of appearance.
#[must_use]
pub fn find(text: &[char]) -> Vec<UrgencyHit> {
    let mut hits: Vec<UrgencyHit> = Vec::new();
    for rule in rules() {
        if hits.iter().any(|h| h.word == rule.word) {
            continue;
        }
        if let Some(at_chars) = matches(text, &rule.parts) {
            hits.push(UrgencyHit { word: rule.word.into(), at_chars });
        }
    }
    hits.sort_by_key(|h| h.at_chars);
    hits
}

/// Where the first part stands with all others near it, in any order.
fn matches(text: &[char], parts: &[Vec<char>]) -> Option<usize> {
    let (first, others) = parts.split_first()?;
    text.windows(first.len()).enumerate().filter(|(_, w)| w == first).find_map(|(at, _)| {
        let near = &text[at.saturating_sub(NEAR_CHARS)..(at + first.len() + NEAR_CHARS).min(text.len())];
        others.iter().all(|p| near.windows(p.len()).any(|w| w == p.as_slice())).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        find(&text.chars().collect::<Vec<_>>()).into_iter().map(|h| h.word).collect()
    }

    #[test]
    fn the_table_is_well_formed() {
        assert!(rules().len() > 30);
        for r in rules() {
            assert!(!r.word.is_empty() && r.parts.iter().all(|p| !p.is_empty()), "{}", r.word);
        }
    }

    #[test]
    fn emergencies_are_found_in_the_words_people_use() {
        for (text, word) in [
            ("楼道里燃气泄漏", "燃气泄漏"),
            ("闻到好大的煤气味", "燃气泄漏"),
            ("路面突然塌了一个大坑", "路面塌陷"),
            ("马路上的井盖不见了", "井盖缺失"),
            ("有个窨井没有盖子", "井盖缺失"),
            ("路灯杆漏电", "漏电"),
            ("小孩触电了", "触电"),
            ("有人从楼上坠落", "坠落"),
            ("老人被困在电梯里", "被困"),
            ("这边着火了", "火情"),
            ("电线掉下来了", "线缆坠落"),
            ("水管爆了", "爆管"),
        ] {
            assert!(words(text).contains(&word.to_owned()), "{text}: {:?}", words(text));
        }
    }

    #[test]
    fn everyday_matters_are_no_emergency() {
        for text in ["路灯不亮", "井盖有点响", "垃圾没人收", "煤气费怎么交", "电梯里有广告", ""]
        {
            assert_eq!(words(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn parts_far_apart_do_not_make_an_emergency() {
        assert!(words("井盖很好看我们小区绿化也不错只是今天早上我的自行车不见了").is_empty());
    }
}
