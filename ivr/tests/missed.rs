//! The call back to somebody whom nobody answered.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use support::run_builtin;

#[test]
fn the_citizen_is_greeted_and_waits_with_priority() {
    run_builtin(
        "missed",
        &[("hotline_number", "12319")],
        "
        0     start  => enter main callback; play missed_hello #12319 missed_connecting
        6000  played => loop hold_music
        26000 timers => stop; play keep_waiting
        29000 played => loop hold_music
        30000 operator => stop
        60000 talk_ended => flow survey
    ",
    );
}

#[test]
fn an_operator_who_is_free_cuts_the_greeting() {
    run_builtin(
        "missed",
        &[],
        "
        0     start  => enter main callback; play missed_hello missed_connecting
        500   operator => stop
    ",
    );
}
