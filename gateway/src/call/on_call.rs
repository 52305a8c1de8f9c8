//! 值班手机: when nobody answers a caller, outside numbers of the queue's roster are rung in order. Who presses 1 has
//! the caller: a mailbox that answers doesn't. The caller keeps their place meanwhile, and an operator who answers
//! first ends it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hotline_ivr::Say;
use hotline_media::LegId;
use hotline_sip::{Event, SessionId};
use serde_json::json;
use tracing::{info, warn};

use super::driver::Driver;
use super::leg::Leg;
use super::leg::Settled;
use super::on_call_turns::Turns;
use super::operator_leg::OperatorLeg;
use super::outside;
use super::route::Route;
use crate::acd::{Lane, OperatorRef, OperatorState};
use crate::dialout::{self, Permit, Purpose, Refusal, Wish};
use crate::events::Audience;
use crate::privacy::mask_phone;

/// Why a number isn't rung that talks with another caller.
const IN_USE: &str = "in_use";
/// Different failures written down in one wait.
const TOLD_MAX: usize = 64;
/// The key that takes the caller.
const TAKE: char = '1';
/// Who picked up is asked for so long.
const ASK: Duration = Duration::from_secs(20);
/// Silence between two askings.
const ASK_GAP_MS: u32 = 1_500;
/// With an operator signed in the caller waits for them; whether one still is, is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Numbers in use: nobody who talks with one citizen is rung for another.
#[derive(Default)]
pub struct Roster(Arc<Mutex<BTreeSet<String>>>);

impl Roster {
    fn lease(&self, number: &str) -> Option<Lease> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number.to_owned());
        taken.then(|| Lease { roster: Arc::clone(&self.0), number: number.to_owned() })
    }
}

/// One number in use, until this is dropped.
struct Lease {
    roster: Arc<Mutex<BTreeSet<String>>>,
    number: String,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// The phone that rings, or is asked.
struct Rung {
    number: String,
    leg: Leg,
    permit: Permit,
    route: Route,
    lease: Lease,
    rang: bool,
    /// Picked up: what was agreed, and until when the key is waited for.
    asked: Option<(Settled, Instant)>,
}

/// What is under way for one caller.
pub(crate) struct OnCall {
    turns: Turns,
    rung: Option<Rung>,
    /// The number that has the caller.
    taken: Option<Lease>,
    /// All rounds are over: when it is looked whether an operator is there at all.
    look_at: Option<Instant>,
    /// Which number couldn't be rung, and why: said once each.
    told: BTreeSet<(String, String)>,
}

impl OnCall {
    fn new(numbers: Vec<String>) -> Self {
        Self { turns: Turns::new(numbers), rung: None, taken: None, look_at: None, told: BTreeSet::new() }
    }

    /// Whether this is to be said: not twice, and not without end.
    fn is_told_now(&mut self, number: &str, why: &str) -> bool {
        self.told.len() < TOLD_MAX && self.told.insert((number.to_owned(), why.to_owned()))
    }

    pub(crate) fn is_session(&self, id: SessionId) -> bool {
        self.rung.as_ref().is_some_and(|r| r.leg.session == id)
    }

    pub(crate) fn is_leg(&self, leg: LegId) -> bool {
        self.rung.as_ref().is_some_and(|r| r.leg.id() == leg)
    }

    /// Somebody has picked up and is asked to take the caller.
    pub(crate) fn asks(&self) -> bool {
        self.rung.as_ref().is_some_and(|r| r.asked.is_some())
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let asked = self.rung.as_ref().and_then(|r| r.asked.as_ref()).map(|(_, until)| *until);
        asked.or(self.turns.again_at).or(self.look_at)
    }
}

impl Driver {
    /// Nobody answered for long enough.
    pub(crate) async fn overflow(&mut self, red: bool) {
        let busy = self.on_call.as_ref().is_some_and(|c| c.rung.is_some() || !c.turns.is_over());
        let numbers = self.sv.config.queue(&self.queue).on_call;
        if !self.waiting || busy || numbers.is_empty() {
            return;
        }
        self.story.event("overflow", json!({ "queue": self.queue, "red": red }));
        self.on_call = Some(Box::new(OnCall::new(numbers)));
        self.ring_on_call().await;
    }

    async fn ring_on_call(&mut self) {
        while let Some(number) = self.on_call.as_mut().and_then(|c| c.turns.next(Instant::now())) {
            match self.dial_on_call(&number).await {
                Ok(rung) => {
                    self.story.event("on_call_ring", json!({ "to": mask_phone(&number) }));
                    self.sound.third.insert(rung.leg.id());
                    if let Some(on_call) = &mut self.on_call {
                        on_call.rung = Some(rung);
                    }
                    return;
                }
                Err(why) => {
                    // Asked every some seconds while they talk or no trunk is there.
                    if self.on_call.as_mut().is_some_and(|c| c.is_told_now(&number, &why)) {
                        self.story.event("on_call_failed", json!({ "to": mask_phone(&number), "why": why }));
                    }
                }
            }
        }
        if self.on_call.as_ref().is_some_and(|c| c.turns.is_over()) {
            warn!(call = %self.call, "值班手机均未接听 / nobody on call takes the caller");
            self.story.event("on_call_none", json!({ "queue": self.queue }));
            let data = json!({ "call": self.call, "queue": self.queue });
            self.sv.events.publish("on_call_none", Audience::Leaders, None, data);
            self.after_on_call().await;
        }
    }

    /// Nobody on call takes the caller. Who is in danger is asked for again; who could still be answered at a desk
    /// waits, and nobody is cut off who speaks a message just now; for all others there is the callback and the voice
    /// message (domain rules §3.7).
    async fn after_on_call(&mut self) {
        if self.lane == Lane::Red {
            if let Some(on_call) = &mut self.on_call {
                on_call.turns.begin_anew(Instant::now());
            }
            return;
        }
        if !self.is_served() && self.is_desk_empty().await {
            self.too_long().await;
        } else if let Some(on_call) = &mut self.on_call {
            on_call.look_at = Some(Instant::now() + LOOK_AGAIN);
        }
    }

    /// Nobody is signed in to the caller's queue.
    async fn is_desk_empty(&self) -> bool {
        let off = OperatorState::Off.as_str();
        let queues = self.sv.acd.view().await;
        let mut here = queues.iter().filter(|queue| queue.name == self.queue).flat_map(|queue| &queue.operators);
        here.all(|operator| operator.state == off)
    }

    /// Who was on call and had the citizen has them no longer: the number is free for others.
    pub(crate) fn free_on_call(&mut self) {
        self.on_call.take_if(|on_call| on_call.taken.is_some());
    }

    async fn dial_on_call(&mut self, number: &str) -> Result<Rung, String> {
        let lease = self.sv.roster.lease(number).ok_or(IN_USE)?;
        outside::has_trunk(&self.sv, Purpose::OnCall, number)?;
        let wish = Wish { purpose: Purpose::OnCall, number, task: None, call: Some(self.call), operator: None };
        let permit = match dialout::permit(&self.sv, wish).await {
            Ok(permit) => permit,
            Err(refusal) => {
                // What a later round may well be allowed uses up none.
                if !matches!(refusal, Refusal::Concurrent | Refusal::Store) {
                    self.round_counts();
                }
                return Err(refusal.as_str().to_owned());
            }
        };
        let (leg, route) = self.dial_outside(&permit)?;
        self.round_counts();
        Ok(Rung { number: number.to_owned(), leg, permit, route, lease, rang: false, asked: None })
    }

    fn round_counts(&mut self) {
        if let Some(on_call) = &mut self.on_call {
            on_call.turns.tried();
        }
    }

    /// What happens at the phone that is rung.
    pub(crate) async fn on_on_call(&mut self, event: Event) {
        let Some(rung) = self.on_call.as_mut().and_then(|c| c.rung.as_mut()) else { return };
        match event {
            Event::Progress { code, .. } => rung.rang |= matches!(code, 180 | 183),
            Event::Answered { sdp, .. } => {
                match sdp.as_ref().map(|answer| rung.leg.take_answer(&self.sv.media, answer)) {
                    Some(Ok(settled)) => {
                        rung.asked = Some((settled, Instant::now() + ASK));
                        let leg = rung.leg.id();
                        let words = [Say::Prompt("on_call_offer".into()), Say::Silence { ms: ASK_GAP_MS }];
                        self.sv.media.play(leg, 1, self.sv.voice.clips(&words), true);
                        self.story.event("on_call_asked", json!({ "to": mask_phone(&rung.number) }));
                    }
                    _ => self.next_on_call("488").await,
                }
            }
            Event::Reoffer { sdp, .. } => {
                if let Some(rung) = self.on_call.as_ref().and_then(|c| c.rung.as_ref()) {
                    self.answer_reoffer(&rung.leg, sdp);
                }
            }
            Event::Failed { code, reason, retry_after_s, .. } => {
                if rung.leg.dial_plain(&self.sv.sip, self.sip_tx.clone(), code) {
                    return;
                }
                if rung.route.may_go_on(code, &reason, retry_after_s, rung.rang)
                    && let Ok(leg) = rung.route.dial_next(&self.sv, &self.sip_tx, rung.leg.media)
                {
                    let (session, trunk) = (leg.session, rung.route.trunk());
                    rung.leg = leg;
                    return self.name_leg(session, &trunk, false);
                }
                self.next_on_call(&code.to_string()).await;
            }
            Event::Ended { .. } => self.next_on_call("hung up").await,
            Event::Transfer { id, .. } => self.sv.sip.reject_transfer(id, 603),
            // Some carriers pass keys on as INFO only.
            Event::Dtmf { digit, .. } => self.on_call_key(digit).await,
            _ => {}
        }
    }

    /// Not this one: whose turn is next?
    async fn next_on_call(&mut self, why: &str) {
        self.let_on_call_go(why);
        if self.waiting {
            self.ring_on_call().await;
        }
    }

    pub(crate) fn let_on_call_go(&mut self, why: &str) {
        let Some(rung) = self.on_call.as_mut().and_then(|c| c.rung.take()) else { return };
        self.sv.sip.hang_up(rung.leg.session, why);
        self.release_leg(&rung.leg);
        self.story.event("on_call_end", json!({ "to": mask_phone(&rung.number), "why": why }));
    }

    /// The caller is somebody's, or waits no longer.
    pub(crate) fn drop_on_call(&mut self, why: &str) {
        self.let_on_call_go(why);
        self.on_call = None;
    }

    /// What is due: the key wasn't pressed in time, or a further round begins.
    pub(crate) async fn on_call_due(&mut self, now: Instant) {
        let Some(on_call) = self.on_call.as_mut() else { return };
        let late = on_call.rung.as_ref().and_then(|r| r.asked.as_ref()).is_some_and(|(_, until)| *until <= now);
        if late {
            return self.next_on_call("no key").await;
        }
        let looks = on_call.look_at.take_if(|at| *at <= now).is_some();
        if on_call.turns.begin_round(now) && self.waiting {
            self.ring_on_call().await;
        } else if looks && self.waiting {
            self.after_on_call().await;
        }
    }

    /// A key on that phone.
    pub(crate) async fn on_call_key(&mut self, key: char) {
        let asked = self.on_call.as_mut().and_then(|c| c.rung.take_if(|r| r.asked.is_some() && key == TAKE));
        let Some(Rung { number, leg, permit, route, lease, asked: Some((settled, _)), .. }) = asked else { return };
        let shown = mask_phone(&number);
        info!(call = %self.call, to = shown, "值班手机接听 / taken by a phone on call");
        self.sv.media.stop_play(leg.id());
        // An operator whose phone only rings for them is free again.
        self.leave_queue().await;
        self.permits.push(permit);
        self.outside.push(route);
        self.on_call = Some(Box::new(OnCall { taken: Some(lease), ..OnCall::new(Vec::new()) }));
        self.story.event("on_call_taken", json!({ "to": shown }));
        let who = OperatorRef { id: String::new(), name: shown, sip_user: String::new() };
        self.operator = Some(OperatorLeg::ringing(who, leg));
        self.begin_talk(Some(settled)).await;
        self.tell_call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_rung_for_two_callers() {
        let roster = Roster::default();
        let lease = roster.lease("1");
        assert!(lease.is_some() && roster.lease("1").is_none() && roster.lease("2").is_some());
        drop(lease);
        assert!(roster.lease("1").is_some());
    }

    #[test]
    fn a_number_that_can_not_be_rung_is_written_down_once_and_not_without_end() {
        let mut on_call = OnCall::new(vec!["1".into()]);
        assert!(on_call.is_told_now("1", IN_USE) && !on_call.is_told_now("1", IN_USE));
        assert!(on_call.is_told_now("2", IN_USE) && on_call.is_told_now("1", "concurrent"));
        let said = (0..2 * TOLD_MAX).filter(|n| on_call.is_told_now("1", &n.to_string())).count();
        assert_eq!(said, TOLD_MAX - 3);
    }
}
