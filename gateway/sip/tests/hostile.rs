//! Broken, mutated and truncated input: no panic, no leak
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 20).unwrap()
}

const PIECES: [&str; 14] = [
    "\r\n",
    "\r\n\r\n",
    ";",
    ",",
    "\"",
    "<",
    ">",
    "sip:",
    "Via: ",
    "Content-Length: 99999999999999999999\r\n",
    "\0",
    "%",
    "@",
    "\u{57ce}",
];

fn mutate(text: &str, state: &mut u64) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + next(state) % 4 {
        let at = next(state) % bytes.len().max(1);
        match next(state) % 5 {
            0 => bytes[at] = u8::try_from(next(state) % 256).unwrap(),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let end = (at + next(state) % 40).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let piece = PIECES[next(state) % PIECES.len()].bytes();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + 60).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

#[test]
fn mutated_dialogs_never_panic_and_leave_nothing() {
    let mut state = 0x1234_5678_9ABC_DEF1;
    let mut gateway = Gateway::new();
    for round in 0..3_000 {
        let call_id = format!("c{round}");
        gateway.feed(TRUNK, mutate(&Req { call_id: &call_id, ..invite(&call_id) }.text(), &mut state));
        gateway.feed(TRUNK, Req { call_id: &format!("d{round}"), ..invite(&format!("d{round}")) }.text());
        let incoming: Vec<_> = gateway
            .take_events()
            .into_iter()
            .filter_map(|e| if let Event::Incoming { id, .. } = e { Some(id) } else { None })
            .collect();
        for id in incoming {
            gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
            let tag = tag_of(&gateway.drain()[0], "To");
            for (cseq, method) in [(1, "ACK"), (2, "INFO"), (3, "UPDATE"), (4, "INVITE"), (5, "BYE")] {
                let branch = format!("{method}{round}");
                let text =
                    Req { to_tag: &tag, call_id: &format!("d{round}"), cseq, sdp: OFFER, ..req(method, &branch) }
                        .text();
                gateway.feed(TRUNK, mutate(&text, &mut state));
            }
        }
        for (from, method) in [(PHONE, "REGISTER"), (PHONE, "INVITE"), (STRANGER, "INVITE"), (TRUNK, "CANCEL")] {
            gateway.feed(from, mutate(&req(method, "m").text(), &mut state));
        }
        gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
        let sent = gateway.drain();
        for code in [100, 183, 401, 200, 200, 486] {
            let extra = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContact: <sip:x@192.0.2.9>\r\n";
            gateway.feed(TRUNK, mutate(&answer(&sent[0], code, "rt", extra, ANSWER), &mut state));
        }
        gateway.pass(500);
        gateway.sent.clear();
        gateway.events.clear();
    }
    gateway.pass(400_000);
    let left: Vec<_> = gateway.take_events().into_iter().filter(|e| matches!(e, Event::Incoming { .. })).collect();
    assert!(left.is_empty());
    let stats = gateway.ep.stats();
    assert_eq!(stats.transactions, 0, "{stats:?}");
}

#[test]
fn mutated_streams_never_panic() {
    let mut state = 0xFEDC_BA98_7654_3211;
    let mut gateway = Gateway::new();
    for conn in 0..3_000 {
        let bytes = mutate(&(invite("a").text() + &req("OPTIONS", "b").text()), &mut state);
        for chunk in bytes.chunks(1 + next(&mut state) % 300) {
            gateway.feed_tcp(conn, TRUNK, chunk);
        }
        gateway.ep.conn_closed(gateway.now, conn);
    }
}

#[test]
fn oversized_datagrams_are_dropped() {
    let mut gateway = Gateway::new();
    assert!(gateway.feed(TRUNK, vec![b'a'; 65_537]).is_empty());
    assert!(gateway.feed(TRUNK, b"").is_empty());
    assert!(gateway.feed(TRUNK, b"\r\n\r\n").is_empty());
    assert!(gateway.feed(TRUNK, [0; 4]).is_empty());
    assert_eq!(gateway.ep.stats().parse_errors, 1);
}
