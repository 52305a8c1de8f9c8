//! One rule of the queue a test.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test ends at the first thing that is wrong")]

mod line;
mod states;

use hotline_acd::{Core, Effect, Entry, Lane, OperatorRef, OperatorState, Profile, QueueSettings, Standing};

fn settings(wrap_ms: i64) -> QueueSettings {
    QueueSettings { wrap_ms, ..QueueSettings::default() }
}

fn desk(wrap_ms: i64) -> Core {
    Core::new(vec![settings(wrap_ms)]).unwrap()
}

fn says(core: &mut Core, now: i64, id: &str, state: OperatorState) -> Standing {
    says_with(core, now, id, state, true, &["main"])
}

fn says_with(core: &mut Core, now: i64, id: &str, state: OperatorState, reg: bool, queues: &[&str]) -> Standing {
    let who = OperatorRef { id: id.into(), name: id.into(), sip_user: id.into() };
    let queues = queues.iter().map(|q| (*q).to_owned()).collect();
    let profile = Profile { queues, skills: Vec::new(), node: "n".into(), registered: reg };
    core.want(now, who, profile, state, "").unwrap()
}

fn enters(core: &mut Core, now: i64, call: &str) {
    core.enter(now, Entry::new(call, "main", Lane::Normal)).unwrap();
}

fn offers(core: &mut Core) -> Vec<(String, String)> {
    let mut out = Vec::new();
    while let Some(effect) = core.poll_output() {
        if let Effect::Offer { call, operator, .. } = effect {
            out.push((call.to_string(), operator.id.clone()));
        }
    }
    out
}

fn withdrawn(core: &mut Core) -> Vec<(String, String)> {
    let mut out = Vec::new();
    while let Some(effect) = core.poll_output() {
        if let Effect::Withdraw { call, operator, .. } = effect {
            out.push((call.to_string(), operator.to_string()));
        }
    }
    out
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.into(), b.into())
}

fn state(core: &Core, id: &str) -> OperatorState {
    core.operator(id).unwrap().state
}
