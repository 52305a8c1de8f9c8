//! Early dialogs of our own calls: what callees ask for before anybody has answered
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

fn contact(name: &str) -> String {
    format!("Contact: <sip:{name}@192.0.2.9:5060>\r\n")
}

/// A call of ours that rings at forks `a` and `b`
fn forked(gateway: &mut Gateway) -> (Leg, Leg, String) {
    let (id, invite) = dialling(gateway);
    for tag in ["a", "b"] {
        gateway.feed(TRUNK, answer(&invite, 183, tag, &contact(tag), ANSWER));
    }
    gateway.take_events();
    let leg = |tag| Leg::new(id, TRUNK, &header(&invite, "Call-ID"), tag_of(&invite, "From"), tag);
    (leg("a"), leg("b"), invite)
}

#[test]
fn a_callees_requests_reach_its_fork() {
    let mut gateway = Gateway::new();
    let (mut a, mut b, _) = forked(&mut gateway);
    for leg in [&mut a, &mut b] {
        assert_eq!(heads(&leg.say(&mut gateway, "OPTIONS", "", "")), ["200"]);
        assert_eq!(heads(&leg.say(&mut gateway, "UPDATE", "", "")), ["200"]);
        let key = "Content-Type: application/dtmf-relay\r\n";
        assert_eq!(heads(&leg.say(&mut gateway, "INFO", key, "Signal=5\r\n")), ["200"]);
        assert!(matches!(gateway.take_events().as_slice(), [Event::Dtmf { digit: '5', .. }]));
        assert_eq!(heads(&leg.say(&mut gateway, "INVITE", "", OFFER)), ["491"]);
        assert_eq!(heads(&leg.say(&mut gateway, "UPDATE", "", OFFER)), ["491"], "our offer has no answer yet");
        assert_eq!(heads(&leg.say(&mut gateway, "MESSAGE", "", "")), ["405"]);
        assert_eq!(heads(&leg.say(&mut gateway, "PRACK", "RAck: 1 1 INVITE\r\n", "")), ["481"]);
    }
    // Each fork counts its own requests.
    a.cseq = 5;
    assert_eq!(heads(&a.say(&mut gateway, "OPTIONS", "", "")), ["500"]);
    let mut unknown = b.clone();
    unknown.own_tag = "c".into();
    assert_eq!(heads(&unknown.say(&mut gateway, "INFO", "", "")), ["481"]);
}

#[test]
fn the_winner_keeps_its_numbers_and_the_loser_is_forgotten() {
    let mut gateway = Gateway::new();
    let (mut a, mut b, invite) = forked(&mut gateway);
    assert_eq!(heads(&b.say(&mut gateway, "OPTIONS", "", "")), ["200"]);
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 200, "b", &contact("b"), ""))), ["ACK"]);
    let events = gateway.take_events();
    assert!(matches!(&events[..], [Event::Answered { sdp: Some(_), .. }]), "the description of its 183: {events:?}");
    b.cseq -= 1;
    assert_eq!(heads(&b.say(&mut gateway, "OPTIONS", "", "")), ["500"], "an old number");
    assert_eq!(heads(&a.say(&mut gateway, "INFO", "", "")), ["481"]);
    assert_eq!(heads(&b.say(&mut gateway, "BYE", "", "")), ["200"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Remote, .. }]));
}

#[test]
fn a_callee_that_says_bye_is_out_and_with_the_last_one_the_call() {
    let mut gateway = Gateway::new();
    let (mut a, mut b, _) = forked(&mut gateway);
    assert_eq!(heads(&a.say(&mut gateway, "BYE", "", "")), ["200"]);
    assert!(gateway.take_events().is_empty(), "the other one still rings");
    assert_eq!(heads(&b.say(&mut gateway, "BYE", "Reason: Q.850;cause=16\r\n", "")), ["200", "CANCEL"]);
    let events = gateway.take_events();
    assert!(
        matches!(&events[..], [Event::Ended { by: EndedBy::Remote, reason: Some(r), .. }] if r == "Q.850;cause=16")
    );
    gateway.pass(100_000);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
}

#[test]
fn forks_are_bounded() {
    let mut gateway = Gateway::new();
    let (id, invite) = dialling(&mut gateway);
    for fork in 0..100 {
        gateway.feed(TRUNK, answer(&invite, 180, &format!("f{fork}"), &contact("x"), ""));
    }
    let leg = |tag: &str| Leg::new(id, TRUNK, &header(&invite, "Call-ID"), tag_of(&invite, "From"), tag);
    assert_eq!(heads(&leg("f7").say(&mut gateway, "INFO", "", "")), ["200"]);
    assert_eq!(heads(&leg("f8").say(&mut gateway, "INFO", "", "")), ["481"]);
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 200, "f99", &contact("x"), ANSWER))), ["ACK"]);
    assert!(gateway.take_events().iter().any(|e| matches!(e, Event::Answered { .. })), "any of them may answer");
}

#[test]
fn an_early_dialogs_route_set_is_used() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    let extra = "Require: 100rel\r\nRSeq: 9\r\nContact: <sip:c@192.0.2.77>\r\nRecord-Route: <sip:192.0.2.41;lr>, <sip:192.0.2.40;lr>\r\n";
    let prack = gateway.feed(TRUNK, answer(&invite, 180, "a", extra, "")).remove(0);
    assert!(prack.starts_with("PRACK sip:c@192.0.2.77 "));
    let routes: Vec<_> = prack.lines().filter(|l| l.starts_with("Route: ")).collect();
    assert_eq!(routes, ["Route: <sip:192.0.2.40;lr>", "Route: <sip:192.0.2.41;lr>"]);
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.40:5060"));
}
