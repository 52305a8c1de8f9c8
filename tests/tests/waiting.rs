//! The keys of a waiting citizen: 1 call me back, 2 message, 4 progress, 7 danger.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{NUMBER, Town, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::sip::Call;
use hotline_tests::until;
use serde_json::Value;

async fn waiting(town: &Town) -> (Call, String) {
    let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
    let id = town.newest_call().await;
    town.asked(&id, "waiting").await;
    (call, id)
}

async fn tasks(town: &Town, kind: &str) -> Vec<Value> {
    let all = town.desk.api.get("/api/v1/callbacks").await.unwrap();
    all.as_array().unwrap().iter().filter(|t| t["kind"] == kind).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_1_keeps_the_place_as_one_callback_and_no_missed_call() {
    let town = Town::open(GatewayConfig::default()).await;
    for expected in ["callback_done", "callback_exists_notice"] {
        let (call, id) = waiting(&town).await;
        call.send_digits("1").unwrap();
        town.asked(&id, "callback_confirm").await;
        call.send_digits("1").unwrap();
        town.asked(&id, expected).await;
        call.wait_ended(30_000).await.unwrap();
        assert!(town.desk.ended(&id).await["stage_abandoned"].is_null());
    }
    assert_eq!(tasks(&town, "排队回拨").await.len(), 1, "one open callback per number");
    assert!(tasks(&town, "漏接回拨").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_2_leaves_a_message_that_becomes_an_item_and_is_called_back() {
    let config = GatewayConfig::default()
        .with("intake.form_grace_s", 0)
        .with("transcription.fake_texts", vec!["人民路88号门前井盖缺失,请来看看,我的电话是13812345678"]);
    let town = Town::open(config).await;
    let (call, id) = waiting(&town).await;
    call.send_digits("2").unwrap();
    until("the message's recording", 30_000, || async {
        let row = town.desk.api.get(&format!("/api/v1/calls/{id}")).await.ok()?;
        (row["recordings"][0]["kind"] == "message").then_some(())
    })
    .await
    .unwrap();
    // Speech, as far as a voice detector is concerned: one of the gateway's own prompts.
    let speech = hotline_tests::wav::Wav::read(&hotline_tests::repo_root().join("sounds/zh-CN/greeting.wav")).unwrap();
    let samples = speech.channel(0).to_vec().into();
    call.rtp().play(hotline_tests::rtp::Source::Pcm { samples, repeat: true });
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    call.send_digits("#").unwrap();
    town.asked(&id, "message_done").await;
    call.wait_ended(30_000).await.unwrap();
    let row = town.desk.ended(&id).await;
    let length = row["recordings"][0]["duration_ms"].as_u64().unwrap();
    assert!((3_000..8_000).contains(&length), "{row:#}");
    assert_eq!(tasks(&town, "留言回拨").await.len(), 1);
    let item = until("the item made from the message", 60_000, || async {
        let items = town.desk.api.get("/api/v1/items").await.ok()?;
        items.as_array()?.first().cloned()
    })
    .await
    .unwrap();
    assert_eq!(item["source"], "call");
    assert!(item["title"].as_str().unwrap().contains("井盖"), "{item}");
    assert!(item["location_text"].as_str().unwrap().contains("人民路"), "{item}");
    assert!(!item.to_string().contains(NUMBER), "the number stays out of the text: {item}");
    town.desk.handed_off(item["id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_4_says_an_items_state_for_its_query_code_only() {
    let town = Town::open(GatewayConfig::default()).await;
    let item = town.reported().await;
    let code = town.story(&item).await["item"]["query_code"].as_str().unwrap().to_owned();
    let (call, id) = waiting(&town).await;
    call.send_digits("4").unwrap();
    town.asked(&id, "progress").await;
    call.send_digits("00000000").unwrap();
    town.asked(&id, "progress_none").await;
    town.asked(&id, "waiting_on").await;
    call.send_digits("4").unwrap();
    call.send_digits(&code).unwrap();
    town.asked(&id, "progress_state").await;
    call.hang_up().await.unwrap();
    let events = town.desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    assert!(!events.to_string().contains(&code), "keyed digits stay out of the log: {events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_7_passes_everybody_who_waits() {
    let town = Town::open(GatewayConfig::default()).await;
    let first = town.citizen.call_answered("12319", 5_000).await.unwrap();
    let (second, id) = waiting(&town).await;
    second.send_digits("7").unwrap();
    town.asked(&id, "emergency_notice").await;
    let phone = town.desk.phone().await;
    town.desk.ready().await;
    let operator = phone.next_call(10_000).await.unwrap();
    assert_eq!(operator.invite().header("X-Hotline-Call"), Some(id.as_str()), "the second caller comes first");
    second.rtp().wait_for_tone(1_000.0, 500, 10_000).await.unwrap();
    second.hang_up().await.unwrap();
    // And the first is next.
    first.rtp().wait_for_tone(1_000.0, 500, 15_000).await.unwrap();
    first.hang_up().await.unwrap();
    let waited = town.desk.ended(&call_of(&town.desk, 1).await).await;
    assert_eq!(waited["end_side"], "citizen");
    let metrics = town.desk.api.metrics().await.unwrap();
    assert!(metrics.contains("hotline_red_lane_total 1"), "{metrics}");
}
