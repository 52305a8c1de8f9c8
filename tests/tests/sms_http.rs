//! An SMS aggregator known by configuration alone: texts out, pushes and reports in, forgeries and replays refused.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use common::rows::rows;
use common::{Desk, Town};
use hmac::{Hmac, Mac};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::until;
use serde_json::{Value, json};
use sha2::Sha256;
use toml::toml;

const SECRET: &str = "s3cret-of-the-aggregator";

/// What the aggregator got, and how often it answers late.
#[derive(Default)]
struct Got {
    requests: Vec<Value>,
    late: usize,
    next: Arc<tokio::sync::Notify>,
}

async fn aggregator() -> (String, Arc<Mutex<Got>>) {
    let got = Arc::new(Mutex::new(Got::default()));
    let send = |State(got): State<Arc<Mutex<Got>>>, Json(body): Json<Value>| async move {
        let (n, late, next) = {
            let mut got = got.lock().unwrap();
            got.requests.push(body);
            let late = got.late > 0;
            got.late = got.late.saturating_sub(1);
            got.next.notify_waiters();
            (got.requests.len(), late, Arc::clone(&got.next).notified_owned())
        };
        if late {
            next.await;
        }
        Json(json!({"code": 0, "data": {"id": format!("agg-{n}")}}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    let app = Router::new().route("/send", post(send)).with_state(Arc::clone(&got));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, got)
}

fn config(url: &str) -> GatewayConfig {
    let mut http = toml! {
        account = "hotline"
        from = "106912319"
        timeout_ms = 4000
        body = { phone = "{to}", content = "{text}", id = "{id}", sign = "{sign}", code = "{param.query_code}" }
        sign = { algorithm = "sha256", over = "{account}{to}{secret}" }
        answer = { status = "/code", id = "/data/id" }
        trust = { signature = "header.x-sign", timestamp = "header.x-time", sign = { over = "{header.x-time}.{body}" }, allow = ["127.0.0.0/8"] }
    };
    http.insert("url".into(), url.into());
    http.insert("secret".into(), SECRET.into());
    let mut line = toml::Table::new();
    line.insert("name".into(), "aggregator".into());
    line.insert("kind".into(), "http".into());
    line.insert("http".into(), http.into());
    GatewayConfig::default()
        .with("sms.line", toml::Value::Array(vec![line.into()]))
        .with("sms.retry_ms", 100)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 1)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signature(secret: &str, time: u64, body: &str) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// Pushes `body` to a hook; the status and what is answered.
async fn push(desk: &Desk, path: &str, body: &str, time: u64, sign: &str) -> (u16, String) {
    let url = format!("http://{}{path}", desk.gateway.http());
    let request = hotline_tests::api::client().unwrap().post(url).body(body.to_owned());
    let answer = request.header("x-time", time.to_string()).header("x-sign", sign).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

const HOOK: &str = "/hooks/sms/aggregator";

async fn signed(desk: &Desk, path: &str, body: &Value) -> (u16, String) {
    let (text, time) = (body.to_string(), now_s());
    push(desk, path, &text, time, &signature(SECRET, time, &text)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_tip_is_an_item_and_its_receipt_is_reported_back() {
    let (url, got) = aggregator().await;
    let desk = Desk::open(config(&url)).await;
    got.lock().unwrap().late = 1;
    let tip = json!({"mobile": "13812345678", "port": "106912319", "content": "人民路88号井盖缺失", "id": "mo-1"});
    assert_eq!(signed(&desk, HOOK, &tip).await, (200, "{\"code\":0}".into()));
    assert_eq!(signed(&desk, HOOK, &tip).await.0, 200, "a repetition is acknowledged too");
    let id = until("the receipt at the aggregator", 20_000, || async {
        let rows =
            rows(&desk.gateway, "SELECT p.provider_id FROM outgoing_part p JOIN outgoing o ON o.id = p.outgoing");
        rows.first().and_then(|row| row["provider_id"].as_str().map(str::to_owned))
    })
    .await
    .unwrap();
    let requests = got.lock().unwrap().requests.clone();
    // The first answer came too late to be heard: the same text again, under the same id.
    assert_eq!((requests.len(), id.as_str()), (2, "agg-2"), "{requests:?}");
    assert_eq!((&requests[0]["id"], &requests[0]["phone"]), (&requests[1]["id"], &json!("13812345678")));
    let kept = rows(&desk.gateway, "SELECT acceptance_no, query_code FROM item");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(requests[0]["content"].as_str().unwrap().contains(kept[0]["acceptance_no"].as_str().unwrap()));
    assert_eq!(requests[0]["code"], kept[0]["query_code"]);
    assert_eq!(rows(&desk.gateway, "SELECT id FROM message").len(), 1);
    let report = json!([{"id": id, "status": "DELIVRD"}, {"id": "nobody-knows", "status": "UNDELIV"}]);
    assert_eq!(signed(&desk, &format!("{HOOK}/report"), &report).await, (200, "{\"code\":0}".into()));
    let states = rows(&desk.gateway, "SELECT state FROM outgoing");
    assert_eq!(states, [json!({"state": "已送达"})]);
    let log = desk.gateway.log();
    assert!(!log.contains("井盖") && !log.contains("13812345678") && !log.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_replayed_and_broken_pushes_are_refused_in_the_aggregators_terms() {
    let (url, _got) = aggregator().await;
    let desk = Desk::open(config(&url)).await;
    let body = json!({"mobile": "13812345678", "content": "井盖", "id": "mo-2"}).to_string();
    let (now, error) = (now_s(), "{\"code\":1}".to_owned());
    let good = signature(SECRET, now, &body);
    let tampered = body.replace("井盖", "路灯");
    assert_eq!(push(&desk, HOOK, &tampered, now, &good).await, (401, error.clone()), "changed on the way");
    assert_eq!(push(&desk, HOOK, &body, now, &signature("guess", now, &body)).await.0, 401);
    assert_eq!(push(&desk, HOOK, &body, now, "").await.0, 401);
    assert_eq!(push(&desk, HOOK, &body, now + 1, &good).await.0, 401, "another time than the signed one");
    let old = now - 3_600;
    assert_eq!(push(&desk, HOOK, &body, old, &signature(SECRET, old, &body)).await, (401, error.clone()), "a replay");
    for broken in ["", "井盖", "{}", "[1]", "null"] {
        let status = push(&desk, HOOK, broken, now, &signature(SECRET, now, broken)).await;
        assert_eq!(status, (400, error.clone()), "{broken}");
    }
    let huge = " ".repeat(600_000);
    assert_eq!(push(&desk, HOOK, &huge, now, "").await.0, 413);
    assert_eq!(push(&desk, "/hooks/sms/nobody", &body, now, &good).await.0, 404);
    assert!(rows(&desk.gateway, "SELECT id FROM message").is_empty());
    assert_eq!(push(&desk, HOOK, &body, now, &good).await.0, 200, "the same, unforged");
    assert_eq!(rows(&desk.gateway, "SELECT id FROM message").len(), 1);
    let metrics = desk.api.get_raw("/metrics").await.unwrap().text().await.unwrap();
    for kind in ["push_forged", "push_stale", "push_malformed"] {
        assert!(
            metrics.contains(&format!("hotline_sms_warnings_total{{kind=\"{kind}\",line=\"aggregator\"}}")),
            "{kind}"
        );
    }
}

/// An item whose case is handled and whose citizen was busy three times.
async fn handled_and_never_reached(town: &Town) -> String {
    let item = town.reported().await;
    let case = town.story(&item).await["handoffs"][0]["case_no"].as_str().unwrap().to_owned();
    let done = json!({"stage": "已处置", "note": "done"});
    town.desk.api.post(&format!("/api/v1/ledger/cases/{case}/stage"), &done).await.unwrap();
    for _ in 0..3 {
        town.citizen.next_call(15_000).await.unwrap().reject(486, "Busy Here").unwrap();
    }
    item
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_no_call_reached_gets_one_text_and_never_a_second() {
    let (url, got) = aggregator().await;
    // The answer comes too late: whether the text left is not known, and it is not sent again.
    got.lock().unwrap().late = 1;
    let town = Town::open(config(&url)).await;
    let item = handled_and_never_reached(&town).await;
    town.story_when(&item, "the end of the attempts", |s| s["callbacks"][0]["result"] == "无法联系").await;
    until("the text at the aggregator", 20_000, || async {
        got.lock()
            .unwrap()
            .requests
            .iter()
            .any(|r| r["content"].as_str().is_some_and(|c| c.contains("未能联系到您")))
            .then_some(())
    })
    .await
    .unwrap();
    // Longer than every retry of an ordinary text.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let requests = got.lock().unwrap().requests.clone();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let items = rows(&town.desk.gateway, "SELECT acceptance_no FROM item");
    assert!(requests[0]["content"].as_str().unwrap().contains(items[0]["acceptance_no"].as_str().unwrap()));
    let texts = rows(&town.desk.gateway, "SELECT purpose, once FROM outgoing");
    assert_eq!(texts, [json!({"purpose": "survey", "once": 1})]);
}

/// With hours turned into a twelfth of a second each.
async fn town_with_page(survey_hours: u32) -> (Town, Arc<Mutex<Got>>) {
    let (url, got) = aggregator().await;
    let config = config(&url).with("web.public_url", "https://12319.example.cn").with("web.survey_hours", survey_hours);
    (Town::open(config).await, got)
}

/// The path of the survey's link, once its text is at the aggregator.
async fn texted_survey(got: &Mutex<Got>) -> String {
    until("the link at the aggregator", 20_000, || async {
        let requests = got.lock().unwrap().requests.clone();
        let found = requests.iter().find_map(|r| r["content"].as_str()?.split_once("12319.example.cn/s/"));
        found.map(|(_, after)| format!("/s/{}", after.chars().take(22).collect::<String>()))
    })
    .await
    .unwrap()
}

async fn page(town: &Town, path: &str) -> (u16, String) {
    let url = format!("http://{}{path}", town.desk.gateway.http());
    let answer = hotline_tests::api::client().unwrap().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn answer(town: &Town, path: &str, form: &str, choices: &str) -> (u16, String) {
    let url = format!("http://{}{path}", town.desk.gateway.http());
    let request = hotline_tests::api::client().unwrap().post(url);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(format!("form={form}&{choices}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_no_call_reached_answers_once_by_the_texted_link() {
    let (town, got) = town_with_page(720).await;
    let item = handled_and_never_reached(&town).await;
    let path = texted_survey(&got).await;
    let task = town.story(&item).await["callbacks"][0].clone();
    assert_eq!((&task["attempt_no"], &task["result"]), (&json!(3), &Value::Null), "the answer is waited for: {task:#}");

    let (status, html) = page(&town, &path).await;
    assert_eq!(status, 200);
    let form = html.split_once("name=\"form\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    assert_eq!(answer(&town, &path, "forged", "solved=yes&satisfied=1").await.0, 422, "not our form");
    assert_eq!(answer(&town, &path, &form, "solved=yes").await.0, 422, "no verdict");
    let (status, html) = answer(&town, &path, &form, "contacted=yes&solved=yes&satisfied=1").await;
    assert_eq!(status, 200, "{html}");
    let (again, html) = answer(&town, &path, &form, "solved=no&satisfied=5").await;
    assert!(again == 409 && html.contains("已经提交过"), "{again} {html}");
    let (again, html) = page(&town, &path).await;
    assert!(again == 409 && html.contains("已经提交过"), "{again} {html}");

    let closed = |s: &Value| {
        let handoffs = s["handoffs"].as_array().unwrap();
        handoffs.iter().any(|h| h["kind"] == "close" && h["delivered_at"].is_i64())
    };
    let story = town.story_when(&item, "the delivered close", closed).await;
    assert_eq!(story["item"]["state"], "已结案", "{story:#}");
    assert_eq!((&story["surveys"][0]["satisfied"], &story["callbacks"][0]["result"]), (&json!(1), &json!("已回访")));
    assert_eq!(story["surveys"].as_array().unwrap().len(), 1);
    assert_eq!(got.lock().unwrap().requests.len(), 1, "one text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survey_link_nobody_answers_in_its_time_is_no_verdict() {
    let (town, got) = town_with_page(36).await;
    let item = handled_and_never_reached(&town).await;
    let path = texted_survey(&got).await;
    let story = town.story_when(&item, "the end of its time", |s| s["callbacks"][0]["result"] == "无法联系").await;
    assert!(story["surveys"].as_array().unwrap().is_empty(), "{story:#}");
    assert_eq!(story["item"]["state"], "待回访");
    assert_eq!(story["handoffs"].as_array().unwrap().len(), 1, "neither close nor reopen");
    assert_eq!(page(&town, &path).await.0, 410);
    assert!(town.citizen.next_call(1_000).await.is_err(), "nobody is called a fourth time");
}
