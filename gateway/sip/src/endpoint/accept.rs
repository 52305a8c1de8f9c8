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
    /// follows `Confirmed`, or after 64·T1 a BYE and `Ended` by timeout. It
    /// waits for the PRACK of a provisional with SDP (RFC 3262 §3), and then
    /// repeats that SDP: the peer would ignore another.
    ///
    /// # Errors
    /// [`SessionError`]; `WrongState` once the call is answered or was ours.
    pub fn accept(&mut self, now: Instant, id: SessionId, sdp: &[u8]) -> Result<(), SessionError> {
        check_sdp(sdp)?;
        let (invite, _) = self.unanswered(id)?;
        self.load.taken_up(id);
        let session = self.sessions.get_mut(&id).ok_or(SessionError::Unknown)?;
        if let Some(reliable) = &mut session.reliable
            && (reliable.wait.as_ref().is_some_and(|w| w.sdp.is_some()) || session.reoffer_in.is_some())
        {
            reliable.held = Some(sdp.to_vec());
            reliable.queue.clear();
            return Ok(());
        }
        self.send_ok(now, id, invite, sdp)
    }

    pub(super) fn send_ok(&mut self, now: Instant, id: SessionId, invite: u64, sdp: &[u8]) -> Result<(), SessionError> {
        let session = self.sessions.get_mut(&id).ok_or(SessionError::Unknown)?;
        let (contact, had_offer) = (session.contact.clone(), session.had_offer);
        let mut agreed = None;
        if let Some(reliable) = &mut session.reliable {
            reliable.queue.clear();
            reliable.late = reliable.wait.take().map(|_| reliable.rseq);
            agreed.clone_from(&reliable.agreed);
        }
        let offered = !had_offer && agreed.is_none();
        // Agreed by a provisional and its PRACK: an offer of ours isn't made twice.
        let sdp = match &agreed {
            Some(agreed) if had_offer => agreed.as_slice(),
            Some(_) => &b""[..],
            None => sdp,
        };
        let cseq = self.request_cseq(invite).unwrap_or(0);
        let timer = self.agree_timer(now, id, invite);
        let mut headers = vec![("Contact", contact.as_str())];
        headers.extend(timer.iter().map(|(name, value)| (*name, value.as_str())));
        let sent = self.respond(now, invite, 200, "", &headers, sdp);
        let (flow, bytes) = sent.ok_or(SessionError::WrongState)?;
        let session = self.sessions.get_mut(&id).ok_or(SessionError::Unknown)?;
        session.state = State::Accepted;
        session.ring_until = None;
        if agreed.is_none() {
            session.local_sdp = sdp.to_vec();
        }
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
