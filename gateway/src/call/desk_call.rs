//! An operator calls a citizen for a task (domain rule 2.4: no call without one). Their own phone rings first; the
//! citizen is dialled once it is picked up and never waits for anybody.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hotline_db::{CallbackKind, CallbackTask, Direction};
use hotline_ivr::{Machine, Say};
use hotline_media::sdp::Security;
use hotline_sip::{EndedBy, Event, SessionId};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::action::{Vars, callback_vars};
use super::control::{Control, ControlError, Outcome, SHUTDOWN, Wish};
use super::driver::{Driver, Origin, Side};
use super::finish::{Finished, Spoilt};
use super::leg::{Leg, Speaks};
use super::operator::RingError;
use super::outside;
use super::start::{Mailboxes, announce, build};
use super::state::View;
use super::trust::trust_in_trunk;
use crate::acd::{Lane, OperatorRef};
use crate::app::Services;
use crate::callback::schedule::Owed;
use crate::clock::now_ms;
use crate::dialout::{self, Purpose, Wish as DialWish};
use crate::intake::accept::{self, PhoneContact};
use crate::net::media::MediaEvent;
use crate::net::sip::session_of;
use crate::privacy::Pii;

/// The citizen's leg before it is dialled: no session has this number.
const UNPLACED: SessionId = SessionId(u64::MAX);
/// Plays to the operator have numbers of their own.
pub(super) const OPERATOR_PLAY: u64 = 0;

/// Rings `who`, then calls the citizen. `began` hears at once whether the phone rings. `None`: the citizen was not
/// called, and the task is as it was.
pub async fn from_desk(
    sv: Arc<Services>,
    task: CallbackTask,
    number: Pii<String>,
    who: OperatorRef,
    began: oneshot::Sender<Outcome>,
) -> Option<Finished> {
    match Box::pin(prepare(&sv, &task, &number)).await {
        Ok(driver) => driver.call_for_task(task, number, who, began).await,
        Err(why) => {
            warn!(task = %task.id, why, "an operator's call can't begin");
            let _ = began.send(Err(ControlError::Outside(why)));
            None
        }
    }
}

async fn prepare(sv: &Arc<Services>, task: &CallbackTask, number: &Pii<String>) -> Result<Box<Driver>, String> {
    let is_finished = task.kind == CallbackKind::CaseFinished;
    let flow = sv.voice.flow(if is_finished { "desk_finished" } else { "desk" }).ok_or("flow missing")?;
    let media = sv.media.open_leg().map_err(|e| e.to_string())?;
    let did = sv.config.hotlines.first().map_or_else(|| "hotline".to_owned(), |h| h.number.clone());
    let contact = PhoneContact {
        direction: Direction::Outbound,
        did: did.clone(),
        number: Some(number.clone()),
        withheld: false,
        trunk: None,
        sip_call_id: String::new(),
        at: now_ms(),
    };
    let accepted = accept::phone_call(sv, contact).await.map_err(|e| {
        sv.media.close_leg(media.id);
        e.to_string()
    })?;
    let (sip_tx, sip_events) = mpsc::channel(64);
    let speaks = Speaks::trunk(&sv.config, None);
    let leg =
        Leg::incoming(UNPLACED, media, speaks, Security::Plain, trust_in_trunk(None, Ipv4Addr::UNSPECIFIED.into()));
    let mailboxes = Mailboxes { sip_tx, sip_events };
    let machine = Machine::new(flow, BTreeMap::new());
    let mut driver = build(sv, accepted.call, Origin::Task(task.id), mailboxes, leg, machine);
    driver.did = did;
    driver.party = accepted.party;
    driver.number = Some(number.clone());
    driver.lane = Lane::Callback;
    driver.queue = sv.config.first_queue();
    announce(&driver);
    sv.metrics.calls_out.inc();
    Ok(driver)
}

/// How far such a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The operator's phone rings.
    Phone,
    /// The citizen is being called.
    Citizen {
        /// Their phone rang.
        rang: bool,
        /// Redirections followed.
        redirects: u32,
    },
    /// The citizen has picked up; both hear that the call is recorded.
    Notice,
}

/// What one event made of it.
pub(super) enum Turn {
    Goes(Step),
    /// The citizen has picked up and knows of the recording.
    Talk,
    /// Nobody talks: the citizen's phone ended with this status, or the call was taken back or never placed.
    Over(Option<u16>),
}

impl Driver {
    /// What a citizen called for a task is told about it.
    pub(crate) async fn task_vars(&self) -> Vars {
        let Origin::Task(task) = self.origin else { return Vars::new() };
        let task = self.sv.store.callback_get(task).await.ok().flatten();
        let item = task.and_then(|task| task.item);
        Box::pin(callback_vars(&self.sv.store, item, self.sv.config.site.utc_offset_min)).await
    }

    async fn call_for_task(
        mut self: Box<Self>,
        task: CallbackTask,
        number: Pii<String>,
        who: OperatorRef,
        began: oneshot::Sender<Outcome>,
    ) -> Option<Finished> {
        let operator = match self.ring_desk(who.clone()) {
            Ok(operator) => operator,
            Err(RingError { why, .. }) => {
                info!(call = %self.call, why, "the operator's own phone can't be rung");
                let _ = began.send(Err(ControlError::NoPhone));
                self.end_line(Side::System, "phone can't be rung");
                Box::pin(self.finish()).await;
                return None;
            }
        };
        self.sv.acd.engaged(&self.call.to_string(), &who.id, &self.news_tx);
        self.story.event("desk_call", json!({ "operator": who.id, "task": task.id }));
        self.operator = Some(operator);
        self.set_stage(self.stage);
        self.tell_call();
        let _ = began.send(Ok(self.state(View::Operator)));
        let mut step = Step::Phone;
        let code = loop {
            step = match Box::pin(self.desk_turn(step, &task, &number)).await {
                Turn::Goes(step) => step,
                Turn::Talk => return Some(self.desk_talk(task.kind).await),
                Turn::Over(code) => break code,
            };
        };
        self.drop_operator().await;
        let ended_by = self.line_ended_by.as_ref().map(|(side, _)| *side);
        let mut finished = Box::pin(self.finish()).await;
        match step {
            Step::Phone => return None,
            Step::Citizen { rang, .. } => {
                let by_us = code.is_none() && finished.reason != SHUTDOWN;
                finished.spoilt = by_us.then(|| Spoilt::by(ended_by));
                (finished.failed, finished.rang) = (code.or(Some(487)), rang);
            }
            Step::Notice => finished.rang = true,
        }
        Some(finished)
    }

    /// Waits for the next thing that happens.
    async fn desk_turn(&mut self, step: Step, task: &CallbackTask, number: &Pii<String>) -> Turn {
        let due = [self.pick_up_ends(), self.machine.poll_timeout()].into_iter().flatten().min();
        let too_late = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            event = self.sip_events.recv() => event,
            control = self.control.recv() => {
                let Some(control) = control else { return Turn::Over(None) };
                return self.desk_control(step, *control).await;
            }
            media = self.media_events.recv() => {
                let Some(media) = media else { return Turn::Over(None) };
                return self.desk_media(step, *media, task, number).await;
            }
            () = too_late => {
                return match step {
                    Step::Notice => self.notice_due().await,
                    _ => self.desk_over(Side::System, "phone without media"),
                };
            }
        };
        let Some(event) = event else { return self.desk_over(Side::System, "mailbox closed") };
        let id = session_of(&event);
        if let (Some(id), Event::Ended { .. } | Event::Failed { .. }) = (id, &*event) {
            self.note_lent_over(id).await;
        }
        if self.operator.as_ref().is_some_and(|o| Some(o.leg.session) == id) {
            return self.desk_phone(step, *event, task, number).await;
        }
        match step {
            Step::Citizen { rang, redirects } if id == Some(self.citizen.session) => {
                self.desk_citizen(rang, redirects, *event, task).await
            }
            Step::Notice if id == Some(self.citizen.session) => self.notice_citizen(*event).await,
            step => Turn::Goes(step),
        }
    }

    pub(super) fn desk_over(&mut self, side: Side, why: &str) -> Turn {
        self.end_line(side, why);
        Turn::Over(None)
    }

    /// What happens at the operator's phone.
    async fn desk_phone(&mut self, step: Step, event: Event, task: &CallbackTask, number: &Pii<String>) -> Turn {
        let (sip, events) = (&self.sv.sip, self.sip_tx.clone());
        let Some(operator) = self.operator.as_mut() else { return Turn::Over(None) };
        match event {
            Event::Answered { sdp, .. } if step == Step::Phone => {
                let agreed = sdp.map(|answer| operator.leg.take_answer(&self.sv.media, &answer));
                let Some(Ok(settled)) = agreed else {
                    sip.hang_up(operator.leg.session, "488");
                    if operator.leg.dial_plain(sip, events, 488) {
                        return Turn::Goes(step);
                    }
                    return self.desk_over(Side::System, "488 phone's answer");
                };
                self.note_encryption("operator", settled.srtp);
                if self.operator.as_ref().is_some_and(|o| o.leg.is_browser() && o.leg.loan().is_none()) {
                    self.await_media(settled);
                    return Turn::Goes(step);
                }
                self.call_citizen(task, number).await
            }
            Event::Failed { code, .. } => {
                if operator.leg.dial_plain(sip, events, code) {
                    return Turn::Goes(step);
                }
                self.desk_over(Side::Operator, &format!("{code} operator's phone"))
            }
            Event::Ended { .. } if step == Step::Notice => self.operator_left_notice().await,
            Event::Ended { by: EndedBy::Timeout, .. } => self.desk_over(Side::System, "phone lost"),
            Event::Ended { .. } => self.desk_over(Side::Operator, "operator left"),
            Event::Reoffer { sdp, .. } => {
                if let Some(operator) = &self.operator {
                    self.answer_reoffer(&operator.leg, sdp);
                }
                Turn::Goes(step)
            }
            Event::Transfer { id, .. } => {
                sip.reject_transfer(id, 603);
                Turn::Goes(step)
            }
            _ => Turn::Goes(step),
        }
    }

    /// The operator is there: the citizen is called, if that is allowed.
    async fn call_citizen(&mut self, task: &CallbackTask, number: &Pii<String>) -> Turn {
        let operator = self.operator.as_ref().and_then(|o| o.who.id.parse().ok());
        let purpose = Purpose::Task(Owed::of(task));
        let wish = DialWish { purpose, number: number.reveal(), task: Some(task), call: Some(self.call), operator };
        let permit = match dialout::permit(&self.sv, wish).await {
            Ok(permit) => permit,
            Err(refusal) => {
                self.story.event("dialout_refused", json!({ "why": refusal.as_str() }));
                return self.desk_over(Side::System, refusal.as_str());
            }
        };
        let media = self.citizen.media;
        let dialled = outside::route(&self.sv, &permit).and_then(|mut route| {
            let leg = route.dial_next(&self.sv, &self.sip_tx, media)?;
            Ok((leg, route))
        });
        match dialled {
            Ok((leg, route)) => {
                self.citizen = leg;
                let trunk = route.trunk();
                self.route = Some(route);
                self.permits.push(permit);
                self.name_leg(self.citizen.session, &trunk, true);
                self.story.event("citizen_ring", json!({ "trunk": trunk }));
                if let Some(operator) = &self.operator {
                    let ring_back = self.sv.voice.clips(&[Say::Prompt("tone_ring_back".into())]);
                    self.sv.media.play(operator.leg.id(), OPERATOR_PLAY, ring_back, true);
                }
                Turn::Goes(Step::Citizen { rang: false, redirects: 0 })
            }
            Err(why) => {
                warn!(call = %self.call, why, "an operator's call is not placed");
                self.desk_over(Side::System, &why)
            }
        }
    }

    /// What happens at the citizen's phone: as in a call of the machine's.
    async fn desk_citizen(&mut self, rang: bool, redirects: u32, event: Event, task: &CallbackTask) -> Turn {
        let goes = Turn::Goes(Step::Citizen { rang, redirects });
        match event {
            Event::Answered { sdp, .. } => match sdp.map(|answer| self.citizen.take_answer(&self.sv.media, &answer)) {
                Some(Ok(settled)) => {
                    self.write_answered(Some(settled)).await;
                    self.begin_notice().await
                }
                _ => {
                    self.end_line(Side::System, "488 unusable answer");
                    Turn::Over(Some(488))
                }
            },
            Event::Progress { code, .. } => {
                let rings = matches!(code, 180 | 183);
                if rings && !rang {
                    self.story.event("citizen_rings", json!({}));
                }
                Turn::Goes(Step::Citizen { rang: rang || rings, redirects })
            }
            Event::Failed { code, .. } if self.citizen.dial_plain(&self.sv.sip, self.sip_tx.clone(), code) => {
                self.name_leg(self.citizen.session, "trunk", true);
                goes
            }
            Event::Failed { code, reason, retry_after_s, contacts, .. } => {
                if self.try_next_trunk(code, &reason, retry_after_s, rang) {
                    return goes;
                }
                if (300..400).contains(&code)
                    && redirects < self.sv.config.dialout.redirects_max
                    && Box::pin(self.follow_redirect(&contacts, task)).await
                {
                    return Turn::Goes(Step::Citizen { rang, redirects: redirects + 1 });
                }
                self.end_line(Side::Network, &format!("{code} {reason}"));
                Turn::Over(Some(code))
            }
            Event::Reoffer { sdp, .. } => {
                self.citizen_reoffer(sdp);
                goes
            }
            Event::Ended { .. } | Event::Cancelled { .. } => {
                self.end_line(Side::System, "ended while ringing");
                Turn::Over(Some(487))
            }
            _ => goes,
        }
    }

    async fn desk_media(&mut self, step: Step, event: MediaEvent, task: &CallbackTask, number: &Pii<String>) -> Turn {
        let phone = self.operator.as_ref().map(|o| o.leg.id());
        match event {
            MediaEvent::Secured { leg } if Some(leg) == phone && step == Step::Phone => {
                if let Some(operator) = &mut self.operator {
                    operator.picked_up = None;
                }
                self.call_citizen(task, number).await
            }
            MediaEvent::SecureFailed { leg, .. } if Some(leg) == phone && step == Step::Notice => {
                self.operator_left_notice().await
            }
            MediaEvent::SecureFailed { leg, .. } if Some(leg) == phone => {
                self.desk_over(Side::System, "phone without media")
            }
            event => {
                self.on_media(event).await;
                if step == Step::Notice { self.notice_goes_on().await } else { Turn::Goes(step) }
            }
        }
    }

    /// 结束 before anybody talks takes the call back.
    async fn desk_control(&mut self, step: Step, control: Control) -> Turn {
        match control {
            Control::Operator { user, wish: Wish::End | Wish::HangUp(_) | Wish::MayHangUp(_), reply, .. }
                if step != Step::Notice && self.operator.as_ref().is_some_and(|o| o.who.id == user) =>
            {
                let _ = reply.send(Ok(self.state(View::Operator)));
                self.desk_over(Side::Operator, "operator left")
            }
            // Another phone's answer would be taken for the citizen's (RFC 3261 §21.4.27: another time).
            Control::TakeOver { reply, .. } => {
                let _ = reply.send(Err((491, "The citizen has not answered yet")));
                Turn::Goes(step)
            }
            control => {
                self.on_control(control).await;
                if self.line_ended_by.is_some() { Turn::Over(None) } else { Turn::Goes(step) }
            }
        }
    }
}
