//! Deadlines

use super::Endpoint;
use crate::event::{EndedBy, Event, SessionId};
use crate::session::State;
use crate::transaction::{OnTimeout, TimerKey};
use std::time::Instant;

impl Endpoint {
    /// Does everything that is due at `now`
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock_ms(now);
        while let Some(key) = self.timers.pop_due(now) {
            match key {
                TimerKey::Server(id) => self.server_timeout(now, id),
                TimerKey::Client(id) => self.client_timeout(now, id),
                TimerKey::Session(id) => self.session_timeout(now, SessionId(id)),
                TimerKey::Transfer(id) => self.transfer_timeout(now, SessionId(id)),
                TimerKey::Stream(conn) => self.close_stream(conn),
                TimerKey::Registrar => {
                    let swept = self.registrar.expire(now);
                    self.tell_swept(now, swept);
                    self.timers.set(TimerKey::Registrar, self.registrar.next_at());
                }
            }
        }
    }

    fn server_timeout(&mut self, now: Instant, id: u64) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        match tx.fsm.on_timeout(now) {
            OnTimeout::Nothing => {}
            OnTimeout::Resend => {
                let (flow, bytes) = (tx.reply_to, tx.last.clone());
                self.counters.retransmissions += 1;
                self.transmit(flow, bytes);
            }
            OnTimeout::TimedOut | OnTimeout::Terminated => return self.remove_server(id),
        }
        self.arm_server(id);
    }

    fn client_timeout(&mut self, now: Instant, id: u64) {
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        match tx.fsm.on_timeout(now) {
            OnTimeout::Nothing => {}
            OnTimeout::Resend => {
                let (flow, bytes) = (tx.flow, tx.bytes.clone());
                self.counters.retransmissions += 1;
                self.transmit(flow, bytes);
            }
            OnTimeout::TimedOut => return self.client_failed(now, id, 408),
            OnTimeout::Terminated => return self.remove_client(id),
        }
        self.arm_client(id);
    }

    fn session_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_silent = session.first_response_until.is_some_and(|at| at <= now);
        if is_silent || session.ring_until.is_some_and(|at| at <= now) {
            (session.ring_until, session.first_response_until) = (None, None);
            return self.ring_timeout(now, id);
        }
        if session.ok.as_ref().is_some_and(|ok| ok.give_up_at <= now) {
            session.ok = None;
            return self.ack_never_came(now, id);
        }
        if let Some(ok) = session.ok.as_mut().filter(|ok| ok.resend.at <= now) {
            ok.resend.next(now);
            let (flow, bytes) = (ok.flow, ok.bytes.clone());
            self.counters.retransmissions += 1;
            self.transmit(flow, bytes);
        }
        self.reoffer_timeout(now, id);
        self.reliable_timeout(now, id);
        self.expiry_timeout(now, id);
        self.arm_session(id);
    }

    fn ring_timeout(&mut self, now: Instant, id: SessionId) {
        match self.sessions.get(&id).map(|s| s.state) {
            Some(State::Incoming { invite }) => {
                self.respond(now, invite, 480, "", &[], b"");
                self.end_pending(now, id);
                self.remove_session(id);
                self.emit(Event::Ended { id, by: EndedBy::Timeout, reason: None });
            }
            Some(State::Dialing { invite }) => {
                self.end_pending(now, id);
                self.remove_session(id);
                self.cancel_invite(now, invite, None);
                let reason = "Request Timeout".to_owned();
                self.emit(Event::Failed { id, code: 408, reason, retry_after_s: None, contacts: Vec::new() });
            }
            _ => {}
        }
    }

    // RFC 3261 §13.3.1.4 and §14.2: no ACK for 64·T1 ends the dialog with a BYE.
    fn ack_never_came(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_told = session.state == State::Ending;
        let reason = session.bye_after_ack.take();
        self.send_bye(now, id, reason.as_deref());
        if !is_told {
            self.emit(Event::Ended { id, by: EndedBy::Timeout, reason: None });
        }
    }
}
