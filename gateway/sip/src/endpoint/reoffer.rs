//! Renegotiation: the driver's verbs

use super::accept::AckOf;
use super::error::check_sdp;
use super::{Endpoint, SessionError};
use crate::event::{Event, SessionId};
use crate::limits;
use crate::session::{ReofferIn, ReofferOut, State};
use std::time::{Duration, Instant};

impl Endpoint {
    /// Sends a re-INVITE with a new offer; `ReofferAnswered` follows
    ///
    /// A 491 is retried after the RFC's pause (RFC 3261 §14.1).
    ///
    /// # Errors
    /// [`SessionError::WrongState`] before the call is confirmed and while
    /// another offer of either side is open.
    pub fn reoffer(&mut self, now: Instant, id: SessionId, sdp: &[u8]) -> Result<(), SessionError> {
        check_sdp(sdp)?;
        let session = self.sessions.get(&id).filter(|s| s.state != State::Ending).ok_or(SessionError::Unknown)?;
        if session.state != State::Confirmed || !session.is_stable() {
            return Err(SessionError::WrongState);
        }
        if !self.has_client_room() {
            return Err(SessionError::TooManyTransactions);
        }
        let remote_tag = session.dialog.remote_tag.clone();
        self.send_reoffer(now, id, ReofferOut::new(sdp.to_vec(), false, false, remote_tag));
        Ok(())
    }

    /// Sends an UPDATE (RFC 3311): with a new offer, or without SDP to refresh; `ReofferAnswered` follows
    ///
    /// It works before the call is answered too: towards a caller once a PRACK
    /// came, towards a callee once a reliable provisional came (the newest such
    /// fork is meant); an offer needs the first offer and answer to be complete.
    /// A 491 is retried as with [`Endpoint::reoffer`].
    ///
    /// # Errors
    /// [`SessionError::WrongState`] in other states and while another offer of
    /// either side is open, `NotAllowed` where the peer doesn't know UPDATE.
    pub fn update(&mut self, now: Instant, id: SessionId, sdp: Option<&[u8]>) -> Result<(), SessionError> {
        sdp.map_or(Ok(()), check_sdp)?;
        let session = self.sessions.get(&id).filter(|s| s.state != State::Ending).ok_or(SessionError::Unknown)?;
        let remote_tag = match session.state {
            State::Incoming { .. } => {
                let known = session.reliable.as_ref().is_some_and(|r| r.is_acknowledged);
                known.then_some(&session.dialog.remote_tag)
            }
            State::Dialing { .. } => {
                session.early.iter().rev().find(|e| e.rseq.is_some()).map(|e| &e.dialog.remote_tag)
            }
            _ => Some(&session.dialog.remote_tag),
        };
        let remote_tag = remote_tag.ok_or(SessionError::WrongState)?.clone();
        if !session.is_stable() || (sdp.is_some() && !session.is_agreed(&remote_tag)) {
            return Err(SessionError::WrongState);
        }
        if !session.allows_update {
            return Err(SessionError::NotAllowed);
        }
        if !self.has_client_room() {
            return Err(SessionError::TooManyTransactions);
        }
        let sdp = sdp.map(<[u8]>::to_vec).unwrap_or_default();
        self.send_reoffer(now, id, ReofferOut::new(sdp, true, false, remote_tag));
        Ok(())
    }

    /// The peer's offer goes to the driver; its answer will be the response to `tx`
    pub(super) fn await_reoffer_answer(
        &mut self,
        now: Instant,
        id: SessionId,
        tx: u64,
        is_invite: bool,
        sdp: Option<Vec<u8>>,
    ) {
        let give_up_at = now + Duration::from_millis(limits::REOFFER_ANSWER_MS_MAX);
        let tag = self.servers.get(&tx).and_then(|tx| tx.request.as_ref()).map(|r| r.from_tag().to_vec());
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let early = tag.zip(sdp.clone()).filter(|_| matches!(session.state, State::Dialing { .. }));
        session.reoffer_in = Some(ReofferIn { tx, is_invite, wants_offer: sdp.is_none(), give_up_at, early });
        self.own_server(tx, id);
        self.arm_session(id);
        self.emit(Event::Reoffer { id, sdp });
    }

    /// Answers the peer's re-offer; where it had no SDP, this is the offer
    ///
    /// # Errors
    /// [`SessionError::WrongState`] where no re-offer waits (the peer may have withdrawn it).
    pub fn answer_reoffer(&mut self, now: Instant, id: SessionId, sdp: &[u8]) -> Result<(), SessionError> {
        check_sdp(sdp)?;
        let reoffer = self.take_reoffer(id)?;
        let contact = self.sessions.get(&id).map(|s| s.contact.clone()).unwrap_or_default();
        let cseq = self.request_cseq(reoffer.tx).unwrap_or(0);
        let timer = if self.is_prack(reoffer.tx) { Vec::new() } else { self.agree_timer(now, id, reoffer.tx) };
        let mut headers = vec![("Contact", contact.as_str())];
        headers.extend(timer.iter().map(|(name, value)| (*name, value.as_str())));
        let sent = self.respond(now, reoffer.tx, 200, "", &headers, sdp);
        let (flow, bytes) = sent.ok_or(SessionError::WrongState)?;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.local_sdp = sdp.to_vec();
            if let Some((tag, offer)) = reoffer.early
                && let Some(early) = session.early.iter_mut().find(|e| e.dialog.remote_tag == tag)
            {
                early.sdp = Some(offer);
            }
            // A 2xx that still comes has to repeat what holds now.
            if let Some(agreed) = session.reliable.as_mut().and_then(|r| r.agreed.as_mut()) {
                *agreed = sdp.to_vec();
            }
        }
        if reoffer.is_invite {
            let of = AckOf { cseq, offered: reoffer.wants_offer, is_first: false };
            self.await_ack(now, id, flow, bytes, of);
        } else {
            self.arm_session(id);
            self.release_provisionals(now, id);
        }
        Ok(())
    }

    /// Refuses the peer's re-offer with 300–699 (usually 488); the call goes on as before
    ///
    /// # Errors
    /// As [`Endpoint::answer_reoffer`].
    pub fn reject_reoffer(&mut self, now: Instant, id: SessionId, code: u16) -> Result<(), SessionError> {
        if !(300..700).contains(&code) {
            return Err(SessionError::BadCode);
        }
        let reoffer = self.take_reoffer(id)?;
        self.arm_session(id);
        self.respond(now, reoffer.tx, code, "", &[], b"");
        self.release_provisionals(now, id);
        Ok(())
    }

    fn take_reoffer(&mut self, id: SessionId) -> Result<ReofferIn, SessionError> {
        let session = self.sessions.get_mut(&id).filter(|s| s.state != State::Ending).ok_or(SessionError::Unknown)?;
        session.reoffer_in.take().ok_or(SessionError::WrongState)
    }

    // An INFO may have come since, so the dialog's last number may not be the INVITE's.
    pub(super) fn request_cseq(&self, tx: u64) -> Option<u32> {
        self.servers.get(&tx)?.request.as_ref().map(|r| r.cseq())
    }

    fn is_prack(&self, tx: u64) -> bool {
        let request = self.servers.get(&tx).and_then(|tx| tx.request.as_ref());
        request.is_some_and(|r| r.method() == crate::message::Method::Prack)
    }
}
