//! A talk's recording over real SIP and RTP: paused for sensitive words, stored as A-law, its levels.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::until;
use hotline_tests::wav::Wav;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_talk_is_silent_there_in_an_alaw_file_and_its_levels_show_it() {
    let desk = Desk::open(GatewayConfig::default().with("media.recording_format", "alaw")).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), "13812345678")).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 1_500, 10_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let order = async |what: &str| {
        let path = format!("/api/v1/calls/{id}/record/{what}");
        desk.api.post(&path, &json!({})).await.map(|state| state["paused"].clone())
    };
    // Asking twice is asking once.
    for _ in 0..2 {
        assert_eq!(order("pause").await.unwrap(), true);
    }
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(1_000.0, 2_000, 10_000).await.unwrap();
    assert_eq!(order("resume").await.unwrap(), false);
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(1_000.0, 1_500, 10_000).await.unwrap();
    call.hang_up().await.unwrap();
    desk.ended(&id).await;

    let path = format!("/api/v1/calls/{id}");
    let row = until("the finished recording", 20_000, || async {
        let detail = desk.api.get(&path).await.ok()?;
        detail["recordings"].as_array()?.iter().find(|r| r["kind"] == "talk" && r["sha256"].is_string()).cloned()
    })
    .await
    .unwrap();
    let ranges: Vec<(u64, u64)> = serde_json::from_value(row["paused_ranges"].clone()).unwrap();
    let [(from, to)] = ranges[..] else { panic!("{row}") };
    assert!(to - from >= 1_900, "{row}");
    let recording = row["id"].as_str().unwrap();
    let bytes = desk.api.audio(recording, "quality check").await.unwrap();
    assert_eq!(bytes[20..22], [6, 0], "A-law");
    let wav = Wav::from_bytes(&bytes).unwrap();
    assert_eq!(row["duration_ms"].as_u64(), Some(wav.duration_ms()));
    assert_eq!(row["bytes"].as_u64(), Some(44 + wav.channel(0).len() as u64 * 2));
    for channel in [0, 1] {
        let part = |from: u64, to: u64| &wav.channel(channel)[from as usize * 8..to as usize * 8];
        assert!(part(from, to).iter().all(|sample| sample.unsigned_abs() <= 8), "channel {channel}");
        assert!(part(from - 500, from).iter().any(|sample| sample.unsigned_abs() > 1000));
        assert!(part(to, to + 500).iter().any(|sample| sample.unsigned_abs() > 1000));
    }

    let levels = desk.api.get(&format!("/api/v1/recordings/{recording}/levels")).await.unwrap();
    assert_eq!(levels["interval_ms"], 1000);
    for channel in levels["channels"].as_array().unwrap() {
        let peaks: Vec<i64> = serde_json::from_value(channel["peak_dbfs"].clone()).unwrap();
        assert_eq!(peaks.len() as u64, wav.duration_ms().div_ceil(1000));
        assert!(peaks.iter().any(|peak| *peak > -30), "{channel}");
        let inside = from.div_ceil(1000) as usize..(to / 1000) as usize;
        assert!(peaks[inside].iter().all(|peak| *peak <= -70), "{channel}");
    }
    let events = desk.api.get(&format!("{path}/events")).await.unwrap();
    let of = |kind: &str| events.as_array().unwrap().iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((of("recording_paused"), of("recording_resumed")), (1, 1), "{events}");
    let late: Result<Value, _> = order("pause").await;
    assert!(late.unwrap_err().to_string().contains("404"), "the call is over");
}
