//! Draws a flow as a Mermaid flowchart.

use std::fmt::Write;

use crate::flow::{
    Flow,
    model::{Cause, GlobalKeys, Kind, Node},
};

/// See [`Flow::mermaid`].
pub(crate) fn mermaid(flow: &Flow) -> String {
    let mut out = String::from("flowchart TD\n");
    // Writing to a String never fails.
    let _ = writeln!(out, "  start([\"{}\"]) --> n{}", escape(&flow.title), flow.start);
    for (index, node) in flow.nodes.iter().enumerate() {
        let (open, close) = shape(&node.kind);
        let _ = writeln!(out, "  n{index}{open}\"{}\"{close}", label(node));
    }
    for (index, node) in flow.nodes.iter().enumerate() {
        for edge in node.edges() {
            let cause = escape(&cause(&edge.cause));
            if cause.is_empty() {
                let _ = writeln!(out, "  n{index} --> n{}", edge.to);
            } else {
                let _ = writeln!(out, "  n{index} -->|\"{cause}\"| n{}", edge.to);
            }
        }
    }
    global_ways(flow, &mut out);
    out
}

/// The keys that work anywhere, and the operator, as dotted lines from one place.
fn global_ways(flow: &Flow, out: &mut String) {
    if !flow.keys.is_empty() {
        out.push_str("  anytime{{\"any time\"}}\n");
        for (key, way) in &flow.keys {
            let _ = writeln!(out, "  anytime -.->|\"{}\"| n{}", escape(&key.to_string()), way.to);
        }
    }
    if let Some(to) = flow.operator_free {
        let _ = writeln!(out, "  operator{{{{\"operator answers\"}}}} -.-> n{to}");
    }
    for (why, to) in &flow.not_queued {
        let why = why.handler();
        let _ = writeln!(out, "  {why}{{{{\"{}\"}}}} -.-> n{to}", why.replace('_', " "));
    }
}

fn shape(kind: &Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Menu { .. } | Kind::Collect { .. } => ("{{", "}}"),
        Kind::Branch { .. } => ("{", "}"),
        Kind::HangUp { .. } | Kind::Flow { .. } => ("([", "])"),
        Kind::Action { .. } => ("[[", "]]"),
        Kind::Record { .. } => ("[/", "/]"),
        _ => ("[", "]"),
    }
}

fn label(node: &Node) -> String {
    let mut text = escape(&node.id);
    let detail = match &node.kind {
        Kind::Queue { lane, skills, .. } => {
            let lane = lane.map(|lane| lane.as_str().to_owned());
            lane.into_iter().chain(skills.iter().cloned()).collect::<Vec<_>>().join(", ")
        }
        Kind::Action { name, .. } => name.clone(),
        Kind::HangUp { reason } | Kind::LeaveQueue { reason } => reason.clone(),
        Kind::Record { max_ms, .. } => format!("≤ {} s", max_ms / 1000),
        Kind::Branch { var, .. } => var.clone(),
        Kind::Flow { flow } => flow.clone(),
        _ => String::new(),
    };
    let _ = write!(text, "<br/><i>{}", node.kind.word());
    if !detail.is_empty() {
        let _ = write!(text, ": {}", escape(&detail));
    }
    text.push_str("</i>");
    if let GlobalKeys::Only(keys) = &node.global_keys
        && !matches!(node.kind, Kind::Collect { .. })
    {
        let keys: String = keys.iter().collect();
        let _ = write!(text, "<br/>any-time keys: {}", if keys.is_empty() { "–".into() } else { escape(&keys) });
    }
    text
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Next => String::new(),
        Cause::Key(key) => key.to_string(),
        Cause::Timeout => "no answer".into(),
        Cause::Invalid => "wrong key".into(),
        Cause::Empty => "empty".into(),
        Cause::Short => "too short".into(),
        Cause::After(ms) => format!("after {} s", ms / 1000),
        Cause::Result(label) => label.clone(),
        Cause::Value(value) => format!("= {value}"),
        Cause::Filled => "filled".into(),
        Cause::Otherwise => "otherwise".into(),
        Cause::TalkEnded => "talk ended".into(),
    }
}

/// Mermaid takes entity codes inside quoted texts.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = r##"
        name = "x"
        title = "a \"b\" <c>"
        start = "a"
        [keys]
        "#" = "b"
        [node.a]
        kind = "menu"
        say = ["hello"]
        keys = { "1" = "b" }
        on_timeout = "b"
        [node.b]
        kind = "hangup"
        reason = "done"
    "##;

    #[test]
    fn the_chart_has_every_node_and_way() {
        let chart = Flow::parse("x.toml", FLOW).unwrap().mermaid();
        assert!(chart.starts_with("flowchart TD\n"));
        for line in [
            r##"start(["a #quot;b#quot; #lt;c#gt;"]) --> n0"##,
            r##"n0{{"a<br/><i>menu</i>"}}"##,
            r##"n1(["b<br/><i>hangup: done</i>"])"##,
            r##"n0 -->|"1"| n1"##,
            r##"n0 -->|"no answer"| n1"##,
            r##"anytime -.->|"#35;"| n1"##,
        ] {
            assert!(chart.contains(line), "{line}\n{chart}");
        }
    }
}
