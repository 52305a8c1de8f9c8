//! Encrypted audio with baresip, whose SRTP nobody here wrote: as the operator's phone and as a carrier's far end.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use std::net::SocketAddr;
use std::path::Path;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::{GATEWAY_IP, TRUNK_IP, free_port, free_ports};
use hotline_tests::peer::{Baresip, BaresipConfig};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials};
use hotline_tests::tls::Certificates;
use hotline_tests::tone;
use hotline_tests::until;
use hotline_tests::wav::Wav;
use toml::{Table, Value};

fn in_clear(phone_srtp: &str) -> GatewayConfig {
    GatewayConfig::default()
        .with("sip.digest", vec!["MD5"])
        .with("sip.phone_srtp", phone_srtp)
        // baresip signals from its own address and sends its media from whichever the system picks.
        .with("sip.phone_media_networks", vec!["127.0.0.1"])
        .with("sip.srtp_keys_in_clear", true)
}

async fn phone(desk: &Desk, media_encryption: &'static str) -> Baresip {
    let mut config = BaresipConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    config.media_encryption = media_encryption;
    let mut baresip = Baresip::start(&config).unwrap();
    baresip.wait_registered(10_000).await.unwrap();
    baresip
}

/// What a call's events say about a leg's encryption, in order.
async fn suites(desk: &Desk, call: &str, leg: &str) -> Vec<Option<String>> {
    let events = desk.api.get(&format!("/api/v1/calls/{call}/events")).await.unwrap();
    let events = events.as_array().unwrap();
    let of_leg = events.iter().filter(|e| e["kind"] == "srtp" && e["data"]["leg"] == leg);
    of_leg.map(|e| e["data"]["suite"].as_str().map(str::to_owned)).collect()
}

fn encrypted() -> Vec<Option<String>> {
    vec![Some("AES_CM_128_HMAC_SHA1_80".to_owned())]
}

async fn recorded(desk: &Desk, call: &str) -> Wav {
    let path = format!("/api/v1/calls/{call}");
    let recording = until("a finished talk recording", 20_000, || async {
        let detail = desk.api.get(&path).await.ok()?;
        detail["recordings"].as_array()?.iter().find(|r| r["kind"] == "talk" && r["sha256"].is_string()).cloned()
    })
    .await
    .unwrap();
    let bytes = desk.api.audio(recording["id"].as_str().unwrap(), "quality check").await.unwrap();
    Wav::from_bytes(&bytes).unwrap()
}

async fn heard(baresip: &Baresip, hz: f64, least_ms: u64) {
    let tones = || baresip.heard().iter().map(|wav| wav.tone_ms(0, hz)).collect::<Vec<_>>();
    let enough = || async { tones().iter().any(|ms| *ms >= least_ms).then_some(()) };
    let heard = until("what baresip heard", 10_000, enough).await;
    heard.unwrap_or_else(|e| panic!("{e}: {:?} ms of {hz} Hz", tones()));
}

/// A plain citizen talks to the operator's baresip for some seconds; returns the call's id once it has ended.
async fn talk(desk: &Desk, baresip: &Baresip) -> String {
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    desk.ready().await;
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 2_000, 15_000).await.unwrap();
    call.hang_up().await.unwrap();
    heard(baresip, 440.0, 1_500).await;
    let id = call_of(desk, 1).await;
    let wav = recorded(desk, &id).await;
    let (left, right) = (wav.tone_ms(0, 440.0), wav.tone_ms(1, 1_000.0));
    assert!(left > 1_500 && right > 1_500, "the recording is of plain audio: {left} and {right} ms");
    desk.ended(&id).await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_insists_on_srtp_talks_and_is_recorded() {
    let desk = Desk::open(in_clear("required")).await;
    let baresip = phone(&desk, "srtp-mand").await;
    let call = talk(&desk, &baresip).await;
    assert!(baresip.log().contains("SRTP is Enabled"), "{}", baresip.log());
    assert_eq!(suites(&desk, &call, "operator").await, encrypted());
    assert_eq!(suites(&desk, &call, "citizen").await, [], "the citizen's leg is plain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_without_srtp_is_rung_once_more_in_plain_where_srtp_is_optional() {
    let desk = Desk::open(in_clear("optional")).await;
    let baresip = phone(&desk, "").await;
    let call = talk(&desk, &baresip).await;
    assert!(baresip.log().contains("488 Not Acceptable Here"), "{}", baresip.log());
    assert_eq!(suites(&desk, &call, "operator").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_offer_on_a_trunk_that_requires_srtp_gets_488_with_a_warning() {
    let mut trunk = trunk("required");
    trunk.insert("transport".into(), "udp".into());
    let config = in_clear("off").with("trunk", Value::Array(vec![trunk.into()]));
    let desk = Desk::open(config).await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call("12319").unwrap();
    let end = call.wait_ended(5_000).await.unwrap();
    assert_eq!(end.code, 488);
    let answers = citizen.agent().received(|message| message.code() == Some(488));
    let warning = answers[0].header("Warning").unwrap_or_default();
    assert!(warning.starts_with("302 hotline"), "{warning:?}");
}

fn trunk(srtp: &str) -> Table {
    let mut trunk = Table::new();
    trunk.insert("name".into(), "carrier".into());
    // baresip's connections leave from 127.0.0.1, whatever address it listens on.
    trunk.insert("sources".into(), vec!["127.0.1.0/24", "127.0.0.1"].into());
    trunk.insert("srtp".into(), srtp.into());
    trunk
}

/// A gateway whose only trunk is TLS with SRTP required, and baresip at the carrier's end of it.
struct Carrier {
    desk: Desk,
    baresip: Baresip,
    hotline: String,
    _certificates: Certificates,
}

impl Carrier {
    async fn open() -> Self {
        let certificates = Certificates::new(&["127.0.0.1", "127.0.1.1"]).unwrap();
        let listen = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP).unwrap());
        // baresip takes TLS on the port after its own.
        let port = free_ports(TRUNK_IP, 2).unwrap();
        let mut trunk = trunk("required");
        trunk.insert("transport".into(), "tls".into());
        trunk.insert("listen".into(), listen.to_string().into());
        trunk.insert("outbound".into(), SocketAddr::new(TRUNK_IP, port + 1).to_string().into());
        trunk.insert("tls".into(), tls(&certificates).into());
        let config = GatewayConfig::default()
            .with("trunk", Value::Array(vec![trunk.into()]))
            .with("callback.waking", "")
            .with("callback.time_factor", 43_200)
            .with("callback.poll_ms", 100);
        let desk = Desk::open(config).await;
        let mut config = BaresipConfig::new(listen, Credentials::new(NUMBER, ""));
        config.ip = TRUNK_IP;
        config.port = port;
        config.tls_ca = Some(certificates.ca().to_owned());
        config.certificate = Some(certificates.both().to_owned());
        config.media_encryption = "srtp-mand";
        config.registers = false;
        config.audio = Wav::tone(600.0, -16.0, 600_000);
        let baresip = Baresip::start(&config).unwrap();
        until("baresip to take commands", 5_000, || async { baresip.command("reginfo", "").await.ok() }).await.unwrap();
        let hotline = format!("sip:12319@{listen};transport=tls");
        Self { desk, baresip, hotline, _certificates: certificates }
    }
}

fn tls(certificates: &Certificates) -> Table {
    let path = |path: &Path| path.display().to_string();
    let mut tls = Table::new();
    tls.insert("certificate".into(), path(certificates.chain()).into());
    tls.insert("key".into(), path(certificates.key()).into());
    tls.insert("ca".into(), path(certificates.ca()).into());
    tls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_behind_a_tls_trunk_with_srtp_talks_and_is_recorded() {
    let Carrier { desk, baresip, hotline, _certificates } = Carrier::open().await;
    let phone = desk.phone().await;
    desk.ready().await;
    baresip.command("dial", &hotline).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    operator.wait_answered(5_000).await.unwrap();
    operator.rtp().wait_for_tone(600.0, 2_000, 15_000).await.unwrap();
    baresip.hang_up().await.unwrap();
    heard(&baresip, 1_000.0, 1_000).await;
    let id = call_of(&desk, 1).await;
    desk.ended(&id).await;
    assert_eq!(suites(&desk, &id, "citizen").await, encrypted());
    assert_eq!(suites(&desk, &id, "operator").await, []);
    let wav = recorded(&desk, &id).await;
    assert!(wav.tone_ms(0, 600.0) > 1_000 && wav.tone_ms(1, 1_000.0) > 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_caller_is_called_back_over_tls_with_srtp() {
    let Carrier { desk, baresip, hotline, _certificates } = Carrier::open().await;
    baresip.command("dial", &hotline).await.unwrap();
    let missed = call_of(&desk, 1).await;
    baresip.hang_up().await.unwrap();
    desk.ended(&missed).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let operator = phone.next_call(20_000).await.unwrap();
    operator.wait_answered(5_000).await.unwrap();
    operator.rtp().wait_for_tone(600.0, 1_500, 10_000).await.unwrap();
    baresip.hang_up().await.unwrap();
    let id = call_of(&desk, 2).await;
    let row = desk.ended(&id).await;
    assert_eq!(row["direction"], "outbound");
    assert_eq!(suites(&desk, &id, "citizen").await, encrypted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_on_tls_is_offered_srtp_without_any_permission() {
    let certificates = Certificates::new(&["127.0.0.1"]).unwrap();
    let listen = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP).unwrap());
    let mut config = GatewayConfig::default()
        .with("sip.digest", vec!["MD5"])
        .with("sip.phone_srtp", "required")
        .with("sip.phone_networks", vec!["127.0.2.0/24", "127.0.0.1/32"])
        .with("sip.tls.listen", vec![listen.to_string()]);
    for (key, value) in tls(&certificates).into_iter().filter(|(key, _)| key != "ca") {
        config = config.with(&format!("sip.tls.{key}"), value);
    }
    let desk = Desk::open(config).await;
    let mut config = BaresipConfig::new(listen, Credentials::new("1001", "phone-1001"));
    config.tls_ca = Some(certificates.ca().to_owned());
    config.media_encryption = "srtp-mand";
    let mut baresip = Baresip::start(&config).unwrap();
    baresip.wait_registered(10_000).await.unwrap();
    let call = talk(&desk, &baresip).await;
    assert_eq!(suites(&desk, &call, "operator").await, encrypted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_phone_holds_and_comes_back() {
    let desk = Desk::open(in_clear("required")).await;
    let baresip = phone(&desk, "srtp-mand").await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 15_000).await.unwrap();
    baresip.command("hold", "").await.unwrap();
    call.rtp().clear_heard();
    until("music instead of the tone", 10_000, || async {
        let heard = call.rtp().heard().last_ms(500);
        (tone::sound_ms(&heard, 8_000) > 200 && tone::tone_ms(&heard, 8_000, 1_000.0) == 0).then_some(())
    })
    .await
    .unwrap();
    baresip.command("resume", "").await.unwrap();
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(1_000.0, 500, 8_000).await.unwrap();
    call.hang_up().await.unwrap();
    let id = call_of(&desk, 1).await;
    desk.ended(&id).await;
    assert_eq!(suites(&desk, &id, "operator").await, encrypted(), "encrypted once and for the whole talk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_answers_in_plain_where_srtp_is_optional_is_rung_once_more() {
    let desk = Desk::open(in_clear("optional")).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let first = phone.next_call(10_000).await.unwrap();
    let second = phone.next_call(10_000).await.unwrap();
    let profile = |call: &Call| String::from_utf8_lossy(&call.invite().body).contains("RTP/SAVP");
    assert!(profile(&first) && !profile(&second));
    call.rtp().wait_for_tone(1_000.0, 500, 15_000).await.unwrap();
    second.rtp().wait_for_tone(440.0, 500, 5_000).await.unwrap();
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_answers_in_plain_where_srtp_is_required_gets_no_talk() {
    let desk = Desk::open(in_clear("required")).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    assert_eq!(operator.wait_ended(10_000).await.unwrap().by, hotline_tests::sip::Side::Remote);
    call.hang_up().await.unwrap();
    let id = call_of(&desk, 1).await;
    let row = desk.ended(&id).await;
    assert!(row["operator_answer_at"].is_null(), "{row:#}");
    let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    assert!(events.as_array().unwrap().iter().any(|e| e["kind"] == "operator_declined" && e["data"]["code"] == 488));
}
