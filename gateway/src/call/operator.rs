//! Ringing an operator, the talk, and its end.

use std::time::Instant;

use hotline_db::CallPatch;
use hotline_ivr::Input;
use hotline_sip::{Dial, DialError, EndedBy, Event, Target};
use tracing::info;

use super::driver::{Driver, Side, Stage};
use super::leg::{Leg, Settled, Speaks};
use super::nailed_up::Borrowed;
use super::operator_leg::HeldBy;
use super::phone_media::phone_security;
use super::pick_up::{UNUSABLE, headers};
use super::trust::trust_in_account;
use crate::acd::{Decline, OperatorRef};
use crate::clock::now_ms;
use crate::intake::accept;

/// Why a phone wasn't rung.
pub(crate) struct RingError {
    pub(crate) why: String,
    /// For want of a session or a port here: the phone and its operator are well.
    pub(crate) is_ours: bool,
}

impl RingError {
    pub(crate) const fn phones(why: String) -> Self {
        Self { why, is_ours: false }
    }

    pub(crate) const fn ours(why: String) -> Self {
        Self { why, is_ours: true }
    }
}

const fn blame(is_ours: bool) -> Decline {
    if is_ours { Decline::NoRoom } else { Decline::Device }
}

impl Driver {
    /// The queue offers an operator: ring their phone.
    pub(crate) async fn ring(&mut self, who: OperatorRef) {
        if self.waiting
            && self.line_ended_by.is_none()
            && let Some(rung) = self.operator.as_ref().filter(|o| !o.talking)
        {
            // An owner rebuilt meanwhile, here or elsewhere, knows nothing of this ring: the caller waits all the same.
            if rung.who.id != who.id {
                self.sv.acd.declined(&self.call.to_string(), &who.id, Decline::NoRoom).await;
            }
            return;
        }
        if !self.waiting || self.operator.is_some() || self.line_ended_by.is_some() {
            self.sv.acd.declined(&self.call.to_string(), &who.id, Decline::CallerLeft).await;
            return;
        }
        if self.refuse_barred(&who).await {
            return;
        }
        let rung = match self.sv.desk_phones.number(&who) {
            Some(number) => Box::pin(self.ring_outside(who.clone(), number)).await,
            None => self.ring_desk(who.clone()),
        };
        match rung {
            Ok(operator) => {
                self.story.event("operator_ring", serde_json::json!({ "operator": who.id }));
                self.operator = Some(operator);
                self.set_stage(self.stage);
                self.tell_call();
            }
            Err(RingError { why, is_ours }) => {
                info!(call = %self.call, operator = %who.name, why, "operator's phone can't be rung");
                self.story.event("operator_unreachable", serde_json::json!({ "operator": who.id, "why": why }));
                self.sv.acd.declined(&self.call.to_string(), &who.id, blame(is_ours)).await;
            }
        }
    }

    /// The queue took the offer back: it knows already that this ring is over.
    pub(crate) fn stop_ringing(&mut self, operator: &str) {
        if let Some(operator) = self.operator.take_if(|o| !o.talking && o.who.id == operator) {
            operator.leg.let_go(&self.sv.sip, "offer withdrawn");
            self.release_leg(&operator.leg);
            self.story
                .event("operator_ring_end", serde_json::json!({ "operator": operator.who.id, "why": "withdrawn" }));
            self.set_stage(self.stage);
        }
    }

    /// The operator's nailed-up leg, where it is up: for the call it is a phone that answers at once. For a citizen of the
    /// queue's, and for who asked for it themselves: a colleague asked in hears it ring.
    pub(crate) fn borrow_line(&self, who: &OperatorRef) -> Result<Option<Leg>, RingError> {
        match self.sv.lines.borrow(who, self.citizen.id(), &self.sip_tx, &self.media_tx) {
            Borrowed::Leg(leg) => Ok(Some(*leg)),
            Borrowed::InUse => Err(RingError::ours("the nailed-up leg is in use".to_owned())),
            Borrowed::Mute => Err(RingError::phones("the nailed-up leg is on hold or silent".to_owned())),
            Borrowed::None => Ok(None),
        }
    }

    pub(crate) fn dial_operator(&self, who: &OperatorRef, answers_itself: bool) -> Result<Leg, RingError> {
        let security = phone_security(&self.sv, who).map_err(RingError::phones)?;
        let media = self.sv.media.open_leg_beside(self.citizen.id()).map_err(|e| RingError::ours(e.to_string()))?;
        self.sv.media_routes.add(media.id, self.media_tx.clone());
        let trust = trust_in_account(&self.sv.config, &self.sv.sip, &who.sip_user);
        let dial = Dial {
            target: Target::Binding { user: who.sip_user.clone() },
            from: self.did.clone(),
            display: Some(match accept::shown(self.number.as_ref(), self.withheld) {
                shown if shown.is_empty() => "anonymous".to_owned(),
                shown => shown,
            }),
            to: None,
            sdp: Vec::new(),
            credentials: None,
            ring_timeout_ms: self.sv.config.queue(&self.queue).ring_timeout_s * 1000,
            first_response_ms: None,
            extra_headers: headers(&self.call.to_string(), answers_itself),
        };
        let speaks = Speaks::phone(&self.sv.config, &self.citizen, self.sv.desk_phones.is_home(&who.id));
        match Leg::dial(&self.sv.sip, self.sip_tx.clone(), media, speaks, security, trust, dial) {
            Ok(leg) => {
                self.name_leg(leg.session, &who.sip_user, false);
                Ok(leg)
            }
            Err(e) => {
                self.sv.media.close_leg(media.id);
                self.sv.media_routes.remove(media.id);
                let is_ours = e == DialError::TooManySessions;
                Err(RingError { why: e.to_string(), is_ours })
            }
        }
    }

    /// The phone refused our encrypted offer: once more, where that is permitted.
    fn ring_plain(&mut self, code: u16) -> bool {
        let (sip, events) = (&self.sv.sip, self.sip_tx.clone());
        let Some(operator) = self.operator.as_mut().filter(|o| !o.talking) else { return false };
        if !operator.leg.dial_plain(sip, events, code) {
            return false;
        }
        let (session, phone) = (operator.leg.session, operator.who.sip_user.clone());
        self.name_leg(session, &phone, false);
        true
    }

    pub(crate) async fn on_operator(&mut self, event: Event) {
        match event {
            Event::Answered { sdp, .. } => self.operator_answered(sdp).await,
            Event::Failed { code, .. } if self.ring_plain(code) => {}
            Event::Failed { code, reason, retry_after_s, .. }
                if self.operator_over_next_trunk(code, &reason, retry_after_s) => {}
            Event::Failed { code, .. } => self.operator_failed(code).await,
            Event::Progress { code: 180 | 183, .. } => {
                if let Some(operator) = &mut self.operator {
                    operator.rang = true;
                }
            }
            Event::Ended { .. } if !self.talks() => self.operator_failed(UNUSABLE).await,
            Event::Ended { by, .. } => {
                if self.goes_on_without_operator().await {
                    info!(call = %self.call, ?by, "the operator's phone has left, others go on with the citizen");
                } else if by == EndedBy::Remote {
                    self.talk_over(Side::Operator, "operator_bye").await;
                } else {
                    self.operator_lost().await;
                }
            }
            Event::Dtmf { digit, .. } => self.operator_presses(digit).await,
            Event::Confirmed { sdp: Some(answer), .. } => self.phone_confirmed(&answer).await,
            Event::Transfer { id, target, .. } => self.on_refer(id, target).await,
            Event::Reoffer { sdp, .. } => self.operator_reoffer(sdp).await,
            Event::ReofferAnswered { code, sdp, .. } => {
                self.phone_answers(code);
                let Some(answer) = sdp.filter(|_| code < 300) else { return };
                match self.operator.as_ref().map(|o| o.leg.take_answer(&self.sv.media, &answer)) {
                    Some(Ok(settled)) => self.note_encryption("operator", settled.srtp),
                    Some(Err(e)) => info!(call = %self.call, error = %e, "answer to our offer can't be used"),
                    None => {}
                }
            }
            _ => {}
        }
    }

    async fn operator_answered(&mut self, sdp: Option<Vec<u8>>) {
        let Some(operator) = self.operator.as_mut() else { return };
        let agreed = sdp
            .ok_or_else(|| "no session description".to_owned())
            .and_then(|answer| operator.leg.take_answer(&self.sv.media, &answer).map_err(|e| e.to_string()));
        let settled = match agreed {
            Ok(settled) => settled,
            Err(why) => {
                info!(call = %self.call, why, "operator's phone answered with nothing usable");
                self.sv.sip.hang_up(operator.leg.session, "488");
                // Some phones refuse encryption with a 200 that has no audio (RFC 3264 §6).
                if !self.ring_plain(488) {
                    self.operator_failed(488).await;
                }
                return;
            }
        };
        self.picked_up(settled).await;
    }

    /// The phone that rang, or one in its place, is picked up.
    pub(crate) async fn begin_talk(&mut self, settled: Option<Settled>) {
        let Some(operator) = self.operator.as_mut() else { return };
        (operator.talking, operator.picked_up) = (true, None);
        let id = operator.who.id.clone();
        let at = now_ms();
        self.waiting = false;
        self.times.talk_end_at = None;
        self.talk_ended_by = None;
        let waits_since = match self.times.back_at.take() {
            Some(back_at) => {
                self.times.back_ms += (at - back_at).max(0);
                Some(back_at)
            }
            None => self.times.queue_at,
        };
        self.times.operator_answer_at.get_or_insert(at);
        // Whom we call waits in no queue.
        if let Some(waits_since) = waits_since {
            #[allow(clippy::cast_precision_loss, reason = "a histogram of seconds")]
            self.sv.metrics.queue_wait_seconds.observe((at - waits_since).max(0) as f64 / 1000.0);
        }
        // Somebody on call outside is no operator of the queue's.
        if !id.is_empty() {
            self.sv.acd.connected(&self.call.to_string(), &id).await;
        }
        // The flow stops its prompt first: recording and bridge begin with the talk.
        self.input(Input::OperatorFree);
        self.drain_flow().await;
        // Music of ours the flow knows nothing of: the citizen has talked to somebody before.
        self.play_next += 1;
        self.desk.music_follows = false;
        self.sv.media.stop_play(self.citizen.id());
        self.record_talk().await;
        self.connect();
        self.set_stage(Stage::Talk);
        let answer_at = self.times.operator_answer_at;
        let patch = CallPatch { operator_answer_at: answer_at, operator: id.parse().ok(), ..CallPatch::default() };
        self.story.patch(patch);
        self.story.event("talk_start", serde_json::json!({ "operator": id }));
        self.note_encryption("operator", settled.and_then(|s| s.srtp));
        self.tell_faults();
    }

    pub(crate) async fn operator_failed(&mut self, code: u16) {
        let Some(operator) = self.operator.take() else { return };
        self.release_leg(&operator.leg);
        let why = match code {
            408 | 480 | 487 => Decline::NoAnswer,
            486 | 600 | 603 => Decline::Refused,
            _ => Decline::Device,
        };
        self.story.event("operator_declined", serde_json::json!({ "operator": operator.who.id, "code": code }));
        self.sv.acd.declined(&self.call.to_string(), &operator.who.id, why).await;
        self.set_stage(self.stage);
        self.tell_left(&operator.who.id, "declined");
    }

    /// The talk is over; the citizen stays on the line unless it was them who left.
    pub(crate) async fn talk_over(&mut self, side: Side, how: &'static str) {
        self.drop_transfer();
        let Some(operator) = self.operator.take() else { return };
        self.hold_ended();
        self.desk.operator_left(&operator.who.id);
        self.times.talk_end_at.get_or_insert_with(now_ms);
        self.connect();
        self.dismiss_guests();
        self.stop_talk_recording();
        operator.leg.let_go(&self.sv.sip, how);
        self.release_leg(&operator.leg);
        self.free_on_call();
        if self.talk_ended_by.is_none() {
            self.talk_ended_by = Some((side, how));
        }
        self.sv.acd.released(&self.call.to_string(), &operator.who.id).await;
        self.story.event(
            "talk_end",
            serde_json::json!({ "by": side.row().as_str(), "how": how, "operator": operator.who.id }),
        );
        self.tell_left(&operator.who.id, how);
        self.set_stage(Stage::After);
        if self.line_ended_by.is_none() {
            self.input(Input::TalkEnded);
        }
    }

    /// The operator's phone is gone, whatever the cause: a transfer that rings goes on, and so does whom they
    /// asked in. False: nobody is left for the citizen.
    pub(crate) async fn goes_on_without_operator(&mut self) -> bool {
        // First: two phones must not keep a line of their own beside the citizen's.
        self.end_consult(487);
        self.referrer_left().await || self.hand_over_to_guest().await
    }

    /// The phone is gone, the citizen isn't: back to the queue, before everybody who never spoke to anyone.
    pub(crate) async fn operator_lost(&mut self) {
        self.end_consult(487);
        let Some(operator) = self.operator.take() else { return };
        self.hold_ended();
        self.desk.operator_left(&operator.who.id);
        self.connect();
        self.dismiss_guests();
        self.stop_talk_recording();
        self.release_leg(&operator.leg);
        self.free_on_call();
        self.sv.acd.released(&self.call.to_string(), &operator.who.id).await;
        self.tell_left(&operator.who.id, "phone_lost");
        self.story.event("operator_lost", serde_json::json!({ "operator": operator.who.id }));
        self.wait_again_told(self.queue.clone()).await;
    }

    async fn operator_reoffer(&mut self, sdp: Option<Vec<u8>>) {
        let Some(operator) = self.operator.as_ref() else { return };
        let session = operator.leg.session;
        let Some(offer) = sdp else {
            self.sv.sip.answer_reoffer(session, &operator.leg.offer());
            return;
        };
        match operator.leg.answer(&self.sv.media, &offer) {
            Ok((answer, negotiated)) => {
                self.sv.sip.answer_reoffer(session, &answer);
                self.note_encryption("operator", negotiated.srtp);
                self.hold(HeldBy::Phone, negotiated.they_hold).await;
            }
            Err(e) => {
                info!(call = %self.call, error = %e, "re-offer refused");
                self.sv.sip.reject_reoffer(session, 488);
            }
        }
    }

    /// Music for the citizen while the operator looks something up.
    pub(crate) async fn hold(&mut self, by: HeldBy, on: bool) {
        let citizen = self.citizen.id();
        let Some(operator) = self.operator.as_mut().filter(|o| o.talking) else { return };
        let held = operator.holds.any();
        operator.holds.set(by, on);
        let on = operator.holds.any();
        if on == held {
            return;
        }
        if self.transfer.is_some() {
            // The citizen hears music already.
            return;
        }
        if on {
            self.times.hold_since = Some(now_ms());
            self.connect();
            let music = self.sv.voice.clips(&[hotline_ivr::Say::Prompt("hold_music".into())]);
            self.play_next += 1;
            self.sv.media.play(citizen, self.play_next, music, true);
        } else {
            self.hold_ended();
            self.sv.media.stop_play(citizen);
            self.connect();
            self.tell_faults();
        }
        self.story.event("hold", serde_json::json!({ "on": on }));
        self.tell_call();
    }

    pub(crate) fn hold_ended(&mut self) {
        if let Some(since) = self.times.hold_since.take() {
            self.times.hold_ms += (now_ms() - since).max(0);
        }
    }

    /// The call has done with this leg; one that is lent goes back, before its operator is offered the next citizen.
    pub(crate) fn release_leg(&mut self, leg: &Leg) {
        if let Some(loan) = leg.loan() {
            loan.note_silent(self.phone_watch.is_silent(leg.id()));
            loan.give_back();
            self.phone_watch.forget(leg.id());
            return self.forget_sound(leg.id());
        }
        self.sv.media.close_leg(leg.id());
        self.released_legs.push(leg.id());
    }

    /// How long the citizen has been silent on the network, if they are.
    pub(crate) fn silent_for(&self) -> Option<std::time::Duration> {
        self.times.last_heard.map(|t| Instant::now().duration_since(t))
    }
}
