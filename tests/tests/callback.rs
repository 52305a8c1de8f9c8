//! 办结回访 over real SIP: the citizen's keys decide what happens with the case.
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
use hotline_tests::sip::Behaviour;
use serde_json::Value;

async fn handled(town: &Town, item: &str) -> String {
    let story = town.story(item).await;
    let case_no = story["handoffs"][0]["case_no"].as_str().unwrap().to_owned();
    town.desk.api.set_stage(&case_no, "已处置", "井盖已更换").await.unwrap();
    case_no
}

fn handoffs<'a>(story: &'a Value, kind: &str) -> Vec<&'a Value> {
    story["handoffs"].as_array().unwrap().iter().filter(|h| h["kind"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_satisfied_citizen_closes_the_case() {
    let town = Town::open(GatewayConfig::default()).await;
    let item = town.reported().await;
    handled(&town, &item).await;
    let call = town.citizen.next_call(15_000).await.unwrap();
    call.accept().unwrap();
    let keys = [("contacted", "1"), ("solved", "1"), ("satisfied", "1"), ("may_close", "1")];
    town.answer(&call, &keys).await;
    let story = town
        .story_when(&item, "the delivered close", |s| handoffs(s, "close").iter().any(|h| h["delivered_at"].is_i64()))
        .await;
    assert_eq!(story["item"]["state"], "已结案", "{story:#}");
    assert_eq!(story["surveys"][0]["satisfied"], 1);
    assert_eq!(story["surveys"][0]["solved"], "已解决");
    assert_eq!(story["callbacks"][0]["result"], "已回访");
    assert_eq!((handoffs(&story, "close").len(), handoffs(&story, "reopen").len()), (1, 0));
    // The callback itself is a recorded, linked call.
    let id = town.newest_call().await;
    let detail = town.desk.ended(&id).await;
    assert_eq!(detail["direction"], "outbound");
    assert_eq!(detail["recordings"][0]["kind"], "callback");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsatisfied_citizen_reopens_the_case() {
    let town = Town::open(GatewayConfig::default()).await;
    let item = town.reported().await;
    handled(&town, &item).await;
    let call = town.citizen.next_call(15_000).await.unwrap();
    call.accept().unwrap();
    let keys = [("contacted", "1"), ("solved", "3"), ("satisfied", "3"), ("may_close", "2")];
    town.answer(&call, &keys).await;
    let story = town
        .story_when(&item, "the delivered reopen", |s| handoffs(s, "reopen").iter().any(|h| h["delivered_at"].is_i64()))
        .await;
    assert_eq!(story["item"]["state"], "重办");
    assert_eq!((handoffs(&story, "close").len(), handoffs(&story, "reopen").len()), (0, 1));
    assert_eq!(story["surveys"][0]["satisfied"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_tried_three_times_and_ends_as_unreachable() {
    let town = Town::open(GatewayConfig::default()).await;
    let item = town.reported().await;
    handled(&town, &item).await;
    for attempt in 1..=3 {
        let call = town.citizen.next_call(15_000).await.unwrap();
        match attempt {
            // Rings until the gateway gives up, is busy, is picked up and hung up without a key.
            1 => call.ring(180, false).unwrap(),
            2 => call.reject(486, "Busy Here").unwrap(),
            _ => {
                call.accept().unwrap();
                town.asked(&town.newest_call().await, "contacted").await;
                call.hang_up().await.unwrap();
            }
        }
    }
    let story = town.story_when(&item, "the end of the attempts", |s| s["callbacks"][0]["result"] == "无法联系").await;
    assert!(story["surveys"].as_array().unwrap().is_empty(), "无法联系 is no verdict");
    assert!(handoffs(&story, "close").is_empty() && handoffs(&story, "reopen").is_empty());
    let task = story["callbacks"][0]["id"].as_str().unwrap();
    let detail = town.desk.api.get(&format!("/api/v1/callbacks/{task}")).await.unwrap();
    let outcomes: Vec<&str> =
        detail["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["no_answer", "busy", "no_verdict"]);
    assert!(town.citizen.next_call(2_500).await.is_err(), "nobody is called a fourth time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_me_later_moves_the_task_without_using_an_attempt() {
    let town = Town::open(GatewayConfig::default()).await;
    let item = town.reported().await;
    handled(&town, &item).await;
    let call = town.citizen.next_call(15_000).await.unwrap();
    call.accept().unwrap();
    town.answer(&call, &[("contacted", "9")]).await;
    let again = town.citizen.next_call(30_000).await.unwrap();
    let story = town.story(&item).await;
    assert_eq!(story["callbacks"][0]["attempt_no"], 0, "{story:#}");
    again.reject(603, "Decline").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_caller_is_called_back_and_reaches_an_operator() {
    let town = Town::open(GatewayConfig::default()).await;
    let missed = town.citizen.call_answered("12319", 5_000).await.unwrap();
    missed.hang_up().await.unwrap();
    // Nobody is there yet: calling back now would be a second miss.
    assert!(town.citizen.next_call(1_000).await.is_err());
    let phone = town.desk.phone().await;
    phone.set_behaviour(Behaviour::Answer { after_ms: 100 });
    town.desk.ready().await;
    let call = town.citizen.next_call(15_000).await.unwrap();
    call.accept().unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 30_000).await.unwrap();
    call.hang_up().await.unwrap();
    hotline_tests::until("the debt paid", 10_000, || async {
        let tasks = town.desk.api.get("/api/v1/callbacks").await.ok()?;
        (tasks.as_array()?.len() == 1 && tasks[0]["result"] == "已回访").then_some(())
    })
    .await
    .unwrap();
}
