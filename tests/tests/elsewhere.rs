//! Two gateways on one PostgreSQL: a citizen calls one, the operator's phone is registered at the other.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::pair::{self, ready};
use hotline_tests::api::Api;
use hotline_tests::gateway::NewUser;
use hotline_tests::peer::{Baresip, BaresipConfig, BrowserPhone};
use hotline_tests::sip::{Behaviour, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig, Side, Transport};
use hotline_tests::until;
use serde_json::Value;

const NUMBER: &str = "13812345678";
const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;

/// Citizens call the first, phones register at the second; the operator is at both consoles
struct Pair {
    both: pair::Pair,
    api: Api,
    second_api: Api,
    citizen: Citizen,
}

impl Pair {
    async fn open() -> Self {
        let mut user = NewUser::operator("1001");
        user.roles = ["operator", "leader"].map(String::from).to_vec();
        let both = pair::Pair::open(std::slice::from_ref(&user)).await;
        let (api, second_api) = (both.first.sign_in(&user).await.unwrap(), both.second.sign_in(&user).await.unwrap());
        let citizen = Citizen::start(CitizenConfig::new(both.first.sip(), NUMBER)).await.unwrap();
        Self { both, api, second_api, citizen }
    }

    async fn phone(&self, transport: Transport) -> Phone {
        let config = PhoneConfig::new(self.both.second.sip(), Credentials::new("1001", "phone-1001"));
        Phone::start(PhoneConfig { transport, ..config }).await.unwrap()
    }

    /// Waits for an event of the newest call.
    async fn happened(&self, kind: &str) {
        let id = self.newest("the call", |_| true).await["id"].as_str().unwrap().to_owned();
        let found = until(kind, 40_000, || async {
            let events = self.api.get(&format!("/api/v1/calls/{id}/events")).await.ok()?;
            events.as_array()?.iter().any(|event| event["kind"] == kind).then_some(())
        });
        found.await.unwrap();
    }

    async fn newest(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = until(what, 40_000, || async {
            let calls = self.api.get("/api/v1/calls").await.ok()?;
            calls.as_array()?.first().filter(|row| wanted(row)).cloned()
        });
        found.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_at_one_gateway_talks_with_a_citizen_at_the_other_and_either_side_hangs_up() {
    let mut pair = Pair::open().await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let phone = pair.phone(transport).await;
        for phone_ends in [true, false] {
            ready(if phone_ends { &pair.second_api } else { &pair.api }).await;
            let call = pair.citizen.call_answered("12319", 20_000).await.unwrap();
            call.rtp().wait_for_tone(OPERATOR_HZ, 1_000, 40_000).await.unwrap();
            let desk = phone.next_call(20_000).await.unwrap();
            desk.rtp().wait_for_tone(CITIZEN_HZ, 1_000, 40_000).await.unwrap();
            if phone_ends {
                desk.hang_up().await.unwrap();
                pair.happened("talk_end").await;
                call.hang_up().await.unwrap();
            } else {
                call.hang_up().await.unwrap();
                assert_eq!(desk.wait_ended(20_000).await.unwrap().by, Side::Remote);
            }
            let side = if phone_ends { "operator" } else { "citizen" };
            pair.newest("who ended it", |row| row["end_side"] == side).await;
        }
        // Nobody answers, and the citizen gives up: the phone's ringing ends.
        phone.set_behaviour(Behaviour::Ring);
        ready(&pair.api).await;
        let call = pair.citizen.call("12319").unwrap();
        let desk = phone.next_call(40_000).await.unwrap();
        call.hang_up().await.unwrap();
        desk.wait_ended(20_000).await.unwrap();
        phone.unregister().await.unwrap();
    }
    // A power cut at the phone's gateway: the talk doesn't go that way.
    let phone = pair.phone(Transport::Tcp).await;
    ready(&pair.api).await;
    let call = pair.citizen.call_answered("12319", 20_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 1_000, 40_000).await.unwrap();
    let desk = phone.next_call(20_000).await.unwrap();
    pair.both.second.kill9();
    let gone = || async { pair.api.set_state("busy").await.ok().filter(|state| state["phone_registered"] == false) };
    until("the phone to be gone", 40_000, gone).await.unwrap();
    for (rtp, hz) in [(call.rtp(), OPERATOR_HZ), (desk.rtp(), CITIZEN_HZ)] {
        rtp.clear_heard();
        rtp.wait_for_tone(hz, 1_000, 40_000).await.unwrap();
    }
    call.hang_up().await.unwrap();
    pair.newest("the citizen's end", |row| row["end_side"] == "citizen" && row["end_at"].is_i64()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_and_a_browser_at_one_gateway_talk_with_citizens_at_the_other() {
    let pair = Pair::open().await;
    let mut config = BaresipConfig::new(pair.both.second.sip(), Credentials::new("1001", "phone-1001"));
    config.tcp = true;
    let mut baresip = Baresip::start(&config).unwrap();
    baresip.wait_registered(20_000).await.unwrap();
    ready(&pair.api).await;
    let call = pair.citizen.call_answered("12319", 20_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 2_500, 40_000).await.unwrap();
    baresip.hang_up().await.unwrap();
    pair.happened("talk_end").await;
    call.hang_up().await.unwrap();
    let heard = || baresip.heard().iter().map(|wav| wav.tone_ms(0, CITIZEN_HZ)).collect::<Vec<_>>();
    let enough = || async { heard().iter().any(|ms| *ms >= 1_000).then_some(()) };
    let waited = until("what baresip heard", 10_000, enough).await;
    assert!(waited.is_ok(), "baresip heard {:?} ms: {}", heard(), baresip.log());
    baresip.quit().await.unwrap();

    let token = pair.second_api.token().unwrap();
    let mut browser = BrowserPhone::open(pair.both.second.http(), token, OPERATOR_HZ).await.unwrap();
    browser.ask("start").await.unwrap();
    browser.wait("the registration", |state| state["registered"].as_u64() > Some(0)).await.unwrap();
    ready(&pair.api).await;
    let call = pair.citizen.call_answered("12319", 20_000).await.unwrap();
    call.rtp().wait_for_tone(OPERATOR_HZ, 1_000, 40_000).await.unwrap();
    browser.wait_hears(CITIZEN_HZ).await.unwrap();
    call.hang_up().await.unwrap();
    browser.wait("the end of the talk", |state| state["talking"] == false).await.unwrap();
}
