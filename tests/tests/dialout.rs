//! Calls to outside numbers: one decision, whatever asks for them. Judged at the trunk's socket.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::Town;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::until;
use serde_json::Value;

/// A town whose citizen has missed a call and is owed one, with an operator who waits.
async fn owed(config: GatewayConfig) -> (Town, hotline_tests::sip::Phone) {
    let town = Town::open(config).await;
    let missed = town.citizen.call_answered("12319", 5_000).await.unwrap();
    missed.hang_up().await.unwrap();
    let phone = town.desk.phone().await;
    town.desk.ready().await;
    (town, phone)
}

/// Numbers that the trunk was asked to call, in order, each INVITE once.
fn dialled(town: &Town) -> Vec<String> {
    let invites = town.citizen.agent().received(|m| m.method() == "INVITE" && m.is_request());
    let mut seen = std::collections::BTreeSet::new();
    let first_seen = invites.iter().filter(|m| seen.insert((m.call_id().to_owned(), m.cseq())));
    first_seen.map(|m| m.uri().trim_start_matches("sip:").split('@').next().unwrap().to_owned()).collect()
}

async fn counted(town: &Town, line: &str) {
    until(line, 10_000, || async {
        let text = town.desk.gateway.api().get_raw("/metrics").await.ok()?.text().await.ok()?;
        text.lines().any(|l| l == line).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizens_diversion_is_followed_over_our_own_trunk_whatever_host_it_names() {
    let (town, _phone) = owed(GatewayConfig::default()).await;
    let first = town.citizen.next_call(15_000).await.unwrap();
    first.redirect(302, &["sip:13900001111@203.0.113.99:5099"]).unwrap();
    let second = town.citizen.next_call(10_000).await.unwrap();
    assert_eq!(second.called_user(), "13900001111");
    second.accept().unwrap();
    second.rtp().wait_for_tone(1_000.0, 300, 30_000).await.unwrap();
    second.hang_up().await.unwrap();
    assert_eq!(dialled(&town), [common::NUMBER, "13900001111"]);
    counted(&town, r#"hotline_dialout_permitted_total{purpose="redirect"} 1"#).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diversion_to_a_premium_number_abroad_never_leaves() {
    let config = GatewayConfig::default().with("callback.missed_retry_s", 604_800);
    let (town, _phone) = owed(config).await;
    let first = town.citizen.next_call(15_000).await.unwrap();
    first.redirect(302, &["sip:0019005551234@127.0.1.1", "tel:+19005551234", "sip:10086;x@h", "sip:@h"]).unwrap();
    counted(&town, r#"hotline_dialout_refused_total{purpose="redirect",reason="forbidden"} 2"#).await;
    assert!(town.citizen.next_call(1_000).await.is_err());
    assert_eq!(dialled(&town), [common::NUMBER]);
    let call = town.newest_call().await;
    let path = format!("/api/v1/calls/{call}/events");
    let refused = |events: &Value| Some(events.to_string()).filter(|text| text.contains("redirect_refused"));
    let events = town.desk.api.wait_for(&path, 20_000, refused).await.unwrap();
    assert!(!events.contains("9005551234"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_diversions_ends_after_the_limit() {
    let config = GatewayConfig::default().with("callback.missed_retry_s", 604_800);
    let (town, _phone) = owed(config).await;
    for _ in 0..4 {
        let call = town.citizen.next_call(15_000).await.unwrap();
        call.redirect(302, &["sip:13900001111@h", "sip:13900002222@h"]).unwrap();
    }
    assert!(town.citizen.next_call(1_500).await.is_err(), "one call and three redirections");
    assert_eq!(dialled(&town).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_days_calls_to_one_number_are_counted_over_a_restart() {
    let (mut town, _phone) = owed(GatewayConfig::default().with("dialout.daily_number_max", 1)).await;
    let first = town.citizen.next_call(15_000).await.unwrap();
    first.reject(486, "Busy Here").unwrap();
    counted(&town, r#"hotline_dialout_refused_total{purpose="task",reason="daily_number"} 1"#).await;
    town.desk.gateway.crash_and_restart().await.unwrap();
    let task = &town.desk.gateway.sign_in(&town.desk.user).await.unwrap().get("/api/v1/callbacks").await.unwrap()[0];
    assert!(task["finished_at"].is_null(), "the citizen is still owed the call: {task}");
    assert!(town.citizen.next_call(1_000).await.is_err());
    assert_eq!(dialled(&town).len(), 1);
}
