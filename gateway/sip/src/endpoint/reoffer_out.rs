//! Our re-INVITEs and UPDATEs on the wire: answers, glare, retries

use super::Endpoint;
use super::client_tx::{ClientFsm, Fork, Order, Owner};
use super::prack::{OnReliable, on_reliable};
use super::session_timer::allows_update;
use crate::dialog::next_hop;
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{HeaderName, Message, Method};
use crate::session::{ReofferOut, State, min_se, sdp_of};
use std::time::{Duration, Instant};

/// Codes that say the peer has no such dialog or session any more (RFC 5057 §5.1)
const ENDS_SESSION: [u16; 10] = [404, 408, 410, 416, 480, 481, 482, 484, 485, 604];

impl Endpoint {
    pub(super) fn send_reoffer(&mut self, now: Instant, id: SessionId, mut reoffer: ReofferOut) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let timer = self.timer_request(Some(session));
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (contact, flow, is_phone) = (session.contact.clone(), session.flow, session.is_phone);
        let (credentials, local_tag) = (session.credentials.clone(), session.dialog.local_tag.clone());
        let dialog = session.dialog_mut(&reoffer.remote_tag);
        let mut request = dialog.request(if reoffer.is_update { Method::Update } else { Method::Invite });
        request.contact = Some(contact);
        request.headers = timer;
        request.sdp.clone_from(&reoffer.sdp);
        let flow = next_hop(&dialog.next_hop_uri(), flow, is_phone);
        let order = Order { flow, owner: Owner::Reoffer(id), credentials, local_tag, try_count: 0, is_phone: false };
        reoffer.tx = self.open_client(now, request, order);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.reoffer_out = Some(reoffer);
        }
    }

    pub(super) fn reoffer_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Some(late) = session.reoffer_in.take_if(|r| r.give_up_at <= now) {
            self.respond(now, late.tx, 500, "", &[], b"");
            self.release_provisionals(now, id);
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
        (reoffer.retry_at, reoffer.rseq, reoffer.answer) = (None, None, None);
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
            if self.is_current_reoffer(id, tx) {
                self.reoffer_progress(now, id, message);
            }
            return;
        }
        if code < 300 {
            if !self.resend_ack(tx, message) {
                self.reoffer_agreed(now, flow, tx, id, message);
            }
            return;
        }
        if !self.is_live(id) || !self.is_current_reoffer(id, tx) {
            return;
        }
        if let Some(next) = self.answer_challenge(now, tx, message) {
            if let Some(reoffer) = self.sessions.get_mut(&id).and_then(|s| s.reoffer_out.as_mut()) {
                reoffer.tx = next;
            }
            return;
        }
        self.reoffer_refused(now, id, message);
    }

    /// A callee may answer a re-INVITE reliably before its 2xx (RFC 3262 §3)
    fn reoffer_progress(&mut self, now: Instant, id: SessionId, message: &Message) {
        let reoffer = self.sessions.get_mut(&id).and_then(|s| s.reoffer_out.as_mut());
        let Some(reoffer) = reoffer.filter(|r| !r.is_update) else {
            return;
        };
        if on_reliable(&mut reoffer.rseq, message) == Some(OnReliable::Take) {
            if reoffer.answer.is_none() {
                reoffer.answer = sdp_of(message).ok().flatten();
            }
            self.send_prack(now, id, message);
        }
    }

    fn reoffer_refused(&mut self, now: Instant, id: SessionId, message: &Message) {
        let code = message.code();
        let pause_ms = self.glare_pause_ms(id);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(reoffer) = &mut session.reoffer_out else {
            return;
        };
        let may_retry = reoffer.try_count < limits::REOFFER_TRY_COUNT_MAX;
        // RFC 3261 §14.2: 500 with Retry-After says that an offer of the peer's own is open.
        let retry_after_s = message.number(HeaderName::RetryAfter).filter(|s| *s <= limits::RETRY_AFTER_S);
        let wait_ms = match code {
            491 => Some(pause_ms),
            500 => retry_after_s.map(|s| u64::from(s) * 1_000),
            422 => min_se(message).filter(|s| *s <= limits::SESSION_EXPIRES_S_MAX).map(|s| {
                session.min_se_s = session.min_se_s.max(s);
                0
            }),
            _ => None,
        };
        if let Some(ms) = wait_ms.filter(|_| may_retry) {
            reoffer.retry_at = Some(now + Duration::from_millis(ms));
            return self.arm_session(id);
        }
        if ENDS_SESSION.contains(&code) && session.state == State::Confirmed {
            return self.reoffer_lost(now, id);
        }
        let was_refresh = reoffer.is_refresh;
        let lacks_update = reoffer.is_update && matches!(code, 405 | 501);
        session.reoffer_out = None;
        if lacks_update {
            session.allows_update = false;
        }
        if !was_refresh {
            self.arm_session(id);
            return self.emit(Event::ReofferAnswered { id, code, sdp: None });
        }
        if lacks_update && session.is_stable() {
            return self.send_refresh(now, id);
        }
        if let Some(expiry) = &mut session.expiry {
            expiry.postpone(now);
        }
        self.arm_session(id);
    }

    // RFC 3261 §14.1: the owner of the Call-ID waits 2.1–4 s, the other up to 2 s.
    fn glare_pause_ms(&mut self, id: SessionId) -> u64 {
        let is_caller = self.sessions.get(&id).is_some_and(|s| s.is_caller);
        let tens = self.random.next_u64();
        if is_caller { 2_100 + tens % 191 * 10 } else { tens % 201 * 10 }
    }

    /// Whether a response belongs to what we wait for now
    pub(super) fn is_current_reoffer(&self, id: SessionId, tx: u64) -> bool {
        let reoffer = self.sessions.get(&id).and_then(|s| s.reoffer_out.as_ref());
        reoffer.is_some_and(|r| r.tx == tx && r.retry_at.is_none())
    }

    fn reoffer_agreed(&mut self, now: Instant, flow: Flow, tx_id: u64, id: SessionId, message: &Message) {
        let is_current = self.is_live(id) && self.is_current_reoffer(id, tx_id);
        let Some(tx) = self.clients.get(&tx_id) else {
            return;
        };
        let is_invite = tx.request.method == Method::Invite;
        let mut ack = tx.request.ack_in_dialog();
        let mut ack_flow = tx.flow;
        let mut done = None;
        if let Some(session) = self.sessions.get_mut(&id).filter(|_| is_current) {
            done = session.reoffer_out.take();
            session.dialog_mut(message.to_tag()).refresh(message);
            if session.flow.remote == flow.remote && flow.conn.is_some() {
                session.flow.conn = flow.conn;
            }
            if let Some(allows) = allows_update(message) {
                session.allows_update = allows;
            }
            if session.state == State::Confirmed {
                Self::take_timer(now, session, message);
            }
            // The ACK takes the refreshed target and keeps the INVITE's number.
            let cseq = std::mem::replace(&mut session.dialog.local_cseq, ack.cseq);
            let auth = ack.auth.take();
            ack = session.dialog.request(Method::Ack);
            ack.auth = auth;
            session.dialog.local_cseq = cseq;
            ack_flow = next_hop(&session.dialog.next_hop_uri(), session.flow, session.is_phone);
        }
        if is_invite {
            let bytes = self.render_ack(ack_flow, &ack);
            self.transmit(ack_flow, bytes.clone());
            if let Some(tx) = self.clients.get_mut(&tx_id) {
                tx.forks.push(Fork { to_tag: message.to_tag().to_vec(), ack: bytes, ack_flow });
            }
        }
        if let Some(done) = done {
            self.reoffer_done(id, done, message);
        }
    }

    fn reoffer_done(&mut self, id: SessionId, done: ReofferOut, message: &Message) {
        let sdp = done.answer.or_else(|| sdp_of(message).ok().flatten());
        if let Some(session) = self.sessions.get_mut(&id) {
            if !done.sdp.is_empty() {
                session.local_sdp.clone_from(&done.sdp);
                if let Some(agreed) = session.reliable.as_mut().and_then(|r| r.agreed.as_mut()) {
                    agreed.clone_from(&done.sdp);
                }
            }
            if let Some(early) = session.early.iter_mut().find(|e| e.dialog.remote_tag == done.remote_tag)
                && sdp.is_some()
            {
                early.sdp.clone_from(&sdp);
            }
        }
        self.arm_session(id);
        // Nobody asked for a refresh, but its answer may tell a new address.
        if !done.is_refresh || sdp.is_some() {
            self.emit(Event::ReofferAnswered { id, code: message.code(), sdp });
        }
    }
}
