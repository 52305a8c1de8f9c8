//! Giving up a call while its answer is on the way
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn a_cancel_before_the_answer_ends_both_sides() {
    let mut net = Net::new();
    let caller = net.dial(1);
    net.pass(50);
    let called = net.incoming(0);
    net.nodes[1].ep.hang_up(net.now, caller, "").unwrap();
    net.pass(50);
    assert!(matches!(net.take(0).as_slice(), [Event::Cancelled { id, .. }] if *id == called));
    assert!(matches!(net.take(1).as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    assert_eq!(net.nodes[0].ep.accept(net.now, called, ANSWER.as_bytes()), Err(SessionError::Unknown));
    assert_eq!((net.count(1, "CANCEL"), net.count(0, "487"), net.count(1, "ACK")), (1, 1, 1));
    net.assert_nothing_left();
}

#[test]
fn a_200_that_crosses_the_cancel_is_acked_and_ended() {
    let mut net = Net::new();
    let caller = net.dial(1);
    net.pass(50);
    let called = net.incoming(0);
    net.nodes[0].ep.accept(net.now, called, ANSWER.as_bytes()).unwrap();
    net.nodes[1].ep.hang_up(net.now, caller, "").unwrap();
    net.pass(200);
    assert_eq!((net.count(1, "CANCEL"), net.count(1, "ACK"), net.count(1, "BYE")), (1, 1, 1));
    assert!(matches!(net.take(0).as_slice(), [Event::Confirmed { .. }, Event::Ended { by: EndedBy::Remote, .. }]));
    assert!(matches!(net.take(1).as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    net.assert_nothing_left();
}

#[test]
fn no_cancel_goes_before_a_provisional_came() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.ep.hang_up(gateway.now, id, "gone").unwrap();
    assert!(gateway.drain().is_empty());
    let sent = gateway.feed(TRUNK, answer(&invite, 100, "", "", ""));
    assert_eq!(heads(&sent), ["CANCEL"]);
    assert_eq!(header(&sent[0], "Via"), header(&invite, "Via"));
    assert_eq!(header(&sent[0], "CSeq"), "1 CANCEL");
    assert_eq!(header(&sent[0], "To"), header(&invite, "To"));
    assert_eq!(header(&sent[0], "Reason"), "SIP;text=\"gone\"");
    gateway.feed(TRUNK, answer(&sent[0], 200, "", "", ""));
    let sent = gateway.feed(TRUNK, answer(&invite, 487, "rt", "", ""));
    assert_eq!(heads(&sent), ["ACK"]);
    gateway.pass(60_000);
    assert_eq!(gateway.ep.stats().transactions, 0);
}

#[test]
fn a_200_instead_of_a_provisional_is_ended_too() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    gateway.drain();
    let sent = gateway.feed(TRUNK, answer(&invite, 200, "rt", "", ANSWER));
    assert_eq!(heads(&sent), ["ACK", "BYE"]);
    assert_eq!(header(&sent[1], "CSeq"), "2 BYE");
}

#[test]
fn a_cancelled_call_that_stays_silent_is_forgotten() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&invite, 180, "rt", "", ""));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    gateway.pass(40_000);
    assert_eq!((gateway.ep.stats().transactions, gateway.ep.stats().sessions), (0, 0));
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    gateway.drain();
    let sent = gateway.feed(TRUNK, Req { sdp: "", ..req("CANCEL", "a") }.text());
    assert_eq!(heads(&sent), ["200"]);
    assert!(gateway.take_events().is_empty());
    assert_eq!(heads(&gateway.feed(TRUNK, req("CANCEL", "zz").text())), ["481"]);
}

#[test]
fn both_sides_hang_up_at_once() {
    let mut net = Net::new();
    let (caller, called) = net.connect();
    net.nodes[0].ep.hang_up(net.now, called, "").unwrap();
    net.nodes[1].ep.hang_up(net.now, caller, "").unwrap();
    net.pass(100);
    assert!(matches!(net.take(0).as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    assert!(matches!(net.take(1).as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    assert_eq!((net.count(0, "481"), net.count(1, "481")), (0, 0));
    net.assert_nothing_left();
}

#[test]
fn an_invite_nobody_wants_any_more_is_not_repeated() {
    let mut gateway = Gateway::new();
    let dial = Dial { first_response_ms: Some(2_000), ..dial_to(TRUNK) };
    gateway.ep.dial(gateway.now, dial).unwrap();
    let invite = gateway.drain().remove(0);
    assert_eq!(heads(&gateway.pass(2_000)), ["INVITE", "INVITE"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Failed { .. }]), "the next trunk is tried");
    assert!(gateway.pass(20_000).is_empty());
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 180, "rt", "", ""))), ["CANCEL"], "it was only late");
    gateway.pass(60_000);
    assert_eq!(gateway.ep.stats().transactions, 0);
    // One that is never heard of again is forgotten too.
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    gateway.drain();
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert!(gateway.pass(40_000).is_empty());
    assert_eq!(gateway.ep.stats().transactions, 0);
}
