//! The rating after the talk.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use support::run_builtin;

#[test]
fn one_key_is_enough() {
    for (key, value) in [("1", "1"), ("2", "2")] {
        let machine = run_builtin(
            "survey",
            &[],
            &format!(
                "
            0    start      => play survey_question
            3000 keys {key} => answer satisfied={value}; stop; play survey_thanks
            5000 played     => hangup survey_done
        "
            ),
        );
        assert!(machine.is_done());
    }
}

#[test]
fn dissatisfied_citizens_may_say_why_for_30_s() {
    run_builtin(
        "survey",
        &[],
        "
        0     start  => play survey_question
        9000  played =>
        9500  keys 3 => answer satisfied=3; play survey_reason beep
        14000 played => record dissatisfaction_reason 30000
        44000 recorded 30000 => play survey_thanks
        46000 played => hangup survey_done
    ",
    );
}

#[test]
fn hash_ends_the_reason() {
    run_builtin(
        "survey",
        &[],
        "
        0     start  => play survey_question
        9000  keys 3 => answer satisfied=3; stop; play survey_reason beep
        14000 played => record dissatisfaction_reason 30000
        20000 keys 1# => stop_record
        20020 recorded 6000 => play survey_thanks
    ",
    );
}

#[test]
fn silence_and_wrong_keys_end_without_an_answer() {
    run_builtin(
        "survey",
        &[],
        "
        0     start  => play survey_question
        9000  played =>
        15000 timers => play survey_question
        24000 played =>
        30000 timers => play goodbye
        32000 played => hangup no_input
    ",
    );
    run_builtin(
        "survey",
        &[],
        "
        0     start  => play survey_question
        2000  keys 5 => stop; play invalid_key survey_question
        4000  keys 0 => stop; play goodbye
        6000  played => hangup no_input
    ",
    );
}

#[test]
fn hanging_up_is_fine() {
    let machine = run_builtin(
        "survey",
        &[],
        "
        0     start   => play survey_question
        1000  hung_up =>
        2000  keys 1  =>
    ",
    );
    assert!(machine.is_done());
}
