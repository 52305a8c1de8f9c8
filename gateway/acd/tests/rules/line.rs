//! Callers: lanes, places, skills, and what a person may do to them.

use hotline_acd::{Core, Decline, Effect, Entry, Lane, Move, OperatorState, QueueSettings, Refused, Widen};

use crate::{desk, enters, offers, pair, says, says_with, settings, state, withdrawn};

#[test]
fn one_caller_entered_twice_waits_once() {
    let mut core = desk(0);
    enters(&mut core, 1, "a");
    enters(&mut core, 2, "a");
    assert_eq!(core.waiting("main"), 1);
    assert_eq!(core.position("a"), Some((1, None)));
}

#[test]
fn who_joins_again_keeps_the_exclusions_and_wishes_of_both_entries() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    let again =
        Entry { barred: vec!["x".into()], skills: vec!["english".into()], ..Entry::new("a", "main", Lane::Red) };
    core.enter(2, again).unwrap();
    assert_eq!(state(&core, "x"), OperatorState::Ready, "rung no longer");
    assert_eq!(withdrawn(&mut core), [pair("a", "x")]);
    enters(&mut core, 3, "a");
    says(&mut core, 4, "y", OperatorState::Ready);
    assert!(offers(&mut core).is_empty(), "x is named by the matter, y lacks the skill");
    core.set_skills(5, "x", vec![("english".into(), 5)]);
    assert!(offers(&mut core).is_empty());
    core.set_skills(6, "y", vec![("english".into(), 5)]);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
}

#[test]
fn a_full_queue_turns_new_callers_away_but_nobody_who_was_served_before() {
    let mut core = Core::new(vec![QueueSettings { waiting_max: 1, ..settings(0) }]).unwrap();
    enters(&mut core, 1, "a");
    assert_eq!(core.enter(2, Entry::new("b", "main", Lane::Normal)), Err(Refused::Full));
    core.enter(3, Entry { returns: true, ..Entry::new("c", "main", Lane::Normal) }).unwrap();
    assert_eq!(core.waiting("main"), 2);
}

#[test]
fn who_is_moved_to_a_full_or_closed_queue_goes_on_waiting_there() {
    let night = QueueSettings { name: "night".into(), waiting_max: 1, ..settings(0) };
    let mut core = Core::new(vec![settings(0), night]).unwrap();
    core.enter(1, Entry::new("n", "night", Lane::Normal)).unwrap();
    core.set_open("night", false);
    enters(&mut core, 2, "a");
    core.move_caller(3, "a", &Move::Queue("night".into())).unwrap();
    assert_eq!((core.waiting("main"), core.waiting("night")), (0, 2));
    assert_eq!(core.move_caller(4, "a", &Move::Queue("none".into())), Err(Refused::NoQueue("none".into())));
    assert_eq!(core.waiting("night"), 2, "a place is given up for another one only");
}

#[test]
fn a_closed_queue_takes_danger_and_nobody_else() {
    let mut core = desk(0);
    enters(&mut core, 0, "before");
    core.set_open("main", false);
    assert_eq!(core.enter(1, Entry::new("a", "main", Lane::Normal)), Err(Refused::Closed));
    core.enter(2, Entry::new("r", "main", Lane::Red)).unwrap();
    assert_eq!(core.waiting("main"), 2, "who waited goes on waiting");
    assert_eq!(core.enter(3, Entry::new("a", "none", Lane::Red)), Err(Refused::NoQueue("none".into())));
}

#[test]
fn skills_are_given_up_and_other_queues_asked_as_the_wait_grows() {
    let widen = vec![
        Widen { after_ms: 10_000, drop: vec!["english".into()], help: Vec::new() },
        Widen { after_ms: 20_000, drop: Vec::new(), help: vec!["night".into()] },
    ];
    let main = QueueSettings { widen, ..settings(0) };
    let night = QueueSettings { name: "night".into(), ..settings(0) };
    let mut core = Core::new(vec![main, night]).unwrap();
    says(&mut core, 0, "x", OperatorState::Ready);
    let entry = Entry { skills: vec!["english".into()], ..Entry::new("a", "main", Lane::Normal) };
    core.enter(0, entry.clone()).unwrap();
    assert!(offers(&mut core).is_empty());
    assert_eq!(core.poll_timeout(), Some(10_000));
    core.handle_timeout(10_000);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    core.connected(10_000, "a", "x");
    says_with(&mut core, 10_001, "n", OperatorState::Ready, true, &["night"]);
    core.enter(10_001, Entry { call: "b".into(), ..entry }).unwrap();
    core.handle_timeout(20_001);
    assert!(offers(&mut core).is_empty(), "the night's operator helps after 20 s only");
    core.handle_timeout(30_001);
    assert_eq!(offers(&mut core), [pair("b", "n")]);
}

#[test]
fn a_citizen_waits_for_whom_they_know_and_not_longer_than_the_limit() {
    let mut core = Core::new(vec![QueueSettings { prefer_ms: 20_000, ..settings(0) }]).unwrap();
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "t");
    core.connected(2, "t", "x");
    says(&mut core, 3, "y", OperatorState::Ready);
    offers(&mut core);
    let known = |call: &str| Entry { prefer: Some("x".into()), ..Entry::new(call, "main", Lane::Normal) };
    core.enter(10, known("a")).unwrap();
    assert!(offers(&mut core).is_empty(), "x is in a talk and may be back within 20 s");
    core.handle_timeout(20_010);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
    core.leave(20_011, "a");
    core.enter(20_012, known("b")).unwrap();
    core.released(20_013, "t", "x");
    assert_eq!(offers(&mut core), [pair("b", "x")]);
    core.leave(20_014, "b");
    says(&mut core, 20_015, "x", OperatorState::Break);
    core.enter(20_016, known("c")).unwrap();
    assert_eq!(offers(&mut core), [pair("c", "y")], "nobody is waited for who isn't in a call");
}

#[test]
fn a_person_can_move_and_pull_a_caller() {
    let night = QueueSettings { name: "night".into(), ..settings(0) };
    let mut core = Core::new(vec![settings(0), night]).unwrap();
    for (now, call) in (1..).zip(["a", "b", "c"]) {
        enters(&mut core, now, call);
    }
    core.move_caller(4, "c", &Move::Front).unwrap();
    core.move_caller(5, "b", &Move::Front).unwrap();
    let order = |core: &Core| core.queues()[0].callers.iter().map(|c| c.call.to_string()).collect::<Vec<_>>();
    assert_eq!(order(&core), ["b", "c", "a"]);
    core.move_caller(6, "b", &Move::Queue("night".into())).unwrap();
    assert_eq!(order(&core), ["c", "a"]);
    assert_eq!((core.waiting("main"), core.waiting("night")), (2, 1));
    assert_eq!(core.pull(7, "a", "x"), Err(Refused::NoOperator));
    says(&mut core, 8, "x", OperatorState::Break);
    assert_eq!(core.pull(9, "a", "x"), Err(Refused::NotFree));
    says_with(&mut core, 10, "x", OperatorState::Ready, true, &[]);
    core.pull(11, "a", "x").unwrap();
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    assert_eq!(core.move_caller(12, "z", &Move::Front), Err(Refused::NotWaiting));
}

#[test]
fn overflow_and_the_longest_wait_are_reported_once_each() {
    let queue = QueueSettings {
        overflow_ms: Some(30_000),
        overflow_red_ms: Some(5_000),
        wait_max_ms: Some(60_000),
        announce_ms: Some((15_000, 40_000)),
        ..settings(0)
    };
    let mut core = Core::new(vec![queue]).unwrap();
    enters(&mut core, 0, "a");
    core.enter(0, Entry::new("r", "main", Lane::Red)).unwrap();
    let mut told = Vec::new();
    while let Some(at) = core.poll_timeout().filter(|at| *at < 100_000) {
        core.handle_timeout(at);
        while let Some(effect) = core.poll_output() {
            match effect {
                Effect::Overflow { call, red } => told.push(format!("{at} overflow {call} {red}")),
                Effect::WaitedTooLong { call } => told.push(format!("{at} too long {call}")),
                Effect::Announce { call, position, .. } => told.push(format!("{at} {call} is {position}")),
                _ => {}
            }
        }
    }
    told.sort_by_key(|t| t.split(' ').next().unwrap().parse::<i64>().unwrap());
    let expected = [
        "5000 overflow r true",
        "15000 a is 2",
        "15000 r is 1",
        "30000 overflow a false",
        "55000 a is 2",
        "55000 r is 1",
        "60000 too long a",
        "60000 too long r",
        "95000 a is 2",
        "95000 r is 1",
    ];
    assert_eq!(told, expected);
}

#[test]
fn who_is_in_danger_brings_those_on_call_though_they_were_asked_before() {
    let queue = QueueSettings { overflow_ms: Some(30_000), overflow_red_ms: Some(0), ..settings(0) };
    let mut core = Core::new(vec![queue]).unwrap();
    enters(&mut core, 0, "a");
    let mut overflows = |now: i64, lane: Option<Lane>| {
        if let Some(lane) = lane {
            core.set_lane(now, "a", lane);
        }
        core.handle_timeout(now);
        let effects = std::iter::from_fn(|| core.poll_output());
        effects.filter_map(|e| if let Effect::Overflow { red, .. } = e { Some(red) } else { None }).collect::<Vec<_>>()
    };
    assert_eq!(overflows(30_000, None), [false]);
    assert_eq!(overflows(70_000, Some(Lane::Red)), [true]);
    assert_eq!(overflows(90_000, Some(Lane::Red)), Vec::<bool>::new(), "once");
}

#[test]
fn who_has_nobody_but_whom_the_matter_names_is_told_of_and_brings_those_on_call_at_once() {
    let queue = QueueSettings { overflow_ms: Some(30_000), ..settings(0) };
    let mut core = Core::new(vec![queue]).unwrap();
    let barred = |call: &str| Entry { barred: vec!["x".into()], ..Entry::new(call, "main", Lane::Normal) };
    let told = |core: &mut Core| {
        let effects = std::iter::from_fn(|| core.poll_output());
        effects
            .filter_map(|e| match e {
                Effect::Overflow { call, .. } => Some(format!("overflow {call}")),
                Effect::OnlyBarred { call } => Some(format!("barred {call}")),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    core.enter(0, barred("night")).unwrap();
    assert!(told(&mut core).is_empty(), "nobody is there at all: that is another matter");
    core.leave(1, "night");
    says(&mut core, 2, "x", OperatorState::Ready);
    says(&mut core, 3, "y", OperatorState::Break);
    core.enter(4, barred("a")).unwrap();
    core.handle_timeout(6_000);
    assert!(told(&mut core).is_empty(), "y comes back");
    says(&mut core, 7_000, "y", OperatorState::Off);
    core.handle_timeout(12_000);
    assert_eq!(told(&mut core), ["overflow a", "barred a"]);
    core.handle_timeout(100_000);
    assert!(told(&mut core).is_empty(), "once");
    core.enter(100_001, barred("b")).unwrap();
    assert_eq!(told(&mut core), ["overflow b", "barred b"], "at once");
    says(&mut core, 100_002, "y", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
}

#[test]
fn a_second_refusal_by_another_makes_nobody_wait_anew_beside_the_first() {
    let mut core = desk(0);
    let declines = |core: &mut Core, now: i64, who: &str| {
        assert_eq!(offers(core), [pair("c", who)]);
        core.declined(now, "c", who, Decline::Refused);
    };
    says(&mut core, 0, "z", OperatorState::Ready);
    enters(&mut core, 0, "t");
    core.connected(0, "t", "z");
    offers(&mut core);
    enters(&mut core, 0, "c");
    says(&mut core, 0, "a", OperatorState::Ready);
    declines(&mut core, 1, "a");
    // While z may be back soon, c waits for somebody else than a until 31 s.
    says(&mut core, 1_000, "a", OperatorState::Ready);
    says(&mut core, 1_500, "a", OperatorState::Break);
    says(&mut core, 2_000, "z", OperatorState::Break);
    says(&mut core, 3_000, "b", OperatorState::Ready);
    declines(&mut core, 3_500, "b");
    // Nobody else comes: b is asked again.
    says(&mut core, 4_000, "b", OperatorState::Ready);
    declines(&mut core, 5_000, "b");
    says(&mut core, 6_000, "z", OperatorState::Ready);
    says(&mut core, 20_000, "a", OperatorState::Ready);
    assert!(offers(&mut core).is_empty(), "z may be back soon");
    core.handle_timeout(31_000);
    assert_eq!(offers(&mut core), [pair("c", "a")]);
}

#[test]
fn who_returns_from_a_talk_nobody_heard_of_waits_anew() {
    let queue = QueueSettings { wait_max_ms: Some(60_000), ..settings(0) };
    let mut core = Core::new(vec![queue]).unwrap();
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 0, "a");
    core.set_lane(0, "a", Lane::Trouble);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    // The word that x talks with them is lost, and so is its end.
    core.enter(18_000, Entry { returns: true, ..Entry::new("a", "main", Lane::Normal) }).unwrap();
    assert_eq!(core.queues()[0].callers[0].entered_at, 18_000);
    let too_long = |core: &mut Core, now: i64| {
        core.handle_timeout(now);
        let effects = std::iter::from_fn(|| core.poll_output());
        effects.filter(|e| matches!(e, Effect::WaitedTooLong { .. })).count()
    };
    assert_eq!((too_long(&mut core, 60_001), too_long(&mut core, 78_000)), (0, 1));
    // Said twice, it is one return.
    core.enter(80_000, Entry { returns: true, ..Entry::new("a", "main", Lane::Normal) }).unwrap();
    assert_eq!(core.queues()[0].callers[0].entered_at, 18_000);
}

#[test]
fn a_lost_gateway_takes_its_callers_along_and_frees_everybody_elses() {
    let mut core = desk(0);
    let at = |call: &str, node: &str| Entry { node: node.into(), ..Entry::new(call, "main", Lane::Normal) };
    says(&mut core, 0, "x", OperatorState::Ready);
    core.enter(1, at("a", "m")).unwrap();
    core.connected(2, "a", "x");
    core.enter(3, at("b", "m")).unwrap();
    core.enter(4, at("c", "n")).unwrap();
    offers(&mut core);
    core.node_lost(5, "m");
    assert_eq!(offers(&mut core), [pair("c", "x")], "x talked in a call of m");
    core.node_lost(6, "n");
    assert_eq!(core.waiting("main"), 0);
    assert!(!core.operator("x").unwrap().registered);
    assert_eq!(state(&core, "x"), OperatorState::Ready);
}

#[test]
fn a_talk_goes_on_when_only_the_gateway_of_its_phone_is_lost() {
    let mut core = desk(0);
    let at = |call: &str, node: &str| Entry { node: node.into(), ..Entry::new(call, "main", Lane::Normal) };
    says(&mut core, 0, "x", OperatorState::Ready);
    core.registered_at(0, "x", "n");
    core.enter(1, at("a", "m")).unwrap();
    core.connected(2, "a", "x");
    core.enter(3, at("b", "m")).unwrap();
    offers(&mut core);
    core.node_lost(4, "n");
    // The phone comes to the other gateway while its talk goes on: it gets no second caller.
    core.registered_at(5, "x", "m");
    assert_eq!((state(&core, "x"), offers(&mut core)), (OperatorState::Talking, Vec::new()));
    core.released(6, "a", "x");
    assert_eq!(offers(&mut core), [pair("b", "x")]);
    core.node_lost(7, "n");
    assert!(core.operator("x").unwrap().registered, "it isn't there any more");
}
