//! Entering nodes, speaking, and going from node to node.

use std::time::{Duration, Instant};

use super::{EventKind, Machine, Output, Phase};
use crate::{
    flow::{
        model::{Kind, Node, NodeIndex},
        phrase::{Phrase, Template},
    },
    limits::{RECORD_GRACE_MS, SPEECH_ITEMS_MAX, SPEECH_MS_MAX, TRANSITIONS_PER_INPUT_MAX},
    machine::Lane,
    say::Say,
};

impl Machine {
    pub(super) fn current(&self) -> Option<&Node> {
        self.at.map(|at| &self.flow.nodes[at])
    }

    pub(super) fn kind(&self) -> Option<&Kind> {
        self.current().map(|node| &node.kind)
    }

    /// The current node's ordinary way on.
    pub(super) fn next(&self) -> Option<NodeIndex> {
        self.current().and_then(|node| node.next)
    }

    /// Leaves the current node for another. `None` is a hole in the flow: the
    /// call ends with the reason `no_handler`.
    pub(super) fn follow(&mut self, now: Instant, to: Option<NodeIndex>) {
        self.leave();
        self.run(now, to);
    }

    /// Stops whatever the current node does.
    pub(super) fn leave(&mut self) {
        self.stop_play();
        if self.phase == Phase::Recording {
            self.output(Output::StopRecord);
        }
        self.deadline = None;
        self.attempts = 0;
        self.digits.clear();
        self.type_ahead.clear();
    }

    /// Enters nodes until one of them waits for something.
    pub(super) fn run(&mut self, now: Instant, first: Option<NodeIndex>) {
        let mut to = first;
        loop {
            let Some(index) = to else {
                self.error("no_handler");
                return self.finish(Output::HangUp { reason: "no_handler".into() });
            };
            self.transitions += 1;
            if self.transitions > TRANSITIONS_PER_INPUT_MAX {
                self.error("flow_loop");
                return self.finish(Output::HangUp { reason: "flow_loop".into() });
            }
            self.at = Some(index);
            self.phase = Phase::Speaking;
            let word = self.flow.nodes[index].kind.word();
            self.event(EventKind::Entered, word);
            match self.enter(now) {
                Entered::Waits => return,
                Entered::GoOn(next) => to = next,
            }
        }
    }

    /// Does what a node does on entering.
    fn enter(&mut self, now: Instant) -> Entered {
        let flow = self.flow.clone();
        let Some(node) = self.at.map(|at| &flow.nodes[at]) else {
            return Entered::Waits;
        };
        if node.kind.is_instant() {
            return Entered::GoOn(self.pass(now, node));
        }
        match &node.kind {
            Kind::Say { when } => {
                let empty = |var: &String| self.var(var).is_none_or(str::is_empty);
                let left_out = when.as_ref().is_some_and(empty);
                if left_out || !self.speak(now, &node.say) {
                    return Entered::GoOn(node.next);
                }
            }
            Kind::Menu { .. } | Kind::Collect { .. } => {
                if !self.speak(now, &node.say) {
                    self.listen(now);
                }
            }
            Kind::Record { .. } => {
                if !self.speak(now, &node.say) {
                    self.record(now);
                }
            }
            Kind::HangUp { reason } => {
                if !self.speak(now, &node.say) {
                    let reason = reason.clone();
                    self.finish(Output::HangUp { reason });
                }
            }
            Kind::Wait { after_ms, since_queue } => self.wait(now, &node.say, *after_ms, *since_queue),
            Kind::Talk => self.phase = Phase::Talking,
            Kind::Action { name, args, timeout_ms, .. } => {
                let fill = |(key, text): (&String, &Template)| (key.clone(), text.fill(&self.vars));
                let (name, args) = (name.clone(), args.iter().map(fill).collect());
                self.play(&node.say, true);
                self.output(Output::Action { name, args });
                self.phase = Phase::Acting;
                self.set_timer(now, *timeout_ms);
            }
            Kind::Flow { flow } => self.finish(Output::NextFlow { flow: flow.clone() }),
            // Instant kinds were passed above.
            Kind::Queue { .. } | Kind::LeaveQueue { .. } | Kind::Branch { .. } | Kind::Set { .. } => {}
        }
        Entered::Waits
    }

    /// Does what an instant node does; the node that follows it.
    fn pass(&mut self, now: Instant, node: &Node) -> Option<NodeIndex> {
        match &node.kind {
            Kind::Queue { queue, lane, skills } => self.enter_queue(now, queue.fill(&self.vars), *lane, skills),
            Kind::LeaveQueue { reason } => self.leave_queue(reason),
            Kind::Branch { var, values, filled, otherwise } => {
                let value = self.var(var).unwrap_or_default();
                let filled = filled.filter(|_| !value.is_empty());
                return values.get(value).copied().or(filled).or(*otherwise);
            }
            Kind::Set { vars, event } => {
                for (name, text) in vars {
                    self.remember(name, text.fill(&self.vars));
                }
                if let Some(event) = event {
                    self.event(EventKind::Mark, event);
                }
            }
            _ => {}
        }
        node.next
    }

    fn leave_queue(&mut self, reason: &str) {
        if self.queued.take().is_some() || std::mem::take(&mut self.turned_away) {
            let reason = reason.to_owned();
            self.output(Output::LeaveQueue { reason });
        }
    }

    fn enter_queue(&mut self, now: Instant, queue: String, lane: Option<Lane>, skills: &[String]) {
        let (since, old) = self.queued.unwrap_or((now, Lane::Normal));
        let lane = lane.unwrap_or(old);
        match self.queued {
            Some(_) if skills.is_empty() && old == lane => return,
            Some(_) if skills.is_empty() => self.output(Output::SetLane(lane)),
            _ => self.output(Output::EnterQueue { queue, lane, skills: skills.to_vec() }),
        }
        self.queued = Some((since, lane));
        self.queued_first.get_or_insert(now);
        self.turned_away = false;
    }

    fn wait(&mut self, now: Instant, music: &[Phrase], after_ms: Option<u64>, since_queue: bool) {
        self.phase = Phase::Waiting;
        self.play(music, true);
        let since = self.queued_first.filter(|_| since_queue).unwrap_or(now);
        let due = after_ms.and_then(|ms| since.checked_add(Duration::from_millis(ms)));
        self.deadline = due.map(|due| due.max(now));
    }

    /// Says something that ends; false if there is nothing to say.
    pub(super) fn speak(&mut self, now: Instant, phrases: &[Phrase]) -> bool {
        if !self.play(phrases, false) {
            return false;
        }
        self.phase = Phase::Speaking;
        self.set_timer(now, SPEECH_MS_MAX);
        true
    }

    fn play(&mut self, phrases: &[Phrase], repeat: bool) -> bool {
        let mut prompts: Vec<Say> = Vec::with_capacity(phrases.len());
        for phrase in phrases {
            if let Err(why) = phrase.say(&self.vars, &mut prompts) {
                self.error(why.0);
            }
        }
        if prompts.len() > SPEECH_ITEMS_MAX {
            self.error("speech_too_long");
            prompts.truncate(SPEECH_ITEMS_MAX);
        }
        if prompts.is_empty() {
            return false;
        }
        self.playing = true;
        self.output(Output::Play { prompts, repeat });
        true
    }

    /// Starts the recording of the current node.
    pub(super) fn record(&mut self, now: Instant) {
        let Some(Kind::Record { purpose, max_ms, .. }) = self.kind() else {
            return;
        };
        let (purpose, max_ms) = (purpose.clone(), *max_ms);
        self.phase = Phase::Recording;
        self.set_timer(now, max_ms + RECORD_GRACE_MS);
        self.output(Output::Record { max_ms, purpose });
    }
}

/// What entering a node led to.
enum Entered {
    /// The machine waits for an input, a timer, or is done.
    Waits,
    GoOn(Option<NodeIndex>),
}
