//! A user agent: its sockets, who waits for which message, and a trace of all of them.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::call::Call;
use super::digest::Credentials;
use super::message::{Message, param};
use super::sdp::PT_PCMA;
use super::transport::{Datagram, Sockets, Transport};
use crate::impair::Network;
use crate::limits::{SIP_RESPONSE_CACHE_LEN_MAX, SIP_TRACE_LEN_MAX};
use crate::net::free_port;
use crate::rtp::RtpStream;
use crate::{Result, within};

/// Methods this user agent understands.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// How an agent presents itself.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Address it lives on.
    pub ip: IpAddr,
    /// Its port; 0 takes a free one.
    pub port: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// User part of its own address.
    pub user: String,
    /// Display name, written in quotes.
    pub display: Option<String>,
    /// Answers to 401 and 407.
    pub credentials: Option<Credentials>,
    /// Hash to choose when several are offered; `None` takes the top-most.
    pub prefer: Option<super::digest::Algorithm>,
    /// Audio payload types offered and accepted, in order.
    pub payload_types: Vec<u8>,
    /// What its media goes through; `None` is a good network.
    pub network: Option<Network>,
}

impl AgentConfig {
    /// UDP on a free port of `ip`, A-law, no credentials.
    pub fn new(ip: IpAddr, user: impl Into<String>) -> Self {
        Self {
            ip,
            port: 0,
            transport: Transport::Udp,
            user: user.into(),
            display: None,
            credentials: None,
            prefer: None,
            payload_types: vec![PT_PCMA],
            network: None,
        }
    }
}

/// A message in an agent's trace.
#[derive(Clone, Debug)]
pub struct Traced {
    /// When.
    pub at: Instant,
    /// True if the agent sent it.
    pub sent: bool,
    /// The other side.
    pub peer: SocketAddr,
    /// The message, retransmissions included.
    pub message: Message,
}

/// A user agent; clones share its sockets.
#[derive(Clone)]
pub struct Agent(pub(super) Arc<Inner>);

/// Answers a request that belongs to no dialog.
pub(super) type Service = Arc<dyn Fn(&Message, SocketAddr) -> Message + Send + Sync>;

/// A request and its source.
pub(super) struct Inbound {
    pub(super) message: Message,
    pub(super) from: SocketAddr,
}

pub(super) struct Inner {
    pub(super) config: AgentConfig,
    pub(super) sockets: Sockets,
    pub(super) pending: Mutex<HashMap<String, UnboundedSender<Message>>>,
    pub(super) dialogs: Mutex<HashMap<String, UnboundedSender<Inbound>>>,
    pub(super) service: Mutex<Option<Service>>,
    answered: Mutex<Answered>,
    incoming: UnboundedSender<Call>,
    calls: AsyncMutex<UnboundedReceiver<Call>>,
    trace: Mutex<Trace>,
    reader: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Trace {
    messages: Vec<Traced>,
    unparsed: u64,
}

/// Responses for retransmitted requests, by transaction.
#[derive(Default)]
struct Answered {
    by_key: HashMap<String, (SocketAddr, Vec<u8>)>,
    order: VecDeque<String>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(reader) = lock(&self.reader).take() {
            reader.abort();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A branch that RFC 3261 §8.1.1.7 calls unique.
pub(super) fn new_branch() -> String {
    format!("z9hG4bK{:016x}", rand::random::<u64>())
}

pub(super) fn new_tag() -> String {
    format!("{:012x}", rand::random::<u64>() >> 16)
}

/// RFC 3261 §17.2.3: branch and method name a transaction.
pub(super) fn transaction_key(message: &Message) -> String {
    format!("{} {}", message.branch(), message.method())
}

impl Agent {
    /// Opens the sockets and starts to listen.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the port is taken.
    pub async fn start(mut config: AgentConfig) -> Result<Self> {
        if config.port == 0 {
            config.port = free_port(config.ip)?;
        }
        let local = SocketAddr::new(config.ip, config.port);
        let (inbound, datagrams) = unbounded_channel();
        let sockets = Sockets::open(config.transport, local, inbound).await?;
        let (incoming, calls) = unbounded_channel();
        let inner = Arc::new(Inner {
            config,
            sockets,
            pending: Mutex::default(),
            dialogs: Mutex::default(),
            service: Mutex::default(),
            answered: Mutex::default(),
            incoming,
            calls: AsyncMutex::new(calls),
            trace: Mutex::default(),
            reader: Mutex::default(),
        });
        let reader = tokio::spawn(read_loop(Arc::downgrade(&inner), datagrams));
        *lock(&inner.reader) = Some(reader.abort_handle());
        Ok(Self(inner))
    }

    /// Address of its socket.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.0.sockets.local
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &AgentConfig {
        &self.0.config
    }

    /// A media stream of its own for a call.
    pub(super) fn open_media(&self) -> Result<RtpStream> {
        let config = self.config();
        match config.network {
            Some(network) => RtpStream::open_through(config.ip, network),
            None => RtpStream::open(config.ip),
        }
    }

    /// The value of its Contact.
    #[must_use]
    pub fn contact(&self) -> String {
        let tcp = self.0.config.transport == Transport::Tcp;
        let transport = if tcp { ";transport=tcp" } else { "" };
        format!("<sip:{}@{}{transport}>", self.0.config.user, self.local())
    }

    /// The next call that comes in.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`].
    pub async fn next_call(&self, timeout_ms: u64) -> Result<Call> {
        let mut calls = self.0.calls.lock().await;
        let what = format!("a call to {}", self.0.config.user);
        let call = within(&what, timeout_ms, calls.recv()).await?;
        call.ok_or(crate::Error::Timeout { what, after_ms: timeout_ms })
    }

    /// Every message sent and received so far.
    #[must_use]
    pub fn trace(&self) -> Vec<Traced> {
        lock(&self.0.trace).messages.clone()
    }

    /// The messages received that `wanted` accepts.
    pub fn received(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let trace = lock(&self.0.trace);
        let received = trace.messages.iter().filter(|t| !t.sent && wanted(&t.message));
        received.map(|t| t.message.clone()).collect()
    }

    /// Datagrams received that weren't SIP.
    #[must_use]
    pub fn unparsed(&self) -> u64 {
        lock(&self.0.trace).unparsed
    }

    /// Sends any bytes: for hostile and broken messages.
    pub fn send_raw(&self, to: SocketAddr, bytes: &[u8]) {
        self.0.sockets.send(to, bytes.to_vec());
    }

    /// Sends a message outside any transaction.
    ///
    /// # Errors
    /// [`crate::Error::Sip`] when it can't be built.
    pub fn send(&self, to: SocketAddr, message: &Message) -> Result<()> {
        let bytes = message.to_bytes()?;
        self.note(true, to, message.clone());
        self.0.sockets.send(to, bytes);
        Ok(())
    }

    /// Closes TCP connections without a word.
    pub fn drop_connections(&self) {
        self.0.sockets.drop_connections();
    }

    /// A Via for a new transaction.
    pub(super) fn via(&self) -> String {
        let transport = self.0.config.transport.token();
        format!("SIP/2.0/{transport} {};branch={};rport", self.local(), new_branch())
    }

    fn note(&self, sent: bool, peer: SocketAddr, message: Message) {
        let mut trace = lock(&self.0.trace);
        if trace.messages.len() < SIP_TRACE_LEN_MAX {
            trace.messages.push(Traced { at: Instant::now(), sent, peer, message });
        }
    }

    /// Sends a response and remembers it for retransmitted requests.
    pub(super) fn respond(&self, request: &Inbound, mut response: Message) -> Result<()> {
        let to = self.response_address(request);
        if let Some((_, via)) = response.headers.iter_mut().find(|(n, _)| n == "Via") {
            // RFC 3581 §4.
            if param(via, "rport") == Some("") {
                let filled = format!(";rport={};received={}", request.from.port(), request.from.ip());
                *via = via.replacen(";rport", &filled, 1);
            }
        }
        let bytes = response.to_bytes()?;
        lock(&self.0.answered).put(transaction_key(&request.message), to, bytes);
        self.send(to, &response)
    }

    /// RFC 3261 §18.2.2 and RFC 3581 §4.
    fn response_address(&self, request: &Inbound) -> SocketAddr {
        let via = request.message.header("Via").unwrap_or("");
        if self.0.sockets.is_reliable() || param(via, "rport").is_some() {
            return request.from;
        }
        let sent_by = via.split_whitespace().nth(1).unwrap_or("");
        let host = sent_by.split(';').next().unwrap_or("");
        let port = host.rsplit_once(':').and_then(|(_, p)| p.parse().ok()).unwrap_or(5_060);
        SocketAddr::new(request.from.ip(), port)
    }

    fn take(&self, inbound: Inbound) {
        self.note(false, inbound.from, inbound.message.clone());
        if inbound.message.is_request() {
            self.take_request(inbound);
            return;
        }
        let waiting = lock(&self.0.pending).get(&transaction_key(&inbound.message)).cloned();
        if let Some(waiting) = waiting {
            // The transaction may have ended in this moment: a late response is nobody's.
            let _ = waiting.send(inbound.message);
        }
    }

    fn take_request(&self, inbound: Inbound) {
        let message = &inbound.message;
        let method = message.method().to_owned();
        if method != "ACK" {
            let known = lock(&self.0.answered).get(&transaction_key(message));
            if let Some((to, bytes)) = known {
                self.0.sockets.send(to, bytes);
                return;
            }
        }
        let dialog = lock(&self.0.dialogs).get(message.call_id()).cloned();
        if let Some(dialog) = dialog {
            // A dialog that ended in this moment answers nothing; the peer retransmits.
            let _ = dialog.send(inbound);
            return;
        }
        if method == "ACK" {
            return;
        }
        if method == "INVITE" && message.to_tag().is_none() {
            if let Ok(call) = Call::incoming(self, inbound) {
                // The receiver lives as long as the agent.
                let _ = self.0.incoming.send(call);
            }
            return;
        }
        let service = lock(&self.0.service).clone();
        let response = match service {
            Some(service) => service(message, inbound.from),
            None => without_dialog(message),
        };
        // An answer that can't be built was asked for by a test on purpose.
        let _ = self.respond(&inbound, response);
    }
}

/// The answer to a request outside any dialog.
pub(super) fn without_dialog(request: &Message) -> Message {
    let (code, reason) = match request.method() {
        "OPTIONS" => (200, "OK"),
        "BYE" | "INFO" | "UPDATE" | "CANCEL" | "INVITE" => (481, "Call/Transaction Does Not Exist"),
        _ => (405, "Method Not Allowed"),
    };
    Message::response_to(request, code, reason).with("Allow", ALLOW)
}

impl Answered {
    fn put(&mut self, key: String, to: SocketAddr, bytes: Vec<u8>) {
        if self.by_key.insert(key.clone(), (to, bytes)).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > SIP_RESPONSE_CACHE_LEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }

    fn get(&self, key: &str) -> Option<(SocketAddr, Vec<u8>)> {
        self.by_key.get(key).cloned()
    }
}

async fn read_loop(inner: Weak<Inner>, mut datagrams: UnboundedReceiver<Datagram>) {
    while let Some(Datagram { bytes, from }) = datagrams.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        match Message::parse(&bytes) {
            Ok(message) => Agent(inner).take(Inbound { message, from }),
            // Keep-alives are CR LF; anything else that doesn't parse is counted.
            Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
            Err(_) => lock(&inner.trace).unparsed += 1,
        }
    }
}
