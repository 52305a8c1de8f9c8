//! Answering an incoming call

use super::error::check_sdp;
use super::{Endpoint, SessionError};
use crate::event::SessionId;
use crate::flow::Flow;
use crate::session::{OkWait, State};
use crate::transaction::Retransmit;
use std::time::Instant;

impl Endpoint {
    /// Sends 200 with our SDP: the answer, or the offer where the INVITE had none
    ///
    /// The 200 is repeated until the ACK comes (RFC 3261 §13.3.1.4); then
    /// follows `Confirmed`, or after 64·T1 a BYE and `Ended` by timeout.
    ///
    /// # Errors
    /// [`SessionError`]; `WrongState` once the call is answered or was ours.
    pub fn accept(&mut self, now: Instant, id: SessionId, sdp: &[u8]) -> Result<(), SessionError> {
        check_sdp(sdp)?;
        let (invite, contact) = self.unanswered(id)?;
        let cseq = self.request_cseq(invite).unwrap_or(0);
        let sent = self.respond(now, invite, 200, "", &[("Contact", &contact)], sdp);
        let (flow, bytes) = sent.ok_or(SessionError::WrongState)?;
        let Some(session) = self.sessions.get_mut(&id) else {
            return Err(SessionError::Unknown);
        };
        session.state = State::Accepted;
        session.ring_until = None;
        let offered = !session.had_offer;
        self.await_ack(now, id, flow, bytes, AckOf { cseq, offered, is_first: true });
        Ok(())
    }

    pub(super) fn await_ack(&mut self, now: Instant, id: SessionId, flow: Flow, bytes: Vec<u8>, of: AckOf) {
        let resend = Retransmit::new(now, self.timing.t1, self.timing.t2);
        let give_up_at = now + self.timing.patience();
        if let Some(session) = self.sessions.get_mut(&id) {
            let AckOf { cseq, offered, is_first } = of;
            session.ok = Some(OkWait { bytes, flow, resend, give_up_at, cseq, offered, is_first });
        }
        self.arm_session(id);
    }
}

/// Which 2xx an ACK belongs to
pub(super) struct AckOf {
    pub(super) cseq: u32,
    pub(super) offered: bool,
    pub(super) is_first: bool,
}
