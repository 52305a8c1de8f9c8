//! Server transactions and responses

use super::Endpoint;
use crate::dialog::{ALLOW, SUPPORTED};
use crate::event::SessionId;
use crate::flow::Flow;
use crate::limits;
use crate::message::{HeaderName, Message, Method, Writer, response};
use crate::transaction::{InviteServer, OnRequest, OnTimeout, Server, TimerKey, merge_key, server_key};
use std::net::SocketAddr;
use std::time::Instant;

pub(super) enum ServerFsm {
    Invite(InviteServer),
    Other(Server),
}

impl ServerFsm {
    pub(super) fn on_request(&self) -> OnRequest {
        match self {
            Self::Invite(fsm) => fsm.on_request(),
            Self::Other(fsm) => fsm.on_request(),
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant) -> OnTimeout {
        match self {
            Self::Invite(fsm) => fsm.on_timeout(now),
            Self::Other(fsm) => fsm.on_timeout(now),
        }
    }

    fn on_send(&mut self, now: Instant, code: u16) {
        match self {
            Self::Invite(fsm) => fsm.on_send(now, code),
            Self::Other(fsm) => fsm.on_send(now, code),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Invite(fsm) => fsm.is_open(),
            Self::Other(fsm) => fsm.is_open(),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(fsm) => fsm.is_terminated(),
            Self::Other(fsm) => fsm.is_terminated(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Invite(fsm) => fsm.deadline(),
            Self::Other(fsm) => fsm.deadline(),
        }
    }
}

pub(super) struct ServerTx {
    pub(super) fsm: ServerFsm,
    key: Vec<u8>,
    merge_key: Option<Vec<u8>>,
    /// Whose INVITE or UPDATE it is
    pub(super) session: Option<SessionId>,
    /// Kept until the final response
    pub(super) request: Option<Box<Message>>,
    source: SocketAddr,
    /// Where responses go
    pub(super) reply_to: Flow,
    /// The tag our responses add to `To`
    pub(super) to_tag: String,
    /// The last response
    pub(super) last: Vec<u8>,
}

/// Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581 §4)
pub(super) fn reply_flow(flow: Flow, request: &Message) -> Flow {
    if flow.transport.is_reliable() {
        return flow;
    }
    let Some(via) = request.via() else {
        return flow;
    };
    if via.param("rport").is_some() {
        return flow;
    }
    let remote = SocketAddr::new(flow.remote.ip(), via.port.unwrap_or(5060));
    Flow { remote, ..flow }
}

impl Endpoint {
    /// Opens a server transaction; `None` after answering 503 at the limit
    pub(super) fn open_server(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Message,
        to_tag: Option<String>,
    ) -> Option<u64> {
        // What belongs to a running call finds room where a new one does not.
        let reserve = if request.to_tag().is_empty() { 0 } else { limits::SERVER_TRANSACTION_RESERVE };
        if self.servers.len() >= limits::SERVER_TRANSACTION_COUNT_MAX + reserve {
            self.counters.refused_overload += 1;
            self.reply(flow, &request, 503, "", &[("Retry-After", &limits::RETRY_AFTER_S.to_string())]);
            return None;
        }
        let id = self.next_id();
        let method = request.method();
        let reliable = flow.transport.is_reliable();
        let fsm = match method {
            Method::Invite => ServerFsm::Invite(InviteServer::new(self.timing, reliable)),
            _ => ServerFsm::Other(Server::new(now, self.timing, reliable)),
        };
        let key = server_key(&request, method);
        let merge_key = (method == Method::Invite).then(|| merge_key(&request));
        let to_tag = to_tag.unwrap_or_else(|| self.stateless_tag(&request));
        let reply_to = reply_flow(flow, &request);
        self.server_index.insert(key.clone(), id);
        if let Some(key) = &merge_key {
            self.merged.insert(key.clone(), id);
        }
        let request = Some(Box::new(request));
        let tx = ServerTx {
            fsm,
            key,
            merge_key,
            session: None,
            request,
            source: flow.remote,
            reply_to,
            to_tag,
            last: Vec::new(),
        };
        self.servers.insert(id, tx);
        self.arm_server(id);
        Some(id)
    }

    /// Notes whose request this is, so that a CANCEL finds the session
    pub(super) fn own_server(&mut self, id: u64, session: SessionId) {
        if let Some(tx) = self.servers.get_mut(&id) {
            tx.session = Some(session);
        }
    }

    pub(super) fn arm_server(&mut self, id: u64) {
        let deadline = self.servers.get(&id).and_then(|tx| tx.fsm.deadline());
        self.timers.set(TimerKey::Server(id), deadline);
    }

    pub(super) fn remove_server(&mut self, id: u64) {
        self.timers.set(TimerKey::Server(id), None);
        let Some(tx) = self.servers.remove(&id) else {
            return;
        };
        self.server_index.remove(&tx.key);
        if let Some(key) = tx.merge_key.filter(|key| self.merged.get(key) == Some(&id)) {
            self.merged.remove(&key);
        }
    }

    /// Sends a response in a transaction and gives its bytes; `None` when it is answered or gone
    pub(super) fn respond(
        &mut self,
        now: Instant,
        id: u64,
        code: u16,
        reason: &str,
        headers: &[(&str, &str)],
        sdp: &[u8],
    ) -> Option<(Flow, Vec<u8>)> {
        let tx = self.servers.get_mut(&id).filter(|tx| tx.fsm.is_open())?;
        let request = tx.request.as_ref()?;
        let to_tag = (code > 100).then_some(tx.to_tag.as_str());
        let mut writer = response(request, tx.source, code, reason, to_tag);
        let request_is_invite = request.method() == Method::Invite;
        if request_is_invite && (101..300).contains(&code) {
            for route in request.header_all(HeaderName::RecordRoute) {
                writer.header("Record-Route", route);
            }
        }
        put_headers(&mut writer, code, headers, &self.config.user_agent);
        tx.last = writer.finish(Some(("application/sdp", sdp)));
        tx.fsm.on_send(now, code);
        if code >= 200 {
            tx.request = None;
        }
        let is_answered = request_is_invite && (200..300).contains(&code);
        // The session itself repeats a 2xx to an INVITE (RFC 6026 §7.1).
        let mut bytes = if is_answered { std::mem::take(&mut tx.last) } else { tx.last.clone() };
        // Thousands of them may wait for an ACK: without spare room.
        bytes.shrink_to_fit();
        let sent = (tx.reply_to, bytes);
        let is_over = tx.fsm.is_terminated();
        self.transmit(sent.0, sent.1.clone());
        if is_over {
            self.remove_server(id);
        } else {
            self.arm_server(id);
        }
        Some(sent)
    }

    /// Answers without keeping anything (RFC 3261 §8.2.7); a repeated request gets the same again
    pub(super) fn reply(&mut self, flow: Flow, request: &Message, code: u16, reason: &str, headers: &[(&str, &str)]) {
        let to_tag = self.stateless_tag(request);
        let mut writer = response(request, flow.remote, code, reason, Some(&to_tag));
        put_headers(&mut writer, code, headers, &self.config.user_agent);
        self.transmit(reply_flow(flow, request), writer.finish(None));
    }

    fn stateless_tag(&self, request: &Message) -> String {
        let branch = request.via().map_or(&b""[..], |via| via.branch());
        let mac = self.random.mac(&[b"tag", request.call_id(), request.from_tag(), branch]);
        crate::digest::to_hex(&mac[..8])
    }
}

fn put_headers(writer: &mut Writer, code: u16, headers: &[(&str, &str)], user_agent: &str) {
    for (name, value) in headers {
        writer.header(name, value);
    }
    if code == 405 || (200..300).contains(&code) {
        writer.header("Allow", ALLOW).header("Supported", SUPPORTED);
    }
    if code > 100 {
        writer.header("Server", user_agent);
    }
}
