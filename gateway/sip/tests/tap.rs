//! What a tap sees of the messages that pass
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::message::Message;
use hotline_sip::*;
use std::sync::{Arc, Mutex};

type Seen = Arc<Mutex<Vec<String>>>;

struct Notebook(Seen);

impl Tap for Notebook {
    fn received(&mut self, _flow: Flow, bytes: &[u8], message: &Message, is_served: bool) {
        let head = String::from_utf8_lossy(bytes.split(|b| *b == b'\r').next().unwrap()).into_owned();
        let call_id = String::from_utf8_lossy(message.call_id()).into_owned();
        self.0.lock().unwrap().push(format!("< {head} {call_id} {is_served}"));
    }
    fn sent(&mut self, _flow: Flow, bytes: &[u8]) {
        let head = String::from_utf8_lossy(bytes.split(|b| *b == b'\r').next().unwrap()).into_owned();
        self.0.lock().unwrap().push(format!("> {head}"));
    }
}

fn tapped() -> (Gateway, Seen) {
    let seen = Seen::default();
    let mut gateway = Gateway::new();
    gateway.ep.set_tap(Box::new(Notebook(Arc::clone(&seen))));
    (gateway, seen)
}

#[test]
fn a_tap_sees_both_directions_and_every_retransmission() {
    let (mut gateway, seen) = tapped();
    gateway.feed(TRUNK, Req { call_id: "abc", ..invite("b1") }.text());
    let Some(Event::Incoming { id, .. }) = gateway.take_events().into_iter().next() else { panic!("no call") };
    assert_eq!(gateway.ep.call_id(id).as_deref(), Some("abc"));
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    gateway.drain();
    gateway.pass(1_600);
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("< INVITE ") && seen[0].ends_with(" abc true"), "{seen:?}");
    assert!(seen[1].starts_with("> SIP/2.0 100 "), "{seen:?}");
    assert_eq!(seen.iter().filter(|s| s.starts_with("> SIP/2.0 200 ")).count(), 3, "at 0, 0.5 and 1.5 s: {seen:?}");
}

#[test]
fn a_stranger_is_seen_as_one_and_garbage_is_not_shown() {
    let (mut gateway, seen) = tapped();
    gateway.feed(STRANGER, invite("b1").text());
    gateway.feed(STRANGER, "\x01\x02 nonsense\r\n\r\n");
    let seen = seen.lock().unwrap();
    assert!(seen[0].ends_with(" false"), "{seen:?}");
    assert_eq!(seen.iter().filter(|s| s.starts_with('<')).count(), 1);
}

#[test]
fn messages_of_a_stream_are_seen_whole() {
    let (mut gateway, seen) = tapped();
    let text = Req { call_id: "tcp", ..invite("b1") }.text();
    let (a, b) = text.as_bytes().split_at(40);
    gateway.feed_tcp(7, TRUNK, a);
    assert!(seen.lock().unwrap().is_empty());
    gateway.feed_tcp(7, TRUNK, b);
    assert!(seen.lock().unwrap()[0].ends_with(" tcp true"));
}
