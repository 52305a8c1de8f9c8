//! Requests inside a dialog

use super::Endpoint;
use super::cancel::reason_of;
use crate::event::{EndedBy, Event, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{Message, Method};
use crate::session::{DTMF_TYPES, ReofferIn, State, dtmf_of, sdp_of};
use std::time::{Duration, Instant};

impl Endpoint {
    pub(super) fn receive_in_dialog(&mut self, now: Instant, flow: Flow, message: Message) {
        let Some(id) = self.find_session(&message) else {
            return if !self.serves(flow) {
                self.ignore_stranger(now, flow, &message);
            } else if message.method() == Method::Options {
                self.reply_options(flow, &message);
            } else {
                self.reply(flow, &message, 481, "", &[]);
            };
        };
        if self.refuse_extensions(flow, &message) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        // RFC 3261 §12.2.2: an older request is out of order.
        if session.dialog.remote_cseq.is_some_and(|last| message.cseq() <= last) {
            return self.reply(flow, &message, 500, "Out Of Order", &[]);
        }
        session.dialog.remote_cseq = Some(message.cseq());
        self.follow_flow(id, flow);
        match message.method() {
            Method::Bye => self.receive_bye(now, flow, id, message),
            Method::Info => self.receive_info(now, flow, id, message),
            Method::Invite | Method::Update => self.receive_reoffer(now, flow, id, message),
            Method::Options => self.reply_options(flow, &message),
            Method::Refer => self.receive_refer(now, flow, id, message),
            Method::Subscribe => self.receive_subscribe(now, flow, id, message),
            // We subscribe to nothing.
            Method::Notify | Method::Prack => self.reply(flow, &message, 481, "", &[]),
            Method::Other => self.reply(flow, &message, 501, "", &[]),
            _ => self.reply(flow, &message, 405, "", &[]),
        }
    }

    fn receive_bye(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let reason = reason_of(&message);
        let Some(state) = self.sessions.get(&id).map(|s| s.state) else {
            return;
        };
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        self.respond(now, tx, 200, "", &[], b"");
        self.end_pending(now, id);
        self.remove_session(id);
        match state {
            State::Incoming { invite } => {
                self.respond(now, invite, 487, "", &[], b"");
                self.emit(Event::Cancelled { id, reason });
            }
            State::Ending => {}
            _ => self.emit(Event::Ended { id, by: EndedBy::Remote, reason }),
        }
    }

    fn receive_info(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let key = dtmf_of(&message);
        let is_live = self.sessions.get(&id).is_some_and(|s| s.state != State::Ending);
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        match key {
            _ if !is_live => {
                self.respond(now, tx, 481, "", &[], b"");
            }
            Err(()) => {
                self.respond(now, tx, 415, "", &[("Accept", DTMF_TYPES)], b"");
            }
            Ok(None) => {
                self.respond(now, tx, 200, "", &[], b"");
            }
            Ok(Some((digit, duration_ms))) => {
                self.respond(now, tx, 200, "", &[], b"");
                self.emit(Event::Dtmf { id, digit, duration_ms });
            }
        }
    }

    /// A re-INVITE, or an UPDATE (RFC 3311)
    fn receive_reoffer(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let is_invite = message.method() == Method::Invite;
        let sdp = sdp_of(&message);
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let refresh_only = !is_invite && matches!(sdp, Ok(None));
        // RFC 3261 §14.2: 500 to a second offer of theirs, 491 to one that crosses ours.
        let problem = match (session.state, &sdp) {
            (State::Ending, _) => Some(481),
            (_, Err(error)) => Some(error.code()),
            _ if refresh_only => None,
            _ if session.reoffer_in.is_some() => Some(500),
            (State::Confirmed, _) if session.can_take_offer() => None,
            _ => Some(491),
        };
        let retry_after = (self.random.next_u64() % 11).to_string();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if problem.is_none() {
            session.dialog.refresh(&message);
        }
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        match problem {
            Some(500) => {
                self.respond(now, tx, 500, "", &[("Retry-After", &retry_after)], b"");
            }
            Some(415) => {
                self.respond(now, tx, 415, "", &[("Accept", "application/sdp")], b"");
            }
            Some(code) => {
                self.respond(now, tx, code, "", &[], b"");
            }
            None if refresh_only => {
                let contact = self.sessions.get(&id).map(|s| s.contact.clone()).unwrap_or_default();
                self.respond(now, tx, 200, "", &[("Contact", &contact)], b"");
            }
            None => {
                if is_invite {
                    self.respond(now, tx, 100, "", &[], b"");
                }
                let sdp = sdp.ok().flatten();
                let give_up_at = now + Duration::from_millis(limits::REOFFER_ANSWER_MS_MAX);
                let waiting = ReofferIn { tx, is_invite, wants_offer: sdp.is_none(), give_up_at };
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.reoffer_in = Some(waiting);
                }
                self.own_server(tx, id);
                self.arm_session(id);
                self.emit(Event::Reoffer { id, sdp });
            }
        }
    }
}
