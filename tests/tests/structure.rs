//! Who may know whom: the package graph has no arrow back (ARCHITECTURE, direction).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = hotline_tests::repo_root().join("Cargo.toml");
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = json["packages"].as_array().unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    packages
        .iter()
        .map(|p| {
            let deps = p["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
            (text(&p["name"]), deps.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

#[test]
fn packages_know_only_whom_they_may_know() {
    let graph = graph();
    let ours = |name: &str| -> Vec<&str> {
        graph[name].iter().map(String::as_str).filter(|d| d.starts_with("hotline-")).collect()
    };
    for core in ["hotline-sip", "hotline-media", "hotline-ivr", "hotline-db"] {
        assert!(ours(core).is_empty(), "{core} knows {:?}", ours(core));
    }
    assert_eq!(ours("hotline-transcription"), ["hotline-db"]);
    assert!(ours("hotline-tests").is_empty(), "the harness judges from outside");
}

#[test]
fn sans_io_cores_have_no_runtime() {
    let graph = graph();
    for core in ["hotline-sip", "hotline-media", "hotline-ivr"] {
        for banned in ["tokio", "mio", "socket2", "sqlx", "reqwest"] {
            assert!(!graph[core].contains(banned), "{core} depends on {banned}");
        }
    }
    assert!(!graph["hotline-gateway"].contains("rsip"), "rsip never meets the network path");
}
