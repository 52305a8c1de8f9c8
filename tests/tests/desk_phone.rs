//! Phones of every kind: an outside number as an operator's, one that answers by itself, and a line that breaks.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::api::{Api, status};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::wav::Wav;
use hotline_tests::{tone, until};
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_500.0;
const BEEP_HZ: f64 = 1_000.0;
const LOST_HZ: f64 = 700.0;
const OUTSIDE: &str = "13912340000";

async fn put(api: &Api, user: &str, body: &Value) -> hotline_tests::Result<Value> {
    api.json(Method::PUT, &format!("/api/v1/users/{user}/phone"), Some(body)).await
}

async fn me(api: &Api) -> String {
    api.get("/api/v1/session").await.unwrap()["user"].as_str().unwrap().to_owned()
}

async fn seat(desk: &Desk, state: &str) -> Value {
    let found = |queues: &Value| {
        let mut seats = queues.as_array()?.iter().flat_map(|q| q["operators"].as_array().unwrap());
        seats.find(|seat| seat["state"] == state).cloned()
    };
    desk.api.wait_for("/api/v1/queues", 20_000, found).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outside_number_takes_a_citizen_once_a_person_presses_1_and_a_mailbox_never_does() {
    let config = GatewayConfig::default()
        .with("callback.enabled", false)
        .with("dialout.phone_prefixes", vec!["139"])
        .with("queue.main.ring_timeout_s", 3)
        .with("queue.main.wrap_s", 0);
    let town = Town::open(config).await;
    let desk = &town.desk;
    let operator = desk.gateway.sign_in(&hotline_tests::gateway::NewUser::operator("1002")).await.unwrap();
    let id = me(&operator).await;
    let wish = json!({"number": OUTSIDE});
    assert_eq!(status(put(&operator, &id, &wish).await), 403, "nobody sets their own");
    assert_eq!(status(put(&desk.api, &id, &json!({"number": "13812340000"})).await), 403, "no such prefix");
    let set = put(&desk.api, &id, &wish).await.unwrap();
    assert!(!set.to_string().contains("912340000"), "masked: {set}");
    let ready = operator.set_state("ready").await.unwrap();
    assert_eq!(ready["phone_registered"], true, "{ready}");

    let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let citizen = caller.call_answered("12319", 20_000).await.unwrap();
    let mailbox = town.citizen.next_call(20_000).await.unwrap();
    assert_eq!(mailbox.called_user(), OUTSIDE);
    mailbox.accept().unwrap();
    mailbox.wait_ended(20_000).await.unwrap();
    assert_eq!(seat(desk, "away").await["id"], id.as_str());
    let call = call_of(desk, 1).await;
    let state = desk.api.get(&format!("/api/v1/calls/{call}/state")).await.unwrap();
    assert_eq!(state["stage"], "queue", "a mailbox takes no citizen: {state}");

    operator.set_state("ready").await.unwrap();
    let person = town.citizen.next_call(20_000).await.unwrap();
    person.rtp().play(Source::tone(OPERATOR_HZ));
    person.accept().unwrap();
    person.wait_answered(20_000).await.unwrap();
    person.send_digits("1").unwrap();
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    person.rtp().wait_for_tone(CITIZEN_HZ, 300, 20_000).await.unwrap();
    assert_eq!(seat(desk, "talking").await["call"], call.as_str());
    citizen.hang_up().await.unwrap();
    person.wait_ended(20_000).await.unwrap();
    let row = desk.ended(&call).await;
    assert_eq!((row["end_side"].as_str(), row["operator"].as_str()), (Some("citizen"), Some(id.as_str())), "{row:#}");
    // A shift leader may send them on a break, though no phone of theirs ever registers.
    let break_of = format!("/api/v1/operators/{id}/state");
    let forced = desk.api.post(&break_of, &json!({"state": "break", "reason": "手机没电"})).await.unwrap();
    assert_eq!(
        (forced["state"].as_str(), forced["phone_registered"].as_bool()),
        (Some("break"), Some(true)),
        "{forced}"
    );
    let metrics = desk.gateway.api().metrics().await.unwrap();
    assert!(metrics.contains(r#"hotline_dialout_permitted_total{purpose="phone"} 2"#), "{metrics}");
    assert!(!desk.gateway.log().contains(OUTSIDE), "a number is in no log");
}

/// Operator 1001 with a tone of their own talks with a citizen.
async fn talk(desk: &Desk) -> (Phone, Call, Citizen, Call) {
    let mut settings = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    settings.source = Source::tone(OPERATOR_HZ);
    let phone = Phone::start(settings).await.unwrap();
    desk.ready().await;
    let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let citizen = caller.call_answered("12319", 20_000).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    (phone, operator, caller, citizen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_by_itself_hears_a_tone_before_the_citizen_is_there() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let set = put(&desk.api, &me(&desk.api).await, &json!({"auto_answer": true})).await.unwrap();
    assert_eq!((set["auto_answer"].as_bool(), set["number"].is_null()), (Some(true), true), "{set}");
    let (_phone, operator, _caller, citizen) = talk(&desk).await;
    let invite = operator.invite();
    assert!(invite.header("Call-Info").is_some_and(|v| v.contains("answer-after=0")), "{invite:?}");
    assert!(invite.header("Alert-Info").is_some_and(|v| v.contains("alert-autoanswer")), "{invite:?}");
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    operator.rtp().wait_for_tone(CITIZEN_HZ, 300, 20_000).await.unwrap();
    let heard = operator.rtp().heard().timeline();
    let first = |hz: f64| heard.chunks_exact(800).position(|piece| tone::tone_share(piece, 8_000, hz) > 0.8);
    let (beep, voice) = (first(BEEP_HZ), first(CITIZEN_HZ));
    assert!(beep.is_some() && beep < voice, "the tone at {beep:?}, the citizen at {voice:?}");
    citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_is_told_to_answer_only_if_its_operator_wants_that() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let (_phone, operator, _caller, citizen) = talk(&desk).await;
    assert!(operator.invite().header("Call-Info").is_none() && operator.invite().header("Alert-Info").is_none());
    citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_whose_line_to_the_operator_breaks_is_told_so_and_then_hears_music() {
    let sounds = tempfile::tempdir().unwrap();
    std::fs::create_dir(sounds.path().join("zh-CN")).unwrap();
    Wav::tone(LOST_HZ, -15.0, 1_500).write(&sounds.path().join("zh-CN/line_lost.wav")).unwrap();
    Wav::tone(300.0, -15.0, 1_000).write(&sounds.path().join("zh-CN/hold_music.wav")).unwrap();
    let config = GatewayConfig::default()
        .with("voice.sounds_dir", sounds.path().display().to_string())
        // The same phone would be rung again before the words are over.
        .with("queue.main.wrap_s", 30)
        .with("media.rtp_silence_ms", 1_000)
        .with("media.phone_dead_ms", 2_000);
    let desk = Desk::open(config).await;
    let (_phone, operator, _caller, citizen) = talk(&desk).await;
    citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    citizen.rtp().clear_heard();
    operator.vanish();
    citizen.rtp().wait_for_tone(LOST_HZ, 1_000, 30_000).await.unwrap();
    citizen.rtp().clear_heard();
    until("the music after it", 20_000, || async {
        let heard = citizen.rtp().heard().last_ms(500);
        (tone::tone_ms(&heard, 8_000, 300.0) >= 400).then_some(())
    })
    .await
    .unwrap();
    citizen.hang_up().await.unwrap();
}
