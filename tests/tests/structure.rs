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
    for core in ["hotline-acd", "hotline-sip", "hotline-media", "hotline-ivr", "hotline-db"] {
        assert!(ours(core).is_empty(), "{core} knows {:?}", ours(core));
    }
    assert_eq!(ours("hotline-transcription"), ["hotline-db"]);
    assert!(ours("hotline-tests").is_empty(), "the harness judges from outside");
}

#[test]
fn sans_io_cores_have_no_runtime() {
    let graph = graph();
    for core in ["hotline-acd", "hotline-sip", "hotline-media", "hotline-ivr"] {
        for banned in ["tokio", "mio", "socket2", "sqlx", "reqwest"] {
            assert!(!graph[core].contains(banned), "{core} depends on {banned}");
        }
    }
    assert!(!graph["hotline-gateway"].contains("rsip"), "rsip never meets the network path");
}

/// Names in backticks of `SIP.md` that point into the project: (path, test)
fn pointers(text: &str) -> Vec<(&str, Option<&str>)> {
    let names = text.split('`').skip(1).step_by(2).filter(|name| name.contains('/') && !name.contains(' '));
    let names = names.filter(|name| ["gateway/", "tests/", "db/", "ops/"].iter().any(|top| name.starts_with(top)));
    names.map(|name| name.split_once("::").map_or((name, None), |(path, test)| (path, Some(test)))).collect()
}

#[test]
fn every_row_of_sip_md_names_a_file_and_a_test_that_exist() {
    let root = hotline_tests::repo_root();
    let text = std::fs::read_to_string(root.join("SIP.md")).unwrap();
    for (path, test) in pointers(&text) {
        assert!(root.join(path).exists(), "SIP.md names {path}, which does not exist");
        if let Some(test) = test {
            let source = std::fs::read_to_string(root.join(path)).unwrap();
            assert!(source.contains(&format!("fn {test}(")), "SIP.md names {test}, which is not in {path}");
        }
    }
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| RFC ")).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        assert!(!pointers(cells[2]).is_empty(), "a row without a file: {row}");
        assert!(pointers(cells[3]).iter().any(|(_, test)| test.is_some()), "a row without a test: {row}");
    }
}

/// The harness's waits that end in an error when nothing came: names as they are called, up to the bracket.
const WAITS: [&str; 5] = ["until(", "within(", "next_call(", "call_answered(", ".wait"];
/// From here on `HOTLINE_TEST_PATIENCE` stretches a wait.
const STRETCHED_FROM_MS: u64 = 4_000;

/// What stands between the first bracket after a name and its partner, and what follows that.
fn call_of(text: &str) -> Option<(&str, &str)> {
    let open =
        text.find(|c: char| !c.is_ascii_lowercase() && !"._".contains(c)).filter(|at| text[*at..].starts_with('('))?;
    let mut depth = 0_u32;
    for (at, c) in text.char_indices().skip(open) {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some((&text[open + 1..at], &text[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Waits of a test's source for what must come, that no slow machine may stretch.
fn hasty_waits(source: &str) -> Vec<&str> {
    let calls = WAITS.iter().flat_map(|head| source.match_indices(head).filter_map(|(at, _)| call_of(&source[at..])));
    let must_come = calls.filter(|(_, after)| {
        let after: String = after.chars().take(100).filter(|c| !c.is_whitespace()).collect();
        after.starts_with(".await.unwrap()") || after.starts_with(".await.expect(")
    });
    must_come
        .filter(|(arguments, _)| {
            let is_name = |a: &str| a.len() > 3 && a.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            if arguments.split([',', '\n']).any(|a| is_name(a.trim())) {
                // A limit with a name was thought about.
                return false;
            }
            let mut numbers =
                arguments.split([',', '\n']).filter_map(|a| a.trim().replace('_', "").parse::<u64>().ok());
            // The limit is the last number; smaller ones are counts.
            numbers.next_back().is_some_and(|ms| (20..STRETCHED_FROM_MS).contains(&ms))
        })
        .map(|(arguments, _)| arguments)
        .collect()
}

#[test]
fn what_must_come_is_waited_for_as_long_as_a_slow_machine_needs() {
    assert_eq!(hasty_waits("a.next_call(1_000)\n .await\n.unwrap(); b.wait_ended(4_000).await.unwrap()"), ["1_000"]);
    assert!(hasty_waits("assert!(a.next_call(300).await.is_err())").is_empty());
    let root = hotline_tests::repo_root().join("tests/tests");
    for folder in [root.clone(), root.join("harness"), root.join("common")] {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|kind| kind == "rs") && !file.ends_with("structure.rs") {
                let hasty = std::fs::read_to_string(&file).unwrap();
                let hasty = hasty_waits(&hasty);
                assert!(hasty.is_empty(), "{}: below {STRETCHED_FROM_MS} ms: {hasty:?}", file.display());
            }
        }
    }
}
