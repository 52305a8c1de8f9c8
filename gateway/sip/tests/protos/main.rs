//! A hostile peer that breaks every part of a message in turn: nothing panics, nothing is left, calls go on
//!
//! Deterministic: a failing case is named and comes back under the same number.
#![allow(missing_docs, unreachable_pub)] // the generator is read across files
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

#[path = "../common/mod.rs"]
mod common;
mod generate;

use common::*;
use generate::Template;
use hotline_sip::{Event, Flow, Transport};

const INVITE: &str = "\
{INVITE} {sip}:{12319}@{10.0.0.1}:{5060};{user}={phone} {SIP}/{2.0}
Via: {SIP/2.0}/{UDP} {192.0.2.9}:{5060};{branch}={z9hG4bKp#};{rport}
From: {\"Zhang San\"} <{sip:13800138000}@{192.0.2.9}>;{tag}={f#}
To: {<sip:12319@10.0.0.1>}
Call-ID: {p#@192.0.2.9}
CSeq: {1} {INVITE}
Max-Forwards: {70}
Contact: {Zhang} <{sip:13800138000@192.0.2.9:5060}>;{expires}={60}
Record-Route: <{sip:192.0.2.20};{lr}>
Supported: {100rel, timer}
Session-Expires: {1800};{refresher}={uac}
Min-SE: {90}
P-Asserted-Identity: <{tel:+8613800138000}>
Diversion: <{sip:12345@ims}>;{reason}={unconditional}
History-Info: <{sip:12319@ims}>;{index}={1}
Privacy: {none}
Accept: {application/sdp}
Replaces: {x#}
Content-Type: {application/sdp}
Content-Length: {100}

v=0
o=- {1} 1 IN IP4 {192.0.2.9}
s=-
c=IN {IP4} {192.0.2.9}
t=0 0
m=audio {4000} RTP/AVP {8}
";

const REGISTER: &str = "\
REGISTER {sip:10.0.0.1} SIP/2.0
Via: SIP/2.0/UDP {10.0.1.7}:{5071};branch={z9hG4bKr#};{rport}
From: <{sip:1001@10.0.0.1}>;tag={r#}
To: <{sip:1001@10.0.0.1}>
Call-ID: {r#}
CSeq: {1} REGISTER
Contact: <{sip:1001@10.0.1.7:5071}>;{expires}={60};{q}={0.5}
Expires: {60}
Authorization: {Digest} {username}=\"{1001}\", realm=\"{hotline.test}\", nonce=\"{00}\", uri=\"{sip:x}\", response=\"{00}\", algorithm={MD5}, qop={auth}, nc={00000001}, cnonce=\"{c}\"
Content-Length: {0}

";

const OPTIONS: &str = "\
{OPTIONS} {tel:12319} SIP/2.0
v: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKo#
f: <sip:a@192.0.2.9>;tag=o#
t: <sip:b@10.0.0.1>;{tag}={x}
i: o#
CSeq: 1 {OPTIONS}
Require: {timer}
Route: <{sip:10.0.0.1};{lr}>
l: {0}

";

/// A response to an INVITE of ours; `@…@` takes the INVITE's own value
const RESPONSE: &str = "\
SIP/2.0 {183} {Session Progress}
Via: {@Via@}
From: {@From@}
To: <{sip:13800138000@192.0.2.9}>;{tag}={t#}
Call-ID: {@Call-ID@}
CSeq: {1} {INVITE}
Contact: <{sip:x@192.0.2.9}>
Record-Route: <{sip:192.0.2.20};{lr}>
Require: {100rel}
RSeq: {1}
Session-Expires: {1800};refresher={uas}
Retry-After: {10}
WWW-Authenticate: {Digest} realm=\"{x}\", nonce=\"{n}\", algorithm={MD5}, qop=\"{auth}\"
Content-Type: {application/sdp}
Content-Length: {0}

";

/// Datagrams and octets one message may cause at most
const ANSWERS_MAX: usize = 3;
const ANSWER_BYTES_MORE: usize = 2_048;

/// Feeds a case and lets go of the calls it made
fn feed(gateway: &mut Gateway, from: &str, name: &str, bytes: &[u8], serial: usize) {
    let sent = if serial.is_multiple_of(4) {
        let conn = u64::try_from(serial).unwrap();
        let sent = gateway.feed_tcp(conn, from, bytes);
        gateway.ep.conn_closed(gateway.now, conn);
        gateway.drain();
        gateway.closed.clear();
        sent
    } else {
        gateway.feed(from, bytes)
    };
    if !serial.is_multiple_of(4) {
        assert!(sent.len() <= ANSWERS_MAX, "{name}: {} answers", sent.len());
    }
    for text in &sent {
        assert!(text.len() <= 2 * bytes.len() + ANSWER_BYTES_MORE, "{name}: {} octets for {}", text.len(), bytes.len());
    }
    settle(gateway);
}

fn settle(gateway: &mut Gateway) {
    for event in gateway.take_events() {
        match event {
            Event::Incoming { id, .. } => {
                let _ = gateway.ep.reject(gateway.now, id, 486, "");
            }
            Event::Answered { id, .. } | Event::Confirmed { id, .. } => {
                let _ = gateway.ep.hang_up(gateway.now, id, "");
            }
            _ => {}
        }
    }
    gateway.drain();
    gateway.sent.clear();
}

fn a_normal_call_comes_through(gateway: &mut Gateway, serial: usize) {
    let call_id = format!("ok{serial}");
    let branch = format!("ok{serial}");
    let sent = gateway.feed(TRUNK, Req { call_id: &call_id, ..invite(&branch) }.text());
    assert_eq!(heads(&sent), ["100"]);
    assert!(gateway.events.iter().any(|e| matches!(e, Event::Incoming { .. })));
    settle(gateway);
}

/// Resident memory in KiB
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn attack(template: &str, from: &str, cases_min: usize) {
    let mut gateway = Gateway::new();
    let mut count = 0;
    let before = resident_kib();
    for (serial, (name, bytes)) in Template::new(template).cases(1).enumerate() {
        count += 1;
        feed(&mut gateway, from, &name, &bytes, serial);
        if serial.is_multiple_of(100) {
            a_normal_call_comes_through(&mut gateway, serial);
            gateway.pass(5_000);
            settle(&mut gateway);
        }
    }
    a_normal_call_comes_through(&mut gateway, count);
    assert!(count >= cases_min, "{count} cases");
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more than before");
    for _ in 0..8 {
        gateway.pass(60_000);
        settle(&mut gateway);
    }
    let stats = gateway.ep.stats();
    assert_eq!((stats.sessions, stats.transactions), (0, 0), "nothing is left");
}

#[test]
fn every_part_of_an_invite_goes_wrong() {
    attack(INVITE, TRUNK, 6_000);
}

#[test]
fn every_part_of_a_registration_goes_wrong() {
    attack(REGISTER, PHONE, 3_000);
}

#[test]
fn every_part_of_another_request_goes_wrong() {
    attack(OPTIONS, TRUNK, 1_500);
}

#[test]
fn strangers_with_broken_messages_get_next_to_nothing() {
    let mut gateway = Gateway::new();
    let mut answers = 0;
    for (serial, (_, bytes)) in Template::new(INVITE).cases(1).enumerate().filter(|(n, _)| n.is_multiple_of(3)) {
        answers += gateway.feed(STRANGER, &bytes).len();
        gateway.take_events();
        if serial.is_multiple_of(300) {
            gateway.pass(100);
        }
    }
    assert!(answers <= 1, "{answers} answers within a few seconds");
    a_normal_call_comes_through(&mut gateway, 1);
}

#[test]
fn every_part_of_a_response_goes_wrong() {
    let mut gateway = Gateway::new();
    let template = Template::new(RESPONSE);
    let mut count = 0;
    for (serial, (name, bytes)) in template.cases(1).enumerate() {
        count += 1;
        let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
        let invite = gateway.drain().remove(0);
        let mut bytes = bytes;
        for field in ["Via", "From", "Call-ID"] {
            bytes = fill(&bytes, &format!("@{field}@"), &header(&invite, field));
        }
        bytes.truncate(65_507);
        let flow =
            Flow { transport: Transport::Udp, local: addr(GATEWAY), remote: addr(TRUNK), conn: None, node: None };
        gateway.ep.handle_datagram(gateway.now, flow, &bytes);
        let sent = gateway.drain();
        assert!(sent.len() <= ANSWERS_MAX, "{name}: {} messages", sent.len());
        let _ = gateway.ep.hang_up(gateway.now, id, "");
        settle(&mut gateway);
        if serial.is_multiple_of(50) {
            gateway.pass(40_000);
            settle(&mut gateway);
        }
    }
    assert!(count >= 3_000, "{count} cases");
    a_normal_call_comes_through(&mut gateway, count);
    for _ in 0..8 {
        gateway.pass(60_000);
        settle(&mut gateway);
    }
    let stats = gateway.ep.stats();
    assert_eq!((stats.sessions, stats.transactions), (0, 0), "nothing is left");
}

fn fill(bytes: &[u8], mark: &str, value: &str) -> Vec<u8> {
    match bytes.windows(mark.len()).position(|w| w == mark.as_bytes()) {
        Some(at) => [&bytes[..at], value.as_bytes(), &bytes[at + mark.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
