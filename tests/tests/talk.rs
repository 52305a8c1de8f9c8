//! A citizen's call to an operator, over real SIP and RTP: talk, recording, hold, who hung up.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, call_of, item_form};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{Baresip, BaresipConfig, Sipp, SippConfig};
use hotline_tests::sip::{Behaviour, Citizen, CitizenConfig, Credentials};
use hotline_tests::wav::Wav;
use hotline_tests::{Waiting, until};
use serde_json::json;

const NUMBER: &str = "13812345678";

async fn recorded(desk: &Desk, call: &str) -> (serde_json::Value, Wav) {
    let path = format!("/api/v1/calls/{call}");
    let recording = until("a finished talk recording", 20_000, || async {
        let detail = desk.api.get(&path).await.ok()?;
        detail["recordings"].as_array()?.iter().find(|r| r["kind"] == "talk" && r["sha256"].is_string()).cloned()
    })
    .await
    .unwrap();
    let bytes = desk.api.audio(recording["id"].as_str().unwrap(), "quality check").await.unwrap();
    (recording, Wav::from_bytes(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_and_a_desk_phone_hear_each_other_and_the_recording_holds_both_sides() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let sipp = Sipp::start(&SippConfig::citizen(desk.gateway.sip(), 6_000)).unwrap();
    let waiting = Waiting::of(desk.gateway.process_id());
    let operator = phone.next_call(10_000).await.unwrap();
    operator.wait_answered(5_000).await.unwrap();
    let answered = std::time::Instant::now();
    operator.rtp().wait_for_tone(440.0, 1_000, 8_000).await.unwrap();
    let end = operator.wait_ended(15_000).await.unwrap();
    let talk_ms = u64::try_from(answered.elapsed().as_millis()).unwrap();
    let waited_ms = waiting.ms();
    assert_eq!(end.by, hotline_tests::sip::Side::Remote);
    sipp.wait_successful().await.unwrap();

    let call = call_of(&desk, 1).await;
    let (row, wav) = recorded(&desk, &call).await;
    let row_talk_ms = desk.api.get(&format!("/api/v1/calls/{call}")).await.unwrap()["talk_ms"].as_u64().unwrap();
    let length = wav.duration_ms();
    let by_row = length.abs_diff(row_talk_ms);
    assert!(by_row <= 20 + waited_ms, "recording {length} ms, talk by the row {row_talk_ms} ms, waited {waited_ms}");
    let by_phone = length.abs_diff(talk_ms);
    assert!(by_phone <= 250 + waited_ms, "recording {length} ms, talk by the phone {talk_ms} ms, waited {waited_ms}");
    assert_eq!(row["duration_ms"].as_u64(), Some(length));
    let most = length.saturating_sub(400 + waited_ms);
    assert!(wav.tone_ms(0, 440.0) >= most, "left: {} of {length} ms of 440 Hz", wav.tone_ms(0, 440.0));
    assert!(wav.tone_ms(1, 1_000.0) >= most, "right: {} of {length} ms of 1000 Hz", wav.tone_ms(1, 1_000.0));
    assert_eq!(wav.tone_ms(0, 1_000.0) + wav.tone_ms(1, 440.0), 0, "no bleed between the channels");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_registers_with_digest_and_serves_as_the_operators_phone() {
    let desk = Desk::open(
        GatewayConfig::default().with("sip.digest", vec!["MD5"]).with("sip.phone_media_networks", vec!["127.0.0.1"]),
    )
    .await;
    let mut baresip =
        Baresip::start(&BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"))).unwrap();
    baresip.wait_registered(10_000).await.unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 2_000, 15_000).await.unwrap();
    call.hang_up().await.unwrap();
    let id = call_of(&desk, 1).await;
    let (_, wav) = recorded(&desk, &id).await;
    assert!(wav.tone_ms(0, 440.0) > 1_000 && wav.tone_ms(1, 1_000.0) > 1_000);
    baresip.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_end_moves_the_citizen_to_the_survey() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    desk.api.end_call(&id, None).await.unwrap();
    operator.wait_ended(5_000).await.unwrap();
    // Still on the line, and hearing the question.
    call.rtp().clear_heard();
    until("the survey's prompt", 8_000, || async {
        (hotline_tests::tone::sound_ms(&call.rtp().heard().pcm(), 8_000) > 1_000).then_some(())
    })
    .await
    .unwrap();
    call.send_digits("1").unwrap();
    let end = call.wait_ended(20_000).await.unwrap();
    assert_eq!(end.by, hotline_tests::sip::Side::Remote);
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], "operator");
    assert!(row["end_reason"].as_str().unwrap().starts_with("operator_end"), "{row}");
    let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    assert!(events.as_array().unwrap().iter().any(|e| e["kind"] == "answer" && e["data"]["value"] == "1"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_from_the_operators_phone_also_leads_to_the_survey() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    operator.hang_up().await.unwrap();
    call.rtp().clear_heard();
    until("the survey's prompt", 8_000, || async {
        (hotline_tests::tone::sound_ms(&call.rtp().heard().pcm(), 8_000) > 1_000).then_some(())
    })
    .await
    .unwrap();
    call.hang_up().await.unwrap();
    let row = desk.ended(&call_of(&desk, 1).await).await;
    assert_eq!(row["end_side"], "operator");
    assert!(row["end_reason"].as_str().unwrap().starts_with("operator_bye"), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_up_on_a_citizen_needs_an_allowed_reason() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    for reason in ["because", "silence"] {
        let refused = desk.api.end_call(&id, Some(reason)).await.unwrap_err().to_string();
        assert!(refused.contains("422"), "{reason}: {refused}");
    }
    desk.api.end_call(&id, Some("harassment")).await.unwrap();
    call.wait_ended(5_000).await.unwrap();
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], "operator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_from_the_phone_plays_music_and_resume_brings_the_operator_back() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    operator.hold().await.unwrap();
    call.rtp().clear_heard();
    until("music instead of the tone", 10_000, || async {
        let heard = call.rtp().heard().last_ms(500);
        (hotline_tests::tone::sound_ms(&heard, 8_000) > 200
            && hotline_tests::tone::tone_ms(&heard, 8_000, 1_000.0) == 0)
            .then_some(())
    })
    .await
    .unwrap();
    operator.resume().await.unwrap();
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    call.hang_up().await.unwrap();
    let row = desk.ended(&call_of(&desk, 1).await).await;
    assert_eq!(row["end_side"], "citizen");
    assert!(row["hold_ms"].as_u64().unwrap() > 150, "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_becomes_one_missed_call_task() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    for _ in 0..2 {
        let call = citizen.call_answered("12319", 5_000).await.unwrap();
        call.rtp().wait_for_silence(10, 200).await.ok();
        call.hang_up().await.unwrap();
    }
    let second = call_of(&desk, 2).await;
    desk.ended(&second).await;
    let tasks = desk.api.get("/api/v1/callbacks").await.unwrap();
    let missed: Vec<_> = tasks.as_array().unwrap().iter().filter(|t| t["kind"] == "漏接回拨").collect();
    assert_eq!(missed.len(), 1, "two tries of one citizen are one debt: {tasks}");
    let row = desk.ended(&call_of(&desk, 1).await).await;
    assert_eq!((row["end_side"].as_str(), row["stage_abandoned"].as_str()), (Some("citizen"), Some("queue")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_rejects_loses_the_caller_to_the_next_operator() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let first = desk.phone().await;
    first.set_behaviour(Behaviour::Reject { after_ms: 50, code: 486 });
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    first.next_call(10_000).await.unwrap();
    until("the first operator away", 5_000, || async {
        let queues = desk.api.get("/api/v1/queues").await.ok()?;
        (queues[0]["operators"][0]["state"] == "away").then_some(())
    })
    .await
    .unwrap();
    let (second, api) = desk.second_operator().await;
    api.set_state("ready").await.unwrap();
    second.next_call(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_form_makes_one_item_that_reaches_the_ledger_once() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 8_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let item = desk.api.post("/api/v1/items", &item_form(&id)).await.unwrap();
    let again = desk.api.post("/api/v1/items", &item_form(&id)).await.unwrap();
    assert_eq!(item["acceptance_no"], again["acceptance_no"]);
    assert_eq!(item["acceptance_no"].as_str().unwrap().len(), 19);
    assert_eq!(item["query_code"].as_str().unwrap().len(), 8);
    let story = desk.handed_off(item["id"].as_str().unwrap()).await;
    assert_eq!(story["handoffs"].as_array().unwrap().len(), 1);
    assert_eq!(story["contacts"][0]["role"], "首报");
    call.hang_up().await.unwrap();
    let bad = desk.api.post("/api/v1/items", &json!({"kind": "x", "title": "y"})).await.unwrap_err().to_string();
    assert!(bad.contains("400") && bad.contains("kind"), "{bad}");
    let shown = desk.gateway.run_ok(&["show", item["acceptance_no"].as_str().unwrap()]).unwrap();
    assert!(shown.contains("case core took it"), "{shown}");
}
