//! What follows the end of a speech, a recording or an action.

use std::{collections::BTreeMap, time::Instant};

use super::{Machine, Output, Phase};
use crate::{
    flow::{model::Kind, phrase::is_name},
    limits::VARS_MAX,
};

impl Machine {
    /// The speech of the current node came to its end.
    pub(super) fn speech_ended(&mut self, now: Instant) {
        if self.phase != Phase::Speaking {
            return;
        }
        self.deadline = None;
        match self.kind() {
            Some(Kind::Menu { .. } | Kind::Collect { .. }) => self.listen(now),
            Some(Kind::Record { .. }) => self.record(now),
            Some(Kind::HangUp { reason }) => {
                let reason = reason.clone();
                self.finish(Output::HangUp { reason });
            }
            _ => self.speech_followed(now),
        }
    }

    /// After an announcement: a key pressed meanwhile, or the ordinary way.
    fn speech_followed(&mut self, now: Instant) {
        let keys = self.current().map(|node| &node.keys);
        let chosen = self.type_ahead.iter().find(|key| keys.is_some_and(|keys| keys.contains_key(*key)));
        match chosen.copied() {
            Some(key) => {
                let flow = self.flow.clone();
                if let Some(node) = self.at.map(|at| &flow.nodes[at]) {
                    self.choose_own(now, node, key);
                }
            }
            None => self.follow(now, self.next()),
        }
    }

    /// A recording ended; `None` if nobody reported how long it was.
    pub(super) fn record_ended(&mut self, now: Instant, ms: Option<u64>) {
        let Some(Kind::Record { min_ms, on_short, .. }) = self.kind() else {
            return;
        };
        // An unknown length counts as long enough: what was said must not be lost.
        let short = ms.is_some_and(|ms| ms < *min_ms);
        let to = on_short.filter(|_| short).or(self.next());
        // It has ended: leaving must not stop it once more.
        self.phase = Phase::RecordStopping;
        self.follow(now, to);
    }

    /// The host reported the result of an action.
    pub(super) fn action_ended(&mut self, now: Instant, name: &str, result: &str, vars: BTreeMap<String, String>) {
        let Some(Kind::Action { name: wanted, results, otherwise, .. }) = self.kind() else {
            return;
        };
        if self.phase != Phase::Acting || wanted != name {
            return;
        }
        let to = results.get(result).copied().or(*otherwise);
        for (name, value) in vars.into_iter().take(VARS_MAX) {
            if is_name(&name) {
                self.remember(&name, value);
            }
        }
        if to.is_none() {
            self.error("result_without_way");
        }
        self.follow(now, to);
    }

    /// The host didn't answer in time: the way for it, or the one for errors.
    pub(super) fn action_timed_out(&mut self, now: Instant) {
        let Some(Kind::Action { results, otherwise, on_timeout, .. }) = self.kind() else {
            return;
        };
        let to = on_timeout.or(results.get("error").copied()).or(*otherwise);
        self.error("action_timed_out");
        self.follow(now, to);
    }
}
