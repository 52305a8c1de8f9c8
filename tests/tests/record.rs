//! Which part of a hotline's calls is recorded.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::until;
use hotline_tests::wav::Wav;

const NUMBER: &str = "13812345678";

/// 12319 is recorded from the answer on, 12345 not at all.
fn config() -> GatewayConfig {
    let hotlines: toml::Table = "hotline = [{ number = \"12319\", record = \"answer\" }, \
        { number = \"12345\", record = \"off\" }]"
        .parse()
        .unwrap();
    GatewayConfig::default().with("hotline", hotlines["hotline"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hotline_is_recorded_from_the_answer_on_or_not_at_all() {
    let desk = Desk::open(config()).await;
    let phone = desk.phone().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();

    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    until("the greeting", 8_000, || async {
        (hotline_tests::tone::sound_ms(&call.rtp().heard().pcm(), 8_000) > 1_000).then_some(())
    })
    .await
    .unwrap();
    desk.ready().await;
    let operator = phone.next_call(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 1_000, 8_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    operator.hang_up().await.unwrap();
    call.rtp().clear_heard();
    until("the survey", 8_000, || async {
        (hotline_tests::tone::sound_ms(&call.rtp().heard().pcm(), 8_000) > 1_000).then_some(())
    })
    .await
    .unwrap();
    call.hang_up().await.unwrap();
    let row = desk.ended(&id).await;
    let recordings = row["recordings"].as_array().unwrap();
    assert_eq!(recordings.len(), 1, "greeting, talk and survey are one recording: {row}");
    let bytes = desk.api.audio(recordings[0]["id"].as_str().unwrap(), "quality check").await.unwrap();
    let wav = Wav::from_bytes(&bytes).unwrap();
    let line_ms = u64::try_from(row["end_at"].as_i64().unwrap() - row["answer_at"].as_i64().unwrap()).unwrap();
    let length_ms = wav.duration_ms();
    assert!(length_ms.abs_diff(line_ms) <= 100, "recording {length_ms} ms, line {line_ms} ms");
    assert!(wav.tone_ms(0, 440.0) + 400 >= length_ms, "left: {} of {length_ms} ms", wav.tone_ms(0, 440.0));
    let operator_ms = wav.tone_ms(1, 1_000.0);
    assert!(operator_ms >= 400 && operator_ms + 1_000 <= length_ms, "right: {operator_ms} of {length_ms} ms");

    let call = citizen.call_answered("12345", 5_000).await.unwrap();
    phone.next_call(10_000).await.unwrap().wait_answered(5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    call.hang_up().await.unwrap();
    let row = desk.ended(&call_of(&desk, 2).await).await;
    assert_eq!(row["recordings"].as_array().map(Vec::len), Some(0), "{row}");
}
