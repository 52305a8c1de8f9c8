//! The caps: 64 KiB a message, 128 fields, 16 KiB of SDP; beyond, an answer that says so
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::limits;

/// An INVITE of exactly so many octets
fn invite_of(octets: usize) -> String {
    let lines = |rest: usize| -> String {
        let mut out = String::new();
        let mut rest = rest;
        while rest > 0 {
            let line = if rest > 1_400 { 700 } else { rest };
            out.push_str(&format!("X-A: {}\r\n", "a".repeat(line - 7)));
            rest -= line;
        }
        out
    };
    let bare = invite("a").text().len();
    let text = Req { extra: lines(octets - bare), ..invite("a") }.text();
    assert_eq!(text.len(), octets);
    text
}

#[test]
fn the_largest_datagram_there_is_brings_a_call() {
    let mut gateway = Gateway::new();
    assert_eq!(heads(&gateway.feed(TRUNK, invite_of(65_507))), ["100"]);
    assert_eq!(gateway.incoming().1.sdp.as_deref(), Some(OFFER.as_bytes()));
}

#[test]
fn a_message_of_64_kib_over_tcp_brings_a_call_and_a_longer_one_gets_513_and_the_door() {
    let mut gateway = Gateway::new();
    let text = invite_of(limits::MESSAGE_BYTES_MAX).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let mut sent = Vec::new();
    for chunk in text.as_bytes().chunks(1_460) {
        sent.extend(gateway.feed_tcp(1, TRUNK, chunk));
    }
    assert_eq!(heads(&sent), ["100"]);
    let text = invite_of(limits::MESSAGE_BYTES_MAX + 8).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let mut sent = Vec::new();
    for chunk in text.as_bytes().chunks(1_460) {
        if gateway.closed.is_empty() {
            sent.extend(gateway.feed_tcp(2, TRUNK, chunk));
        }
    }
    assert_eq!((heads(&sent), gateway.closed.as_slice()), (vec!["513".to_owned()], &[2][..]));
}

#[test]
fn a_body_announced_too_long_gets_513_before_it_comes() {
    for length in ["65536", "4294967296", "18446744073709551616"] {
        let mut gateway = Gateway::new();
        let text = invite("a").text().replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        let at = text.find("Content-Length: ").unwrap() + 16;
        let end = at + text[at..].find('\r').unwrap();
        let text = [&text[..at], length, &text[end..]].concat();
        assert_eq!(heads(&gateway.feed_tcp(1, TRUNK, text.as_bytes())), ["513"], "{length}");
        assert_eq!(gateway.closed, [1]);
        assert_eq!(heads(&Gateway::new().feed(TRUNK, &text)), ["400"], "in a datagram nothing more can come");
    }
}

#[test]
fn four_thousand_fields_get_513_wherever_via_stands() {
    let mut gateway = Gateway::new();
    let fields = "X-Y: z\r\n".repeat(4_000);
    assert_eq!(heads(&gateway.feed(TRUNK, Req { extra: fields.clone(), ..invite("a") }.text())), ["513"]);
    let text = invite("b").text().replacen("\r\n", &format!("\r\n{fields}"), 1);
    let sent = gateway.feed(TRUNK, text);
    assert_eq!(heads(&sent), ["513"]);
    assert_eq!(header(&sent[0], "Call-ID"), "call-1");
    let extra = "X-Y: z\r\n".repeat(100);
    assert_eq!(heads(&gateway.feed(TRUNK, Req { extra, ..invite("c") }.text())), ["100"]);
}

#[test]
fn an_offer_of_16_kib_is_taken_and_a_longer_one_gets_413() {
    let sdp = |octets: usize| format!("{OFFER}a={}\r\n", "x".repeat(octets - OFFER.len() - 4));
    let mut gateway = Gateway::new();
    assert_eq!(heads(&gateway.feed(TRUNK, Req { sdp: &sdp(limits::SDP_BYTES_MAX), ..invite("a") }.text())), ["100"]);
    let longer = sdp(limits::SDP_BYTES_MAX + 1);
    assert_eq!(heads(&Gateway::new().feed(TRUNK, Req { sdp: &longer, ..invite("b") }.text())), ["413"]);
}
