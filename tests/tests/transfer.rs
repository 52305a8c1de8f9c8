//! An operator's phone hands the citizen on by REFER: the citizen never loses the line.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Call, Citizen, CitizenConfig, Credentials, Dial, Phone, PhoneConfig};
use hotline_tests::until;

/// A citizen (440 Hz) in a talk with operator 1001 (1000 Hz); the second phone, 1002, says 1500 Hz.
struct Talk {
    desk: Desk,
    citizen: Call,
    first: Phone,
    operator: Call,
    second: Phone,
    id: String,
}

impl Talk {
    async fn open(config: GatewayConfig) -> Self {
        let desk = Desk::open(config).await;
        let first = desk.phone().await;
        desk.ready().await;
        let mut settings = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1002", "phone-1002"));
        settings.source = Source::tone(1_500.0);
        let second = Phone::start(settings).await.unwrap();
        let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
        let citizen = caller.call_answered("12319", 5_000).await.unwrap();
        citizen.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
        let operator = first.next_call(5_000).await.unwrap();
        let id = call_of(&desk, 1).await;
        Self { desk, citizen, first, operator, second, id }
    }

    fn at(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.desk.gateway.sip())
    }

    async fn hears(&self, hz: f64) {
        self.citizen.rtp().clear_heard();
        self.citizen.rtp().wait_for_tone(hz, 300, 10_000).await.unwrap();
    }

    async fn event(&self, kind: &str) -> serde_json::Value {
        let path = format!("/api/v1/calls/{}/events", self.id);
        until(&format!("the event {kind}"), 10_000, || async {
            let events = self.desk.api.get(&path).await.ok()?;
            events.as_array()?.iter().find(|e| e["kind"] == kind).cloned()
        })
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_transfer_to_a_colleague_keeps_citizen_and_recording() {
    let talk = Talk::open(GatewayConfig::default()).await;
    let pause = format!("/api/v1/calls/{}/record/pause", talk.id);
    talk.desk.api.post(&pause, &serde_json::json!({})).await.unwrap();
    let paused = talk.event("recording_paused").await;
    assert_eq!(paused["data"]["user"], talk.event("talk_start").await["data"]["operator"], "{paused}");
    assert_eq!(talk.operator.refer(&talk.at("1002")).await.unwrap(), 202);
    talk.hears(1_500.0).await;
    let resumed = talk.event("recording_resumed").await;
    assert_eq!(resumed["data"]["why"], "operator_left", "a pause isn't handed on: {resumed}");
    let taken = talk.second.next_call(5_000).await.unwrap();
    taken.rtp().wait_for_tone(440.0, 300, 5_000).await.unwrap();
    assert!(talk.operator.wait_ended(5_000).await.is_ok(), "the first phone is let go");
    talk.event("transferred").await;
    taken.hang_up().await.unwrap();
    talk.citizen.hang_up().await.unwrap();
    let row = talk.desk.ended(&talk.id).await;
    let recordings = row["recordings"].as_array().unwrap();
    assert_eq!(recordings.iter().filter(|r| r["kind"] == "talk").count(), 1, "one file for the whole talk: {row}");
    let users = row["operator"].as_str().unwrap().to_owned();
    let ring = talk.event("operator_ring").await;
    assert_ne!(ring["data"]["operator"], users.as_str(), "the row names who took over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_colleague_who_does_not_take_it_gives_the_citizen_back() {
    let talk = Talk::open(GatewayConfig::default()).await;
    talk.second.set_behaviour(Behaviour::Reject { after_ms: 200, code: 486 });
    assert_eq!(talk.operator.refer(&talk.at("1002")).await.unwrap(), 202);
    talk.operator.wait_notified("486", 10_000).await.unwrap();
    talk.hears(1_000.0).await;
    talk.citizen.hang_up().await.unwrap();
    assert_eq!(talk.desk.ended(&talk.id).await["end_side"], "citizen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_phones_are_gone_the_citizen_waits_at_the_queues_head() {
    let talk = Talk::open(GatewayConfig::default()).await;
    talk.second.set_behaviour(Behaviour::Ring);
    assert_eq!(talk.operator.refer(&talk.at("1002")).await.unwrap(), 202);
    let ringing = talk.second.next_call(5_000).await.unwrap();
    talk.operator.hang_up().await.unwrap();
    ringing.reject(603, "Decline").unwrap();
    // The operator is ready again and gets the citizen as the queue's first.
    let again = talk.first.next_call(10_000).await.unwrap();
    again.rtp().wait_for_tone(440.0, 300, 10_000).await.unwrap();
    talk.hears(1_000.0).await;
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_to_a_hotline_number_goes_to_its_queue_and_to_somebody_else() {
    let talk = Talk::open(GatewayConfig::default()).await;
    let colleague = talk.desk.gateway.sign_in(&hotline_tests::gateway::NewUser::operator("1002")).await.unwrap();
    colleague.set_state("ready").await.unwrap();
    assert_eq!(talk.operator.refer(&talk.at("12319")).await.unwrap(), 202);
    talk.operator.wait_ended(5_000).await.unwrap();
    talk.hears(1_500.0).await;
    talk.event("transfer_queue").await;
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_consultation_replaces_joins_citizen_and_colleague() {
    let talk = Talk::open(GatewayConfig::default()).await;
    talk.operator.hold().await.unwrap();
    let dial = Dial::new(talk.desk.gateway.sip(), "1002").sending(Source::tone(1_000.0));
    let consult = talk.first.agent().dial(dial).unwrap();
    consult.wait_answered(10_000).await.unwrap();
    consult.rtp().wait_for_tone(1_500.0, 300, 5_000).await.unwrap();
    let taken = talk.second.next_call(5_000).await.unwrap();
    taken.rtp().wait_for_tone(1_000.0, 300, 5_000).await.unwrap();
    let target = format!("{}?Replaces={}", talk.at("1002"), consult.as_replaces());
    assert_eq!(talk.operator.refer(&target).await.unwrap(), 202);
    talk.hears(1_500.0).await;
    taken.rtp().clear_heard();
    taken.rtp().wait_for_tone(440.0, 300, 5_000).await.unwrap();
    consult.wait_ended(5_000).await.unwrap();
    talk.operator.wait_ended(5_000).await.unwrap();
    talk.citizen.hang_up().await.unwrap();
    taken.wait_ended(5_000).await.unwrap();
    talk.desk.ended(&talk.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_calls_a_colleague_during_a_talk_only_and_nobody_outside() {
    let talk = Talk::open(GatewayConfig::default()).await;
    let gateway = talk.desk.gateway.sip();
    let refused = async |phone: &Phone, number: &str| {
        let call = phone.agent().dial(Dial::new(gateway, number)).unwrap();
        call.wait_answered(5_000).await.unwrap_err().to_string()
    };
    for number in [NUMBER, "0019005551234", "12319", "1001", "1003"] {
        assert!(refused(&talk.first, number).await.contains("403"), "{number}");
    }
    assert!(refused(&talk.second, "1001").await.contains("403"), "1002 is in no talk");
    talk.hears(1_000.0).await;
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_refers_to_a_premium_number_abroad_gets_403_and_no_invite_leaves() {
    let config = GatewayConfig::default()
        .with("dialout.transfer_prefixes", vec!["0519"])
        .with("dialout.emergency", vec!["120"])
        // No cap stands between a citizen and an ambulance.
        .with("dialout.daily_max", 0)
        .with("dialout.concurrent_max", 0);
    let town = Town::open(config).await;
    let phone = town.desk.phone().await;
    town.desk.ready().await;
    let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    let operator = phone.next_call(5_000).await.unwrap();
    for target in ["sip:0019005551234@h", "tel:+19005551234", "sip:13900001111@h", "sip:9005551234@127.0.1.1"] {
        assert_eq!(operator.refer(target).await.unwrap(), 403, "{target}");
    }
    let invites = || town.citizen.agent().received(|m| m.is_request() && m.method() == "INVITE").len();
    assert_eq!(invites(), 0, "nothing left for the trunk");
    let metrics = town.desk.gateway.api().get_raw("/metrics").await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"hotline_dialout_refused_total{purpose="transfer",reason="forbidden"} 3"#), "{metrics}");
    assert!(metrics.contains(r#"hotline_dialout_refused_total{purpose="transfer",reason="no_transfer"} 1"#));
    // What the site allows is called, over the trunk.
    assert_eq!(operator.refer("sip:120@anywhere.example").await.unwrap(), 202);
    let outside = town.citizen.next_call(5_000).await.unwrap();
    assert_eq!(outside.called_user(), "120");
    outside.accept().unwrap();
    operator.wait_ended(5_000).await.unwrap();
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(440.0, 300, 5_000).await.unwrap();
    call.hang_up().await.unwrap();
    outside.wait_ended(5_000).await.unwrap();
}
