//! Between a phone's answer and the talk: a browser's media comes up, a person behind an outside number says that they
//! are one, and who answers without touching anything hears that a citizen is there. The citizen hears none of it.

use std::time::{Duration, Instant};

use hotline_ivr::Say;
use tracing::info;

use super::driver::Driver;
use super::leg::Settled;
use super::operator::RingError;
use super::operator_leg::OperatorLeg;
use crate::acd::OperatorRef;
use crate::dialout::{self, Purpose, Refusal, Wish};
use crate::privacy::Pii;

/// A browser that has answered brings its media up within this, or its phone has failed: ICE and DTLS take some
/// hundred milliseconds, the caller is waiting.
pub(super) const MEDIA_UP: Duration = Duration::from_secs(8);
/// What a phone without usable media counts as: a fault of the device (RFC 3261 §21.5.1).
pub(crate) const UNUSABLE: u16 = 500;
/// Nobody pressed the key: a mailbox, or somebody who can't take calls (RFC 3261 §21.4.18).
const NOT_ACCEPTED: u16 = 480;
/// An outside phone may ring and be accepted for so much longer than a queue's phones ring; the queue itself gives up
/// a second later (`RING_GRACE_MS`).
const ACCEPT_GRACE: Duration = Duration::from_secs(4);
pub(super) const ACCEPT_KEY: char = '1';
/// The tone is over by then, whatever the media thread says.
const ZIP_MAX: Duration = Duration::from_secs(2);
/// Plays to an operator's leg; no play of a citizen's leg is counted with them.
const OPERATOR_PLAY: u64 = 0;

/// What is missing before the talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Media,
    Key,
    Zip,
}

/// A phone's answer, until the talk begins.
pub(crate) struct PickedUp {
    settled: Settled,
    needs: Needs,
    until: Instant,
}

/// What an INVITE to an operator's phone carries. Makers agree on no one way to ask for an answer: Call-Info is
/// Grandstream's, Snom's and Cisco's, Alert-Info Yealink's and others'; a phone ignores what it doesn't know.
pub(crate) fn headers(call: &str, answers_itself: bool) -> Vec<(String, String)> {
    let mut headers = vec![("X-Hotline-Call".to_owned(), call.to_owned())];
    if answers_itself {
        headers.extend(auto_answer());
    }
    headers
}

/// What asks a phone to answer by itself.
pub(super) fn auto_answer() -> Vec<(String, String)> {
    vec![
        ("Call-Info".to_owned(), "<sip:hotline>;answer-after=0".to_owned()),
        ("Alert-Info".to_owned(), "<http://127.0.0.1>;info=alert-autoanswer;delay=0".to_owned()),
    ]
}

impl Driver {
    pub(crate) fn ring_desk(&self, who: OperatorRef) -> Result<OperatorLeg, RingError> {
        let answers_itself = self.sv.desk_phones.answers_itself(&who.id);
        let leg = match self.borrow_line(&who)? {
            Some(leg) => leg,
            None => self.dial_operator(&who, answers_itself)?,
        };
        Ok(OperatorLeg { answers_itself, ..OperatorLeg::ringing(who, leg) })
    }

    /// An outside number is an operator's phone: a call like any other to an outside number.
    pub(crate) async fn ring_outside(&self, who: OperatorRef, number: Pii<String>) -> Result<OperatorLeg, RingError> {
        if let Some(leg) = self.borrow_line(&who)? {
            return Ok(OperatorLeg::ringing(who, leg));
        }
        let operator = who.id.parse().ok();
        let wish =
            Wish { purpose: Purpose::Phone, number: number.reveal(), task: None, call: Some(self.call), operator };
        let permit = dialout::permit(&self.sv, wish).await.map_err(|refusal| match refusal {
            // Nothing their phone could do about it.
            Refusal::Store | Refusal::Concurrent => RingError::ours(refusal.to_string()),
            refusal => RingError::phones(refusal.to_string()),
        })?;
        let (leg, route) = self.dial_outside(&permit).map_err(RingError::ours)?;
        Ok(OperatorLeg { outside: Some(Box::new((permit, route))), ..OperatorLeg::ringing(who, leg) })
    }

    /// As `try_next_trunk`, for an operator outside.
    pub(crate) fn operator_over_next_trunk(&mut self, code: u16, why: &str, retry_s: Option<u32>) -> bool {
        let Some(operator) = self.operator.as_mut().filter(|o| !o.talking) else { return false };
        let Some((_, route)) = operator.outside.as_deref_mut() else { return false };
        if !route.may_go_on(code, why, retry_s, operator.rang) {
            return false;
        }
        let Ok(leg) = route.dial_next(&self.sv, &self.sip_tx, operator.leg.media) else { return false };
        operator.leg = leg;
        let (session, trunk) = (operator.leg.session, route.trunk());
        self.name_leg(session, &trunk, false);
        true
    }

    /// The phone that rang has answered.
    pub(crate) async fn picked_up(&mut self, settled: Settled) {
        let Some(operator) = &self.operator else { return };
        if operator.leg.loan().is_some() {
            // The leg has been up for long: all that is new is a citizen.
            return self.need(Needs::Zip, settled);
        }
        match (operator.leg.is_browser(), operator.outside.is_some(), operator.answers_itself) {
            (true, ..) => self.need(Needs::Media, settled),
            (_, true, _) => self.need(Needs::Key, settled),
            (.., true) => self.need(Needs::Zip, settled),
            _ => self.begin_talk(Some(settled)).await,
        }
    }

    fn need(&mut self, needs: Needs, settled: Settled) {
        let Some(rung_at) = self.operator.as_ref().map(|o| o.rung_at) else { return };
        let accepted_by = self.accepted_by(rung_at);
        let Some(operator) = &mut self.operator else { return };
        let (until, says) = match needs {
            Needs::Media => (Instant::now() + MEDIA_UP, None),
            Needs::Key => (accepted_by, Some("outside_accept")),
            Needs::Zip => (Instant::now() + ZIP_MAX, Some("beep")),
        };
        operator.picked_up = Some(Box::new(PickedUp { settled, needs, until }));
        let leg = operator.leg.id();
        if let Some(prompt) = says {
            let clips = self.sv.voice.clips(&[Say::Prompt(prompt.to_owned())]);
            self.sv.media.play(leg, OPERATOR_PLAY, clips, needs == Needs::Key);
        }
    }

    /// A browser was asked for its media before anything else.
    pub(crate) fn await_media(&mut self, settled: Settled) {
        self.need(Needs::Media, settled);
    }

    fn needs(&self) -> Option<Needs> {
        Some(self.operator.as_ref()?.picked_up.as_ref()?.needs)
    }

    pub(crate) fn pick_up_ends(&self) -> Option<Instant> {
        let operator = self.operator.as_ref().filter(|o| !o.talking)?;
        match &operator.picked_up {
            Some(picked_up) => Some(picked_up.until),
            None => operator.outside.is_some().then(|| self.accepted_by(operator.rung_at)),
        }
    }

    /// When an outside phone has to be picked up and the key pressed.
    fn accepted_by(&self, rung_at: Instant) -> Instant {
        rung_at + Duration::from_secs(self.sv.config.queue(&self.queue).ring_timeout_s) + ACCEPT_GRACE
    }

    async fn pick_up_done(&mut self) {
        let Some(operator) = &mut self.operator else { return };
        let leg = operator.leg.id();
        if let Some(picked_up) = operator.picked_up.take() {
            self.sv.media.stop_play(leg);
            self.begin_talk(Some(picked_up.settled)).await;
        }
    }

    /// A browser's media is up.
    pub(crate) async fn secured(&mut self, leg: hotline_media::LegId) {
        let Some(operator) = self.operator.as_mut().filter(|o| o.leg.id() == leg) else { return };
        if operator.picked_up.as_ref().is_none_or(|p| p.needs != Needs::Media) {
            return;
        }
        match operator.picked_up.take() {
            Some(picked_up) if operator.answers_itself => self.need(Needs::Zip, picked_up.settled),
            Some(picked_up) => self.begin_talk(Some(picked_up.settled)).await,
            None => {}
        }
    }

    /// A key at the operator's phone, however it came.
    pub(crate) async fn operator_presses(&mut self, digit: char) {
        if digit == ACCEPT_KEY && self.needs() == Some(Needs::Key) {
            self.pick_up_done().await;
        }
    }

    /// What was played to the operator is over.
    pub(crate) async fn operator_heard(&mut self, leg: hotline_media::LegId) {
        let is_theirs = self.operator.as_ref().is_some_and(|o| o.leg.id() == leg);
        if is_theirs && self.needs() == Some(Needs::Zip) {
            self.pick_up_done().await;
        }
    }

    /// It takes too long.
    pub(crate) async fn pick_up_late(&mut self) {
        match self.needs() {
            Some(Needs::Media) => self.media_never_came("no media in time").await,
            Some(Needs::Zip) => self.pick_up_done().await,
            // Or it rings still.
            Some(Needs::Key) | None => {
                if self.pick_up_ends().is_none() {
                    return;
                }
                info!(call = %self.call, "nobody accepts at the operator's outside number");
                if let Some(operator) = &self.operator {
                    operator.leg.let_go(&self.sv.sip, "not accepted");
                }
                self.operator_failed(NOT_ACCEPTED).await;
            }
        }
    }

    /// Picked up, and nobody would ever hear anything: the device has failed, the caller goes on waiting.
    pub(crate) async fn media_never_came(&mut self, why: &'static str) {
        let Some(operator) = self.operator.as_ref().filter(|o| o.picked_up.is_some()) else { return };
        info!(call = %self.call, why, "the operator's phone has picked up without media");
        operator.leg.end(&self.sv.sip, "SIP;cause=408;text=\"no media\"");
        self.operator_failed(UNUSABLE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_phone_that_is_to_answer_itself_is_told_so() {
        let names = |answers_itself| headers("c", answers_itself).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(false), ["X-Hotline-Call"]);
        assert_eq!(names(true), ["X-Hotline-Call", "Call-Info", "Alert-Info"]);
    }
}
