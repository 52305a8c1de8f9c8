//! What gateways that share the queues say to each other about them.

use std::sync::Arc;

use hotline_acd::{CallerRow, Entry, Lane, OperatorRef, OperatorRow, OperatorState, Profile};
use serde::{Deserialize, Serialize};

use super::command::{Command, Reply};
use super::mirror::CallNews;
use crate::cluster::Frame;

/// Rows of one frame; more go into the next.
pub(super) const ROWS_MAX: usize = 1_000;

/// One message. The term is the leader's: of another term nothing is believed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    pub(super) term: i64,
    pub(super) what: What,
}

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum What {
    /// Leader: I lead. Asked for the `n`-th time.
    Lead { n: u64 },
    /// Leader: I lead no longer, and gave the lease back: nobody need wait for its end.
    Resign,
    /// To the leader: go on, we take no lease for a while.
    Grant { n: u64 },
    /// To the leader: what holds here; after it comes what it didn't answer.
    State(State),
    /// To the leader.
    Ask { id: u64, command: Command },
    /// Leader: the rows of what it changed were sent before. `None`: its queues died over it.
    Answer { id: u64, reply: Option<Reply> },
    /// Leader to the gateway that drives the call.
    News { call: String, news: CallNews },
    /// Leader: an operator's row changed; `state`: it is a new interval of state.
    Operator { row: Operator, state: bool },
    /// Leader: a waiting caller's row changed.
    Caller(Caller),
    /// Leader: this caller waits no longer.
    Gone { call: String },
    /// Leader: all rows.
    Snapshot(Rows),
}

/// Some rows; `more`: others follow in the next frame.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rows {
    pub(super) operators: Vec<Operator>,
    pub(super) callers: Vec<Caller>,
    pub(super) more: bool,
}

/// What holds at a gateway.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// All operators it knows of, and the callers it drives.
    pub(super) rows: Rows,
    /// Calls its drivers live for.
    pub(super) live: Vec<String>,
    /// Call and operator, as the drivers last said.
    pub(super) talks: Vec<(String, String)>,
    /// Call and operator: whose phones ring or talk in them otherwise.
    pub(super) engaged: Vec<(String, String)>,
    /// SIP users registered there.
    pub(super) phones: Vec<String>,
}

impl Wire {
    pub(super) fn frame(term: i64, what: What) -> Frame {
        // These types have no maps with other keys than texts: it can't fail.
        Frame::Acd(serde_json::to_vec(&Self { term, what }).unwrap_or_default())
    }
}

/// Cuts rows into frames.
pub(super) fn in_parts(operators: Vec<Operator>, callers: Vec<Caller>) -> Vec<Rows> {
    let mut parts = Vec::new();
    let (mut operators, mut callers) = (operators.into_iter(), callers.into_iter());
    loop {
        let operators: Vec<_> = operators.by_ref().take(ROWS_MAX).collect();
        let callers: Vec<_> = callers.by_ref().take(ROWS_MAX).collect();
        if operators.is_empty() && callers.is_empty() {
            break;
        }
        parts.push(Rows { operators, callers, more: true });
    }
    match parts.last_mut() {
        Some(last) => last.more = false,
        None => parts.push(Rows::default()),
    }
    parts
}

/// An operator's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Operator {
    who: OperatorRef,
    state: OperatorState,
    reason: String,
    since: i64,
    idle_since: i64,
    call: Option<String>,
    call_node: String,
    queue: Option<String>,
    wrap_until: Option<i64>,
    next: Option<(OperatorState, String)>,
    engaged: Vec<String>,
    profile: Profile,
}

/// A waiting caller's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Caller {
    entry: Entry,
    queue: String,
    lane: Lane,
    head: bool,
    place: i64,
    entered_at: i64,
    ringing: Option<String>,
    declined: Vec<String>,
    told: u8,
}

fn text(of: &Arc<str>) -> String {
    of.to_string()
}

impl From<&OperatorRow> for Operator {
    fn from(row: &OperatorRow) -> Self {
        Self {
            who: (*row.who).clone(),
            state: row.state,
            reason: text(&row.reason),
            since: row.since,
            idle_since: row.idle_since,
            call: row.call.as_ref().map(text),
            call_node: text(&row.call_node),
            queue: row.queue.as_ref().map(text),
            wrap_until: row.wrap_until,
            next: row.next.as_ref().map(|(state, why)| (*state, text(why))),
            engaged: row.engaged.iter().map(text).collect(),
            profile: (*row.profile).clone(),
        }
    }
}

impl From<Operator> for OperatorRow {
    fn from(row: Operator) -> Self {
        Self {
            who: Arc::new(row.who),
            state: row.state,
            reason: row.reason.into(),
            since: row.since,
            idle_since: row.idle_since,
            call: row.call.map(Into::into),
            call_node: row.call_node.into(),
            queue: row.queue.map(Into::into),
            wrap_until: row.wrap_until,
            next: row.next.map(|(state, why)| (state, why.into())),
            engaged: row.engaged.into_iter().map(Into::into).collect(),
            profile: Arc::new(row.profile),
        }
    }
}

impl From<&CallerRow> for Caller {
    fn from(row: &CallerRow) -> Self {
        Self {
            entry: (*row.entry).clone(),
            queue: text(&row.queue),
            lane: row.lane,
            head: row.head,
            place: row.place,
            entered_at: row.entered_at,
            ringing: row.ringing.as_ref().map(text),
            declined: row.declined.iter().map(text).collect(),
            told: row.told,
        }
    }
}

impl From<Caller> for CallerRow {
    fn from(row: Caller) -> Self {
        Self {
            entry: Arc::new(row.entry),
            queue: row.queue.into(),
            lane: row.lane,
            head: row.head,
            place: row.place,
            entered_at: row.entered_at,
            ringing: row.ringing.map(Into::into),
            declined: row.declined.into_iter().map(Into::into).collect(),
            told: row.told,
        }
    }
}

#[cfg(test)]
mod tests {
    use hotline_acd::{OperatorRef, OperatorState, Profile};

    use super::*;
    use crate::cluster::words::is_as_written;

    fn state() -> State {
        let who = OperatorRef { id: "u".into(), name: "n".into(), sip_user: "1001".into() };
        let mut entry = Entry::new("c", "main", Lane::Red);
        (entry.skills, entry.prefer, entry.node) = (vec!["english".into()], Some("u".into()), "b".into());
        let operator = Operator {
            who,
            state: OperatorState::Talking,
            reason: "r".into(),
            since: 1,
            idle_since: 2,
            call: Some("c".into()),
            call_node: "b".into(),
            queue: Some("main".into()),
            wrap_until: Some(3),
            next: Some((OperatorState::Break, "tea".into())),
            engaged: vec!["d".into()],
            profile: Profile { skills: vec![("english".into(), 9)], ..Profile::default() },
        };
        let caller = Caller {
            entry,
            queue: "main".into(),
            lane: Lane::Red,
            head: false,
            place: 4,
            entered_at: 5,
            ringing: Some("u".into()),
            declined: vec!["v".into()],
            told: 1,
        };
        State {
            rows: Rows { operators: vec![operator], callers: vec![caller], more: false },
            live: vec!["c".into()],
            talks: vec![("c".into(), "u".into())],
            engaged: vec![("d".into(), "u".into())],
            phones: vec!["1001".into()],
        }
    }

    const fn kind(what: &What) -> &'static str {
        match what {
            What::Lead { .. } => "lead",
            What::Resign => "resign",
            What::Grant { .. } => "grant",
            What::State(_) => "state",
            What::Ask { .. } => "ask",
            What::Answer { .. } => "answer",
            What::News { .. } => "news",
            What::Operator { .. } => "operator",
            What::Caller(_) => "caller",
            What::Gone { .. } => "gone",
            What::Snapshot(_) => "snapshot",
        }
    }

    #[test]
    fn each_word_is_as_this_version_writes_it() {
        let State { rows, .. } = state();
        let call = || "c".to_owned();
        let (row, caller) = (rows.operators[0].clone(), rows.callers[0].clone());
        let command = Command::Want {
            who: row.who.clone(),
            profile: row.profile.clone(),
            state: OperatorState::Ready,
            reason: String::new(),
        };
        let all = [
            What::Lead { n: 1 },
            What::Resign,
            What::Grant { n: 1 },
            What::State(state()),
            What::Ask { id: 1, command },
            What::Answer { id: 1, reply: Some(Reply::Place(Some((1, Some(2))))) },
            What::News { call: call(), news: CallNews::Overflow { red: true } },
            What::Operator { row, state: true },
            What::Caller(caller),
            What::Gone { call: call() },
            What::Snapshot(rows),
        ];
        let kinds: std::collections::BTreeSet<_> = all.iter().map(kind).collect();
        assert_eq!(kinds.len(), all.len(), "one of each");
        let written = all.map(|what| (kind(&what), serde_json::to_value(Wire { term: 1, what }).unwrap()));
        is_as_written("acd", &written);
    }
}
