//! How a call sounds: in its row, in the metrics, and as events while somebody can't be heard.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{Baresip, BaresipConfig};
use hotline_tests::rtp::{Faults, Source};
use hotline_tests::sip::{Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::{Waiting, until};
use serde_json::{Value, json};

async fn event(desk: &Desk, call: &str, kind: &str, nth: usize) -> Value {
    let path = format!("/api/v1/calls/{call}/events");
    until(&format!("the event {kind}"), 20_000, || async {
        let events = desk.api.get(&path).await.ok()?;
        events.as_array()?.iter().filter(|e| e["kind"] == kind).nth(nth).cloned()
    })
    .await
    .unwrap()
}

async fn troubles(desk: &Desk) -> Vec<Value> {
    let live = desk.api.get("/api/v1/calls/live").await.unwrap();
    live[0]["audio"].as_array().unwrap().clone()
}

fn leg<'a>(row: &'a Value, role: &str) -> &'a Value {
    row["quality"].as_array().unwrap().iter().find(|leg| leg["leg"] == role).unwrap_or_else(|| panic!("{role}: {row}"))
}

async fn silent_phone(desk: &Desk) -> Phone {
    let credentials = Credentials::new("1001", "phone-1001");
    let config = PhoneConfig { source: Source::Silence, ..PhoneConfig::new(desk.gateway.sip(), credentials) };
    Phone::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_microphone_and_a_dead_line_are_events_while_they_last() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = silent_phone(&desk).await;
    desk.ready().await;
    let waiting = Waiting::of(desk.gateway.process_id());
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    operator.wait_answered(5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let begun = event(&desk, &id, "talk_start", 0).await;

    let silent = event(&desk, &id, "audio_one_way", 0).await;
    assert_eq!(silent["data"], json!({ "leg": "operator", "direction": "in", "cause": "silence" }));
    let waited_ms = i64::try_from(waiting.ms()).unwrap();
    // Four to five seconds, and what a loaded machine adds.
    let after_ms = silent["at"].as_i64().unwrap() - begun["at"].as_i64().unwrap();
    assert!((3_900 - waited_ms..=6_000 + waited_ms).contains(&after_ms), "{after_ms} ms, {waited_ms} waited");
    let shown = troubles(&desk).await;
    assert_eq!((&shown[0]["leg"], &shown[0]["cause"]), (&json!("operator"), &json!("silence")), "{shown:?}");
    operator.rtp().play(Source::tone(1_000.0));
    let back = event(&desk, &id, "audio_restored", 0).await;
    assert_eq!((&back["data"]["leg"], &back["data"]["cause"]), (&json!("operator"), &json!("silence")));
    assert!(troubles(&desk).await.is_empty());

    operator.rtp().play(Source::Nothing);
    let dead = event(&desk, &id, "audio_dead", 0).await;
    assert_eq!(dead["data"], json!({ "leg": "operator", "direction": "in", "cause": "no_packets" }));
    operator.rtp().play(Source::tone(1_000.0));
    let back = event(&desk, &id, "audio_restored", 1).await;
    assert_eq!(back["data"]["cause"], "no_packets");
    assert!(back["data"]["lasted_ms"].is_u64(), "{back}");

    call.hang_up().await.unwrap();
    desk.ended(&id).await;
    let metrics = desk.api.metrics().await.unwrap();
    for cause in ["silence", "no_packets"] {
        let line = format!("hotline_audio_faults_total{{cause=\"{cause}\",leg=\"operator\"}} 1");
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("hotline_audio_faults_total{cause=\"silence\",leg=\"citizen\"}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarter_of_the_packets_lost_is_a_bad_call_in_its_row_and_a_clean_one_is_good() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    for loss_percent in [25, 0] {
        let call = citizen.call_answered("12319", 5_000).await.unwrap();
        call.rtp().set_faults(Faults { loss_percent, seed: 5, ..Faults::default() });
        let operator = phone.next_call(10_000).await.unwrap();
        call.rtp().wait_for_tone(1_000.0, 3_000, 12_000).await.unwrap();
        call.hang_up().await.unwrap();
        operator.wait_ended(5_000).await.unwrap();
        let newest = desk.api.get("/api/v1/calls").await.unwrap()[0]["id"].as_str().unwrap().to_owned();
        desk.ended(&newest).await;
    }
    let bad = desk.ended(&call_of(&desk, 1).await).await;
    let (citizen, operator) = (leg(&bad, "citizen"), leg(&bad, "operator"));
    let mos_in = citizen["mos_in"].as_f64().unwrap();
    assert!((1.5..2.9).contains(&mos_in), "{bad}");
    assert!(citizen["lost_in"].as_i64().unwrap() > 15, "{bad}");
    assert_eq!((citizen["grade"].as_str(), citizen["codec"].as_str()), (Some("poor"), Some("PCMA")));
    assert!(operator["mos_in"].as_f64().unwrap() > 4.2, "{bad}");
    assert_eq!(bad["mos"].as_f64(), Some(mos_in), "the worst of all");
    assert!(citizen["mos_out"].is_null(), "this citizen sends no reports");
    let good = desk.ended(&call_of(&desk, 2).await).await;
    assert_eq!(leg(&good, "citizen")["grade"], "good", "{good}");
    let worse = desk.api.get("/api/v1/calls?mos_below=3.1").await.unwrap();
    let ids: Vec<_> = worse.as_array().unwrap().iter().map(|c| c["id"].clone()).collect();
    assert_eq!(ids, [bad["id"].clone()]);
    let metrics = desk.api.metrics().await.unwrap();
    for line in [
        "hotline_leg_mos_count{direction=\"in\",leg=\"citizen\"} 2",
        "hotline_leg_mos_bucket{direction=\"in\",leg=\"citizen\",le=\"3.1\"} 1",
        "hotline_leg_mos_bucket{direction=\"in\",leg=\"operator\",le=\"4.2\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresips_own_reports_tell_how_it_hears_the_citizen() {
    // baresip signals from its own address and sends its media from whichever the system picks.
    let config = GatewayConfig::default().with("sip.digest", vec!["MD5"]);
    let desk = Desk::open(config.with("sip.phone_media_networks", vec!["127.0.0.1"])).await;
    let mut baresip =
        Baresip::start(&BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"))).unwrap();
    baresip.wait_registered(10_000).await.unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    // Two intervals of RTCP, each up to 7.5 s (RFC 3550 §6.3.1): an echo needs a report of ours to answer.
    call.rtp().wait_for_tone(1_000.0, 500, 15_000).await.unwrap();
    let packets = call.rtp().heard().packets.len();
    let whole = || async { (call.rtp().heard().packets.len() >= packets + 16 * 50).then_some(()) };
    until("16 s of the talk", 40_000, whole).await.unwrap();
    call.hang_up().await.unwrap();
    let row = desk.ended(&call_of(&desk, 1).await).await;
    let operator = leg(&row, "operator");
    assert!(operator["mos_out"].as_f64().unwrap() > 4.0, "{row}");
    assert!(operator["rtt_ms"].as_i64().unwrap() < 500, "{row}");
    baresip.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_never_sends_anything_gets_one_citizen_and_no_second() {
    let config = GatewayConfig::default().with("media.rtp_silence_ms", 2_000).with("media.phone_dead_ms", 4_000);
    let desk = Desk::open(config).await;
    let credentials = Credentials::new("1001", "phone-1001");
    let settings = PhoneConfig { source: Source::Nothing, ..PhoneConfig::new(desk.gateway.sip(), credentials) };
    let phone = Phone::start(settings).await.unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    let operator = phone.next_call(20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    event(&desk, &id, "operator_media_lost", 0).await;
    operator.wait_ended(10_000).await.unwrap();
    let seat = until("the operator's seat away", 20_000, || async {
        let queues = desk.api.get("/api/v1/queues").await.ok()?;
        let seat = queues[0]["operators"].as_array()?.iter().find(|o| o["state"] == "away")?.clone();
        Some(seat)
    })
    .await
    .unwrap();
    assert_eq!(seat["reason"], "no_media", "{seat}");
    call.hang_up().await.unwrap();
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
}
