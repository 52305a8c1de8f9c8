//! Keys: chosen ways, questions and collected digits.

use std::time::Instant;

use super::{EventKind, Machine, Output, Phase};
use crate::{
    flow::{
        KEYS,
        model::{Kind, Node, NodeIndex, Patience, Way},
    },
    limits::{RECORD_GRACE_MS, TYPE_AHEAD_MAX},
};

impl Machine {
    /// A key was pressed.
    pub(super) fn digit(&mut self, now: Instant, key: char) {
        if !KEYS.contains(key) {
            return;
        }
        let flow = self.flow.clone();
        let Some(node) = self.at.map(|at| &flow.nodes[at]) else {
            return;
        };
        match self.phase {
            Phase::Speaking if !node.interruptible => self.digit_too_early(now, node, key),
            Phase::Speaking | Phase::Listening => self.digit_heard(now, node, key),
            Phase::Waiting => {
                self.choose(now, node, key);
            }
            Phase::Recording => self.digit_while_recording(now, node, key),
            Phase::Acting => {
                self.choose_global(now, node, key);
            }
            Phase::Fresh | Phase::Talking | Phase::RecordStopping | Phase::Done => {}
        }
    }

    /// A speech that must be heard to its end: only the flow's own keys cut it.
    fn digit_too_early(&mut self, now: Instant, node: &Node, key: char) {
        let own = node.keys.contains_key(&key) || matches!(node.kind, Kind::Collect { .. });
        if !own && self.choose_global(now, node, key) {
            return;
        }
        if self.type_ahead.len() < TYPE_AHEAD_MAX {
            self.type_ahead.push_back(key);
        }
    }

    fn digit_heard(&mut self, now: Instant, node: &Node, key: char) {
        match &node.kind {
            Kind::Collect { .. } => self.collect(now, node, key),
            Kind::Menu { patience, .. } => {
                if !self.choose(now, node, key) {
                    self.wrong_answer(now, node, patience);
                }
            }
            // A key without meaning doesn't cut an announcement.
            _ => {
                self.choose(now, node, key);
            }
        }
    }

    /// Follows the node's or the flow's way for a key, if there is one.
    fn choose(&mut self, now: Instant, node: &Node, key: char) -> bool {
        self.choose_own(now, node, key) || self.choose_global(now, node, key)
    }

    pub(super) fn choose_own(&mut self, now: Instant, node: &Node, key: char) -> bool {
        let Some(way) = node.keys.get(&key) else {
            return false;
        };
        self.take(now, node, key, way);
        true
    }

    fn choose_global(&mut self, now: Instant, node: &Node, key: char) -> bool {
        let way = self.flow.keys.get(&key).filter(|_| node.global_keys.allows(key));
        let Some(to) = way.map(|way| way.to) else {
            return false;
        };
        self.key_event(to);
        self.follow(now, Some(to));
        true
    }

    fn take(&mut self, now: Instant, node: &Node, key: char, way: &Way) {
        self.key_event(way.to);
        if let Kind::Menu { answer: Some(question), .. } = &node.kind {
            let value = way.value.clone().unwrap_or_else(|| key.to_string());
            self.remember(question, value.clone());
            self.output(Output::Answer { key: question.clone(), value });
        }
        self.follow(now, Some(way.to));
    }

    /// The node a key led to, not the key: keys may be a personal number.
    fn key_event(&mut self, to: NodeIndex) {
        let to = self.flow.nodes[to].id.clone();
        self.event(EventKind::KeyChosen, &to);
    }

    fn digit_while_recording(&mut self, now: Instant, node: &Node, key: char) {
        if let Kind::Record { stop_keys, .. } = &node.kind
            && stop_keys.contains(&key)
        {
            self.output(Output::StopRecord);
            self.phase = Phase::RecordStopping;
            return self.set_timer(now, RECORD_GRACE_MS);
        }
        self.choose_global(now, node, key);
    }

    /// Waits for keys after a question.
    pub(super) fn listen(&mut self, now: Instant) {
        self.phase = Phase::Listening;
        let timeout_ms = match self.kind() {
            Some(Kind::Menu { patience, .. } | Kind::Collect { patience, .. }) => patience.timeout_ms,
            _ => 0,
        };
        self.set_timer(now, timeout_ms);
        let at = self.at;
        while self.phase == Phase::Listening && self.at == at {
            let Some(key) = self.type_ahead.pop_front() else {
                return;
            };
            self.digit(now, key);
        }
    }

    /// Nobody pressed a key in time.
    pub(super) fn silence(&mut self, now: Instant) {
        let flow = self.flow.clone();
        let Some(node) = self.at.map(|at| &flow.nodes[at]) else {
            return;
        };
        match &node.kind {
            Kind::Collect { .. } if !self.digits.is_empty() => self.collected(now, node),
            Kind::Menu { patience, .. } | Kind::Collect { patience, .. } => {
                self.ask_again(now, node, patience, false);
            }
            _ => {}
        }
    }

    fn wrong_answer(&mut self, now: Instant, node: &Node, patience: &Patience) {
        self.ask_again(now, node, patience, true);
    }

    fn ask_again(&mut self, now: Instant, node: &Node, patience: &Patience, wrong: bool) {
        self.stop_play();
        self.digits.clear();
        self.type_ahead.clear();
        self.attempts += 1;
        if self.attempts > patience.repeats {
            let to = patience.on_invalid.filter(|_| wrong).or(patience.on_timeout);
            return self.follow(now, to);
        }
        let invalid: &[_] = if wrong { &patience.invalid } else { &[] };
        let again: Vec<_> = invalid.iter().chain(&node.say).cloned().collect();
        if !self.speak(now, &again) {
            self.listen(now);
        }
    }

    /// One more digit of a number. `#` ends it, `*` starts it anew.
    fn collect(&mut self, now: Instant, node: &Node, key: char) {
        if self.digits.is_empty() && self.choose_global(now, node, key) {
            return;
        }
        let Kind::Collect { max_len, inter_digit_ms, .. } = &node.kind else {
            return;
        };
        self.stop_play();
        self.phase = Phase::Listening;
        self.set_timer(now, *inter_digit_ms);
        match key {
            '#' => self.collected(now, node),
            '*' => self.digits.clear(),
            '0'..='9' => {
                self.digits.push(key);
                if self.digits.len() >= *max_len {
                    self.collected(now, node);
                }
            }
            _ => {}
        }
    }

    /// The number is complete, as far as the citizen is concerned.
    fn collected(&mut self, now: Instant, node: &Node) {
        let Kind::Collect { into, min_len, on_empty, patience, .. } = &node.kind else {
            return;
        };
        match (self.digits.is_empty(), on_empty) {
            (true, Some(to)) => {
                self.remember(into, String::new());
                self.follow(now, Some(*to));
            }
            _ if self.digits.len() >= *min_len => {
                let digits = std::mem::take(&mut self.digits);
                self.remember(into, digits);
                self.follow(now, node.next);
            }
            _ => self.wrong_answer(now, node, patience),
        }
    }
}
