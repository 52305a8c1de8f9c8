//! An operator goes on at another phone: its INVITE with Replaces (RFC 3891) takes over the leg of their own call.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Behaviour, Call, Citizen, CitizenConfig, Credentials, Dial, Phone, PhoneConfig};
use hotline_tests::until;
use hotline_tests::wav::Wav;
use serde_json::Value;

/// A citizen (440 Hz) rings operator 1001's desk phone (1000 Hz).
struct Scene {
    desk: Desk,
    citizen: Call,
    first: Phone,
    operator: Call,
    id: String,
}

impl Scene {
    async fn open(config: GatewayConfig, behaviour: Behaviour) -> Self {
        let desk = Desk::open(config).await;
        let first = desk.phone().await;
        first.set_behaviour(behaviour);
        desk.ready().await;
        let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
        let citizen = caller.call_answered("12319", 5_000).await.unwrap();
        let operator = first.next_call(10_000).await.unwrap();
        let id = call_of(&desk, 1).await;
        Self { desk, citizen, first, operator, id }
    }

    async fn talking(config: GatewayConfig) -> Self {
        let scene = Self::open(config, Behaviour::Answer { after_ms: 200 }).await;
        scene.hears(1_000.0).await;
        scene
    }

    /// A phone that is not registered and has the account's password: 1001's mobile, or a colleague's.
    async fn device(&self, user: &str) -> Phone {
        let credentials = Credentials::new(user, format!("phone-{user}"));
        Phone::unregistered(PhoneConfig::new(self.desk.gateway.sip(), credentials)).await.unwrap()
    }

    /// Dials from `device`, saying 1500 Hz, in place of `replaced`.
    fn replace(&self, device: &Phone, replaced: &Call) -> Dial {
        let value = replaced.as_replaces().replace("%3B", ";").replace("%3D", "=").replace("%40", "@");
        let number = &device.agent().config().user;
        let dial = Dial::new(self.desk.gateway.sip(), number).sending(Source::tone(1_500.0));
        dial.with_header("Replaces", &value).with_header("Require", "replaces")
    }

    /// The same with an encrypted offer.
    fn replace_encrypted(&self, device: &Phone, replaced: &Call) -> Dial {
        let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk";
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/SAVP 8\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
        );
        Dial { body: Some(body.into_bytes()), ..self.replace(device, replaced) }
    }

    async fn hears(&self, hz: f64) {
        self.citizen.rtp().clear_heard();
        self.citizen.rtp().wait_for_tone(hz, 300, 10_000).await.unwrap();
    }

    /// States of the operators the queue knows.
    async fn states(&self) -> Vec<String> {
        let queues = self.desk.api.get("/api/v1/queues").await.unwrap();
        let operators = queues[0]["operators"].as_array().unwrap();
        operators.iter().map(|o| o["state"].as_str().unwrap().to_owned()).collect()
    }

    async fn events(&self) -> Vec<Value> {
        let events = self.desk.api.get(&format!("/api/v1/calls/{}/events", self.id)).await.unwrap();
        events.as_array().unwrap().clone()
    }
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|e| e["kind"] == kind).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_talk_goes_on_at_the_operators_other_phone_in_the_same_recording() {
    let scene = Scene::talking(GatewayConfig::default()).await;
    // On hold at the desk, taken up again at the other phone.
    scene.operator.hold().await.unwrap();
    let device = scene.device("1001").await;
    let taken = device.agent().dial(scene.replace(&device, &scene.operator)).unwrap();
    taken.wait_answered(5_000).await.unwrap();
    scene.hears(1_500.0).await;
    // Long enough for the recording to have caught up with a first packet that came late.
    taken.rtp().wait_for_tone(440.0, 1_500, 5_000).await.unwrap();
    scene.operator.wait_ended(5_000).await.unwrap();
    assert!(scene.states().await.iter().any(|state| state == "talking"), "the operator is still in the talk");
    taken.hang_up().await.unwrap();
    scene.citizen.hang_up().await.unwrap();
    let row = scene.desk.ended(&scene.id).await;
    let talks: Vec<&Value> = row["recordings"].as_array().unwrap().iter().filter(|r| r["kind"] == "talk").collect();
    assert_eq!(talks.len(), 1, "{row}");
    let audio = scene.desk.api.audio(talks[0]["id"].as_str().unwrap(), "test").await.unwrap();
    let audio = Wav::from_bytes(&audio).unwrap();
    assert!(audio.tone_ms(1, 1_000.0) >= 200 && audio.tone_ms(1, 1_500.0) >= 200, "both phones are in the file");
    let events = scene.events().await;
    assert_eq!((count(&events, "taken_over"), count(&events, "talk_start")), (1, 1), "{events:#?}");
    assert_eq!(count(&events, "operator_lost"), 0, "{events:#?}");
    let ends: Vec<&Value> = events.iter().filter(|e| e["kind"] == "talk_end").collect();
    let at = |kind: &str| events.iter().position(|e| e["kind"] == kind).unwrap();
    assert!(ends.len() == 1 && at("talk_end") > at("taken_over"), "the old phone's end is no end of the talk");
    let held: Vec<&Value> = events.iter().filter(|e| e["kind"] == "hold").map(|e| &e["data"]["on"]).collect();
    assert_eq!(held, [&Value::Bool(true), &Value::Bool(false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_leaves_the_offer_to_us_takes_over_too() {
    let scene = Scene::talking(GatewayConfig::default()).await;
    let device = scene.device("1001").await;
    let dial = Dial { with_offer: false, ..scene.replace(&device, &scene.operator) };
    let taken = device.agent().dial(dial).unwrap();
    taken.wait_answered(5_000).await.unwrap();
    scene.hears(1_500.0).await;
    taken.rtp().wait_for_tone(440.0, 300, 5_000).await.unwrap();
    scene.operator.wait_ended(5_000).await.unwrap();
    scene.citizen.hang_up().await.unwrap();
    taken.wait_ended(5_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ringing_call_is_picked_up_at_the_operators_other_phone() {
    let scene = Scene::open(GatewayConfig::default(), Behaviour::Ring).await;
    scene.operator.wait_ringing(5_000).await.unwrap();
    let device = scene.device("1001").await;
    let taken = until("the 180 to have reached the gateway", 10_000, || async {
        let taken = device.agent().dial(scene.replace(&device, &scene.operator)).unwrap();
        taken.wait_answered(5_000).await.ok().map(|()| taken)
    })
    .await
    .unwrap();
    scene.hears(1_500.0).await;
    scene.operator.wait_ended(5_000).await.unwrap();
    scene.citizen.hang_up().await.unwrap();
    taken.wait_ended(5_000).await.unwrap();
    let row = scene.desk.ended(&scene.id).await;
    assert!(row["operator"].is_string(), "{row}");
    let events = scene.events().await;
    assert_eq!((count(&events, "talk_start"), count(&events, "operator_declined")), (1, 0), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_over_a_leg_that_is_not_their_own() {
    let scene = Scene::talking(GatewayConfig::default()).await;
    let (colleague, mobile) = (scene.device("1002").await, scene.device("1001").await);
    let refused = async |device: &Phone, replaced: &Call| {
        let call = device.agent().dial(scene.replace(device, replaced)).unwrap();
        call.wait_answered(5_000).await.unwrap_err().to_string()
    };
    let error = refused(&colleague, &scene.operator).await;
    assert!(error.contains("403"), "a colleague's talk: {error}");
    let error = refused(&mobile, &scene.citizen).await;
    assert!(error.contains("403"), "the citizen's leg: {error}");
    let mut target = PhoneConfig::new(scene.desk.gateway.sip(), Credentials::new("1002", "phone-1002"));
    target.behaviour = Behaviour::Ring;
    let target = Phone::start(target).await.unwrap();
    assert_eq!(scene.operator.refer(&format!("sip:1002@{}", scene.desk.gateway.sip())).await.unwrap(), 202);
    let ringing = target.next_call(5_000).await.unwrap();
    let error = refused(&mobile, &scene.operator).await;
    assert!(error.contains("403"), "a leg that is being handed on: {error}");
    ringing.reject(486, "Busy Here").unwrap();
    scene.hears(1_000.0).await;
    assert_eq!(count(&scene.events().await, "taken_over"), 0);
    scene.citizen.hang_up().await.unwrap();
    let error = refused(&mobile, &scene.operator).await;
    assert!(error.contains("481") || error.contains("403") || error.contains("603"), "a leg that is over: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_offer_without_leave_for_its_keys_changes_nothing() {
    let scene = Scene::talking(GatewayConfig::default()).await;
    let device = scene.device("1001").await;
    let call = device.agent().dial(scene.replace_encrypted(&device, &scene.operator)).unwrap();
    let error = call.wait_answered(5_000).await.unwrap_err().to_string();
    assert!(error.contains("488"), "{error}");
    scene.hears(1_000.0).await;
    assert_eq!(count(&scene.events().await, "taken_over"), 0);
    scene.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_talk_is_taken_over_by_an_encrypted_phone() {
    let config = GatewayConfig::default().with("sip.phone_srtp", "optional").with("sip.srtp_keys_in_clear", true);
    let mut scene = Scene::talking(config).await;
    // The first call was the encrypted one, which the desk phone answered in plain: it was rung once more.
    scene.operator = scene.first.next_call(5_000).await.unwrap();
    let device = scene.device("1001").await;
    let taken = device.agent().dial(scene.replace_encrypted(&device, &scene.operator)).unwrap();
    taken.wait_answered(5_000).await.unwrap();
    let answer = String::from_utf8(taken.answer().unwrap().body.clone()).unwrap();
    assert!(answer.contains("RTP/SAVP") && answer.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"), "{answer}");
    until("the leg's cipher suite among the events", 5_000, || async {
        let events = scene.events().await;
        let is_it = |e: &Value| e["kind"] == "srtp" && e["data"]["suite"] == "AES_CM_128_HMAC_SHA1_80";
        events.iter().any(is_it).then_some(())
    })
    .await
    .unwrap();
    scene.citizen.hang_up().await.unwrap();
}
