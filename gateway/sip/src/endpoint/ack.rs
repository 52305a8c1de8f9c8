//! ACK: of an error in its transaction, of a 2xx in its session

use super::Endpoint;
use super::server_tx::ServerFsm;
use crate::event::{Event, SessionId};
use crate::flow::Flow;
use crate::message::Message;
use crate::session::{State, sdp_of};
use std::time::Instant;

impl Endpoint {
    pub(super) fn receive_ack(&mut self, now: Instant, flow: Flow, known: Option<u64>, message: &Message) {
        if let Some(id) = known
            && let Some(tx) = self.servers.get_mut(&id)
            && let ServerFsm::Invite(fsm) = &mut tx.fsm
        {
            fsm.on_ack(now);
            if fsm.is_terminated() {
                return self.remove_server(id);
            }
            self.arm_server(id);
        }
        let Some(id) = self.find_session(message) else {
            return;
        };
        self.follow_flow(id, flow);
        self.acknowledge(now, id, message);
    }

    fn acknowledge(&mut self, now: Instant, id: SessionId, message: &Message) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(ok) = session.ok.take_if(|ok| ok.cseq == message.cseq()) else {
            return;
        };
        let sdp = if ok.offered { sdp_of(message).ok().flatten() } else { None };
        let was = session.state;
        if was == State::Accepted {
            session.state = State::Confirmed;
        }
        let reason = session.bye_after_ack.take();
        self.arm_session(id);
        match was {
            State::Ending => self.send_bye(now, id, reason.as_deref()),
            _ if ok.is_first => self.emit(Event::Confirmed { id, sdp }),
            _ if ok.offered => self.emit(Event::ReofferAnswered { id, code: 200, sdp }),
            _ => {}
        }
    }

    /// The session whose dialog a request names (RFC 3261 §12.2.2)
    pub(super) fn find_session(&self, message: &Message) -> Option<SessionId> {
        let id = *self.by_tag.get(message.to_tag())?;
        self.sessions.get(&id)?.is_named(message.call_id(), message.from_tag()).then_some(id)
    }

    /// A phone's NAT may have given it a new address; a peer may have reconnected
    pub(super) fn follow_flow(&mut self, id: SessionId, flow: Flow) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_same_peer = session.flow.remote.ip() == flow.remote.ip() && session.flow.transport == flow.transport;
        if session.is_phone || (is_same_peer && flow.conn.is_some()) {
            (session.flow, session.is_astray) = (flow, false);
        }
    }
}
