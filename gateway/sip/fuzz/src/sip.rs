//! What every input has to stand: shared by the fuzz targets and by an ordinary test over the corpus

use hotline_sip::message::{
    HeaderName, Message, Method, NameAddr, Uri, Via, decode_display, error_response, params, quote, split_list, unquote,
};
use hotline_sip::{Config, Endpoint, Event, Flow, Output, Transport, Trunk, digest};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A message is refused or read, and what answers it is itself a message
pub fn message(data: &[u8]) {
    let source = address("192.0.2.9:5060");
    match Message::parse(data) {
        Ok(read) => {
            for (name, value) in read.fields() {
                let _ = (HeaderName::of(name), split_list(value).count(), params(value).count(), unquote(value));
            }
            for party in [read.from(), read.to(), read.contact()].into_iter().flatten() {
                let _ = (party.display(), party.number(), party.param("tag"));
            }
            for via in read.elements(HeaderName::Via) {
                assert!(Via::parse(via).is_some());
            }
            let _ = (read.via(), read.call_id(), read.from_tag(), read.to_tag(), read.body(), read.reason());
            let again = Message::parse(read.bytes()).expect("what was read once is read again");
            assert_eq!((again.cseq(), again.body()), (read.cseq(), read.body()));
            if read.is_request() {
                let answer = error_response(&read, source, 400, "", "t");
                let answer = Message::parse(&answer).expect("an answer is a message");
                assert_eq!((answer.code(), answer.cseq(), answer.call_id()), (400, read.cseq(), read.call_id()));
            }
        }
        Err(error) => {
            assert!((400..600).contains(&error.code()));
            if let Some(partial) = &error.partial {
                assert!(partial.is_request() && partial.method() != Method::Ack);
                let answer = error_response(partial, source, error.code(), "", "t");
                assert!(answer.starts_with(b"SIP/2.0 ") && answer.ends_with(b"\r\n\r\n"));
            }
        }
    }
}

/// URIs, addresses, parameters and names never panic and keep their promises
pub fn uri(data: &[u8]) {
    if let Ok(uri) = Uri::parse(data) {
        let _ = (uri.number(), uri.phone_context(), uri.ip(), uri.param("transport"), uri.is_sip());
        assert!(!uri.scheme.is_empty());
    }
    if let Some(address) = NameAddr::parse(data) {
        let _ = (address.display(), address.number(), address.param("q"));
        assert!(!address.uri.is_empty());
    }
    if let Some(via) = Via::parse(data) {
        assert!(!via.host.is_empty() && !via.transport.is_empty());
        let _ = (via.branch(), via.param("received"));
    }
    let name: String = decode_display(data).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    assert_eq!(unquote(quote(&name).as_bytes()).as_ref(), name.as_bytes());
    assert!(split_list(data).map(<[u8]>::len).sum::<usize>() <= data.len());
}

/// Credentials and challenges of both directions
pub fn digest(data: &[u8]) {
    if let Some(given) = digest::Credentials::parse(data) {
        for name in ["realm", "nonce", "uri", "response", "algorithm", "qop", "nc", "cnonce", "stale"] {
            let _ = given.get(name);
        }
        let _ = given.user();
        if let Some(algorithm) = digest::Algorithm::of(given.get("algorithm")) {
            let ha1 = digest::ha1(algorithm, "1001", given.get("realm").unwrap_or(""), "secret");
            let qop = given.get("nc").zip(given.get("cnonce"));
            let nonce = given.get("nonce").unwrap_or("");
            let response = digest::response(algorithm, &ha1, nonce, "INVITE", given.get("uri").unwrap_or(""), qop);
            assert!(response.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
    let text = String::from_utf8_lossy(data).replace(['\r', '\n'], " ");
    let challenge = format!(
        "SIP/2.0 401 x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\nWWW-Authenticate: {text}\r\n\r\n"
    );
    let mut endpoint = Caller::new();
    endpoint.dial_and_hear(&challenge);
}

/// A stream gives the same outputs however it is cut; the first byte says how
pub fn stream(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let (mut whole, mut cut) = (Peer::new(), Peer::new());
    // A driver's answer would come at different places among the messages.
    (whole.answers, cut.answers) = (false, false);
    let sent = whole.feed_stream(&[data]);
    let chunks: Vec<&[u8]> = data.chunks(usize::from(*first).max(1)).collect();
    assert!(sent == cut.feed_stream(&chunks), "cut otherwise, answered otherwise");
    whole.still_serves();
}

/// One datagram of a trunk, a phone or a stranger; afterwards a trunk is served as before and nothing is left
pub fn datagram(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let from = ["192.0.2.9:5060", "10.0.1.7:5071", "203.0.113.66:5060"][usize::from(*first) % 3];
    let mut peer = Peer::new();
    let sent = peer.feed(from, data);
    assert!(sent.len() <= 3, "{} answers", sent.len());
    peer.still_serves();
    peer.comes_to_rest();
}

const OPTIONS: &str = "OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKafter\r\nMax-Forwards: 70\r\n\
    From: <sip:a@h>;tag=after\r\nTo: <sip:b@h>\r\nCall-ID: after\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

struct Peer {
    endpoint: Endpoint,
    now: Instant,
    /// Whether calls are rejected or left ringing
    answers: bool,
}

impl Peer {
    #[allow(clippy::disallowed_methods)] // an Instant can't be made from nothing; only differences count
    fn new() -> Self {
        let mut config = Config::new("hotline.test", [7; 32]);
        let sources = vec!["192.0.2.0/24".parse().expect("a network")];
        config.trunks = vec![Trunk { name: "carrier".into(), sources, ..Trunk::default() }];
        config.phone_networks = vec!["10.0.1.0/24".parse().expect("a network")];
        Self { endpoint: Endpoint::new(config), now: Instant::now(), answers: true }
    }

    fn flow(from: &str, transport: Transport, conn: Option<u64>) -> Flow {
        Flow { transport, local: address("10.0.0.1:5060"), remote: address(from), conn, node: None }
    }

    fn feed(&mut self, from: &str, data: &[u8]) -> Vec<Vec<u8>> {
        self.endpoint.handle_datagram(self.now, Self::flow(from, Transport::Udp, None), data);
        self.drain().0
    }

    /// What was sent until the end or until the connection was closed
    fn feed_stream(&mut self, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for chunk in chunks {
            self.endpoint.handle_stream(self.now, Self::flow("192.0.2.9:40001", Transport::Tcp, Some(1)), chunk);
            let (sent, closed) = self.drain();
            all.extend(sent);
            if closed {
                break;
            }
        }
        all
    }

    fn drain(&mut self) -> (Vec<Vec<u8>>, bool) {
        let (mut sent, mut closed) = (Vec::new(), false);
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => sent.push(bytes),
                Output::CloseConn(_) => closed = true,
                Output::ToNode { .. } => {}
                Output::Event(Event::Incoming { id, .. }) if self.answers => {
                    let _ = self.endpoint.reject(self.now, id, 486, "");
                }
                Output::Event(_) => {}
            }
        }
        (sent, closed)
    }

    fn still_serves(&mut self) {
        let sent = self.feed("192.0.2.9:5060", OPTIONS.as_bytes());
        assert!(sent.iter().any(|s| s.starts_with(b"SIP/2.0 200 ")));
    }

    fn comes_to_rest(&mut self) {
        let end = self.now + Duration::from_secs(600);
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        assert_eq!((self.endpoint.stats().sessions, self.endpoint.stats().transactions), (0, 0));
    }
}

/// Our side of a call that is challenged
struct Caller(Peer);

impl Caller {
    fn new() -> Self {
        Self(Peer::new())
    }

    fn dial_and_hear(&mut self, challenge: &str) {
        let dial = hotline_sip::Dial {
            target: hotline_sip::Target::Uri {
                uri: "sip:13800138000@192.0.2.9".into(),
                transport: Transport::Udp,
                remote: address("192.0.2.9:5060"),
                local: address("10.0.0.1:5060"),
            },
            from: "12319".into(),
            display: None,
            to: None,
            sdp: b"v=0\r\n".to_vec(),
            credentials: Some(("12319".into(), "secret".into())),
            ring_timeout_ms: 1_000,
            first_response_ms: None,
            extra_headers: Vec::new(),
        };
        self.0.endpoint.dial(self.0.now, dial).expect("a call");
        let invite = self.0.drain().0.remove(0);
        let invite = Message::parse(&invite).expect("our own INVITE");
        let field = |id| String::from_utf8_lossy(invite.header(id).unwrap_or(b"")).into_owned();
        let answer = challenge
            .replace("SIP/2.0/UDP h;branch=z9hG4bK1", &field(HeaderName::Via))
            .replace("<sip:a@h>;tag=1", &field(HeaderName::From))
            .replace("Call-ID: c\r\n", &format!("Call-ID: {}\r\n", field(HeaderName::CallId)));
        let sent = self.0.feed("192.0.2.9:5060", answer.as_bytes());
        assert!(sent.len() <= 2);
        self.0.comes_to_rest();
    }
}
