//! Drives the SIP endpoint: datagrams and streams in, messages and timers out, events to their calls.
//!
//! The endpoint sits behind one lock that is held for microseconds and never across an await:
//! whoever has something to say to it (a socket, a timer, a call) says it directly.

mod deliver;
mod guard;
mod lost;
mod queue;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
mod transfer;
mod tunnel;
mod udp;
mod web;
#[cfg(test)]
mod web_tests;

pub use deliver::session_of;
pub use lost::Lost;
pub use tunnel::{BadParcel, Link};
pub use web::{MESSAGE_BYTES_MAX, WebPeer};

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hotline_sip::{
    Ask, AskError, AskId, Binding, Dial, DialError, Endpoint, Event, Flow, Incoming, Output, Reply, SessionError,
    SessionId, Standing, Transport,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use tls::{ClientTls, ServerTls, TlsPeers};

/// New calls waiting for a driver; further ones get 503.
const INCOMING_MAX: usize = 1_024;
/// Events waiting for one call.
const SESSION_EVENTS_MAX: usize = 64;
/// TCP connections at once; a further one is closed, and what we wanted to send on it fails.
const CONN_MAX: usize = 2_048;
/// TCP connections of sources that have not proved a trunk's password; a further one is closed.
const STRANGER_CONN_MAX: usize = 64;
/// Those of one such source, so that one address can't keep all others out.
const STRANGER_CONN_PER_SOURCE_MAX: usize = 8;
/// TCP connections of one address in a phone network, so that one can't keep all others out.
const PHONE_CONN_PER_SOURCE_MAX: usize = 256;
/// Places among `CONN_MAX` that only trunks, and calls of our own, may take.
const TRUNK_CONN_RESERVE: usize = 256;

/// A call that has just arrived.
pub struct NewCall {
    /// Session.
    pub id: SessionId,
    /// What the INVITE said.
    pub invite: Box<Incoming>,
    /// Give this to `dial` for further legs of the same call.
    pub events_tx: mpsc::Sender<Box<Event>>,
    /// Events of the call's sessions.
    pub events: mpsc::Receiver<Box<Event>>,
}

impl std::fmt::Debug for NewCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What the INVITE said holds numbers.
        f.debug_struct("NewCall").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What concerns phones and strangers rather than one call.
#[derive(Debug)]
pub enum Notice {
    /// A phone registered.
    Registered {
        /// SIP user.
        user: String,
    },
    /// A phone's contacts are others than before.
    Contacts {
        /// SIP user.
        user: String,
    },
    /// A source is banned.
    Banned(hotline_sip::Ban),
    /// A phone has no contact at this gateway any more.
    Unregistered {
        /// SIP user.
        user: String,
    },
}

struct Core {
    endpoint: Endpoint,
    routes: HashMap<SessionId, mpsc::Sender<Box<Event>>>,
    /// Who waits for the answer to a REGISTER or OPTIONS of ours
    asks: HashMap<AskId, oneshot::Sender<Reply>>,
}

struct Conn {
    queue: queue::Queue,
    /// The source, as long as it is a stranger's.
    stranger: Option<IpAddr>,
    /// The source, if it is in a phone network.
    phone: Option<IpAddr>,
}

struct Conns {
    by_id: HashMap<u64, Conn>,
    by_peer: HashMap<Peer, u64>,
}

/// Both ends of a connection; a trunk's certificate belongs to its own listener.
type Peer = (Transport, SocketAddr, SocketAddr);

fn peer_of(flow: Flow) -> Peer {
    (flow.transport, flow.local, flow.remote)
}

/// What to listen on, and how TLS connections of our own are opened.
#[derive(Default)]
pub struct Sockets {
    /// UDP and TCP are both opened on each address; our own calls leave from the first.
    pub plain: Vec<SocketAddr>,
    /// TLS listeners.
    pub tls: Vec<(SocketAddr, ServerTls)>,
    /// (listener they speak for, where they lead, context) of our own TLS connections.
    pub clients: Vec<(SocketAddr, Vec<SocketAddr>, Arc<ClientTls>)>,
}

struct Inner {
    core: Mutex<Core>,
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Mutex<Conns>,
    tls_peers: TlsPeers,
    /// Trunks' connections that are gone
    lost: broadcast::Sender<Peer>,
    conn_next: AtomicU64,
    timer_changed: Notify,
    incoming: mpsc::Sender<NewCall>,
    notices: mpsc::Sender<Notice>,
    /// To other gateways, once there are any
    link: OnceLock<Box<dyn Link>>,
    cancel: CancellationToken,
}

/// Handle to the SIP side of the gateway.
#[derive(Clone)]
pub struct Sip {
    inner: Arc<Inner>,
}

/// The receiving ends of a new [`Sip`].
pub struct SipEvents {
    /// New calls.
    pub incoming: mpsc::Receiver<NewCall>,
    /// Registrations.
    pub notices: mpsc::Receiver<Notice>,
}

impl Sip {
    /// Opens every socket and starts serving.
    pub async fn start(
        endpoint: Endpoint,
        sockets: Sockets,
        cancel: CancellationToken,
    ) -> io::Result<(Self, SipEvents)> {
        let named = |address: SocketAddr| move |e: io::Error| io::Error::new(e.kind(), format!("{address}: {e}"));
        let mut udp = Vec::new();
        let mut listeners = Vec::new();
        for address in sockets.plain {
            udp.push((address, udp::bind(address).map_err(named(address))?));
            let listener = TcpListener::bind(address).await.map_err(named(address))?;
            listeners.push((address, listener, None));
        }
        let mut certificates: Vec<_> = sockets.clients.iter().filter_map(|(_, _, c)| c.certificate()).collect();
        for (address, tls) in sockets.tls {
            certificates.push(tls.certificate());
            let listener = TcpListener::bind(address).await.map_err(named(address))?;
            listeners.push((address, listener, Some(TlsAcceptor::from(tls.config()))));
        }
        let tls_peers = TlsPeers::default();
        for (local, remotes, client) in sockets.clients {
            tls_peers.set(local, remotes, &client);
        }
        let (incoming_tx, incoming) = mpsc::channel(INCOMING_MAX);
        let (notices_tx, notices) = mpsc::channel(INCOMING_MAX);
        let sip = Self {
            inner: Arc::new(Inner {
                core: Mutex::new(Core { endpoint, routes: HashMap::new(), asks: HashMap::new() }),
                udp,
                tcp: Mutex::new(Conns { by_id: HashMap::new(), by_peer: HashMap::new() }),
                tls_peers,
                lost: broadcast::Sender::new(lost::WAITING_MAX),
                // Another run's numbers, which other gateways may still name, are not ours.
                conn_next: AtomicU64::new(rand::random::<u64>() >> 1),
                timer_changed: Notify::new(),
                incoming: incoming_tx,
                notices: notices_tx,
                link: OnceLock::new(),
                cancel,
            }),
        };
        for index in 0..sip.inner.udp.len() {
            tokio::spawn(udp::read(sip.clone(), index));
        }
        for (address, listener, tls) in listeners {
            tokio::spawn(tcp::accept(sip.clone(), address, listener, tls));
        }
        if !certificates.is_empty() {
            tokio::spawn(tls::renew(certificates, sip.inner.cancel.clone()));
        }
        tokio::spawn(sip.clone().run_timers());
        Ok((sip, SipEvents { incoming, notices }))
    }

    /// Places a call; its events go to `events`.
    pub fn dial(&self, dial: Dial, events: mpsc::Sender<Box<Event>>) -> Result<SessionId, DialError> {
        self.with(|core, now| {
            let id = core.endpoint.dial(now, dial)?;
            core.routes.insert(id, events);
            Ok(id)
        })
    }

    /// Sends a request outside any dialog and waits for its answer, 64·T1 at most. Dropping the
    /// future doesn't take the request back.
    pub async fn ask(&self, ask: Ask) -> Result<Reply, AskError> {
        let (asker, reply) = oneshot::channel();
        self.with(|core, now| {
            let id = core.endpoint.ask(now, ask)?;
            core.asks.insert(id, asker);
            Ok(())
        })?;
        // The endpoint answers every request; a closed channel means it is gone.
        reply.await.map_err(|_| AskError::Busy)
    }

    /// The `Call-ID` of a session that has not ended.
    #[must_use]
    pub fn call_id(&self, id: SessionId) -> Option<String> {
        self.lock().endpoint.call_id(id)
    }

    /// Answers a call.
    pub fn accept(&self, id: SessionId, sdp: &[u8]) -> Result<(), SessionError> {
        self.with(|core, now| core.endpoint.accept(now, id, sdp))
    }

    /// Refuses a call.
    pub fn reject(&self, id: SessionId, code: u16, reason: &str) {
        self.say(id, "reject", |e, now| e.reject(now, id, code, reason));
    }

    /// Refuses a call with a `Warning` that tells why (RFC 3261 §20.43).
    pub fn reject_warned(&self, id: SessionId, code: u16, reason: &str, warning: &str) {
        self.say(id, "reject", |e, now| e.reject_with(now, id, code, reason, &[("Warning", warning)]));
    }

    /// Ends a session in whatever way its state asks for.
    pub fn hang_up(&self, id: SessionId, cause: &str) {
        self.say(id, "hang up", |e, now| e.hang_up(now, id, cause));
    }

    /// Answers a re-INVITE or UPDATE.
    pub fn answer_reoffer(&self, id: SessionId, sdp: &[u8]) {
        self.say(id, "answer re-offer", |e, now| e.answer_reoffer(now, id, sdp));
    }

    /// Refuses a re-INVITE or UPDATE; the session goes on as it was.
    pub fn reject_reoffer(&self, id: SessionId, code: u16) {
        self.say(id, "reject re-offer", |e, now| e.reject_reoffer(now, id, code));
    }

    /// Live contacts of a phone.
    #[must_use]
    pub fn bindings(&self, user: &str) -> Vec<Binding> {
        self.lock().endpoint.bindings(Instant::now(), user)
    }

    /// Replaces the table of phones.
    pub fn set_users(&self, users: Vec<hotline_sip::User>) {
        self.with(|core, now| core.endpoint.set_users(now, users));
    }

    /// No new calls from now on: 503 with Retry-After.
    pub fn drain(&self) {
        self.with(|core, _| core.endpoint.drain());
    }

    /// As [`Self::drain`] while `closed`, and back.
    pub fn close_door(&self, closed: bool) {
        self.with(|core, _| core.endpoint.close_door(closed));
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> hotline_sip::Stats {
        self.lock().endpoint.stats()
    }

    /// Where a TLS trunk's name leads now: connections there use its certificates.
    pub fn set_tls_remotes(&self, trunk: &str, remotes: Vec<SocketAddr>) {
        self.inner.tls_peers.set_remotes(trunk, remotes);
    }

    /// The first UDP listener: where our own calls leave from.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.inner.udp.first().map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 5060)), |(a, _)| *a)
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.inner.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, id: SessionId, what: &str, f: impl FnOnce(&mut Endpoint, Instant) -> Result<(), SessionError>) {
        if let Err(e) = self.with(|core, now| f(&mut core.endpoint, now)) {
            debug!(?id, error = %e, "{what}: the session is past it");
        }
    }

    /// Runs `f` and carries out what the endpoint then wants, in order, under the same lock.
    fn with<R>(&self, f: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let mut core = self.lock();
        let deadline = core.endpoint.poll_timeout();
        let result = f(&mut core, Instant::now());
        while let Some(output) = core.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.transmit(&core.endpoint, flow, bytes),
                Output::CloseConn(conn) => self.close_conn(conn),
                Output::ToNode { node, parcel } => self.send_parcel(node, parcel),
                Output::Event(event) => self.deliver(&mut core, event),
            }
        }
        // A later deadline needs no word: the timer wakes once for nothing and looks again.
        let is_earlier = core.endpoint.poll_timeout().is_some_and(|at| deadline.is_none_or(|old| at < old));
        drop(core);
        if is_earlier {
            self.inner.timer_changed.notify_one();
        }
        result
    }

    fn transmit(&self, endpoint: &Endpoint, flow: Flow, bytes: Vec<u8>) {
        match flow.transport {
            Transport::Udp => {
                let socket = self.inner.udp.iter().find(|(a, _)| *a == flow.local).or_else(|| self.inner.udp.first());
                // A full socket buffer loses the datagram as a network would; timers repeat it.
                if let Some((_, socket)) = socket
                    && let Err(e) = socket.try_send_to(&bytes, flow.remote)
                {
                    debug!(remote = %flow.remote, error = %e, "datagram not sent");
                }
            }
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                tcp::send(self, endpoint, flow, bytes);
            }
        }
    }

    fn close_conn(&self, conn: u64) {
        let mut conns = self.conns();
        let is_trunk = conns.by_id.remove(&conn).is_some_and(|c| c.is_trunk());
        conns.by_peer.retain(|peer, id| {
            if is_trunk && *id == conn {
                self.tell_lost(*peer);
            }
            *id != conn
        });
    }

    fn conns(&self) -> MutexGuard<'_, Conns> {
        self.inner.tcp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_timers(self) {
        loop {
            let deadline = self.lock().endpoint.poll_timeout();
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.with(|core, now| core.endpoint.handle_timeout(now)),
                () = self.inner.timer_changed.notified() => {}
                () = self.inner.cancel.cancelled() => return,
            }
        }
    }

    fn standing(&self, local: SocketAddr, source: IpAddr) -> Standing {
        self.lock().endpoint.standing(Instant::now(), local, source)
    }

    fn is_trunk(&self, local: SocketAddr, source: IpAddr) -> bool {
        self.lock().endpoint.is_trunk(Instant::now(), local, source)
    }

    fn next_conn(&self) -> u64 {
        self.inner.conn_next.fetch_add(1, Ordering::Relaxed)
    }
}
