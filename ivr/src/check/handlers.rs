//! Ways that are missing: dead ends, unanswered questions, actions without an error branch.

use super::Report;
use crate::flow::model::{Kind, Node, NodeIndex, Patience};

pub(super) fn check(report: &mut Report<'_>, reached: &[bool]) {
    let flow = report.flow;
    let nodes = flow.nodes.iter().enumerate();
    for (index, node) in nodes.filter(|(index, _)| reached[*index]) {
        match &node.kind {
            Kind::Menu { patience, .. } => menu(report, index, node, patience),
            Kind::Collect { patience, .. } => {
                next(report, index, node);
                timeout(report, index, patience);
                spoken(report, index, node);
            }
            Kind::Wait { after_ms, .. } => wait(report, index, node, *after_ms),
            Kind::Action { .. } => action(report, index, &node.kind),
            Kind::Branch { .. } => branch(report, index, &node.kind),
            Kind::HangUp { .. } | Kind::Flow { .. } => {}
            Kind::Say { .. } => {
                next(report, index, node);
                spoken(report, index, node);
            }
            Kind::Queue { .. } | Kind::LeaveQueue { .. } | Kind::Talk | Kind::Record { .. } | Kind::Set { .. } => {
                next(report, index, node)
            }
        }
    }
}

fn action(report: &mut Report<'_>, index: NodeIndex, kind: &Kind) {
    let Kind::Action { results, otherwise, on_timeout, .. } = kind else {
        return;
    };
    let for_errors = otherwise.is_some() || results.contains_key("error");
    if !for_errors {
        let message = "a failure of the action leads nowhere";
        report.error(index, message, "add results.error or `otherwise`");
    } else if results.is_empty() {
        report.warning(index, "every result leads the same way", "add `results`");
    }
    if !for_errors && on_timeout.is_none() {
        report.error(index, "an action that isn't answered leads nowhere", "add `on_timeout`");
    }
}

fn branch(report: &mut Report<'_>, index: NodeIndex, kind: &Kind) {
    let Kind::Branch { values, filled, otherwise, .. } = kind else {
        return;
    };
    if otherwise.is_none() {
        report.error(index, "a value without branch leads nowhere", "add `otherwise`");
    }
    if values.is_empty() && filled.is_none() {
        report.warning(index, "all values lead the same way", "add `values` or `filled`");
    }
}

fn next(report: &mut Report<'_>, index: NodeIndex, node: &Node) {
    if node.next.is_none() {
        report.error(index, "a dead end: nothing follows", "add `next`");
    }
}

fn menu(report: &mut Report<'_>, index: NodeIndex, node: &Node, patience: &Patience) {
    if node.keys.is_empty() {
        report.error(index, "a question without keys", "add `keys`");
    }
    spoken(report, index, node);
    timeout(report, index, patience);
}

fn spoken(report: &mut Report<'_>, index: NodeIndex, node: &Node) {
    if node.say.is_empty() {
        report.warning(index, "says nothing", "add `say`");
    }
}

/// Wrong keys end where silence ends unless they have their own way.
fn timeout(report: &mut Report<'_>, index: NodeIndex, patience: &Patience) {
    if patience.on_timeout.is_none() {
        let what = match patience.on_invalid {
            None => "no key in time and wrong keys lead nowhere",
            Some(_) => "no key in time leads nowhere",
        };
        report.error(index, what, "add `on_timeout`");
    }
}

fn wait(report: &mut Report<'_>, index: NodeIndex, node: &Node, after_ms: Option<u64>) {
    match (after_ms, node.next) {
        (Some(_), None) => report.error(index, "`after_s` leads nowhere", "add `next`"),
        (None, Some(_)) => report.warning(index, "`next` is never taken", "add `after_s`"),
        _ => {}
    }
    if node.say.is_empty() {
        report.warning(index, "callers wait in silence and think they are cut off", "add say = [\"hold_music\"]");
    }
}
