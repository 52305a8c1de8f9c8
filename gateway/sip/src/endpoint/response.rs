//! Sorting responses

use super::Endpoint;
use super::client_tx::Owner;
use crate::event::{EndedBy, Event, SessionId};
use crate::flow::Flow;
use crate::message::{HeaderName, Message, reason_phrase};
use crate::session::State;
use crate::transaction::OnResponse;
use std::time::Instant;

impl Endpoint {
    pub(super) fn receive_response(&mut self, now: Instant, flow: Flow, message: &Message) {
        // More than one Via: it was routed to us by mistake (RFC 3261 §8.1.3.3).
        if message.elements(HeaderName::Via).count() != 1 {
            return;
        }
        let Some(id) = self.find_client(message) else {
            return;
        };
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        let (step, owner) = (tx.fsm.on_response(now, message.code()), tx.owner);
        if matches!(step, OnResponse::Ack | OnResponse::AckAndDeliver) {
            self.ack_error(id, message);
        }
        if matches!(step, OnResponse::Deliver | OnResponse::AckAndDeliver) {
            match owner {
                Owner::Dial(session) => self.dial_response(now, flow, id, session, message),
                Owner::Reoffer(session) => self.reoffer_response(now, flow, id, session, message),
                Owner::Bye(session) => self.bye_response(now, id, session, message),
                Owner::Notify(session) => self.notify_response(now, id, session, message),
                Owner::Ask(ask) => self.ask_response(now, id, ask, message),
                Owner::Prack(_) => {
                    self.answer_challenge(now, id, message);
                }
                Owner::Nobody => {}
            }
        }
        if self.clients.get(&id).is_some_and(|tx| tx.fsm.is_terminated()) {
            self.remove_client(id);
        } else {
            if message.code() >= 200
                && let Some(tx) = self.clients.get_mut(&id)
            {
                tx.shrink();
            }
            self.arm_client(id);
        }
    }

    fn bye_response(&mut self, now: Instant, id: u64, session: SessionId, message: &Message) {
        if message.code() >= 200 && self.answer_challenge(now, id, message).is_none() {
            self.remove_session(session);
        }
    }

    /// No final response will come: it timed out (408), or the transport failed (503)
    pub(super) fn client_failed(&mut self, now: Instant, id: u64, code: u16) {
        let Some((owner, cseq)) = self.clients.get(&id).map(|tx| (tx.owner, tx.request.cseq)) else {
            return;
        };
        self.remove_client(id);
        match owner {
            Owner::Dial(session) => {
                if self.remove_session(session).is_some() {
                    let reason = reason_phrase(code).to_owned();
                    self.emit(Event::Failed { id: session, code, reason, retry_after_s: None, contacts: Vec::new() });
                }
            }
            Owner::Reoffer(session) if self.is_current_reoffer(session, id) => {
                self.reoffer_unanswered(now, session, code)
            }
            Owner::Bye(session) => {
                self.remove_session(session);
            }
            Owner::Notify(session) => self.notify_done(now, session, false),
            Owner::Ask(ask) => self.ask_failed(ask, cseq, code),
            Owner::Reoffer(_) | Owner::Prack(_) | Owner::Nobody => {}
        }
    }

    /// The peer doesn't know the dialog any more, or is silent (RFC 3261 §12.2.1.2)
    pub(super) fn reoffer_lost(&mut self, now: Instant, id: SessionId) {
        if self.is_live(id) {
            self.send_bye(now, id, None);
            self.emit(Event::Ended { id, by: EndedBy::Timeout, reason: None });
        }
    }

    /// A silent peer ends a call that is up; an early dialog is left to the INVITE's own fate. A browser's WebSocket
    /// may be dead long before that is noticed, and loss of signalling ends no call: who watches the media does
    fn reoffer_unanswered(&mut self, now: Instant, id: SessionId, code: u16) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.state == State::Confirmed && !session.can_be_cut() {
            return self.reoffer_lost(now, id);
        }
        let was_refresh = session.reoffer_out.take().is_some_and(|r| r.is_refresh);
        if was_refresh && let Some(expiry) = &mut session.expiry {
            expiry.wait(now, std::time::Duration::from_secs(2));
            return self.arm_session(id);
        }
        self.arm_session(id);
        self.emit(Event::ReofferAnswered { id, code, sdp: None });
    }
}
