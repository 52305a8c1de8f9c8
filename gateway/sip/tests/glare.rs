//! Both sides want something at once (RFC 3261 §14)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

/// When the re-INVITE comes again after a 491, in milliseconds
fn pause_after_491(gateway: &mut Gateway, id: SessionId) -> u64 {
    gateway.ep.reoffer(gateway.now, id, OFFER.as_bytes()).unwrap();
    let first = gateway.drain().remove(0);
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&first, 491, "", "", ""))), ["ACK"]);
    let mut waited = 0;
    loop {
        if let [again] = gateway.pass(10).as_slice() {
            assert_eq!(head(again), "INVITE");
            let ok = answer(again, 200, "", "Contact: <sip:x@192.0.2.9>\r\n", ANSWER);
            assert_eq!(heads(&gateway.feed(TRUNK, ok)), ["ACK"]);
            assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, .. }]));
            return waited + 10;
        }
        waited += 10;
        assert!(waited < 5_000);
    }
}

#[test]
fn the_caller_waits_longer_than_the_callee() {
    let mut gateway = Gateway::new();
    let ours = dialled(&mut gateway, "");
    let theirs = trunk_call(&mut gateway, "c", "");
    let pauses: Vec<_> =
        (0..20).map(|_| (pause_after_491(&mut gateway, ours.id), pause_after_491(&mut gateway, theirs.id))).collect();
    assert!(pauses.iter().all(|(long, short)| (2_100..=4_000).contains(long) && *short <= 2_010), "{pauses:?}");
    assert!(pauses.iter().any(|p| p.0 != pauses[0].0) && pauses.iter().any(|p| p.1 != pauses[0].1), "random");
}

#[test]
fn endless_491s_are_reported() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "");
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    let mut tries = 0;
    let mut sent = gateway.drain();
    while let Some(invite) = sent.iter().find(|t| head(t) == "INVITE") {
        tries += 1;
        gateway.feed(TRUNK, answer(invite, 491, "", "", ""));
        sent = gateway.pass(5_000);
    }
    assert_eq!(tries, limits::REOFFER_TRY_COUNT_MAX);
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 491, .. }]));
    assert_eq!(gateway.ep.stats().sessions, 1);
}

#[test]
fn a_500_with_retry_after_is_obeyed_and_one_without_is_reported() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "");
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    let first = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&first, 500, "", "Retry-After: 3\r\n", ""));
    assert!(gateway.pass(2_999).is_empty());
    let again = gateway.pass(1);
    assert_eq!(heads(&again), ["INVITE"]);
    gateway.feed(TRUNK, answer(&again[0], 500, "", "", ""));
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 500, .. }]));
}

#[test]
fn an_offer_that_crosses_ours_gets_491_and_a_second_one_500() {
    let mut gateway = Gateway::new();
    let mut leg = dialled(&mut gateway, "Allow: UPDATE\r\n");
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    gateway.drain();
    assert_eq!(heads(&leg.say(&mut gateway, "INVITE", "", OFFER)), ["491"]);
    assert_eq!(heads(&leg.say(&mut gateway, "UPDATE", "", OFFER)), ["491"]);
    assert_eq!(heads(&leg.say(&mut gateway, "UPDATE", "", "")), ["200"]);
    let mut other = trunk_call(&mut gateway, "c", "");
    assert_eq!(heads(&other.say(&mut gateway, "INVITE", "", OFFER)), ["100"]);
    let sent = other.say(&mut gateway, "UPDATE", "", OFFER);
    assert_eq!(heads(&sent), ["500"]);
    assert!(header(&sent[0], "Retry-After").parse::<u32>().unwrap() <= 10);
}

#[test]
fn crossing_offers_end_in_agreement_over_a_bad_path() {
    for seed in 0..10_u64 {
        let mut net = Net::new();
        let (caller, called) = net.connect();
        net.lose = Box::new(move |_, serial| mix(serial + (seed << 32)) % 100 < 20);
        net.jitter_ms = 50;
        net.nodes[1].ep.reoffer(net.now, caller, OFFER.as_bytes()).unwrap();
        net.nodes[0].ep.update(net.now, called, Some(OFFER.as_bytes())).unwrap();
        let mut done = [0, 0];
        for _ in 0..1_200 {
            net.pass(50);
            for (node, id) in [(0, called), (1, caller)] {
                for event in net.take(node) {
                    match event {
                        Event::Reoffer { .. } => {
                            net.nodes[node].ep.answer_reoffer(net.now, id, ANSWER.as_bytes()).unwrap()
                        }
                        Event::ReofferAnswered { code: 200, .. } => done[node] += 1,
                        other => panic!("seed {seed}: {other:?}"),
                    }
                }
            }
        }
        assert_eq!(done, [1, 1], "seed {seed}");
    }
}
