//! What `check` finds in flows that can be read.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

use hotline_ivr::{Flow, Severity};

const END: &str = "[node.end]\nkind = \"hangup\"\nreason = \"done\"\n";

fn findings(nodes: &str) -> Vec<String> {
    let text = format!("name = \"x\"\nstart = \"a\"\n{nodes}\n{END}");
    let flow = Flow::parse("x.toml", &text).unwrap();
    flow.check(&|id| id != "nobody_recorded_this").iter().map(ToString::to_string).collect()
}

fn found(nodes: &str, words: &str) {
    let findings = findings(nodes);
    assert!(findings.iter().any(|finding| finding.contains(words)), "{nodes}\n{findings:#?}");
}

#[test]
fn a_good_flow_has_no_findings() {
    assert_eq!(findings("[node.a]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"end\""), [""; 0]);
}

#[test]
fn the_flows_that_come_with_the_program_have_no_findings() {
    for name in Flow::builtin_names() {
        let findings = Flow::builtin(name).unwrap().check(&|_| true);
        assert!(findings.is_empty(), "{name}: {findings:#?}");
    }
}

#[test]
fn a_finding_says_file_line_severity_node_and_remedy() {
    let found = findings("[node.a]\nkind = \"say\"\nsay = [\"nobody_recorded_this\"]\nnext = \"end\"");
    assert_eq!(
        found,
        ["x.toml:3: error: node `a`: there is no prompt `nobody_recorded_this`; \
          record it under this name, or name another prompt"]
    );
}

#[test]
fn dead_ends_are_errors() {
    for node in [
        "kind = \"say\"\nsay = [\"x\"]",
        "kind = \"talk\"",
        "kind = \"set\"",
        "kind = \"queue\"\nqueue = \"q\"",
        "kind = \"leave_queue\"\nreason = \"r\"",
        "kind = \"record\"\npurpose = \"p\"\nmax_ms = 1000",
        "kind = \"collect\"\nsay = [\"x\"]\ninto = \"x\"\nmax_len = 3\non_timeout = \"end\"",
    ] {
        found(&format!("[node.a]\n{node}"), "x.toml:3: error: node `a`: a dead end");
    }
}

#[test]
fn nodes_no_way_leads_to_are_warnings() {
    found(
        "[node.a]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"end\"\n[node.b]\nkind = \"talk\"\nnext = \"end\"",
        "x.toml:7: warning: node `b`: no way leads here",
    );
}

#[test]
fn missing_handlers_are_errors() {
    let cases = [
        ("kind = \"menu\"\nsay = [\"x\"]\nkeys = { \"1\" = \"end\" }", "no key in time and wrong keys lead nowhere"),
        (
            "kind = \"menu\"\nsay = [\"x\"]\nkeys = { \"1\" = \"end\" }\non_invalid = \"end\"",
            "no key in time leads nowhere",
        ),
        ("kind = \"menu\"\nsay = [\"x\"]\non_timeout = \"end\"", "a question without keys"),
        ("kind = \"collect\"\nsay = [\"x\"]\ninto = \"x\"\nmax_len = 3\nnext = \"end\"", "lead nowhere"),
        ("kind = \"action\"\naction = \"x\"\nresults = { ok = \"end\" }", "a failure of the action leads nowhere"),
        ("kind = \"branch\"\nvar = \"x\"\nvalues = { y = \"end\" }", "a value without branch leads nowhere"),
        ("kind = \"wait\"\nsay = [\"x\"]\nafter_s = 5", "`after_s` leads nowhere"),
    ];
    for (node, words) in cases {
        found(&format!("[node.a]\n{node}"), words);
    }
}

#[test]
fn a_queue_without_a_way_to_the_operator_is_an_error() {
    found("[node.a]\nkind = \"wait\"\nsay = [\"x\"]", "x.toml:1: error: callers wait for an operator");
}

#[test]
fn loops_of_prompts_without_exit_are_errors() {
    let nodes =
        "[node.a]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"b\"\n[node.b]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"a\"";
    found(nodes, "error: node `a`: a loop without exit");
    found(nodes, "error: node `b`: a loop without exit");
}

#[test]
fn loops_that_only_a_key_leaves_are_warnings() {
    let nodes = "[node.a]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"a\"\nkeys = { \"1\" = \"end\" }";
    found(nodes, "warning: node `a`: who presses no key is never let go");
    let by_flow = format!("[keys]\n\"9\" = \"end\"\n{}", nodes.replace("keys = { \"1\" = \"end\" }", ""));
    found(&by_flow, "warning: node `a`: who presses no key is never let go");
    assert!(!findings(&by_flow).concat().contains("without exit"));
}

#[test]
fn nodes_that_chase_each_other_without_waiting_are_errors() {
    found(
        "[node.a]\nkind = \"set\"\nnext = \"b\"\n[node.b]\nkind = \"branch\"\nvar = \"x\"\notherwise = \"a\"\nvalues = { y = \"end\" }",
        "error: node `a`: leads back to itself without waiting",
    );
}

#[test]
fn unknown_variables_and_unused_lists_are_warnings() {
    found(
        "[node.a]\nkind = \"say\"\nsay = [\"digits:${nummer}\"]\nnext = \"end\"",
        "the variable `nummer` is never given a value",
    );
    found(
        "[prompt_vars]\nunit = [\"x\"]\n[node.a]\nkind = \"say\"\nsay = [\"x\"]\nnext = \"end\"",
        "prompt_vars.unit isn't used",
    );
}

#[test]
fn silence_for_those_who_wait_is_a_warning() {
    found("[on]\noperator_free = \"end\"\n[node.a]\nkind = \"wait\"", "callers wait in silence");
}

#[test]
fn findings_are_sorted_by_line_with_errors_first() {
    let text = format!("name = \"x\"\nstart = \"a\"\n[node.a]\nkind = \"say\"\n{END}[node.b]\nkind = \"talk\"\n");
    let findings = Flow::parse("x.toml", &text).unwrap().check(&|_| true);
    let order: Vec<_> = findings.iter().map(|f| (f.line, f.severity)).collect();
    assert_eq!(order[0], (3, Severity::Error));
    assert!(order.is_sorted_by_key(|(line, _)| *line), "{order:?}");
}

#[test]
fn charts_of_all_flows_name_every_node() {
    for name in Flow::builtin_names() {
        let chart = Flow::builtin(name).unwrap().mermaid();
        let text = Flow::builtin_text(name).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("[node.")) {
            let id = line.trim_end_matches(']').trim_end_matches(".keys");
            assert!(chart.contains(&format!("\"{id}<br/>")), "{name}: {id}");
        }
    }
}
