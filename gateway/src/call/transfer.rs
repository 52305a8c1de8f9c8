//! An operator's phone hands the citizen on (REFER): to a colleague's phone, to a queue, or outside where
//! `dialout` allows it. The citizen never loses the line: whatever fails, somebody or the queue has them.

use hotline_db::CallPatch;
use hotline_ivr::Say;
use hotline_sip::{Event, SessionId, TransferTarget};
use serde_json::json;
use tracing::info;

use super::control::ControlError;
use super::driver::{Driver, Stage};
use super::guest::Part;
use super::leg::{Leg, Settled};
use super::operator::RingError;
use super::operator_leg::OperatorLeg;
use super::outside;
use super::route::Route;
use super::start::hotline_of;
use crate::acd::{Lane, OperatorRef};
use crate::clock::now_ms;
use crate::dialout::{self, Permit, Purpose, Wish};
use crate::privacy::{mask_phone, normalize_phone};

/// The phone that is being rung for a citizen an operator hands on.
pub(crate) struct Transfer {
    /// The session whose REFER this serves; none where the console asked.
    referrer: Option<SessionId>,
    pub(crate) leg: Leg,
    /// It rang (180/183): a failure after that is the person's, not the carrier's.
    pub(crate) rang: bool,
    /// The colleague; without an id somebody outside.
    pub(crate) who: OperatorRef,
    /// Of somebody outside: leave to call them, and the trunk's place.
    outside: Option<(Permit, Route)>,
}

impl Driver {
    /// A REFER without a consultation before it.
    pub(crate) async fn on_refer(&mut self, referrer: SessionId, target: TransferTarget) {
        if let Some(replaced) = target.replaces {
            return self.join(referrer, replaced).await;
        }
        if !self.operator.as_ref().is_some_and(|o| o.talking && o.leg.session == referrer && o.outside.is_none()) {
            return self.sv.sip.reject_transfer(referrer, 603);
        }
        if self.transfer.is_some() || self.is_being_decided() {
            return self.sv.sip.reject_transfer(referrer, 491);
        }
        if let Some(hotline) = hotline_of(&self.sv.config, std::slice::from_ref(&target.number)) {
            let queue = hotline.queue.clone();
            if self.help_is_there() {
                return self.sv.sip.reject_transfer(referrer, 486);
            }
            return self.refer_to_queue(Some(referrer), queue).await;
        }
        let begun = match self.colleague(&target.number).await {
            Some(who) => self.refer_to_phone(Some(referrer), who).await,
            None => self.refer_outside(Some(referrer), &target.number).await,
        };
        if let Err(why) = begun {
            let code = match why {
                ControlError::OwnTalk => 603,
                ControlError::NoPhone => 480,
                ControlError::Engaged => 486,
                _ => 403,
            };
            self.sv.sip.reject_transfer(referrer, code);
        }
    }

    /// The phone that asked, if one did, learns how far it is.
    fn tell_referrer(&self, referrer: Option<SessionId>, code: u16) {
        if let Some(referrer) = referrer {
            self.sv.sip.transfer_progress(referrer, code);
        }
    }

    /// The person whose phone registers as `sip_user`.
    pub(crate) async fn colleague(&self, sip_user: &str) -> Option<OperatorRef> {
        match self.sv.store.user_by_sip_user(sip_user).await {
            Ok(user) => {
                let user = user.filter(|user| user.active)?;
                Some(OperatorRef { id: user.id.to_string(), name: user.name, sip_user: sip_user.to_owned() })
            }
            Err(_) => self.sv.acd.by_phone(sip_user).await,
        }
    }

    /// Whose phone rings or talks for somebody else: with call waiting it would take a second citizen.
    pub(crate) async fn is_in_another_call(&self, who: &OperatorRef) -> bool {
        let this = self.call.to_string();
        self.sv.acd.calls_of(&who.id).await.iter().any(|call| *call != this)
    }

    /// The citizen waits again, before everybody who never spoke to anyone; not for who sends them away.
    pub(crate) async fn refer_to_queue(&mut self, referrer: Option<SessionId>, queue: String) {
        if let Some(referrer) = referrer {
            self.sv.sip.accept_transfer(referrer);
        }
        self.tell_referrer(referrer, 200);
        let from = self.operator.as_ref().map(|o| o.who.id.clone()).unwrap_or_default();
        self.story.event("transfer_queue", json!({ "from": from, "queue": queue }));
        self.excluded.insert(from);
        self.let_operator_go("transferred").await;
        self.dismiss_guests();
        self.wait_again(queue).await;
    }

    pub(crate) async fn refer_to_phone(
        &mut self,
        referrer: Option<SessionId>,
        who: OperatorRef,
    ) -> Result<(), ControlError> {
        if self.operator.as_ref().is_some_and(|o| o.who.id == who.id) {
            return Err(ControlError::OwnTalk);
        }
        if let Err(why) = self.may_join(&who).await {
            let word = if why == ControlError::Engaged { "engaged" } else { "unreachable" };
            self.story.event("transfer_refused", json!({ "to": who.id, "why": word }));
            return Err(why);
        }
        match self.dial_operator(&who, false) {
            Ok(leg) => {
                self.begin_transfer(Transfer { referrer, leg, rang: false, who, outside: None });
                Ok(())
            }
            Err(RingError { why, .. }) => {
                info!(call = %self.call, why, "transfer: the phone can't be rung");
                self.story.event("transfer_refused", json!({ "to": who.id, "why": "unreachable" }));
                Err(ControlError::NoPhone)
            }
        }
    }

    pub(crate) async fn refer_outside(
        &mut self,
        referrer: Option<SessionId>,
        number: &str,
    ) -> Result<(), ControlError> {
        let operator = self.operator.as_ref().and_then(|o| o.who.id.parse().ok());
        let number = normalize_phone(number, &self.sv.config.site.area_code).unwrap_or_else(|| number.to_owned());
        let wish = Wish { purpose: Purpose::Transfer, number: &number, task: None, call: Some(self.call), operator };
        let placed = match outside::has_trunk(&self.sv, Purpose::Transfer, &number) {
            Ok(()) => match dialout::permit(&self.sv, wish).await {
                Ok(permit) => match self.dial_outside(&permit) {
                    Ok((leg, route)) => Ok((leg, (permit, route))),
                    Err(why) => Err((why.clone(), why)),
                },
                Err(refusal) => Err((refusal.as_str().to_owned(), refusal.to_string())),
            },
            Err(why) => Err((why.clone(), why)),
        };
        let shown = mask_phone(&number);
        match placed {
            Ok((leg, outside)) => {
                self.sound.third.insert(leg.id());
                let who = OperatorRef { id: String::new(), name: shown, sip_user: String::new() };
                self.begin_transfer(Transfer { referrer, leg, rang: false, who, outside: Some(outside) });
                Ok(())
            }
            Err((why, words)) => {
                self.story.event("transfer_refused", json!({ "to": shown, "why": why }));
                Err(ControlError::Outside(words))
            }
        }
    }

    pub(crate) fn dial_outside(&self, permit: &Permit) -> Result<(Leg, Route), String> {
        let mut route = outside::route(&self.sv, permit)?;
        let media = self.sv.media.open_leg_beside(self.citizen.id()).map_err(|e| e.to_string())?;
        self.sv.media_routes.add(media.id, self.media_tx.clone());
        let id = media.id;
        match route.dial_next(&self.sv, &self.sip_tx, media) {
            Ok(leg) => {
                self.name_leg(leg.session, &route.trunk(), false);
                Ok((leg, route))
            }
            Err(e) => {
                self.sv.media.close_leg(id);
                self.sv.media_routes.remove(id);
                Err(e)
            }
        }
    }

    /// The citizen hears music while the target rings; the recording goes on.
    fn begin_transfer(&mut self, transfer: Transfer) {
        if let Some(referrer) = transfer.referrer {
            self.sv.sip.accept_transfer(referrer);
        }
        let from = self.operator.as_ref().map(|o| o.who.id.clone());
        self.story.event("transfer_ring", json!({ "from": from, "to": transfer.who.id, "name": transfer.who.name }));
        self.sv.acd.engaged(&self.call.to_string(), &transfer.who.id, &self.news_tx);
        self.transfer = Some(Box::new(transfer));
        self.connect();
        self.play_music();
        self.tell_call();
    }

    pub(crate) fn play_music(&mut self) {
        let music = self.sv.voice.clips(&[Say::Prompt("hold_music".into())]);
        self.desk.music_follows = false;
        self.play_next += 1;
        self.sv.media.play(self.citizen.id(), self.play_next, music, true);
    }

    /// What happens at the phone that is being rung.
    pub(crate) async fn on_transfer(&mut self, event: Event) {
        match event {
            Event::Progress { code, .. } => {
                if let Some(transfer) = &mut self.transfer {
                    transfer.rang |= matches!(code, 180 | 183);
                    let referrer = transfer.referrer;
                    self.tell_referrer(referrer, code);
                }
            }
            Event::Answered { sdp, .. } => {
                // Not to whom the citizen complained of while that phone rang.
                let _ = self.learn_anew().await;
                let Some(transfer) = self.transfer.take() else { return };
                let agreed = sdp.as_ref().map(|answer| transfer.leg.take_answer(&self.sv.media, answer));
                if !matches!(agreed, Some(Ok(_))) {
                    self.sv.sip.hang_up(transfer.leg.session, "488");
                    return self.transfer_failed(*transfer, 488).await;
                }
                self.tell_referrer(transfer.referrer, 200);
                if let Some((permit, route)) = transfer.outside {
                    self.permits.push(permit);
                    self.outside.push(route);
                }
                self.hand_over(transfer.who, transfer.leg).await;
            }
            Event::Reoffer { sdp, .. } => {
                if let Some(transfer) = &self.transfer {
                    self.answer_reoffer(&transfer.leg, sdp);
                }
            }
            Event::Failed { code, reason, retry_after_s, .. } => {
                let (sip, events) = (&self.sv.sip, self.sip_tx.clone());
                if self.transfer.as_mut().is_some_and(|t| t.leg.dial_plain(sip, events, code))
                    || self.transfer_over_next_trunk(code, &reason, retry_after_s)
                {
                    return;
                }
                if let Some(transfer) = self.transfer.take() {
                    self.transfer_failed(*transfer, code).await;
                }
            }
            Event::Ended { .. } => {
                if let Some(transfer) = self.transfer.take() {
                    self.transfer_failed(*transfer, 503).await;
                }
            }
            _ => {}
        }
    }

    /// As `try_next_trunk`, for somebody outside.
    fn transfer_over_next_trunk(&mut self, code: u16, reason: &str, retry_after_s: Option<u32>) -> bool {
        let Some(transfer) = &mut self.transfer else { return false };
        let Some((_, route)) = &mut transfer.outside else { return false };
        let failed = route.trunk();
        if !route.may_go_on(code, reason, retry_after_s, transfer.rang) {
            return false;
        }
        match route.dial_next(&self.sv, &self.sip_tx, transfer.leg.media) {
            Ok(leg) => {
                transfer.leg = leg;
                let (session, next) = (transfer.leg.session, route.trunk());
                info!(call = %self.call, failed, code, next, "transfer: trunk failed, the next one is tried");
                self.story.event("trunk_failed", json!({ "trunk": failed, "code": code, "next": next }));
                self.name_leg(session, &next, false);
                true
            }
            Err(why) => {
                info!(call = %self.call, failed, code, why, "transfer: no trunk left");
                self.story.event("trunk_failed", json!({ "trunk": failed, "code": code }));
                false
            }
        }
    }

    /// Answers a re-INVITE or UPDATE on a leg nobody talks on yet, or beside the citizen's call.
    /// Returns what that settled.
    pub(crate) fn answer_reoffer(&self, leg: &Leg, sdp: Option<Vec<u8>>) -> Option<Settled> {
        match sdp.map(|offer| leg.answer(&self.sv.media, &offer)) {
            None => self.sv.sip.answer_reoffer(leg.session, &leg.offer()),
            Some(Ok((answer, settled))) => {
                self.sv.sip.answer_reoffer(leg.session, &answer);
                return Some(settled);
            }
            Some(Err(_)) => self.sv.sip.reject_reoffer(leg.session, 488),
        }
        None
    }

    /// Back to who tried it, else to the queue's head.
    pub(crate) async fn transfer_failed(&mut self, transfer: Transfer, code: u16) {
        self.release_leg(&transfer.leg);
        self.tell_referrer(transfer.referrer, code);
        self.sv.acd.disengaged(&self.call.to_string(), &transfer.who.id);
        self.story.event("transfer_failed", json!({ "to": transfer.who.id, "code": code }));
        match self.operator.as_ref() {
            Some(operator) if operator.holds.any() => {}
            Some(_) => {
                self.sv.media.stop_play(self.citizen.id());
                self.connect();
                self.tell_call();
            }
            None => {
                self.stop_talk_recording();
                self.wait_again(self.queue.clone()).await;
            }
        }
    }

    /// The citizen talks with `who` from now on, in the same recording.
    pub(crate) async fn hand_over(&mut self, who: OperatorRef, leg: Leg) {
        let from = self.operator.as_ref().map(|o| o.who.id.clone());
        self.let_operator_go("transferred").await;
        self.desk.music_follows = false;
        self.sv.media.stop_play(self.citizen.id());
        let id = who.id.clone();
        // A queue they were put into meanwhile: `connected` below takes them out, for somebody outside we do.
        if id.is_empty() {
            self.leave_queue().await;
        }
        self.waiting = false;
        self.operator = Some(OperatorLeg::talking(who, leg));
        // Who was only asked has nothing to do with the next operator.
        if let Some(asked) = self.guests.iter().position(|g| g.part == Part::Consult) {
            self.let_guest_go(asked, "consultation over");
        }
        self.connect();
        if !id.is_empty() {
            self.sv.acd.connected(&self.call.to_string(), &id).await;
        }
        self.set_stage(Stage::Talk);
        self.story.patch(CallPatch { operator: id.parse().ok(), ..CallPatch::default() });
        self.story.event("transferred", json!({ "from": from, "to": id, "at": now_ms() }));
        self.tell_faults();
    }

    /// The operator's part is over, the citizen's isn't; the recording is the caller's business.
    async fn let_operator_go(&mut self, how: &str) {
        self.hold_ended();
        let Some(operator) = self.operator.take() else { return };
        self.end_pause("operator_left");
        self.connect();
        operator.leg.let_go(&self.sv.sip, how);
        self.release_leg(&operator.leg);
        self.free_on_call();
        self.desk.operator_left(&operator.who.id);
        self.sv.acd.released(&self.call.to_string(), &operator.who.id).await;
        self.tell_left(&operator.who.id, how);
    }

    /// The operator hung up while a phone rings for the citizen: that goes on.
    pub(crate) async fn referrer_left(&mut self) -> bool {
        if self.transfer.is_none() {
            return false;
        }
        self.let_operator_go("transferred").await;
        self.dismiss_guests();
        true
    }

    pub(crate) async fn wait_again(&mut self, queue: String) {
        self.play_music();
        self.enter_queue(queue, Lane::Callback).await;
    }

    /// The same for whom the line to an operator broke: they are told, lest they hang up.
    pub(crate) async fn wait_again_told(&mut self, queue: String) {
        let words = self.sv.voice.clips(&[Say::Prompt("line_lost".into())]);
        if words.is_empty() {
            return self.wait_again(queue).await;
        }
        self.play_next += 1;
        self.desk.music_follows = true;
        self.sv.media.play(self.citizen.id(), self.play_next, words, false);
        self.enter_queue(queue, Lane::Callback).await;
    }

    /// The call ends or takes another turn: nobody is rung for it any more.
    pub(crate) fn drop_transfer(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            self.tell_referrer(transfer.referrer, 487);
            transfer.leg.let_go(&self.sv.sip, "caller left");
            self.release_leg(&transfer.leg);
            self.sv.acd.disengaged(&self.call.to_string(), &transfer.who.id);
        }
        self.end_consult(487);
    }
}
