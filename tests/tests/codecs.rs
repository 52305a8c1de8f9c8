//! Phones that speak G.722 or Opus talk with a citizen who speaks A-law: heard both ways, recorded.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use std::net::{IpAddr, Ipv4Addr};

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::PHONE_NETWORK;
use hotline_tests::peer::{Baresip, BaresipConfig, Linphone, LinphoneConfig};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials};
use hotline_tests::tone::{RATE_HZ, level_dbov, sine, tone_ms};
use hotline_tests::until;
use hotline_tests::wav::Wav;

/// What both sides say: 440 Hz and 1000 Hz at this level.
const SAID_DBOV: f64 = -16.0;
/// What is left of a file of 8 kHz in linphonec's own way to 16 kHz.
const SAID_IN_G722_DBOV: f64 = -22.0;

/// The purest second of the audio holds the tone at its own level.
fn is_at_level(samples: &[i16], rate_hz: u32, hz: f64, dbov: f64) -> Result<(), String> {
    let second = rate_hz as usize;
    // Window by window: a phone that plays a file by a timer of its own skips a sample now and then.
    let judged = samples.windows(second).step_by(second / 10).map(|s| (tone_ms(s, rate_hz, hz), level_dbov(s)));
    let best = judged.max_by(|a, b| a.0.cmp(&b.0).then((b.1 - dbov).abs().total_cmp(&(a.1 - dbov).abs())));
    let (tone, level) = best.ok_or("not a second of audio")?;
    let fits = (level - dbov).abs() < 1.0 && tone >= 900;
    if fits { Ok(()) } else { Err(format!("{tone} ms of {hz} Hz in 1 s at {level:.2} dBov")) }
}

fn assert_level(what: &str, samples: &[i16], rate_hz: u32, hz: f64, dbov: f64) {
    is_at_level(samples, rate_hz, hz, dbov).unwrap_or_else(|why| panic!("{what}: {why}"));
}

/// The citizen hears the operator's tone as loud as it should be.
async fn citizen_hears(call: &Call, dbov: f64) {
    let judge = || is_at_level(&call.rtp().heard().last_ms(2_000), RATE_HZ, 1_000.0, dbov);
    let heard = until("a second of the operator's tone", 20_000, || async { judge().ok() }).await;
    heard.unwrap_or_else(|e| panic!("{e}: {:?}", judge()));
}

async fn assert_recorded(desk: &Desk, operator_dbov: f64) {
    let path = format!("/api/v1/calls/{}", call_of(desk, 1).await);
    let id = until("a finished talk recording", 20_000, || async {
        let detail = desk.api.get(&path).await.ok()?;
        let talk = detail["recordings"].as_array()?.iter().find(|r| r["kind"] == "talk" && r["sha256"].is_string())?;
        Some(talk["id"].as_str()?.to_owned())
    });
    let wav = Wav::from_bytes(&desk.api.audio(&id.await.unwrap(), "quality check").await.unwrap()).unwrap();
    assert_level("recorded left", wav.channel(0), wav.rate_hz, 440.0, SAID_DBOV);
    assert_level("recorded right", wav.channel(1), wav.rate_hz, 1_000.0, operator_dbov);
    assert_eq!(wav.tone_ms(0, 1_000.0) + wav.tone_ms(1, 440.0), 0, "no bleed between the channels");
}

async fn baresip_talks(codec: &str, name: &'static str) {
    // Its RTP comes from 127.0.0.1 whatever address its signalling has.
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let desk = Desk::open(
        GatewayConfig::default()
            .with("media.codecs", vec![codec])
            .with("sip.digest", vec!["MD5"])
            .with("sip.phone_networks", vec![PHONE_NETWORK, "127.0.0.1/32"]),
    )
    .await;
    let mut config = BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    config.ip = own;
    config.codec = name;
    let mut parts = name.split('/').skip(1).map(|part| part.parse::<u32>().unwrap());
    let (rate_hz, channels) = (parts.next().unwrap(), parts.next().unwrap());
    config.audio = Wav { rate_hz, channels: vec![sine(1_000.0, SAID_DBOV, 30_000, rate_hz); channels as usize] };
    let mut baresip = Baresip::start(&config).unwrap();
    baresip.wait_registered(10_000).await.unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 2_000, 15_000).await.unwrap();
    citizen_hears(&call, SAID_DBOV).await;
    call.hang_up().await.unwrap();
    assert_recorded(&desk, SAID_DBOV).await;
    let heard = until("what baresip heard", 5_000, || async {
        baresip.heard().into_iter().next().filter(|wav| wav.duration_ms() > 1_000)
    });
    let heard = heard.await.unwrap();
    assert_level("baresip", heard.channel(0), heard.rate_hz, 440.0, SAID_DBOV);
    baresip.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_talks_in_g722() {
    baresip_talks("G722", "G722/16000/1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_talks_in_opus() {
    baresip_talks("opus", "opus/48000/2").await;
}

async fn linphonec_talks(codec: &str, operator_dbov: f64) {
    let desk = Desk::open(GatewayConfig::default().with("media.codecs", vec![codec])).await;
    let mut config = LinphoneConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    config.g722 = codec == "G722";
    let mut phone = Linphone::start(&config).unwrap();
    phone.wait_registered(15_000).await.unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 2_000, 15_000).await.unwrap();
    citizen_hears(&call, operator_dbov).await;
    call.hang_up().await.unwrap();
    assert_recorded(&desk, operator_dbov).await;
    phone.quit().await.unwrap();
    let heard = phone.heard();
    assert!(heard.tone_ms(0, 440.0) >= 1_000, "linphonec heard {} ms of 440 Hz", heard.tone_ms(0, 440.0));
    let answer = phone.log();
    assert!(answer.contains(&format!(" {codec}/")), "another codec than {codec} was spoken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linphonec_talks_in_opus() {
    linphonec_talks("opus", SAID_DBOV).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linphonec_talks_in_g722() {
    linphonec_talks("G722", SAID_IN_G722_DBOV).await;
}
