//! CANCEL from the peer (RFC 3261 §9.2)

use super::Endpoint;
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::message::{HeaderName, Message};
use crate::session::State;
use std::time::Instant;

impl Endpoint {
    pub(super) fn receive_cancel(&mut self, now: Instant, flow: Flow, known: Option<u64>, message: &Message) {
        let Some(tx) = known.and_then(|id| self.servers.get(&id)) else {
            return if self.serves(flow) {
                self.reply(flow, message, 481, "", &[]);
            } else {
                self.ignore_stranger(now, flow, message);
            };
        };
        let (is_open, session) = (tx.fsm.is_open(), tx.session);
        let reason = reason_of(message);
        self.reply(flow, message, 200, "", &[]);
        let Some(invite) = known.filter(|_| is_open) else {
            return;
        };
        self.respond(now, invite, 487, "", &[], b"");
        let Some(id) = session else { return };
        match self.sessions.get_mut(&id) {
            Some(session) if session.state == (State::Incoming { invite }) => {
                self.end_pending(now, id);
                self.remove_session(id);
                self.emit(Event::Cancelled { id, reason });
            }
            // A re-INVITE taken back: the driver's answer will find nothing to answer.
            Some(session) => {
                session.reoffer_in.take_if(|r| r.tx == invite);
                self.arm_session(id);
            }
            None => {}
        }
    }

    /// A session that is over from our side, or from the peer's BYE, answers nothing more
    pub(super) fn end_pending(&mut self, now: Instant, id: SessionId) {
        let pending = self.sessions.get_mut(&id).and_then(|s| s.reoffer_in.take());
        if let Some(reoffer) = pending {
            self.respond(now, reoffer.tx, 487, "", &[], b"");
        }
        self.drop_refer(now, id);
    }
}

/// The peer's `Reason` (RFC 3326), of a CANCEL or BYE
pub(super) fn reason_of(message: &Message) -> Option<String> {
    message.header(HeaderName::Reason).map(|r| String::from_utf8_lossy(r).into_owned())
}
