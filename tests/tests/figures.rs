//! The figures by API are those of the calls that really were, over SIP.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::sip::{Citizen, CitizenConfig};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_and_an_answered_call_are_two_offered_and_one_each() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let gave_up = citizen.call_answered("12319", 5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let waits = |state: &serde_json::Value| (state["stage"] == "queue").then_some(());
    desk.api.wait_for(&format!("/api/v1/calls/{id}/state"), 20_000, waits).await.unwrap();
    gave_up.hang_up().await.unwrap();
    desk.ended(&id).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    call.hang_up().await.unwrap();
    let row = desk.ended(&call_of(&desk, 2).await).await;

    let span =
        format!("from={}&to={}", row["ring_at"].as_i64().unwrap() - 3_600_000, row["end_at"].as_i64().unwrap() + 1);
    let all = desk.api.get(&format!("/api/v1/metrics/calls?{span}")).await.unwrap();
    let figures = &all["groups"][""];
    let parts = |name: &str| (figures[name]["numerator"].as_i64(), figures[name]["denominator"].as_i64());
    assert_eq!(parts("answer_rate_all"), (Some(1), Some(2)), "{all}");
    assert_eq!(parts("abandoned"), (Some(1), Some(2)), "{all}");
    assert_eq!(parts("in_time"), (Some(1), Some(1)), "{all}");
    assert_eq!(parts("cut_by_operator"), (Some(0), Some(1)), "{all}");
    let talk_ms = row["talk_ms"].as_i64().unwrap();
    let aht = figures["aht_ms"]["numerator"].as_i64().unwrap();
    assert!((aht - talk_ms).abs() <= 1_000, "by the events {aht} ms, by the row {talk_ms} ms");
    for (by, key) in [("number", json!("12319")), ("queue", json!("main")), ("operator", row["operator"].clone())] {
        let grouped = desk.api.get(&format!("/api/v1/metrics/calls?{span}&by={by}")).await.unwrap();
        assert!(grouped["groups"][key.as_str().unwrap()].is_object(), "{by}: {grouped}");
    }
    let now = row["ring_at"].as_i64().unwrap();
    let plan = json!({"name": "早班", "starts_at": now - 3_000_000, "ends_at": now + 3_600_000, "members": []});
    let shift = desk.api.post("/api/v1/shifts", &plan).await.unwrap();
    let grouped = desk.api.get(&format!("/api/v1/metrics/calls?{span}&by=shift")).await.unwrap();
    let of_shift = &grouped["groups"][shift["id"].as_str().unwrap()]["answer_rate_all"];
    assert_eq!((&of_shift["numerator"], &of_shift["denominator"]), (&json!(1), &json!(2)), "{grouped}");
    let care = desk.api.get(&format!("/api/v1/metrics/care?{span}")).await.unwrap();
    // The citizen called again and was served: nothing is owed any more.
    assert_eq!(care["called_back"]["denominator"], 0, "{care}");
    assert!(desk.api.get("/api/v1/metrics/calls?from=5&to=5").await.unwrap_err().to_string().contains("400"));
    let operator = desk.gateway.sign_in(&hotline_tests::gateway::NewUser::operator("1002")).await.unwrap();
    let refused = operator.get(&format!("/api/v1/metrics/calls?{span}")).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
}
