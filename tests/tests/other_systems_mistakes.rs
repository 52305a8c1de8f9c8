//! What users of other queues and desks report, each with the test that holds it off:
//!
//! | Mistake | Test |
//! |---|---|
//! | one caller answered by two operators | `gateway/acd/tests/assign.rs::nobody_is_doubled_and_nobody_is_offered_whom_they_may_not_have` |
//! | the other operators' phones dropped when one answers and hangs up | `tests/tests/other_systems_mistakes.rs::an_operator_who_answers_and_hangs_up_drops_nobody_elses_call` |
//! | one call counted twice under load | `gateway/src/measure/formula.rs::one_call_is_never_counted_twice` |
//! | a caller offered again to the operator who just declined | `tests/tests/other_systems_mistakes.rs::who_declined_isn_t_rung_again_for_the_same_caller` |
//! | two callbacks to one number before the first is answered | `db/tests/story/callbacks.rs::one_citizen_is_never_called_twice_at_a_time` |
//! | a callback that disappears | `db/tests/story/callbacks.rs::a_task_of_a_dead_gateway_comes_back_without_an_attempt` |
//! | successful calls shown as abandoned | `gateway/src/measure/facts.rs::successful_calls_are_never_shown_as_abandoned` |
//! | an operator hearing dead air until the announcement ends | `tests/tests/other_systems_mistakes.rs::an_operator_hears_the_citizen_at_once_whatever_was_being_announced` |
//! | operators stuck in "reserved" | `gateway/acd/tests/rules/states.rs::a_ring_nobody_reports_on_ends_by_itself` |
//! | stale callers in the queue | `tests/tests/other_systems_mistakes.rs::a_caller_who_has_gone_is_in_no_queue_and_rings_nobody` |
//! | a queue module that freezes | `gateway/acd/tests/sim/main.rs::a_thousand_days_of_faults_break_no_rule_of_the_queue` |
//! | missing recordings of queue calls | `tests/tests/talk.rs::sipp_and_a_desk_phone_hear_each_other_and_the_recording_holds_both_sides` |
//! | call events sent to every operator instead of the one concerned | `tests/tests/own_events.rs::call_events_reach_the_operator_concerned_and_leaders_but_no_colleague` |
//! | numbers with "/" or "+86" not matched to the person | `gateway/src/privacy/number.rs::a_person_has_one_number_however_the_carrier_writes_it` |
//! | a reporter with only a phone number refused | `tests/tests/talk.rs::the_operators_form_makes_one_item_that_reaches_the_ledger_once` |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::sip::{Behaviour, Call, Citizen, CitizenConfig};
use hotline_tests::{tone, until};
use serde_json::Value;

const OPERATOR_HZ: f64 = 1_000.0;

async fn calls(gateway: &Gateway, number: &str) -> (Citizen, Call) {
    let citizen = Citizen::start(CitizenConfig::new(gateway.sip(), number)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    (citizen, call)
}

/// Waits until the queue shows so many callers.
async fn waiting(desk: &Desk, n: u64) {
    let found = |queues: &Value| (queues[0]["waiting"] == n).then_some(());
    desk.api.wait_for("/api/v1/queues", 20_000, found).await.unwrap();
}

#[test]
fn every_line_of_the_table_names_a_test_that_exists() {
    let rows: Vec<&str> =
        include_str!("other_systems_mistakes.rs").lines().filter_map(|l| l.strip_prefix("//! | ")).collect();
    let tests: Vec<&str> = rows.iter().filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(tests.len(), 15, "one test for each mistake: {rows:#?}");
    for test in tests {
        let (path, name) = test.split_once("::").unwrap();
        let source = std::fs::read_to_string(hotline_tests::repo_root().join(path)).unwrap();
        let is_there = source.contains(&format!("fn {name}(")) || source.contains(&format!("story!({name},"));
        assert!(is_there, "{path} has no {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_answers_and_hangs_up_drops_nobody_elses_call() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let first = desk.phone().await;
    desk.ready().await;
    let (second, second_api) = desk.second_operator().await;
    second_api.set_state("ready").await.unwrap();
    let (_a, one) = calls(&desk.gateway, "13800000001").await;
    one.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let (_b, other) = calls(&desk.gateway, "13800000002").await;
    other.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let (mine, theirs) = (first.next_call(5_000).await.unwrap(), second.next_call(5_000).await.unwrap());
    mine.hang_up().await.unwrap();
    theirs.rtp().clear_heard();
    theirs.rtp().wait_for_tone(440.0, 1_000, 20_000).await.unwrap();
    let talks = desk.api.get("/api/v1/calls/live").await.unwrap();
    let talks = talks.as_array().unwrap().iter().filter(|call| call["stage"] == "talk").count();
    assert_eq!(talks, 1, "the other talk goes on");
    other.hang_up().await.unwrap();
    one.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_declined_isn_t_rung_again_for_the_same_caller() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let first = desk.phone().await;
    first.set_behaviour(Behaviour::Reject { after_ms: 50, code: 486 });
    let (second, second_api) = desk.second_operator().await;
    desk.ready().await;
    let (_line, call) = calls(&desk.gateway, NUMBER).await;
    first.next_call(20_000).await.unwrap();
    let away = |queues: &Value| {
        let seats = queues[0]["operators"].as_array()?;
        seats.iter().any(|seat| seat["state"] == "away").then_some(())
    };
    desk.api.wait_for("/api/v1/queues", 20_000, away).await.unwrap();
    // A colleague who can't be rung just now could take the caller: it isn't the decliner's again.
    second.set_behaviour(Behaviour::Ring);
    second_api.set_state("ready").await.unwrap();
    let ringing = second.next_call(20_000).await.unwrap();
    first.set_behaviour(Behaviour::Answer { after_ms: 0 });
    desk.ready().await;
    second.set_behaviour(Behaviour::Answer { after_ms: 0 });
    ringing.accept().unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    call.hang_up().await.unwrap();
    // Whole once the call has ended.
    desk.ended(&id).await;
    let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    let rung: Vec<&Value> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["kind"] == "operator_ring")
        .map(|e| &e["data"]["operator"])
        .collect();
    assert_eq!(rung.len(), 2, "each once: {events}");
    assert_ne!(rung[0], rung[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_hears_the_citizen_at_once_whatever_was_being_announced() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    let (_line, call) = calls(&desk.gateway, NUMBER).await;
    waiting(&desk, 1).await;
    // The citizen hears what is said or played to who waits; nothing of it lasts into the talk.
    until("music or words", 20_000, || async {
        (tone::sound_ms(&call.rtp().heard().last_ms(500), 8_000) > 200).then_some(())
    })
    .await
    .unwrap();
    desk.ready().await;
    let operator = phone.next_call(20_000).await.unwrap();
    operator.rtp().wait_for_tone(440.0, 300, 20_000).await.unwrap();
    call.rtp().clear_heard();
    until("the operator and nothing else", 20_000, || async {
        let heard = call.rtp().heard().last_ms(500);
        let pure = heard.chunks_exact(800).filter(|piece| tone::tone_share(piece, 8_000, OPERATOR_HZ) > 0.9).count();
        (pure >= 5).then_some(())
    })
    .await
    .unwrap();
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_has_gone_is_in_no_queue_and_rings_nobody() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    let (_a, gone) = calls(&desk.gateway, "13800000001").await;
    waiting(&desk, 1).await;
    let (_b, stays) = calls(&desk.gateway, "13800000002").await;
    waiting(&desk, 2).await;
    gone.hang_up().await.unwrap();
    waiting(&desk, 1).await;
    desk.ready().await;
    let operator = phone.next_call(20_000).await.unwrap();
    stays.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    assert_eq!(operator.invite().header("X-Hotline-Call"), Some(call_of(&desk, 2).await.as_str()));
    stays.hang_up().await.unwrap();
    desk.ended(&call_of(&desk, 2).await).await;
    waiting(&desk, 0).await;
    assert!(phone.next_call(300).await.is_err(), "nobody is left to ring for");
}
