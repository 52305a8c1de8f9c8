//! An operator calls a citizen by a task: their own phone first, then the citizen, under the rules of every callback.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Town, item_form};
use hotline_tests::api::status;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Credentials, Dial, Phone, PhoneConfig};
use hotline_tests::until;
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;

/// A town whose citizen has missed a call; the operator has signed in and takes no calls.
async fn owed(config: GatewayConfig) -> (Town, Phone, String) {
    owed_in(Town::open(config).await).await
}

async fn owed_in(town: Town) -> (Town, Phone, String) {
    let missed = town.citizen.call_answered("12319", 20_000).await.unwrap();
    missed.hang_up().await.unwrap();
    let phone = town.desk.phone().await;
    let found = |tasks: &Value| Some(tasks[0]["id"].as_str()?.to_owned());
    let task = town.desk.api.wait_for("/api/v1/callbacks", 20_000, found).await.unwrap();
    town.desk.api.set_state("away").await.unwrap();
    (town, phone, task)
}

fn path(task: &str) -> String {
    format!("/api/v1/callbacks/{task}/call")
}

async fn task_when(town: &Town, task: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = |detail: &Value| wanted(detail).then(|| detail.clone());
    town.desk.api.wait_for(&format!("/api/v1/callbacks/{task}"), 20_000, found).await.unwrap()
}

async fn seat(town: &Town) -> Value {
    let queues = town.desk.api.get("/api/v1/queues").await.unwrap();
    queues[0]["operators"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_calls_by_a_task_and_talks_with_the_citizen() {
    let (town, phone, task) = owed(GatewayConfig::default().with("callback.enabled", false)).await;
    town.desk.ready().await;
    let key = [("idempotency-key", "call-0001")];
    let mut calls = Vec::new();
    for _ in 0..2 {
        let answer = town.desk.api.send(Method::POST, &path(&task), Some(&json!({})), &key).await.unwrap();
        let state: Value = answer.json().await.unwrap();
        assert_eq!(state["task"], task.as_str(), "{state}");
        calls.push(state["call"].as_str().unwrap().to_owned());
    }
    assert_eq!(calls[0], calls[1], "asked twice is called once");
    let operator = phone.next_call(20_000).await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    citizen.ring(180, false).unwrap();
    operator.rtp().wait_for_tone(450.0, 300, 20_000).await.unwrap();
    citizen.accept().unwrap();
    // First both hear that the call is recorded.
    town.asked(&calls[0], "notice").await;
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 500, 20_000).await.unwrap();
    operator.rtp().wait_for_tone(CITIZEN_HZ, 500, 20_000).await.unwrap();
    let seat = seat(&town).await;
    assert_eq!((seat["state"].as_str(), seat["call"].as_str()), (Some("talking"), Some(calls[0].as_str())), "{seat}");
    assert_eq!(town.citizen.agent().received(|m| m.is_request() && m.method() == "INVITE").len(), 1);
    citizen.hang_up().await.unwrap();
    operator.wait_ended(20_000).await.unwrap();
    let row = town.desk.ended(&calls[0]).await;
    assert_eq!((row["direction"].as_str(), row["end_side"].as_str()), (Some("outbound"), Some("citizen")), "{row:#}");
    assert_eq!(row["recordings"][0]["kind"], "talk", "{row:#}");
    assert_eq!(row["recordings"][0]["notice_played"], true, "{row:#}");
    let detail = task_when(&town, &task, |d| d["task"]["result"] == "已回访").await;
    assert_eq!(detail["attempts"][0]["outcome"], "talked", "{detail:#}");
    assert_eq!(status(town.desk.api.post(&path(&task), &json!({})).await), 409, "what is done is not called again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_called_rings_no_phone_and_a_cap_calls_nobody() {
    let config = GatewayConfig::default().with("callback.enabled", false).with("dialout.forbid_prefixes", vec!["138"]);
    let (town, phone, task) = owed(config).await;
    assert_eq!(status(town.desk.api.post(&path(&task), &json!({})).await), 403);
    assert!(phone.next_call(300).await.is_err(), "nobody's phone rings for a call that can't be");
    let unknown = "01a20316-2b47-710a-b222-021f15f16b66";
    assert_eq!(status(town.desk.api.post(&path(unknown), &json!({})).await), 404);

    let config = GatewayConfig::default().with("callback.enabled", false).with("dialout.daily_operator_max", 0);
    let (town, phone, task) = owed(config).await;
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    phone.next_call(20_000).await.unwrap().wait_ended(20_000).await.unwrap();
    let row = town.desk.ended(state["call"].as_str().unwrap()).await;
    assert_eq!(row["end_reason"], "daily_operator", "{row:#}");
    let detail = task_when(&town, &task, |d| d["task"]["lease_until"].is_null()).await;
    assert_eq!((detail["attempts"].as_array().unwrap().len(), detail["task"]["attempt_no"].as_i64()), (0, Some(0)));
    assert!(town.citizen.next_call(300).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_who_is_busy_is_an_attempt_and_an_operator_who_does_not_pick_up_is_none() {
    let (town, phone, task) = owed(GatewayConfig::default().with("callback.enabled", false)).await;
    phone.set_behaviour(Behaviour::Reject { after_ms: 50, code: 486 });
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    town.desk.ended(state["call"].as_str().unwrap()).await;
    let detail = task_when(&town, &task, |d| d["task"]["lease_until"].is_null()).await;
    assert!(detail["attempts"].as_array().unwrap().is_empty(), "the citizen was not called: {detail:#}");
    phone.set_behaviour(Behaviour::Answer { after_ms: 50 });
    town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    town.citizen.next_call(20_000).await.unwrap().reject(486, "Busy Here").unwrap();
    let detail = task_when(&town, &task, |d| d["task"]["attempt_no"] == 1).await;
    assert_eq!(
        (detail["attempts"][0]["outcome"].as_str(), detail["task"]["attempt_no"].as_i64()),
        (Some("busy"), Some(1))
    );
    let _rejected = phone.next_call(20_000).await.unwrap();
    phone.next_call(20_000).await.unwrap().wait_ended(20_000).await.unwrap();
    // 结束 takes a call back that nobody has answered yet.
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    town.desk.api.post(&format!("/api/v1/calls/{}/end", state["call"].as_str().unwrap()), &json!({})).await.unwrap();
    assert_eq!(citizen.wait_ended(20_000).await.unwrap().code, 487);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_leaves_a_task_alone_while_an_operator_calls_by_it() {
    let (town, _phone, task) = owed(GatewayConfig::default()).await;
    // Nobody is ready: the machine waits. The operator calls, and a colleague who is ready would give it leave.
    let under_way = until("the task free for the operator", 20_000, || async {
        town.desk.api.post(&path(&task), &json!({})).await.ok()
    });
    under_way.await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    let (_other, api) = town.desk.second_operator().await;
    api.set_state("ready").await.unwrap();
    assert_eq!(status(api.post(&path(&task), &json!({})).await), 409, "nor does a colleague");
    assert!(town.citizen.next_call(1_000).await.is_err(), "one citizen, one call");
    citizen.accept().unwrap();
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    citizen.hang_up().await.unwrap();
    task_when(&town, &task, |d| d["task"]["result"] == "已回访").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_operators_call_about_a_finished_item_the_citizen_judges_by_keys() {
    let town = Town::open(GatewayConfig::default().with("callback.enabled", false)).await;
    let item = town.reported().await;
    let story = town.story(&item).await;
    town.desk.api.set_stage(story["handoffs"][0]["case_no"].as_str().unwrap(), "已处置", "").await.unwrap();
    let story = town.story_when(&item, "the callback task", |s| s["callbacks"][0]["id"].is_string()).await;
    let task = story["callbacks"][0]["id"].as_str().unwrap().to_owned();
    let phone = town.desk.phone().await;
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    citizen.accept().unwrap();
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let call = state["call"].as_str().unwrap();
    town.desk.api.post(&format!("/api/v1/calls/{call}/end"), &json!({})).await.unwrap();
    phone.next_call(20_000).await.unwrap().wait_ended(20_000).await.unwrap();
    let keys = [("contacted", "1"), ("solved", "1"), ("satisfied", "2"), ("may_close", "1")];
    town.answer(&citizen, &keys).await;
    let story = town.story_when(&item, "the closed case", |s| s["item"]["state"] == "已结案").await;
    assert_eq!(story["surveys"][0]["satisfied"], 2, "{story:#}");
}

fn no_machine() -> GatewayConfig {
    GatewayConfig::default().with("callback.enabled", false)
}

/// Ten minutes between two tries, as in life.
async fn owed_in_ten_minutes() -> (Town, Phone, String) {
    owed_in(Town::open_with(no_machine(), |config, _| config.with("callback.time_factor", 1)).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_who_was_tried_is_left_alone_until_the_next_time_whoever_calls() {
    let (town, phone, task) = owed_in_ten_minutes().await;
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    town.citizen.next_call(20_000).await.unwrap().reject(486, "Busy Here").unwrap();
    phone.next_call(20_000).await.unwrap().wait_ended(20_000).await.unwrap();
    town.desk.ended(state["call"].as_str().unwrap()).await;
    task_when(&town, &task, |d| d["task"]["attempt_no"] == 1 && d["task"]["lease_until"].is_null()).await;
    assert_eq!(status(town.desk.api.post(&path(&task), &json!({})).await), 409);
    assert!(town.citizen.next_call(500).await.is_err() && phone.next_call(100).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_taken_back_while_the_citizen_rings_is_an_attempt_and_one_that_never_rang_is_none() {
    let (town, phone, task) = owed_in_ten_minutes().await;
    let mut attempts = Vec::new();
    for rings in [false, true] {
        let under_way = until("the task free", 20_000, || async {
            // No attempt is behind it yet: an operator needn't wait.
            town.desk.api.post(&path(&task), &json!({})).await.ok()
        });
        let state = under_way.await.unwrap();
        let operator = phone.next_call(20_000).await.unwrap();
        let citizen = town.citizen.next_call(20_000).await.unwrap();
        if rings {
            citizen.ring(180, false).unwrap();
            let events = format!("/api/v1/calls/{}/events", state["call"].as_str().unwrap());
            let rings = |all: &Value| all.as_array()?.iter().any(|e| e["kind"] == "citizen_rings").then_some(());
            town.desk.api.wait_for(&events, 20_000, rings).await.unwrap();
        }
        let call = state["call"].as_str().unwrap().to_owned();
        operator.hang_up().await.unwrap();
        citizen.wait_ended(20_000).await.unwrap();
        town.desk.ended(&call).await;
        let counted = i64::from(rings);
        let detail = task_when(&town, &task, |d| {
            d["attempts"].as_array().is_some_and(|a| a.iter().any(|a| a["call"] == call.as_str()))
        })
        .await;
        assert_eq!(detail["task"]["attempt_no"], counted, "{detail:#}");
        attempts = detail["attempts"].as_array().unwrap().clone();
    }
    assert!(attempts.iter().all(|a| a["outcome"] == "taken_back"), "{attempts:#?}");
    assert_eq!(status(town.desk.api.post(&path(&task), &json!({})).await), 409, "not again before its time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_named_neither_sees_the_task_nor_calls_and_who_is_signed_out_calls_nobody() {
    let (town, phone, task) = owed(no_machine()).await;
    let (_other, colleague) = town.desk.second_operator().await;
    assert_eq!(status(colleague.post(&path(&task), &json!({})).await), 409, "not on duty");
    colleague.set_state("away").await.unwrap();
    let detail = task_when(&town, &task, |d| d["task"]["id"].is_string()).await;
    let mut form = item_form(detail["task"]["call"].as_str().unwrap());
    (form["title"], form["detail"]) = (json!("投诉工号1001"), json!("工号1001态度差,挂我电话"));
    town.desk.api.post("/api/v1/items", &form).await.unwrap();
    let at = format!("/api/v1/callbacks/{task}");
    for api in [&town.desk.api, &colleague] {
        assert_eq!(status(api.get(&at).await), 404, "the named one, and who doesn't lead");
        assert_eq!(status(api.post(&path(&task), &json!({})).await), 404);
        assert_eq!(api.get("/api/v1/callbacks").await.unwrap(), json!([]));
    }
    assert!(phone.next_call(300).await.is_err() && town.citizen.next_call(100).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_phone_takes_no_call_over_before_the_citizen_has_answered() {
    let (town, phone, task) = owed(no_machine()).await;
    town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    let config = PhoneConfig::new(town.desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    let device = Phone::unregistered(config).await.unwrap();
    let replaced = operator.as_replaces().replace("%3B", ";").replace("%3D", "=").replace("%40", "@");
    let dial = Dial::new(town.desk.gateway.sip(), "1001").sending(Source::tone(1_500.0));
    let dial = dial.with_header("Replaces", &replaced).with_header("Require", "replaces");
    let refused = device.agent().dial(dial).unwrap();
    assert!(refused.wait_answered(10_000).await.is_err());
    citizen.reject(486, "Busy Here").unwrap();
    let detail = task_when(&town, &task, |d| d["task"]["attempt_no"] == 1).await;
    assert_eq!((detail["attempts"][0]["outcome"].as_str(), &detail["task"]["result"]), (Some("busy"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_whose_operator_leaves_during_the_notice_is_given_to_who_is_free() {
    let (town, phone, task) = owed(no_machine()).await;
    let (other, colleague) = town.desk.second_operator().await;
    // Who leaves is free as well, and isn't given back whom they left.
    town.desk.ready().await;
    colleague.set_state("ready").await.unwrap();
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    citizen.accept().unwrap();
    town.asked(state["call"].as_str().unwrap(), "notice").await;
    operator.hang_up().await.unwrap();
    other.next_call(20_000).await.unwrap();
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    citizen.hang_up().await.unwrap();
    let detail = task_when(&town, &task, |d| d["task"]["result"] == "已回访").await;
    assert_eq!(detail["attempts"][0]["outcome"], "talked", "{detail:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_who_picked_up_and_found_nobody_has_used_up_no_attempt_and_is_left_alone_a_while() {
    let (town, phone, task) = owed_in_ten_minutes().await;
    let state = town.desk.api.post(&path(&task), &json!({})).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    let citizen = town.citizen.next_call(20_000).await.unwrap();
    citizen.accept().unwrap();
    town.asked(state["call"].as_str().unwrap(), "notice").await;
    operator.hang_up().await.unwrap();
    citizen.hang_up().await.unwrap();
    let detail = task_when(&town, &task, |d| d["attempts"][0]["outcome"].is_string()).await;
    assert_eq!(detail["attempts"][0]["outcome"], "operator_left", "{detail:#}");
    assert_eq!((&detail["task"]["attempt_no"], &detail["task"]["result"]), (&json!(0), &Value::Null), "{detail:#}");
    task_when(&town, &task, |d| d["task"]["lease_until"].is_null()).await;
    assert_eq!(status(town.desk.api.post(&path(&task), &json!({})).await), 409, "not again before its time");
}
