//! Who hears what through a bridge and a hold, by callers and phones nobody here wrote: each says a tone of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::sounds::{Sound, course, hears, hears_music, recorded};
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{Baresip, BaresipConfig, Linphone, LinphoneConfig, Sipp, SippConfig};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials};
use hotline_tests::until;
use hotline_tests::wav::Wav;

const CITIZEN: u32 = 440;
const OPERATOR: u32 = 1_000;
const TONES: [u32; 2] = [CITIZEN, OPERATOR];

async fn called(desk: &Desk) -> Call {
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(f64::from(OPERATOR), 1_500, 15_000).await.unwrap();
    call
}

/// The citizen's channel holds their tone alone; the other one the operator, the music, the operator again.
fn judge_recording(wav: &Wav) {
    let [citizen_ms, operator_ms] = TONES.map(|hz| wav.tone_ms(0, f64::from(hz)));
    let length = wav.duration_ms();
    assert!(citizen_ms * 10 >= length * 7 && operator_ms == 0, "left: {citizen_ms} and {operator_ms} of {length} ms");
    let right = course(wav.channel(1), &TONES);
    let heard: Vec<Sound> = right.iter().copied().filter(|sound| *sound != Sound::Silence).collect();
    let tone = Sound::Tone(OPERATOR);
    assert_eq!((heard.first(), heard.last()), (Some(&tone), Some(&tone)), "right: {right:?}");
    assert!(heard.contains(&Sound::Other), "right holds the music: {right:?}");
    assert!(!heard.contains(&Sound::Tone(CITIZEN)), "the citizen doesn't hear themselves: {right:?}");
}

/// What a phone heard: the citizen before and after the hold, and nothing but them.
fn judge_phone(heard: &[Wav]) {
    let all: Vec<Sound> = heard.iter().flat_map(|wav| course(wav.channel(0), &TONES)).collect();
    assert!(all.contains(&Sound::Tone(CITIZEN)), "{all:?}");
    assert!(!all.contains(&Sound::Tone(OPERATOR)) && !all.contains(&Sound::Other), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_holds_and_resumes_and_everybody_hears_whom_they_should() {
    // baresip signals from its own address and sends its media from whichever the system picks.
    let config = GatewayConfig::default().with("sip.digest", vec!["MD5"]);
    let desk = Desk::open(config.with("sip.phone_media_networks", vec!["127.0.0.1"])).await;
    let config = BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    let mut baresip = Baresip::start(&config).unwrap();
    baresip.wait_registered(10_000).await.unwrap();
    let call = called(&desk).await;
    baresip.command("hold", "").await.unwrap();
    hears_music(call.rtp(), &TONES).await;
    baresip.command("resume", "").await.unwrap();
    hears(call.rtp(), OPERATOR).await;
    call.hang_up().await.unwrap();
    let (_, wav) = recorded(&desk, &call_of(&desk, 1).await).await;
    judge_recording(&wav);
    let heard = until("what baresip heard", 10_000, || async {
        let heard = baresip.heard();
        (heard.iter().map(|wav| wav.tone_ms(0, f64::from(CITIZEN))).sum::<u64>() >= 1_000).then_some(heard)
    });
    judge_phone(&heard.await.unwrap());
    baresip.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linphonec_holds_and_resumes_and_everybody_hears_whom_they_should() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let config = LinphoneConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    let mut phone = Linphone::start(&config).unwrap();
    phone.wait_registered(15_000).await.unwrap();
    let call = called(&desk).await;
    phone.hold(true).await.unwrap();
    hears_music(call.rtp(), &TONES).await;
    phone.hold(false).await.unwrap();
    hears(call.rtp(), OPERATOR).await;
    call.hang_up().await.unwrap();
    let (_, wav) = recorded(&desk, &call_of(&desk, 1).await).await;
    judge_recording(&wav);
    phone.quit().await.unwrap();
    judge_phone(&[phone.heard()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_calls_is_held_and_taken_back_and_is_heard_all_the_time() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let sipp = Sipp::start(&SippConfig::citizen(desk.gateway.sip(), 15_000)).unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    hears(operator.rtp(), CITIZEN).await;
    operator.hold().await.unwrap();
    operator.rtp().wait_for_silence(500, 5_000).await.unwrap();
    // Long enough to be told from a transition in the recording.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    operator.resume().await.unwrap();
    hears(operator.rtp(), CITIZEN).await;
    sipp.wait_successful().await.unwrap();
    let (_, wav) = recorded(&desk, &call_of(&desk, 1).await).await;
    judge_recording(&wav);
}
