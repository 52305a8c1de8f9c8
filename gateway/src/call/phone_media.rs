//! The operator's phone as far as its media goes: how it is encrypted, and what becomes of a talk it sends
//! nothing to any more. Its signalling may be away meanwhile: a talk goes on as long as it is heard.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotline_media::LegId;
use hotline_media::sdp::Security;
use hotline_sip::Transport;
use serde_json::json;
use tracing::info;

use super::driver::Driver;
use super::security::{SecurityError, browser, security};
use crate::acd::{OperatorRef, OperatorState};
use crate::app::Services;

/// While the citizen is held a browser may be silent for so many times as long: nobody misses it.
const HELD_FACTOR: u64 = 4;

/// A silent phone is asked whether it is there, and has so long to answer.
const PROBE: Duration = Duration::from_secs(4);

/// How long a phone may go on being silent, from when its silence is noticed.
pub(super) struct Patience {
    talking: Duration,
    pub(super) held: Duration,
}

pub(super) fn patience(dead_ms: u64, silence_ms: u64) -> Patience {
    let after = |ms: u64| Duration::from_millis(ms.saturating_sub(silence_ms));
    Patience { talking: after(dead_ms), held: after(dead_ms.saturating_mul(HELD_FACTOR)) }
}

/// Which legs nothing comes from, and when the operator's is given up for it.
#[derive(Debug, Default)]
pub(crate) struct PhoneWatch {
    /// Of any kind: a guest's may be the operator's next.
    silent: BTreeSet<LegId>,
    /// Which have sent at least one packet.
    heard: BTreeSet<LegId>,
    running: Option<Running>,
}

/// A leg that is silent although it should not be, and how long that may go on.
#[derive(Clone, Copy, Debug)]
struct Running {
    expected: (LegId, Duration),
    until: Instant,
    /// It was asked whether it is there.
    probed: bool,
}

impl PhoneWatch {
    /// The first packet of a leg.
    pub(crate) fn hear(&mut self, leg: LegId) {
        self.heard.insert(leg);
    }

    /// The leg has sent something once.
    pub(crate) fn was_heard(&self, leg: LegId) -> bool {
        self.heard.contains(&leg)
    }

    /// Nothing comes from a leg any more, or again.
    pub(crate) fn note(&mut self, leg: LegId, is_silent: bool) {
        if is_silent {
            self.silent.insert(leg);
        } else {
            self.silent.remove(&leg);
        }
    }

    /// Nothing comes from the leg just now.
    pub(crate) fn is_silent(&self, leg: LegId) -> bool {
        self.silent.contains(&leg)
    }

    pub(crate) fn forget(&mut self, leg: LegId) {
        self.silent.remove(&leg);
        self.heard.remove(&leg);
    }

    /// `expected`: whom one should hear now, and for how long they may be silent. The time runs anew when that
    /// changes, so that a phone has a chance after each hold.
    pub(crate) fn judge(&mut self, now: Instant, expected: Option<(LegId, Duration)>) {
        let missed = expected.filter(|(leg, _)| self.silent.contains(leg));
        if self.running.map(|running| running.expected) != missed {
            self.running = missed.map(|expected| Running { expected, until: now + expected.1, probed: false });
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.running.map(|running| running.until)
    }

    /// The leg to give up, if it is time.
    pub(crate) fn given_up(&mut self, now: Instant) -> Option<LegId> {
        self.running.take_if(|running| running.until <= now).map(|running| running.expected.0)
    }

    /// It is about to be given up, and is asked first; false: that was done.
    pub(super) fn probe(&mut self, now: Instant) -> bool {
        let due = self.running.as_mut().filter(|running| running.until <= now && !running.probed);
        due.is_some_and(|running| {
            (running.probed, running.until) = (true, now + PROBE);
            true
        })
    }

    /// It has answered an offer of ours with `code`, whatever that says: somebody is there, and may be silent for
    /// `patience`.
    pub(super) fn answers(&mut self, code: u16, patience: Duration) {
        if !matches!(code, 408 | 481 | 503) {
            self.is_there(Instant::now(), patience);
        }
    }

    /// It answers, silent as it is: judged again after `patience`.
    fn is_there(&mut self, now: Instant, patience: Duration) {
        if let Some(running) = self.running.as_mut().filter(|running| running.probed) {
            (running.probed, running.until) = (false, now + patience);
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> Option<LegId> {
        self.running.filter(|running| running.until <= now).map(|running| running.expected.0)
    }
}

/// See [`Driver::security_over`].
fn security_over(sv: &Services, transport: Transport) -> Result<Security, SecurityError> {
    if transport.is_web() {
        return browser(sv.media.fingerprint());
    }
    let sip = &sv.config.sip;
    security(sip.phone_srtp, transport, sip.srtp_keys_in_clear)
}

/// A phone's keys travel over TLS only if all its bindings do: any of them may be rung.
pub(super) fn phone_security(sv: &Services, who: &OperatorRef) -> Result<Security, String> {
    let bindings = sv.sip.bindings(&who.sip_user);
    let transports = || bindings.iter().map(|binding| binding.flow.transport);
    // The first is the one that rings.
    let transport = match transports().next().filter(|first| first.is_web()) {
        Some(web) => web,
        None => transports().find(|t| *t != Transport::Tls && !t.is_web()).unwrap_or(Transport::Tls),
    };
    security_over(sv, transport).map_err(|e| e.to_string())
}

impl Driver {
    /// For a leg of a phone that signals over `transport`. A browser speaks DTLS-SRTP and nothing else.
    pub(crate) fn security_over(&self, transport: Transport) -> Result<Security, SecurityError> {
        security_over(&self.sv, transport)
    }

    /// Judges anew what holds now: a hold has ended, the phone is another, nothing comes from it any more.
    pub(crate) fn judge_phone(&mut self) {
        let media = &self.sv.config.media;
        let patience = patience(media.phone_dead_ms, media.rtp_silence_ms);
        let talking = self.operator.as_ref().filter(|o| o.talking);
        let expected = talking.and_then(|o| {
            let leg = o.leg.id();
            if !o.holds.any() {
                return Some((leg, patience.talking));
            }
            // Another phone may be silent on hold, and its session timer watches it.
            o.leg.is_browser().then_some((leg, patience.held))
        });
        self.phone_watch.judge(Instant::now(), expected);
    }

    /// Nothing came from the phone for too long. A browser's line is gone then; another phone that was heard before may
    /// have nothing to send (RFC 3389: no comfort noise), and says by its signalling that it is there.
    pub(crate) async fn phone_silent(&mut self) {
        let now = Instant::now();
        let Some(leg) = self.phone_watch.is_due(now) else { return };
        let operator = self.operator.as_ref().filter(|o| o.leg.id() == leg && !o.leg.is_browser());
        if let Some(operator) = operator.filter(|_| self.phone_watch.was_heard(leg))
            && self.phone_watch.probe(now)
        {
            self.sv.sip.reoffer(operator.leg.session, &operator.leg.offer());
            return;
        }
        self.phone_watch.given_up(now);
        self.phone_died(leg).await;
    }

    /// The phone has answered an offer of ours with `code`, whatever it said: somebody is there.
    pub(crate) fn phone_answers(&mut self, code: u16) {
        let media = &self.sv.config.media;
        self.phone_watch.answers(code, patience(media.phone_dead_ms, media.rtp_silence_ms).held);
    }

    /// The operator talks with the citizen.
    pub(crate) fn talks(&self) -> bool {
        self.operator.as_ref().is_some_and(|o| o.talking)
    }

    /// The phone is given up: who is left goes on with the citizen, else they go back to the head of the queue.
    pub(crate) async fn phone_died(&mut self, leg: LegId) {
        let operator = self.operator.as_ref().filter(|o| o.talking && o.leg.id() == leg);
        let Some(operator) = operator else { return };
        info!(call = %self.call, "nothing comes from the operator's phone any more");
        self.story.event("operator_media_lost", json!({}));
        operator.leg.end(&self.sv.sip, "SIP;cause=408;text=\"no media\"");
        if !self.phone_watch.was_heard(leg) {
            self.mistrust_phone().await;
        }
        if !self.goes_on_without_operator().await {
            self.operator_lost().await;
        }
    }

    /// A phone that is picked up and never sends anything would do so to every caller: its operator comes back once
    /// they have looked at it and say ready.
    async fn mistrust_phone(&mut self) {
        let Some(who) = self.operator.as_ref().map(|o| o.who.id.clone()).filter(|id| !id.is_empty()) else { return };
        if let Err(error) = self.sv.acd.force_state(&who, OperatorState::Away, "no_media").await {
            info!(call = %self.call, operator = who, %error, "the operator of a dead phone can't be set away");
        }
    }

    /// A browser's leg has come to no keys: nobody will ever hear anything on it.
    pub(crate) async fn secure_failed(&mut self, leg: LegId, why: &'static str) {
        self.story.event("secure_failed", json!({ "leg": self.role(leg), "why": why }));
        if self.operator.as_ref().is_some_and(|o| o.leg.id() == leg && o.picked_up.is_some()) {
            return self.media_never_came(why).await;
        }
        self.phone_died(leg).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: LegId = LegId(2);
    const GUEST: LegId = LegId(3);
    const TALK: Duration = Duration::from_secs(10);
    const HELD: Duration = Duration::from_secs(55);

    #[test]
    fn a_phone_is_given_up_after_its_silence_unless_it_is_heard_again() {
        let (mut watch, start) = (PhoneWatch::default(), Instant::now());
        watch.judge(start, Some((PHONE, TALK)));
        assert_eq!(watch.due(), None);
        watch.note(PHONE, true);
        watch.judge(start, Some((PHONE, TALK)));
        // What else happens in the call gains it no time.
        watch.judge(start + TALK / 2, Some((PHONE, TALK)));
        assert_eq!(watch.given_up(start + TALK / 2), None);
        assert_eq!(watch.given_up(start + TALK), Some(PHONE));
        watch.note(PHONE, false);
        watch.judge(start + TALK, Some((PHONE, TALK)));
        assert_eq!(watch.due(), None);
    }

    #[test]
    fn a_phone_that_dies_on_hold_is_given_up_there_or_soon_after_the_hold() {
        let (mut watch, start) = (PhoneWatch::default(), Instant::now());
        watch.judge(start, Some((PHONE, HELD)));
        watch.note(PHONE, true);
        watch.judge(start, Some((PHONE, HELD)));
        assert_eq!(watch.due(), Some(start + HELD));
        // The hold ends: it should be heard soon.
        let later = start + Duration::from_secs(20);
        watch.judge(later, Some((PHONE, TALK)));
        assert_eq!(watch.due(), Some(later + TALK));
        // Held again, by a phone that may be silent then: nothing runs, and all the same it is judged afterwards.
        watch.judge(later, None);
        assert_eq!(watch.due(), None);
        watch.judge(later + HELD, Some((PHONE, TALK)));
        assert_eq!(watch.given_up(later + HELD + TALK), Some(PHONE));
    }

    #[test]
    fn a_guest_that_was_dead_already_is_judged_once_it_is_the_operators() {
        let (mut watch, start) = (PhoneWatch::default(), Instant::now());
        watch.note(GUEST, true);
        watch.judge(start, Some((PHONE, TALK)));
        assert_eq!(watch.due(), None);
        watch.judge(start, Some((GUEST, TALK)));
        assert_eq!(watch.given_up(start + TALK), Some(GUEST));
    }

    #[test]
    fn a_silent_phone_that_answers_is_left_alone_for_a_while_and_one_that_does_not_is_given_up() {
        let (mut watch, start) = (PhoneWatch::default(), Instant::now());
        watch.note(PHONE, true);
        watch.judge(start, Some((PHONE, TALK)));
        assert!(!watch.probe(start), "it is not time");
        let due = start + TALK;
        assert!(watch.probe(due));
        assert_eq!(watch.is_due(due), None, "it has time to answer");
        // What happens meanwhile takes nothing from it.
        watch.judge(due, Some((PHONE, TALK)));
        watch.is_there(due, HELD);
        assert_eq!(watch.due(), Some(due + HELD));
        let again = due + HELD;
        assert!(watch.probe(again));
        assert!(!watch.probe(again + PROBE), "asked once");
        assert_eq!((watch.is_due(again + PROBE), watch.given_up(again + PROBE)), (Some(PHONE), Some(PHONE)));
    }

    #[test]
    fn a_held_phone_has_more_time_than_one_that_talks() {
        let patience = patience(15_000, 5_000);
        assert_eq!((patience.talking, patience.held), (TALK, HELD));
    }
}
