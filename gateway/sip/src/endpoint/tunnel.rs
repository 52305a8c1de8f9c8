//! Phones registered at another gateway: what goes to and comes from there
//!
//! A call's own tag (and the branch of a request that goes by way of another gateway) ends with the mark of the
//! gateway that has the call. The tag is what a dialog is found by anyway (RFC 3261 §12.2.2), so no phone loses it
//! that could talk at all; Request-URIs are rewritten by some. A mark only says where to look: whether a phone may
//! speak in a dialog is judged there, by the account that its own gateway vouches for or by the flow itself.

use super::Endpoint;
use crate::event::{Event, Output};
use crate::flow::{Flow, NodeId};
use crate::guard::is_lifeline;
use crate::limits;
use crate::message::{Message, Method};
use crate::session::Session;
use crate::transaction::{TimerKey, server_key};
use crate::tunnel::{Contact, Parcel};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The other gateways
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Whether the link is up
    is_up: BTreeMap<NodeId, bool>,
    /// Connections others had us write on; as many as there are connections
    written: BTreeSet<u64>,
}

impl Nodes {
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.is_up.get(&node).is_some_and(|is_up| *is_up)
    }

    /// Makes room by one whose link is down; false: there is none
    fn forget_one(&mut self) -> bool {
        let down = self.is_up.iter().find(|(_, is_up)| !**is_up).map(|(node, _)| *node);
        down.is_some_and(|node| self.is_up.remove(&node).is_some())
    }

    fn up(&self) -> Vec<NodeId> {
        self.is_up.iter().filter(|(_, is_up)| **is_up).map(|(node, _)| *node).collect()
    }
}

impl Endpoint {
    /// The link to another gateway stands: it is told of all phones here
    pub fn node_up(&mut self, now: Instant, node: NodeId) {
        if self.config.node.is_none_or(|own| own == node) {
            return;
        }
        let is_known = self.nodes.is_up.contains_key(&node);
        if !is_known && self.nodes.is_up.len() >= limits::NODE_COUNT_MAX && !self.nodes.forget_one() {
            self.counters.refused_tunnelled += 1;
            return;
        }
        self.nodes.is_up.insert(node, true);
        for users in self.registrar.own_users().chunks(limits::NODE_PHONES_MAX) {
            let phones = users.iter().map(|user| (user.clone(), self.contacts_outward(now, user))).collect();
            self.out.push_back(Output::ToNode { node, parcel: Parcel::Phones(phones) });
        }
    }

    /// The link to another gateway is down. Its phones can't be rung, and count as registered for
    /// `limits::NODE_GRACE_MS` only; their talks go on, for loss of signalling ends none
    pub fn node_down(&mut self, now: Instant, node: NodeId) {
        let Some(is_up) = self.nodes.is_up.get_mut(&node) else {
            return;
        };
        *is_up = false;
        self.registrar.limit_elsewhere(node, now + Duration::from_millis(limits::NODE_GRACE_MS));
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        for session in self.sessions.values_mut().filter(|s| s.flow.node == Some(node)) {
            // Numbers of connections hold as long as that gateway runs, and who knows whether it does.
            (session.is_astray, session.flow.conn) = (true, None);
        }
        self.fail_clients(now, |flow| flow.node == Some(node));
    }

    /// Takes what another gateway sent
    pub fn handle_parcel(&mut self, now: Instant, node: NodeId, parcel: Parcel) {
        self.clock_ms(now);
        if !self.nodes.is_up(node) {
            return;
        }
        match parcel {
            Parcel::Write { flow, bytes } => self.write_for(flow, bytes),
            Parcel::Heard { flow, users, bytes } => {
                self.hear(now, Flow { node: Some(node), ..flow }, &users, &bytes);
            }
            Parcel::Failed { flow } => self.send_failed(now, Flow { node: Some(node), ..flow }),
            Parcel::Closed { conn } => self.closed_there(now, node, conn),
            Parcel::Contacts { user, contacts } => self.registered_there(now, node, user, contacts),
            Parcel::Phones(phones) => {
                for (user, contacts) in phones.into_iter().take(limits::NODE_PHONES_MAX) {
                    self.registered_there(now, node, user, contacts);
                }
            }
        }
    }

    /// Tells the other gateways of a phone's contacts here
    pub(super) fn announce(&mut self, now: Instant, user: &str) {
        for node in self.nodes.up() {
            let contacts = self.contacts_outward(now, user);
            self.out.push_back(Output::ToNode { node, parcel: Parcel::Contacts { user: user.to_owned(), contacts } });
        }
    }

    fn contacts_outward(&self, now: Instant, user: &str) -> Vec<Contact> {
        let mut contacts = self.registrar.own_contacts(now, user);
        contacts.iter_mut().for_each(|c| c.flow = self.outward(c.flow));
        contacts
    }

    /// A flow of ours as others are told of it: with the address its phone knows us by
    fn outward(&self, flow: Flow) -> Flow {
        Flow { local: self.advertised(flow), ..flow }
    }

    fn inward(&self, flow: Flow) -> Flow {
        let mut listed = self.config.advertised.iter().filter(|(t, ..)| *t == flow.transport);
        let local = listed.find(|(_, _, advertised)| *advertised == flow.local).map_or(flow.local, |(_, own, _)| *own);
        Flow { local, node: None, ..flow }
    }

    /// Another gateway's message for a phone here
    fn write_for(&mut self, flow: Flow, bytes: Vec<u8>) {
        let flow = self.inward(flow);
        if bytes.len() > limits::MESSAGE_BYTES_MAX || !self.is_phone_network(flow.local, flow.remote.ip()) {
            self.counters.refused_tunnelled += 1;
            return;
        }
        if let Some(conn) = flow.conn.filter(|_| self.nodes.written.len() < limits::STREAM_COUNT_MAX) {
            self.nodes.written.insert(conn);
        }
        self.out.push_back(Output::Transmit { flow, bytes });
    }

    /// What another gateway had us write may be concerned
    pub(super) fn tell_failed(&mut self, flow: Flow) {
        if flow.node.is_some() || !self.is_phone_network(flow.local, flow.remote.ip()) {
            return;
        }
        let flow = self.outward(flow);
        for node in self.nodes.up() {
            self.out.push_back(Output::ToNode { node, parcel: Parcel::Failed { flow } });
        }
    }

    pub(super) fn tell_closed(&mut self, conn: u64) {
        if self.nodes.written.remove(&conn) {
            for node in self.nodes.up() {
                self.out.push_back(Output::ToNode { node, parcel: Parcel::Closed { conn } });
            }
        }
    }

    /// Hands what a phone says about another gateway's call to that one; true if that was all
    pub(super) fn hand_over(&mut self, now: Instant, flow: Flow, bytes: &[u8], message: &Message) -> bool {
        let Some(own) = self.config.node else {
            return false;
        };
        let marked = if message.is_request() {
            NodeId::of_marked(message.to_tag())
        } else {
            message.via().and_then(|via| NodeId::of_marked(via.branch()))
        };
        let Some(node) = marked.filter(|node| *node != own && self.nodes.is_up.contains_key(node)) else {
            return false;
        };
        if !self.is_phone_network(flow.local, flow.remote.ip()) {
            return false;
        }
        // What always passes here loads a link that others need: there a flood has an end.
        let class = self.class_of(now, flow.local, flow.remote.ip());
        if is_lifeline(bytes) && !self.guard.allows(now, class, flow.remote.ip()) {
            self.counters.rate_limited += 1;
        } else if self.nodes.is_up(node) {
            let (users, bytes) = (self.registrar.users_at(now, flow), bytes.to_vec());
            let flow = self.outward(flow);
            self.out.push_back(Output::ToNode { node, parcel: Parcel::Heard { flow, users, bytes } });
        } else if message.is_request() && message.method() != Method::Ack {
            // The call may well go on: 481 would say that it doesn't (RFC 3261 §12.2.1.2).
            self.reply(flow, message, 503, "", &[("Retry-After", &limits::RETRY_AFTER_S.to_string())]);
        }
        true
    }

    /// What a phone at another gateway says: only in a dialog that is its own, and as the answer to what went its way
    fn hear(&mut self, now: Instant, flow: Flow, users: &[String], bytes: &[u8]) {
        let Some(message) = Message::parse(bytes).ok().filter(|_| bytes.len() <= limits::MESSAGE_BYTES_MAX) else {
            self.counters.parse_errors += 1;
            return;
        };
        if message.is_request() {
            self.hear_request(now, flow, users, bytes, message);
        } else if self
            .find_client(&message)
            .and_then(|id| self.clients.get(&id))
            .is_some_and(|tx| is_way(tx.flow, flow))
        {
            self.show_received(now, flow, bytes, &message);
            self.receive_response(now, flow, &message);
        } else {
            self.counters.refused_tunnelled += 1;
        }
    }

    fn hear_request(&mut self, now: Instant, flow: Flow, users: &[String], bytes: &[u8], message: Message) {
        let method = message.method();
        let session = self.find_session(&message).and_then(|id| self.sessions.get(&id));
        // Of a call that is over only repetitions come.
        let known = self.server_index.get(&server_key(&message, method)).and_then(|id| self.servers.get(id));
        let is_repeated = known.is_some_and(|tx| is_way(tx.reply_to, flow));
        let is_meant = !message.to_tag().is_empty()
            && session.map_or(is_repeated, |session| is_peer(session, flow, users))
            && known.is_none_or(|tx| session.is_some() || is_way(tx.reply_to, flow));
        if is_meant {
            self.show_received(now, flow, bytes, &message);
            return self.receive_request(now, flow, message);
        }
        self.counters.refused_tunnelled += 1;
        if method != Method::Ack {
            self.reply(flow, &message, 481, "", &[]);
        }
    }

    fn closed_there(&mut self, now: Instant, node: NodeId, conn: u64) {
        let is_it = |flow: Flow| flow.node == Some(node) && flow.conn == Some(conn);
        self.registrar.closed_elsewhere(node, conn);
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        for session in self.sessions.values_mut().filter(|s| is_it(s.flow)) {
            (session.is_astray, session.flow.conn) = (true, None);
        }
        self.fail_clients(now, is_it);
    }

    fn registered_there(&mut self, now: Instant, node: NodeId, user: String, contacts: Vec<Contact>) {
        let is_sane = |c: &Contact| c.contact.len() <= limits::CONTACT_BYTES_MAX;
        let contacts = contacts.into_iter().filter(is_sane).collect();
        let own = self.config.node.unwrap_or(node);
        let told = self.registrar.set_elsewhere(now, (own, node), &user, contacts);
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        for (contact, flow) in &told.taken {
            self.take_over_flows(now, &user, *flow, &[contact]);
        }
        if told.has_moved {
            self.announce(now, &user);
            if !self.registrar.is_here(now, &user) {
                self.emit(Event::Unregistered { user: user.clone() });
            }
            self.emit(Event::BindingsChanged { user });
        }
    }
}

/// Whether something came back the way it went: over the same connection, or from the same host by datagrams, whose
/// port a NAT may change
fn is_way(went: Flow, came: Flow) -> bool {
    went.node == came.node
        && went.transport == came.transport
        && if went.transport.is_reliable() {
            went.conn.is_some() && went.conn == came.conn
        } else {
            went.remote.ip() == came.remote.ip()
        }
}

/// Whether a phone at another gateway is the peer of this call: that gateway knows it by the call's account, or it
/// speaks over the call's own flow. The dialog's tags alone are not enough
fn is_peer(session: &Session, flow: Flow, users: &[String]) -> bool {
    let is_account = session.account.as_ref().is_some_and(|account| users.contains(account));
    session.is_phone && (is_account || is_way(session.flow, flow))
}
