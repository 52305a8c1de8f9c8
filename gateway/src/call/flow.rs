//! Carries out what the voice flow wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_db::CallPatch;
use hotline_ivr::{EventKind, Input, Machine, NotQueued, Output, Say};
use tracing::warn;

use super::desk_call::OPERATOR_PLAY;
use super::driver::{Driver, Side, Stage};
use super::recording::Purpose;
use crate::acd::{AcdError, CallNews, Entry, Lane, Refused};
use crate::clock::now_ms;

impl Driver {
    /// Until the flow has nothing more to say.
    pub(crate) async fn drain_flow(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            // Nothing talks over the last words.
            if self.farewell_until.is_some() {
                continue;
            }
            self.carry_out(output).await;
        }
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            Output::Play { prompts, repeat } => self.play(&prompts, repeat),
            Output::StopPlay => {
                // A `PlayDone` already under way belongs to nobody any more.
                self.play_next += 1;
                self.sv.media.stop_play(self.citizen.id());
            }
            Output::EnterQueue { queue, lane, skills } => {
                let mut asks = false;
                for skill in skills {
                    asks |= self.wishes.skills.insert(skill);
                }
                self.enter_queue_for(queue, from_flow(lane), asks).await;
            }
            Output::SetLane(lane) => self.set_lane(from_flow(lane)).await,
            Output::LeaveQueue { reason } => {
                self.leave_queue().await;
                self.story.event("left_queue", serde_json::json!({ "reason": reason }));
                self.served_otherwise = Some(reason);
            }
            Output::Record { max_ms, purpose } => self.start_recording(Purpose::from_flow(&purpose), max_ms).await,
            Output::StopRecord => self.stop_recording(),
            Output::Action { name, args } => {
                let (result, vars) = self.act(&name, &args).await;
                self.input(Input::ActionDone { name, result: result.into(), vars });
            }
            Output::HangUp { reason } => self.end_line(Side::System, &reason),
            Output::NextFlow { flow } => self.next_flow(&flow).await,
            Output::Answer { key, value } => {
                self.story.event("answer", serde_json::json!({ "key": key, "value": value }));
                self.verdict.insert(key, value);
            }
            Output::Event { kind, node, detail } => {
                if kind == EventKind::Error {
                    warn!(call = %self.call, node, detail, "voice flow");
                }
                self.story.event(kind.as_str(), serde_json::json!({ "node": node, "detail": detail }));
            }
        }
    }

    fn play(&mut self, pieces: &[Say], repeat: bool) {
        let clips = self.sv.voice.clips(pieces);
        self.play_next += 1;
        if clips.is_empty() {
            // Every prompt is missing: the flow must not wait for a silence that never ends.
            if !repeat {
                self.input(Input::PlayDone);
            }
            return;
        }
        if let Some(leg) = self.hears_along() {
            self.sv.media.play(leg, OPERATOR_PLAY, clips.clone(), repeat);
        }
        self.sv.media.play(self.citizen.id(), self.play_next, clips, repeat);
    }

    pub(crate) async fn enter_queue(&mut self, queue: String, lane: Lane) {
        self.enter_queue_for(queue, lane, false).await;
    }

    /// `asks`: for something new.
    async fn enter_queue_for(&mut self, queue: String, lane: Lane, asks: bool) {
        if self.waiting && queue == self.queue && !asks {
            // Key 7 while waiting: the place is kept, the lane changes.
            return self.set_lane(lane.min(self.lane)).await;
        }
        self.queue = queue;
        // Whatever they chose before, they wait for a person now.
        self.served_otherwise = None;
        if lane == Lane::Red && self.lane != Lane::Red {
            self.danger();
        }
        if !self.waiting {
            let _ = self.look_up_caller().await;
        }
        let entry = self.entry(lane.min(self.lane));
        self.lane = entry.lane;
        // Handed back after a talk, let in before, or called by us: hanging up would lose who was already served.
        let let_in = self.times.operator_answer_at.is_some() || self.stage == Stage::Queue || self.left_notice;
        // Who waits already asks for something more: that moves nobody to the head.
        let returns = let_in && !self.waiting;
        let entry = Entry { returns, ..entry };
        self.tell_routing(&entry);
        let entered = self.sv.acd.enter(entry, self.news_tx.clone()).await;
        self.wishes.untold = entered.is_err();
        match entered {
            Ok(()) => {
                if std::mem::replace(&mut self.waiting, true) {
                    // They wait already, and asked for something more.
                    return;
                }
                let at = now_ms();
                self.times.queue_at.get_or_insert(at);
                if self.times.operator_answer_at.is_some() {
                    self.times.back_at.get_or_insert(at);
                }
                self.set_stage(Stage::Queue);
                let patch = CallPatch {
                    queue_at: self.times.queue_at,
                    queue: Some(self.queue.clone()),
                    ..CallPatch::default()
                };
                self.story.patch(patch);
                self.story.event("queue_enter", serde_json::json!({ "queue": self.queue, "lane": self.lane.as_str() }));
            }
            Err(AcdError::Refused(why @ (Refused::Full | Refused::Closed))) => {
                let (why, event) = match why {
                    Refused::Closed => (NotQueued::Closed, "queue_closed"),
                    _ => (NotQueued::Full, "queue_full"),
                };
                self.story.event(event, serde_json::json!({ "queue": self.queue }));
                self.turn_away(why, "queue full");
            }
            Err(e) => {
                warn!(call = %self.call, error = %e, "queue");
                self.story.event("queue_unavailable", serde_json::json!({ "queue": self.queue }));
                // No place for them, whatever the reason: a callback or a message is better than the bare end.
                self.turn_away(NotQueued::Full, "no queue");
            }
        }
    }

    /// The queue's owner has something to say.
    pub(crate) async fn on_news(&mut self, news: CallNews) {
        match news {
            CallNews::Offer(operator) => self.ring(operator).await,
            CallNews::Withdraw { operator } => self.stop_ringing(&operator),
            CallNews::Moved { queue } => self.queue_is(queue),
            CallNews::Overflow { red } => self.overflow(red).await,
            CallNews::WaitedTooLong => {
                self.overdue = self.waiting;
                if self.waiting && self.is_served() {
                    self.story.event("wait_over_served", serde_json::json!({ "queue": self.queue }));
                }
            }
            CallNews::OnlyBarred => self.tell_of_recusal().await,
        }
    }

    /// Who has waited too long is sent away, unless they are being served just now; danger isn't.
    pub(crate) async fn judge_wait(&mut self) {
        if !self.waiting {
            self.overdue = false;
        } else if self.overdue && !self.is_served() && self.lane != Lane::Red {
            self.too_long().await;
        }
    }

    /// They speak a message, or somebody has picked up for them.
    pub(crate) fn is_served(&self) -> bool {
        self.machine.is_recording()
            || self.operator.as_ref().is_some_and(|o| o.picked_up.is_some())
            || self.on_call.as_ref().is_some_and(|c| c.asks())
    }

    pub(crate) async fn too_long(&mut self) {
        self.overdue = false;
        self.leave_queue().await;
        self.story.event("waited_too_long", serde_json::json!({ "queue": self.queue }));
        self.turn_away(NotQueued::TooLong, "waited too long");
    }

    /// The caller waits in this queue now.
    pub(crate) fn queue_is(&mut self, queue: String) {
        if self.waiting && queue != self.queue {
            self.story.patch(CallPatch { queue: Some(queue.clone()), ..CallPatch::default() });
            self.queue = queue;
            self.set_stage(self.stage);
        }
    }

    /// The flow says what the citizen can do instead of waiting; one that says nothing gets the last words.
    fn turn_away(&mut self, why: NotQueued, reason: &'static str) {
        if self.machine.handles(why) {
            self.input(Input::NotQueued(why));
        } else {
            self.farewell("callback_done", reason);
        }
    }

    fn danger(&self) {
        self.sv.metrics.red_lane.inc();
        let data = serde_json::json!({ "call": self.call, "queue": self.queue });
        self.sv.events.publish("red", crate::events::Audience::Leaders, None, data);
        warn!(call = %self.call, "red lane: the citizen reports danger");
    }

    /// Says why, then hangs up: the citizen is called back as a missed call.
    fn farewell(&mut self, prompt: &str, reason: &'static str) {
        let clips = self.sv.voice.clips(&[Say::Prompt(prompt.to_owned())]);
        let length = clips.iter().map(|c| c.duration_ms()).sum::<u64>();
        self.play_next += 1;
        self.sv.media.play(self.citizen.id(), self.play_next, clips, false);
        self.farewell_until = Some((Instant::now() + Duration::from_millis(length), reason));
    }

    pub(crate) async fn set_lane(&mut self, lane: Lane) {
        self.lane = lane;
        if self.waiting {
            self.sv.acd.set_lane(&self.call.to_string(), lane).await;
        }
        if lane == Lane::Red {
            self.danger();
        }
        self.story.event("lane", serde_json::json!({ "lane": lane.as_str() }));
    }

    pub(crate) async fn leave_queue(&mut self) {
        if !self.waiting {
            return;
        }
        self.waiting = false;
        self.drop_on_call("caller left the queue");
        self.sv.acd.leave(&self.call.to_string()).await;
        if let Some(operator) = self.operator.take_if(|o| !o.talking) {
            operator.leg.let_go(&self.sv.sip, "caller left");
            self.release_leg(&operator.leg);
            self.story
                .event("operator_ring_end", serde_json::json!({ "operator": operator.who.id, "why": "caller_left" }));
            self.tell_left(&operator.who.id, "caller_left");
        }
    }

    async fn next_flow(&mut self, name: &str) {
        if name == "survey" && self.sv.config.voice.survey_off {
            self.end_line(Side::System, "no survey");
            return;
        }
        let Some(flow) = self.sv.voice.flow(name) else {
            warn!(call = %self.call, flow = name, "no such flow");
            self.end_line(Side::System, "no such flow");
            return;
        };
        let vars = if name == "callback" { self.task_vars().await } else { BTreeMap::new() };
        self.machine = Machine::new(Arc::clone(&flow), vars);
        self.input(Input::Start);
    }
}

const fn from_flow(lane: hotline_ivr::Lane) -> Lane {
    match lane {
        hotline_ivr::Lane::Red => Lane::Red,
        hotline_ivr::Lane::Callback => Lane::Callback,
        hotline_ivr::Lane::Normal => Lane::Normal,
    }
}
