//! An operator in a talk asks a colleague first: phone to phone, beside the citizen's call and only during
//! it (no private calls on the hotline, domain rule 2.4), not recorded: the citizen takes no part. A REFER with
//! `Replaces` then joins citizen and colleague.

use std::sync::Arc;

use hotline_sip::{Event, SessionId};
use serde_json::json;
use tracing::info;

use super::control::{Control, ControlError};
use super::driver::Driver;
use super::leg::{Leg, Speaks};
use super::trust::trust_in_phone;
use crate::abroad;
use crate::acd::OperatorRef;
use crate::app::Services;
use crate::net::sip::NewCall;

/// Two phones beside a citizen's call.
pub(crate) struct Consult {
    /// The operator's second leg.
    pub(crate) caller: Leg,
    /// What it is answered with.
    answer: Vec<u8>,
    /// The colleague's.
    pub(crate) target: Leg,
    pub(crate) who: OperatorRef,
    talking: bool,
}

/// A phone's INVITE: handed to the driver of the talk its owner is in; without one it is refused.
pub(crate) async fn begin(sv: &Arc<Services>, new: NewCall) -> Result<(), (u16, &'static str)> {
    // Domain rule 2.4: phones are called, they don't call; outbound exists from a task only.
    const REFUSED: (u16, &str) = (403, "Outbound calls start from a task");
    // This phone's legs would be at two gateways.
    const ABROAD: (u16, &str) = (403, "This talk is at another gateway: consult by the console");
    let user = new.invite.user.clone().unwrap_or_default();
    let caller = sv.store.user_by_sip_user(&user).await.ok().flatten().ok_or(REFUSED)?;
    let caller = caller.id.to_string();
    let control = sv
        .live
        .control_of_talk(&caller)
        .ok_or_else(|| if abroad::call_of_operator(sv, &caller).is_some() { ABROAD } else { REFUSED })?;
    // Only colleagues' phones: an outside number has its own way, and `dialout` on it.
    if sv.sip.bindings(&new.invite.request_user).is_empty() || new.invite.request_user == user {
        return Err(REFUSED);
    }
    control.send(Box::new(Control::Consult(Box::new(new)))).await.map_err(|_| REFUSED)
}

impl Driver {
    pub(crate) async fn begin_consult(&mut self, new: NewCall) {
        let session = new.id;
        if let Err((code, why)) = self.try_consult(new).await {
            info!(call = %self.call, code, why, "consultation refused");
            self.sv.sip.reject(session, code, "");
        }
    }

    async fn try_consult(&mut self, mut new: NewCall) -> Result<(), (u16, String)> {
        let busy = |why: &str| (486, why.to_owned());
        let operator = self.operator.as_ref().filter(|o| o.talking).ok_or_else(|| busy("no talk"))?;
        if new.invite.user.as_deref() != Some(operator.who.sip_user.as_str()) {
            return Err(busy("another operator's talk"));
        }
        if self.transfer.is_some() || self.is_being_decided() {
            return Err(busy("one at a time"));
        }
        let offer = new.invite.sdp.take().ok_or_else(|| (488, "no offer".to_owned()))?;
        let security = self.security_over(new.invite.flow.transport).map_err(|e| (488, e.to_string()))?;
        let from = operator.who.id.clone();
        let who = self.colleague(&new.invite.request_user).await.ok_or_else(|| busy("nobody's phone"))?;
        self.may_join(&who).await.map_err(|why| match why {
            ControlError::NoPhone => (480, "can't be reached".to_owned()),
            _ => busy("in another call"),
        })?;
        let media = self.sv.media.open_leg_beside(self.citizen.id()).map_err(|e| (503, e.to_string()))?;
        self.sv.media_routes.add(media.id, self.media_tx.clone());
        let speaks = Speaks::phone(&self.sv.config, &self.citizen, self.sv.desk_phones.is_home(&from));
        let trust = trust_in_phone(&self.sv.config, [new.invite.flow.remote.ip()]);
        self.sound.consults.insert(media.id);
        let caller = Leg::incoming(new.id, media, speaks, security, trust);
        let ringing = match caller.answer(&self.sv.media, &offer) {
            Ok((answer, _)) => self.dial_operator(&who, false).map(|target| (answer, target)).map_err(|e| (480, e.why)),
            Err(e) => Err((488, e.to_string())),
        };
        let (answer, target) = match ringing {
            Ok(ringing) => ringing,
            Err(refused) => {
                self.release_leg(&caller);
                return Err(refused);
            }
        };
        self.sv.sip.route(new.id, self.sip_tx.clone());
        // What came before the new route, a CANCEL for example.
        while let Ok(event) = new.events.try_recv() {
            let _ = self.sip_tx.try_send(event);
        }
        self.sv.trace.leg(self.call, &new.invite.call_id, new.invite.user.as_deref().unwrap_or_default());
        self.sv.sip.ringing(new.id);
        self.story.event("consult_ring", json!({ "from": from, "to": who.id }));
        self.sound.consults.insert(target.id());
        self.sv.acd.engaged(&self.call.to_string(), &who.id, &self.news_tx);
        self.consult = Some(Box::new(Consult { caller, answer, target, who, talking: false }));
        Ok(())
    }

    /// What happens on one of the two legs.
    pub(crate) async fn on_consult(&mut self, id: SessionId, event: Event) {
        let Some(consult) = self.consult.as_mut() else { return };
        let is_caller = consult.caller.session == id;
        match event {
            Event::Transfer { target, .. } if is_caller => self.on_refer(id, target).await,
            Event::Transfer { .. } => self.sv.sip.reject_transfer(id, 603),
            Event::Reoffer { sdp, .. } => {
                if let Some(consult) = &self.consult {
                    self.answer_reoffer(if is_caller { &consult.caller } else { &consult.target }, sdp);
                }
            }
            Event::ReofferAnswered { code, sdp: Some(answer), .. } if code < 300 => {
                let leg = if is_caller { &consult.caller } else { &consult.target };
                let _ = leg.take_answer(&self.sv.media, &answer);
            }
            Event::Answered { sdp, .. } if !is_caller => {
                let agreed = sdp.as_ref().map(|answer| consult.target.take_answer(&self.sv.media, answer));
                let is_usable = matches!(agreed, Some(Ok(_)));
                if !is_usable {
                    self.sv.sip.hang_up(id, "488");
                    // Some phones refuse encryption with a 200 that has no audio (RFC 3264 §6).
                    if !self.consult_plain(488) {
                        self.end_consult(488);
                    }
                    return;
                }
                if self.sv.sip.accept(consult.caller.session, &consult.answer).is_err() {
                    return self.end_consult(488);
                }
                consult.talking = true;
                self.sv.media.bridge(consult.caller.id(), consult.target.id());
                let to = consult.who.id.clone();
                self.story.event("consult_talk", json!({ "to": to }));
            }
            Event::Failed { code, .. } if !is_caller && self.consult_plain(code) => {}
            Event::Failed { code, .. } => self.end_consult(code),
            Event::Cancelled { .. } | Event::Ended { .. } => self.end_consult(487),
            _ => {}
        }
    }

    /// The colleague's phone refused our encrypted offer: once more, where that is permitted.
    fn consult_plain(&mut self, code: u16) -> bool {
        let (sip, events) = (&self.sv.sip, self.sip_tx.clone());
        let Some(consult) = self.consult.as_mut().filter(|c| !c.talking) else { return false };
        if !consult.target.dial_plain(sip, events, code) {
            return false;
        }
        let (session, phone) = (consult.target.session, consult.who.sip_user.clone());
        self.name_leg(session, &phone, false);
        true
    }

    /// Both phones are let go; who is rung no more hears `code`.
    pub(crate) fn end_consult(&mut self, code: u16) {
        let Some(consult) = self.consult.take() else { return };
        if consult.talking {
            self.sv.media.unbridge(consult.caller.id());
            self.sv.sip.hang_up(consult.caller.session, "consultation over");
        } else {
            self.sv.sip.reject(consult.caller.session, if (400..700).contains(&code) { code } else { 480 }, "");
        }
        consult.target.let_go(&self.sv.sip, "consultation over");
        self.release_leg(&consult.caller);
        self.release_leg(&consult.target);
        self.sv.acd.disengaged(&self.call.to_string(), &consult.who.id);
        self.story.event("consult_end", json!({ "to": consult.who.id }));
    }

    /// REFER with `Replaces` (RFC 3891): citizen and colleague talk, the operator is out.
    pub(crate) async fn join(&mut self, referrer: SessionId, replaced: SessionId) {
        let citizens = self.operator.as_ref().filter(|o| o.talking).map(|o| o.leg.session);
        let fits = self.consult.as_ref().is_some_and(|c| {
            let pair = (Some(referrer), Some(replaced));
            let second = Some(c.caller.session);
            c.talking && (pair == (citizens, second) || pair == (second, citizens))
        });
        let who = self.consult.as_ref().filter(|_| fits).map(|c| c.who.clone());
        if let Some(who) = who
            && self.may_stay(&who).await.is_err()
        {
            return self.sv.sip.reject_transfer(referrer, 480);
        }
        let Some(consult) = self.consult.take_if(|_| fits) else {
            return self.sv.sip.reject_transfer(referrer, 603);
        };
        self.sv.sip.accept_transfer(referrer);
        self.sv.sip.transfer_progress(referrer, 200);
        self.sv.media.unbridge(consult.caller.id());
        self.sv.sip.hang_up(consult.caller.session, "transferred");
        self.release_leg(&consult.caller);
        self.sound.consults.remove(&consult.target.id());
        self.hand_over(consult.who, consult.target).await;
    }
}
