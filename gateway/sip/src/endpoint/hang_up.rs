//! Ending a call from our side

use super::client_tx::{Order, Owner};
use super::{Endpoint, SessionError};
use crate::dialog::next_hop;
use crate::event::{EndedBy, Event, SessionId};
use crate::message::{Method, quote};
use crate::session::State;
use std::time::Instant;

impl Endpoint {
    /// Ends a call with what its state requires: 480, CANCEL, or BYE
    ///
    /// `cause` goes into a `Reason` header (RFC 3326): a whole value such as
    /// `Q.850;cause=16`, or a plain text, or empty for none. `Ended` by `Local`
    /// follows at once; what is left to do on the wire goes on unseen: a 2xx
    /// that crosses the CANCEL is ACKed and ended with BYE, and a BYE waits for
    /// the ACK of our 2xx (RFC 3261 §15).
    ///
    /// # Errors
    /// [`SessionError::Unknown`] where there is no such session any more.
    pub fn hang_up(&mut self, now: Instant, id: SessionId, cause: &str) -> Result<(), SessionError> {
        let reason = reason_value(cause);
        let session = self.sessions.get_mut(&id).ok_or(SessionError::Unknown)?;
        match session.state {
            State::Ending => return Err(SessionError::Unknown),
            State::Incoming { invite } => {
                let header = reason.as_deref().map(|r| ("Reason", r));
                self.respond(now, invite, 480, "", header.as_slice(), b"");
                self.end_pending(now, id);
                self.remove_session(id);
            }
            State::Dialing { invite } => {
                self.end_pending(now, id);
                self.remove_session(id);
                self.cancel_invite(now, invite, reason);
            }
            State::Accepted => {
                session.state = State::Ending;
                session.bye_after_ack = reason;
                session.expiry = None;
                self.arm_session(id);
            }
            State::Confirmed => self.send_bye(now, id, reason.as_deref()),
        }
        self.emit(Event::Ended { id, by: EndedBy::Local, reason: None });
        Ok(())
    }

    /// Sends BYE and keeps the dialog until it is answered
    pub(super) fn send_bye(&mut self, now: Instant, id: SessionId, reason: Option<&str>) {
        self.end_pending(now, id);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.state = State::Ending;
        session.ok = None;
        session.reoffer_out = None;
        session.expiry = None;
        let mut bye = session.dialog.request(Method::Bye);
        bye.headers.extend(reason.map(|r| ("Reason".to_owned(), r.to_owned())));
        let flow = next_hop(&session.dialog.next_hop_uri(), session.flow, session.is_phone);
        let local_tag = session.dialog.local_tag.clone();
        let credentials = session.credentials.clone();
        self.arm_session(id);
        self.open_client(
            now,
            bye,
            Order { flow, owner: Owner::Bye(id), credentials, local_tag, try_count: 0, is_phone: false },
        );
    }
}

fn reason_value(cause: &str) -> Option<String> {
    let cause = cause.trim();
    let protocol = cause.split(';').next().unwrap_or("");
    let is_value = cause.contains(';') && !protocol.is_empty() && protocol.bytes().all(crate::message::is_token_byte);
    match cause {
        "" => None,
        _ if is_value => Some(cause.to_owned()),
        _ => Some(format!("SIP;text={}", quote(cause))),
    }
}

#[cfg(test)]
mod tests {
    use super::reason_value;

    #[test]
    fn a_cause_becomes_a_reason_header() {
        assert_eq!(reason_value(""), None);
        assert_eq!(reason_value("Q.850;cause=16").as_deref(), Some("Q.850;cause=16"));
        assert_eq!(reason_value("shift over").as_deref(), Some("SIP;text=\"shift over\""));
    }
}
