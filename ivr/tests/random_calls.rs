//! Random callers, operators and hosts: the machine never panics and always ends.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hotline_ivr::{Flow, Input, Machine, Output, limits};
use support::{Seeded, epoch, vars};

const KEYS: &[u8] = b"0123456789*#ABCDx";

fn builtin(name: &str) -> Arc<Flow> {
    Arc::new(Flow::builtin(name).unwrap())
}

fn random_input(seeded: &mut Seeded) -> Input {
    let names = ["callback_request", "progress_by_code", "progress_by_caller", "announce_position", "text_link", "?"];
    let labels = ["ok", "found", "none", "exists", "error", ""];
    match seeded.below(16) {
        0..=6 => Input::Digit(char::from(KEYS[seeded.below(KEYS.len())])),
        7..=9 => Input::PlayDone,
        10 => Input::Start,
        11 => Input::OperatorFree,
        12 => Input::TalkEnded,
        13 => Input::RecordDone { ms: seeded.below(200_000) as u64 },
        14 => Input::ActionDone {
            name: names[seeded.below(names.len())].into(),
            result: labels[seeded.below(labels.len())].into(),
            vars: vars(&[("due", "not a day"), ("position", "-1"), ("unit", "?"), ("Bad Name", "x")]),
        },
        _ => Input::QueuePosition { position: u32::MAX, estimate_s: seeded.below(100_000) as u32 },
    }
}

/// Reads everything and counts it.
fn drain(machine: &mut Machine) -> usize {
    let mut count = 0;
    while let Some(output) = machine.poll_output() {
        if let Output::Play { prompts, .. } = &output {
            assert!(!prompts.is_empty() && prompts.len() <= limits::SPEECH_ITEMS_MAX);
        }
        assert!(!matches!(&output, Output::HangUp { reason } if reason == "flow_loop" || reason == "no_handler"));
        count += 1;
    }
    count
}

fn one_call(flow: &Arc<Flow>, seed: u64) {
    let name = flow.name();
    let mut seeded = Seeded::new(seed);
    let flow = flow.clone();
    let mut machine = Machine::new(flow, vars(&[("caller_number", "0519-12345/6")]));
    let mut now: Instant = epoch();
    machine.handle_input(now, Input::Start);
    for _ in 0..seeded.below(300) {
        now += Duration::from_millis(seeded.below(20_000) as u64);
        if let Some(due) = machine.poll_timeout().filter(|due| *due <= now) {
            machine.handle_timeout(due);
            assert!(machine.poll_timeout().is_none_or(|next| next >= due));
        }
        machine.handle_input(now, random_input(&mut seeded));
        assert!(drain(&mut machine) < 200, "{name} {seed}");
    }
    machine.handle_input(now, Input::HungUp);
    drain(&mut machine);
    assert!(machine.is_done(), "{name} {seed}");
    assert_eq!(machine.poll_timeout(), None);
    machine.handle_input(now, random_input(&mut seeded));
    machine.handle_timeout(now + Duration::from_secs(3600));
    assert_eq!(machine.poll_output(), None, "{name} {seed}: a machine that is done is silent");
}

#[test]
fn random_inputs_never_panic_and_hanging_up_always_ends() {
    for name in Flow::builtin_names() {
        let flow = builtin(name);
        for seed in 0..2_000 {
            one_call(&flow, seed);
        }
    }
}

/// A host that reports the end of every speech, and a caller who presses random keys.
fn without_hanging_up(flow: &Arc<Flow>, seed: u64) -> bool {
    let mut seeded = Seeded::new(seed);
    let flow = flow.clone();
    let mut machine = Machine::new(flow, vars(&[("query_code", "12345678")]));
    let mut now = epoch();
    machine.handle_input(now, Input::Start);
    for _ in 0..200 {
        drain(&mut machine);
        if machine.is_done() {
            return true;
        }
        match seeded.below(3) {
            0 => machine.handle_input(now, Input::Digit(char::from(KEYS[seeded.below(KEYS.len())]))),
            1 => machine.handle_input(now, Input::PlayDone),
            _ => {
                if let Some(due) = machine.poll_timeout() {
                    now = due;
                    machine.handle_timeout(now);
                }
            }
        }
    }
    false
}

#[test]
fn survey_and_callback_end_by_themselves_whatever_is_pressed() {
    for name in ["survey", "callback"] {
        let flow = builtin(name);
        for seed in 0..2_000 {
            assert!(without_hanging_up(&flow, seed), "{name} {seed}");
        }
    }
}

#[test]
fn an_operator_is_reached_from_every_moment() {
    let flow = builtin("hotline");
    for seed in 0..2_000 {
        let mut seeded = Seeded::new(seed);
        let mut machine = Machine::new(flow.clone(), vars(&[]));
        let mut now = epoch();
        machine.handle_input(now, Input::Start);
        for _ in 0..seeded.below(30) {
            now += Duration::from_millis(seeded.below(9_000) as u64);
            machine.handle_timeout(now);
            let input = random_input(&mut seeded);
            if !matches!(input, Input::OperatorFree | Input::TalkEnded) {
                machine.handle_input(now, input);
            }
        }
        drain(&mut machine);
        if machine.is_done() {
            continue;
        }
        machine.handle_input(now, Input::OperatorFree);
        drain(&mut machine);
        assert_eq!(machine.node(), "talk", "{seed}");
        assert_eq!(machine.poll_timeout(), None, "no timer may disturb a talk");
        machine.handle_input(now, Input::TalkEnded);
        let last = std::iter::from_fn(|| machine.poll_output()).last();
        assert_eq!(last, Some(Output::NextFlow { flow: "survey".into() }), "{seed}");
    }
}
