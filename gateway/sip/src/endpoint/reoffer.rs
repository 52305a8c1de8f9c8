//! Renegotiation in both directions

use super::accept::AckOf;
use super::client_tx::{ClientFsm, Fork, Order, Owner};
use super::error::check_sdp;
use super::{Endpoint, SessionError};
use crate::dialog::next_hop;
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{Message, Method};
use crate::session::{ReofferIn, ReofferOut, State, sdp_of};
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
        self.send_reoffer(now, id, ReofferOut { sdp: sdp.to_vec(), try_count: 1, retry_at: None });
        Ok(())
    }

    fn send_reoffer(&mut self, now: Instant, id: SessionId, reoffer: ReofferOut) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let mut request = session.dialog.request(Method::Invite);
        request.contact = Some(session.contact.clone());
        request.sdp.clone_from(&reoffer.sdp);
        session.reoffer_out = Some(reoffer);
        let flow = next_hop(&session.dialog.next_hop_uri(), session.flow, session.is_phone);
        let (credentials, local_tag) = (session.credentials.clone(), session.dialog.local_tag.clone());
        let order = Order { flow, owner: Owner::Reoffer(id), credentials, local_tag, try_count: 0 };
        self.open_client(now, request, order);
    }

    pub(super) fn reoffer_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Some(late) = session.reoffer_in.take_if(|r| r.give_up_at <= now) {
            self.respond(now, late.tx, 500, "", &[], b"");
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_due = session.reoffer_out.as_ref().and_then(|r| r.retry_at).is_some_and(|at| at <= now);
        if !is_due {
            return;
        }
        let Some(mut reoffer) = session.reoffer_out.take() else {
            return;
        };
        if session.ok.is_some() || session.reoffer_in.is_some() {
            // The peer's own offer is still open: ours waits for its end.
            reoffer.retry_at = Some(now + Duration::from_secs(1));
            session.reoffer_out = Some(reoffer);
            return;
        }
        reoffer.retry_at = None;
        reoffer.try_count += 1;
        self.send_reoffer(now, id, reoffer);
    }

    pub(super) fn reoffer_response(&mut self, now: Instant, flow: Flow, tx: u64, id: SessionId, message: &Message) {
        let code = message.code();
        if code < 200 {
            // No ring timeout guards a re-INVITE, and its final response may be lost for good.
            if let Some(ClientFsm::Invite(fsm)) = self.clients.get_mut(&tx).map(|tx| &mut tx.fsm) {
                fsm.limit(now);
            }
            return;
        }
        if code < 300 {
            if !self.resend_ack(tx, message) {
                self.reoffer_agreed(flow, tx, id, message);
            }
            return;
        }
        if !self.is_live(id) || self.answer_challenge(now, tx, message).is_some() {
            return;
        }
        let pause_ms = self.glare_pause_ms(id);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match (code, &mut session.reoffer_out) {
            (408 | 481, _) => return self.reoffer_lost(now, id),
            (491, Some(reoffer)) if reoffer.try_count < limits::REOFFER_TRY_COUNT_MAX => {
                reoffer.retry_at = Some(now + Duration::from_millis(pause_ms));
                return self.arm_session(id);
            }
            _ => session.reoffer_out = None,
        }
        self.arm_session(id);
        self.emit(Event::ReofferAnswered { id, code, sdp: None });
    }

    // RFC 3261 §14.1: the owner of the Call-ID waits 2.1–4 s, the other up to 2 s.
    fn glare_pause_ms(&mut self, id: SessionId) -> u64 {
        let is_caller = self.sessions.get(&id).is_some_and(|s| s.is_caller);
        let tens = self.random.next_u64();
        if is_caller { 2_100 + tens % 191 * 10 } else { tens % 201 * 10 }
    }

    fn reoffer_agreed(&mut self, flow: Flow, tx_id: u64, id: SessionId, message: &Message) {
        let is_live = self.is_live(id);
        let Some(tx) = self.clients.get(&tx_id) else {
            return;
        };
        let mut ack = tx.request.ack_in_dialog();
        let mut ack_flow = tx.flow;
        if let Some(session) = self.sessions.get_mut(&id).filter(|_| is_live) {
            session.dialog.refresh(message);
            session.reoffer_out = None;
            if session.flow.remote == flow.remote && flow.conn.is_some() {
                session.flow.conn = flow.conn;
            }
            // The ACK takes the refreshed target and keeps the INVITE's number.
            let cseq = std::mem::replace(&mut session.dialog.local_cseq, ack.cseq);
            let auth = ack.auth.take();
            ack = session.dialog.request(Method::Ack);
            ack.auth = auth;
            session.dialog.local_cseq = cseq;
            ack_flow = next_hop(&session.dialog.next_hop_uri(), session.flow, session.is_phone);
        }
        let bytes = self.render_ack(ack_flow, &ack);
        self.transmit(ack_flow, bytes.clone());
        if let Some(tx) = self.clients.get_mut(&tx_id) {
            tx.forks.push(Fork { to_tag: message.to_tag().to_vec(), ack: bytes, ack_flow });
        }
        if is_live {
            let sdp = sdp_of(message).ok().flatten();
            self.arm_session(id);
            self.emit(Event::ReofferAnswered { id, code: message.code(), sdp });
        }
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
        let sent = self.respond(now, reoffer.tx, 200, "", &[("Contact", &contact)], sdp);
        let (flow, bytes) = sent.ok_or(SessionError::WrongState)?;
        if reoffer.is_invite {
            let of = AckOf { cseq, offered: reoffer.wants_offer, is_first: false };
            self.await_ack(now, id, flow, bytes, of);
        } else {
            self.arm_session(id);
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
}
