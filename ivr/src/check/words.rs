//! Prompts that don't exist and variables nobody declared.

use std::collections::BTreeSet;

use super::{Report, Severity};
use crate::flow::model::{Kind, Node};

pub(super) fn check(report: &mut Report<'_>, has_prompt: &dyn Fn(&str) -> bool) {
    let flow = report.flow;
    for (index, node) in flow.nodes.iter().enumerate() {
        for id in flow.prompts_of(node) {
            if !has_prompt(id) {
                report.error(
                    index,
                    format!("there is no prompt `{id}`"),
                    "record it under this name, or name another prompt",
                );
            }
        }
        for name in vars_of(node) {
            if !flow.vars.contains_key(name) && !set_by_flow(flow.nodes.iter(), name) {
                report.warning(
                    index,
                    format!("the variable `{name}` is never given a value"),
                    "list it in [vars], even if empty",
                );
            }
        }
    }
    for name in flow.prompt_vars.keys() {
        if !flow.nodes.iter().any(|node| vars_of(node).contains(name.as_str())) {
            let message = format!("prompt_vars.{name} isn't used");
            report.add(Severity::Warning, None, message, "remove it".into());
        }
    }
}

fn vars_of(node: &Node) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = node.phrases().flat_map(|phrase| phrase.vars()).collect();
    names.extend(node.templates().into_iter().flat_map(|text| text.vars()));
    match &node.kind {
        Kind::Say { when: Some(var) } | Kind::Branch { var, .. } => {
            names.insert(var);
        }
        _ => {}
    }
    names
}

/// Answers, collected digits and `set` give variables their values too.
fn set_by_flow<'n>(mut nodes: impl Iterator<Item = &'n Node>, name: &str) -> bool {
    nodes.any(|node| match &node.kind {
        Kind::Menu { answer, .. } => answer.as_deref() == Some(name),
        Kind::Collect { into, .. } => into == name,
        Kind::Set { vars, .. } => vars.contains_key(name),
        _ => false,
    })
}
