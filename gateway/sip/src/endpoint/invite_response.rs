//! Responses to a dial's INVITE

use super::Endpoint;
use super::ask::retry_after;
use super::client_tx::{Fork, Order, Owner};
use super::redirect::redirect_contacts;
use crate::dialog::{Dialog, next_hop};
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{Message, Method};
use crate::session::{State, sdp_of};
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
                if let Some(next) = self.answer_challenge(now, tx, message) {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.state = State::Dialing { invite: next };
                    }
                    return;
                }
                self.remove_session(id);
                let reason = String::from_utf8_lossy(message.reason()).into_owned();
                let (retry_after_s, contacts) = (retry_after(message), redirect_contacts(message));
                self.emit(Event::Failed { id, code, reason, retry_after_s, contacts });
            }
        }
    }

    fn dial_progress(&mut self, now: Instant, tx: u64, id: SessionId, message: &Message) {
        self.cancel_if_possible(now, tx);
        let code = message.code();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.first_response_until.take().is_some() {
            self.arm_session(id);
        }
        let Some(session) = self.sessions.get_mut(&id).filter(|_| code > 100) else {
            return;
        };
        let sdp = sdp_of(message).ok().flatten();
        if sdp.is_some() {
            session.early_sdp.clone_from(&sdp);
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
        let is_phone = self.sessions.get(&id).is_some_and(|s| s.is_phone) && waiting;
        let mut base = tx.flow;
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
        if is_wanted && waiting {
            return self.confirm_dial(id, dialog, base, message);
        }
        let bye = dialog.request(Method::Bye);
        let order = Order { flow: ack_flow, owner: Owner::Nobody, credentials, local_tag: String::new(), try_count: 0 };
        self.open_client(now, bye, order);
    }

    fn confirm_dial(&mut self, id: SessionId, dialog: Dialog, flow: Flow, message: &Message) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.dialog = dialog;
        session.flow = flow;
        session.state = State::Confirmed;
        session.ring_until = None;
        session.first_response_until = None;
        let early = session.early_sdp.take();
        let sdp = sdp_of(message).ok().flatten().or(early);
        self.arm_session(id);
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
