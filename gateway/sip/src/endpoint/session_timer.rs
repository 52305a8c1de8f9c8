//! Session timers in both roles (RFC 4028)

use super::Endpoint;
use super::extension::supports;
use crate::event::{EndedBy, Event, SessionId};
use crate::message::{HeaderName, Message};
use crate::session::{Expiry, ReofferOut, Session, State, min_se, session_expires};
use std::time::{Duration, Instant};

/// The least `Min-SE`, and its value where the header is absent (RFC 4028 §5)
const MIN_SE_S: u32 = 90;

/// Whether the peer's `Allow` names UPDATE; `None` where it says nothing
pub(super) fn allows_update(message: &Message) -> Option<bool> {
    message.header(HeaderName::Allow)?;
    Some(message.elements(HeaderName::Allow).any(|method| method == b"UPDATE"))
}

impl Endpoint {
    /// The `Min-SE` a request must be told with a 422; `None` where its interval will do
    pub(super) fn too_short_timer(&self, request: &Message) -> Option<u32> {
        let min_s = self.config.session_timer.min_se_s.max(MIN_SE_S);
        let (interval_s, _) = session_expires(request)?;
        (interval_s < min_s && supports(request, "timer")).then_some(min_s)
    }

    /// Agrees on a timer for the 2xx to an INVITE or UPDATE; gives its header fields (RFC 4028 §9)
    pub(super) fn agree_timer(&mut self, now: Instant, id: SessionId, tx: u64) -> Vec<(&'static str, String)> {
        let Some(request) = self.servers.get(&tx).and_then(|tx| tx.request.as_deref()) else {
            return Vec::new();
        };
        let knows_timer = supports(request, "timer");
        let asked = session_expires(request);
        let floor_s = min_se(request).unwrap_or(0).max(MIN_SE_S);
        let own_s = self.config.session_timer.expires_s;
        let Some(session) = self.sessions.get_mut(&id) else {
            return Vec::new();
        };
        // Before the call is up only its own INVITE sets a timer.
        match session.state {
            State::Incoming { invite } if invite == tx => {}
            State::Accepted | State::Confirmed => {}
            _ => return Vec::new(),
        }
        let (interval_s, refresher) = match asked {
            Some((interval_s, refresher)) => (if own_s == 0 { interval_s } else { interval_s.min(own_s) }, refresher),
            None if knows_timer && own_s > 0 => (own_s, None),
            None => {
                session.expiry = None;
                return Vec::new();
            }
        };
        let interval_s = interval_s.max(floor_s).max(self.config.session_timer.min_se_s);
        // What the request says is kept; else whoever knows timers refreshes, the peer first.
        let is_peers = knows_timer && refresher.unwrap_or(true);
        session.min_se_s = session.min_se_s.max(floor_s);
        session.expiry = Some(Expiry::new(now, interval_s, !is_peers));
        self.arm_session(id);
        let role = if is_peers { "uac" } else { "uas" };
        let mut headers = vec![("Session-Expires", format!("{interval_s};refresher={role}"))];
        if is_peers {
            headers.push(("Require", "timer".to_owned()));
        }
        headers
    }

    /// Takes the timer a 2xx to our INVITE or UPDATE sets; none ends ours (RFC 4028 §7.2)
    pub(super) fn take_timer(now: Instant, session: &mut Session, response: &Message) {
        session.expiry = session_expires(response)
            .map(|(interval_s, refresher)| Expiry::new(now, interval_s.max(MIN_SE_S), refresher.unwrap_or(true)));
    }

    /// The header fields of a request that starts or refreshes a session (RFC 4028 §7.1, §7.4)
    pub(super) fn timer_request(&self, session: Option<&Session>) -> Vec<(String, String)> {
        let expiry = session.and_then(|s| s.expiry);
        let min_se_s = session.map_or(0, |s| s.min_se_s).max(self.config.session_timer.min_se_s);
        let interval_s = expiry.map_or(self.config.session_timer.expires_s, |e| e.interval_s);
        if interval_s == 0 || (session.is_some() && expiry.is_none()) {
            return Vec::new();
        }
        let role = expiry.map_or("", |e| if e.is_ours { ";refresher=uac" } else { ";refresher=uas" });
        let value = format!("{}{role}", interval_s.max(min_se_s));
        let mut headers = vec![("Session-Expires".to_owned(), value)];
        if min_se_s > MIN_SE_S {
            headers.push(("Min-SE".to_owned(), min_se_s.to_string()));
        }
        headers
    }

    /// A refresh is due, or the peer's never came
    pub(super) fn expiry_timeout(&mut self, now: Instant, id: SessionId) {
        let has_room = self.has_client_room();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.is_cut() {
            // Loss of signalling ends no call: who watches the media does.
            if let Some(expiry) = &mut session.expiry {
                expiry.wait(now, Duration::from_secs(2));
            }
            return;
        }
        let is_free = session.state == State::Confirmed && session.is_stable();
        let Some(expiry) = &mut session.expiry else {
            return;
        };
        if expiry.end_at <= now {
            self.send_bye(now, id, Some("SIP;cause=408;text=\"Session expired\""));
            return self.emit(Event::Ended { id, by: EndedBy::Timeout, reason: None });
        }
        if expiry.refresh_at.is_none_or(|at| at > now) {
            return;
        }
        if !is_free || !has_room {
            // What is being negotiated now refreshes too.
            expiry.refresh_at = Some(now + Duration::from_secs(2));
            return;
        }
        expiry.refresh_at = None;
        self.send_refresh(now, id);
    }

    /// UPDATE if the peer knows it, else a re-INVITE that offers what holds already (RFC 4028 §7.4)
    pub(super) fn send_refresh(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let is_update = session.allows_update;
        let sdp = if is_update { Vec::new() } else { session.local_sdp.clone() };
        let remote_tag = session.dialog.remote_tag.clone();
        self.send_reoffer(now, id, ReofferOut::new(sdp, is_update, true, remote_tag));
    }
}
