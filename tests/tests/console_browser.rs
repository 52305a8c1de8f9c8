//! The console's page in Chromium by keyboard alone: an operator's call and a shift leader's floor; screenshots in
//! `target/screenshots`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::process::Command;

use common::rows::rows;
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{peers_dir, program};
use hotline_tests::repo_root;
use hotline_tests::sip::{Citizen, CitizenConfig};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_serves_a_call_and_a_leader_the_floor_by_keyboard_alone() {
    let (node, chromium, peers) = (program("node").unwrap(), program("chromium").unwrap(), peers_dir().unwrap());
    let desk = Desk::open(GatewayConfig::default()).await;
    let _phone = desk.phone().await;
    let (_colleague, api) = desk.second_operator().await;
    api.set_state("break").await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    let shots = peers.parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let mut browser = Command::new(node);
    browser.arg(repo_root().join("tests/browser/console.cjs")).arg(&peers).arg(chromium);
    browser.arg(format!("http://{}", desk.gateway.http())).arg(desk.api.token().unwrap()).arg(&shots);
    let ran = tokio::task::spawn_blocking(move || browser.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    let seen: Value = serde_json::from_str(said.trim()).unwrap();

    let none = Value::Array(Vec::new());
    assert_eq!((&seen["errors"], &seen["violations"]), (&none, &none), "{seen:#}");
    assert_eq!((&seen["answered"], &seen["firstContact"]), (&"1 ÷ 1".into(), &"0 ÷ 0".into()), "{seen:#}");
    let by_hand = rows(&desk.gateway, "SELECT action FROM audit WHERE action LIKE 'queue_%' ORDER BY at");
    let done = ["queue_close", "queue_by_the_clock"].map(|action| serde_json::json!({ "action": action }));
    assert_eq!(by_hand[..2], done, "{by_hand:?}");
    assert_eq!(call.rtp().wait_for_digits(3, 20_000).await.unwrap(), "19#");
    let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    let kinds: Vec<&str> = events.as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
    for kind in ["hold", "recording_paused", "recording_resumed", "digits_sent", "transferred", "guest_joined"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let audited = rows(&desk.gateway, "SELECT reason FROM audit WHERE action = 'supervise_barge'");
    assert_eq!(audited, [serde_json::json!({"reason": "协助处置"})]);
    call.hang_up().await.unwrap();
    assert_eq!(desk.ended(&id).await["end_side"], "citizen");
}
