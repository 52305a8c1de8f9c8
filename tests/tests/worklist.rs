//! The operators' work queue over the API: one person's at a time, told as it happens, answered and done.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::Desk;
use common::hook::{hooked, write};
use hotline_tests::api::{Api, status};
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::until;
use reqwest::Method;
use serde_json::{Value, json};

async fn desk() -> Desk {
    let config = hooked(GatewayConfig::default()).with("worklist.lease_s", 60);
    Desk::open(config).await
}

/// The queue once it holds `n` pieces.
async fn queue(api: &Api, n: usize) -> Vec<Value> {
    let look = || async {
        let works = api.get("/api/v1/work").await.ok()?.as_array()?.clone();
        (works.len() >= n).then_some(works)
    };
    until(&format!("{n} pieces of work"), 20_000, look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_citizens_write_is_worked_off_one_by_one() {
    let desk = desk().await;
    let colleague = desk.gateway.sign_in(&NewUser::operator("1002")).await.unwrap();
    let events = desk.api.send(Method::GET, "/api/v1/events", None, &[]).await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    write(&desk.gateway, "zhang", "人民路88号门前路灯不亮").await;
    write(&desk.gateway, "li", "和平桥头燃气泄漏,味道很大").await;
    let works = queue(&desk.api, 2).await;
    assert_eq!(
        (works[0]["lane"].as_i64(), works[0]["kind"].as_str()),
        (Some(0), Some("核对")),
        "red first: {works:#?}"
    );
    assert!(works[0]["title"].as_str().unwrap().contains("燃气"), "{works:#?}");

    // Each gets their own; asked again, the same.
    let mine = desk.api.post("/api/v1/work/next", &Value::Null).await.unwrap();
    assert_eq!(mine["id"], works[0]["id"]);
    assert_eq!(desk.api.post("/api/v1/work/next", &Value::Null).await.unwrap()["id"], mine["id"]);
    let theirs = colleague.post("/api/v1/work/next", &Value::Null).await.unwrap();
    assert_eq!(theirs["id"], works[1]["id"]);
    let path = |work: &Value, step: &str| format!("/api/v1/work/{}/{step}", work["id"].as_str().unwrap());
    for step in ["take", "renew"] {
        assert_eq!(status(desk.api.post(&path(&theirs, step), &Value::Null).await), 409, "{step}");
    }

    // The thread shows what was written, and whom it came from only masked.
    let thread = colleague.get(&format!("/api/v1/messages/{}", theirs["contact"].as_str().unwrap())).await.unwrap();
    assert!(thread["messages"][0]["redacted_text"].as_str().unwrap().contains("路灯不亮"), "{thread:#}");
    assert!(!thread.to_string().contains("zhang@"), "{thread:#}");
    assert_eq!(thread["can_reply"], true);
    let reply = format!("/api/v1/items/{}/reply", theirs["item"].as_str().unwrap());
    for wanted in [201, 200] {
        let body = json!({"text": "已派员处置"});
        let answer = colleague.send(Method::POST, &reply, Some(&body), &[("idempotency-key", "reply-0001")]).await;
        assert_eq!(answer.unwrap().status().as_u16(), wanted);
    }
    let thread = colleague.get(&format!("/api/v1/messages/{}", theirs["contact"].as_str().unwrap())).await.unwrap();
    let texts = thread["texts"].as_array().unwrap();
    assert_eq!(texts.iter().filter(|t| t["text"] == "已派员处置").count(), 1, "{texts:#?}");

    // Passed on, put back, done; every step may be repeated.
    for _ in 0..2 {
        let passed = colleague.post(&path(&theirs, "transfer"), &json!({"to": "1001", "note": "同一路段"})).await;
        assert_eq!(passed.unwrap()["assignee"].as_str(), user_id(&desk).await.as_deref());
    }
    for _ in 0..2 {
        let done = desk.api.post(&path(&mine, "done"), &json!({"result": "移交"})).await.unwrap();
        assert_eq!(done["result"], "移交");
    }
    assert_eq!(status(desk.api.post(&path(&mine, "done"), &json!({"result": "作废"})).await), 409);
    assert_eq!(status(desk.api.post(&path(&mine, "done"), &json!({"result": "好"})).await), 400);
    assert_eq!(colleague.post("/api/v1/work/next", &Value::Null).await.unwrap(), Value::Null, "it waits for 1001");
    assert_eq!(desk.api.post("/api/v1/work/next", &Value::Null).await.unwrap()["id"], theirs["id"]);
    let story = desk.api.get(&format!("/api/v1/work/{}", theirs["id"].as_str().unwrap())).await.unwrap();
    let steps: Vec<&str> = story["events"].as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
    assert_eq!(steps, ["taken", "transferred", "taken"]);

    // And all of it was told, with numbers to resume from.
    let told = told(events, "\"done\":true").await;
    assert!(told.contains("event: red") && told.contains("event: work") && !told.contains("燃气"), "{told}");
    let last = told.lines().filter_map(|l| l.strip_prefix("id: ")).next().unwrap().to_owned();
    let again = desk.api.send(Method::GET, "/api/v1/events", None, &[("last-event-id", &last)]).await.unwrap();
    let again = self::told(again, "\"done\":true").await;
    assert!(!again.contains("reset") && !again.contains(&format!("id: {last}\n")), "{again}");
    let lost = desk.api.send(Method::GET, "/api/v1/events", None, &[("last-event-id", "1-1")]).await.unwrap();
    self::told(lost, "event: reset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn void_and_merged_work_voids_and_merges_the_items() {
    let desk = desk().await;
    for (citizen, text) in
        [("zhang", "人民路88号门前路灯不亮"), ("li", "和平桥头井盖缺失"), ("wang", "误发请忽略,学院路1号")]
    {
        write(&desk.gateway, citizen, text).await;
    }
    queue(&desk.api, 3).await;
    let mut works = Vec::new();
    for step in [json!({"result": "答复"}), json!({"result": "合并"}), json!({"result": "作废", "note": "市民误发"})]
    {
        let work = desk.api.post("/api/v1/work/next", &Value::Null).await.unwrap();
        let path = format!("/api/v1/work/{}/done", work["id"].as_str().unwrap());
        let mut form = step;
        if form["result"] == "合并" {
            assert_eq!(status(desk.api.post(&path, &form).await), 409, "into what?");
            form["into"] = works.first().map(|w: &Value| w["acceptance_no"].clone()).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(desk.api.post(&path, &form).await.unwrap()["result"], form["result"]);
        }
        works.push(work);
    }
    let item = async |work: &Value| {
        let path = format!("/api/v1/items/{}", work["item"].as_str().unwrap());
        desk.api.get(&path).await.unwrap()["item"].clone()
    };
    assert_eq!(item(&works[1]).await["merged_into"], works[0]["item"]);
    assert_eq!(item(&works[2]).await["state"], "作废");
    assert_eq!(item(&works[0]).await["merged_into"], Value::Null);
}

async fn user_id(desk: &Desk) -> Option<String> {
    desk.api.get("/api/v1/session").await.unwrap()["user"].as_str().map(str::to_owned)
}

/// Reads an event stream until `wanted` has come.
async fn told(mut stream: reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            let chunk = stream.chunk().await.unwrap().expect("the stream ended");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect(wanted);
    text
}
