//! The report page in Chromium, as a citizen uses it on a phone and at a desk; screenshots in
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

use common::Desk;
use common::picture::{Picture, png};
use hotline_tests::api::rows;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{peers_dir, program};
use hotline_tests::repo_root;
use serde_json::Value;

async fn reported_at(width: u32) {
    let (node, chromium, peers) = (program("node").unwrap(), program("chromium").unwrap(), peers_dir().unwrap());
    let desk = Desk::open(GatewayConfig::default()).await;
    let shots = peers.parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&shots).unwrap();
    let photo = desk.gateway.data_dir().join("photo.png");
    std::fs::write(&photo, png(&Picture { width: 640, height: 480 })).unwrap();
    let mut browser = Command::new(node);
    browser.arg(repo_root().join("tests/browser/report.cjs")).arg(&peers).arg(chromium);
    browser.arg(format!("http://{}/r", desk.gateway.http())).arg(width.to_string());
    browser.arg(&photo).arg(&shots).arg("report");
    let ran = tokio::task::spawn_blocking(move || browser.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    let seen: Value = serde_json::from_str(said.trim()).unwrap();

    let none = Value::Array(Vec::new());
    for step in ["axe_empty", "axe_errors", "axe_filled", "axe_receipt"] {
        assert_eq!(seen[step], none, "{step}: {seen:#}");
    }
    assert_eq!((&seen["errors"], &seen["outside"]), (&none, &none), "{seen:#}");
    assert_eq!(seen["scrolls"], false, "nothing scrolls sideways: {seen:#}");
    assert_eq!(seen["focused_alert"], "errors", "who can't see hears what is missing");
    assert!(seen["restored"].as_str().unwrap().contains("井盖缺失"), "{seen:#}");
    assert!(seen["where"].as_str().unwrap().starts_with("31.8107"), "5 m north of where the phone is: {seen:#}");
    assert_eq!(seen["draft"], 0, "a draft that was sent is gone");
    let items = rows(&desk.api.get("/api/v1/items").await.unwrap());
    assert_eq!(items.len(), 1, "two tries, one item: {items:#?}");
    assert_eq!(items[0]["acceptance_no"], seen["acceptance_no"]);
    assert!((items[0]["lat"].as_f64().unwrap() - 31.81076).abs() < 1e-4, "{items:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_reports_on_a_phone_of_360_pixels() {
    reported_at(360).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_reports_at_a_desk() {
    reported_at(1280).await;
}
