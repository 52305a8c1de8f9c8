//! Reliable provisional responses (RFC 3262), session timers (RFC 4028) and REFER (RFC 3515) with SIPp as the other side.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::SocketAddr;

use common::sipp::{caller, event, nothing_left, sipp_phone};
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::{TRUNK_IP, free_port};
use hotline_tests::peer::{Sipp, SippConfig};
use hotline_tests::sip::{Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};

/// How long a 200 waits for its ACK (RFC 3261 §13.3.1.4).
const ACK_WAIT_MS: i64 = 32_000;
/// The shortest session there is (RFC 4028 §4); it is refreshed at half of it, and ended a third of it early.
const SESSION_MS: i64 = 90_000;
/// What a slow machine may add to a wait.
const SLOW_MS: i64 = 4_000;

async fn desk() -> Desk {
    // SIPp is silent here: that must not end a call before its timer does.
    let config = GatewayConfig::default().with("callback.enabled", false);
    Desk::open(config.with("media.rtp_dead_ms", 600_000).with("media.phone_dead_ms", 600_000)).await
}

/// A citizen's talk with an operator whose phone is SIPp; the citizen hangs up after `talk`.
async fn talk_with(scenario: &str, talk: impl AsyncFnOnce(&Desk, &str)) {
    let desk = desk().await;
    let mut config = sipp_phone(&desk, scenario).await;
    config.spare_s = 90;
    let phone = Sipp::start(&config).unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    event(&desk, &id, "talk_start").await;
    talk(&desk, &id).await;
    call.hang_up().await.unwrap();
    phone.wait_successful().await.unwrap();
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], "citizen", "{row}");
    assert!(row["operator_answer_at"].is_i64(), "{row}");
    nothing_left(&desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_demands_reliable_provisionals_acknowledges_the_ringing_before_the_answer() {
    let hotline = toml::Table::from_iter([
        ("number".to_owned(), toml::Value::from("12319")),
        ("ring_ms".to_owned(), toml::Value::from(1_000)),
    ]);
    let config = GatewayConfig::default().with("callback.enabled", false).with("media.rtp_dead_ms", 600_000);
    let desk = Desk::open(config.with("hotline", vec![hotline])).await;
    let row = caller(&desk, SippConfig::scenario(desk.gateway.sip(), "reliable", 300)).await;
    assert_eq!(row["end_reason"], "bye", "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reliable_provisional_of_a_phone_gets_its_prack() {
    talk_with("phone_reliable", async |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_may_update_its_offer_while_the_citizen_we_call_back_still_rings() {
    let mut config = GatewayConfig::default().with("callback.windows", Vec::<String>::new());
    config = config.with("callback.waking", "").with("callback.poll_ms", 100).with("callback.time_factor", 43_200);
    let port = free_port(TRUNK_IP).unwrap();
    config.outbound = Some(SocketAddr::new(TRUNK_IP, port));
    let desk = Desk::open(config).await;
    let mut carrier = SippConfig::scenario(desk.gateway.sip(), "carrier_early_update", 0);
    (carrier.ip, carrier.port, carrier.spare_s) = (TRUNK_IP, port, 60);
    let carrier = Sipp::start(&carrier).unwrap();
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let missed = citizen.call_answered("12319", 5_000).await.unwrap();
    missed.hang_up().await.unwrap();
    let _phone = desk.phone().await;
    desk.ready().await;
    carrier.wait_successful().await.unwrap();
    let row = desk.ended(&call_of(&desk, 2).await).await;
    assert_eq!((&row["direction"], &row["end_side"]), (&"outbound".into(), &"citizen".into()), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_timer_below_the_minimum_gets_422_and_a_caller_refreshes_by_update() {
    let desk = desk().await;
    let row = caller(&desk, SippConfig::scenario(desk.gateway.sip(), "timer_too_short", 300)).await;
    assert_eq!(row["end_reason"], "bye", "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phones_422_is_followed_by_an_invite_with_its_minimum() {
    talk_with("phone_timer_too_short", async |_, _| {}).await;
}

/// Side by side, for each takes as long as the RFCs ask for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_acks_and_session_timers_end_their_waits_in_time() {
    tokio::join!(
        a_200_without_ack_is_repeated_and_then_hung_up(),
        a_session_the_caller_never_refreshes_is_ended(),
        a_session_left_to_us_is_refreshed_by_update(),
        a_refresh_that_crosses_a_reinvite_is_tried_again(),
    );
}

fn lasted_ms(row: &serde_json::Value) -> i64 {
    row["end_at"].as_i64().unwrap() - row["answer_at"].as_i64().unwrap()
}

async fn a_200_without_ack_is_repeated_and_then_hung_up() {
    let desk = desk().await;
    let mut config = SippConfig::scenario(desk.gateway.sip(), "lost_ack", 0);
    (config.retransmits, config.spare_s) = (false, 60);
    let row = caller(&desk, config).await;
    assert_eq!(row["end_side"], "network", "{row}");
    assert!((lasted_ms(&row) - ACK_WAIT_MS).abs() < SLOW_MS, "{row}");
    nothing_left(&desk).await;
}

async fn a_session_the_caller_never_refreshes_is_ended() {
    let desk = desk().await;
    let mut config = SippConfig::scenario(desk.gateway.sip(), "timer_never_refreshed", 0);
    config.spare_s = 100;
    let row = caller(&desk, config).await;
    assert_eq!(row["end_side"], "network", "{row}");
    let (lasted, expected) = (lasted_ms(&row), SESSION_MS - SESSION_MS / 3);
    assert!(lasted > expected - SLOW_MS && lasted < SESSION_MS, "{lasted} ms: {row}");
    nothing_left(&desk).await;
}

async fn a_session_left_to_us_is_refreshed_by_update() {
    let desk = desk().await;
    let mut config = SippConfig::scenario(desk.gateway.sip(), "timer_refreshed_by_us", 300);
    config.spare_s = 90;
    let row = caller(&desk, config).await;
    assert_eq!(row["end_reason"], "bye", "{row}");
    assert!((lasted_ms(&row) - SESSION_MS / 2).abs() < SLOW_MS, "{row}");
}

async fn a_refresh_that_crosses_a_reinvite_is_tried_again() {
    let desk = desk().await;
    let mut config = sipp_phone(&desk, "phone_glare").await;
    config.spare_s = 90;
    let phone = Sipp::start(&config).unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    phone.wait_successful().await.unwrap();
    // The phone hung up after the refresh; the citizen is in the survey.
    call.hang_up().await.unwrap();
    let row = desk.ended(&call_of(&desk, 1).await).await;
    assert_eq!(row["end_side"], "operator", "{row}");
    // The retry comes 2.1 to 4 s after the 491 (RFC 3261 §14.1).
    let talk_ms = i64::try_from(row["talk_ms"].as_u64().unwrap()).unwrap();
    assert!(talk_ms > SESSION_MS / 2 + 2_000 && talk_ms < SESSION_MS / 2 + 4_000 + SLOW_MS, "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phones_refer_hands_the_citizen_to_a_colleague() {
    let desk = desk().await;
    let mut config = sipp_phone(&desk, "phone_refers").await;
    (config.talk_ms, config.keys) = (500, vec![("colleague".into(), "1002".into())]);
    let phone = Sipp::start(&config).unwrap();
    desk.ready().await;
    let colleague = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1002", "phone-1002"));
    let colleague = Phone::start(colleague).await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    phone.wait_successful().await.unwrap();
    let taken = colleague.next_call(5_000).await.unwrap();
    taken.rtp().wait_for_tone(440.0, 300, 10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    call.hang_up().await.unwrap();
    taken.wait_ended(5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    event(&desk, &id, "transferred").await;
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
    nothing_left(&desk).await;
}
