//! Client transactions and requests

use super::Endpoint;
use crate::dialog::Outgoing;
use crate::digest::{authorization, strongest};
use crate::event::{AskId, SessionId};
use crate::flow::Flow;
use crate::limits;
use crate::message::{BRANCH_COOKIE, Message, Method};
use crate::transaction::{Client, InviteClient, OnResponse, OnTimeout, TimerKey};
use std::time::Instant;

pub(super) enum ClientFsm {
    Invite(InviteClient),
    Other(Client),
}

impl ClientFsm {
    pub(super) fn on_response(&mut self, now: Instant, code: u16) -> OnResponse {
        match self {
            Self::Invite(fsm) => fsm.on_response(now, code),
            Self::Other(fsm) => fsm.on_response(now, code),
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant) -> OnTimeout {
        match self {
            Self::Invite(fsm) => fsm.on_timeout(now),
            Self::Other(fsm) => fsm.on_timeout(now),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Invite(fsm) => fsm.is_open(),
            Self::Other(fsm) => fsm.is_open(),
        }
    }

    pub(super) fn is_terminated(&self) -> bool {
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

/// Who waits for the response
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A dial's INVITE
    Dial(SessionId),
    /// A re-INVITE
    Reoffer(SessionId),
    /// A BYE that ends a session
    Bye(SessionId),
    /// A PRACK, in an early dialog
    Prack(SessionId),
    /// A NOTIFY about a session's transfer
    Notify(SessionId),
    /// A REGISTER or OPTIONS of ours
    Ask(AskId),
    /// A CANCEL, or the BYE of a fork nobody wants
    Nobody,
}

/// A dialog a 2xx opened: its ACK is sent again whenever the 2xx comes again
pub(super) struct Fork {
    pub(super) to_tag: Vec<u8>,
    pub(super) ack: Vec<u8>,
    pub(super) ack_flow: Flow,
}

pub(super) struct ClientTx {
    pub(super) fsm: ClientFsm,
    pub(super) request: Outgoing,
    pub(super) flow: Flow,
    pub(super) branch: String,
    pub(super) bytes: Vec<u8>,
    pub(super) owner: Owner,
    pub(super) credentials: Option<(String, String)>,
    pub(super) try_count: u8,
    /// The tag of our `From`, for dialogs made from answers
    pub(super) local_tag: String,
    /// The call is unwanted: CANCEL as soon as a provisional came (reason inside)
    pub(super) give_up: Option<Option<String>>,
    pub(super) cancel_tx: Option<u64>,
    pub(super) forks: Vec<Fork>,
    /// The INVITE of a call to a phone: what its 2xx open is reached over its flow, whatever Contact says
    pub(super) is_phone: bool,
}

impl ClientTx {
    /// Lets go of what only an unanswered request needs: an answered one stays for up to 32 s to absorb repetitions
    pub(super) fn shrink(&mut self) {
        self.bytes = Vec::new();
        self.request.sdp = Vec::new();
        if self.request.method != Method::Invite {
            // Method and number are what a late response is known by.
            let Outgoing { uri, routes, from, to, call_id, headers, .. } = &mut self.request;
            (*uri, *from, *to, *call_id) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            (*routes, *headers) = (Vec::new(), Vec::new());
        }
    }
}

impl ClientTx {
    /// For the same request once more, answered to the peer's wish
    pub(super) fn order_again(&self) -> Order {
        Order {
            flow: self.flow,
            owner: self.owner,
            credentials: self.credentials.clone(),
            local_tag: self.local_tag.clone(),
            try_count: self.try_count + 1,
            is_phone: self.is_phone,
        }
    }
}

/// What a new client transaction needs besides its request
pub(super) struct Order {
    pub(super) flow: Flow,
    pub(super) owner: Owner,
    pub(super) credentials: Option<(String, String)>,
    pub(super) local_tag: String,
    pub(super) try_count: u8,
    /// [`ClientTx::is_phone`]
    pub(super) is_phone: bool,
}

impl Endpoint {
    fn via(&self, flow: Flow, branch: &str) -> String {
        format!("SIP/2.0/{} {};branch={branch};rport", flow.transport.via_token(), self.advertised(flow))
    }

    /// Sends a request and watches for its answer
    pub(super) fn open_client(&mut self, now: Instant, request: Outgoing, order: Order) -> u64 {
        let id = self.next_id();
        let branch = format!("{BRANCH_COOKIE}{id:016x}{}", self.random.token());
        // By way of another gateway, which has to know whose the responses are.
        let branch = match self.config.node.filter(|_| order.flow.node.is_some()) {
            Some(own) => own.mark(&branch),
            None => branch,
        };
        self.start_client(now, id, branch, request, order);
        id
    }

    fn start_client(&mut self, now: Instant, id: u64, branch: String, request: Outgoing, order: Order) {
        let bytes = request.render(&self.via(order.flow, &branch), &self.config.user_agent);
        let reliable = order.flow.transport.is_reliable();
        let fsm = match request.method {
            Method::Invite => ClientFsm::Invite(InviteClient::new(now, self.timing, reliable)),
            _ => ClientFsm::Other(Client::new(now, self.timing, reliable)),
        };
        if order.flow.node.is_none() {
            self.guard.note_contacted(now, order.flow.remote.ip());
        }
        self.transmit(order.flow, bytes.clone());
        let Order { flow, owner, credentials, local_tag, try_count, is_phone } = order;
        let (give_up, cancel_tx, forks) = (None, None, Vec::new());
        let tx = ClientTx {
            fsm,
            request,
            flow,
            branch,
            bytes,
            owner,
            credentials,
            try_count,
            local_tag,
            give_up,
            cancel_tx,
            forks,
            is_phone,
        };
        self.clients.insert(id, tx);
        self.arm_client(id);
    }

    /// Whether a new call or re-offer may open a transaction
    pub(super) fn has_client_room(&self) -> bool {
        self.clients.len() < limits::CLIENT_TRANSACTION_COUNT_MAX
    }

    pub(super) fn arm_client(&mut self, id: u64) {
        let deadline = self.clients.get(&id).and_then(|tx| tx.fsm.deadline());
        self.timers.set(TimerKey::Client(id), deadline);
    }

    pub(super) fn remove_client(&mut self, id: u64) {
        self.timers.set(TimerKey::Client(id), None);
        self.clients.remove(&id);
    }

    /// The transaction a response's branch names (RFC 3261 §17.1.3)
    pub(super) fn find_client(&self, response: &Message) -> Option<u64> {
        let branch = response.via()?.branch();
        let digits = branch.get(BRANCH_COOKIE.len()..BRANCH_COOKIE.len() + 16)?;
        let id = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let tx = self.clients.get(&id).filter(|tx| tx.branch.as_bytes().eq_ignore_ascii_case(branch))?;
        let id =
            if response.method() == Method::Cancel && tx.request.method == Method::Invite { tx.cancel_tx? } else { id };
        let request = &self.clients.get(&id)?.request;
        (request.method == response.method() && request.cseq == response.cseq()).then_some(id)
    }

    /// The ACK of a 2xx (a transaction of its own, so with a new branch)
    pub(super) fn render_ack(&mut self, flow: Flow, ack: &Outgoing) -> Vec<u8> {
        let branch = format!("{BRANCH_COOKIE}{}{}", self.random.token(), self.random.token());
        ack.render(&self.via(flow, &branch), &self.config.user_agent)
    }

    /// The ACK of a non-2xx (part of the INVITE's transaction, so with its branch)
    pub(super) fn ack_error(&mut self, id: u64, response: &Message) {
        let Some(tx) = self.clients.get(&id) else {
            return;
        };
        let to = response.header(crate::message::HeaderName::To).unwrap_or(b"");
        let bytes = tx.request.ack_of_error(to).render(&self.via(tx.flow, &tx.branch), &self.config.user_agent);
        let flow = tx.flow;
        self.transmit(flow, bytes);
    }

    /// Nobody wants this INVITE any more: CANCEL now, or once a provisional came (RFC 3261 §9.1)
    pub(super) fn cancel_invite(&mut self, now: Instant, id: u64, reason: Option<String>) {
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        if !tx.fsm.is_open() {
            return;
        }
        tx.give_up = Some(reason);
        if let ClientFsm::Invite(fsm) = &mut tx.fsm {
            fsm.stop_resending();
        }
        self.arm_client(id);
        self.cancel_if_possible(now, id);
    }

    pub(super) fn cancel_if_possible(&mut self, now: Instant, id: u64) {
        let Some(tx) = self.clients.get_mut(&id) else {
            return;
        };
        let ClientFsm::Invite(fsm) = &mut tx.fsm else {
            return;
        };
        let Some(reason) = tx.give_up.clone().filter(|_| tx.cancel_tx.is_none() && fsm.is_proceeding()) else {
            return;
        };
        fsm.limit(now);
        let cancel = tx.request.cancel(reason.as_deref());
        let order = Order {
            flow: tx.flow,
            owner: Owner::Nobody,
            credentials: None,
            local_tag: String::new(),
            try_count: 0,
            is_phone: false,
        };
        let branch = tx.branch.clone();
        let cancel_id = self.next_id();
        if let Some(tx) = self.clients.get_mut(&id) {
            tx.cancel_tx = Some(cancel_id);
        }
        self.arm_client(id);
        self.start_client(now, cancel_id, branch, cancel, order);
    }

    /// Repeats a request with the answer to a 401 or 407; `None` when that can't help
    pub(super) fn answer_challenge(&mut self, now: Instant, id: u64, response: &Message) -> Option<u64> {
        if !matches!(response.code(), 401 | 407) {
            return None;
        }
        let tx =
            self.clients.get(&id).filter(|tx| tx.try_count < limits::AUTH_TRY_COUNT_MAX && tx.give_up.is_none())?;
        let (user, password) = tx.credentials.clone()?;
        let challenge = strongest(response)?;
        // The same password again helps only against a nonce that grew old.
        if tx.try_count > 0 && !challenge.stale {
            return None;
        }
        let mut request = tx.request.clone();
        let order = tx.order_again();
        let cnonce = self.random.token();
        let uri = String::from_utf8_lossy(&request.uri).into_owned();
        request.auth = Some(authorization(&challenge, request.method.text(), &uri, &user, &password, &cnonce));
        request.cseq = match order.owner {
            Owner::Reoffer(id) | Owner::Bye(id) | Owner::Notify(id) | Owner::Prack(id) => {
                self.next_cseq(id, response.to_tag()).unwrap_or(request.cseq + 1)
            }
            _ => request.cseq + 1,
        };
        Some(self.open_client(now, request, order))
    }

    /// The next number of a session's dialog; other requests may have gone since the challenged one
    fn next_cseq(&mut self, id: SessionId, remote_tag: &[u8]) -> Option<u32> {
        let dialog = match self.sessions.get_mut(&id) {
            Some(session) => session.dialog_mut(remote_tag),
            None => &mut self.transfers.get_mut(&id)?.orphan.as_mut()?.dialog,
        };
        dialog.local_cseq += 1;
        Some(dialog.local_cseq)
    }
}
