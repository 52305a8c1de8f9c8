//! A shift over phones nobody here wrote: two baresips and a Chromium (JsSIP), callers of the harness, whose levels
//! can be measured, and of SIPp. One citizen goes through all of it and is never lost.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::sounds::{hears_music, tone_dbov};
use common::{Desk, NUMBER, call_of};
use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::peer::{Baresip, BaresipConfig, BrowserPhone, Sipp, SippConfig};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials};
use hotline_tests::tone::tone_share;
use hotline_tests::until;
use hotline_tests::wav::Wav;
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN: u32 = 440;
/// 1001, the shift leader: baresip, picked up by hand.
const LEADER: u32 = 1_500;
/// 1002: baresip, answers by itself.
const PHONE: u32 = 1_000;
/// 1003: Chromium.
const BROWSER: u32 = 2_000;
/// What a phone says, dB of full scale.
const SAID_DBOV: f64 = -16.0;
/// A whisper reaches the citizen's leg at most this loud beside what was said.
const LEAK_DB: f64 = -50.0;

/// Everybody at their phones; nobody ready yet.
struct Shift {
    desk: Desk,
    phone_api: Api,
    browser_api: Api,
    leader: Baresip,
    phone: Baresip,
    browser: BrowserPhone,
}

async fn baresip(gateway: &Gateway, user: &str, hz: u32, auto_answer: bool) -> Baresip {
    let mut config = BaresipConfig::new(gateway.sip(), Credentials::new(user, format!("phone-{user}")));
    config.audio = Wav::tone(f64::from(hz), SAID_DBOV, 600_000);
    config.auto_answer = auto_answer;
    let mut phone = Baresip::start(&config).unwrap();
    phone.wait_registered(20_000).await.unwrap();
    phone
}

impl Shift {
    async fn open() -> Self {
        let config = GatewayConfig::default()
            // baresip signals from its own address and sends its media from whichever the system picks.
            .with("sip.digest", vec!["MD5"])
            .with("sip.phone_media_networks", vec!["127.0.0.1"])
            .with("media.rtp_silence_ms", 2_000)
            .with("media.phone_dead_ms", 4_000);
        let mut gateway = Gateway::prepare(config).unwrap();
        let roles = ["operator", "leader", "qa"].map(String::from).to_vec();
        let user = NewUser { roles, ..NewUser::operator("1001") };
        for one in [user.clone(), NewUser::operator("1002"), NewUser::operator("1003")] {
            gateway.add_user(&one).unwrap();
        }
        gateway.boot().await.unwrap();
        let api = gateway.sign_in(&user).await.unwrap();
        let phone_api = gateway.sign_in(&NewUser::operator("1002")).await.unwrap();
        let browser_api = gateway.sign_in(&NewUser::operator("1003")).await.unwrap();
        let leader = baresip(&gateway, "1001", LEADER, false).await;
        let phone = baresip(&gateway, "1002", PHONE, true).await;
        let token = browser_api.token().unwrap();
        let mut browser = BrowserPhone::open(gateway.http(), token, f64::from(BROWSER)).await.unwrap();
        browser.ask("start").await.unwrap();
        browser.wait("the registration", |state| state["registered"].as_u64() > Some(0)).await.unwrap();
        Self { desk: Desk { gateway, api, user }, phone_api, browser_api, leader, phone, browser }
    }
}

/// The call's state once `wanted` holds, as the leader sees it.
async fn state(desk: &Desk, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = |state: &Value| wanted(state).then(|| state.clone());
    let seen = desk.api.wait_for(&format!("/api/v1/calls/{id}/state"), 30_000, found).await;
    seen.unwrap_or_else(|e| panic!("{what}: {e}"))
}

fn guest_talks(state: &Value) -> bool {
    state["guests"].as_array().is_some_and(|guests| guests.iter().any(|guest| guest["talking"] == true))
}

/// Waits until the citizen's last second holds all of `present` and none of `absent`.
async fn hears(call: &Call, what: &str, present: &[u32], absent: &[u32]) {
    call.rtp().clear_heard();
    let all_so = |heard: &[i16]| {
        let share = |piece: &[i16], hz: u32| tone_share(piece, 8_000, f64::from(hz));
        let pieces: Vec<&[i16]> = heard.chunks_exact(800).collect();
        // Two tones of equal level hold half of the power each, three a third; a slip of a jitter buffer or of the
        // browser's own resampling spoils a piece or two.
        let holds = |hz: u32| pieces.iter().filter(|piece| share(piece, hz) > 0.2).count() >= 8;
        present.iter().all(|hz| holds(*hz)) && absent.iter().all(|hz| pieces.iter().all(|p| share(p, *hz) < 0.05))
    };
    let found = until(what, 20_000, || async {
        let heard = call.rtp().heard().last_ms(1_000);
        (heard.len() >= 8_000 && all_so(&heard)).then_some(())
    });
    if found.await.is_err() {
        let heard = call.rtp().heard().last_ms(1_000);
        let levels: Vec<_> = [present, absent].concat().iter().map(|hz| (*hz, tone_dbov(&heard, *hz))).collect();
        panic!("{what}: the citizen should hear {present:?} and not {absent:?}: {levels:?}");
    }
}

/// The leader is in the citizen's talk by ear and by word, and the citizen knows nothing of it.
async fn whispered(shift: &mut Shift, call: &Call, id: &str) {
    let path = format!("/api/v1/calls/{id}/supervise");
    shift.desk.api.post(&path, &json!({ "part": "whisper" })).await.unwrap();
    picked_up(&shift.leader, &shift.desk, id).await;
    let [citizen, leader] = [CITIZEN, LEADER].map(f64::from);
    shift.browser.wait_hears_all(&[citizen, leader], &[]).await.unwrap();
    hears(call, "the whispered talk", &[BROWSER], &[LEADER, CITIZEN]).await;
    let leak = tone_dbov(&call.rtp().heard().last_ms(1_000), LEADER);
    assert!(leak <= SAID_DBOV + LEAK_DB, "the whisper at the citizen's: {leak} dB, said at {SAID_DBOV}");
    let barge = json!({ "part": "barge", "reason": "协助处置" });
    shift.desk.api.post(&path, &barge).await.unwrap();
    hears(call, "the leader's word", &[BROWSER, LEADER], &[CITIZEN]).await;
    shift.desk.api.json(Method::DELETE, &path, None).await.unwrap();
    hears(call, "the talk without the leader", &[BROWSER], &[LEADER, CITIZEN]).await;
}

/// Picks the phone up as soon as it rings.
async fn picked_up(phone: &Baresip, desk: &Desk, id: &str) {
    until("the phone picked up", 30_000, || async {
        phone.command("accept", "").await.ok()?;
        let state = desk.api.get(&format!("/api/v1/calls/{id}/state")).await.ok()?;
        guest_talks(&state).then_some(())
    })
    .await
    .unwrap();
}

/// Each hands the citizen to the other kind of phone, asked first and unasked.
async fn handed_to_and_fro(shift: &mut Shift, call: &Call, id: &str) {
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    let (to_phone, to_browser) = (json!({ "phone": "1002" }), json!({ "phone": "1003" }));
    // Chromium to baresip, attended.
    let held = shift.browser_api.post(&path("consult"), &to_phone).await.unwrap();
    assert_eq!(held["held"], true, "{held}");
    state(&shift.desk, id, "the consultation", guest_talks).await;
    shift.browser.wait_hears_all(&[f64::from(PHONE)], &[f64::from(CITIZEN)]).await.unwrap();
    hears_music(call.rtp(), &[CITIZEN, PHONE, BROWSER]).await;
    shift.browser_api.post(&path("consult/complete"), &json!({})).await.unwrap();
    hears(call, "Chromium to baresip, attended", &[PHONE], &[BROWSER, CITIZEN]).await;
    shift.browser.wait("the end of its part", |state| state["talking"] == false).await.unwrap();
    // baresip to Chromium, blind.
    shift.phone_api.post(&path("transfer"), &to_browser).await.unwrap();
    hears(call, "baresip to Chromium, blind", &[BROWSER], &[PHONE, CITIZEN]).await;
    shift.browser.wait_hears(f64::from(CITIZEN)).await.unwrap();
    // Chromium to baresip, blind.
    shift.browser_api.post(&path("transfer"), &to_phone).await.unwrap();
    hears(call, "Chromium to baresip, blind", &[PHONE], &[BROWSER, CITIZEN]).await;
    shift.browser.wait("the end of its part", |state| state["talking"] == false).await.unwrap();
    // baresip to Chromium, attended.
    shift.phone_api.post(&path("consult"), &to_browser).await.unwrap();
    state(&shift.desk, id, "the consultation", guest_talks).await;
    shift.browser.wait_hears_all(&[f64::from(PHONE)], &[f64::from(CITIZEN)]).await.unwrap();
    shift.phone_api.post(&path("consult/complete"), &json!({})).await.unwrap();
    hears(call, "baresip to Chromium, attended", &[BROWSER], &[PHONE, CITIZEN]).await;
    shift.browser.wait_hears(f64::from(CITIZEN)).await.unwrap();
}

/// Loss of signalling ends no talk; a new registration goes on with it.
async fn cut_and_mended(shift: &mut Shift, call: &Call) {
    shift.browser.ask("cut").await.unwrap();
    shift.browser.wait("the end of the WebSocket", |state| state["connected"] == false).await.unwrap();
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(f64::from(BROWSER), 2_000, 30_000).await.unwrap();
    shift.browser.wait_hears(f64::from(CITIZEN)).await.unwrap();
    shift.browser.ask("mend").await.unwrap();
    shift.browser.wait("the second registration", |state| state["registered"].as_u64() > Some(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_goes_through_every_kind_of_phone_and_is_never_lost() {
    let mut shift = Shift::open().await;
    shift.browser_api.set_state("ready").await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(shift.desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    hears(&call, "Chromium answers", &[BROWSER], &[]).await;
    shift.browser.wait_hears(f64::from(CITIZEN)).await.unwrap();
    let id = call_of(&shift.desk, 1).await;
    let path = |what: &str| format!("/api/v1/calls/{id}/{what}");
    // No further calls to Chromium's operator.
    shift.browser_api.set_state("break").await.unwrap();

    shift.browser_api.post(&path("hold"), &json!({ "on": true })).await.unwrap();
    hears_music(call.rtp(), &[CITIZEN, BROWSER]).await;
    shift.browser_api.post(&path("hold"), &json!({ "on": false })).await.unwrap();
    hears(&call, "the talk after the hold", &[BROWSER], &[]).await;
    whispered(&mut shift, &call, &id).await;

    // Three-way.
    let asked = shift.browser_api.post(&path("guests"), &json!({ "phone": "1002" })).await.unwrap();
    let guest = asked["guests"][0]["user"].as_str().unwrap().to_owned();
    hears(&call, "three-way", &[BROWSER, PHONE], &[LEADER, CITIZEN]).await;
    shift.browser.wait_hears_all(&[f64::from(CITIZEN), f64::from(PHONE)], &[]).await.unwrap();
    shift.browser_api.json(Method::DELETE, &path(&format!("guests/{guest}")), None).await.unwrap();
    hears(&call, "the talk of two", &[BROWSER], &[PHONE, CITIZEN]).await;

    handed_to_and_fro(&mut shift, &call, &id).await;
    cut_and_mended(&mut shift, &call).await;

    // Somebody waits already when the tab is killed; the citizen who had an operator comes before them.
    let sipp = Sipp::start(&SippConfig::citizen(shift.desk.gateway.sip(), 30_000)).unwrap();
    let waiting = call_of(&shift.desk, 2).await;
    state(&shift.desk, &waiting, "the second caller waits", |state| state["stage"] == "queue").await;
    shift.browser.ask("kill").await.unwrap();
    state(&shift.desk, &id, "back in the queue", |state| state["stage"] == "queue").await;
    shift.phone_api.set_state("ready").await.unwrap();
    hears(&call, "the other operator", &[PHONE], &[BROWSER, CITIZEN]).await;
    state(&shift.desk, &waiting, "the second caller still waits", |state| state["stage"] == "queue").await;
    call.hang_up().await.unwrap();
    let row = shift.desk.ended(&id).await;
    assert_eq!(row["end_side"], "citizen", "{row}");
    let [wait_ms, talk_ms] = ["wait_ms", "talk_ms"].map(|field| row[field].as_i64().unwrap());
    assert!(wait_ms < 10_000 && talk_ms > 15_000, "what came before the tab was killed was a talk: {row}");
    let recordings = row["recordings"].as_array().map(Vec::len);
    assert_eq!(recordings, Some(2), "one file until the tab is killed, whoever talks, one after it: {row}");

    state(&shift.desk, &waiting, "the second caller's turn", |state| state["operator"]["talking"] == true).await;
    sipp.wait_successful().await.unwrap();
    assert_eq!(shift.desk.ended(&waiting).await["end_side"], "citizen");
    let heard = until("what baresip heard", 20_000, || async {
        let heard: u64 = shift.phone.heard().iter().map(|wav| wav.tone_ms(0, f64::from(CITIZEN))).sum();
        (heard >= 3_000).then_some(heard)
    });
    heard.await.unwrap();
}
