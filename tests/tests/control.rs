//! Call control by REST, whatever phone an operator has: each answer says what holds now, tones say what is heard.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::heard::{hears, lacks};
use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::api::{Api, status};
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;
const COLLEAGUE_HZ: f64 = 1_500.0;

/// Operator 1001, a shift leader too, talks with a citizen; 1002 is a colleague.
struct Talk {
    desk: Desk,
    citizen: Call,
    operator: Call,
    colleague: Phone,
    id: String,
    _phone: Phone,
}

impl Talk {
    async fn open() -> Self {
        let desk = Desk::open(GatewayConfig::default()).await;
        let phone = desk.phone().await;
        desk.ready().await;
        let mut settings = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1002", "phone-1002"));
        settings.source = Source::tone(COLLEAGUE_HZ);
        let colleague = Phone::start(settings).await.unwrap();
        let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
        let citizen = caller.call_answered("12319", 5_000).await.unwrap();
        citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
        let operator = phone.next_call(5_000).await.unwrap();
        let id = call_of(&desk, 1).await;
        Self { desk, citizen, operator, colleague, id, _phone: phone }
    }

    fn path(&self, what: &str) -> String {
        format!("/api/v1/calls/{}/{what}", self.id)
    }

    async fn post(&self, what: &str, body: &Value) -> Value {
        self.desk.api.post(&self.path(what), body).await.unwrap()
    }

    async fn delete(&self, what: &str) -> Value {
        self.desk.api.json(Method::DELETE, &self.path(what), None).await.unwrap()
    }

    /// The state once `wanted` holds.
    async fn state(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = |state: &Value| wanted(state).then(|| state.clone());
        self.desk.api.wait_for(&self.path("state"), 20_000, found).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_and_mute_answer_with_the_new_state_and_asked_twice_change_nothing() {
    let talk = Talk::open().await;
    for _ in 0..2 {
        let muted = talk.post("mute", &json!({"on": true})).await;
        assert_eq!((muted["muted"].as_bool(), muted["held"].as_bool()), (Some(true), Some(false)), "{muted}");
        let citizen = muted["hears"].as_array().unwrap().iter().find(|row| row["who"] == "citizen").unwrap();
        assert_eq!(citizen["whom"], json!([]), "{muted}");
    }
    lacks(&talk.citizen, OPERATOR_HZ).await;
    hears(&talk.operator, CITIZEN_HZ).await;
    let held = talk.post("hold", &json!({"on": true})).await;
    assert_eq!(held["held"], true, "{held}");
    let back = talk.post("hold", &json!({"on": false})).await;
    assert_eq!((back["held"].as_bool(), back["muted"].as_bool()), (Some(false), Some(true)), "{back}");
    lacks(&talk.citizen, OPERATOR_HZ).await;
    for _ in 0..2 {
        assert_eq!(talk.post("mute", &json!({"on": false})).await["muted"], false);
    }
    hears(&talk.citizen, OPERATOR_HZ).await;
    let answered = talk.post("answer", &json!({})).await;
    assert_eq!(answered["operator"]["talking"], true, "who talks has answered: {answered}");
    talk.citizen.hang_up().await.unwrap();
    talk.desk.ended(&talk.id).await;
    assert_eq!(status(talk.desk.api.post(&talk.path("hold"), &json!({"on": true})).await), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_muted_operator_silences_nobody_else() {
    let talk = Talk::open().await;
    assert_eq!(talk.post("mute", &json!({"on": true})).await["muted"], true);
    lacks(&talk.citizen, OPERATOR_HZ).await;
    let asked = talk.post("guests", &json!({"phone": "1002"})).await;
    let guest = asked["guests"][0]["user"].as_str().unwrap().to_owned();
    let colleague = talk.colleague.next_call(20_000).await.unwrap();
    hears(&talk.citizen, COLLEAGUE_HZ).await;
    hears(&colleague, CITIZEN_HZ).await;
    lacks(&talk.citizen, OPERATOR_HZ).await;
    let left = talk.delete(&format!("guests/{guest}")).await;
    assert_eq!((left["muted"].as_bool(), left["guests"].clone()), (Some(true), json!([])), "{left}");
    lacks(&talk.citizen, COLLEAGUE_HZ).await;
    assert_eq!(talk.post("mute", &json!({"on": false})).await["muted"], false);
    hears(&talk.citizen, OPERATOR_HZ).await;
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consultation_keeps_the_citizen_out_until_the_colleague_joins_and_takes_over() {
    let talk = Talk::open().await;
    for _ in 0..2 {
        let asked = talk.post("consult", &json!({"phone": "1002"})).await;
        assert_eq!((asked["held"].as_bool(), asked["guests"].as_array().unwrap().len()), (Some(true), 1), "{asked}");
    }
    let colleague = talk.colleague.next_call(20_000).await.unwrap();
    hears(&colleague, OPERATOR_HZ).await;
    lacks(&colleague, CITIZEN_HZ).await;
    hears(&talk.operator, COLLEAGUE_HZ).await;
    lacks(&talk.citizen, COLLEAGUE_HZ).await;
    assert_eq!(
        status(talk.desk.api.post(&talk.path("transfer"), &json!({"queue": "main"})).await),
        409,
        "one thing at a time"
    );

    let joined = talk.post("consult/join", &json!({})).await;
    assert_eq!(
        (joined["held"].as_bool(), joined["guests"][0]["part"].as_str()),
        (Some(false), Some("join")),
        "{joined}"
    );
    hears(&talk.citizen, COLLEAGUE_HZ).await;
    hears(&colleague, CITIZEN_HZ).await;
    let guest = joined["guests"][0]["user"].as_str().unwrap();
    let left = talk.delete(&format!("guests/{guest}")).await;
    assert_eq!(left["guests"], json!([]));
    colleague.wait_ended(10_000).await.unwrap();

    // Attended transfer: asked again, then handed on.
    talk.post("consult", &json!({"phone": "1002"})).await;
    let colleague = talk.colleague.next_call(20_000).await.unwrap();
    talk.state(|s| s["guests"][0]["talking"] == true).await;
    let done = talk.post("consult/complete", &json!({})).await;
    assert_eq!((done["operator"]["id"].as_str(), done["held"].as_bool()), (Some(guest), Some(false)), "{done}");
    talk.operator.wait_ended(10_000).await.unwrap();
    hears(&talk.citizen, COLLEAGUE_HZ).await;
    hears(&colleague, CITIZEN_HZ).await;
    let not_mine = talk.desk.api.post(&talk.path("mute"), &json!({"on": true})).await;
    assert_eq!(status(not_mine), 403, "it is 1002's call now");
    colleague.hang_up().await.unwrap();
    talk.citizen.hang_up().await.unwrap();
    assert_eq!(talk.desk.ended(&talk.id).await["end_side"], "operator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consulted_colleague_who_does_not_answer_gives_the_citizen_back() {
    let talk = Talk::open().await;
    talk.colleague.set_behaviour(Behaviour::Reject { after_ms: 100, code: 486 });
    talk.post("consult", &json!({"phone": "1002"})).await;
    talk.state(|s| s["held"] == false && s["guests"] == json!([])).await;
    hears(&talk.citizen, OPERATOR_HZ).await;
    assert_eq!(status(talk.desk.api.post(&talk.path("consult/complete"), &json!({})).await), 409);
    talk.colleague.set_behaviour(Behaviour::Ring);
    talk.post("consult", &json!({"phone": "1002"})).await;
    for _ in 0..2 {
        let back = talk.delete("consult").await;
        assert_eq!((back["held"].as_bool(), back["guests"].clone()), (Some(false), json!([])), "{back}");
    }
    hears(&talk.citizen, OPERATOR_HZ).await;
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_transfer_by_rest_rings_the_colleague_and_may_be_taken_back() {
    let talk = Talk::open().await;
    talk.colleague.set_behaviour(Behaviour::Ring);
    for _ in 0..2 {
        let sent = talk.post("transfer", &json!({"phone": "1002"})).await;
        assert!(sent["transfer"]["to"].is_string(), "{sent}");
    }
    talk.colleague.next_call(20_000).await.unwrap();
    let back = talk.delete("transfer").await;
    assert_eq!((back["transfer"].is_null(), back["operator"]["talking"].as_bool()), (true, Some(true)), "{back}");
    hears(&talk.citizen, OPERATOR_HZ).await;
    for (body, code) in [
        (json!({"queue": "nowhere"}), 422),
        (json!({"phone": "1001"}), 409),
        (json!({"phone": "1999"}), 409),
        (json!({"number": "0019005551234"}), 403),
        (json!({}), 400),
    ] {
        assert_eq!(status(talk.desk.api.post(&talk.path("transfer"), &body).await), code, "{body}");
    }
    talk.colleague.set_behaviour(Behaviour::Answer { after_ms: 50 });
    talk.post("transfer", &json!({"phone": "1002"})).await;
    hears(&talk.citizen, COLLEAGUE_HZ).await;
    talk.operator.wait_ended(10_000).await.unwrap();
    talk.citizen.hang_up().await.unwrap();
    talk.desk.ended(&talk.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_reach_the_other_side_once_however_often_they_are_asked_for() {
    let talk = Talk::open().await;
    let keyless = talk.desk.api.post(&talk.path("digits"), &json!({"digits": "1"})).await;
    assert_eq!(status(keyless), 400, "a repetition couldn't be told from a second wish");
    let press = async |digits: &str, key: &str| {
        let body = json!({"digits": digits});
        let headers = [("idempotency-key", key)];
        talk.desk.api.send(Method::POST, &talk.path("digits"), Some(&body), &headers).await.unwrap().status().as_u16()
    };
    assert_eq!(press("12x", "press-000").await, 422);
    for _ in 0..3 {
        assert_eq!(press("19#", "press-001").await, 200);
    }
    assert_eq!(talk.citizen.rtp().wait_for_digits(3, 20_000).await.unwrap(), "19#");
    assert_eq!(press("4", "press-002").await, 200);
    assert_eq!(talk.citizen.rtp().wait_for_digits(4, 20_000).await.unwrap(), "19#4");
    assert_eq!(press("5", "press-002").await, 422, "a key belongs to one wish");
    talk.citizen.hang_up().await.unwrap();
    // Whole once the call has ended.
    talk.desk.ended(&talk.id).await;
    let events = talk.desk.api.get(&talk.path("events")).await.unwrap().to_string();
    assert!(events.contains("digits_sent") && !events.contains("19#"), "which keys, is nobody's business: {events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_brings_the_ambulance_into_the_talk_with_place_and_number() {
    let config = GatewayConfig::default()
        .with("dialout.emergency", vec!["120"])
        // No cap stands between a citizen and an ambulance.
        .with("dialout.daily_max", 0)
        .with("dialout.concurrent_max", 0);
    let town = Town::open(config).await;
    let phone = town.desk.phone().await;
    town.desk.ready().await;
    let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let operator = phone.next_call(5_000).await.unwrap();
    let id = town.newest_call().await;
    let path = format!("/api/v1/calls/{id}/emergency");
    assert_eq!(status(town.desk.api.post(&path, &json!({"number": "13900001111"})).await), 422, "no free dial pad");
    let body = json!({"number": "120", "place": "人民路88号"});
    let asked = town.desk.api.post(&path, &body).await.unwrap();
    assert_eq!(asked["context"]["line"], format!("地点:人民路88号 来电号码:+86{NUMBER}"), "{asked}");
    let service = town.citizen.next_call(20_000).await.unwrap();
    assert_eq!(service.called_user(), "120");
    let again = town.desk.api.post(&path, &body).await.unwrap();
    assert_eq!(again["guests"].as_array().unwrap().len(), 1, "asked twice is called once: {again}");
    service.accept().unwrap();
    service.wait_answered(10_000).await.unwrap();
    // All three hear each other: citizen and service both say 440 Hz here.
    hears(&service, OPERATOR_HZ).await;
    hears(&service, CITIZEN_HZ).await;
    hears(&operator, CITIZEN_HZ).await;
    let invites = town.citizen.agent().received(|m| m.is_request() && m.method() == "INVITE");
    let calls: std::collections::BTreeSet<&str> = invites.iter().map(|m| m.call_id()).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    // The service hears the number read out instead of the talk.
    let number = format!("/api/v1/calls/{id}/guests/emergency:120/number");
    town.desk.api.post(&number, &json!({})).await.unwrap();
    lacks(&service, OPERATOR_HZ).await;
    hears(&call, OPERATOR_HZ).await;
    hears(&service, OPERATOR_HZ).await;
    assert_eq!(status(town.desk.api.post(&number.replace("120/", "110/"), &json!({})).await), 409);
    let left = town.desk.api.json(Method::DELETE, &format!("/api/v1/calls/{id}/guests/emergency:120"), None).await;
    assert_eq!(left.unwrap()["guests"], json!([]));
    service.wait_ended(10_000).await.unwrap();
    call.hang_up().await.unwrap();
    town.desk.ended(&id).await;
    let metrics = town.desk.gateway.api().metrics().await.unwrap();
    assert!(metrics.contains(r#"hotline_dialout_permitted_total{purpose="emergency"} 1"#), "{metrics}");
}

async fn leader(desk: &Desk) -> Api {
    desk.gateway.sign_in(&desk.user).await.unwrap()
}

/// The text of an event stream once it holds `until`.
async fn told(mut stream: reqwest::Response, until: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(until) {
            match stream.chunk().await.unwrap() {
                Some(chunk) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return,
            }
        }
    };
    let limit = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(limit, reading).await.is_ok(), "no {until} in {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_red_flag_and_a_call_for_help_reach_the_shift_leader() {
    let talk = Talk::open().await;
    let stream = leader(&talk.desk).await.send(Method::GET, "/api/v1/events", None, &[]).await.unwrap();
    let events = told(stream, "retry").await;
    assert!(!events.contains("event: red"), "{events}");
    let stream = leader(&talk.desk).await.send(Method::GET, "/api/v1/events", None, &[]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(talk.post("flag", &json!({})).await["lane"], "red");
        assert!(talk.post("help", &json!({"on": true})).await["help_since"].is_i64());
    }
    assert!(talk.post("help", &json!({"on": false})).await["help_since"].is_null());
    let events = told(stream, "\"on\":false").await;
    assert_eq!(events.matches("event: red\n").count(), 1, "{events}");
    assert_eq!(events.matches("event: help\n").count(), 2, "{events}");
    assert!(!events.contains(NUMBER), "numbers are masked: {events}");
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_rings_is_picked_up_at_the_phone() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    phone.set_behaviour(Behaviour::Ring);
    desk.ready().await;
    let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let citizen = caller.call_answered("12319", 5_000).await.unwrap();
    phone.next_call(20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let answer = format!("/api/v1/calls/{id}/answer");
    assert_eq!(status(desk.api.post(&answer, &json!({})).await), 409);
    let colleague = desk.gateway.sign_in(&NewUser::operator("1002")).await.unwrap();
    assert_eq!(status(colleague.post(&answer, &json!({})).await), 403);
    assert_eq!(status(colleague.get(&format!("/api/v1/calls/{id}/state")).await), 403);
    citizen.hang_up().await.unwrap();
}
