//! 常通线路: an operator's phone is rung once; its leg stays up, and citizens are connected with it by a tone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{Baresip, BaresipConfig, BrowserPhone};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::wav::Wav;
use hotline_tests::{Error, tone, until};
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_500.0;
const BEEP_HZ: f64 = 1_000.0;

/// Operator 1001 wants a nailed-up leg.
async fn desk() -> (Desk, String) {
    let config = GatewayConfig::default()
        .with("voice.survey_off", true)
        .with("media.rtp_silence_ms", 1_000)
        .with("media.phone_dead_ms", 2_000)
        .with("sip.digest", vec!["MD5"])
        .with("sip.phone_media_networks", vec!["127.0.0.1"]);
    let desk = Desk::open(config).await;
    let me = wants(&desk, json!({"nailed_up": true})).await;
    (desk, me)
}

/// Sets 1001's phone; their id.
async fn wants(desk: &Desk, phone: Value) -> String {
    let me = desk.api.get("/api/v1/session").await.unwrap()["user"].as_str().unwrap().to_owned();
    let set = desk.api.json(Method::PUT, &format!("/api/v1/users/{me}/phone"), Some(&phone)).await.unwrap();
    assert_eq!((&set["nailed_up"], &set["line_up"]), (&json!(true), &json!(false)), "{set}");
    me
}

async fn phone(desk: &Desk) -> Phone {
    let mut settings = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    settings.source = Source::tone(OPERATOR_HZ);
    Phone::start(settings).await.unwrap()
}

async fn citizen(desk: &Desk) -> (Citizen, Call) {
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    (citizen, call)
}

fn invites(phone: &Phone) -> usize {
    phone.agent().received(|m| m.is_request() && m.method() == "INVITE").len()
}

async fn seat(desk: &Desk, state: &str) -> Value {
    until(&format!("the operator {state}"), 20_000, || async {
        let queues = desk.api.get("/api/v1/queues").await.ok()?;
        let seat = queues[0]["operators"].as_array()?.first()?.clone();
        (seat["state"] == state).then_some(seat)
    })
    .await
    .unwrap()
}

async fn line_up(desk: &Desk, me: &str, up: bool) {
    let found = |view: &Value| (view["line_up"] == up).then_some(());
    desk.api.wait_for(&format!("/api/v1/users/{me}/phone"), 20_000, found).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_citizens_come_to_one_leg_by_a_tone_and_a_bye_of_the_phone_ends_it() {
    let (desk, me) = desk().await;
    let phone = phone(&desk).await;
    desk.ready().await;
    let line = phone.next_call(20_000).await.unwrap();
    assert!(line.invite().header("X-Hotline-Call").is_none());
    line_up(&desk, &me, true).await;
    // So that the way stays open: packets, and nothing in them.
    until("the silence between citizens", 20_000, || async {
        let heard = line.rtp().heard().last_ms(1_000);
        (heard.len() >= 8_000 && heard.iter().all(|sample| sample.abs() < 64)).then_some(())
    })
    .await
    .unwrap();
    for n in 1..=2 {
        line.rtp().clear_heard();
        let (_citizen, call) = citizen(&desk).await;
        call.rtp().wait_for_tone(OPERATOR_HZ, 500, 20_000).await.unwrap();
        line.rtp().wait_for_tone(CITIZEN_HZ, 500, 20_000).await.unwrap();
        let heard = line.rtp().heard().timeline();
        let first = |hz: f64| heard.chunks_exact(800).position(|piece| tone::tone_share(piece, 8_000, hz) > 0.8);
        let (beep, voice) = (first(BEEP_HZ), first(CITIZEN_HZ));
        assert!(beep.is_some() && beep < voice, "the tone at {beep:?}, the citizen at {voice:?}");
        let id = call_of(&desk, n).await;
        // 结束 ends the talk, and only that; the second citizen hangs up themselves.
        match n {
            1 => drop(desk.api.post(&format!("/api/v1/calls/{id}/end"), &json!({})).await.unwrap()),
            _ => call.hang_up().await.unwrap(),
        }
        let row = desk.ended(&id).await;
        assert_eq!(row["end_side"], if n == 1 { "operator" } else { "citizen" }, "{row}");
        let talks: Vec<&Value> = row["recordings"].as_array().unwrap().iter().filter(|r| r["kind"] == "talk").collect();
        assert_eq!(talks.len(), 1, "{row}");
        let audio = Wav::from_bytes(&desk.api.audio(talks[0]["id"].as_str().unwrap(), "test").await.unwrap()).unwrap();
        assert!(audio.tone_ms(0, CITIZEN_HZ) >= 300 && audio.tone_ms(1, OPERATOR_HZ) >= 300, "both sides of the talk");
        line.rtp().clear_heard();
        until("silence again", 20_000, || async {
            let heard = line.rtp().heard().last_ms(500);
            (heard.len() >= 4_000 && heard.iter().all(|sample| sample.abs() < 64)).then_some(())
        })
        .await
        .unwrap();
        desk.ready().await;
    }
    assert_eq!(invites(&phone), 1, "rung once for two citizens");
    line.hang_up().await.unwrap();
    assert_eq!(seat(&desk, "away").await["reason"], "line_lost");
    line_up(&desk, &me, false).await;
    // Rung anew when the operator says so, and let go at the sign-out.
    desk.ready().await;
    let again = phone.next_call(20_000).await.unwrap();
    line_up(&desk, &me, true).await;
    desk.api.set_state("off").await.unwrap();
    again.wait_ended(20_000).await.unwrap();
    line_up(&desk, &me, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_hung_up_in_a_talk_ends_talk_and_leg_and_its_operator_is_away_after_the_wrap_up() {
    let (desk, me) = desk().await;
    let phone = phone(&desk).await;
    desk.ready().await;
    let line = phone.next_call(20_000).await.unwrap();
    let (_citizen, call) = citizen(&desk).await;
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    line.hang_up().await.unwrap();
    let row = desk.ended(&id).await;
    assert!(row["end_reason"].as_str().unwrap().starts_with("operator_bye"), "{row}");
    line_up(&desk, &me, false).await;
    assert_eq!(seat(&desk, "away").await["reason"], "line_lost");
    assert_eq!(invites(&phone), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_is_not_picked_up_gets_no_citizen_and_its_operator_is_told() {
    let (desk, me) = desk().await;
    let phone = phone(&desk).await;
    phone.set_behaviour(Behaviour::Reject { after_ms: 50, code: 486 });
    match desk.api.set_state("ready").await {
        Err(Error::Http { status: 409, .. }) => {}
        other => panic!("{other:?}"),
    }
    line_up(&desk, &me, false).await;
    phone.set_behaviour(Behaviour::Answer { after_ms: 50 });
    desk.api.set_state("busy").await.unwrap();
    desk.api.post("/api/v1/operators/me/line", &json!({})).await.unwrap();
    line_up(&desk, &me, true).await;
    desk.api.json(Method::DELETE, "/api/v1/operators/me/line", None).await.unwrap();
    line_up(&desk, &me, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_on_hold_gets_no_citizen_until_it_is_taken_up_again() {
    let (desk, me) = desk().await;
    let phone = phone(&desk).await;
    desk.ready().await;
    let line = phone.next_call(20_000).await.unwrap();
    line_up(&desk, &me, true).await;
    line.hold().await.unwrap();
    let (_citizen, call) = citizen(&desk).await;
    seat(&desk, "device_fault").await;
    call.hang_up().await.unwrap();
    line.resume().await.unwrap();
    desk.ready().await;
    let (_citizen, call) = citizen(&desk).await;
    call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
    assert_eq!(invites(&phone), 1);
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_rings_a_colleague_whose_line_is_up_and_picks_up_nothing_for_them() {
    let (desk, me) = desk().await;
    let phone = phone(&desk).await;
    desk.api.set_state("busy").await.unwrap();
    desk.api.post("/api/v1/operators/me/line", &json!({})).await.unwrap();
    let line = phone.next_call(20_000).await.unwrap();
    line_up(&desk, &me, true).await;
    phone.set_behaviour(Behaviour::Ring);
    let (_second, api) = desk.second_operator().await;
    api.set_state("ready").await.unwrap();
    let (_citizen, call) = citizen(&desk).await;
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    line.rtp().clear_heard();
    api.post(&format!("/api/v1/calls/{id}/transfer"), &json!({"phone": "1001"})).await.unwrap();
    let rung = phone.next_call(20_000).await.unwrap();
    assert!(rung.invite().header("X-Hotline-Call").is_some());
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    assert_eq!(tone::tone_ms(&line.rtp().heard().timeline(), tone::RATE_HZ, CITIZEN_HZ), 0, "nobody is heard there");
    rung.accept().unwrap();
    rung.rtp().wait_for_tone(CITIZEN_HZ, 300, 20_000).await.unwrap();
    call.hang_up().await.unwrap();
    line_up(&desk, &me, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_is_rung_once_for_two_citizens() {
    let (desk, me) = desk().await;
    let mut config = BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    config.audio = Wav::tone(OPERATOR_HZ, -16.0, 600_000);
    config.auto_answer = true;
    let mut phone = Baresip::start(&config).unwrap();
    phone.wait_registered(20_000).await.unwrap();
    desk.ready().await;
    line_up(&desk, &me, true).await;
    for n in 1..=2 {
        let (_citizen, call) = citizen(&desk).await;
        call.rtp().wait_for_tone(OPERATOR_HZ, 1_000, 20_000).await.unwrap();
        let id = call_of(&desk, n).await;
        call.hang_up().await.unwrap();
        desk.ended(&id).await;
        line_up(&desk, &me, true).await;
        desk.ready().await;
    }
    phone.hang_up().await.unwrap();
    line_up(&desk, &me, false).await;
    let heard =
        until("what baresip heard", 20_000, || async { Some(phone.heard()).filter(|h| !h.is_empty()) }).await.unwrap();
    let of = |hz: f64| heard.iter().map(|wav| wav.tone_ms(0, hz)).max().unwrap_or(0);
    assert!(of(CITIZEN_HZ) >= 500 && of(BEEP_HZ) >= 300, "citizens {} ms, tones {} ms", of(CITIZEN_HZ), of(BEEP_HZ));
    assert_eq!(heard.len(), 1, "one call of the phone's");
    phone.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_called_once_for_two_citizens_and_its_death_between_them_ends_the_leg() {
    let (desk, me) = desk().await;
    let mut phone = BrowserPhone::open(desk.gateway.http(), desk.api.token().unwrap(), OPERATOR_HZ).await.unwrap();
    phone.ask("start").await.unwrap();
    phone.wait("the registration", |state| state["registered"].as_u64() > Some(0)).await.unwrap();
    desk.ready().await;
    line_up(&desk, &me, true).await;
    for n in 1..=2 {
        let (_citizen, call) = citizen(&desk).await;
        call.rtp().wait_for_tone(OPERATOR_HZ, 1_000, 40_000).await.unwrap();
        phone.wait_hears(CITIZEN_HZ).await.unwrap();
        let id = call_of(&desk, n).await;
        call.hang_up().await.unwrap();
        desk.ended(&id).await;
        desk.ready().await;
    }
    phone.wait("one call", |state| state["calls"] == 1 && state["talking"] == true).await.unwrap();
    let _ = phone.ask("kill").await;
    line_up(&desk, &me, false).await;
    assert_eq!(seat(&desk, "away").await["reason"], "line_lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outside_number_accepts_once_by_key_1_and_is_called_once_for_two_citizens() {
    let config = GatewayConfig::default()
        .with("callback.enabled", false)
        .with("voice.survey_off", true)
        .with("dialout.phone_prefixes", vec!["139"]);
    let town = Town::open(config).await;
    let desk = &town.desk;
    let me = wants(desk, json!({"number": "13912340000", "nailed_up": true})).await;
    let picks_up = async {
        let person = town.citizen.next_call(20_000).await.unwrap();
        person.rtp().play(Source::tone(OPERATOR_HZ));
        person.accept().unwrap();
        person.wait_answered(20_000).await.unwrap();
        person.send_digits("1").unwrap();
        person
    };
    let (ready, person) = tokio::join!(desk.api.set_state("ready"), picks_up);
    ready.unwrap();
    line_up(desk, &me, true).await;
    for n in 1..=2 {
        let (_citizen, call) = citizen(desk).await;
        call.rtp().wait_for_tone(OPERATOR_HZ, 300, 20_000).await.unwrap();
        let id = call_of(desk, n).await;
        call.hang_up().await.unwrap();
        desk.ended(&id).await;
        desk.ready().await;
    }
    let metrics = desk.gateway.api().metrics().await.unwrap();
    assert!(metrics.contains(r#"hotline_dialout_permitted_total{purpose="phone"} 1"#), "{metrics}");
    desk.api.set_state("off").await.unwrap();
    person.wait_ended(20_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_a_task_is_made_on_the_leg_and_a_bye_meanwhile_ends_both() {
    let config = GatewayConfig::default().with("callback.enabled", false).with("voice.survey_off", true);
    let town = Town::open(config).await;
    let desk = &town.desk;
    let me = wants(desk, json!({"nailed_up": true})).await;
    let missed = town.citizen.call_answered("12319", 20_000).await.unwrap();
    missed.hang_up().await.unwrap();
    let phone = phone(desk).await;
    desk.ready().await;
    let line = phone.next_call(20_000).await.unwrap();
    let found = |tasks: &Value| Some(tasks[0]["id"].as_str()?.to_owned());
    let task = desk.api.wait_for("/api/v1/callbacks", 20_000, found).await.unwrap();
    let path = format!("/api/v1/callbacks/{task}/call");
    let state = desk.api.post(&path, &json!({})).await.unwrap();
    let called = town.citizen.next_call(20_000).await.unwrap();
    called.reject(486, "Busy Here").unwrap();
    desk.ended(state["call"].as_str().unwrap()).await;
    line_up(desk, &me, true).await;
    // Hours are seconds here: soon it may be tried again.
    until("the next try", 20_000, || async { desk.api.post(&path, &json!({})).await.ok() }).await.unwrap();
    let called = town.citizen.next_call(20_000).await.unwrap();
    line.hang_up().await.unwrap();
    called.wait_ended(20_000).await.unwrap();
    line_up(desk, &me, false).await;
    assert_eq!((invites(&phone), seat(desk, "away").await["reason"].as_str()), (1, Some("line_lost")));
}
