//! The decision against its rules, over random lines and desks.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test ends at the first thing that is wrong")]

use std::collections::BTreeSet;

use hotline_acd::Lane;
use hotline_acd::assign::{Line, Needs, Operator, Operators, Pair, Scratch, Waiting, assign, fits};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Key, needs, who declined, whom they know.
type Caller = (u32, Needs, Vec<u32>, Option<(u32, i64)>);

struct Case {
    line: Line,
    callers: Vec<Caller>,
    operators: Operators,
    seats: u32,
}

const NOW: i64 = 1_000;

fn random(seed: u64) -> Case {
    let mut rng = StdRng::seed_from_u64(seed);
    let seats = rng.random_range(0..9);
    let mut operators = Operators::default();
    for key in 0..seats {
        let skills: Vec<(u32, u8)> =
            (0..3).map(|s| (s, rng.random_range(0..4))).filter(|(_, level)| *level > 1).collect();
        let queues = rng.random_range(1..4);
        if rng.random_bool(0.8) {
            operators.put(key, Operator::ready(rng.random_range(0..6), queues, &skills));
        }
    }
    let mut line = Line::default();
    let callers = (0..rng.random_range(0..10))
        .map(|place| {
            let needs = Needs { queues: rng.random_range(1..4), skills: rng.random_range(0..4) };
            let declined: Vec<u32> = (0..8).filter(|_| rng.random_bool(0.2)).collect();
            let lane = Lane::ALL[rng.random_range(0..4)];
            let mut caller = Waiting::new(lane, place, needs, declined.clone());
            let prefer = rng.random_bool(0.3).then(|| (rng.random_range(0..8), NOW + rng.random_range(-5..5)));
            if let Some((operator, until)) = prefer {
                caller = caller.preferring(operator, until);
            }
            (line.add(caller), needs, declined, prefer)
        })
        .collect();
    Case { line, callers, operators, seats }
}

fn decide(case: &Case) -> Vec<Pair> {
    let mut scratch = Scratch::default();
    assign(NOW, &case.line, &case.operators, &mut scratch);
    scratch.pairs.clone()
}

#[test]
fn nobody_is_doubled_and_nobody_is_offered_whom_they_may_not_have() {
    for seed in 0..5_000 {
        let case = random(seed);
        let pairs = decide(&case);
        let callers: BTreeSet<_> = pairs.iter().map(|p| p.0).collect();
        let operators: BTreeSet<_> = pairs.iter().map(|p| p.1).collect();
        assert!(callers.len() == pairs.len() && operators.len() == pairs.len(), "seed {seed}: {pairs:?}");
        for (caller, operator) in pairs {
            let (_, needs, declined, _) = case.callers.iter().find(|c| c.0 == caller).unwrap();
            assert!(fits(case.operators.get(operator).unwrap(), *needs), "seed {seed}");
            assert!(!declined.contains(&operator), "seed {seed}");
        }
    }
}

#[test]
fn no_free_operator_is_left_while_a_caller_they_can_serve_waits() {
    for seed in 0..5_000 {
        let case = random(seed);
        let pairs = decide(&case);
        for key in (0..case.seats).filter(|o| pairs.iter().all(|p| p.1 != *o)) {
            let Some(operator) = case.operators.get(key) else { continue };
            for (caller, needs, declined, _) in case.callers.iter().filter(|c| pairs.iter().all(|p| p.0 != c.0)) {
                let could = fits(operator, *needs) && !declined.contains(&key);
                assert!(!could, "seed {seed}: {key} could serve {caller}");
            }
        }
    }
}

#[test]
fn an_earlier_caller_of_a_lane_is_never_passed_by_a_later_one_for_an_operator_they_could_have_had() {
    for seed in 0..5_000 {
        let case = random(seed);
        let pairs = decide(&case);
        for (caller, operator) in &pairs {
            let rank = case.line.get(*caller).unwrap().rank();
            for (earlier, needs, declined, _) in &case.callers {
                let waits = pairs.iter().all(|p| p.0 != *earlier) && case.line.get(*earlier).unwrap().rank() < rank;
                let could = fits(case.operators.get(*operator).unwrap(), *needs) && !declined.contains(operator);
                assert!(!(waits && could), "seed {seed}: {caller} passed {earlier}");
            }
        }
    }
}

#[test]
fn the_same_desk_and_line_give_the_same_answer() {
    for seed in 0..500 {
        assert_eq!(decide(&random(seed)), decide(&random(seed)), "seed {seed}");
    }
}

fn one_of_each(callers: Vec<Waiting>, seats: Vec<Operator>) -> Vec<Pair> {
    let (mut line, mut operators) = (Line::default(), Operators::default());
    for caller in callers {
        line.add(caller);
    }
    for (key, seat) in (0..).zip(seats) {
        operators.put(key, seat);
    }
    decide(&Case { line, callers: Vec::new(), operators, seats: 0 })
}

const ANY: Needs = Needs { queues: 1, skills: 0 };

#[test]
fn the_longest_idle_operator_gets_the_first_caller() {
    let callers = vec![Waiting::new(Lane::Normal, 2, ANY, vec![]), Waiting::new(Lane::Normal, 1, ANY, vec![])];
    let pairs = one_of_each(callers, vec![Operator::ready(20, 1, &[]), Operator::ready(10, 1, &[])]);
    assert_eq!(pairs, [(1, 1), (0, 0)]);
}

#[test]
fn the_red_lane_passes_everybody_and_callers_in_trouble_all_but_it() {
    let callers = [Lane::Normal, Lane::Callback, Lane::Trouble, Lane::Red];
    let callers = callers.into_iter().zip(0..).map(|(lane, place)| Waiting::new(lane, place, ANY, vec![])).collect();
    let seats = (0..4).map(|idle| Operator::ready(idle, 1, &[])).collect();
    assert_eq!(one_of_each(callers, seats), [(3, 0), (2, 1), (1, 2), (0, 3)]);
}

#[test]
fn the_best_at_what_is_needed_comes_before_the_longest_idle() {
    let needs = Needs { queues: 1, skills: 0b11 };
    let seats = vec![
        Operator::ready(1, 1, &[(0, 9), (1, 2)]),
        Operator::ready(2, 1, &[(0, 4), (1, 4)]),
        Operator::ready(0, 1, &[(0, 9)]),
    ];
    // The weaker of both skills counts: 2 against 4; who lacks one of them is no choice.
    assert_eq!(one_of_each(vec![Waiting::new(Lane::Normal, 1, needs, vec![])], seats), [(0, 1)]);
}

#[test]
fn whom_a_citizen_knows_comes_before_the_longest_idle() {
    let caller = Waiting::new(Lane::Normal, 1, ANY, vec![]).preferring(1, 0);
    assert_eq!(one_of_each(vec![caller], vec![Operator::ready(1, 1, &[]), Operator::ready(2, 1, &[])]), [(0, 1)]);
}

/// Two hundred operators, five hundred callers: the figure, for people.
#[test]
#[ignore = "prints a figure"]
#[allow(clippy::disallowed_methods, reason = "this test is the clock")]
fn decision_time_with_200_operators_and_500_waiting() {
    let mut rng = StdRng::seed_from_u64(1);
    for (what, free) in
        [("nobody free", 0), ("50 free whom no caller may have", 50), ("one free", 1), ("200 free", 200)]
    {
        let mut line = Line::default();
        for place in 0..500 {
            let needs = Needs { queues: 1 << rng.random_range(0..4), skills: 1 << rng.random_range(0..6) };
            line.add(Waiting::new(Lane::ALL[rng.random_range(0..4)], place, needs, vec![rng.random_range(0..200)]));
        }
        let mut operators = Operators::default();
        for key in 0..free {
            let skills: Vec<(u32, u8)> = if free == 50 { vec![(7, 1)] } else { (0..6).map(|s| (s, 5)).collect() };
            operators.put(key, Operator::ready(i64::from(key), 0b1111, &skills));
        }
        let mut scratch = Scratch::default();
        let rounds = 2_000;
        let from = std::time::Instant::now();
        for _ in 0..rounds {
            assign(NOW, &line, &operators, &mut scratch);
        }
        println!("{what}: {:?} a decision, {} pairs", from.elapsed() / rounds, scratch.pairs.len());
    }
}
