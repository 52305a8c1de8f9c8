//! The façade: one endpoint holds all transactions, sessions and bindings
//!
//! A file per verb: `input` and `timeout` feed it; `request` and `response`
//! sort what came; `dial`, `provisional`, `accept`, `reject`, `hang_up` and `reoffer`
//! are the driver's verbs.

mod accept;
mod ack;
mod admit;
mod ask;
mod authenticate;
mod cancel;
mod client_tx;
mod dial;
mod error;
mod extension;
mod guarded;
mod hang_up;
mod in_dialog;
mod input;
mod inspect;
mod invite_response;
mod notify;
mod overload;
mod prack;
mod provisional;
mod reconnect;
mod redirect;
mod refer;
mod refuse;
mod register;
mod reject;
mod reoffer;
mod reoffer_in;
mod reoffer_out;
mod replaces;
mod request;
mod response;
mod server_tx;
mod session_timer;
mod strangers;
mod timeout;
mod tunnel;

pub use error::{AskError, DialError, SessionError};
pub use refuse::Standing;

use crate::config::{Binding, Config, Stats, Trunk, User};
use crate::digest::{NonceBook, ha1_md5, ha1_sha256};
use crate::event::{Event, Output, SessionId};
use crate::flow::{Flow, Transport};
use crate::guard::Guard;
use crate::limits;
use crate::random::Random;
use crate::registrar::{Registrar, Swept};
use crate::session::{Orphan, Session, Transfer};
use crate::tap::Tap;
use crate::transaction::{TimerKey, Timers, Timing};
use crate::tunnel::Parcel;
use client_tx::ClientTx;
use input::Stream;
use overload::Load;
use server_tx::ServerTx;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use strangers::Strangers;
use tunnel::Nodes;

/// A SIP endpoint: user agent, registrar and admission, without sockets or clock
///
/// Feed it with `handle_*`, then drain [`Endpoint::poll_output`] until `None`,
/// then call [`Endpoint::handle_timeout`] at [`Endpoint::poll_timeout`].
///
/// Invariant: the same calls with the same seed give the same outputs.
pub struct Endpoint {
    config: Config,
    timing: Timing,
    random: Random,
    nonces: NonceBook,
    /// Each name's passwords
    users: HashMap<String, Vec<User>>,
    /// Trunks that authenticate, as users: (account, trunk name)
    trunk_users: HashMap<String, (User, String)>,
    /// Stands in for an unknown user's, so that both take the same way
    decoy: User,
    /// The first `now` seen: nonces count from here
    epoch: Option<Instant>,
    out: VecDeque<Output>,
    timers: Timers,
    last_id: u64,
    servers: HashMap<u64, ServerTx>,
    server_index: HashMap<Vec<u8>, u64>,
    merged: HashMap<Vec<u8>, u64>,
    clients: HashMap<u64, ClientTx>,
    /// Boxed: a table grows by doubling, and a session is large
    sessions: HashMap<SessionId, Box<Session>>,
    by_tag: HashMap<Vec<u8>, SessionId>,
    transfers: HashMap<SessionId, Transfer>,
    registrar: Registrar,
    /// When a stranger was last answered
    strangers: Strangers,
    /// When the driver was last told of one that met silence
    strangers_told: Strangers,
    /// When a source last proved a trunk's password
    proven: HashMap<IpAddr, Instant>,
    streams: HashMap<u64, Stream>,
    guard: Guard,
    nodes: Nodes,
    load: Load,
    draining: bool,
    is_door_closed: bool,
    counters: Stats,
    tap: Option<Box<dyn Tap>>,
}

impl Endpoint {
    /// An endpoint without users; see [`Endpoint::set_users`]
    #[must_use]
    pub fn new(config: Config) -> Self {
        let timing = Timing {
            t1: Duration::from_millis(config.t1_ms.max(1)),
            t2: Duration::from_millis(config.t2_ms.max(1)),
            t4: Duration::from_millis(config.t4_ms),
        };
        let mut random = Random::new(config.seed);
        let nonces = NonceBook::new(random.mac(&[b"nonce key"]));
        let decoy = account(&random.token(), &config.realm, &random.token());
        let trunk_users = trunk_accounts(&config);
        let guard = Guard::new(config.guard);
        Self {
            config,
            timing,
            random,
            nonces,
            users: HashMap::new(),
            trunk_users,
            decoy,
            epoch: None,
            out: VecDeque::new(),
            timers: Timers::default(),
            last_id: 0,
            servers: HashMap::new(),
            server_index: HashMap::new(),
            merged: HashMap::new(),
            clients: HashMap::new(),
            sessions: HashMap::new(),
            by_tag: HashMap::new(),
            transfers: HashMap::new(),
            registrar: Registrar::default(),
            strangers: Strangers::default(),
            strangers_told: Strangers::default(),
            proven: HashMap::new(),
            streams: HashMap::new(),
            guard,
            nodes: Nodes::default(),
            load: Load::default(),
            draining: false,
            is_door_closed: false,
            counters: Stats::default(),
            tap: None,
        }
    }

    /// Replaces the phones' accounts; a phone that is gone loses its bindings, and so does a browser whose password
    /// is. Several of one name are one account with several passwords, at most `limits::PASSWORDS_PER_USER_MAX`.
    pub fn set_users(&mut self, now: Instant, users: Vec<User>) {
        self.users.clear();
        for user in users {
            let accounts = self.users.entry(user.name.clone()).or_default();
            if accounts.len() < limits::PASSWORDS_PER_USER_MAX {
                accounts.push(user);
            }
        }
        let users = &self.users;
        let swept = self.registrar.keep_known(|name| Some(users.get(name)?.iter().map(User::mark).collect()));
        self.tell_swept(now, swept);
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
    }

    /// Replaces the trunks; calls that run are not touched
    pub fn set_trunks(&mut self, trunks: Vec<Trunk>) {
        self.config.trunks = trunks;
        self.trunk_users = trunk_accounts(&self.config);
    }

    /// Shows every message that passes to `tap` from now on
    pub fn set_tap(&mut self, tap: Box<dyn Tap>) {
        self.tap = Some(tap);
    }

    /// The `Call-ID` of a session that has not ended
    #[must_use]
    pub fn call_id(&self, id: SessionId) -> Option<String> {
        Some(String::from_utf8_lossy(&self.sessions.get(&id)?.dialog.call_id).into_owned())
    }

    /// Stops admitting: new INVITEs get 503 with `Retry-After`; calls that run go on
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// As [`Endpoint::drain`], for as long as it is closed: another gateway serves new calls better
    pub fn close_door(&mut self, closed: bool) {
        self.is_door_closed = closed;
    }

    /// Whether new calls are sent elsewhere
    fn admits_none(&self) -> bool {
        self.draining || self.is_door_closed
    }

    /// When [`Endpoint::handle_timeout`] is due; `None` while nothing waits
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_at()
    }

    /// The next thing to do; call until `None` after every input
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Live contacts of a phone, newest first, wherever it registered; those a call can't reach now come last
    #[must_use]
    pub fn bindings(&self, now: Instant, user: &str) -> Vec<Binding> {
        let mut bindings = self.registrar.live(now, user);
        bindings.sort_by_key(|binding| !self.can_ring(binding));
        bindings
    }

    /// Whether the link to the gateway stands where this contact is registered
    fn can_ring(&self, binding: &Binding) -> bool {
        binding.flow.node.is_none_or(|node| self.nodes.is_up(node))
    }

    /// Counters and gauges
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions.len(),
            transactions: self.servers.len() + self.clients.len(),
            bindings: self.registrar.binding_count(),
            transfers: self.transfers.len(),
            ..self.counters
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn emit(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        if let Some(tap) = &mut self.tap {
            tap.sent(flow, &bytes);
        }
        self.out.push_back(match flow.node {
            None => Output::Transmit { flow, bytes },
            Some(node) => Output::ToNode { node, parcel: Parcel::Write { flow: Flow { node: None, ..flow }, bytes } },
        });
    }

    fn tell_swept(&mut self, now: Instant, swept: Swept) {
        for user in swept.changed {
            self.announce(now, &user);
        }
        for user in swept.lost {
            self.emit(Event::Unregistered { user });
        }
    }

    /// The tag of a phone's dialog: phones at other gateways are told by it whose it is
    fn phone_tag(&mut self) -> String {
        let token = self.random.token();
        self.config.node.map_or(token.clone(), |node| node.mark(&token))
    }

    fn clock_ms(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        u64::try_from(now.saturating_duration_since(epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// The address we write into `Via` and `Contact` for this flow
    fn advertised(&self, flow: Flow) -> SocketAddr {
        if flow.node.is_some() {
            return flow.local;
        }
        let listed = self.config.advertised.iter().find(|(t, local, _)| *t == flow.transport && *local == flow.local);
        listed.map_or(flow.local, |(_, _, address)| *address)
    }

    /// Our `Contact` value; `secure` where the request named a sips URI
    fn contact(&self, flow: Flow, user: &str, secure: bool) -> String {
        let address = self.advertised(flow);
        let user = escape_user(user);
        let at = if user.is_empty() { "" } else { "@" };
        // RFC 3261 §26.2.2: sips says TLS by itself, and `transport` would name what lies below.
        if secure && flow.transport == Transport::Tls {
            return format!("<sips:{user}{at}{address}>");
        }
        let scheme = if secure { "sips" } else { "sip" };
        format!("<{scheme}:{user}{at}{address}{}>", flow.transport.uri_param())
    }

    fn arm_session(&mut self, id: SessionId) {
        let deadline = self.sessions.get(&id).and_then(|session| session.deadline());
        self.timers.set(TimerKey::Session(id.0), deadline);
    }

    fn add_session(&mut self, id: SessionId, session: Session) {
        self.by_tag.insert(session.dialog.local_tag.clone().into_bytes(), id);
        self.sessions.insert(id, Box::new(session));
        self.arm_session(id);
    }

    fn remove_session(&mut self, id: SessionId) -> Option<Session> {
        let session = *self.sessions.remove(&id)?;
        self.load.gone(id);
        self.by_tag.remove(session.dialog.local_tag.as_bytes());
        self.timers.set(TimerKey::Session(id.0), None);
        if self.transfers.contains_key(&id) {
            let Session { dialog, flow, contact, credentials, .. } = &session;
            let (dialog, contact, credentials) = (dialog.clone(), contact.clone(), credentials.clone());
            self.orphan_transfer(id, Orphan { dialog, flow: *flow, contact, credentials });
        }
        Some(session)
    }
}

/// A user part with everything escaped that may not stand there (RFC 3261 §25.1)
fn escape_user(user: &str) -> String {
    user.bytes().fold(String::with_capacity(user.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(&b) {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

/// Whether a URI's scheme is sips
fn is_sips(uri: &[u8]) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

fn account(name: &str, realm: &str, password: &str) -> User {
    User {
        name: name.to_owned(),
        ha1_md5: ha1_md5(name, realm, password),
        ha1_sha256: ha1_sha256(name, realm, password),
    }
}

fn trunk_accounts(config: &Config) -> HashMap<String, (User, String)> {
    let with_password = config.trunks.iter().filter_map(|t| Some((t, t.credentials.as_ref()?)));
    with_password
        .map(|(trunk, (user, password))| (user.clone(), (account(user, &config.realm, password), trunk.name.clone())))
        .collect()
}
