//! Further people in a talk: three-way, listening, whispering, barging in. Everybody says a tone of their own;
//! what reaches whom is measured at the phones and in the recording.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::peer::{Baresip, BaresipConfig, Linphone, LinphoneConfig, Sipp, SippConfig};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::wav::Wav;
use hotline_tests::{tone, until};
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;
const LEADER_HZ: f64 = 1_500.0;
const COLLEAGUE_HZ: f64 = 2_000.0;
const RATE_HZ: u32 = 8_000;
/// Tones are looked for in pieces of 100 ms: whole periods of each, and a slip of a jitter buffer spoils one piece.
const PIECE: usize = 800;
/// Two tones of equal level hold half of the power each, three a third.
const PRESENT_SHARE: f64 = 0.2;
/// A tone that is not there, even where another one jumps.
const ABSENT_SHARE: f64 = 0.05;

/// Operator 1002 talks with a citizen; the desk's own user, 1001, is the shift leader.
struct Talk {
    desk: Desk,
    citizen: Call,
    operator: Call,
    operator_api: Api,
    leader_phone: Phone,
    id: String,
    _phones: Vec<Phone>,
}

/// The shift leader 1001, signed in, and the operators 1002 and 1003.
async fn desk(config: GatewayConfig) -> Desk {
    let mut gateway = Gateway::prepare(config).unwrap();
    let mut user = NewUser::operator("1001");
    user.roles = ["operator", "leader", "qa"].map(String::from).to_vec();
    gateway.add_user(&user).unwrap();
    for (operator, roles) in [("1002", &["operator"][..]), ("1003", &["operator", "qa"])] {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        gateway.add_user(&NewUser { roles, ..NewUser::operator(operator) }).unwrap();
    }
    gateway.boot().await.unwrap();
    let api = gateway.sign_in(&user).await.unwrap();
    Desk { gateway, api, user }
}

async fn phone(desk: &Desk, user: &str, hz: f64) -> Phone {
    let mut settings = PhoneConfig::new(desk.gateway.sip(), Credentials::new(user, format!("phone-{user}")));
    settings.source = Source::tone(hz);
    Phone::start(settings).await.unwrap()
}

impl Talk {
    async fn open() -> Self {
        Self::open_with(GatewayConfig::default()).await
    }

    async fn open_with(config: GatewayConfig) -> Self {
        let desk = desk(config).await;
        let first = phone(&desk, "1002", OPERATOR_HZ).await;
        let leader_phone = phone(&desk, "1001", LEADER_HZ).await;
        let operator_api = desk.gateway.sign_in(&NewUser::operator("1002")).await.unwrap();
        operator_api.set_state("ready").await.unwrap();
        let caller = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
        let citizen = caller.call_answered("12319", 5_000).await.unwrap();
        citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 10_000).await.unwrap();
        let operator = first.next_call(5_000).await.unwrap();
        let id = call_of(&desk, 1).await;
        Self { desk, citizen, operator, operator_api, leader_phone, id, _phones: vec![first] }
    }

    fn path(&self, what: &str) -> String {
        format!("/api/v1/calls/{}/{what}", self.id)
    }

    async fn supervise(&self, part: &str) -> Value {
        let form = json!({ "part": part, "reason": "听取现场处置情况" });
        self.desk.api.post(&self.path("supervise"), &form).await.unwrap()
    }

    async fn recording(&self) -> Wav {
        let row = self.desk.ended(&self.id).await;
        let id = row["recordings"][0]["id"].as_str().unwrap().to_owned();
        Wav::from_bytes(&self.desk.api.audio(&id, "test of the recording").await.unwrap()).unwrap()
    }
}

/// The share of `hz` in each piece.
fn shares(samples: &[i16], hz: f64) -> Vec<f64> {
    samples.chunks_exact(PIECE).map(|piece| tone::tone_share(piece, RATE_HZ, hz)).collect()
}

/// Nearly all pieces hold the tone.
fn holds(samples: &[i16], hz: f64) -> bool {
    let shares = shares(samples, hz);
    shares.iter().filter(|share| **share > PRESENT_SHARE).count() * 10 >= shares.len() * 8
}

/// No piece holds the tone.
fn lacks(samples: &[i16], hz: f64) -> bool {
    shares(samples, hz).iter().all(|share| *share < ABSENT_SHARE)
}

/// The usual power of `hz`: the median of the pieces.
fn power(samples: &[i16], hz: f64) -> f64 {
    let mut powers: Vec<f64> =
        samples.chunks_exact(PIECE).map(|piece| tone::goertzel_power(piece, RATE_HZ, hz)).collect();
    powers.sort_by(f64::total_cmp);
    powers[powers.len() / 2]
}

/// Waits until the last second of `call` holds all of `present` and none of `absent`.
async fn hears(who: &str, call: &Call, present: &[f64], absent: &[f64]) {
    call.rtp().clear_heard();
    let settled = until(who, 12_000, || async {
        let heard = call.rtp().heard().last_ms(1_000);
        (heard.len() >= 7_000
            && present.iter().all(|hz| holds(&heard, *hz))
            && absent.iter().all(|hz| lacks(&heard, *hz)))
        .then_some(())
    });
    if settled.await.is_err() {
        let heard = call.rtp().heard().last_ms(1_000);
        let all: Vec<_> = [present, absent].concat().iter().map(|hz| (*hz, shares(&heard, *hz))).collect();
        panic!("{who} should hear {present:?} and not {absent:?}: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shift_leader_listens_and_nobody_hears_them() {
    let talk = Talk::open().await;
    talk.supervise("listen").await;
    let leader = talk.leader_phone.next_call(5_000).await.unwrap();
    hears("the leader", &leader, &[CITIZEN_HZ, OPERATOR_HZ], &[LEADER_HZ]).await;
    hears("the citizen", &talk.citizen, &[OPERATOR_HZ], &[LEADER_HZ, CITIZEN_HZ]).await;
    hears("the operator", &talk.operator, &[CITIZEN_HZ], &[LEADER_HZ, OPERATOR_HZ]).await;
    let left = talk.desk.api.json(Method::DELETE, &talk.path("supervise"), None).await.unwrap();
    assert_eq!(left["guests"], json!([]));
    leader.wait_ended(5_000).await.unwrap();
    hears("the citizen afterwards", &talk.citizen, &[OPERATOR_HZ], &[CITIZEN_HZ]).await;
    talk.citizen.hang_up().await.unwrap();
    assert_eq!(talk.desk.ended(&talk.id).await["end_side"], "citizen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_in_a_talk_of_their_own_does_not_learn_who_listens() {
    let talk = Talk::open().await;
    let reviewer_phone = phone(&talk.desk, "1003", COLLEAGUE_HZ).await;
    talk.desk.api.post(&talk.path("take"), &json!({ "reason": "市民情绪激动" })).await.unwrap();
    talk.leader_phone.next_call(20_000).await.unwrap();
    talk.operator.wait_ended(20_000).await.unwrap();
    let reviewer = talk.desk.gateway.sign_in(&NewUser::operator("1003")).await.unwrap();
    let asked = reviewer.post(&talk.path("supervise"), &json!({ "part": "listen" })).await.unwrap();
    assert_eq!(asked["guests"].as_array().unwrap().len(), 1, "{asked}");
    let listening = reviewer_phone.next_call(20_000).await.unwrap();
    hears("the reviewer", &listening, &[CITIZEN_HZ, LEADER_HZ], &[]).await;
    let own = talk.desk.api.get(&talk.path("state")).await.unwrap();
    assert_eq!((own["guests"].clone(), own["hears"].as_array().unwrap().len()), (json!([]), 2), "{own}");
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whisper_stays_50_db_below_at_the_citizen_until_the_leader_barges_in() {
    let talk = Talk::open().await;
    let answer = talk.supervise("whisper").await;
    assert_eq!(answer["guests"][0]["part"], "whisper", "{answer}");
    let leader = talk.leader_phone.next_call(5_000).await.unwrap();
    hears("the operator", &talk.operator, &[CITIZEN_HZ, LEADER_HZ], &[OPERATOR_HZ]).await;
    hears("the leader", &leader, &[CITIZEN_HZ, OPERATOR_HZ], &[LEADER_HZ]).await;
    hears("the citizen", &talk.citizen, &[OPERATOR_HZ], &[LEADER_HZ]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let at = |call: &Call| power(&call.rtp().heard().last_ms(2_000), LEADER_HZ);
    let db = 10.0 * (at(&talk.citizen) / at(&talk.operator)).log10();
    assert!(db < -50.0, "the whisper at the citizen lies {db:.1} dB beside what the operator hears");

    talk.supervise("barge").await;
    hears("the citizen", &talk.citizen, &[OPERATOR_HZ, LEADER_HZ], &[CITIZEN_HZ]).await;
    talk.citizen.hang_up().await.unwrap();
    leader.wait_ended(5_000).await.unwrap();
    let wav = talk.recording().await;
    let right = wav.channel(1);
    assert!(lacks(&right[..right.len().min(16_000)], LEADER_HZ), "a whisper is in no recording");
    let ending = &right[right.len().saturating_sub(6_400)..right.len() - 800];
    assert!(holds(ending, LEADER_HZ), "who barges in is recorded: {:?}", shares(ending, LEADER_HZ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_three_way_each_hears_the_other_two_and_the_citizen_stays_with_the_colleague() {
    let talk = Talk::open().await;
    let colleague_phone = phone(&talk.desk, "1003", COLLEAGUE_HZ).await;
    let asked = talk.operator_api.post(&talk.path("guests"), &json!({ "phone": "1003" })).await.unwrap();
    assert_eq!(asked["guests"][0]["part"], "join", "{asked}");
    let again = talk.operator_api.post(&talk.path("guests"), &json!({ "phone": "1003" })).await.unwrap();
    assert_eq!(again["guests"].as_array().unwrap().len(), 1, "asking twice is asking once");
    let colleague = colleague_phone.next_call(5_000).await.unwrap();
    hears("the citizen", &talk.citizen, &[OPERATOR_HZ, COLLEAGUE_HZ], &[CITIZEN_HZ]).await;
    hears("the operator", &talk.operator, &[CITIZEN_HZ, COLLEAGUE_HZ], &[OPERATOR_HZ]).await;
    hears("the colleague", &colleague, &[CITIZEN_HZ, OPERATOR_HZ], &[COLLEAGUE_HZ]).await;

    talk.operator.hold().await.unwrap();
    hears("the colleague, the citizen being held", &colleague, &[], &[CITIZEN_HZ]).await;
    hears("the held citizen", &talk.citizen, &[], &[OPERATOR_HZ, COLLEAGUE_HZ]).await;
    talk.operator.resume().await.unwrap();
    hears("the citizen again", &talk.citizen, &[OPERATOR_HZ, COLLEAGUE_HZ], &[]).await;

    talk.operator.hang_up().await.unwrap();
    hears("the citizen with the colleague", &talk.citizen, &[COLLEAGUE_HZ], &[OPERATOR_HZ, CITIZEN_HZ]).await;
    hears("the colleague with the citizen", &colleague, &[CITIZEN_HZ], &[OPERATOR_HZ]).await;
    talk.citizen.hang_up().await.unwrap();
    colleague.wait_ended(5_000).await.unwrap();
    let row = talk.desk.ended(&talk.id).await;
    assert_eq!(row["recordings"].as_array().unwrap().len(), 1, "one file for the whole talk: {row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_leaders_supervise_with_a_reason_and_never_their_own_talk() {
    let talk = Talk::open().await;
    let refused = |answer: hotline_tests::Result<Value>| answer.unwrap_err().to_string();
    let listen = json!({ "part": "listen" });
    let by_operator = refused(talk.operator_api.post(&talk.path("supervise"), &listen).await);
    assert!(by_operator.contains("403"), "{by_operator}");
    let no_reason = refused(talk.desk.api.post(&talk.path("supervise"), &json!({ "part": "barge" })).await);
    assert!(no_reason.contains("400"), "{no_reason}");
    let uninvited = refused(talk.desk.api.post(&talk.path("supervise"), &json!({ "part": "join" })).await);
    assert!(uninvited.contains("400"), "{uninvited}");
    let not_theirs = refused(talk.desk.api.post(&talk.path("guests"), &json!({ "phone": "1001" })).await);
    assert!(not_theirs.contains("403"), "{not_theirs}");
    let own = refused(talk.operator_api.post(&talk.path("guests"), &json!({ "phone": "1002" })).await);
    assert!(own.contains("409"), "{own}");
    let nobody = refused(talk.operator_api.post(&talk.path("guests"), &json!({ "phone": "1999" })).await);
    assert!(nobody.contains("409"), "{nobody}");
    let gone = "/api/v1/calls/01920000-0000-7000-8000-000000000000/supervise";
    let gone = refused(talk.desk.api.post(gone, &listen).await);
    assert!(gone.contains("404"), "{gone}");
    talk.citizen.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_invitation_puts_a_listener_on_air_and_no_refresh_ends_a_hold_of_the_console() {
    let talk = Talk::open().await;
    talk.supervise("listen").await;
    let leader = talk.leader_phone.next_call(5_000).await.unwrap();
    hears("the leader", &leader, &[CITIZEN_HZ, OPERATOR_HZ], &[]).await;
    let asked = talk.operator_api.post(&talk.path("guests"), &json!({ "phone": "1001" })).await;
    let asked = asked.unwrap_err().to_string();
    assert!(asked.contains("409"), "{asked}");
    let joined = |events: &Value| events.to_string().contains("guest_joined").then_some(());
    talk.desk.api.wait_for(&talk.path("events"), 20_000, joined).await.unwrap();
    let events = talk.operator_api.get(&talk.path("events")).await.unwrap().to_string();
    assert!(events.contains("talk_start") && !events.contains("guest_"), "{events}");

    talk.operator_api.post(&talk.path("hold"), &json!({ "on": true })).await.unwrap();
    talk.operator.resume().await.unwrap();
    hears("the citizen, held by the console", &talk.citizen, &[], &[OPERATOR_HZ, LEADER_HZ]).await;
    talk.operator_api.post(&talk.path("hold"), &json!({ "on": false })).await.unwrap();
    hears("the citizen again", &talk.citizen, &[OPERATOR_HZ], &[LEADER_HZ]).await;
    talk.citizen.hang_up().await.unwrap();
    leader.wait_ended(5_000).await.unwrap();
}

/// Nobody in this talk was written here: SIPp speaks for the citizen, linphonec for the operator, baresip for
/// the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_linphonec_and_baresip_hear_the_right_tones_through_whisper_and_three_way() {
    let config = GatewayConfig::default().with("sip.digest", vec!["MD5"]);
    // baresip signals from its own address and sends its media from whichever the system picks.
    let desk = desk(config.with("sip.phone_media_networks", vec!["127.0.0.1"])).await;
    let linphone = LinphoneConfig::new(desk.gateway.sip(), Credentials::new("1002", "phone-1002"));
    let mut operator = Linphone::start(&linphone).unwrap();
    operator.wait_registered(15_000).await.unwrap();
    let mut baresip = BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    baresip.audio = Wav::tone(LEADER_HZ, -16.0, 120_000);
    let mut leader = Baresip::start(&baresip).unwrap();
    leader.wait_registered(10_000).await.unwrap();
    desk.gateway.sign_in(&NewUser::operator("1002")).await.unwrap().set_state("ready").await.unwrap();

    let sipp = Sipp::start(&SippConfig::citizen(desk.gateway.sip(), 20_000)).unwrap();
    let id = call_of(&desk, 1).await;
    let event = |kind: &'static str| {
        let (desk, path) = (&desk, format!("/api/v1/calls/{id}/events"));
        async move {
            until(kind, 10_000, || async {
                let events = desk.api.get(&path).await.ok()?;
                events.as_array()?.iter().any(|e| e["kind"] == kind).then_some(())
            })
            .await
            .unwrap();
        }
    };
    event("talk_start").await;
    let supervise = format!("/api/v1/calls/{id}/supervise");
    desk.api.post(&supervise, &json!({ "part": "whisper" })).await.unwrap();
    event("guest_joined").await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    desk.api.post(&supervise, &json!({ "part": "barge", "reason": "协助处置" })).await.unwrap();
    event("guest_part").await;
    sipp.wait_successful().await.unwrap();
    let row = desk.ended(&id).await;
    operator.quit().await.unwrap();

    let recording = row["recordings"][0]["id"].as_str().unwrap();
    let wav = Wav::from_bytes(&desk.api.audio(recording, "test of the recording").await.unwrap()).unwrap();
    let to_citizen: Vec<&[i16]> = wav.channel(1).chunks_exact(8_000).collect();
    let barged_at = to_citizen.iter().position(|second| holds(second, LEADER_HZ));
    let barged_at = barged_at.expect("the leader is heard in the end");
    assert!(barged_at >= 3, "the whisper lasted three seconds before: {barged_at}");
    assert!(to_citizen[..barged_at - 1].iter().all(|second| lacks(second, LEADER_HZ)), "the citizen hears no whisper");
    let heard_by_leader = until("baresip's recording", 5_000, || async {
        leader.heard().into_iter().find(|wav| wav.duration_ms() > 2_000)
    });
    let heard_by_leader = heard_by_leader.await.unwrap();
    let best = |wav: &Wav, tones: [f64; 2]| {
        let seconds = wav.channel(0).chunks_exact(8_000);
        seconds.filter(|second| tones.iter().all(|&hz| holds(second, hz))).count()
    };
    assert!(best(&heard_by_leader, [CITIZEN_HZ, OPERATOR_HZ]) >= 3, "baresip hears citizen and operator");
    let heard_by_operator = operator.heard();
    assert!(best(&heard_by_operator, [CITIZEN_HZ, LEADER_HZ]) >= 3, "linphonec hears citizen and leader");
    leader.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_operator_asked_in_goes_on_with_the_citizen_when_the_operators_phone_dies() {
    let config = GatewayConfig::default().with("media.rtp_silence_ms", 2_000).with("media.phone_dead_ms", 4_000);
    let talk = Talk::open_with(config).await;
    let third = phone(&talk.desk, "1003", COLLEAGUE_HZ).await;
    talk.operator_api.post(&talk.path("guests"), &json!({ "phone": "1003" })).await.unwrap();
    let colleague = third.next_call(20_000).await.unwrap();
    hears("the citizen", &talk.citizen, &[OPERATOR_HZ, COLLEAGUE_HZ], &[CITIZEN_HZ]).await;
    // A phone that still answered by its signalling would keep its citizen.
    talk.operator.vanish();
    let lost = |events: &Value| events.to_string().contains("operator_media_lost").then_some(());
    talk.desk.api.wait_for(&talk.path("events"), 30_000, lost).await.unwrap();
    hears("the citizen afterwards", &talk.citizen, &[COLLEAGUE_HZ], &[OPERATOR_HZ, CITIZEN_HZ]).await;
    hears("the colleague", &colleague, &[CITIZEN_HZ], &[OPERATOR_HZ]).await;
    talk.citizen.hang_up().await.unwrap();
    talk.desk.ended(&talk.id).await;
    let events = talk.desk.api.get(&talk.path("events")).await.unwrap();
    let kinds: Vec<&str> = events.as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
    assert!(kinds.contains(&"operator_media_lost") && kinds.contains(&"transferred"), "{kinds:?}");
    assert!(!kinds.contains(&"operator_lost"), "{kinds:?}");
}
