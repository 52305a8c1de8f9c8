//! Responses to a dial's INVITE

use super::Endpoint;
use super::ask::retry_after;
use super::client_tx::{Fork, Order, Owner};
use super::prack::{OnReliable, on_reliable};
use super::redirect::redirect_contacts;
use super::session_timer::allows_update;
use crate::dialog::{Dialog, next_hop};
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{Message, Method};
use crate::session::{Early, State, min_se, sdp_of};
use std::time::Instant;

impl Endpoint {
    pub(super) fn dial_response(&mut self, now: Instant, flow: Flow, tx: u64, id: SessionId, message: &Message) {
        match message.code() {
            ..200 => self.dial_progress(now, tx, id, message),
            200..300 => self.dial_answered(now, flow, tx, id, message),
            code => {
                if !self.sessions.contains_key(&id) {
                    return;
                }
                let next = self.answer_challenge(now, tx, message).or_else(|| self.ask_longer(now, tx, message));
                if let Some(next) = next {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.state = State::Dialing { invite: next };
                        session.early.clear();
                    }
                    return;
                }
                self.end_pending(now, id);
                self.remove_session(id);
                let reason = String::from_utf8_lossy(message.reason()).into_owned();
                let (retry_after_s, contacts) = (retry_after(message), redirect_contacts(message));
                self.emit(Event::Failed { id, code, reason, retry_after_s, contacts });
            }
        }
    }

    /// Repeats an INVITE after 422 with the interval the peer wants (RFC 4028 §7.3)
    fn ask_longer(&mut self, now: Instant, tx: u64, message: &Message) -> Option<u64> {
        let min_s = min_se(message).filter(|s| *s <= limits::SESSION_EXPIRES_S_MAX && message.code() == 422)?;
        let tx = self.clients.get(&tx).filter(|tx| tx.give_up.is_none())?;
        if tx.try_count >= limits::AUTH_TRY_COUNT_MAX + limits::INTERVAL_TRY_COUNT_MAX {
            return None;
        }
        let mut request = tx.request.clone();
        let order = tx.order_again();
        request.cseq += 1;
        request.headers.retain(|(name, _)| name != "Session-Expires" && name != "Min-SE");
        request.headers.push(("Session-Expires".to_owned(), min_s.to_string()));
        request.headers.push(("Min-SE".to_owned(), min_s.to_string()));
        if let Owner::Dial(id) = order.owner
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.min_se_s = min_s;
        }
        Some(self.open_client(now, request, order))
    }

    fn dial_progress(&mut self, now: Instant, tx_id: u64, id: SessionId, message: &Message) {
        self.cancel_if_possible(now, tx_id);
        let code = message.code();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.first_response_until.take().is_some() {
            self.arm_session(id);
        }
        let Some(tx) = self.clients.get(&tx_id) else {
            return;
        };
        let Some(session) =
            self.sessions.get_mut(&id).filter(|s| code > 100 && s.state == State::Dialing { invite: tx_id })
        else {
            return;
        };
        let mut sdp = sdp_of(message).ok().flatten();
        let tag = message.to_tag();
        if !session.early.iter().any(|e| e.dialog.remote_tag == tag) && session.early.len() < limits::FORK_COUNT_MAX {
            session.early.push(Early::new(Dialog::of_answer(&tx.request, tx.local_tag.clone(), message)));
        }
        let mut is_reliable = false;
        if let Some(early) = session.early.iter_mut().find(|e| e.dialog.remote_tag == tag) {
            // An early dialog has a tag, and so has a provisional that can be acknowledged.
            match on_reliable(&mut early.rseq, message).filter(|_| !tag.is_empty()) {
                Some(OnReliable::Absorb) => return,
                Some(OnReliable::Take) => is_reliable = true,
                None => {}
            }
            if early.is_agreed {
                // The first answer holds; SDP in later responses means nothing (RFC 3261 §13.2.1).
                sdp = None;
            } else if sdp.is_some() {
                early.sdp.clone_from(&sdp);
                early.is_agreed = is_reliable;
            }
            early.dialog.refresh(message);
        }
        if let Some(allows) = allows_update(message) {
            session.allows_update = allows;
        }
        if is_reliable {
            self.send_prack(now, id, message);
        }
        self.emit(Event::Progress { id, code, sdp });
    }

    /// Every 2xx is ACKed; the first one makes the call, all others are ended (RFC 3261 §13.2.2.4)
    fn dial_answered(&mut self, now: Instant, flow: Flow, tx_id: u64, id: SessionId, message: &Message) {
        if self.resend_ack(tx_id, message) {
            return;
        }
        let Some(tx) = self.clients.get(&tx_id) else {
            return;
        };
        let is_wanted = tx.forks.is_empty() && tx.give_up.is_none();
        let (auth, credentials) = (tx.request.auth.clone(), tx.credentials.clone());
        let mut dialog = Dialog::of_answer(&tx.request, tx.local_tag.clone(), message);
        let waiting =
            matches!(self.sessions.get(&id).map(|s| s.state), Some(State::Dialing { invite }) if invite == tx_id);
        let (mut base, is_phone) = (tx.flow, tx.is_phone);
        if flow.remote == base.remote && flow.conn.is_some() {
            base.conn = flow.conn;
        }
        let mut ack = dialog.request(Method::Ack);
        ack.auth = auth;
        let ack_flow = next_hop(&dialog.next_hop_uri(), base, is_phone);
        let bytes = self.render_ack(ack_flow, &ack);
        self.transmit(ack_flow, bytes.clone());
        let Some(tx) = self.clients.get_mut(&tx_id) else {
            return;
        };
        if tx.forks.len() >= limits::FORK_COUNT_MAX {
            return;
        }
        tx.forks.push(Fork { to_tag: message.to_tag().to_vec(), ack: bytes, ack_flow });
        // PRACK and UPDATE have moved the numbers on while the dialog was early.
        let early =
            self.sessions.get(&id).and_then(|s| s.early.iter().find(|e| e.dialog.remote_tag == dialog.remote_tag));
        if let Some(early) = early {
            dialog.local_cseq = early.dialog.local_cseq;
            dialog.remote_cseq = early.dialog.remote_cseq;
        }
        if is_wanted && waiting {
            return self.confirm_dial(now, id, dialog, base, message);
        }
        let bye = dialog.request(Method::Bye);
        let order = Order {
            flow: ack_flow,
            owner: Owner::Nobody,
            credentials,
            local_tag: String::new(),
            try_count: 0,
            is_phone: false,
        };
        self.open_client(now, bye, order);
    }

    fn confirm_dial(&mut self, now: Instant, id: SessionId, dialog: Dialog, flow: Flow, message: &Message) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let tag = &dialog.remote_tag;
        // A provisional without a tag can only be this callee's.
        let mut early = std::mem::take(&mut session.early);
        let at = early.iter().position(|e| e.dialog.remote_tag == *tag);
        let at = at.or_else(|| early.iter().position(|e| e.dialog.remote_tag.is_empty()));
        let early = at.map(|at| early.swap_remove(at));
        let lost_update = session.reoffer_out.take_if(|r| r.remote_tag != *tag);
        let open = session.reoffer_in.take();
        session.dialog = dialog;
        session.flow = flow;
        session.state = State::Confirmed;
        session.ring_until = None;
        session.first_response_until = None;
        if let Some(allows) = allows_update(message) {
            session.allows_update = allows;
        }
        Self::take_timer(now, session, message);
        let sdp = match early {
            Some(Early { is_agreed: true, sdp, .. }) => sdp,
            early => sdp_of(message).ok().flatten().or(early.and_then(|e| e.sdp)),
        };
        self.arm_session(id);
        if let Some(open) = open {
            self.respond(now, open.tx, 491, "", &[], b"");
        }
        if lost_update.is_some_and(|r| !r.is_refresh) {
            self.emit(Event::ReofferAnswered { id, code: 481, sdp: None });
        }
        self.emit(Event::Answered { id, sdp });
    }

    /// Sends the ACK of a 2xx that came again; false if this dialog is new
    pub(super) fn resend_ack(&mut self, tx: u64, message: &Message) -> bool {
        let forks = self.clients.get(&tx).map_or(&[][..], |tx| tx.forks.as_slice());
        let Some(fork) = forks.iter().find(|fork| fork.to_tag == message.to_tag()) else {
            return false;
        };
        let (flow, bytes) = (fork.ack_flow, fork.ack.clone());
        self.transmit(flow, bytes);
        true
    }
}
