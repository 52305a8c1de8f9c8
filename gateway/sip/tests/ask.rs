//! Requests of ours outside any dialog: registration with a carrier, OPTIONS as a sign of life
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

fn register(expires_s: u32) -> Ask {
    Ask {
        method: AskMethod::Register { expires_s },
        uri: "sip:carrier.example".into(),
        from: "sip:12319@carrier.example".into(),
        to: "sip:12319@carrier.example".into(),
        user: "12319".into(),
        transport: Transport::Udp,
        remote: addr(TRUNK),
        local: addr(GATEWAY),
        call_id: Some("one-call-id".into()),
        cseq: 7,
        credentials: Some(("12319".into(), "pw".into())),
    }
}

fn options() -> Ask {
    Ask { method: AskMethod::Options, call_id: None, cseq: 1, ..register(0) }
}

fn replies(gateway: &mut Gateway) -> Vec<(AskId, Reply)> {
    let replied = |event| match event {
        Event::Replied { id, reply } => (id, reply),
        other => panic!("{other:?}"),
    };
    gateway.take_events().into_iter().map(replied).collect()
}

#[test]
fn a_registration_answers_the_challenge_and_tells_how_long_it_lasts() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.ask(gateway.now, register(3_600)).unwrap();
    let first = gateway.drain().remove(0);
    assert!(first.starts_with("REGISTER sip:carrier.example SIP/2.0\r\n"), "{first}");
    assert_eq!((header(&first, "CSeq"), header(&first, "Expires")), ("7 REGISTER".into(), "3600".into()));
    assert_eq!(header(&first, "Call-ID"), "one-call-id");
    assert_eq!(header(&first, "Contact"), "<sip:12319@10.0.0.1:5060>");
    let challenge = "WWW-Authenticate: Digest realm=\"c\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";
    let second = gateway.feed(TRUNK, answer(&first, 401, "t", challenge, "")).remove(0);
    assert_eq!(header(&second, "CSeq"), "8 REGISTER");
    assert!(header(&second, "Authorization").contains("uri=\"sip:carrier.example\""), "{second}");
    // Another contact of the same account comes first: ours is looked for.
    let contacts = "Contact: <sip:12319@10.9.9.9>;expires=55, <sip:12319@10.0.0.1:5060>;expires=1800\r\nExpires: 9\r\n";
    gateway.feed(TRUNK, answer(&second, 200, "t", contacts, ""));
    let replied = replies(&mut gateway);
    let (code, cseq, expires_s) = (200, 8, Some(1_800));
    let reply = Reply { code, cseq, expires_s, reason: "Whatever".into(), ..Reply::default() };
    assert_eq!(replied, [(id, reply)]);
    gateway.pass(5_000);
    assert_eq!((gateway.ep.stats().transactions, gateway.ep.poll_timeout()), (0, None));
}

#[test]
fn refusals_carry_their_hints() {
    for (code, extra, min_expires_s, retry_after_s) in [
        (423, "Min-Expires: 7200\r\n", Some(7_200), None),
        (503, "Retry-After: 120 (busy);duration=60\r\n", None, Some(120)),
        (500, "Retry-After: 99999999999\r\n", None, Some(u32::MAX)),
        (403, "Retry-After: soon\r\n", None, None),
    ] {
        let mut gateway = Gateway::new();
        gateway.ep.ask(gateway.now, register(60)).unwrap();
        let request = gateway.drain().remove(0);
        gateway.feed(TRUNK, answer(&request, code, "t", extra, ""));
        let (_, reply) = replies(&mut gateway).remove(0);
        assert_eq!((reply.code, reply.min_expires_s, reply.retry_after_s), (code, min_expires_s, retry_after_s));
        assert!(!reply.is_local);
    }
}

#[test]
fn a_wrong_password_is_told_after_one_try() {
    let mut gateway = Gateway::new();
    gateway.ep.ask(gateway.now, register(60)).unwrap();
    let challenge = "WWW-Authenticate: Digest realm=\"c\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n";
    let first = gateway.drain().remove(0);
    let second = gateway.feed(TRUNK, answer(&first, 401, "t", challenge, "")).remove(0);
    assert!(gateway.feed(TRUNK, answer(&second, 401, "t", challenge, "")).is_empty());
    assert_eq!(replies(&mut gateway)[0].1.code, 401);
}

#[test]
fn silence_and_a_broken_transport_end_an_ask() {
    let mut gateway = Gateway::new();
    gateway.ep.ask(gateway.now, options()).unwrap();
    let sent = gateway.pass(40_000);
    assert!(sent.iter().all(|text| text.starts_with("OPTIONS ")) && sent.len() >= 9, "repeated over UDP");
    let (_, reply) = replies(&mut gateway).remove(0);
    assert_eq!((reply.code, reply.is_local), (408, true));

    gateway.ep.ask(gateway.now, Ask { transport: Transport::Tls, ..options() }).unwrap();
    gateway.drain();
    let flow = gateway.last_flow();
    gateway.ep.send_failed(gateway.now, flow);
    gateway.drain();
    let (_, reply) = replies(&mut gateway).remove(0);
    assert_eq!((reply.code, reply.is_local, gateway.ep.stats().transactions), (503, true, 0));
}

#[test]
fn a_uri_that_is_none_is_refused_before_anything_is_sent() {
    let mut gateway = Gateway::new();
    for uri in ["", "tel:1", "sip:a b"] {
        assert_eq!(gateway.ep.ask(gateway.now, Ask { uri: uri.into(), ..options() }), Err(AskError::BadUri));
    }
    assert!(gateway.drain().is_empty());
}

#[test]
fn a_call_without_any_response_fails_early_where_another_trunk_waits() {
    let mut gateway = Gateway::new();
    let dial = Dial { first_response_ms: Some(4_000), ..dial_to(TRUNK) };
    gateway.ep.dial(gateway.now, dial.clone()).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.pass(3_999);
    assert!(gateway.take_events().is_empty());
    gateway.pass(1);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Failed { code: 408, .. }]));
    // The peer wakes up: the call is unwanted now, so it doesn't ring on.
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 180, "t", "", ""))), ["CANCEL"]);
    gateway.pass(70_000);
    assert_eq!((gateway.ep.stats().transactions, gateway.ep.stats().sessions), (0, 0));

    gateway.ep.dial(gateway.now, dial).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&invite, 100, "", "", ""));
    gateway.pass(20_000);
    assert!(gateway.take_events().is_empty(), "a 100 is a response");
}
