//! Who serves whom: a pure function over the waiting callers and the operators.

use std::collections::BTreeSet;

/// Priority lanes, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Danger to life or limb (key 7).
    Red,
    /// We called the citizen back: they have waited already.
    Callback,
    /// Everybody else.
    Normal,
}

impl Lane {
    /// Word for rows and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Callback => "callback",
            Self::Normal => "normal",
        }
    }
}

/// A caller as the decision sees one.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Call id.
    pub call: String,
    /// Lane.
    pub lane: Lane,
    /// Place in the order of arrival; smaller is earlier.
    pub order: u64,
    /// Operators who must not be offered this caller again (they declined, or are named by the item).
    pub excluded: BTreeSet<String>,
    /// Already ringing at somebody.
    pub offered: bool,
}

/// An operator as the decision sees one.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Operator id.
    pub operator: String,
    /// Ready, registered and not ringing.
    pub free: bool,
    /// When the operator became idle (epoch ms); the longest idle is first.
    pub idle_since: i64,
}

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Call id.
    pub call: String,
    /// Operator id.
    pub operator: String,
}

/// Pairs callers in priority order with the longest-idle operator each may have.
/// Nobody appears twice; a caller all free operators are excluded from doesn't hold up the next.
#[must_use]
pub fn assign(waiting: &[Waiting], operators: &[Candidate]) -> Vec<Assignment> {
    let mut callers: Vec<&Waiting> = waiting.iter().filter(|w| !w.offered).collect();
    callers.sort_by_key(|w| (w.lane, w.order));
    let mut free: Vec<&Candidate> = operators.iter().filter(|o| o.free).collect();
    free.sort_by(|a, b| a.idle_since.cmp(&b.idle_since).then_with(|| a.operator.cmp(&b.operator)));
    let mut out = Vec::new();
    for caller in callers {
        if free.is_empty() {
            break;
        }
        if let Some(i) = free.iter().position(|o| !caller.excluded.contains(&o.operator)) {
            let operator = free.remove(i);
            out.push(Assignment { call: caller.call.clone(), operator: operator.operator.clone() });
        }
    }
    out
}

/// A caller's place: 1 is next. `None` if not waiting.
#[must_use]
pub fn position(waiting: &[Waiting], call: &str) -> Option<usize> {
    let me = waiting.iter().find(|w| w.call == call)?;
    Some(1 + waiting.iter().filter(|w| (w.lane, w.order) < (me.lane, me.order)).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn caller(call: &str, lane: Lane, order: u64) -> Waiting {
        Waiting { call: call.into(), lane, order, excluded: BTreeSet::new(), offered: false }
    }
    fn operator(name: &str, idle_since: i64) -> Candidate {
        Candidate { operator: name.into(), free: true, idle_since }
    }

    #[test]
    fn the_longest_idle_operator_gets_the_first_caller() {
        let got = assign(
            &[caller("b", Lane::Normal, 2), caller("a", Lane::Normal, 1)],
            &[operator("x", 20), operator("y", 10)],
        );
        assert_eq!(got[0], Assignment { call: "a".into(), operator: "y".into() });
        assert_eq!(got[1], Assignment { call: "b".into(), operator: "x".into() });
    }

    #[test]
    fn the_red_lane_passes_everybody() {
        let waiting = [caller("a", Lane::Normal, 1), caller("c", Lane::Callback, 2), caller("r", Lane::Red, 3)];
        assert_eq!(assign(&waiting, &[operator("x", 1)])[0].call, "r");
        assert_eq!(position(&waiting, "a"), Some(3));
        assert_eq!(position(&waiting, "r"), Some(1));
    }

    #[test]
    fn a_caller_never_returns_to_who_declined() {
        let mut a = caller("a", Lane::Normal, 1);
        a.excluded.insert("x".into());
        let got = assign(&[a, caller("b", Lane::Normal, 2)], &[operator("x", 1)]);
        assert_eq!(got, [Assignment { call: "b".into(), operator: "x".into() }]);
    }

    #[test]
    fn nobody_is_doubled_and_no_free_operator_idles_while_a_caller_they_can_serve_waits() {
        for seed in 0..2_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let operators: Vec<Candidate> = (0..rng.random_range(0..8))
                .map(|i| Candidate {
                    operator: format!("o{i}"),
                    free: rng.random_bool(0.7),
                    idle_since: rng.random_range(0..5),
                })
                .collect();
            let waiting: Vec<Waiting> = (0..rng.random_range(0..8))
                .map(|i| Waiting {
                    call: format!("c{i}"),
                    lane: [Lane::Red, Lane::Callback, Lane::Normal][rng.random_range(0..3)],
                    order: i,
                    excluded: (0..8).filter(|_| rng.random_bool(0.3)).map(|o| format!("o{o}")).collect(),
                    offered: rng.random_bool(0.2),
                })
                .collect();
            let got = assign(&waiting, &operators);
            let calls: BTreeSet<_> = got.iter().map(|a| &a.call).collect();
            let used: BTreeSet<_> = got.iter().map(|a| &a.operator).collect();
            assert!(calls.len() == got.len() && used.len() == got.len(), "seed {seed}");
            for a in &got {
                let w = waiting.iter().find(|w| w.call == a.call).unwrap();
                assert!(!w.offered && !w.excluded.contains(&a.operator), "seed {seed}");
                assert!(operators.iter().any(|o| o.operator == a.operator && o.free), "seed {seed}");
            }
            for o in operators.iter().filter(|o| o.free && !used.contains(&o.operator)) {
                for w in waiting.iter().filter(|w| !w.offered && !calls.contains(&w.call)) {
                    assert!(w.excluded.contains(&o.operator), "seed {seed}: {} could serve {}", o.operator, w.call);
                }
            }
        }
    }
}
