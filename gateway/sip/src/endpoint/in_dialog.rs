//! Requests inside a dialog

use super::Endpoint;
use super::cancel::reason_of;
use crate::event::{EndedBy, Event, SessionId};
use crate::flow::Flow;
use crate::message::{Message, Method};
use crate::session::{DTMF_TYPES, State, dtmf_of};
use std::time::Instant;

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
        let dialog = session.dialog_mut(message.from_tag());
        if dialog.remote_cseq.is_some_and(|last| message.cseq() <= last) {
            return self.reply(flow, &message, 500, "Out Of Order", &[]);
        }
        dialog.remote_cseq = Some(message.cseq());
        self.follow_flow(id, flow);
        match message.method() {
            Method::Bye => self.receive_bye(now, flow, id, message),
            Method::Info => self.receive_info(now, flow, id, message),
            Method::Invite | Method::Update => self.receive_reoffer(now, flow, id, message),
            Method::Options => self.reply_options(flow, &message),
            Method::Refer => self.receive_refer(now, flow, id, message),
            Method::Subscribe => self.receive_subscribe(now, flow, id, message),
            Method::Prack => self.receive_prack(now, flow, id, message),
            // We subscribe to nothing.
            Method::Notify => self.reply(flow, &message, 481, "", &[]),
            Method::Other => self.reply(flow, &message, 501, "", &[]),
            _ => self.reply(flow, &message, 405, "", &[]),
        }
    }

    fn receive_bye(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let reason = reason_of(&message);
        let Some(state) = self.sessions.get(&id).map(|s| s.state) else {
            return;
        };
        let remote_tag = message.from_tag().to_vec();
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        self.respond(now, tx, 200, "", &[], b"");
        self.end_pending(now, id);
        if let State::Dialing { invite } = state {
            return self.early_bye(now, id, invite, &remote_tag, reason);
        }
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

    /// A callee may not do this before its answer (RFC 3261 §15), yet some do: its fork is gone,
    /// and with the last fork the call
    fn early_bye(&mut self, now: Instant, id: SessionId, invite: u64, remote_tag: &[u8], reason: Option<String>) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.early.retain(|e| e.dialog.remote_tag != remote_tag);
        if session.early.is_empty() {
            self.remove_session(id);
            self.cancel_invite(now, invite, None);
            self.emit(Event::Ended { id, by: EndedBy::Remote, reason });
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
}
