//! Under load new calls are refused cheaply, and those that run go on
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

/// As many calls as make an overload, waiting longer than they should
fn overload(gateway: &mut Gateway) -> Vec<SessionId> {
    for n in 0..=limits::WAITING_COUNT_MIN {
        let name = format!("w{n}");
        gateway.feed(TRUNK, Req { call_id: &name, ..invite(&name) }.text());
    }
    gateway.now += std::time::Duration::from_millis(limits::WAITING_MS_MAX + 1);
    let waiting = gateway.take_events();
    waiting.iter().filter_map(|e| if let Event::Incoming { id, .. } = e { Some(*id) } else { None }).collect()
}

#[test]
fn an_overloaded_endpoint_refuses_invites_and_keeps_nothing_of_them() {
    let mut gateway = Gateway::new();
    let waiting = overload(&mut gateway);
    let before = gateway.ep.stats();
    let deadline = gateway.ep.poll_timeout();
    for n in 0..100 {
        let name = format!("o{n}");
        let sent = gateway.feed(TRUNK, Req { call_id: &name, ..invite(&name) }.text());
        assert_eq!(heads(&sent), ["503"]);
        assert_eq!(header(&sent[0], "Retry-After"), "10");
        let ack = Req { call_id: &name, to_tag: &tag_of(&sent[0], "To"), ..req("ACK", &name) }.text();
        assert!(gateway.feed(TRUNK, ack).is_empty());
    }
    assert!(gateway.take_events().is_empty());
    let after = gateway.ep.stats();
    assert_eq!((after.transactions, after.sessions), (before.transactions, before.sessions));
    assert_eq!(after.refused_overload, 100);
    assert_eq!(gateway.ep.poll_timeout(), deadline, "nothing more to time");

    for id in waiting {
        gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    }
    gateway.drain();
    gateway.feed(TRUNK, invite("later").text());
    gateway.incoming();
}

#[test]
fn a_call_that_runs_is_served_through_the_overload() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, Req { call_id: "up", ..invite("up") }.text());
    gateway.feed(TRUNK, Req { call_id: "early", ..invite("early") }.text());
    let up = match &gateway.take_events()[..] {
        [Event::Incoming { id, .. }, Event::Incoming { .. }] => *id,
        other => panic!("{other:?}"),
    };
    overload(&mut gateway);
    gateway.ep.accept(gateway.now, up, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    let inside = |method, cseq, sdp| {
        let branch = format!("{method}{cseq}");
        Req { to_tag: &tag, call_id: "up", cseq, sdp, ..req(method, &branch) }.text()
    };
    assert!(gateway.feed(TRUNK, inside("ACK", 1, "")).is_empty());
    assert!(matches!(gateway.take_events()[..], [Event::Confirmed { .. }]));
    gateway.feed(TRUNK, inside("INVITE", 2, OFFER));
    assert!(matches!(gateway.take_events()[..], [Event::Reoffer { .. }]));
    gateway.ep.answer_reoffer(gateway.now, up, ANSWER.as_bytes()).unwrap();
    gateway.drain();
    assert_eq!(heads(&gateway.feed(TRUNK, inside("BYE", 3, ""))), ["200"]);
    let cancelled = gateway.feed(TRUNK, Req { call_id: "early", ..req("CANCEL", "early") }.text());
    assert_eq!(heads(&cancelled), ["200", "487"]);
}

#[test]
fn callers_leave_room_for_the_operators_phones() {
    let mut config = config("192.0.2.0/24", 1);
    config.session_count_max = 8;
    let mut gateway = Gateway::with(config);
    let call = |gateway: &mut Gateway, n: u32| {
        let id = format!("c{n}");
        head(&gateway.feed(TRUNK, Req { call_id: &id, ..invite(&id) }.text())[0])
    };
    assert_eq!((0..8).map(|n| call(&mut gateway, n)).filter(|code| code == "100").count(), 6);
    let (Some(Event::Incoming { id, .. }), 6) = (gateway.events.first().cloned(), gateway.events.len()) else {
        panic!("{:?}", gateway.events)
    };
    for _ in 0..2 {
        gateway.ep.dial(gateway.now, dial_to(PHONE)).unwrap();
    }
    assert_eq!(gateway.ep.dial(gateway.now, dial_to(PHONE)), Err(DialError::TooManySessions));
    // Who hangs up makes room for the next caller.
    gateway.ep.reject(gateway.now, id, 486, "").unwrap();
    gateway.drain();
    assert_eq!([call(&mut gateway, 8), call(&mut gateway, 9)], ["100", "503"]);
}

#[test]
fn a_closed_door_sends_new_calls_elsewhere_until_it_opens() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, Req { call_id: "up", ..invite("up") }.text());
    let (up, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, up, ANSWER.as_bytes()).unwrap();
    gateway.drain();
    gateway.ep.close_door(true);
    let refused = gateway.feed(TRUNK, Req { call_id: "no", ..invite("no") }.text());
    assert_eq!(heads(&refused), ["503"]);
    assert_eq!(header(&refused[0], "Retry-After"), "10");
    assert_eq!(heads(&gateway.feed(TRUNK, req("OPTIONS", "o1").text())), ["503"], "whoever spreads the calls sees it");
    assert_eq!(gateway.ep.stats().sessions, 1, "calls that run go on");
    let consults = |branch, cseq, extra| {
        Req { via_host: PHONE, user: "1001", cseq, extra, call_id: branch, ..invite(branch) }.text()
    };
    let challenge = gateway.feed(PHONE, consults("c1", 1, String::new())).remove(0);
    let auth = authorize(&challenge, digest::Algorithm::Sha256, "INVITE", "1001", "secret", "00000001");
    assert_eq!(heads(&gateway.feed(PHONE, consults("c2", 2, auth))), ["100"], "and who talks may consult by phone");
    gateway.incoming();
    gateway.ep.close_door(false);
    assert_eq!(heads(&gateway.feed(TRUNK, req("OPTIONS", "o2").text())), ["200"]);
    gateway.feed(TRUNK, Req { call_id: "yes", ..invite("yes") }.text());
    gateway.incoming();
}
