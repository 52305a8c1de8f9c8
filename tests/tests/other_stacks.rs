//! Faults measured in other Rust SIP stacks, each as a test of the whole gateway.
//!
//! What is judged elsewhere: the torture messages in `gateway/sip/tests/torture`; a phone
//! that registers by SHA-256 in `peers_phones.rs`; session timers and reliable provisional
//! responses in `sip_extensions.rs`; INVITEs that are never acknowledged in `hostile_sip.rs`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::SocketAddr;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::{PHONE_IP, TRUNK_IP};
use hotline_tests::sip::digest::Challenge;
use hotline_tests::sip::{Agent, AgentConfig, Algorithm, Citizen, CitizenConfig, Credentials, Message};
use hotline_tests::within;
use serde_json::json;
use tokio::net::UdpSocket;

async fn desk() -> Desk {
    Desk::open(GatewayConfig::default().with("callback.enabled", false)).await
}

/// A carrier that writes its messages by hand, byte for byte.
struct Carrier {
    socket: UdpSocket,
    own: SocketAddr,
    gateway: SocketAddr,
}

impl Carrier {
    async fn open(desk: &Desk) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(TRUNK_IP, 0)).await.unwrap();
        Self { own: socket.local_addr().unwrap(), socket, gateway: desk.gateway.sip() }
    }

    /// An INVITE in its plainest form, for tests to spoil.
    fn invite(&self, uri: &str, from: &str) -> String {
        let own = self.own;
        let sdp = self.sdp();
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKplain\r\nFrom: {from};tag=f1\r\n\
             To: <{uri}>\r\nCall-ID: plain@{own}\r\nCSeq: 1 INVITE\r\nContact: <sip:c@{own}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}",
            length = sdp.len()
        )
    }

    /// An offer of µ-law alone: an answer to it can't be mistaken for an offer of ours.
    fn sdp(&self) -> String {
        let ip = self.own.ip();
        format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n")
    }

    fn uri(&self) -> String {
        format!("sip:12319@{}", self.gateway)
    }

    fn from(&self) -> String {
        format!("<sip:{NUMBER}@{}>", self.own)
    }

    async fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.gateway).await.unwrap();
    }

    /// The next final response.
    async fn answer(&self) -> String {
        let mut buffer = vec![0_u8; 65_535];
        loop {
            let (length, _) = within("an answer", 10_000, self.socket.recv_from(&mut buffer)).await.unwrap().unwrap();
            // A character per byte, so that what isn't UTF-8 can be sent back as it came.
            let text: String = buffer[..length].iter().map(|&byte| char::from(byte)).collect();
            if !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    }

    /// Sends an INVITE that has to be answered by 200, and hangs up; returns the 200.
    async fn call(&self, invite: &[u8]) -> String {
        self.send(invite).await;
        let ok = self.answer().await;
        assert!(ok.starts_with("SIP/2.0 200 "), "{}\n{ok}", String::from_utf8_lossy(invite));
        let line = |name: &str| ok.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        let target = line("Contact: ");
        let target = target.split(['<', '>']).nth(1).unwrap();
        for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
            let request = format!(
                "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}\r\n{from}\r\n{to}\r\n{id}\r\n\
                 CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                own = self.own,
                from = line("From: "),
                to = line("To: "),
                id = line("Call-ID: ")
            );
            let bytes: Vec<u8> = request.chars().filter_map(|c| u8::try_from(c).ok()).collect();
            self.send(&bytes).await;
        }
        loop {
            let answer = self.answer().await;
            if answer.contains("CSeq: 2 BYE\r\n") {
                assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
                return ok;
            }
        }
    }
}

/// The caller's number in the newest row.
async fn caller_of(desk: &Desk) -> String {
    let calls = desk.api.get("/api/v1/calls").await.unwrap();
    let id = calls[0]["id"].as_str().unwrap();
    let shown = desk.api.post(&format!("/api/v1/calls/{id}/reveal"), &json!({"reason": "test"})).await.unwrap();
    shown["number"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_inside_the_display_name_is_not_the_caller() {
    let desk = desk().await;
    let carrier = Carrier::open(&desk).await;
    let from = format!("\"x <sip:110@gov>\" <sip:{NUMBER}@{}>", carrier.own);
    carrier.call(carrier.invite(&carrier.uri(), &from).as_bytes()).await;
    assert_eq!(caller_of(&desk).await, format!("+86{NUMBER}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_display_name_in_gbk_keeps_the_call() {
    let desk = desk().await;
    // 常州市民 in the carrier's own encoding, then a name whose last byte is a backslash's.
    for (n, gbk) in [&b"\xb3\xa3\xd6\xdd\xca\xd0\xc3\xf1"[..], b"\xd5\xc5\x8f\x5c"].into_iter().enumerate() {
        let carrier = Carrier::open(&desk).await;
        let invite = carrier.invite(&carrier.uri(), &format!("\"NAME\" {}", carrier.from()));
        let (before, after) = invite.split_once("NAME").unwrap();
        carrier.call(&[before.as_bytes(), gbk, after.as_bytes()].concat()).await;
        call_of(&desk, n + 1).await;
        assert_eq!(caller_of(&desk).await, format!("+86{NUMBER}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_with_a_phone_context_is_the_number() {
    let desk = desk().await;
    for (n, uri) in [
        "sip:12319;phone-context=+86519@GATEWAY;user=phone",
        "sip:12319;phone-context=ims.mnc000.mcc460.3gppnetwork.org@GATEWAY;user=phone",
        "tel:12319;phone-context=+86519",
    ]
    .into_iter()
    .enumerate()
    {
        let carrier = Carrier::open(&desk).await;
        let uri = uri.replace("GATEWAY", &carrier.gateway.to_string());
        carrier.call(carrier.invite(&uri, &carrier.from()).as_bytes()).await;
        let row = desk.ended(&call_of(&desk, n + 1).await).await;
        assert_eq!(row["did"], "12319", "{uri}: {row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offer_of_a_datagram_without_content_length_is_used() {
    let desk = desk().await;
    let carrier = Carrier::open(&desk).await;
    let invite = carrier.invite(&carrier.uri(), &carrier.from());
    let (before, rest) = invite.split_once("Content-Length: ").unwrap();
    let (_, after) = rest.split_once("\r\n").unwrap();
    let ok = carrier.call((before.to_owned() + after).as_bytes()).await;
    let media = ok.lines().find(|line| line.starts_with("m=audio ")).unwrap();
    assert!(media.ends_with("RTP/AVP 0"), "an answer to µ-law alone: {ok}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compact_names_folded_lines_and_an_ipv6_request_uri_are_understood() {
    let desk = desk().await;
    let carrier = Carrier::open(&desk).await;
    let long = carrier.invite("sip:12319@[2001:db8::9]:5060", &carrier.from());
    let mut compact = long.clone();
    for (name, short) in
        [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("Contact", "m"), ("Content-Type", "c")]
    {
        compact = compact.replace(&format!("\r\n{name}: "), &format!("\r\n{short} : "));
    }
    let folded = compact.replace("\r\nContent-Length: ", "\r\nl:\r\n  ").replace(";tag=f1", "\r\n\t;tag=f1");
    assert!(folded != long && !folded.contains("Content-Length"));
    carrier.call(folded.as_bytes()).await;
    assert_eq!(caller_of(&desk).await, format!("+86{NUMBER}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_method_is_answered() {
    let desk = desk().await;
    let carrier = Carrier::open(&desk).await;
    let request = carrier.invite(&carrier.uri(), &carrier.from()).replace("INVITE", "NEWMETHOD");
    carrier.send(request.as_bytes()).await;
    let answer = carrier.answer().await;
    assert!(answer.starts_with("SIP/2.0 405 ") || answer.starts_with("SIP/2.0 501 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenth_use_of_a_nonce_is_as_good_as_the_first() {
    let desk = desk().await;
    let gateway = desk.gateway.sip();
    let phone = Agent::start(AgentConfig::new(PHONE_IP, "1001")).await.unwrap();
    let who = Credentials::new("1001", "phone-1001");
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let register = |count: u32| {
            let own = format!("<sip:1001@{gateway}>");
            Message::request("REGISTER", &format!("sip:{gateway}"))
                .with("Via", format!("SIP/2.0/UDP {};branch=z9hG4bK{algorithm:?}{count};rport", phone.local()))
                .with("From", format!("{own};tag=n"))
                .with("To", own)
                .with("Call-ID", format!("nonce-{algorithm:?}"))
                .with("CSeq", format!("{} REGISTER", count + 1))
                .with("Contact", phone.contact())
                .with("Max-Forwards", "70")
                .with("Expires", "300")
        };
        let asked = phone.request(&register(0), gateway).await.unwrap();
        assert_eq!(asked.code(), Some(401));
        let challenge = Challenge::choose(asked.headers_named("WWW-Authenticate"), Some(algorithm)).unwrap();
        for count in 1..=12 {
            let request = register(count);
            let answer = challenge.answer(&who, "REGISTER", request.uri(), count);
            let response = phone.request(&request.with("Authorization", answer), gateway).await.unwrap();
            assert_eq!(response.code(), Some(200), "{algorithm:?}, use {count}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_with_a_huge_content_length_leaves_the_gateway_listening() {
    let desk = desk().await;
    let carrier = Carrier::open(&desk).await;
    let invite = carrier.invite(&carrier.uri(), &carrier.from());
    let length = invite.lines().find(|line| line.starts_with("Content-Length: ")).unwrap();
    for huge in ["4294967296", "18446744073709551616", "99999999999999999999999999", "-1", "999999999"] {
        carrier.send(invite.replace(length, &format!("Content-Length: {huge}")).as_bytes()).await;
        let answer = carrier.answer().await;
        assert!(answer.starts_with("SIP/2.0 400 "), "{huge}: {answer}");
    }
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.hang_up().await.unwrap();
}
