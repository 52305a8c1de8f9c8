//! An operator's further phone takes over the leg of their own call: an INVITE with `Replaces` (RFC 3891), from
//! another device or a second line of the same account. For the citizen, the queue and the recording nothing
//! ends: only the phone is another.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;
use tracing::info;

use super::control::Control;
use super::driver::Driver;
use super::leg::{Leg, Settled, Speaks};
use super::operator_leg::HeldBy;
use super::trust::trust_in_phone;
use crate::app::Services;
use crate::clock::now_ms;
use crate::net::sip::NewCall;

/// Code and reason phrase, or `Warning`, of a refusal.
pub(crate) type Refusal = (u16, &'static str);

/// Somebody else's leg, the citizen's, one of a consultation, or one that is being handed on.
const FOREIGN: Refusal = (403, "Not a leg of yours to take over");
/// The leg ended in this very moment (RFC 3891 §3).
const GONE: Refusal = (481, "");

/// A phone's INVITE with `Replaces`: handed to the driver of the call its owner rings or talks in.
pub(crate) async fn begin(sv: &Arc<Services>, new: NewCall) -> Result<(), Refusal> {
    let user = new.invite.user.clone().unwrap_or_default();
    let owner = sv.store.user_by_sip_user(&user).await.ok().flatten().ok_or(FOREIGN)?;
    let control = sv.live.control_of_operator(&owner.id.to_string()).ok_or(FOREIGN)?;
    let (reply, outcome) = oneshot::channel();
    control.send(Box::new(Control::TakeOver { new: Box::new(new), reply })).await.map_err(|_| GONE)?;
    // A driver that ends drops what it has not read: the leg is over then.
    outcome.await.unwrap_or(Err(GONE))
}

impl Driver {
    /// Until the new phone has its 200 nothing changes for the old one.
    pub(crate) async fn take_over(&mut self, mut new: NewCall) -> Result<(), Refusal> {
        let invite = &new.invite;
        let own = self.operator.as_ref().filter(|o| {
            invite.replaces == Some(o.leg.session) && invite.user.as_deref() == Some(o.who.sip_user.as_str())
        });
        if own.is_none() || self.transfer.is_some() || self.consult.is_some() || self.line_ended_by.is_some() {
            return Err(FOREIGN);
        }
        // The answer's keys travel where the INVITE came from, whatever the account's other phones use.
        let security =
            self.security_over(invite.flow.transport).map_err(|_| (488, "302 hotline \"SRTP keys need TLS\""))?;
        let media = self.sv.media.open_leg_beside(self.citizen.id()).map_err(|_| (503, "No media resources"))?;
        self.sv.media_routes.add(media.id, self.media_tx.clone());
        let at_home = self.operator.as_ref().is_some_and(|o| self.sv.desk_phones.is_home(&o.who.id));
        let speaks = Speaks::phone(&self.sv.config, &self.citizen, at_home);
        let leg =
            Leg::incoming(new.id, media, speaks, security, trust_in_phone(&self.sv.config, [invite.flow.remote.ip()]));
        let negotiated = match &invite.sdp {
            Some(offer) => leg.answer(&self.sv.media, offer).map(|(sdp, settled)| (sdp, Some(settled))),
            None => Ok((leg.offer(), None)),
        };
        let accepted = match negotiated {
            Ok((sdp, settled)) => self.sv.sip.accept(new.id, &sdp).map(|()| settled).map_err(|_| GONE),
            Err(e) => Err((488, e.warning())),
        };
        let settled = match accepted {
            Ok(settled) => settled,
            Err(refusal) => {
                self.release_leg(&leg);
                return Err(refusal);
            }
        };
        self.sv.sip.route(new.id, self.sip_tx.clone());
        // What came before the new route: the ACK, or a BYE at once.
        while let Ok(event) = new.events.try_recv() {
            let _ = self.sip_tx.try_send(event);
        }
        self.sv.trace.leg(self.call, &new.invite.call_id, new.invite.user.as_deref().unwrap_or_default());
        self.change_phone(leg, settled).await;
        Ok(())
    }

    /// The operator's leg is `leg` from now on. The old session's end reaches nobody: its events name no leg of
    /// this call any more.
    async fn change_phone(&mut self, leg: Leg, settled: Option<Settled>) {
        let Some(operator) = self.operator.as_mut() else { return };
        let old = std::mem::replace(&mut operator.leg, leg);
        let (who, talking) = (operator.who.id.clone(), operator.talking);
        let held = std::mem::take(&mut operator.holds).any();
        self.story.event("taken_over", json!({ "operator": who, "talking": talking, "at": now_ms() }));
        if talking {
            self.hold_ended();
            if held {
                self.play_next += 1;
                self.sv.media.stop_play(self.citizen.id());
                self.story.event("hold", json!({ "on": false }));
            }
            self.connect();
            self.note_encryption("operator", settled.and_then(|s| s.srtp));
            self.tell_faults();
        }
        old.let_go(&self.sv.sip, "replaced");
        self.release_leg(&old);
        if !talking {
            self.begin_talk(settled).await;
        }
        if settled.is_some_and(|s| s.they_hold) {
            self.hold(HeldBy::Phone, true).await;
        }
    }

    /// The ACK of a phone that left the offer to us carries its answer.
    pub(crate) async fn phone_confirmed(&mut self, answer: &[u8]) {
        let Some(operator) = self.operator.as_ref() else { return };
        match operator.leg.take_answer(&self.sv.media, answer) {
            Ok(settled) => {
                self.note_encryption("operator", settled.srtp);
                self.hold(HeldBy::Phone, settled.they_hold).await;
            }
            Err(e) => {
                info!(call = %self.call, error = %e, "the answer in the phone's ACK can't be used");
                self.sv.sip.hang_up(operator.leg.session, "488");
                if !self.goes_on_without_operator().await {
                    self.operator_lost().await;
                }
            }
        }
    }
}
