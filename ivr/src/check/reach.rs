//! What can be reached, and whether everybody gets out again.

use super::{Report, Severity};
use crate::flow::{
    Flow,
    model::{Edge, Kind, NodeIndex},
};

/// Which nodes a call can come to.
pub(super) fn reached(flow: &Flow) -> Vec<bool> {
    let mut reached = vec![false; flow.nodes.len()];
    let mut todo = vec![flow.start];
    while let Some(index) = todo.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            todo.extend(all_ways(flow, index));
        }
    }
    reached
}

/// Every way out of a node: its own, the flow's keys, the operator.
fn all_ways(flow: &Flow, index: NodeIndex) -> Vec<NodeIndex> {
    let node = &flow.nodes[index];
    let mut ways: Vec<NodeIndex> = node.edges().iter().map(|edge| edge.to).collect();
    ways.extend(key_ways(flow, index));
    if !node.kind.is_instant() {
        ways.extend(flow.operator_free);
    }
    if matches!(node.kind, Kind::Queue { .. }) {
        ways.extend(flow.not_queued.values());
    }
    ways
}

/// Where the flow's own keys lead from a node.
fn key_ways(flow: &Flow, index: NodeIndex) -> impl Iterator<Item = NodeIndex> {
    let node = &flow.nodes[index];
    let hears = !node.kind.is_instant() && !matches!(node.kind, Kind::Talk | Kind::Flow { .. });
    let keys = flow
        .keys
        .iter()
        .filter(move |(key, _)| hears && !node.keys.contains_key(key) && node.global_keys.allows(**key));
    keys.map(|(_, way)| way.to)
}

pub(super) fn check(report: &mut Report<'_>, reached: &[bool]) {
    let flow = report.flow;
    for index in (0..reached.len()).filter(|index| !reached[*index]) {
        report.warning(index, "no way leads here", "lead a key or `next` here, or remove the node");
    }
    instant_loops(report);
    exits(report, reached);
    let queues = |kind: &Kind| matches!(kind, Kind::Queue { .. } | Kind::Wait { .. });
    let queues = (0..reached.len()).any(|i| reached[i] && queues(&flow.nodes[i].kind));
    if queues && flow.operator_free.is_none() {
        let message = "callers wait for an operator, but nothing happens when one answers";
        let remedy = "add [on] operator_free = \"a node of kind talk\"";
        report.add(Severity::Error, None, message.into(), remedy.into());
    }
}

/// Nodes that lead to each other without ever waiting for anything.
fn instant_loops(report: &mut Report<'_>) {
    let flow = report.flow;
    let instant = |index: NodeIndex| flow.nodes[index].kind.is_instant();
    let ways = |index: NodeIndex| -> Vec<NodeIndex> {
        let edges = flow.nodes[index].edges();
        edges.iter().map(|edge| edge.to).filter(|to| instant(*to)).collect()
    };
    for index in (0..flow.nodes.len()).filter(|index| instant(*index)) {
        let mut seen = vec![false; flow.nodes.len()];
        let mut todo = ways(index);
        while let Some(to) = todo.pop() {
            if to == index {
                report.error(
                    index,
                    "leads back to itself without waiting for anything",
                    "put a prompt, a question or an end into the loop",
                );
                break;
            }
            if !std::mem::replace(&mut seen[to], true) {
                todo.extend(ways(to));
            }
        }
    }
}

/// Whether every reachable node leads to an end, to an operator or to the queue.
fn exits(report: &mut Report<'_>, reached: &[bool]) {
    let flow = report.flow;
    let by_any_way = leads_out(flow, |_| true, true);
    let by_itself = leads_out(flow, Edge::is_automatic, false);
    for index in (0..reached.len()).filter(|index| reached[*index]) {
        if !by_any_way[index] {
            report.error(
                index,
                "a loop without exit: from here nobody comes to an end or to an operator",
                "lead one of its ways to a hangup, flow, wait or talk node",
            );
        } else if !by_itself[index] && !flow.nodes[index].edges().is_empty() {
            report.warning(
                index,
                "who presses no key is never let go from here",
                "lead `next` or `on_timeout` to an end or to the queue",
            );
        }
    }
}

/// For each node whether a good place can be reached, going backwards from those.
fn leads_out(flow: &Flow, counts: impl Fn(&Edge) -> bool, with_keys: bool) -> Vec<bool> {
    let good = |kind: &Kind| kind.is_end() || matches!(kind, Kind::Wait { .. } | Kind::Talk);
    let mut out: Vec<bool> = flow.nodes.iter().map(|node| good(&node.kind)).collect();
    loop {
        let mut changed = false;
        for (index, node) in flow.nodes.iter().enumerate() {
            if out[index] {
                continue;
            }
            let own = node.edges().iter().any(|edge| counts(edge) && out[edge.to]);
            let global = || with_keys && key_ways(flow, index).any(|to| out[to]);
            if own || global() {
                out[index] = true;
                changed = true;
            }
        }
        if !changed {
            return out;
        }
    }
}
