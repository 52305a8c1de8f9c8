//! Runs a flow for one call.

mod enter;
mod io;
mod keys;
mod step;
mod store;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

pub use io::{EventKind, Input, Lane, NotQueued, Output};

use crate::{
    flow::{
        Flow,
        model::{Kind, NodeIndex},
        phrase::Vars,
    },
    limits::OUTPUTS_MAX,
};

/// One call going through a flow: no sockets, no clock.
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc, time::Instant};
/// use hotline_ivr::{Flow, Input, Machine, Output};
/// # #[allow(clippy::disallowed_methods)] // a host reads the clock
/// # let now = Instant::now();
/// let flow = Flow::builtin("hotline").ok_or("no such flow")?;
/// let mut machine = Machine::new(Arc::new(flow), BTreeMap::new());
/// machine.handle_input(now, Input::Start);
/// while let Some(output) = machine.poll_output() {
///     if let Output::EnterQueue { queue, .. } = output {
///         assert_eq!(queue, "main");
///     }
/// }
/// # Ok::<(), &str>(())
/// ```
pub struct Machine {
    flow: Arc<Flow>,
    vars: Vars,
    /// The current node; `None` before the start.
    at: Option<NodeIndex>,
    phase: Phase,
    deadline: Option<Instant>,
    /// Whether something was told to play and neither ended nor was stopped.
    playing: bool,
    /// Since when, and in which lane, the call waits in a queue.
    queued: Option<(Instant, Lane)>,
    /// When the queue was entered first: an announcement "after 15 s" counts from here.
    queued_first: Option<Instant>,
    /// The queue didn't take the call: leaving it is still a choice.
    turned_away: bool,
    /// Questions asked in vain in this node.
    attempts: u32,
    /// Digits collected in this node. Personal data: never in an event.
    digits: String,
    type_ahead: VecDeque<char>,
    /// Ways taken for the current input.
    transitions: usize,
    outputs: VecDeque<Output>,
}

/// What the machine waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `Start`.
    Fresh,
    /// The end of a speech.
    Speaking,
    /// A key, after the speech.
    Listening,
    /// An operator, a key or a time, with music.
    Waiting,
    /// The end of the talk.
    Talking,
    /// The end of a recording.
    Recording,
    /// The report of a recording that was told to stop.
    RecordStopping,
    /// The result of an action.
    Acting,
    /// Nothing any more.
    Done,
}

impl Machine {
    /// A machine before its [`Input::Start`]. `vars` override the defaults in
    /// the flow's `[vars]`, for instance `queue`, `caller_number`, `lang`.
    pub fn new(flow: Arc<Flow>, vars: BTreeMap<String, String>) -> Self {
        let mut machine = Self {
            vars: flow.vars.clone(),
            flow,
            at: None,
            phase: Phase::Fresh,
            deadline: None,
            playing: false,
            queued: None,
            queued_first: None,
            turned_away: false,
            attempts: 0,
            digits: String::new(),
            type_ahead: VecDeque::new(),
            transitions: 0,
            outputs: VecDeque::new(),
        };
        machine.remember_all(vars);
        machine
    }

    /// Tells the machine what happened at `now`. Read [`poll_output`](Self::poll_output)
    /// until `None` afterwards. Ignored once the machine is done.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if !self.ready() {
            return;
        }
        match input {
            Input::Start => {
                if self.phase == Phase::Fresh {
                    self.run(now, Some(self.flow.start));
                }
            }
            Input::HungUp => self.hung_up(),
            Input::OperatorFree => self.operator_free(now),
            Input::NotQueued(why) => self.not_queued(now, why),
            _ if self.phase == Phase::Fresh => {}
            Input::Digit(key) => self.digit(now, key),
            Input::PlayDone => {
                if self.playing && self.phase != Phase::Waiting && self.phase != Phase::Acting {
                    self.playing = false;
                    self.speech_ended(now);
                }
            }
            Input::TalkEnded => {
                if self.phase == Phase::Talking {
                    self.talk_ended(now);
                }
            }
            Input::RecordDone { ms } => {
                if matches!(self.phase, Phase::Recording | Phase::RecordStopping) {
                    self.record_ended(now, Some(ms));
                }
            }
            Input::ActionDone { name, result, vars } => self.action_ended(now, &name, &result, vars),
            Input::QueuePosition { position, estimate_s } => {
                self.remember("position", position.to_string());
                self.remember("estimate_s", estimate_s.to_string());
                self.remember("estimate_min", estimate_s.div_ceil(60).to_string());
            }
        }
    }

    /// Acts on a timer due at `now`. Calling early or without need is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) || !self.ready() {
            return;
        }
        self.deadline = None;
        match self.phase {
            Phase::Speaking => {
                self.error("speech_end_not_reported");
                self.stop_play();
                self.speech_ended(now);
            }
            Phase::Listening => self.silence(now),
            Phase::Waiting => self.follow(now, self.next()),
            Phase::Recording => {
                self.error("recording_end_not_reported");
                self.output(Output::StopRecord);
                self.record_ended(now, None);
            }
            Phase::RecordStopping => {
                self.error("recording_end_not_reported");
                self.record_ended(now, None);
            }
            Phase::Acting => self.action_timed_out(now),
            Phase::Fresh | Phase::Talking | Phase::Done => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The id of the current node; empty before [`Input::Start`].
    pub fn node(&self) -> &str {
        self.at.map_or("", |at| self.flow.nodes[at].id.as_str())
    }

    /// Whether the flow has ended: nothing more will come out but what
    /// [`poll_output`](Self::poll_output) still holds.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether the flow has nothing to say until the talk ends.
    #[must_use]
    pub fn is_talking(&self) -> bool {
        self.phase == Phase::Talking
    }

    /// Whether a message is asked for or being recorded.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.phase != Phase::Done && matches!(self.kind(), Some(Kind::Record { .. }))
    }

    /// A remembered value. May be personal data.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// Whether an input may be handled now; ends a machine nobody listens to.
    fn ready(&mut self) -> bool {
        if self.phase == Phase::Done {
            return false;
        }
        self.transitions = 0;
        if self.outputs.len() >= OUTPUTS_MAX {
            self.finish(Output::HangUp { reason: "outputs_unread".into() });
            return false;
        }
        true
    }

    fn hung_up(&mut self) {
        if self.phase == Phase::Recording {
            self.output(Output::StopRecord);
        }
        self.event(EventKind::HungUp, "");
        self.playing = false;
        self.end();
    }

    /// Human first: an operator ends whatever the machine was doing.
    fn operator_free(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Talking | Phase::Fresh) {
            return;
        }
        self.leave();
        self.queued = None;
        self.event(EventKind::OperatorTookOver, "");
        match self.flow.operator_free {
            Some(talk) => self.run(now, Some(talk)),
            None => {
                // The two are connected already: better no flow than a cut talk.
                self.error("no_operator_free_handler");
                self.phase = Phase::Talking;
            }
        }
    }

    /// Whether the flow says what happens then; otherwise the host has to.
    #[must_use]
    pub fn handles(&self, why: NotQueued) -> bool {
        self.phase != Phase::Done && self.flow.not_queued.contains_key(&why)
    }

    fn not_queued(&mut self, now: Instant, why: NotQueued) {
        let Some(to) = self.flow.not_queued.get(&why).copied() else { return };
        if matches!(self.phase, Phase::Talking | Phase::Fresh) {
            return;
        }
        self.leave();
        self.queued = None;
        self.turned_away = true;
        self.event(EventKind::Mark, why.handler());
        self.run(now, Some(to));
    }

    fn talk_ended(&mut self, now: Instant) {
        if matches!(self.kind(), Some(Kind::Talk)) {
            self.follow(now, self.next());
        } else {
            self.finish(Output::HangUp { reason: "talk_ended".into() });
        }
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn event(&mut self, kind: EventKind, detail: &str) {
        let (node, detail) = (self.node().to_owned(), detail.to_owned());
        self.output(Output::Event { kind, node, detail });
    }

    fn error(&mut self, detail: &str) {
        self.event(EventKind::Error, detail);
    }

    fn stop_play(&mut self) {
        if std::mem::take(&mut self.playing) {
            self.output(Output::StopPlay);
        }
    }

    fn set_timer(&mut self, now: Instant, ms: u64) {
        self.deadline = now.checked_add(Duration::from_millis(ms));
    }

    /// Ends the flow with a last output.
    fn finish(&mut self, last: Output) {
        self.stop_play();
        self.output(last);
        self.end();
    }

    fn end(&mut self) {
        self.phase = Phase::Done;
        self.deadline = None;
        self.digits.clear();
        self.type_ahead.clear();
    }
}

/// Without variables and digits: they may be personal data.
impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("flow", &self.flow.name)
            .field("node", &self.node())
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
