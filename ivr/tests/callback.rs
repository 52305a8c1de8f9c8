//! The callback after an item was finished.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use support::run_builtin;

const ITEM: &[(&str, &str)] = &[("query_code", "20261123"), ("accepted_on", "2026-11-08")];

#[test]
fn the_four_questions_come_in_order() {
    let machine = run_builtin(
        "callback",
        ITEM,
        "
        0     start  => play callback_greeting
        9000  played => play callback_item_on n11 month n8 day callback_item_on_end
        12000 played => play callback_item_code #20261123
        15000 played => play 200ms callback_item_finished
        19000 played => play callback_contacted
        20000 keys 1 => answer contacted=yes; stop; play callback_solved
        21000 keys 2 => answer solved=partly; stop; play callback_satisfied
        22000 keys 3 => answer satisfied=3; stop; play callback_may_close
        23000 keys 2 => answer may_close=no; stop; play callback_thanks
        25000 played => hangup survey_done
    ",
    );
    assert!(machine.is_done());
    assert_eq!(machine.var("solved"), Some("partly"));
}

#[test]
fn an_item_without_day_and_code_is_not_described() {
    run_builtin(
        "callback",
        &[],
        "
        0     start  => play callback_greeting
        9000  played => play 200ms callback_item_finished
    ",
    );
}

#[test]
fn key_9_postpones_at_any_time() {
    for at in ["0 start", "0 start\n 9000 played\n 13000 played"] {
        let flow = hotline_ivr::Flow::builtin("callback").unwrap();
        let mut machine = hotline_ivr::Machine::new(std::sync::Arc::new(flow), support::vars(&[]));
        let now = support::epoch();
        for line in at.lines() {
            let input = if line.contains("start") { hotline_ivr::Input::Start } else { hotline_ivr::Input::PlayDone };
            machine.handle_input(now, input);
        }
        support::outputs(&mut machine);
        machine.handle_input(now, hotline_ivr::Input::Digit('9'));
        assert_eq!(support::outputs(&mut machine), ["stop", "play callback_later"]);
        machine.handle_input(now, hotline_ivr::Input::Digit('9'));
        machine.handle_input(now, hotline_ivr::Input::PlayDone);
        assert_eq!(support::outputs(&mut machine), ["hangup call_later"]);
    }
}

#[test]
fn a_question_is_repeated_twice_and_then_the_call_ends_without_result() {
    run_builtin(
        "callback",
        &[],
        "
        0     start  => play callback_greeting
        9000  played => play 200ms callback_item_finished
        13000 played => play callback_contacted
        17000 played =>
        23000 timers => play callback_contacted
        27000 played =>
        33000 timers => play callback_contacted
        37000 played =>
        43000 timers => play callback_no_input
        46000 played => hangup no_input
    ",
    );
}

#[test]
fn answers_given_before_the_silence_stay() {
    run_builtin(
        "callback",
        &[],
        "
        0     start  => play callback_greeting
        9000  played => play 200ms callback_item_finished
        13000 played => play callback_contacted
        14000 keys 2 => answer contacted=no; stop; play callback_solved
        15000 hung_up =>
    ",
    );
}
