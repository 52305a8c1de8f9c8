//! Provisional responses to an incoming call, reliable where the peer wants it (RFC 3262 §3)

use super::error::check_sdp;
use super::{Endpoint, SessionError};
use crate::event::{EndedBy, Event, SessionId};
use crate::limits;
use crate::session::{PrackWait, State};
use crate::transaction::Retransmit;
use std::time::Instant;

impl Endpoint {
    /// Sends 180, 183 or another 101–199, with early media if `sdp` is given
    ///
    /// It goes reliably where the peer requires 100rel, or knows it and `sdp` is
    /// given; the next one then waits for its PRACK, and so does a 2xx if it had
    /// SDP. Without any PRACK the call gets 504 after 64·T1. For an INVITE
    /// without offer a reliable `sdp` is the offer and its answer comes as
    /// [`Event::ReofferAnswered`]; an unreliable one can't be, and is left out.
    ///
    /// # Errors
    /// [`SessionError`]; `WrongState` once the call is answered or was ours.
    pub fn provisional(
        &mut self,
        now: Instant,
        id: SessionId,
        code: u16,
        sdp: Option<&[u8]>,
    ) -> Result<(), SessionError> {
        if !(101..200).contains(&code) {
            return Err(SessionError::BadCode);
        }
        sdp.map_or(Ok(()), check_sdp)?;
        let (invite, contact) = self.unanswered(id)?;
        self.load.taken_up(id);
        let session = self.sessions.get_mut(&id).ok_or(SessionError::Unknown)?;
        match &mut session.reliable {
            Some(reliable) if reliable.is_required || sdp.is_some() => {
                if reliable.wait.is_none() {
                    self.send_reliable(now, id, code, sdp.map(<[u8]>::to_vec));
                } else {
                    if reliable.queue.len() >= limits::PROVISIONAL_QUEUE_MAX {
                        reliable.queue.pop_front();
                    }
                    reliable.queue.push_back((code, sdp.map(<[u8]>::to_vec)));
                }
            }
            _ => {
                let sdp = sdp.filter(|_| session.had_offer).unwrap_or(b"");
                self.respond(now, invite, code, "", &[("Contact", &contact)], sdp);
            }
        }
        Ok(())
    }

    fn send_reliable(&mut self, now: Instant, id: SessionId, code: u16, sdp: Option<Vec<u8>>) {
        let timing = self.timing;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (State::Incoming { invite }, Some(reliable)) = (session.state, &mut session.reliable) else {
            return;
        };
        reliable.rseq += 1;
        // Once offer and answer are agreed, further SDP in responses would be ignored (RFC 3261 §13.2.1).
        let sdp = sdp.filter(|_| reliable.agreed.is_none());
        let (rseq, contact) = (reliable.rseq.to_string(), session.contact.clone());
        let headers = [("Contact", contact.as_str()), ("Require", "100rel"), ("RSeq", &rseq)];
        let sent = self.respond(now, invite, code, "", &headers, sdp.as_deref().unwrap_or(b""));
        let reliable = self.sessions.get_mut(&id).and_then(|s| s.reliable.as_mut());
        if let (Some((flow, bytes)), Some(reliable)) = (sent, reliable) {
            let resend = Retransmit::new(now, timing.t1, timing.patience());
            let give_up_at = now + timing.patience();
            reliable.wait = Some(PrackWait { bytes, flow, resend, give_up_at, sdp });
        }
        self.arm_session(id);
    }

    /// What waited for a PRACK goes: the 2xx, else the next provisional
    pub(super) fn release_provisionals(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (State::Incoming { invite }, Some(reliable)) = (session.state, &mut session.reliable) else {
            return;
        };
        if reliable.wait.is_some() || session.reoffer_in.is_some() {
            return;
        }
        if let Some(sdp) = reliable.held.take() {
            // The driver was told that its 2xx is on the way: nothing is left to tell it.
            let _ = self.send_ok(now, id, invite, &sdp);
        } else if let Some((code, sdp)) = reliable.queue.pop_front() {
            self.send_reliable(now, id, code, sdp);
        }
    }

    /// Sends an unacknowledged provisional again, or gives the call up
    pub(super) fn reliable_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let state = session.state;
        let Some(wait) = session.reliable.as_mut().and_then(|r| r.wait.as_mut()) else {
            return;
        };
        if wait.give_up_at <= now {
            if let State::Incoming { invite } = state {
                self.respond(now, invite, 504, "", &[], b"");
            }
            self.end_pending(now, id);
            self.remove_session(id);
            return self.emit(Event::Ended { id, by: EndedBy::Timeout, reason: None });
        }
        if wait.resend.at <= now {
            wait.resend.next(now);
            let (flow, bytes) = (wait.flow, wait.bytes.clone());
            self.counters.retransmissions += 1;
            self.transmit(flow, bytes);
        }
    }

    /// The INVITE transaction and Contact of a call that waits for our answer
    pub(super) fn unanswered(&self, id: SessionId) -> Result<(u64, String), SessionError> {
        let session = self.sessions.get(&id).ok_or(SessionError::Unknown)?;
        let is_held = session.reliable.as_ref().is_some_and(|r| r.held.is_some());
        match session.state {
            State::Incoming { invite } if !is_held => Ok((invite, session.contact.clone())),
            State::Ending => Err(SessionError::Unknown),
            _ => Err(SessionError::WrongState),
        }
    }

    /// Whether the driver still knows this session
    pub(super) fn is_live(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|s| s.state != State::Ending)
    }
}
