//! A gateway fed by hand, and two endpoints joined by a lossy network in simulated time
#![allow(dead_code, unreachable_pub)] // every test file uses a part

pub mod calls;

use hotline_sip::{
    Config, Dial, Endpoint, Event, Flow, Incoming, NodeId, Output, Parcel, SessionId, Target, Transport, Trunk, User,
    digest,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
pub const ANSWER: &str =
    "v=0\r\no=- 2 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\n";
pub const GATEWAY: &str = "10.0.0.1:5060";
pub const TRUNK: &str = "192.0.2.9:5060";
pub const PHONE: &str = "10.0.1.7:5071";
pub const STRANGER: &str = "203.0.113.66:5060";
pub const REALM: &str = "hotline.test";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[allow(clippy::disallowed_methods)] // an Instant can't be made from nothing; only differences count
pub fn start() -> Instant {
    Instant::now()
}

pub fn user(name: &str, password: &str) -> User {
    User {
        name: name.into(),
        ha1_md5: digest::ha1_md5(name, REALM, password),
        ha1_sha256: digest::ha1_sha256(name, REALM, password),
    }
}

pub fn config(trunk_sources: &str, seed: u8) -> Config {
    let mut config = Config::new(REALM, [seed; 32]);
    config.trunks =
        vec![Trunk { name: "carrier".into(), sources: vec![trunk_sources.parse().unwrap()], ..Trunk::default() }];
    config.phone_networks = vec!["10.0.1.0/24".parse().unwrap()];
    config
}

/// One endpoint at `GATEWAY`, fed with texts
pub struct Gateway {
    pub ep: Endpoint,
    pub now: Instant,
    pub events: Vec<Event>,
    pub sent: Vec<(Flow, String)>,
    pub closed: Vec<u64>,
    /// For other gateways
    pub parcels: Vec<(NodeId, Parcel)>,
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(config("192.0.2.0/24", 1))
    }

    pub fn with(config: Config) -> Self {
        let mut ep = Endpoint::new(config);
        ep.set_users(start(), vec![user("1001", "secret"), user("1002", "other")]);
        Self { ep, now: start(), events: Vec::new(), sent: Vec::new(), closed: Vec::new(), parcels: Vec::new() }
    }

    pub fn flow(&self, from: &str) -> Flow {
        Flow { transport: Transport::Udp, local: addr(GATEWAY), remote: addr(from), conn: None, node: None }
    }

    /// Feeds a datagram and gives what was sent because of it
    pub fn feed(&mut self, from: &str, text: impl AsRef<[u8]>) -> Vec<String> {
        let flow = self.flow(from);
        self.ep.handle_datagram(self.now, flow, text.as_ref());
        self.drain()
    }

    pub fn feed_tcp(&mut self, conn: u64, from: &str, bytes: &[u8]) -> Vec<String> {
        let flow = Flow { transport: Transport::Tcp, conn: Some(conn), ..self.flow(from) };
        self.ep.handle_stream(self.now, flow, bytes);
        self.drain()
    }

    pub fn drain(&mut self) -> Vec<String> {
        let mut fresh = Vec::new();
        while let Some(output) = self.ep.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    self.sent.push((flow, text.clone()));
                    fresh.push(text);
                }
                Output::Event(event) => self.events.push(event),
                Output::CloseConn(conn) => self.closed.push(conn),
                Output::ToNode { node, parcel } => self.parcels.push((node, parcel)),
            }
        }
        fresh
    }

    /// Lets time pass, obeying every deadline on the way
    pub fn pass(&mut self, ms: u64) -> Vec<String> {
        let end = self.now + Duration::from_millis(ms);
        let mut fresh = Vec::new();
        while let Some(at) = self.ep.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.ep.handle_timeout(self.now);
            fresh.extend(self.drain());
        }
        self.now = end;
        fresh
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The only event there is, an incoming call
    pub fn incoming(&mut self) -> (SessionId, Incoming) {
        match self.take_events().as_slice() {
            [Event::Incoming { id, invite }] => (*id, (**invite).clone()),
            other => panic!("expected one Incoming, got {other:?}"),
        }
    }

    pub fn last_flow(&self) -> Flow {
        self.sent.last().unwrap().0
    }
}

/// A request text; `extra` holds whole header lines
pub struct Req<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub branch: &'a str,
    pub from_tag: &'a str,
    pub to_tag: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub extra: String,
    pub sdp: &'a str,
    pub via_host: &'a str,
    pub user: &'a str,
}

pub fn req<'a>(method: &'a str, branch: &'a str) -> Req<'a> {
    Req {
        method,
        uri: "sip:12319@10.0.0.1",
        branch,
        from_tag: "ft",
        to_tag: "",
        call_id: "call-1",
        cseq: 1,
        extra: String::new(),
        sdp: "",
        via_host: "192.0.2.9:5060",
        user: "13800138000",
    }
}

pub fn invite(branch: &str) -> Req<'_> {
    Req { sdp: OFFER, ..req("INVITE", branch) }
}

impl Req<'_> {
    pub fn text(&self) -> String {
        let Req { method, uri, branch, from_tag, call_id, cseq, extra, sdp, via_host, user, .. } = self;
        let to_tag = if self.to_tag.is_empty() { String::new() } else { format!(";tag={}", self.to_tag) };
        let body_type =
            if sdp.is_empty() || extra.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via_host};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{via_host}>;tag={from_tag}\r\nTo: <sip:12319@10.0.0.1>{to_tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{user}@{via_host}>\r\n{extra}{body_type}Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    }
}

/// A response to a request of the gateway's
pub fn answer(request: &str, code: u16, to_tag: &str, extra: &str, sdp: &str) -> String {
    let mut out = format!("SIP/2.0 {code} Whatever\r\n");
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        out.push_str(&format!("{name}: {}\r\n", header(request, name)));
    }
    let to = header(request, "To");
    let tag = if to_tag.is_empty() || to.contains(";tag=") { String::new() } else { format!(";tag={to_tag}") };
    let body_type = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    out.push_str(&format!("To: {to}{tag}\r\n{extra}{body_type}Content-Length: {}\r\n\r\n{sdp}", sdp.len()));
    out
}

pub fn header(text: &str, name: &str) -> String {
    let prefix = format!("{}:", name.to_ascii_lowercase());
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix));
    line.map(|l| l[prefix.len()..].trim().to_owned()).unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

pub fn tag_of(text: &str, name: &str) -> String {
    let value = header(text, name);
    value.split(";tag=").nth(1).unwrap_or("").split(';').next().unwrap_or("").to_owned()
}

/// The start of each first line: `INVITE`, `200`
pub fn heads(texts: &[String]) -> Vec<String> {
    texts.iter().map(|t| head(t)).collect()
}

pub fn head(text: &str) -> String {
    let mut words = text.split(' ');
    let first = words.next().unwrap_or("");
    if first == "SIP/2.0" { words.next().unwrap_or("").to_owned() } else { first.to_owned() }
}

pub fn dial_to(remote: &str) -> Dial {
    Dial {
        target: Target::Uri {
            uri: format!("sip:13800138000@{}", remote.split(':').next().unwrap()),
            transport: Transport::Udp,
            remote: addr(remote),
            local: addr(GATEWAY),
        },
        from: "12319".into(),
        display: Some("城管热线".into()),
        to: None,
        sdp: OFFER.as_bytes().to_vec(),
        credentials: None,
        ring_timeout_ms: 30_000,
        first_response_ms: None,
        extra_headers: Vec::new(),
    }
}

/// The `Authorization` line that answers a 401 of the gateway's
pub fn authorize(
    challenge: &str,
    algorithm: digest::Algorithm,
    method: &str,
    name: &str,
    password: &str,
    nc: &str,
) -> String {
    let line = challenge
        .lines()
        .find(|l| l.starts_with("WWW-Authenticate") && l.contains(&format!("algorithm={},", algorithm.text())));
    let value = line.unwrap().split_once(':').unwrap().1;
    let given = digest::Credentials::parse(value.as_bytes()).unwrap();
    let nonce = given.get("nonce").unwrap();
    let ha1 = digest::ha1(algorithm, name, REALM, password);
    let uri = "sip:12319@10.0.0.1";
    let response = digest::response(algorithm, &ha1, nonce, method, uri, Some((nc, "cn")));
    format!(
        "Authorization: Digest username=\"{name}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm={}, qop=auth, nc={nc}, cnonce=\"cn\"\r\n",
        algorithm.text()
    )
}

/// Told the first word (`INVITE`, `200`) and a serial; true loses the datagram
pub type Loss = Box<dyn FnMut(&str, u64) -> bool>;

/// A number's fixed but unordered companion
pub fn mix(serial: u64) -> u64 {
    let z = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

/// Two endpoints and what lies between them
pub struct Net {
    pub now: Instant,
    pub nodes: [Node; 2],
    in_flight: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    serial: u64,
    pub delay_ms: u64,
    /// Up to so much longer, each datagram its own: they overtake each other
    pub jitter_ms: u64,
    /// So many in a hundred arrive twice
    pub twice_percent: u64,
    pub lose: Loss,
    /// (sender, first word) of everything sent
    pub wire: Vec<(usize, String)>,
}

pub struct Node {
    pub ep: Endpoint,
    pub address: SocketAddr,
    pub events: Vec<Event>,
}

impl Net {
    /// Node 0 is the gateway, node 1 the carrier
    pub fn new() -> Self {
        let node = |address: &str, peer: &str, seed| Node {
            ep: Endpoint::new(config(peer, seed)),
            address: addr(address),
            events: Vec::new(),
        };
        Self {
            now: start(),
            nodes: [node(GATEWAY, "192.0.2.0/24", 1), node(TRUNK, "10.0.0.0/24", 2)],
            in_flight: BTreeMap::new(),
            serial: 0,
            delay_ms: 10,
            jitter_ms: 0,
            twice_percent: 0,
            lose: Box::new(|_, _| false),
            wire: Vec::new(),
        }
    }

    pub fn dial(&mut self, from: usize) -> SessionId {
        let mut dial = dial_to(&self.nodes[1 - from].address.to_string());
        if let Target::Uri { local, .. } = &mut dial.target {
            *local = self.nodes[from].address;
        }
        let id = self.nodes[from].ep.dial(self.now, dial).unwrap();
        self.collect();
        id
    }

    pub fn collect(&mut self) {
        for index in 0..2 {
            while let Some(output) = self.nodes[index].ep.poll_output() {
                match output {
                    Output::Transmit { flow, bytes } => {
                        let word = head(&String::from_utf8_lossy(&bytes));
                        self.serial += 1;
                        self.wire.push((index, word.clone()));
                        if !(self.lose)(&word, self.serial) {
                            let copies = if mix(self.serial) % 100 < self.twice_percent { 2 } else { 1 };
                            for copy in 0..copies {
                                let extra = mix(self.serial * 2 + copy) % (self.jitter_ms + 1);
                                let at = self.now + Duration::from_millis(self.delay_ms + extra);
                                let datagram = (self.nodes[index].address, flow.remote, bytes.clone());
                                self.in_flight.insert((at, self.serial * 2 + copy), datagram);
                            }
                        }
                    }
                    Output::Event(event) => self.nodes[index].events.push(event),
                    Output::CloseConn(_) | Output::ToNode { .. } => panic!("UDP only, and alone"),
                }
            }
        }
    }

    /// Lets time pass
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            self.collect();
            let arrival = self.in_flight.first_key_value().map(|(key, _)| key.0);
            let deadline = self.nodes.iter().filter_map(|n| n.ep.poll_timeout()).min();
            let Some(next) = [arrival, deadline].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (from, to, bytes)) = self.in_flight.pop_first().unwrap();
                if let Some(node) = self.nodes.iter_mut().find(|n| n.address == to) {
                    let flow = Flow { transport: Transport::Udp, local: to, remote: from, conn: None, node: None };
                    node.ep.handle_datagram(self.now, flow, &bytes);
                }
            } else {
                for node in &mut self.nodes {
                    node.ep.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
        self.collect();
    }

    pub fn take(&mut self, node: usize) -> Vec<Event> {
        std::mem::take(&mut self.nodes[node].events)
    }

    pub fn incoming(&mut self, node: usize) -> SessionId {
        match self.take(node).as_slice() {
            [Event::Incoming { id, .. }] => *id,
            other => panic!("expected one Incoming, got {other:?}"),
        }
    }

    /// A call from node 1 to node 0, answered: (id at 1, id at 0)
    pub fn connect(&mut self) -> (SessionId, SessionId) {
        let caller = self.dial(1);
        self.pass(100);
        let called = self.incoming(0);
        self.nodes[0].ep.accept(self.now, called, ANSWER.as_bytes()).unwrap();
        self.pass(100);
        assert!(matches!(self.take(0).as_slice(), [Event::Confirmed { .. }]));
        assert!(matches!(self.take(1).as_slice(), [Event::Answered { sdp: Some(_), .. }]));
        (caller, called)
    }

    pub fn count(&self, node: usize, word: &str) -> usize {
        self.wire.iter().filter(|(n, w)| *n == node && w == word).count()
    }

    pub fn assert_nothing_left(&mut self) {
        self.pass(200_000);
        for node in &self.nodes {
            let stats = node.ep.stats();
            assert_eq!((stats.sessions, stats.transactions), (0, 0));
            assert_eq!(node.ep.poll_timeout(), None);
        }
    }
}
