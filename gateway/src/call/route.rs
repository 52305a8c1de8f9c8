//! The trunks a permitted call of ours may try, one after the other.

use std::collections::VecDeque;

use hotline_sip::{Dial, Event, Target, Transport};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::driver::Driver;
use super::leg::{Leg, Speaks};
use super::security::security;
use super::trust::trust_in_trunk;
use crate::app::Services;
use crate::net::media::LegInfo;
use crate::trunk::choose::is_carriers_failure;
use crate::trunk::{Attempt, TrunkCall, rewrite};

/// What is left to try, and what is being tried.
pub(crate) struct Route {
    attempts: VecDeque<Attempt>,
    current: Option<(Attempt, TrunkCall)>,
    /// As an allowed call is dialled, before any trunk's own rules.
    digits: String,
    /// The number we show where a trunk names none of its own.
    shown: String,
    /// No trunk is too full for it.
    is_emergency: bool,
}

impl Route {
    pub(crate) fn new(attempts: Vec<Attempt>, digits: String, shown: String, is_emergency: bool) -> Self {
        Self { attempts: attempts.into(), current: None, digits, shown, is_emergency }
    }

    /// The trunk being tried, or to be tried first.
    pub(crate) fn trunk(&self) -> String {
        let attempt = self.current.as_ref().map(|(attempt, _)| attempt).or(self.attempts.front());
        attempt.map_or_else(String::new, |a| a.trunk.config.name.clone())
    }

    /// The number the first of them shows.
    pub(crate) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Dials the next attempt; `Err` tells why nothing is left.
    pub(crate) fn dial_next(
        &mut self,
        sv: &Services,
        events: &mpsc::Sender<Box<Event>>,
        media: LegInfo,
    ) -> Result<Leg, String> {
        let mut why = "no trunk has room".to_owned();
        // The try before this one is over: its place may be the only one.
        self.current = None;
        while let Some(attempt) = self.attempts.pop_front() {
            // Between the choice and now another call may have taken the last place.
            let place = if self.is_emergency { Some(attempt.trunk.begin_beyond()) } else { attempt.trunk.begin_out() };
            let Some(call) = place else { continue };
            let config = &attempt.trunk.config;
            let may = sv.config.sip.srtp_keys_in_clear;
            let security = match security(config.srtp, Transport::from(config.transport), may) {
                Ok(security) => security,
                Err(e) => {
                    why = e.to_string();
                    continue;
                }
            };
            let speaks = Speaks::trunk(&sv.config, Some(&config.name));
            let trust = trust_in_trunk(Some(config), attempt.remote.ip());
            match Leg::dial(&sv.sip, events.clone(), media, speaks, security, trust, self.describe(sv, &attempt)) {
                Ok(leg) => {
                    self.current = Some((attempt, call));
                    return Ok(leg);
                }
                Err(e) => why = e.to_string(),
            }
        }
        Err(why)
    }

    /// The call it was for is over, or goes another way: its place on the trunk is free.
    pub(crate) fn let_go(&mut self) {
        self.current = None;
    }

    /// Tells the trunk what came of its try; true where the carrier, not the person called, was the reason.
    pub(crate) fn may_go_on(&self, code: u16, reason: &str, retry_after_s: Option<u32>, rang: bool) -> bool {
        if let Some((attempt, _)) = &self.current {
            attempt.trunk.on_failure(attempt.remote, code, reason, retry_after_s);
        }
        is_carriers_failure(code, rang)
    }

    fn describe(&self, sv: &Services, attempt: &Attempt) -> Dial {
        let config = &attempt.trunk.config;
        let shown = if config.caller_id.is_empty() { &self.shown } else { &config.caller_id };
        // RFC 3263 §4: the name stays in the Request-URI, whatever address it leads to.
        let host = config.outbound.as_ref().map_or_else(|| attempt.remote.to_string(), ToString::to_string);
        let digits = rewrite(&config.numbers.called_out, &self.digits);
        Dial {
            target: Target::Uri {
                uri: format!("sip:{digits}@{host}"),
                transport: Transport::from(config.transport),
                remote: attempt.remote,
                local: attempt.trunk.local,
            },
            from: rewrite(&config.numbers.calling_out, shown),
            display: None,
            to: None,
            sdp: Vec::new(),
            credentials: config.user.clone().zip(config.password.clone()),
            ring_timeout_ms: sv.config.callback.ring_s * 1000,
            // The last one gets all the time there is.
            first_response_ms: (!self.attempts.is_empty()).then_some(config.first_response_ms),
            extra_headers: Vec::new(),
        }
    }
}

impl Driver {
    /// After a failed try: dials the next trunk or address if the carrier, not the citizen, was the
    /// reason. False: the call has failed.
    pub(crate) fn try_next_trunk(&mut self, code: u16, reason: &str, retry_after_s: Option<u32>, rang: bool) -> bool {
        let Some(route) = &mut self.route else { return false };
        if !route.may_go_on(code, reason, retry_after_s, rang) {
            return false;
        }
        let failed = route.trunk();
        match route.dial_next(&self.sv, &self.sip_tx, self.citizen.media) {
            Ok(leg) => {
                self.citizen = leg;
                let next = route.trunk();
                info!(call = %self.call, failed, code, next, "trunk failed, the next one is tried");
                self.story.event("trunk_failed", serde_json::json!({ "trunk": failed, "code": code, "next": next }));
                self.name_leg(self.citizen.session, &next, true);
                true
            }
            Err(why) => {
                warn!(call = %self.call, failed, code, why, "no trunk left");
                self.story.event("trunk_failed", serde_json::json!({ "trunk": failed, "code": code }));
                false
            }
        }
    }
}
