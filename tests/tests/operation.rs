//! The same call on PostgreSQL, and a drain that lets a talk end.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::Town;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_path_runs_on_postgresql() {
    let postgres = Postgres::start().await.unwrap();
    let config = GatewayConfig { database_url: postgres.url(), ..GatewayConfig::default() };
    let town = Town::open(config).await;
    let item = town.reported().await;
    let story = town.story(&item).await;
    town.desk.api.set_stage(story["handoffs"][0]["case_no"].as_str().unwrap(), "已处置", "").await.unwrap();
    let call = town.citizen.next_call(15_000).await.unwrap();
    call.accept().unwrap();
    let keys = [("contacted", "1"), ("solved", "1"), ("satisfied", "2"), ("may_close", "1")];
    town.answer(&call, &keys).await;
    let story = town.story_when(&item, "the closed case", |s| s["item"]["state"] == "已结案").await;
    assert_eq!(story["surveys"][0]["satisfied"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_refuses_new_calls_lets_the_talk_end_and_loses_nothing() {
    let mut town = Town::open(GatewayConfig::default()).await;
    let _phone = town.desk.phone().await;
    town.desk.ready().await;
    let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    town.desk.gateway.signal(hotline_tests::Signal::Term).unwrap();
    hotline_tests::until("503 for new calls", 5_000, || async {
        let second = town.citizen.call("12319").ok()?;
        if let Ok(end) = second.wait_ended(500).await {
            return (end.code == 503).then_some(());
        }
        // Taken in the moment before the signal: it waits in the queue and would wait for ever.
        second.hang_up().await.ok()?;
        None
    })
    .await
    .unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 5_000).await.unwrap();
    call.hang_up().await.unwrap();
    let status = town.desk.gateway.sigterm(30_000).await.unwrap();
    assert!(status.success());
    town.desk.gateway.boot().await.unwrap();
    let api = town.desk.gateway.sign_in(&town.desk.user).await.unwrap();
    let calls = api.get("/api/v1/calls").await.unwrap();
    let talk = calls.as_array().unwrap().last().unwrap();
    assert_eq!(talk["end_side"], "citizen", "{talk:#}");
}
