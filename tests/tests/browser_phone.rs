//! An operator at a browser: Chromium and JsSIP register over the console's port and talk with a citizen.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::sounds::{hears, hears_music, recorded};
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::BrowserPhone;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig};
use hotline_tests::until;
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN: u32 = 440;
const OPERATOR: u32 = 1_000;
const COLLEAGUE: u32 = 1_500;
const BEEP_HZ: f64 = 1_000.0;
const TONES: [u32; 2] = [CITIZEN, OPERATOR];

async fn registered(desk: &Desk) -> BrowserPhone {
    registered_as(desk, json!({})).await
}

async fn registered_as(desk: &Desk, how: Value) -> BrowserPhone {
    let token = desk.api.token().unwrap();
    let mut phone = BrowserPhone::open(desk.gateway.http(), token, f64::from(OPERATOR)).await.unwrap();
    phone.ask_with("start", how).await.unwrap();
    phone.wait("the registration", |state| state["registered"].as_u64() > Some(0)).await.unwrap();
    phone
}

/// A talk in which both hear each other.
async fn talking(desk: &Desk, phone: &mut BrowserPhone) -> Call {
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    call.rtp().wait_for_tone(f64::from(OPERATOR), 1_000, 40_000).await.unwrap();
    phone.wait_hears(f64::from(CITIZEN)).await.unwrap();
    call
}

async fn has_event(desk: &Desk, call: &str, kind: &str) -> Value {
    let path = format!("/api/v1/calls/{call}/events");
    until(kind, 60_000, || async {
        let events = desk.api.get(&path).await.ok()?;
        events.as_array()?.iter().find(|event| event["kind"] == kind).cloned()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_talks_is_held_without_a_word_and_goes_on_while_its_websocket_is_away() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let mut phone = registered(&desk).await;
    let call = talking(&desk, &mut phone).await;
    let id = call_of(&desk, 1).await;

    desk.api.post(&format!("/api/v1/calls/{id}/hold"), &json!({ "on": true })).await.unwrap();
    hears_music(call.rtp(), &TONES).await;
    desk.api.post(&format!("/api/v1/calls/{id}/hold"), &json!({ "on": false })).await.unwrap();
    hears(call.rtp(), OPERATOR).await;
    let state = phone.ask("state").await.unwrap();
    assert_eq!(
        (&state["offers"], &state["talking"], &state["errors"]),
        (&json!(1), &json!(true), &json!([])),
        "{state}"
    );

    phone.ask("cut").await.unwrap();
    phone.wait("the end of the WebSocket", |state| state["connected"] == false).await.unwrap();
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(f64::from(OPERATOR), 2_000, 20_000).await.unwrap();
    phone.wait_hears(f64::from(CITIZEN)).await.unwrap();
    phone.ask("mend").await.unwrap();
    phone.wait("the second registration", |state| state["registered"].as_u64() > Some(1)).await.unwrap();
    desk.api.end_call(&id, None).await.unwrap();
    let state = phone.wait("the end by the console", |state| state["talking"] == false).await.unwrap();
    assert_eq!(state["ended"], json!(["remote: Terminated"]), "{state}");
    call.hang_up().await.unwrap();

    let (_, wav) = recorded(&desk, &id).await;
    let [citizen_ms, operator_ms] = [wav.tone_ms(0, f64::from(CITIZEN)), wav.tone_ms(1, f64::from(OPERATOR))];
    assert!(citizen_ms > 2_000 && operator_ms > 2_000, "{citizen_ms} and {operator_ms} ms");
    assert_eq!(wav.tone_ms(0, f64::from(OPERATOR)) + wav.tone_ms(1, f64::from(CITIZEN)), 0, "no bleed");
}

/// The citizen of a talk whose browser is lost by `word` waits at the head of the queue for the next operator.
async fn goes_back_to_the_queue(word: &str, is_held: bool) {
    let config = GatewayConfig::default().with("media.rtp_silence_ms", 2_000).with("media.phone_dead_ms", 10_000);
    let desk = Desk::open(config).await;
    let mut phone = registered(&desk).await;
    let call = talking(&desk, &mut phone).await;
    let id = call_of(&desk, 1).await;
    let (other, api) = desk.second_operator().await;
    api.set_state("ready").await.unwrap();
    if is_held {
        desk.api.post(&format!("/api/v1/calls/{id}/hold"), &json!({ "on": true })).await.unwrap();
        hears_music(call.rtp(), &TONES).await;
    }
    phone.ask(word).await.unwrap();
    has_event(&desk, &id, "operator_media_lost").await;
    let second = other.next_call(40_000).await.unwrap();
    second.wait_answered(10_000).await.unwrap();
    second.rtp().wait_for_tone(f64::from(CITIZEN), 1_000, 20_000).await.unwrap();
    call.hang_up().await.unwrap();
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_goes_back_to_the_queue_when_the_tab_is_killed() {
    goes_back_to_the_queue("kill", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_citizen_goes_back_to_the_queue_when_the_tab_is_killed() {
    goes_back_to_the_queue("kill", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_goes_back_to_the_queue_when_the_page_closes_its_peer_connection() {
    goes_back_to_the_queue("close_pc", false).await;
}

/// The operator's own wish about their phone.
async fn set_phone(desk: &Desk, wish: &str) {
    let me = desk.api.get("/api/v1/session").await.unwrap()["user"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/users/{me}/phone");
    let set = desk.api.json(Method::PUT, &path, Some(&json!({ wish: true }))).await.unwrap();
    assert_eq!(set[wish], true, "{set}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_told_to_answer_by_itself_does_and_hears_a_tone_before_the_citizen() {
    let desk = Desk::open(GatewayConfig::default()).await;
    set_phone(&desk, "auto_answer").await;
    let mut phone = registered_as(&desk, json!({ "obeys": true })).await;
    let call = talking(&desk, &mut phone).await;
    let state = phone.ask("state").await.unwrap();
    let first = state["first_hz"].as_f64().unwrap();
    assert!((first - BEEP_HZ).abs() < 25.0, "{state}");
    call.hang_up().await.unwrap();
}

/// A home seat: Opus in the browser, A-law at the carrier and everywhere else, and a network that changes under the
/// talk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_talks_in_opus_and_goes_on_when_it_restarts_ice() {
    let desk = Desk::open(GatewayConfig::default()).await;
    set_phone(&desk, "home").await;
    let mut phone = registered(&desk).await;
    let call = talking(&desk, &mut phone).await;
    let heard = phone.ask("codec").await.unwrap();
    assert_eq!(heard["codec"], "audio/opus", "{heard}");
    phone.ask("restart_ice").await.unwrap();
    hears(call.rtp(), OPERATOR).await;
    phone.wait_hears(f64::from(CITIZEN)).await.unwrap();
    let before = phone.ask("codec").await.unwrap()["packets"].as_u64();
    hears(call.rtp(), OPERATOR).await;
    let after = phone.ask("codec").await.unwrap();
    assert!(after["packets"].as_u64() > before && after["codec"] == "audio/opus", "{before:?}, then {after}");
    let state = phone.ask("state").await.unwrap();
    assert_eq!((&state["talking"], &state["errors"]), (&json!(true), &json!([])), "{state}");
    call.hang_up().await.unwrap();
    phone.wait("the end by the citizen", |state| state["talking"] == false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_at_a_browser_takes_a_call_over_asks_a_colleague_and_hands_the_citizen_on() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let mut leader = registered(&desk).await;
    let (other, api) = desk.second_operator().await;
    api.set_state("ready").await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    let first = other.next_call(20_000).await.unwrap();
    first.rtp().wait_for_tone(f64::from(CITIZEN), 500, 20_000).await.unwrap();
    first.rtp().play(Source::tone(f64::from(COLLEAGUE)));
    let id = call_of(&desk, 1).await;
    desk.api.post(&format!("/api/v1/calls/{id}/take"), &json!({ "reason": "市民情绪激动" })).await.unwrap();
    first.wait_ended(40_000).await.unwrap();
    hears(call.rtp(), OPERATOR).await;
    leader.wait_hears(f64::from(CITIZEN)).await.unwrap();

    // By the phone's own second line, as any phone does: the citizen stays with music.
    desk.api.post(&format!("/api/v1/calls/{id}/hold"), &json!({ "on": true })).await.unwrap();
    leader.ask_with("call", json!({ "to": "1002" })).await.unwrap();
    let asked = other.next_call(20_000).await.unwrap();
    leader.wait("the colleague's answer", |state| state["reached"] == 1).await.unwrap();
    asked.rtp().play(Source::tone(f64::from(COLLEAGUE)));
    asked.rtp().wait_for_tone(f64::from(OPERATOR), 1_000, 20_000).await.unwrap();
    leader.wait_hears(f64::from(COLLEAGUE)).await.unwrap();
    leader.ask("hand_on").await.unwrap();
    hears(call.rtp(), COLLEAGUE).await;
    asked.rtp().clear_heard();
    asked.rtp().wait_for_tone(f64::from(CITIZEN), 1_000, 20_000).await.unwrap();
    leader.wait("the end of its part", |state| state["talking"] == false).await.unwrap();
    call.hang_up().await.unwrap();
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
}
