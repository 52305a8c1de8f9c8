//! Phones nobody here wrote register with each hash and talk both ways.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::PHONE_NETWORK;
use hotline_tests::peer::{Linphone, LinphoneConfig};
use hotline_tests::sip::{Algorithm, Citizen, CitizenConfig, Credentials, Side};
use hotline_tests::until;
use serde_json::Value;

fn linphone(desk: &Desk) -> LinphoneConfig {
    LinphoneConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"))
}

/// A citizen's call that both sides hear; the citizen hangs up if `citizen_ends`, else the phone.
async fn talk(desk: &Desk, phone: &mut Linphone, citizen_ends: bool) {
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 1_500, 15_000).await.unwrap();
    let id = call_of(desk, 1).await;
    if citizen_ends {
        for on in [true, false] {
            phone.hold(on).await.unwrap();
            happened(desk, &id, &format!("hold {on}"), |e| e["kind"] == "hold" && e["data"]["on"] == on).await;
        }
        call.rtp().clear_heard();
        call.rtp().wait_for_tone(1_000.0, 500, 10_000).await.unwrap();
        call.hang_up().await.unwrap();
    } else {
        phone.hang_up().unwrap();
        happened(desk, &id, "the end of the talk", |e| e["kind"] == "talk_end").await;
        // The citizen is still there, in the survey.
        call.hang_up().await.unwrap();
    }
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], if citizen_ends { "citizen" } else { "operator" }, "{row}");
    phone.quit().await.unwrap();
    let heard = phone.heard();
    assert!(heard.tone_ms(0, 440.0) >= 1_000, "linphonec heard {} ms of 440 Hz", heard.tone_ms(0, 440.0));
    assert_eq!(call.wait_ended(5_000).await.unwrap().by, Side::Local);
}

async fn happened(desk: &Desk, call: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
    let path = format!("/api/v1/calls/{call}/events");
    let found = until(what, 10_000, || async {
        let events = desk.api.get(&path).await.ok()?;
        events.as_array()?.iter().any(&wanted).then_some(())
    });
    found.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linphonec_registers_with_sha_256_talks_both_ways_holds_and_resumes() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let mut phone = Linphone::start(&linphone(&desk)).unwrap();
    assert_eq!(phone.wait_registered(15_000).await.unwrap(), Algorithm::Sha256);
    talk(&desk, &mut phone, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linphonec_registers_with_md5_over_tcp_talks_and_hangs_up() {
    let desk = Desk::open(
        GatewayConfig::default()
            .with("sip.digest", vec!["MD5"])
            .with("sip.phone_networks", vec![PHONE_NETWORK, "127.0.0.1/32"]),
    )
    .await;
    // linphonec opens its connections from whatever address the system picks.
    let mut config = linphone(&desk);
    config.tcp = true;
    let mut phone = Linphone::start(&config).unwrap();
    assert_eq!(phone.wait_registered(15_000).await.unwrap(), Algorithm::Md5);
    talk(&desk, &mut phone, false).await;
}
