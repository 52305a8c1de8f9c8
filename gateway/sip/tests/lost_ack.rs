//! 2xx and ACK on a lossy path
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_200() {
    let mut net = Net::new();
    let mut lost = false;
    net.lose = Box::new(move |word, _| word == "ACK" && !std::mem::replace(&mut lost, true));
    net.dial(1);
    net.pass(50);
    let called = net.incoming(0);
    net.nodes[0].ep.accept(net.now, called, ANSWER.as_bytes()).unwrap();
    net.pass(2_000);
    assert_eq!((net.count(0, "200"), net.count(1, "ACK")), (2, 2));
    assert!(matches!(net.take(0).as_slice(), [Event::Confirmed { .. }]));
    assert!(matches!(net.take(1).as_slice(), [Event::Answered { .. }]));
}

#[test]
fn an_ack_that_never_comes_ends_the_call_with_bye() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    assert_eq!(heads(&gateway.drain()), ["200"]);
    let repeated = gateway.pass(31_999);
    assert_eq!(heads(&repeated), vec!["200"; 10]);
    let sent = gateway.pass(1);
    assert_eq!(heads(&sent), ["BYE"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Timeout, .. }]));
    gateway.pass(100_000);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
}

#[test]
fn our_bye_waits_for_the_ack_of_our_200() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert!(gateway.drain().is_empty());
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    let sent = gateway.feed(TRUNK, Req { to_tag: &tag, ..req("ACK", "b") }.text());
    assert_eq!(heads(&sent), ["BYE"]);
    gateway.feed(TRUNK, answer(&sent[0], 200, "", "", ""));
    assert!(gateway.take_events().is_empty());
    assert_eq!(gateway.ep.stats().sessions, 0);
}

#[test]
fn a_repeated_invite_makes_no_second_call() {
    let mut gateway = Gateway::new();
    assert_eq!(heads(&gateway.feed(TRUNK, invite("a").text())), ["100"]);
    let (id, _) = gateway.incoming();
    assert_eq!(heads(&gateway.feed(TRUNK, invite("a").text())), ["100"]);
    gateway.ep.provisional(gateway.now, id, 180, None).unwrap();
    gateway.drain();
    assert_eq!(heads(&gateway.feed(TRUNK, invite("a").text())), ["180"]);
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    gateway.drain();
    assert!(gateway.feed(TRUNK, invite("a").text()).is_empty());
    assert!(gateway.take_events().is_empty());
    assert_eq!(gateway.ep.stats().sessions, 1);
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    let (id, _) = gateway.incoming();
    gateway.ep.reject(gateway.now, id, 486, "").unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    assert_eq!(heads(&gateway.pass(1_600)), ["486", "486"]);
    gateway.feed(TRUNK, Req { to_tag: &tag, ..req("ACK", "a") }.text());
    assert!(gateway.pass(60_000).is_empty());
    assert_eq!(gateway.ep.stats().transactions, 0);
}

#[test]
fn nobody_takes_an_incoming_call() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    gateway.incoming();
    let sent = gateway.pass(180_000);
    assert_eq!(head(&sent[0]), "480");
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Timeout, .. }]));
}
