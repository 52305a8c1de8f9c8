//! The event stream: how things stand first, then what happens, and each person only what concerns them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::stream::{Event, stream, until};
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::sip::{Citizen, CitizenConfig};
use serde_json::json;

fn is_broadcast(text: &'static str) -> impl Fn(&Event) -> bool {
    move |e| e.kind == "broadcast" && e.data["text"] == text
}

async fn broadcast(desk: &Desk, text: &str) {
    desk.api.post("/api/v1/broadcasts", &json!({ "text": text })).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_events_reach_the_operator_concerned_and_leaders_but_no_colleague() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let (_phone, talker) = desk.second_operator().await;
    desk.gateway.add_user(&NewUser::operator("1003")).unwrap();
    let bystander = desk.gateway.sign_in(&NewUser::operator("1003")).await.unwrap();
    let mut streams = [stream(&talker, None).await, stream(&bystander, None).await, stream(&desk.api, None).await];
    talker.set_state("ready").await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    talker.post(&format!("/api/v1/calls/{id}/hold"), &json!({"on": true})).await.unwrap();
    talker.post(&format!("/api/v1/calls/{id}/hold"), &json!({"on": false})).await.unwrap();
    call.hang_up().await.unwrap();
    desk.ended(&id).await;
    broadcast(&desk, "完").await;
    let [talkers, bystanders, leaders] = &mut streams;
    let mine = until(talkers, is_broadcast("完")).await;
    let what: Vec<&str> = mine.iter().filter(|e| e.kind == "call").filter_map(|e| e.data["what"].as_str()).collect();
    let mut steps = what.clone();
    steps.dedup();
    assert_eq!(steps, ["ringing", "talking", "held", "talking"], "{mine:#?}");
    assert!(mine.iter().any(|e| e.kind == "call_left"), "{mine:#?}");
    let theirs = until(bystanders, is_broadcast("完")).await;
    assert!(theirs.iter().all(|e| !e.kind.starts_with("call") && !e.data.to_string().contains(&id)), "{theirs:#?}");
    assert!(!theirs.iter().any(|e| e.kind == "state"), "nor a colleague's states: {theirs:#?}");
    let all = until(leaders, is_broadcast("完")).await;
    assert!(all.iter().any(|e| e.kind == "call" && e.data["what"] == "held"), "{all:#?}");
    assert!(all.iter().any(|e| e.data["caller"].as_str().is_some_and(|c| c.contains('*'))), "{all:#?}");
    for told in [&mine, &theirs, &all] {
        assert!(told.iter().all(|e| !e.data.to_string().contains(NUMBER)), "numbers are masked");
        assert_eq!(told[0].kind, "snapshot");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_snapshot_shows_me_my_call_and_the_queues_and_who_comes_back_misses_and_doubles_nothing() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let first = until(&mut stream(&desk.api, None).await, |e| e.kind == "snapshot").await.remove(0);
    assert_eq!(
        (first.data["me"]["state"].as_str(), first.data["call"]["call"].as_str()),
        (Some("talking"), Some(id.as_str()))
    );
    assert_eq!(first.data["queues"][0]["queue"], "main", "{first:#?}");
    assert_eq!(first.data["calls"][0]["call"], id.as_str(), "a leader sees every call: {first:#?}");

    for n in ["一", "二", "三"] {
        broadcast(&desk, n).await;
    }
    let words = |events: &[Event]| -> Vec<String> {
        let said = events.iter().filter(|e| e.kind == "broadcast");
        said.map(|e| e.data["text"].as_str().unwrap().to_owned()).collect()
    };
    let some = until(&mut stream(&desk.api, Some(&first.id)).await, is_broadcast("二")).await;
    assert_eq!(words(&some), ["一", "二"], "from the snapshot on: {some:#?}");
    assert!(some.iter().all(|e| e.kind != "snapshot"), "who goes on knows how things stood");
    let rest = until(&mut stream(&desk.api, Some(&some.last().unwrap().id)).await, is_broadcast("三")).await;
    assert_eq!(words(&rest), ["三"], "neither a gap nor a double: {rest:#?}");
    let lost = until(&mut stream(&desk.api, Some("1-1")).await, |e| e.kind == "snapshot").await;
    assert_eq!(lost.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["reset", "snapshot"]);
    call.hang_up().await.unwrap();
}
