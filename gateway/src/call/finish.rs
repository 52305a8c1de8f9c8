//! After the line is gone: everything that still owes a row.

use std::time::Duration;

use hotline_db::{CallEnd, CallbackKind, CallbackTask, Id, NewCallback, NewSurvey};
use hotline_ivr::Input;
use hotline_sip::Event;
use tracing::{error, info, warn};

use super::control::Control;
use super::driver::{Driver, Origin, Side, Stage, Verdict};
use super::recording::{Purpose, TALK_MAX_MS};
use crate::app::Services;
use crate::clock::now_ms;
use crate::net::sip::session_of;
use crate::patience::patiently;

/// A recording's last write may wait so long for a stalled disk; the start-up repair finishes it otherwise.
const RECORDING_WAIT_S: u64 = 15;

/// The legs' figures are waited for so long.
const LEGS_WAIT: Duration = Duration::from_secs(2);

/// A peer's Reason text is kept so far.
const REASON_CHARS_MAX: usize = 150;

/// Why an operator's call came to nothing by our doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// The operator took it back before anybody picked up.
    TakenBack,
    /// The operator's phone failed before anybody picked up.
    PhoneFailed,
    /// The operator left as the citizen picked up, and nobody else took them.
    OperatorLeft,
}

impl Spoilt {
    /// Of a call that ended while the citizen was being called.
    pub(super) fn by(ended_by: Option<Side>) -> Self {
        if ended_by == Some(Side::Operator) { Self::TakenBack } else { Self::PhoneFailed }
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Finished {
    /// Call id.
    pub call: Id,
    /// The citizen picked up.
    pub answered: bool,
    /// Their phone rang (180/183) or was picked up: without it a 408 says nothing about the citizen.
    pub rang: bool,
    /// An operator talked with them.
    pub talked: bool,
    /// Final status where nobody picked up.
    pub failed: Option<u16>,
    /// What our side did, where that is why nobody talked with the citizen.
    pub spoilt: Option<Spoilt>,
    /// Answers given.
    pub verdict: Verdict,
    /// Why the line ended, in the flow's or the network's words.
    pub reason: String,
    /// Recording with spoken reasons.
    pub reasons: Option<Id>,
}

impl Driver {
    /// Our own call: rings the citizen, then runs like any other.
    pub(crate) async fn ring_citizen(mut self: Box<Self>, task: &CallbackTask) -> Finished {
        let kind = task.kind;
        let (mut rang, mut redirects) = (false, 0);
        loop {
            let event = tokio::select! {
                event = self.sip_events.recv() => event.map(|event| *event),
                control = self.control.recv() => {
                    if let Some(control) = control {
                        Box::pin(self.on_control(*control)).await;
                    }
                    if self.line_ended_by.is_none() { continue; }
                    None
                }
            };
            match event {
                // A session we have moved on from.
                Some(event) if session_of(&event).is_some_and(|id| id != self.citizen.session) => {}
                Some(Event::Answered { sdp, .. }) => return Box::pin(self.citizen_picked_up(sdp, kind)).await,
                Some(Event::Failed { code, .. })
                    if self.citizen.dial_plain(&self.sv.sip, self.sip_tx.clone(), code) =>
                {
                    self.name_leg(self.citizen.session, "trunk", true);
                }
                Some(Event::Failed { code, reason, retry_after_s, contacts, .. }) => {
                    if self.try_next_trunk(code, &reason, retry_after_s, rang) {
                        continue;
                    }
                    if (300..400).contains(&code) && redirects < self.sv.config.dialout.redirects_max {
                        redirects += 1;
                        if Box::pin(self.follow_redirect(&contacts, task)).await {
                            continue;
                        }
                    }
                    self.end_line(Side::Network, &format!("{code} {reason}"));
                    return Finished { rang, ..self.finish_failed(code).await };
                }
                Some(Event::Progress { code, .. }) => rang |= matches!(code, 180 | 183),
                // An UPDATE before the call is up (RFC 3311 §5.2): a carrier changes its codecs or address.
                Some(Event::Reoffer { sdp, .. }) => self.citizen_reoffer(sdp),
                Some(Event::Ended { .. } | Event::Cancelled { .. }) | None => {
                    self.end_line(Side::System, "ended while ringing");
                    return Finished { rang, ..self.finish_failed(487).await };
                }
                Some(_) => {}
            }
        }
    }

    async fn citizen_picked_up(mut self: Box<Self>, sdp: Option<Vec<u8>>, kind: CallbackKind) -> Finished {
        match sdp.map(|answer| self.citizen.take_answer(&self.sv.media, &answer)) {
            Some(Ok(settled)) => self.write_answered(Some(settled)).await,
            other => {
                info!(call = %self.call, ?other, "the citizen's answer can't be used");
                self.end_line(Side::System, "488 unusable answer");
                return self.finish_failed(488).await;
            }
        }
        if kind == CallbackKind::CaseFinished {
            // Every callback is recorded and linked (domain rules §4).
            self.start_recording(Purpose::Callback, TALK_MAX_MS).await;
        }
        self.run().await
    }

    async fn finish_failed(self: Box<Self>, code: u16) -> Finished {
        let mut finished = Box::pin(self.finish()).await;
        finished.failed = Some(code);
        finished
    }

    /// Lets go of everything and writes the end.
    pub(crate) async fn finish(mut self: Box<Self>) -> Finished {
        let ended_at = now_ms();
        self.refuse_consults().await;
        let (line_side, line_reason) = self.line_ended_by.clone().unwrap_or((Side::System, "unknown".into()));
        let stage_at_end = self.stage;
        self.input(Input::HungUp);
        self.flow_leftovers().await;
        self.leave_queue().await;
        self.drop_on_call("line ended");
        self.drop_transfer();
        if self.operator.is_some() {
            self.talk_over(line_side, "line_ended").await;
        }
        self.stop_recording();
        self.pass_on_lent();
        self.sv.media.stop_play(self.citizen.id());
        self.sv.sip.hang_up(self.citizen.session, &line_reason);
        self.sv.media.close_leg(self.citizen.id());
        self.await_recordings().await;
        self.await_legs().await;
        let end = self.end_row(ended_at, line_side, &line_reason, stage_at_end);
        self.tell_talk_survey(ended_at);
        // Before the rows: a database that is away must hold no operator.
        self.sv.acd.ended(&self.call.to_string()).await;
        self.story.end(end).await;
        for leg in self.released_legs.iter().chain([&self.citizen.id()]) {
            self.sv.media_routes.remove(*leg);
        }
        self.sv.live.remove(&self.call.to_string());
        self.sv.trace.done(self.call, now_ms());

        let talked = self.times.operator_answer_at.is_some();
        Finished {
            talked,
            answered: self.answered,
            rang: self.answered,
            failed: None,
            spoilt: (self.left_notice && !talked).then_some(Spoilt::OperatorLeft),
            reason: line_reason,
            verdict: self.verdict,
            reasons: self.verdict_recording,
            call: self.call,
        }
    }

    /// A phone that called a colleague in this very moment must not ring for nothing; later ones are
    /// refused where they come in, because nobody listens here any more.
    async fn refuse_consults(&mut self) {
        self.control.close();
        while let Some(control) = self.control.recv().await {
            if let Control::Consult(new) = *control {
                self.sv.sip.reject(new.id, 486, "");
            }
        }
    }

    /// The flow's last words after a hang-up: answers and events count, prompts don't.
    async fn flow_leftovers(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                hotline_ivr::Output::Answer { key, value } => drop(self.verdict.insert(key, value)),
                hotline_ivr::Output::LeaveQueue { reason } => self.served_otherwise = Some(reason),
                hotline_ivr::Output::Event { kind, node, detail } => {
                    self.story.event(kind.as_str(), serde_json::json!({ "node": node, "detail": detail }));
                }
                _ => {}
            }
        }
    }

    async fn await_recordings(&mut self) {
        let until = tokio::time::Instant::now() + Duration::from_secs(RECORDING_WAIT_S);
        while !self.recordings_pending.is_empty() {
            match tokio::time::timeout_at(until, self.media_events.recv()).await {
                Ok(Some(event)) => self.on_media(*event).await,
                Ok(None) | Err(_) => {
                    error!(call = %self.call, pending = self.recordings_pending.len(), "recording not finished in time: the start-up repair will finish it");
                    return;
                }
            }
        }
    }

    /// The legs' figures belong to the end; a media thread hands them over at once.
    async fn await_legs(&mut self) {
        let until = tokio::time::Instant::now() + LEGS_WAIT;
        loop {
            let mut legs = self.released_legs.iter().chain(Some(&self.citizen.media.id));
            if legs.all(|leg| self.sound.has_closed(*leg)) {
                return;
            }
            match tokio::time::timeout_at(until, self.media_events.recv()).await {
                Ok(Some(event)) => self.on_media(*event).await,
                Ok(None) | Err(_) => {
                    warn!(call = %self.call, "legs' figures are missing: a media thread is late");
                    return;
                }
            }
        }
    }

    fn end_row(&mut self, at: i64, line_side: Side, line_reason: &str, stage: Stage) -> CallEnd {
        let (side, reason) = match self.talk_ended_by {
            Some((side, how)) => (side, format!("{how}; line: {} {line_reason}", line_side.row().as_str())),
            None => (line_side, line_reason.to_owned()),
        };
        let talked = self.times.operator_answer_at.is_some();
        let wait_ms = self.times.queue_at.map_or(0, |q| self.times.operator_answer_at.unwrap_or(at) - q);
        // Who waited again after a talk ends it where the waiting began, if nobody took them any more.
        let talk_end = self.times.back_at.or(self.times.talk_end_at).unwrap_or(at);
        let talk_ms = self.times.operator_answer_at.map_or(0, |a| (talk_end - a - self.times.back_ms).max(0));
        let abandoned = (!talked && self.served_otherwise.is_none() && self.origin == Origin::Inbound)
            .then(|| stage.as_str().to_owned());
        let (mos, legs) = (self.sound.mos(), std::mem::take(&mut self.sound.legs));
        CallEnd {
            at,
            mos,
            legs,
            end_side: side.row(),
            end_reason: reason.chars().take(REASON_CHARS_MAX).collect(),
            stage_abandoned: abandoned.clone(),
            wait_ms: self.times.queue_at.is_some().then_some(wait_ms),
            talk_ms: talked.then_some(talk_ms),
            hold_ms: talked.then_some(self.times.hold_ms),
            wrap_ms: None,
            missed: self.missed_task(at, abandoned.is_some(), side),
            served: talked && self.origin == Origin::Inbound,
        }
    }

    /// Nobody is lost (domain rule 2.2): unanswered, or cut off by the network or by us. A withheld number
    /// leaves a task too: it ends as 免回访 and is counted. Who left a message is called back about it.
    fn missed_task(&self, at: i64, abandoned: bool, side: Side) -> Option<NewCallback> {
        let cut = self.times.operator_answer_at.is_some() && matches!(side, Side::Network | Side::System);
        if self.origin != Origin::Inbound {
            return None;
        }
        let left_message = self.served_otherwise.as_deref() == Some("message_left");
        let kind = match (left_message, abandoned || cut) {
            (true, _) => CallbackKind::Message,
            (false, true) => CallbackKind::Missed,
            (false, false) => return None,
        };
        let due = self.sv.rules.next_awake(at);
        Some(NewCallback { call: Some(self.call), party: self.party, ..NewCallback::new(kind, due) })
    }

    /// 通话后评价: the verdict on the talk itself; it decides nothing about a case.
    fn tell_talk_survey(&self, at: i64) {
        let answers = crate::callback::verdict::read(&self.verdict);
        if self.origin != Origin::Inbound || answers.satisfied.is_none() {
            return;
        }
        let survey = NewSurvey {
            call: Some(self.call),
            satisfied: answers.satisfied,
            reason_recording: self.verdict_recording,
            at,
            ..NewSurvey::default()
        };
        self.story.survey(survey);
    }
}

/// A call of ours that never left this machine still has its end.
pub(crate) async fn end_unplaced(sv: &Services, call: Id, why: &str) {
    let end = CallEnd {
        at: now_ms(),
        end_side: hotline_db::EndSide::System,
        end_reason: format!("not placed: {why}"),
        stage_abandoned: None,
        wait_ms: None,
        talk_ms: None,
        hold_ms: None,
        wrap_ms: None,
        mos: None,
        legs: Vec::new(),
        missed: None,
        served: false,
    };
    if let Err(e) = patiently("end of call", || sv.store.call_end(call, end.clone())).await {
        error!(%call, error = %e, "end of call not written");
    }
}
