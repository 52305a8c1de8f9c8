//! Session timers in both roles (RFC 4028)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

const TIMER: &str = "Supported: timer\r\n";

/// The header fields of our 200 to an INVITE with these, and the leg
fn accepted(gateway: &mut Gateway, extra: &str) -> (Leg, String) {
    let leg = trunk_call(gateway, "c", extra);
    let ok = gateway.sent.iter().rev().find(|(_, t)| head(t) == "200").unwrap().1.clone();
    (leg, ok)
}

fn ended_by_timeout(gateway: &mut Gateway) {
    assert!(matches!(gateway.take_events().as_slice(), [Event::Ended { by: EndedBy::Timeout, .. }]));
}

#[test]
fn a_callee_grants_what_the_caller_asks() {
    for (asked, granted, is_required) in [
        ("Supported: timer\r\nSession-Expires: 600\r\n", "600;refresher=uac", true),
        ("k: timer\r\nx: 600;refresher=uas\r\n", "600;refresher=uas", false),
        ("Supported: timer\r\nSession-Expires: 3600\r\n", "1800;refresher=uac", true),
        ("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n", "3600;refresher=uac", true),
        ("Supported: timer\r\n", "1800;refresher=uac", true),
        // A proxy asked for it: the caller knows no timers, so the refreshes are ours.
        ("Session-Expires: 600\r\n", "600;refresher=uas", false),
    ] {
        let mut gateway = Gateway::new();
        let (_, ok) = accepted(&mut gateway, asked);
        assert_eq!(header(&ok, "Session-Expires"), granted, "{asked}");
        assert_eq!(ok.contains("Require: timer"), is_required, "{asked}");
    }
    let mut gateway = Gateway::new();
    assert!(!accepted(&mut gateway, "").1.contains("Session-Expires"), "the peer knows no timers");
}

#[test]
fn a_short_interval_gets_422() {
    let mut gateway = Gateway::new();
    let short = format!("{TIMER}Session-Expires: 60\r\n");
    let sent = gateway.feed(TRUNK, Req { extra: short.clone(), ..invite("a") }.text());
    assert_eq!((heads(&sent), header(&sent[0], "Min-SE")), (vec!["422".to_owned()], "90".into()));
    assert!(gateway.take_events().is_empty());
    let (mut leg, _) = accepted(&mut gateway, &format!("{TIMER}Session-Expires: 120\r\n"));
    assert_eq!(heads(&leg.say(&mut gateway, "UPDATE", &short, "")), ["422"]);
}

#[test]
fn a_caller_that_never_refreshes_is_given_up_before_the_end() {
    let mut gateway = Gateway::new();
    accepted(&mut gateway, &format!("{TIMER}Session-Expires: 90\r\n"));
    assert!(gateway.pass(59_999).is_empty(), "90 s less a third");
    let sent = gateway.pass(1);
    assert_eq!(heads(&sent), ["BYE"]);
    assert_eq!(header(&sent[0], "Reason"), "SIP;cause=408;text=\"Session expired\"");
    ended_by_timeout(&mut gateway);
    let mut gateway = Gateway::new();
    accepted(&mut gateway, &format!("{TIMER}Session-Expires: 1800\r\n"));
    assert!(gateway.pass(1_767_999).is_empty(), "1800 s less 32");
    assert_eq!(heads(&gateway.pass(1)), ["BYE"]);
}

#[test]
fn the_peers_refresh_keeps_the_call() {
    let mut gateway = Gateway::new();
    let asked = format!("{TIMER}Session-Expires: 90;refresher=uac\r\n");
    let (mut leg, _) = accepted(&mut gateway, &asked);
    for _ in 0..5 {
        gateway.pass(45_000);
        let sent = leg.say(&mut gateway, "UPDATE", &asked, "");
        assert_eq!(header(&sent[0], "Session-Expires"), "90;refresher=uac");
    }
    gateway.pass(45_000);
    assert_eq!(heads(&leg.say(&mut gateway, "INVITE", &asked, OFFER)), ["100"], "a re-INVITE refreshes too");
    gateway.ep.answer_reoffer(gateway.now, leg.id, ANSWER.as_bytes()).unwrap();
    assert_eq!(header(&gateway.drain()[0], "Session-Expires"), "90;refresher=uac");
    leg.ack(&mut gateway);
    assert!(gateway.pass(59_000).is_empty());
    assert_eq!(heads(&gateway.pass(1_000)), ["BYE"]);
}

#[test]
fn we_refresh_by_update_where_the_peer_allows_it() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    assert_eq!(header(&invite, "Session-Expires"), "1800");
    assert!(header(&invite, "Supported").contains("timer") && !invite.contains("Min-SE"));
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "Allow: INVITE, UPDATE\r\nSession-Expires: 120;refresher=uac\r\n");
    for _ in 0..4 {
        assert!(gateway.pass(59_999).is_empty());
        let sent = gateway.pass(1);
        assert_eq!(heads(&sent), ["UPDATE"]);
        assert!(!sent[0].contains("v=0") && header(&sent[0], "Session-Expires") == "120;refresher=uac");
        let extra = "Session-Expires: 120;refresher=uac\r\n";
        gateway.feed(TRUNK, answer(&sent[0], 200, "", extra, ""));
    }
    assert!(gateway.take_events().is_empty(), "the driver needs to know nothing");
    gateway.ep.hang_up(gateway.now, leg.id, "").unwrap();
    assert_eq!(heads(&gateway.drain()), ["BYE"]);
}

#[test]
fn we_refresh_by_an_unchanged_offer_where_it_does_not() {
    let mut gateway = Gateway::new();
    dialled(&mut gateway, "Allow: INVITE, ACK, BYE\r\nSession-Expires: 120\r\n");
    let sent = gateway.pass(60_000);
    assert_eq!(heads(&sent), ["INVITE"], "no refresher named: it is the caller");
    assert!(sent[0].ends_with(OFFER), "the same description, so nothing changes");
    assert_eq!(header(&sent[0], "Session-Expires"), "120;refresher=uac");
    let ok = answer(&sent[0], 200, "", "Session-Expires: 120;refresher=uac\r\n", ANSWER);
    assert_eq!(heads(&gateway.feed(TRUNK, ok)), ["ACK"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::ReofferAnswered { code: 200, sdp: Some(_), .. }]));
}

#[test]
fn a_peer_that_says_update_and_means_no_gets_a_re_invite() {
    let mut gateway = Gateway::new();
    dialled(&mut gateway, "Allow: UPDATE\r\nSession-Expires: 120\r\n");
    let update = gateway.pass(60_000).remove(0);
    let sent = gateway.feed(TRUNK, answer(&update, 501, "", "", ""));
    assert_eq!(heads(&sent), ["INVITE"]);
    assert!(gateway.take_events().is_empty());
}

#[test]
fn a_refused_refresh_is_tried_again_and_silence_ends_the_call() {
    let mut gateway = Gateway::new();
    dialled(&mut gateway, "Allow: UPDATE\r\nSession-Expires: 120\r\n");
    let update = gateway.pass(60_000).remove(0);
    gateway.feed(TRUNK, answer(&update, 503, "", "", ""));
    assert_eq!(gateway.ep.stats().sessions, 1);
    let second = gateway.pass(14_000).remove(0);
    assert_eq!(head(&second), "UPDATE");
    gateway.feed(TRUNK, answer(&second, 503, "", "", ""));
    let rest = gateway.pass(14_000);
    assert_eq!(heads(&rest).last().unwrap(), "BYE");
    ended_by_timeout(&mut gateway);
    for code in [408, 481, 404] {
        let mut gateway = Gateway::new();
        dialled(&mut gateway, "Allow: UPDATE\r\nSession-Expires: 120\r\n");
        let update = gateway.pass(60_000).remove(0);
        assert_eq!(heads(&gateway.feed(TRUNK, answer(&update, code, "", "", ""))), ["BYE"], "{code}");
        ended_by_timeout(&mut gateway);
    }
}

#[test]
fn a_callee_that_refreshes_is_watched() {
    let mut gateway = Gateway::new();
    let mut leg = dialled(&mut gateway, "Require: timer\r\nSession-Expires: 120;refresher=uas\r\n");
    gateway.pass(60_000);
    let sent = leg.say(&mut gateway, "UPDATE", "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n", "");
    assert_eq!(header(&sent[0], "Session-Expires"), "120;refresher=uac");
    assert!(gateway.pass(87_999).is_empty());
    assert_eq!(heads(&gateway.pass(1)), ["BYE"]);
}

#[test]
fn our_own_re_offer_keeps_the_roles() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "Session-Expires: 120;refresher=uas\r\n");
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    assert_eq!(header(&gateway.drain()[0], "Session-Expires"), "120;refresher=uas");
}

#[test]
fn a_422_raises_our_interval() {
    let mut gateway = Gateway::new();
    let (id, invite) = dialling(&mut gateway);
    let sent = gateway.feed(TRUNK, answer(&invite, 422, "x", "Min-SE: 3600\r\n", ""));
    assert_eq!(heads(&sent), ["ACK", "INVITE"]);
    assert_eq!((header(&sent[1], "Session-Expires"), header(&sent[1], "Min-SE")), ("3600".into(), "3600".into()));
    assert_eq!(header(&sent[1], "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!(header(&sent[1], "CSeq"), "2 INVITE");
    gateway.feed(TRUNK, answer(&sent[1], 200, "y", "Session-Expires: 3600\r\nAllow: UPDATE\r\n", ANSWER));
    assert!(matches!(gateway.take_events().as_slice(), [Event::Answered { id: answered, .. }] if *answered == id));
    let update = gateway.pass(1_800_000).remove(0);
    assert_eq!((head(&update), header(&update, "Min-SE")), ("UPDATE".into(), "3600".into()));
    let higher = gateway.feed(TRUNK, answer(&update, 422, "", "Min-SE: 7200\r\n", ""));
    assert!(higher.is_empty());
    let again = gateway.pass(0);
    assert_eq!(
        (heads(&again), header(&again[0], "Session-Expires")),
        (vec!["UPDATE".to_owned()], "7200;refresher=uac".into())
    );
}

#[test]
fn endless_422s_fail_the_call() {
    let mut gateway = Gateway::new();
    let (_, mut invite) = dialling(&mut gateway);
    for min in 1..20 {
        let refusal = answer(&invite, 422, "x", &format!("Min-SE: {}\r\n", 2_000 + min), "");
        let Some(next) = gateway.feed(TRUNK, refusal).into_iter().find(|t| head(t) == "INVITE") else {
            assert!(min <= 5);
            assert!(matches!(gateway.take_events().as_slice(), [Event::Failed { code: 422, .. }]));
            return;
        };
        invite = next;
    }
    panic!("it goes on for ever");
}

#[test]
fn both_sides_of_a_long_call_stay_up_over_a_lossy_path() {
    let mut net = Net::new();
    net.lose = Box::new(|_, serial| mix(serial) % 100 < 20);
    net.jitter_ms = 80;
    let caller = net.dial(1);
    for _ in 0..40 {
        net.pass(100);
        for event in net.take(0) {
            if let Event::Incoming { id, .. } = event {
                net.nodes[0].ep.accept(net.now, id, ANSWER.as_bytes()).unwrap();
            }
        }
    }
    net.take(1);
    net.pass(20_000_000);
    assert!(net.count(1, "UPDATE") >= 20, "the caller refreshes");
    assert_eq!((net.nodes[0].ep.stats().sessions, net.nodes[1].ep.stats().sessions), (1, 1));
    assert!(net.take(1).is_empty() && net.take(0).iter().all(|e| matches!(e, Event::Confirmed { .. })));
    net.lose = Box::new(|_, _| false);
    net.nodes[1].ep.hang_up(net.now, caller, "").unwrap();
    net.assert_nothing_left();
}
