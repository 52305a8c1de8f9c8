//! An operator's desk when something around it fails, or is taken already: the database, a phone's line, a colleague.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::heard::hears;
use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::api::{Api, status};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::Postgres;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig};
use hotline_tests::until;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;

async fn kinds(desk: &Desk, call: &str) -> Vec<String> {
    let events = desk.api.get(&format!("/api/v1/calls/{call}/events")).await.unwrap();
    events.as_array().unwrap().iter().filter_map(|event| Some(event["kind"].as_str()?.to_owned())).collect()
}

/// A citizen of their own for each number.
async fn caller(desk: &Desk, number: &str) -> (Citizen, Call) {
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), number)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    (citizen, call)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_talk_is_held_and_the_ambulance_called_while_the_database_is_away() {
    let mut postgres = Postgres::start().await.unwrap();
    let database_url = postgres.create_database("desk").unwrap();
    let config = GatewayConfig { database_url, ..GatewayConfig::default() }.with("dialout.emergency", vec!["120"]);
    let town = Town::open(config).await;
    let desk = &town.desk;
    let phone = desk.phone().await;
    desk.ready().await;
    let call = town.citizen.call_answered("12319", 20_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    let id = call_of(desk, 1).await;
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    let stranger = Api::new(format!("http://{}", desk.gateway.http()));
    postgres.kill9();
    let held = desk.api.post(&path("hold"), &json!({"on": true})).await.unwrap();
    assert_eq!(held["held"], true, "{held}");
    let back = desk.api.post(&path("hold"), &json!({"on": false})).await.unwrap();
    assert_eq!(back["held"], false, "{back}");
    let next = desk.api.set_state("break").await.unwrap();
    assert_eq!((next["state"].as_str(), next["next"].as_str()), (Some("talking"), Some("break")), "{next}");
    let (where_to, body) = (path("emergency"), json!({"number": "120", "place": "人民路88号"}));
    let picked_up = async {
        let service = town.citizen.next_call(20_000).await.unwrap();
        service.accept().unwrap();
        service
    };
    let (asked, service) = tokio::join!(desk.api.post(&where_to, &body), picked_up);
    let asked = asked.unwrap();
    assert_eq!(asked["context"]["place"], "人民路88号", "{asked}");
    assert!(!asked["context"]["number"].as_str().unwrap().contains(NUMBER), "what can't be audited is not shown");
    hears(&service, OPERATOR_HZ).await;
    assert_eq!(status(stranger.get(&path("state")).await), 401, "nobody signs in by what was remembered");
    postgres.restart().await.unwrap();
    service.hang_up().await.unwrap();
    call.hang_up().await.unwrap();
    operator.wait_ended(20_000).await.unwrap();
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_ended_is_over() {
    let desk = Desk::open(GatewayConfig::default()).await;
    desk.api.get("/api/v1/session").await.unwrap();
    desk.api.send(reqwest::Method::DELETE, "/api/v1/session", None, &[]).await.unwrap();
    assert_eq!(status(desk.api.get("/api/v1/session").await), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_rung_for_a_second_citizen() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let (_first, call) = caller(&desk, NUMBER).await;
    let operator = phone.next_call(20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let (second_phone, second) = desk.second_operator().await;
    second.set_state("ready").await.unwrap();
    let (_other, other) = caller(&desk, "13912340000").await;
    let taken = second_phone.next_call(20_000).await.unwrap();
    taken.wait_answered(20_000).await.unwrap();
    let other_id = call_of(&desk, 2).await;
    let busy = |state: &Value| (state["operator"]["talking"] == true).then_some(());
    second.wait_for(&format!("/api/v1/calls/{other_id}/state"), 20_000, busy).await.unwrap();
    for what in ["transfer", "consult", "guests"] {
        let answer = desk.api.post(&format!("/api/v1/calls/{id}/{what}"), &json!({"phone": "1002"})).await;
        assert_eq!(status(answer), 409, "{what}");
    }
    let refused = operator.refer(&format!("sip:1002@{}", desk.gateway.sip())).await.unwrap();
    assert_eq!(refused, 486);
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    other.hang_up().await.unwrap();
    desk.ended(&other_id).await;
    let free = desk.api.post(&format!("/api/v1/calls/{id}/guests"), &json!({"phone": "1002"})).await.unwrap();
    assert_eq!(free["guests"].as_array().unwrap().len(), 1, "{free}");
    second_phone.next_call(20_000).await.unwrap();
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_ends_a_talk_with_the_ambulance_leaves_citizen_and_ambulance_together() {
    let town = Town::open(GatewayConfig::default().with("dialout.emergency", vec!["120"])).await;
    let phone = town.desk.phone().await;
    town.desk.ready().await;
    let call = town.citizen.call_answered("12319", 20_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    let id = town.newest_call().await;
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    town.desk.api.post(&path("emergency"), &json!({"number": "120"})).await.unwrap();
    let service = town.citizen.next_call(20_000).await.unwrap();
    service.rtp().play(Source::tone(1_500.0));
    service.accept().unwrap();
    until("the service's part in the talk", 20_000, || async {
        let state = town.desk.api.get(&path("state")).await.ok()?;
        (state["guests"][0]["talking"] == true).then_some(())
    })
    .await
    .unwrap();
    for (what, body) in [("end", json!({"reason": "citizen_request"})), ("transfer", json!({"queue": "main"}))] {
        assert_eq!(status(town.desk.api.post(&path(what), &body).await), 409, "{what}: 120 is hung up by nobody");
    }
    for _ in 0..2 {
        town.desk.api.post(&path("end"), &json!({})).await.unwrap();
    }
    operator.wait_ended(20_000).await.unwrap();
    call.rtp().wait_for_tone(1_500.0, 500, 20_000).await.unwrap();
    service.rtp().wait_for_tone(CITIZEN_HZ, 500, 20_000).await.unwrap();
    call.hang_up().await.unwrap();
    service.wait_ended(20_000).await.unwrap();
    town.desk.ended(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desk_phone_that_falls_silent_keeps_its_citizen_while_it_answers() {
    let config = GatewayConfig::default().with("media.rtp_silence_ms", 2_000).with("media.phone_dead_ms", 3_000);
    let desk = Desk::open(config).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let (_citizen, call) = caller(&desk, NUMBER).await;
    let operator = phone.next_call(20_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    operator.rtp().play(Source::Nothing);
    let invites = || phone.agent().received(|m| m.is_request() && m.method() == "INVITE").len();
    until("the question whether it is there", 20_000, || async { (invites() > 1).then_some(()) }).await.unwrap();
    // It answers, and speaks again later.
    operator.rtp().play(Source::tone(OPERATOR_HZ));
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(OPERATOR_HZ, 500, 20_000).await.unwrap();
    assert!(!kinds(&desk, &id).await.contains(&"operator_media_lost".to_owned()));
    // Gone without a word it is given up.
    operator.vanish();
    until("the loss", 30_000, || async {
        kinds(&desk, &id).await.contains(&"operator_media_lost".to_owned()).then_some(())
    })
    .await
    .unwrap();
    call.hang_up().await.unwrap();
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
}
