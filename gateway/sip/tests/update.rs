//! UPDATE in both directions, before and after the answer (RFC 3311)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

const KNOWS: &str = "Supported: 100rel\r\nAllow: INVITE, UPDATE, PRACK\r\n";

/// A call of the trunk with early media agreed by 183 and PRACK
fn early_call(gateway: &mut Gateway) -> Leg {
    let (id, _) = trunk_rings(gateway, "c", KNOWS);
    gateway.ep.provisional(gateway.now, id, 183, Some(ANSWER.as_bytes())).unwrap();
    let sent = gateway.drain();
    let mut leg = Leg::new(id, TRUNK, "c", tag_of(&sent[0], "To"), "ft");
    let rack = format!("RAck: {} 10 INVITE\r\n", header(&sent[0], "RSeq"));
    assert_eq!(heads(&leg.say(gateway, "PRACK", &rack, "")), ["200"]);
    leg
}

/// A call of ours with early media agreed by a reliable 183
fn early_dial(gateway: &mut Gateway) -> (Leg, String) {
    let (id, invite) = dialling(gateway);
    let extra = format!("Require: 100rel\r\nRSeq: 1\r\nContact: <sip:callee@192.0.2.9:5060>\r\n{KNOWS}");
    let prack = gateway.feed(TRUNK, answer(&invite, 183, "ct", &extra, ANSWER)).remove(0);
    gateway.feed(TRUNK, answer(&prack, 200, "", "", ""));
    gateway.take_events();
    (Leg::new(id, TRUNK, &header(&invite, "Call-ID"), tag_of(&invite, "From"), "ct"), invite)
}

#[test]
fn a_call_that_is_up_is_renegotiated_without_ack() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, KNOWS);
    gateway.ep.update(gateway.now, leg.id, Some(OFFER.as_bytes())).unwrap();
    let update = gateway.drain().remove(0);
    assert!(update.starts_with("UPDATE sip:callee@192.0.2.9:5060 ") && update.ends_with(OFFER));
    assert!(update.contains("Contact: <sip:12319@10.0.0.1:5060>"));
    let again = gateway.ep.update(gateway.now, leg.id, None);
    assert_eq!(again, Err(SessionError::WrongState), "one at a time");
    let moved = "Contact: <sip:moved@192.0.2.9:5066>\r\n";
    assert!(gateway.feed(TRUNK, answer(&update, 200, "", moved, ANSWER)).is_empty());
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, sdp: Some(_), .. }]));
    gateway.ep.update(gateway.now, leg.id, None).unwrap();
    let refresh = gateway.drain().remove(0);
    assert!(refresh.starts_with("UPDATE sip:moved@192.0.2.9:5066 ") && !refresh.contains("v=0"));
}

#[test]
fn a_peer_that_does_not_know_it_is_spared() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "Allow: INVITE, ACK, BYE\r\n");
    assert_eq!(gateway.ep.update(gateway.now, leg.id, None), Err(SessionError::NotAllowed));
    let leg = trunk_call(&mut gateway, "c", "");
    assert_eq!(gateway.ep.update(gateway.now, leg.id, None), Err(SessionError::NotAllowed));
    assert!(gateway.drain().is_empty());
    assert_eq!(gateway.ep.update(gateway.now, SessionId(9_999), None), Err(SessionError::Unknown));
}

#[test]
fn a_caller_is_updated_before_the_answer() {
    let mut gateway = Gateway::new();
    let mut leg = early_call(&mut gateway);
    gateway.ep.update(gateway.now, leg.id, Some(OFFER.as_bytes())).unwrap();
    let update = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&update, 200, "", "", ANSWER));
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, .. }]));
    gateway.ep.accept(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
    assert_eq!(head(&gateway.drain()[0]), "200");
    leg.cseq = 10;
    leg.ack(&mut gateway);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { .. }]));
}

#[test]
fn before_a_prack_there_is_nobody_to_update() {
    let mut gateway = Gateway::new();
    let (id, _) = trunk_rings(&mut gateway, "c", KNOWS);
    assert_eq!(gateway.ep.update(gateway.now, id, None), Err(SessionError::WrongState));
    gateway.ep.provisional(gateway.now, id, 183, Some(ANSWER.as_bytes())).unwrap();
    assert_eq!(gateway.ep.update(gateway.now, id, Some(OFFER.as_bytes())), Err(SessionError::WrongState));
    let mut gateway = Gateway::new();
    let (id, _) = dialling(&mut gateway);
    assert_eq!(gateway.ep.update(gateway.now, id, None), Err(SessionError::WrongState));
}

#[test]
fn a_caller_may_update_before_the_answer() {
    let mut gateway = Gateway::new();
    let mut leg = early_call(&mut gateway);
    assert!(leg.say(&mut gateway, "UPDATE", "", OFFER).is_empty());
    assert!(matches!(gateway.take_events().as_slice(), [Event::Reoffer { sdp: Some(_), .. }]));
    gateway.ep.answer_reoffer(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
    let sent = gateway.drain();
    assert!(head(&sent[0]) == "200" && sent[0].ends_with(ANSWER) && !sent[0].contains("Session-Expires"));
}

#[test]
fn a_callers_update_before_our_answer_to_its_first_offer_gets_500() {
    let mut gateway = Gateway::new();
    let (id, _) = trunk_rings(&mut gateway, "c", "");
    gateway.ep.provisional(gateway.now, id, 180, None).unwrap();
    let mut leg = Leg::new(id, TRUNK, "c", tag_of(&gateway.drain()[0], "To"), "ft");
    let sent = leg.say(&mut gateway, "UPDATE", "", OFFER);
    assert_eq!(heads(&sent), ["500"]);
    assert!(header(&sent[0], "Retry-After").parse::<u32>().unwrap() <= 10);
    assert_eq!(heads(&leg.say(&mut gateway, "UPDATE", "", "")), ["200"], "a mere refresh");
    assert_eq!(heads(&leg.say(&mut gateway, "INVITE", "", OFFER)), ["500"]);
}

#[test]
fn a_callee_is_updated_before_its_answer() {
    let mut gateway = Gateway::new();
    let (leg, invite) = early_dial(&mut gateway);
    gateway.ep.update(gateway.now, leg.id, Some(OFFER.as_bytes())).unwrap();
    let update = gateway.drain().remove(0);
    assert_eq!((header(&update, "CSeq"), tag_of(&update, "To")), ("3 UPDATE".into(), "ct".into()));
    let newer = ANSWER.replace("o=- 2 2", "o=- 2 3");
    gateway.feed(TRUNK, answer(&update, 200, "", "", &newer));
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, .. }]));
    let ack = gateway.feed(TRUNK, answer(&invite, 200, "ct", "", ""));
    assert_eq!(header(&ack[0], "CSeq"), "1 ACK");
    let events = gateway.take_events();
    assert!(matches!(&events[..], [Event::Answered { sdp: Some(sdp), .. }] if sdp == newer.as_bytes()));
    gateway.ep.hang_up(gateway.now, leg.id, "").unwrap();
    assert_eq!(header(&gateway.drain()[0], "CSeq"), "4 BYE");
}

#[test]
fn an_update_under_way_when_another_fork_answers_is_over() {
    let mut gateway = Gateway::new();
    let (leg, invite) = early_dial(&mut gateway);
    gateway.ep.update(gateway.now, leg.id, Some(OFFER.as_bytes())).unwrap();
    let update = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&invite, 200, "other", "", ANSWER));
    let events = gateway.take_events();
    assert!(matches!(&events[..], [Event::ReofferAnswered { code: 481, .. }, Event::Answered { .. }]), "{events:?}");
    gateway.feed(TRUNK, answer(&update, 200, "", "", ANSWER));
    assert!(gateway.take_events().is_empty());
}

#[test]
fn crossing_updates_get_491_and_succeed_later() {
    let mut net = Net::new();
    let (caller, called) = net.connect();
    net.nodes[1].ep.update(net.now, caller, Some(OFFER.as_bytes())).unwrap();
    net.nodes[0].ep.update(net.now, called, Some(OFFER.as_bytes())).unwrap();
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
    assert_eq!((answered, net.count(0, "491"), net.count(1, "491")), ([1, 1], 1, 1));
}

#[test]
fn what_a_callees_early_update_offered_holds_when_it_answers_the_call() {
    for (is_accepted, expected) in [(true, OFFER), (false, ANSWER)] {
        let mut gateway = Gateway::new();
        let (mut leg, invite) = early_dial(&mut gateway);
        assert!(leg.say(&mut gateway, "UPDATE", "", OFFER).is_empty());
        assert!(matches!(gateway.take_events().as_slice(), [Event::Reoffer { sdp: Some(_), .. }]));
        if is_accepted {
            gateway.ep.answer_reoffer(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
        } else {
            gateway.ep.reject_reoffer(gateway.now, leg.id, 488).unwrap();
        }
        gateway.drain();
        gateway.feed(TRUNK, answer(&invite, 200, "ct", "", ""));
        let events = gateway.take_events();
        assert!(
            matches!(&events[..], [Event::Answered { sdp: Some(sdp), .. }] if sdp == expected.as_bytes()),
            "{events:?}"
        );
    }
}
