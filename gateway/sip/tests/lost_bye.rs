//! BYE lost, crossing, too early, repeated
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

#[test]
fn a_bye_nobody_answers_is_repeated_and_then_forgotten() {
    let mut gateway = Gateway::new();
    let leg = trunk_call(&mut gateway, "c", "");
    gateway.ep.hang_up(gateway.now, leg.id, "Q.850;cause=16;text=\"Normal\"").unwrap();
    let bye = gateway.drain().remove(0);
    assert_eq!(header(&bye, "Reason"), "Q.850;cause=16;text=\"Normal\"");
    assert_eq!(gateway.pass(31_999).len(), 10);
    gateway.pass(1);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
    assert_eq!(gateway.take_events().len(), 1, "the driver was told at once");
}

#[test]
fn a_bye_whose_200_was_lost_gets_it_again() {
    let mut gateway = Gateway::new();
    let mut leg = trunk_call(&mut gateway, "c", "");
    let bye = leg.text("BYE", "Reason: Q.850;cause=16\r\n", "");
    assert_eq!(heads(&gateway.feed(TRUNK, &bye)), ["200"]);
    assert_eq!(heads(&gateway.feed(TRUNK, &bye)), ["200"]);
    let events = gateway.take_events();
    assert!(
        matches!(&events[..], [Event::Ended { by: EndedBy::Remote, reason: Some(r), .. }] if r == "Q.850;cause=16")
    );
    assert_eq!(heads(&leg.say(&mut gateway, "BYE", "", "")), ["481"], "another one finds nothing");
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut gateway = Gateway::new();
    let mut leg = trunk_call(&mut gateway, "c", "");
    gateway.ep.hang_up(gateway.now, leg.id, "").unwrap();
    let ours = gateway.drain().remove(0);
    assert_eq!(heads(&leg.say(&mut gateway, "BYE", "", "")), ["200"]);
    gateway.feed(TRUNK, answer(&ours, 481, "", "", ""));
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    gateway.pass(100_000);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
}

#[test]
fn a_bye_before_the_ack_ends_the_call() {
    let mut gateway = Gateway::new();
    let (id, _) = trunk_rings(&mut gateway, "c", "");
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let ok = gateway.drain().remove(0);
    let mut leg = Leg::new(id, TRUNK, "c", tag_of(&ok, "To"), "ft");
    assert_eq!(heads(&leg.say(&mut gateway, "BYE", "", "")), ["200"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Remote, .. }]));
    assert!(gateway.pass(60_000).is_empty(), "the 200 is repeated no more");
}

#[test]
fn a_peer_that_never_acks_and_never_answers_our_bye_leaves_nothing() {
    let mut gateway = Gateway::new();
    let (id, _) = trunk_rings(&mut gateway, "c", "");
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    gateway.drain();
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert!(gateway.pass(31_999).iter().all(|t| head(t) == "200"));
    assert_eq!(heads(&gateway.pass(1)), ["BYE"]);
    gateway.pass(32_000);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
    assert_eq!(gateway.take_events().len(), 1);
}

#[test]
fn both_sides_hang_up_at_once_over_a_bad_path() {
    for seed in 0..20_u64 {
        let mut net = Net::new();
        let (caller, called) = net.connect();
        net.lose = Box::new(move |_, serial| mix(serial + (seed << 32)) % 100 < 30);
        net.jitter_ms = 100;
        net.nodes[0].ep.hang_up(net.now, called, "").unwrap();
        net.nodes[1].ep.hang_up(net.now, caller, "").unwrap();
        net.assert_nothing_left();
        assert_eq!((net.take(0).len(), net.take(1).len()), (1, 1), "seed {seed}");
    }
}

#[test]
fn an_answered_bye_absorbs_its_answer_once_more() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "");
    gateway.ep.hang_up(gateway.now, leg.id, "").unwrap();
    let bye = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&bye, 200, "", "", ""));
    assert!(gateway.feed(TRUNK, answer(&bye, 200, "", "", "")).is_empty(), "still known, still absorbed");
    assert_eq!(gateway.ep.stats().transactions, 2);
}
