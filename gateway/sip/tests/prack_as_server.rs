//! Reliable provisionals to a caller (RFC 3262, as UAS)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

const SUPPORTED: &str = "Supported: 100rel\r\n";
const REQUIRED: &str = "Require: 100rel\r\n";

/// An INVITE that rings, and its leg; `sdp` is sent with 183
fn rings(gateway: &mut Gateway, extra: &str, code: u16, sdp: Option<&str>) -> (Leg, Vec<String>) {
    let (id, _) = trunk_rings(gateway, "c", extra);
    gateway.ep.provisional(gateway.now, id, code, sdp.map(str::as_bytes)).unwrap();
    let sent = gateway.drain();
    (Leg::new(id, TRUNK, "c", tag_of(&sent[0], "To"), "ft"), sent)
}

fn rack(provisional: &str) -> String {
    format!("RAck: {} 10 INVITE\r\n", header(provisional, "RSeq"))
}

#[test]
fn only_where_it_is_wanted() {
    for (extra, code, sdp, is_reliable) in [
        ("", 183, Some(ANSWER), false),
        (SUPPORTED, 180, None, false),
        (SUPPORTED, 183, Some(ANSWER), true),
        (REQUIRED, 180, None, true),
    ] {
        let mut gateway = Gateway::new();
        let (_, sent) = rings(&mut gateway, extra, code, sdp);
        assert_eq!(sent[0].contains("RSeq: "), is_reliable, "{extra}{code}");
        assert_eq!(sent[0].contains("Require: 100rel"), is_reliable);
        assert_eq!(sent[0].ends_with(ANSWER), sdp.is_some());
    }
}

#[test]
fn it_is_repeated_at_doubling_intervals_until_the_prack() {
    let mut gateway = Gateway::new();
    let (mut leg, sent) = rings(&mut gateway, REQUIRED, 180, None);
    let repeated = gateway.pass(7_500);
    assert_eq!(repeated.len(), 4, "at 0.5, 1.5, 3.5 and 7.5 s");
    assert!(repeated.iter().all(|text| *text == sent[0]));
    assert_eq!(heads(&leg.say(&mut gateway, "PRACK", &rack(&sent[0]), "")), ["200"]);
    assert!(gateway.pass(60_000).is_empty());
}

#[test]
fn a_prack_that_names_nothing_gets_481() {
    let mut gateway = Gateway::new();
    let (mut leg, sent) = rings(&mut gateway, REQUIRED, 180, None);
    let rseq: u32 = header(&sent[0], "RSeq").parse().unwrap();
    for rack in [
        String::new(),
        format!("RAck: {} 10 INVITE\r\n", rseq + 1),
        format!("RAck: {rseq} 9 INVITE\r\n"),
        format!("RAck: {rseq} 10 UPDATE\r\n"),
        "RAck: x y INVITE\r\n".into(),
        "RAck: 99999999999 10 INVITE\r\n".into(),
    ] {
        assert_eq!(heads(&leg.say(&mut gateway, "PRACK", &rack, "")), ["481"], "{rack}");
    }
    assert_eq!(heads(&gateway.pass(500)), ["180"], "still waiting");
    let good = leg.text("PRACK", &rack(&sent[0]), "");
    assert_eq!(heads(&gateway.feed(TRUNK, &good)), ["200"]);
    assert_eq!(heads(&gateway.feed(TRUNK, &good)), ["200"], "the same one again");
    assert_eq!(heads(&leg.say(&mut gateway, "PRACK", &rack(&sent[0]), "")), ["481"], "a new one for the same");
}

#[test]
fn provisionals_go_one_by_one_and_in_order() {
    let mut gateway = Gateway::new();
    let (mut leg, first) = rings(&mut gateway, REQUIRED, 180, None);
    gateway.ep.provisional(gateway.now, leg.id, 183, Some(ANSWER.as_bytes())).unwrap();
    gateway.ep.provisional(gateway.now, leg.id, 182, None).unwrap();
    assert!(gateway.drain().is_empty());
    let second = leg.say(&mut gateway, "PRACK", &rack(&first[0]), "");
    assert_eq!(heads(&second), ["200", "183"]);
    let third = leg.say(&mut gateway, "PRACK", &rack(&second[1]), "");
    assert_eq!(heads(&third), ["200", "182"]);
    let rseq = |text: &str| header(text, "RSeq").parse::<u32>().unwrap();
    assert_eq!(rseq(&second[1]), rseq(&first[0]) + 1);
    assert_eq!(rseq(&third[1]), rseq(&first[0]) + 2);
}

#[test]
fn a_2xx_waits_for_the_prack_of_sdp_and_repeats_it() {
    let mut gateway = Gateway::new();
    let (mut leg, sent) = rings(&mut gateway, SUPPORTED, 183, Some(ANSWER));
    gateway.ep.accept(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    assert!(gateway.drain().is_empty());
    assert_eq!(gateway.ep.accept(gateway.now, leg.id, OFFER.as_bytes()), Err(SessionError::WrongState));
    let sent = leg.say(&mut gateway, "PRACK", &rack(&sent[0]), "");
    assert_eq!(heads(&sent), ["200", "200"]);
    assert!(header(&sent[1], "CSeq") == "10 INVITE" && sent[1].ends_with(ANSWER), "the agreed answer, not another");
    leg.cseq = 10;
    leg.ack(&mut gateway);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { sdp: None, .. }]));
}

#[test]
fn a_2xx_does_not_wait_for_the_prack_of_a_mere_180() {
    let mut gateway = Gateway::new();
    let (mut leg, sent) = rings(&mut gateway, REQUIRED, 180, None);
    gateway.ep.accept(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
    assert_eq!(heads(&gateway.drain()), ["200"]);
    assert!(gateway.pass(400).is_empty());
    assert!(gateway.pass(200).iter().all(|t| head(t) == "200"), "the 180 is not repeated any more");
    assert_eq!(heads(&leg.say(&mut gateway, "PRACK", &rack(&sent[0]), "")), ["200"], "its PRACK may come yet");
}

#[test]
fn a_caller_that_never_acknowledges_gets_504() {
    let mut gateway = Gateway::new();
    rings(&mut gateway, SUPPORTED, 183, Some(ANSWER));
    let sent = gateway.pass(32_000);
    assert_eq!(heads(&sent), ["183", "183", "183", "183", "183", "183", "504"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Timeout, .. }]));
    gateway.pass(100_000);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
}

#[test]
fn an_offer_of_ours_in_a_provisional_is_answered_by_the_prack() {
    let mut gateway = Gateway::new();
    let text = Req { call_id: "c", cseq: 10, extra: SUPPORTED.into(), ..req("INVITE", "i") }.text();
    gateway.feed(TRUNK, text);
    let (id, invite) = gateway.incoming();
    assert_eq!(invite.sdp, None);
    gateway.ep.provisional(gateway.now, id, 183, Some(OFFER.as_bytes())).unwrap();
    let sent = gateway.drain();
    let mut leg = Leg::new(id, TRUNK, "c", tag_of(&sent[0], "To"), "ft");
    assert_eq!(heads(&leg.say(&mut gateway, "PRACK", &rack(&sent[0]), ANSWER)), ["200"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, sdp: Some(_), .. }]));
    gateway.ep.accept(gateway.now, id, OFFER.as_bytes()).unwrap();
    assert!(!gateway.drain()[0].contains("v=0"), "the offer isn't made twice");
}

#[test]
fn an_unreliable_provisional_makes_no_offer() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, req("INVITE", "i").text());
    let (id, _) = gateway.incoming();
    gateway.ep.provisional(gateway.now, id, 183, Some(OFFER.as_bytes())).unwrap();
    assert!(!gateway.drain()[0].contains("v=0"));
}

#[test]
fn a_prack_may_bring_a_new_offer() {
    let mut gateway = Gateway::new();
    let (mut leg, sent) = rings(&mut gateway, SUPPORTED, 183, Some(ANSWER));
    assert!(leg.say(&mut gateway, "PRACK", &rack(&sent[0]), OFFER).is_empty());
    assert!(matches!(gateway.take_events().as_slice(), [Event::Reoffer { sdp: Some(_), .. }]));
    gateway.ep.accept(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
    assert!(gateway.drain().is_empty(), "the 2xx waits for that answer too");
    let second = ANSWER.replace("o=- 2 2", "o=- 2 3");
    gateway.ep.answer_reoffer(gateway.now, leg.id, second.as_bytes()).unwrap();
    let sent = gateway.drain();
    assert_eq!(heads(&sent), ["200", "200"]);
    assert!(header(&sent[0], "CSeq").ends_with("PRACK") && sent.iter().all(|t| t.ends_with(&second)));
}

#[test]
fn a_call_taken_back_stops_everything() {
    let mut gateway = Gateway::new();
    let (mut leg, sent) = rings(&mut gateway, SUPPORTED, 183, Some(ANSWER));
    gateway.ep.accept(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
    let cancel =
        Req { call_id: "c", cseq: 10, extra: "Reason: SIP;cause=200\r\n".into(), ..req("CANCEL", "ci") }.text();
    assert_eq!(heads(&gateway.feed(TRUNK, cancel)), ["200", "487"]);
    let events = gateway.take_events();
    assert!(matches!(&events[..], [Event::Cancelled { reason: Some(r), .. }] if r == "SIP;cause=200"));
    assert_eq!(heads(&leg.say(&mut gateway, "PRACK", &rack(&sent[0]), "")), ["481"]);
    gateway.pass(100_000);
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
}

#[test]
fn early_media_survives_loss_and_reordering() {
    for seed in 1..=30_u64 {
        let mut net = Net::new();
        let percent = (seed % 3 + 1) * 10;
        net.lose = Box::new(move |_, serial| mix(serial + (seed << 32)) % 100 < percent);
        net.jitter_ms = 60;
        net.twice_percent = 10;
        net.dial(1);
        let mut called = None;
        for _ in 0..400 {
            net.pass(50);
            for event in net.take(0) {
                match event {
                    Event::Incoming { id, .. } => {
                        called = Some(id);
                        net.nodes[0].ep.provisional(net.now, id, 180, None).unwrap();
                        net.nodes[0].ep.provisional(net.now, id, 183, Some(ANSWER.as_bytes())).unwrap();
                        net.nodes[0].ep.accept(net.now, id, ANSWER.as_bytes()).unwrap();
                    }
                    Event::Confirmed { id, .. } => assert_eq!(Some(id), called),
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        assert_eq!(net.nodes[0].ep.stats().sessions, 1, "seed {seed}: the call is up");
        let events = net.take(1);
        let answers = events.iter().filter(|e| matches!(e, Event::Answered { sdp: Some(_), .. })).count();
        assert_eq!(answers, 1, "seed {seed}: {events:?}");
        net.lose = Box::new(|_, _| false);
        net.nodes[0].ep.hang_up(net.now, called.unwrap(), "").unwrap();
        net.assert_nothing_left();
    }
}
