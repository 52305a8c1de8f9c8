//! Who hung up (domain rule 2.3), over real SIP: whatever ends a call, its row names the right side.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::rows::rows;
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Phone};
use serde_json::Value;

/// Operator 1001 talks with a citizen.
struct Talk {
    desk: Desk,
    citizen: Call,
    operator: Call,
    id: String,
    _phone: Phone,
}

impl Talk {
    async fn open(config: GatewayConfig) -> Self {
        let desk = Desk::open(config).await;
        let phone = desk.phone().await;
        desk.ready().await;
        let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
        let citizen = caller.call_answered("12319", 5_000).await.unwrap();
        citizen.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
        let operator = phone.next_call(5_000).await.unwrap();
        let id = call_of(&desk, 1).await;
        Self { desk, citizen, operator, id, _phone: phone }
    }

    /// Side and reason of the ended call, and whether we owe a callback for it.
    async fn ended(&self) -> (String, String, bool) {
        let row = self.desk.ended(&self.id).await;
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let tasks = self.desk.api.get("/api/v1/callbacks").await.unwrap();
        let owed = tasks.as_array().unwrap().iter().any(|t| t["call"] == row["id"] && t["kind"] == "漏接回拨");
        (text("end_side"), text("end_reason"), owed)
    }

    /// Who ended the talk, by the call's events.
    async fn talk_ended_by(&self) -> Vec<Value> {
        let events = self.desk.api.get(&format!("/api/v1/calls/{}/events", self.id)).await.unwrap();
        let ends = events.as_array().unwrap().iter().filter(|e| e["kind"] == "talk_end");
        ends.map(|e| e["data"]["by"].clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_of_the_citizen_is_the_citizens() {
    let talk = Talk::open(GatewayConfig::default()).await;
    talk.citizen.hang_up().await.unwrap();
    talk.operator.wait_ended(10_000).await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("citizen", false), "{reason}");
    assert_eq!(talk.talk_ended_by().await, ["citizen"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_end_is_the_operators_even_when_the_citizen_hangs_up_in_the_survey() {
    let talk = Talk::open(GatewayConfig::default()).await;
    let state = talk.desk.api.end_call(&talk.id, None).await.unwrap();
    assert_eq!((state["stage"].as_str(), state["operator"].is_null()), (Some("after_talk"), true), "{state}");
    let again = talk.desk.api.end_call(&talk.id, None).await.unwrap();
    assert_eq!(again["stage"], "after_talk", "ended twice is ended once: {again}");
    talk.operator.wait_ended(10_000).await.unwrap();
    talk.citizen.hang_up().await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("operator", false), "{reason}");
    assert!(reason.starts_with("operator_end; line: citizen"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_of_the_operators_phone_is_the_operators_and_leaves_the_citizen_the_survey() {
    let talk = Talk::open(GatewayConfig::default()).await;
    talk.operator.hang_up().await.unwrap();
    let path = format!("/api/v1/calls/{}/state", talk.id);
    let stage = |state: &Value| (state["stage"] == "after_talk").then_some(());
    talk.desk.api.wait_for(&path, 20_000, stage).await.unwrap();
    talk.citizen.hang_up().await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("operator", false), "{reason}");
    assert!(reason.starts_with("operator_bye; line: citizen"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_hang_up_of_the_operator_needs_a_reason_and_says_it() {
    let talk = Talk::open(GatewayConfig::default()).await;
    for reason in ["", "busy", "silence"] {
        let refused = talk.desk.api.end_call(&talk.id, Some(reason)).await.unwrap_err().to_string();
        assert!(refused.contains("422"), "{reason}: {refused}");
    }
    talk.desk.api.end_call(&talk.id, Some("citizen_request")).await.unwrap();
    talk.citizen.wait_ended(10_000).await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("operator", false), "{reason}");
    assert!(reason.contains("operator_hang_up") && reason.contains("citizen_request"), "{reason}");
    let audited = rows(&talk.desk.gateway, "SELECT at, reason FROM audit WHERE action = 'hang_up'");
    assert_eq!(audited.len(), 1, "what was refused is no hang-up: {audited:?}");
    assert_eq!(audited[0]["reason"], "citizen_request");
    let ended = rows(&talk.desk.gateway, "SELECT at FROM call_event WHERE kind = 'talk_end'");
    assert!(
        audited[0]["at"].as_i64().unwrap() <= ended[0]["at"].as_i64().unwrap(),
        "audited first: {audited:?} {ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_fails_is_the_networks_and_the_citizen_is_called_back() {
    let talk = Talk::open(GatewayConfig::default()).await;
    talk.citizen.hang_up_because("Q.850;cause=41;text=\"Temporary failure\"").await.unwrap();
    talk.operator.wait_ended(10_000).await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("network", true), "{reason}");
    assert_eq!(talk.talk_ended_by().await, ["network"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_dies_without_a_word_is_the_networks_and_the_citizen_is_called_back() {
    let config = GatewayConfig::default().with("media.rtp_silence_ms", 1_000).with("media.rtp_dead_ms", 3_000);
    let talk = Talk::open(config).await;
    talk.citizen.vanish();
    talk.operator.wait_ended(30_000).await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("network", true), "{reason}");
    assert!(reason.contains("no RTP"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_the_systems_and_the_citizen_is_called_back() {
    let mut talk = Talk::open(GatewayConfig::default()).await;
    assert!(talk.desk.gateway.sigterm(60_000).await.unwrap().success());
    talk.desk.gateway.boot().await.unwrap();
    talk.desk.api = talk.desk.gateway.sign_in(&talk.desk.user).await.unwrap();
    let (side, reason, owed) = talk.ended().await;
    assert_eq!((side.as_str(), owed), ("system", true), "{reason}");
    assert!(reason.contains("shutdown"), "{reason}");
}
