//! Every mistake in a flow file is named with its line and what to do.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

use hotline_ivr::{Flow, FlowError, limits};

fn refused(text: &str) -> FlowError {
    Flow::parse("my.toml", text).expect_err(text)
}

/// A flow of two nodes with `extra` lines in its first node, from line 6 on.
fn with(extra: &str) -> String {
    format!(
        "name = \"x\"\nstart = \"first\"\n[node.first]\nkind = \"say\"\nnext = \"last\"\n{extra}\n\
         [node.last]\nkind = \"hangup\"\nreason = \"done\"\n"
    )
}

#[test]
fn the_message_has_file_line_problem_and_remedy() {
    let error = refused(&with("sya = [\"greeting\"]"));
    assert_eq!(error.line, 6);
    assert_eq!(error.to_string(), "my.toml:6: unknown key `sya`; did you mean `say`?");
}

#[test]
fn a_target_that_does_not_exist_is_named_with_the_nearest() {
    let error = refused(&with("keys = { \"1\" = \"lats\" }"));
    assert_eq!(error.to_string(), "my.toml:6: there is no node `lats`; did you mean `last`?");
    let error = refused(&with("keys = { \"1\" = \"somewhere_else\" }"));
    assert!(error.to_string().contains("add a table [node.somewhere_else]"), "{error}");
}

/// Lines, the line of the mistake, words of the message.
const MISTAKES: &[(&str, usize, &str)] = &[
    ("say = \"greeting\"", 6, "`say` is of type string; write a list of prompts"),
    ("say = [1]", 6, "`say` is of type integer; write a text in quotes"),
    ("say = [\n  \"ok\",\n  \"Not OK\",\n]", 8, "`Not OK` can't be a prompt id"),
    ("say = [\"digits:${x\"]", 6, "`${` without `}`"),
    ("say = [\"shout:x\"]", 6, "`shout:` means nothing"),
    ("say = [\"prompt:${unit}\"]", 3, "`prompt_vars.unit` is missing"),
    ("keys = { \"x\" = \"last\" }", 6, "not a telephone key"),
    ("keys = { \"12\" = \"last\" }", 6, "not a telephone key"),
    ("keys = { \"1\" = 5 }", 6, "`1` is of type integer"),
    ("keys = { \"1\" = { value = \"yes\" } }", 6, "`to` is missing"),
    ("keys = \"waiting\"", 6, "there is no key set of this name"),
    ("interruptible = \"no\"", 6, "write true or false"),
    ("global_keys = \"xyz\"", 6, "`global_keys` is of type string"),
    ("when = \"Not A Name\"", 6, "can't be a name"),
    ("[node.\"B C\"]\nkind = \"talk\"", 6, "`B C` can't be a name"),
    ("[node.b]\nkind = \"dance\"", 7, "there is no kind `dance` of node; use one of say, menu"),
    ("[node.b]\nsay = []", 6, "`kind` is missing; write kind ="),
    ("[node.b]\nkind = \"queue\"\nqueue = \"q\"\nlane = \"green\"", 9, "there is no lane `green`"),
    ("[node.b]\nkind = \"queue\"", 6, "`queue` is missing"),
    ("[node.b]\nkind = \"collect\"\ninto = \"x\"", 6, "`max_len` is missing"),
    ("[node.b]\nkind = \"collect\"\ninto = \"x\"\nmax_len = 99", 9, "use 1 to 32"),
    ("[node.b]\nkind = \"collect\"\ninto = \"x\"\nmax_len = 4\nmin_len = 5", 6, "`min_len` is above `max_len`"),
    ("[node.b]\nkind = \"record\"\npurpose = \"x\"\nmax_ms = -5", 9, "`max_ms` is out of range; use 100 to 600000"),
    ("[node.b]\nkind = \"record\"\npurpose = \"x\"\nmax_ms = 1e3", 9, "write a whole number"),
    ("[node.b]\nkind = \"wait\"\nsince = \"birth\"", 8, "use queue or node"),
    ("[node.b]\nkind = \"talk\"\nsay = [\"x\"]", 8, "unknown key `say`"),
    ("[node.b]\nkind = \"hangup\"\nreason = \"x\"\nnext = \"last\"", 9, "unknown key `next`"),
    ("[node.first]", 6, "not valid TOML"),
    ("next = \"last\"", 6, "not valid TOML"),
    ("say = [", 8, "not valid TOML"),
];

#[test]
fn mistakes_in_values_are_found_where_they_are() {
    for (extra, line, words) in MISTAKES {
        let error = refused(&with(extra));
        assert!(error.to_string().contains(words), "{extra}\n{error}");
        assert_eq!(error.line, *line, "{extra}\n{error}");
        assert!(!error.remedy.is_empty());
    }
}

#[test]
fn the_flow_itself_needs_name_start_and_nodes() {
    assert!(refused("").to_string().contains("`name` is missing"));
    assert!(refused("name = \"x\"").to_string().contains("`node` is missing"));
    assert!(refused("name = \"x\"\n[node.a]\nkind = \"talk\"").to_string().contains("`start` is missing"));
    let error = refused("name = \"x\"\nstart = \"b\"\n[node.a]\nkind = \"talk\"");
    assert_eq!((error.line, error.to_string().contains("no node `b`")), (2, true));
    let error = refused("name = \"x\"\nstart = \"a\"\nnode = 5");
    assert!(error.to_string().contains("`node` is of type integer"), "{error}");
    let error = refused("name = \"x\"\nstart = \"a\"\n[on]\nhangup = \"a\"\n[node.a]\nkind = \"talk\"");
    assert_eq!(
        error.to_string(),
        "my.toml:4: unknown key `hangup`; allowed here: operator_free, queue_closed, queue_full, waited_too_long"
    );
}

#[test]
fn files_and_flows_beyond_the_limits_are_refused() {
    let error = refused(&"#".repeat(limits::FILE_BYTES_MAX + 1));
    assert!(error.to_string().contains("at most 262144"), "{error}");
    let nodes: String = (0..=limits::NODES_MAX).map(|i| format!("[node.n{i}]\nkind = \"talk\"\n")).collect();
    let error = refused(&format!("name = \"x\"\nstart = \"n0\"\n{nodes}"));
    assert!(error.to_string().contains("the flow has 513 nodes"), "{error}");
    assert_eq!(error.line, 3 + 2 * limits::NODES_MAX);
    let error = refused(&with(&format!("say = [{}]", "\"a\",".repeat(limits::PHRASES_MAX + 1))));
    assert!(error.to_string().contains("has 33 items"), "{error}");
    let error = refused(&with(&format!("when = \"{}\"", "a".repeat(65))));
    assert!(error.to_string().contains("at most 64 characters"), "{error}");
}
