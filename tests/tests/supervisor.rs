//! Shift leaders: take a call over, end it, move who waits, force a state, speak to all, be alarmed; each of it in
//! the audit chain, and who complains about operators reaches leaders only.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::time::Duration;

use common::rows::rows;
use common::{Desk, NUMBER, call_of, item_form};
use hotline_tests::api::{Api, status};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Call, Citizen, CitizenConfig, Credentials, Dial, Phone, PhoneConfig};
use reqwest::Method;
use serde_json::{Value, json};

const OPERATOR_HZ: f64 = 1_000.0;
const LEADER_HZ: f64 = 1_500.0;

/// The shift leader 1001, signed in; 1002 is an operator.
async fn desk(config: GatewayConfig) -> (Desk, Api) {
    let desk = Desk::open(config).await;
    let operator = desk.gateway.sign_in(&NewUser::operator("1002")).await.unwrap();
    (desk, operator)
}

async fn phone(gateway: &Gateway, user: &str, hz: f64) -> Phone {
    let mut settings = PhoneConfig::new(gateway.sip(), Credentials::new(user, format!("phone-{user}")));
    settings.source = Source::tone(hz);
    Phone::start(settings).await.unwrap()
}

async fn citizen(gateway: &Gateway, number: &str, called: &str) -> (Citizen, Call) {
    let citizen = Citizen::start(CitizenConfig::new(gateway.sip(), number)).await.unwrap();
    let call = citizen.call_answered(called, 5_000).await.unwrap();
    (citizen, call)
}

async fn hears(call: &Call, hz: f64) {
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(hz, 300, 20_000).await.unwrap();
}

/// How often an action stands in the audit chain.
fn audited(gateway: &Gateway, action: &str) -> usize {
    rows(gateway, &format!("SELECT reason FROM audit WHERE action = '{action}'")).len()
}

async fn stream(api: &Api) -> reqwest::Response {
    api.send(Method::GET, "/api/v1/events", None, &[]).await.unwrap()
}

/// The text of an event stream once it holds `wanted`.
async fn told(stream: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), reading).await.is_ok(), "no {wanted}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_takes_a_call_over_and_the_operator_is_out() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let leader_phone = phone(&desk.gateway, "1001", LEADER_HZ).await;
    let operator_phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let (_line, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    hears(&call, OPERATOR_HZ).await;
    let operator = operator_phone.next_call(5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let take = format!("/api/v1/calls/{id}/take");
    assert_eq!(status(operator_api.post(&take, &json!({"reason": "接管试试"})).await), 403);
    assert_eq!(status(desk.api.post(&take, &json!({"reason": ""})).await), 400);
    assert_eq!(audited(&desk.gateway, "supervise_take"), 0);
    let asked = desk.api.post(&take, &json!({"reason": "市民情绪激动"})).await.unwrap();
    assert_eq!(asked["operator"]["name"], "受理员1002", "until the leader's phone is up the operator stays: {asked}");
    let leader = leader_phone.next_call(20_000).await.unwrap();
    operator.wait_ended(20_000).await.unwrap();
    hears(&call, LEADER_HZ).await;
    hears(&leader, 440.0).await;
    let again = desk.api.post(&take, &json!({"reason": "市民情绪激动"})).await.unwrap();
    assert_eq!(
        (again["operator"]["name"].as_str(), again["guests"].clone()),
        (Some("受理员1001"), json!([])),
        "{again}"
    );
    assert_eq!(audited(&desk.gateway, "supervise_take"), 2, "each wish leaves its line");
    call.hang_up().await.unwrap();
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], "citizen");
    assert_eq!(row["recordings"].as_array().unwrap().len(), 1, "one file for the whole talk: {row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_a_leader_takes_is_not_sent_elsewhere_while_their_phone_rings() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let leader_phone = phone(&desk.gateway, "1001", LEADER_HZ).await;
    leader_phone.set_behaviour(Behaviour::Ring);
    let operator_phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let (_line, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    hears(&call, OPERATOR_HZ).await;
    let operator = operator_phone.next_call(5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    desk.api.post(&path("take"), &json!({"reason": "市民情绪激动"})).await.unwrap();
    let leader = leader_phone.next_call(20_000).await.unwrap();
    for target in [json!({"queue": "help"}), json!({"phone": "1001"})] {
        assert_eq!(status(operator_api.post(&path("transfer"), &target).await), 409, "{target}");
    }
    hears(&call, OPERATOR_HZ).await;
    leader.accept().unwrap();
    operator.wait_ended(20_000).await.unwrap();
    hears(&call, LEADER_HZ).await;
    hears(&leader, 440.0).await;
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_ends_a_call_with_a_reason_and_nobody_is_called_back() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let _phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let (_line, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    hears(&call, OPERATOR_HZ).await;
    let id = call_of(&desk, 1).await;
    let end = format!("/api/v1/calls/{id}/force-end");
    assert_eq!(status(operator_api.post(&end, &json!({"reason": "不想接了"})).await), 403);
    assert_eq!(status(desk.api.post(&end, &json!({})).await), 422);
    desk.api.post(&end, &json!({"reason": "辱骂受理员"})).await.unwrap();
    call.wait_ended(10_000).await.unwrap();
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], "operator", "{row}");
    assert!(row["end_reason"].as_str().unwrap().starts_with("leader_force_end"), "{row}");
    assert_eq!(desk.api.get("/api/v1/callbacks").await.unwrap(), json!([]));
    let why = rows(&desk.gateway, "SELECT reason FROM audit WHERE action = 'force_end'");
    assert_eq!(why, [json!({"reason": "辱骂受理员"})]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_caller_is_moved_to_the_front_and_to_another_queue() {
    let (desk, operator_api) = desk(GatewayConfig::default().with("queue.help.wrap_s", 0)).await;
    let operator_phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    let (_a, first) = citizen(&desk.gateway, "13800000001", "12319").await;
    let (_b, second) = citizen(&desk.gateway, "13800000002", "12319").await;
    let ids = [call_of(&desk, 1).await, call_of(&desk, 2).await];
    for id in &ids {
        let found = |state: &Value| (state["stage"] == "queue").then_some(());
        desk.api.wait_for(&format!("/api/v1/calls/{id}/state"), 20_000, found).await.unwrap();
    }
    let path = |id: &str| format!("/api/v1/calls/{id}/move");
    assert_eq!(status(operator_api.post(&path(&ids[1]), &json!({"front": true})).await), 403);
    assert_eq!(status(desk.api.post(&path(&ids[1]), &json!({})).await), 400);
    assert_eq!(status(desk.api.post(&path(&ids[1]), &json!({"queue": "nowhere"})).await), 422);
    desk.api.post(&path(&ids[1]), &json!({"front": true})).await.unwrap();
    let moved = desk.api.post(&path(&ids[0]), &json!({"queue": "help"})).await.unwrap();
    assert_eq!(moved["queue"], "help", "{moved}");
    operator_api.set_state("ready").await.unwrap();
    operator_phone.next_call(20_000).await.unwrap();
    hears(&second, OPERATOR_HZ).await;
    second.hang_up().await.unwrap();
    desk.ended(&ids[1]).await;
    let serve = json!({"state": "ready", "queue": "help"});
    operator_api.post("/api/v1/operators/me/state", &serve).await.unwrap();
    hears(&first, OPERATOR_HZ).await;
    let talking = desk.api.post(&path(&ids[0]), &json!({"front": true})).await;
    assert_eq!(status(talking), 409, "who talks doesn't wait");
    first.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_state_and_a_broadcast_reach_the_operator_and_the_audit_chain() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let _phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    let mut events = stream(&operator_api).await;
    operator_api.set_state("ready").await.unwrap();
    let ready = told(&mut events, "\"state\":\"ready\"").await;
    assert!(ready.contains("event: snapshot"), "{ready}");
    let queues = desk.api.get("/api/v1/queues").await.unwrap();
    let seat = queues[0]["operators"].as_array().unwrap().iter().find(|o| o["name"] == "受理员1002").unwrap().clone();
    let path = format!("/api/v1/operators/{}/state", seat["id"].as_str().unwrap());
    let form = json!({"state": "break", "reason": "连续两小时通话"});
    assert_eq!(status(operator_api.post(&path, &form).await), 403);
    assert_eq!(status(desk.api.post(&path, &json!({"state": "talking", "reason": "试一试"})).await), 400);
    let forced = desk.api.post(&path, &form).await.unwrap();
    assert_eq!(forced["state"], "break", "{forced}");
    told(&mut events, "event: state_forced").await;
    assert_eq!(audited(&desk.gateway, "force_state"), 1);

    let words = json!({"text": "暴雨红色预警,请询问积水深度"});
    assert_eq!(status(operator_api.post("/api/v1/broadcasts", &words).await), 403);
    assert_eq!(status(desk.api.post("/api/v1/broadcasts", &json!({"text": " "})).await), 400);
    desk.api.post("/api/v1/broadcasts", &words).await.unwrap();
    let heard = told(&mut events, "暴雨红色预警").await;
    assert!(heard.contains("event: broadcast"), "{heard}");
    assert_eq!(audited(&desk.gateway, "broadcast"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_absences_and_an_empty_desk_alarm_the_leader_and_nobody_else() {
    let config = GatewayConfig::default().with("alarm.wait_s", 1).with("alarm.away_s", 1).with("alarm.signed_out_s", 1);
    let (desk, operator_api) = desk(config).await;
    let (mut leader, mut operator) = (stream(&desk.api).await, stream(&operator_api).await);
    told(&mut leader, "\"alarm\":\"signed_out\"").await;
    let (_line, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    told(&mut leader, "\"alarm\":\"wait\"").await;
    let alarms = desk.api.get("/api/v1/alarms").await.unwrap().to_string();
    assert!(alarms.contains("wait") && alarms.contains("signed_out"), "{alarms}");
    operator_api.set_state("away").await.unwrap();
    told(&mut leader, "\"alarm\":\"away\"").await;
    let metrics = desk.gateway.api().metrics().await.unwrap();
    for line in [r#"hotline_alarms_on{alarm="wait"} 1"#, r#"hotline_alarms_on{alarm="signed_out"} 0"#] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(status(operator_api.get("/api/v1/alarms").await), 403);
    desk.api.post("/api/v1/broadcasts", &json!({"text": "就到这里"})).await.unwrap();
    let heard = told(&mut operator, "就到这里").await;
    assert!(!heard.contains("event: alarm"), "{heard}");
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervision_number_reaches_leaders_only() {
    let hotlines: toml::Table =
        "hotline = [{ number = \"12319\" }, { number = \"86520110\", queue = \"watch\" }]".parse().unwrap();
    let config = GatewayConfig::default()
        .with("hotline", hotlines["hotline"].clone())
        .with("queue.watch.leaders_only", true)
        .with("queue.watch.wrap_s", 0);
    let (desk, operator_api) = desk(config).await;
    let leader_phone = phone(&desk.gateway, "1001", LEADER_HZ).await;
    let _phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let watch = json!({"state": "ready", "queue": "watch"});
    assert_eq!(status(operator_api.post("/api/v1/operators/me/state", &watch).await), 403);
    let mut events = stream(&operator_api).await;
    let (_line, call) = citizen(&desk.gateway, NUMBER, "86520110").await;
    let id = call_of(&desk, 1).await;
    let found = |state: &Value| (state["stage"] == "queue").then_some(());
    desk.api.wait_for(&format!("/api/v1/calls/{id}/state"), 20_000, found).await.unwrap();
    desk.api.post("/api/v1/operators/me/state", &watch).await.unwrap();
    leader_phone.next_call(20_000).await.unwrap();
    hears(&call, LEADER_HZ).await;
    assert_eq!(operator_api.get("/api/v1/calls").await.unwrap(), json!([]), "operators don't see it");
    assert_eq!(operator_api.get("/api/v1/calls/live").await.unwrap(), json!([]));
    for what in ["", "/events", "/state"] {
        let seen = status(operator_api.get(&format!("/api/v1/calls/{id}{what}")).await);
        assert!([403, 404].contains(&seen), "{what}: {seen}");
    }
    call.hang_up().await.unwrap();
    desk.ended(&id).await;
    desk.api.post("/api/v1/broadcasts", &json!({"text": "就到这里"})).await.unwrap();
    let heard = told(&mut events, "就到这里").await;
    assert!(!heard.contains(&id), "nor hear of it: {heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_a_citizens_matter_names_gets_to_that_citizen_by_no_way() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let named_phone = phone(&desk.gateway, "1001", LEADER_HZ).await;
    let operator_phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let (_line, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    hears(&call, OPERATOR_HZ).await;
    let operator = operator_phone.next_call(5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    desk.api.post(&path("supervise"), &json!({"part": "listen"})).await.unwrap();
    let listening = named_phone.next_call(20_000).await.unwrap();
    let there = |state: &Value| (state["guests"][0]["talking"] == true).then_some(());
    desk.api.wait_for(&path("state"), 20_000, there).await.unwrap();
    let mut form = common::item_form(&id);
    (form["title"], form["detail"]) = (json!("投诉工号1001"), json!("工号1001态度差,挂我电话"));
    operator_api.post("/api/v1/items", &form).await.unwrap();
    listening.wait_ended(20_000).await.unwrap();
    let reason = json!({"reason": "市民情绪激动"});
    for part in ["listen", "whisper"] {
        assert_eq!(status(desk.api.post(&path("supervise"), &json!({"part": part})).await), 409, "{part}");
    }
    assert_eq!(status(desk.api.post(&path("take"), &reason).await), 409);
    let to = json!({"phone": "1001"});
    for way in ["transfer", "consult", "guests"] {
        assert_eq!(status(operator_api.post(&path(way), &to).await), 409, "{way}");
    }
    assert_eq!(operator.refer(&format!("sip:1001@{}", desk.gateway.sip())).await.unwrap(), 480);
    let consult = operator_phone.agent().dial(Dial::new(desk.gateway.sip(), "1001")).unwrap();
    assert!(consult.wait_answered(10_000).await.is_err());
    assert!(named_phone.next_call(500).await.is_err(), "nobody rings");
    hears(&call, OPERATOR_HZ).await;
}

async fn complains_of_1001(operator: &Api, call: &str) {
    let mut form = item_form(call);
    (form["title"], form["detail"]) = (json!("投诉工号1001"), json!("工号1001态度差,挂我电话"));
    operator.post("/api/v1/items", &form).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_rings_for_a_citizen_is_let_go_once_their_complaint_names_its_owner() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let named_phone = phone(&desk.gateway, "1001", LEADER_HZ).await;
    named_phone.set_behaviour(Behaviour::Ring);
    let _operator_phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let (_line, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    hears(&call, OPERATOR_HZ).await;
    let id = call_of(&desk, 1).await;
    operator_api.post(&format!("/api/v1/calls/{id}/transfer"), &json!({"phone": "1001"})).await.unwrap();
    let rings = named_phone.next_call(20_000).await.unwrap();
    complains_of_1001(&operator_api, &id).await;
    rings.wait_ended(20_000).await.unwrap();
    hears(&call, OPERATOR_HZ).await;
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_a_citizen_without_a_number_complains_of_leaves_the_three_way_and_does_not_come_back() {
    let (desk, operator_api) = desk(GatewayConfig::default()).await;
    let named_phone = phone(&desk.gateway, "1001", LEADER_HZ).await;
    let operator_phone = phone(&desk.gateway, "1002", OPERATOR_HZ).await;
    operator_api.set_state("ready").await.unwrap();
    let (_line, call) = citizen(&desk.gateway, "anonymous", "12319").await;
    hears(&call, OPERATOR_HZ).await;
    let operator = operator_phone.next_call(5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    operator_api.post(&path("guests"), &json!({"phone": "1001"})).await.unwrap();
    let guest = named_phone.next_call(20_000).await.unwrap();
    let there = |state: &Value| (state["guests"][0]["talking"] == true).then_some(());
    desk.api.wait_for(&path("state"), 20_000, there).await.unwrap();
    complains_of_1001(&operator_api, &id).await;
    guest.wait_ended(20_000).await.unwrap();
    assert_eq!(status(desk.api.post(&path("supervise"), &json!({"part": "listen"})).await), 409);
    operator.hang_up().await.unwrap();
    let after = |state: &Value| (state["stage"] == "after_talk").then_some(());
    desk.api.wait_for(&path("state"), 20_000, after).await.unwrap();
    assert!(named_phone.next_call(500).await.is_err(), "the citizen isn't theirs");
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_hears_of_a_caller_whom_nobody_signed_in_may_serve() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let named = phone(&desk.gateway, "1001", OPERATOR_HZ).await;
    let other = NewUser { roles: vec!["leader".into()], ..NewUser::operator("1003") };
    desk.gateway.add_user(&other).unwrap();
    let mut events = stream(&desk.gateway.sign_in(&other).await.unwrap()).await;
    let (_citizen, call) = citizen(&desk.gateway, NUMBER, "12319").await;
    let id = call_of(&desk, 1).await;
    let mut form = item_form(&id);
    (form["title"], form["detail"]) = (json!("投诉工号1001"), json!("工号1001态度差"));
    desk.api.post("/api/v1/items", &form).await.unwrap();
    let is_known = |seen: &Value| seen.as_array()?.iter().any(|event| event["kind"] == "routing").then_some(());
    desk.api.wait_for(&format!("/api/v1/calls/{id}/events"), 20_000, is_known).await.unwrap();
    desk.ready().await;
    let heard = told(&mut events, "event: recusal").await;
    assert!(heard.contains(&id) && !heard.contains("1001态度"), "{heard}");
    assert!(named.next_call(500).await.is_err(), "not rung");
    call.hang_up().await.unwrap();
}
