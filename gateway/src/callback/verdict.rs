//! From the keys a citizen pressed to what happens with the case: a pure judgement.

use std::collections::BTreeMap;

/// The survey's answers in rows' terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Somebody got in touch.
    pub contacted: Option<bool>,
    /// `yes`, `partly` or `no`.
    pub solved: Option<String>,
    /// 1 满意, 2 基本满意, 5 不满意 on the five-point scale of the data model.
    pub satisfied: Option<i64>,
    /// The citizen agrees to close.
    pub may_close: Option<bool>,
    /// "Call me later".
    pub later: bool,
    /// No more surveys, please.
    pub refused: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 满意: the case core may close.
    Close,
    /// 不满意 or 未解决: back to the case core.
    Reopen,
    /// No verdict was given.
    None,
}

/// Reads the flow's answers (`contacted`, `solved`, `satisfied`, `may_close`, `later`).
#[must_use]
pub fn read(verdict: &BTreeMap<String, String>) -> Answers {
    let get = |key: &str| verdict.get(key).map(String::as_str);
    let yes_no = |key: &str| {
        get(key).and_then(|v| match v {
            "yes" | "1" => Some(true),
            "no" | "2" => Some(false),
            _ => None,
        })
    };
    Answers {
        contacted: yes_no("contacted"),
        solved: get("solved")
            .and_then(|v| match v {
                "yes" | "1" => Some("yes"),
                "partly" | "2" => Some("partly"),
                "no" | "3" => Some("no"),
                _ => None,
            })
            .map(str::to_owned),
        satisfied: get("satisfied").and_then(|v| match v {
            "1" | "yes" | "satisfied" => Some(1),
            "2" | "mostly" | "partly" | "basically" => Some(2),
            "3" | "no" | "dissatisfied" => Some(5),
            _ => None,
        }),
        may_close: yes_no("may_close"),
        later: get("later").is_some_and(|v| v != "no"),
        refused: get("refused").is_some_and(|v| v != "no"),
    }
}

/// Closing needs a clear yes; any clear no reopens; half an answer decides nothing.
#[must_use]
pub fn decide(a: &Answers) -> Decision {
    let unhappy = a.satisfied == Some(5) || a.solved.as_deref() == Some("no") || a.may_close == Some(false);
    if unhappy {
        return Decision::Reopen;
    }
    // 部分解决 closes only with the citizen's word for it.
    let agreed = a.may_close == Some(true) || a.solved.as_deref() != Some("partly");
    match a.satisfied {
        Some(1 | 2) if agreed => Decision::Close,
        _ => Decision::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(pairs: &[(&str, &str)]) -> Answers {
        read(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_case_closes_on_satisfaction_only() {
        assert_eq!(
            decide(&answers(&[("contacted", "yes"), ("solved", "yes"), ("satisfied", "1"), ("may_close", "yes")])),
            Decision::Close
        );
        assert_eq!(decide(&answers(&[("satisfied", "2")])), Decision::Close);
        assert_eq!(decide(&answers(&[("solved", "partly"), ("satisfied", "1")])), Decision::None);
        assert_eq!(
            decide(&answers(&[("solved", "partly"), ("satisfied", "1"), ("may_close", "yes")])),
            Decision::Close
        );
        assert_eq!(decide(&answers(&[("solved", "yes")])), Decision::None);
        assert_eq!(decide(&answers(&[])), Decision::None);
    }

    #[test]
    fn any_clear_no_reopens() {
        assert_eq!(decide(&answers(&[("satisfied", "3")])), Decision::Reopen);
        assert_eq!(decide(&answers(&[("solved", "no"), ("satisfied", "1")])), Decision::Reopen);
        assert_eq!(decide(&answers(&[("solved", "no")])), Decision::Reopen);
        assert_eq!(decide(&answers(&[("satisfied", "1"), ("may_close", "no")])), Decision::Reopen);
    }
}
