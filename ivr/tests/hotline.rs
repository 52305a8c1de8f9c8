//! The human-first flow, from the citizen's side.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use support::run_builtin;

#[test]
fn a_free_operator_cuts_the_notice() {
    let machine = run_builtin(
        "hotline",
        &[],
        "
        0    start      => enter main normal; play greeting
        1200 operator   => stop
        90000 timers    =>
        95000 keys 17   =>
        99000 talk_ended => flow survey
        99100 hung_up   =>
    ",
    );
    assert!(machine.is_done());
}

#[test]
fn who_waits_hears_music_and_after_15_s_the_position_and_the_keys() {
    run_builtin(
        "hotline",
        &[("queue", "night")],
        "
        0     start  => enter night normal; play greeting
        5500  played => loop hold_music
        14999 timers =>
        15000 timers => stop; do announce_position
        15050 done announce_position ok position=3 estimate_min=2 => play queue_position n3 queue_position_end
        17000 played => play queue_estimate n2 minutes
        18500 played => play waiting_keys
        30000 played => loop hold_music
        89999 timers =>
        90000 timers => stop; do announce_position
    ",
    );
}

#[test]
fn an_unknown_position_is_not_announced() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        15000 timers => stop; do announce_position
        15010 done announce_position ok => play waiting_keys
    ",
    );
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        17000 timers => stop; do announce_position; error action_timed_out; play waiting_keys
    ",
    );
}

#[test]
fn key_7_takes_the_red_lane_at_once_even_unannounced() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        800   keys 7 => stop; lane red; play emergency_notice
        1000  keys 7 =>
        9000  played => loop hold_music
        20000 keys 7 =>
        39000 timers => stop; play emergency_notice
        41000 operator => stop
    ",
    );
}

#[test]
fn key_7_also_ends_a_message() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 2 => stop; play message_prompt beep
        9000  played => record voice_message 180000
        12000 keys 47 => stop_record; lane red; play emergency_notice
        12020 recorded 3000 =>
    ",
    );
}

#[test]
fn a_callback_to_the_own_number_needs_two_keys() {
    let machine = run_builtin(
        "hotline",
        &[("caller_number", "13912345678")],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 1 => stop; play callback_your_number #13912345678 callback_confirm_keys
        8000  keys 1 => stop; loop hold_music; do callback_request number=13912345678
        8100  done callback_request ok => stop; leave callback_requested; play callback_done
        12000 played => hangup callback_requested
    ",
    );
    assert!(machine.is_done());
}

#[test]
fn another_number_is_read_back_before_it_is_noted() {
    run_builtin(
        "hotline",
        &[("caller_number", "13912345678")],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 1 => stop; play callback_your_number #13912345678 callback_confirm_keys
        8000  keys 2 => stop; play callback_enter_number
        9000  keys 0519 => stop
        9500  keys 8*05191234567# => play callback_entered #05191234567 callback_check_keys
        12000 keys 1 => stop; loop hold_music; do callback_request number=05191234567
        12100 done callback_request exists => stop; leave callback_exists; play callback_exists
        15000 played => hangup callback_exists
    ",
    );
}

#[test]
fn a_withheld_number_is_asked_for_and_a_failure_returns_to_the_queue() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 1 => stop; play callback_enter_number
        7000  keys 12319# => stop; play callback_entered #12319 callback_check_keys
        9000  keys 1 => stop; loop hold_music; do callback_request number=12319
        17000 timers => error action_timed_out; stop; play callback_failed
        20000 played => loop hold_music
        21000 operator => stop
    ",
    );
}

#[test]
fn a_message_is_recorded_and_counts_as_leaving_the_queue() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 2 => stop; play message_prompt beep
        12000 played => record voice_message 180000
        30000 keys # => stop_record
        30040 recorded 18000 => leave message_left; play message_done
        34000 played => hangup message_left
    ",
    );
}

#[test]
fn an_empty_message_keeps_the_place_in_the_queue() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 2 => stop; play message_prompt beep
        12000 played => record voice_message 180000
        12500 keys # => stop_record
        12540 recorded 500 => play message_empty
        16000 played => loop hold_music
    ",
    );
}

#[test]
fn a_message_of_unreported_length_is_not_lost() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 2 => stop; play message_prompt beep
        12000 played => record voice_message 180000
        194000 timers => error recording_end_not_reported; stop_record; leave message_left; play message_done
    ",
    );
}

#[test]
fn an_operator_ends_a_message_because_people_come_first() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 2 => stop; play message_prompt beep
        12000 played => record voice_message 180000
        14000 operator => stop_record
        14020 recorded 2000 =>
    ",
    );
}

#[test]
fn hanging_up_during_a_message_keeps_what_was_said() {
    let machine = run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 2 => stop; play message_prompt beep
        12000 played => record voice_message 180000
        20000 hung_up => stop_record
        20010 recorded 8000 =>
    ",
    );
    assert!(machine.is_done());
}

#[test]
fn progress_by_code_says_state_unit_and_day() {
    run_builtin("hotline", &[], "
        0     start  => enter main normal; play greeting
        900   keys 4 => stop; play progress_enter_code
        3000  keys 12345678 => stop; do progress_by_code code=12345678
        3100  done progress_by_code found state_prompt=state_in_progress unit=unit_sanitation due=2026-12-01 => play progress_state state_in_progress
        5000  played => play progress_unit unit_sanitation
        7000  played => play progress_due n12 month n1 day progress_due_end
        9000  played => play keep_waiting
        11000 played => loop hold_music
    ");
}

#[test]
fn an_unknown_unit_is_left_out_instead_of_half_a_sentence() {
    run_builtin("hotline", &[], "
        0     start  => enter main normal; play greeting
        900   keys 4 => stop; play progress_enter_code
        3000  keys 12345678 => stop; do progress_by_code code=12345678
        3100  done progress_by_code found state_prompt=state_closed unit=环卫处 => error prompt_not_listed; play progress_state state_closed
        5000  played => play keep_waiting
    ");
}

#[test]
fn hash_alone_asks_for_the_last_four_digits() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        900   keys 4 => stop; play progress_enter_code
        3000  keys # => stop; play progress_enter_last4
        5000  keys 56 => stop
        6000  keys 78 => do progress_by_caller last4=5678
        6100  done progress_by_caller none => play progress_none
        9000  played => loop hold_music
    ",
    );
}

#[test]
fn a_code_that_is_too_short_is_asked_for_again_and_silence_leads_back() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        900   keys 4 => stop; play progress_enter_code
        3000  keys 123 => stop
        7000  timers => play invalid_key progress_enter_code
        14000 played =>
        20000 timers => play progress_enter_code
        27000 played =>
        33000 timers => play keep_waiting
    ",
    );
}

#[test]
fn key_8_speaks_english_and_tells_the_host() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        900   keys 8 => stop; mark language_en; enter main normal English; play english_notice
        2000  keys 8 =>
        14000 played => loop hold_music
    ",
    );
}

#[test]
fn key_8_after_key_7_keeps_the_red_lane() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        900   keys 7 => stop; lane red; play emergency_notice
        9000  played => loop hold_music
        9500  keys 8 => stop; mark language_en; enter main red English; play english_notice
    ",
    );
}

#[test]
fn where_nobody_works_the_citizen_is_called_back_or_leaves_a_message() {
    run_builtin(
        "hotline",
        &[("caller_number", "13812345678")],
        "
        0     start  => enter main normal; play greeting
        0     closed => stop; mark queue_closed; play closed_notice away_keys
        4000  keys 1 => stop; loop hold_music; do callback_request number=13812345678
        4500  done callback_request ok => stop; leave callback_requested; play callback_done
        9000  played => hangup callback_requested
    ",
    );
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        0     closed => stop; mark queue_closed; play closed_notice away_keys
        4000  keys 2 => stop; play message_prompt beep
        8000  played => record voice_message 180000
        15000 keys # => stop_record
        15100 recorded 7000 => leave message_left; play message_done
        17000 played => hangup message_left
    ",
    );
}

#[test]
fn danger_is_taken_at_any_hour() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        0     closed => stop; mark queue_closed; play closed_notice away_keys
        2000  keys 7 => stop; enter main red; play emergency_notice
        9000  operator => stop
    ",
    );
}

#[test]
fn who_waited_too_long_and_says_nothing_is_called_back() {
    run_builtin(
        "hotline",
        &[("caller_number", "13812345678")],
        "
        0      start  => enter main normal; play greeting
        5500   played => loop hold_music
        14000  too_long => stop; mark waited_too_long; play busy_notice away_keys
        20000  played =>
        26000  timers => play busy_notice away_keys
        32000  played =>
        38000  timers => loop hold_music; do callback_request number=13812345678
        38500  done callback_request exists => stop; leave callback_exists; play callback_exists
        43000  played => hangup callback_exists
    ",
    );
}

#[test]
fn key_3_texts_a_link_and_the_caller_keeps_the_place() {
    run_builtin(
        "hotline",
        &[("links", "yes")],
        "
        0     start  => enter main normal; play greeting
        5500  played => loop hold_music
        6000  keys 3 => stop; loop hold_music; do text_link
        6500  done text_link ok => stop; play link_sent
        9000  played => loop hold_music
        9500  keys 3 => stop; loop hold_music; do text_link
        9900  done text_link error => stop; play link_failed
    ",
    );
}

#[test]
fn keys_without_meaning_do_not_disturb_who_waits() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        1000  keys 569*#ABCDx =>
        5500  played => loop hold_music
        6000  keys 569*# =>
    ",
    );
}

#[test]
fn late_reports_change_nothing() {
    run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        100   start  =>
        1000  done callback_request ok =>
        1100  recorded 5 =>
        1200  talk_ended =>
        5500  played => loop hold_music
        5600  played =>
        15000 timers => stop; do announce_position
        15001 done progress_by_code none =>
        15002 operator =>
        15003 done announce_position ok =>
        15004 operator =>
    ",
    );
}

#[test]
fn news_from_the_queue_are_remembered() {
    let machine = run_builtin(
        "hotline",
        &[],
        "
        0     start  => enter main normal; play greeting
        100   position 4 121 =>
    ",
    );
    assert_eq!(machine.var("position"), Some("4"));
    assert_eq!(machine.var("estimate_min"), Some("3"));
}

#[test]
fn a_speech_whose_end_nobody_reports_does_not_strand_the_caller() {
    run_builtin(
        "hotline",
        &[],
        "
        0      start  => enter main normal; play greeting
        120000 timers => error speech_end_not_reported; stop; loop hold_music; stop; do announce_position
    ",
    );
}
