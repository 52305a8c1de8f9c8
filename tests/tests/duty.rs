//! Shifts, signing in and out by them, and work handed over.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::Desk;
use common::hook::{hooked, write};
use common::messages::count;
use hotline_tests::Error;
use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::sip::{Credentials, Phone, PhoneConfig};
use hotline_tests::until;
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A gateway with three operators besides the desk's own people.
async fn desk(config: GatewayConfig) -> Desk {
    let mut gateway = Gateway::prepare(config).unwrap();
    let mut user = NewUser::operator("1001");
    user.roles = ["operator", "leader"].map(String::from).to_vec();
    gateway.add_user(&user).unwrap();
    for login in ["1101", "1102", "1103"] {
        gateway.add_user(&NewUser::operator(login)).unwrap();
    }
    gateway.boot().await.unwrap();
    Desk { api: gateway.sign_in(&user).await.unwrap(), gateway, user }
}

/// One of them, with a registered phone.
async fn operator(desk: &Desk, login: &str) -> (Api, Phone) {
    let credentials = Credentials::new(login, format!("phone-{login}"));
    let phone = Phone::start(PhoneConfig::new(desk.gateway.sip(), credentials)).await.unwrap();
    (desk.gateway.sign_in(&NewUser::operator(login)).await.unwrap(), phone)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, word: &str) {
    let error = answer.expect_err("refused").to_string();
    assert!(error.contains("409") && error.contains(word), "{error}");
}

fn shift(from: i64, members: &[(&str, &str)]) -> Value {
    let members: Vec<Value> = members.iter().map(|(login, role)| json!({"login": login, "role": role})).collect();
    json!({"name": "早班", "starts_at": now() + from, "ends_at": now() + from + 8 * HOUR, "members": members})
}

/// Waits until the queue knows whether the second operator's phone is there.
async fn until_registered(api: &Api, registered: bool) {
    let look = || async {
        let queues = api.get("/api/v1/queues").await.ok()?;
        let operators = queues[0]["operators"].as_array()?.clone();
        operators.iter().any(|o| o["name"] == "受理员1102" && o["registered"] == registered).then_some(())
    };
    until("the phone's state in the queue", 20_000, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_sign_in_on_their_shift_and_the_last_one_stays_until_relief_is_in() {
    let desk = desk(GatewayConfig::default()).await;
    let leader = &desk.api;
    let ((zhang, _phone), (li, phone)) = (operator(&desk, "1101").await, operator(&desk, "1102").await);

    // Nobody is planned: anybody may come and go.
    zhang.set_state("ready").await.unwrap();
    zhang.set_state("off").await.unwrap();
    assert!(zhang.post("/api/v1/shifts", &shift(0, &[])).await.unwrap_err().to_string().contains("403"));
    leader.post("/api/v1/shifts", &shift(-HOUR, &[("1101", "operator"), ("1001", "leader")])).await.unwrap();
    refused(li.set_state("ready").await, "不在本班次");
    assert!(li.get("/api/v1/duty/me").await.unwrap()["sign_in"].as_str().unwrap().contains("不在本班次"));
    zhang.set_state("ready").await.unwrap();

    refused(zhang.set_state("off").await, "最后一名");
    zhang.set_state("break").await.unwrap();
    leader.post("/api/v1/duty/leaves", &json!({"login": "1102", "what": "sign_in", "reason": "替班"})).await.unwrap();
    li.set_state("ready").await.unwrap();
    phone.unregister().await.unwrap();
    until_registered(&li, false).await;
    refused(zhang.set_state("off").await, "最后一名");
    phone.register(300).await.unwrap();
    until_registered(&li, true).await;
    zhang.set_state("off").await.unwrap();
    refused(li.set_state("off").await, "最后一名");
    leader
        .post("/api/v1/duty/leaves", &json!({"login": "1102", "what": "sign_out", "reason": "突发疾病"}))
        .await
        .unwrap();
    li.set_state("off").await.unwrap();
    let audited = "SELECT COUNT(*) FROM audit WHERE action IN \
                   ('duty_leave_sign_in', 'sign_in_by_leave', 'duty_leave_sign_out')";
    assert_eq!(count(&desk.gateway, audited), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urgent_work_is_handed_over_before_its_owner_signs_out() {
    let desk = desk(hooked(GatewayConfig::default())).await;
    let ((zhang, _phone), (li, _other)) = (operator(&desk, "1101").await, operator(&desk, "1102").await);
    for operator in [&zhang, &li] {
        operator.set_state("ready").await.unwrap();
    }
    write(&desk.gateway, "zhao", "人民路88号门前燃气泄漏,有人被困").await;
    let work = until("the work", 20_000, || async {
        zhang.post("/api/v1/work/next", &Value::Null).await.ok().filter(|w| w["id"].is_string())
    });
    let work = work.await.unwrap();
    refused(zhang.set_state("off").await, "1 项紧急待办");
    let given = zhang.post("/api/v1/handovers", &json!({"to": "1102", "note": "已通知燃气公司"})).await.unwrap();
    let id = given["id"].as_str().unwrap().to_owned();
    assert_eq!(given["genuine"], true);
    let content: Value = serde_json::from_str(given["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["works"][0]["id"], work["id"]);
    refused(zhang.set_state("off").await, "1 项紧急待办");
    assert!(
        zhang
            .post(&format!("/api/v1/handovers/{id}/accept"), &Value::Null)
            .await
            .unwrap_err()
            .to_string()
            .contains("404")
    );
    let taken = li.post(&format!("/api/v1/handovers/{id}/accept"), &Value::Null).await.unwrap();
    assert_eq!((taken["ending"].as_str(), taken["genuine"].as_bool()), (Some("已接"), Some(true)));
    zhang.set_state("off").await.unwrap();
    refused(li.set_state("off").await, "1 项紧急待办");
    assert_eq!(li.get("/api/v1/duty/me").await.unwrap()["works"][0]["id"], work["id"]);
    let (stranger, _phone) = operator(&desk, "1103").await;
    assert!(stranger.get(&format!("/api/v1/handovers/{id}")).await.unwrap_err().to_string().contains("404"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_one_of_a_queue_stays_in_it_though_others_sit_elsewhere() {
    let desk = desk(GatewayConfig::default().with("queue.watch.wrap_s", 0)).await;
    let leader = &desk.api;
    let ((zhang, _phone), (li, _other)) = (operator(&desk, "1101").await, operator(&desk, "1102").await);
    let serve = async |api: &Api, queues: Value| {
        api.post("/api/v1/operators/me/state", &json!({"state": "ready", "queues": queues})).await
    };
    leader.post("/api/v1/shifts", &shift(-HOUR, &[("1101", "operator"), ("1102", "operator")])).await.unwrap();
    serve(&zhang, json!(["main"])).await.unwrap();
    serve(&li, json!(["watch"])).await.unwrap();
    refused(zhang.set_state("off").await, "最后一名");
    refused(serve(&zhang, json!(["watch"])).await, "最后一名");
    serve(&zhang, json!(["main", "watch"])).await.unwrap();
    // A state alone changes no queue.
    assert_eq!(zhang.set_state("break").await.unwrap()["queues"], json!(["main", "watch"]));
    serve(&li, json!(["main"])).await.unwrap();
    serve(&li, json!(["main", "watch"])).await.unwrap();
    zhang.set_state("off").await.unwrap();
}
