//! Rules of the machine that hold for every flow.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use std::{collections::BTreeMap, sync::Arc};

use hotline_ivr::{Flow, Input, Machine, Output, limits};
use support::{epoch, outputs, run_text, vars};

const END: &str = "[node.end]\nkind = \"hangup\"\nreason = \"done\"\n";

fn flow(nodes: &str) -> String {
    format!("name = \"x\"\nstart = \"a\"\n{nodes}\n{END}")
}

#[test]
fn a_loop_that_never_waits_ends_the_call_with_an_error() {
    let text = flow("[node.a]\nkind = \"set\"\nnext = \"b\"\n[node.b]\nkind = \"set\"\nnext = \"a\"");
    let machine = run_text(&text, &[], "0 start => error flow_loop; hangup flow_loop");
    assert!(machine.is_done());
    assert_eq!(machine.poll_timeout(), None);
}

#[test]
fn a_missing_way_ends_the_call_with_an_error() {
    run_text(
        &flow("[node.a]\nkind = \"say\"\nsay = [\"x\"]"),
        &[],
        "
        0   start  => play x
        100 played => error no_handler; hangup no_handler
        200 keys 1 =>
    ",
    );
}

#[test]
fn a_prompt_that_must_be_heard_keeps_keys_for_afterwards() {
    let text = flow(
        "[node.a]\nkind = \"menu\"\nsay = [\"x\"]\ninterruptible = false\nkeys = { \"1\" = \"end\" }\non_timeout = \"end\"",
    );
    run_text(
        &text,
        &[],
        "
        0   start  => play x
        100 keys 1 =>
        900 played => hangup done
    ",
    );
    let text = flow(
        "[node.a]\nkind = \"say\"\nsay = [\"x\"]\ninterruptible = false\nkeys = { \"1\" = \"end\" }\nnext = \"b\"\n[node.b]\nkind = \"talk\"\nnext = \"end\"",
    );
    run_text(
        &text,
        &[],
        "
        0   start  => play x
        100 keys 51 =>
        900 played => hangup done
    ",
    );
}

#[test]
fn digits_typed_early_are_collected_after_the_prompt() {
    let text = flow(
        "[node.a]\nkind = \"collect\"\nsay = [\"x\"]\ninterruptible = false\ninto = \"n\"\nmax_len = 4\nnext = \"end\"\non_timeout = \"end\"",
    );
    let machine = run_text(
        &text,
        &[],
        "
        0    start   => play x
        100  keys 12 =>
        900  played  =>
        1000 keys 3# => hangup done
    ",
    );
    assert_eq!(machine.var("n"), Some("123"));
}

#[test]
fn more_digits_than_remembered_are_dropped() {
    let text = flow(
        "[node.a]\nkind = \"collect\"\nsay = [\"x\"]\ninterruptible = false\ninto = \"n\"\nmax_len = 32\nnext = \"end\"\non_timeout = \"end\"",
    );
    let script = format!("0 start => play x\n100 keys {} =>\n900 played => hangup done", "7".repeat(500));
    let machine = run_text(&text, &[], &script);
    assert_eq!(machine.var("n").unwrap().len(), limits::TYPE_AHEAD_MAX);
}

#[test]
fn wrong_answers_have_their_own_way() {
    let text = flow(
        "[node.a]\nkind = \"menu\"\nsay = [\"x\"]\ninvalid = [\"no\"]\nrepeats = 1\nkeys = { \"1\" = \"end\" }\non_timeout = \"a\"\non_invalid = \"end\"",
    );
    run_text(
        &text,
        &[],
        "
        0   start  => play x
        10  keys 5 => stop; play no x
        500 played =>
        600 keys 6 => hangup done
    ",
    );
}

#[test]
fn branches_choose_by_value_by_presence_or_otherwise() {
    let text = flow(
        "[node.a]\nkind = \"branch\"\nvar = \"v\"\nvalues = { one = \"one\" }\nfilled = \"some\"\notherwise = \"none\"\n\
        [node.one]\nkind = \"hangup\"\nreason = \"one\"\n[node.some]\nkind = \"hangup\"\nreason = \"some\"\n[node.none]\nkind = \"hangup\"\nreason = \"none\"",
    );
    for (value, reason) in [("one", "one"), ("two", "some"), ("", "none")] {
        run_text(&text, &[("v", value)], &format!("0 start => hangup {reason}"));
    }
}

#[test]
fn results_without_own_way_take_the_other_and_late_answers_are_ignored() {
    let text = flow(
        "[node.a]\nkind = \"action\"\naction = \"look\"\nargs = { x = \"<${v}>\" }\nresults = { ok = \"b\" }\notherwise = \"end\"\ntimeout_ms = 1000\n[node.b]\nkind = \"talk\"",
    );
    run_text(
        &text,
        &[("v", "1")],
        "
        0  start => do look x=<1>
        10 done other ok =>
        20 done look strange => hangup done
    ",
    );
    run_text(
        &text,
        &[],
        "
        0    start  => do look x=<>
        1000 timers => error action_timed_out; hangup done
        1100 done look ok =>
    ",
    );
}

#[test]
fn an_operator_without_handler_is_never_cut_off() {
    let text = flow("[node.a]\nkind = \"wait\"\nsay = [\"x\"]");
    run_text(
        &text,
        &[],
        "
        0   start    => loop x
        100 operator => stop; error no_operator_free_handler
        500 keys 1   =>
        900 talk_ended => hangup talk_ended
    ",
    );
}

#[test]
fn hanging_up_before_the_start_ends_the_machine() {
    let flow = Flow::builtin("hotline").unwrap();
    let mut machine = Machine::new(Arc::new(flow), BTreeMap::new());
    assert_eq!(machine.node(), "");
    machine.handle_input(epoch(), Input::Digit('7'));
    assert!(!machine.is_done());
    machine.handle_input(epoch(), Input::HungUp);
    assert!(machine.is_done());
    machine.handle_input(epoch(), Input::Start);
    assert!(outputs(&mut machine).is_empty());
}

#[test]
fn outputs_nobody_reads_end_the_machine() {
    let text = flow("[keys]\n\"1\" = \"a\"\n[node.a]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"end\"");
    let mut machine = Machine::new(Arc::new(Flow::parse("x", &text).unwrap()), vars(&[]));
    let now = epoch();
    machine.handle_input(now, Input::Start);
    for _ in 0..100_000 {
        machine.handle_input(now, Input::Digit('1'));
    }
    assert!(machine.is_done());
    let all: Vec<Output> = std::iter::from_fn(|| machine.poll_output()).collect();
    assert!(all.len() < limits::OUTPUTS_MAX + 2 * limits::TRANSITIONS_PER_INPUT_MAX);
    assert_eq!(all.last(), Some(&Output::HangUp { reason: "outputs_unread".into() }));
}

#[test]
fn variables_are_bounded_in_number_and_length() {
    let text = flow(
        "[vars]\nn = \"\"\n[node.a]\nkind = \"action\"\naction = \"look\"\notherwise = \"b\"\n[node.b]\nkind = \"talk\"",
    );
    let mut machine = Machine::new(Arc::new(Flow::parse("x", &text).unwrap()), vars(&[]));
    machine.handle_input(epoch(), Input::Start);
    let many = (0..1000).map(|i| (format!("v{i:03}"), "井".repeat(1000))).collect();
    machine.handle_input(epoch(), Input::ActionDone { name: "look".into(), result: "ok".into(), vars: many });
    assert_eq!(machine.var("v000").unwrap().len(), 510);
    assert_eq!(machine.var("v126").map(str::len), Some(510));
    assert_eq!(machine.var("v127"), None);
}

#[test]
fn debugging_shows_no_personal_data() {
    let flow = Flow::builtin("hotline").unwrap();
    let mut machine = Machine::new(Arc::new(flow), vars(&[("caller_number", "13912345678")]));
    let now = epoch();
    for input in [Input::Start, Input::Digit('4'), Input::Digit('8'), Input::Digit('6')] {
        machine.handle_input(now, input);
    }
    let text = format!("{machine:?}");
    assert!(text.contains("progress") && !text.contains("139") && !text.contains("86"), "{text}");
    let events: String = std::iter::from_fn(|| machine.poll_output())
        .filter(|output| matches!(output, Output::Event { .. }))
        .map(|event| format!("{event:?}"))
        .collect();
    assert!(events.contains("KeyChosen") && !events.contains('8'), "{events}");
}
