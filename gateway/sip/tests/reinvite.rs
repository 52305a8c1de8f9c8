//! Renegotiation: hold, glare, UPDATE
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn either_side_may_hold_and_resume() {
    let mut net = Net::new();
    let (caller, called) = net.connect();
    for (from, to, id, other) in [(1, 0, caller, called), (0, 1, called, caller), (1, 0, caller, called)] {
        net.nodes[from].ep.reoffer(net.now, id, OFFER.as_bytes()).unwrap();
        net.pass(50);
        assert!(matches!(net.take(to).as_slice(), [Event::Reoffer { id, sdp: Some(_) }] if *id == other));
        net.nodes[to].ep.answer_reoffer(net.now, other, ANSWER.as_bytes()).unwrap();
        net.pass(50);
        let events = net.take(from);
        assert!(matches!(events.as_slice(), [Event::ReofferAnswered { code: 200, sdp: Some(_), .. }]), "{events:?}");
        assert!(net.take(to).is_empty());
    }
    net.nodes[0].ep.hang_up(net.now, called, "").unwrap();
    net.assert_nothing_left();
}

#[test]
fn a_refused_reoffer_leaves_the_call_as_it_was() {
    let mut net = Net::new();
    let (caller, called) = net.connect();
    net.nodes[1].ep.reoffer(net.now, caller, OFFER.as_bytes()).unwrap();
    assert_eq!(net.nodes[1].ep.reoffer(net.now, caller, OFFER.as_bytes()), Err(SessionError::WrongState));
    net.pass(50);
    net.take(0);
    net.nodes[0].ep.reject_reoffer(net.now, called, 488).unwrap();
    assert_eq!(net.nodes[0].ep.reject_reoffer(net.now, called, 488), Err(SessionError::WrongState));
    net.pass(50);
    assert!(matches!(net.take(1).as_slice(), [Event::ReofferAnswered { code: 488, sdp: None, .. }]));
    net.nodes[1].ep.hang_up(net.now, caller, "").unwrap();
    net.pass(50);
    assert!(matches!(net.take(0).as_slice(), [Event::Ended { by: EndedBy::Remote, .. }]));
    net.assert_nothing_left();
}

#[test]
fn crossing_reoffers_are_both_refused_with_491_and_then_both_succeed() {
    let mut net = Net::new();
    let (caller, called) = net.connect();
    net.nodes[1].ep.reoffer(net.now, caller, OFFER.as_bytes()).unwrap();
    net.nodes[0].ep.reoffer(net.now, called, OFFER.as_bytes()).unwrap();
    let mut answered = [0, 0];
    for _ in 0..200 {
        net.pass(50);
        for (node, id) in [(0, called), (1, caller)] {
            for event in net.take(node) {
                match event {
                    Event::Reoffer { .. } => net.nodes[node].ep.answer_reoffer(net.now, id, ANSWER.as_bytes()).unwrap(),
                    Event::ReofferAnswered { code: 200, .. } => answered[node] += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(answered, [1, 1]);
    assert_eq!((net.count(0, "491"), net.count(1, "491")), (1, 1));
    net.nodes[0].ep.hang_up(net.now, called, "").unwrap();
    net.assert_nothing_left();
}

/// A call from the trunk, answered; gives its id and our tag
fn confirmed(gateway: &mut Gateway) -> (SessionId, String) {
    gateway.feed(TRUNK, invite("a").text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    gateway.feed(TRUNK, Req { to_tag: &tag, ..req("ACK", "b") }.text());
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { .. }]));
    (id, tag)
}

#[test]
fn a_reinvite_without_sdp_gets_our_offer_and_the_ack_answers() {
    let mut gateway = Gateway::new();
    let (id, tag) = confirmed(&mut gateway);
    assert_eq!(heads(&gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("INVITE", "c") }.text())), ["100"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Reoffer { sdp: None, .. }]));
    gateway.ep.answer_reoffer(gateway.now, id, OFFER.as_bytes()).unwrap();
    assert_eq!(heads(&gateway.drain()), ["200"]);
    assert_eq!(heads(&gateway.pass(600)), ["200"]);
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, sdp: ANSWER, ..req("ACK", "d") }.text());
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, sdp: Some(_), .. }]));
    assert!(gateway.pass(20_000).is_empty());
}

#[test]
fn a_reinvite_moves_the_remote_target() {
    let mut gateway = Gateway::new();
    let (id, tag) = confirmed(&mut gateway);
    let text = Req { to_tag: &tag, cseq: 2, ..invite("c") }.text();
    gateway
        .feed(TRUNK, text.replace("Contact: <sip:13800138000@192.0.2.9:5060>", "Contact: <sip:new@192.0.2.70:5062>"));
    gateway.ep.answer_reoffer(gateway.now, id, ANSWER.as_bytes()).unwrap();
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("ACK", "d") }.text());
    gateway.drain();
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    let bye = gateway.drain().remove(0);
    assert!(bye.starts_with("BYE sip:new@192.0.2.70:5062 "));
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.70:5062"));
}

#[test]
fn a_second_offer_of_theirs_gets_500_with_retry_after() {
    let mut gateway = Gateway::new();
    let (id, tag) = confirmed(&mut gateway);
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..invite("c") }.text());
    let second = gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 3, ..invite("d") }.text());
    assert_eq!(heads(&second), ["500"]);
    assert!(header(&second[0], "Retry-After").parse::<u32>().unwrap() <= 10);
    gateway.ep.answer_reoffer(gateway.now, id, ANSWER.as_bytes()).unwrap();
    // The ACK carries the first re-INVITE's number although a later one came since.
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("ACK", "e") }.text());
    gateway.drain();
    assert!(gateway.pass(10_000).iter().all(|t| head(t) != "200"));
}

#[test]
fn update_renegotiates_and_refreshes() {
    let mut gateway = Gateway::new();
    let (id, tag) = confirmed(&mut gateway);
    assert_eq!(heads(&gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("UPDATE", "c") }.text())), ["200"]);
    assert!(gateway.take_events().is_empty());
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 3, sdp: OFFER, ..req("UPDATE", "d") }.text());
    assert!(matches!(gateway.take_events().as_slice(), [Event::Reoffer { sdp: Some(_), .. }]));
    gateway.ep.answer_reoffer(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let ok = gateway.drain();
    assert!(head(&ok[0]) == "200" && ok[0].ends_with(ANSWER));
    assert!(gateway.pass(10_000).is_empty(), "an UPDATE has no ACK to wait for");
}

#[test]
fn a_withdrawn_or_forgotten_reoffer_is_closed() {
    let mut gateway = Gateway::new();
    let (id, tag) = confirmed(&mut gateway);
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..invite("c") }.text());
    let sent = gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("CANCEL", "c") }.text());
    assert_eq!(heads(&sent), ["200", "487"]);
    assert_eq!(gateway.ep.answer_reoffer(gateway.now, id, ANSWER.as_bytes()), Err(SessionError::WrongState));
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("ACK", "c") }.text());
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 3, ..invite("d") }.text());
    assert_eq!(head(&gateway.pass(20_000)[0]), "500");
    assert_eq!(gateway.ep.stats().sessions, 1);
}

#[test]
fn a_peer_that_forgot_the_dialog_ends_the_call() {
    let mut gateway = Gateway::new();
    let (id, _) = confirmed(&mut gateway);
    gateway.ep.reoffer(gateway.now, id, OFFER.as_bytes()).unwrap();
    let reinvite = gateway.drain().remove(0);
    let sent = gateway.feed(TRUNK, answer(&reinvite, 481, "", "", ""));
    assert_eq!(heads(&sent), ["ACK", "BYE"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Timeout, .. }]));
}

#[test]
fn a_bye_that_crosses_our_reoffer_wins() {
    let mut gateway = Gateway::new();
    let (id, tag) = confirmed(&mut gateway);
    gateway.ep.reoffer(gateway.now, id, OFFER.as_bytes()).unwrap();
    let reinvite = gateway.drain().remove(0);
    assert_eq!(heads(&gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 2, ..req("BYE", "c") }.text())), ["200"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Remote, .. }]));
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&reinvite, 200, "", "", ANSWER))), ["ACK"]);
    assert!(gateway.take_events().is_empty());
    gateway.pass(100_000);
    assert_eq!(gateway.ep.stats().transactions, 0);
}
