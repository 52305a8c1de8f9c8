//! Calls from ring to BYE, in both directions
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn a_call_rings_is_answered_and_ended_by_the_caller() {
    let mut net = Net::new();
    let caller = net.dial(1);
    net.pass(50);
    let called = net.incoming(0);
    net.nodes[0].ep.provisional(net.now, called, 180, None).unwrap();
    net.pass(50);
    assert!(matches!(net.take(1).as_slice(), [Event::Progress { code: 180, sdp: None, .. }]));
    net.nodes[0].ep.accept(net.now, called, ANSWER.as_bytes()).unwrap();
    net.pass(50);
    assert!(matches!(net.take(1).as_slice(), [Event::Answered { sdp: Some(sdp), .. }] if sdp == ANSWER.as_bytes()));
    assert!(matches!(net.take(0).as_slice(), [Event::Confirmed { sdp: None, .. }]));
    net.nodes[1].ep.hang_up(net.now, caller, "Q.850;cause=16").unwrap();
    net.pass(50);
    let events = net.take(0);
    assert!(
        matches!(events.as_slice(), [Event::Ended { by: EndedBy::Remote, reason: Some(r), .. }] if r == "Q.850;cause=16")
    );
    assert!(matches!(net.take(1).as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    assert_eq!(net.nodes[1].ep.hang_up(net.now, caller, ""), Err(SessionError::Unknown));
    net.assert_nothing_left();
}

#[test]
fn the_called_side_may_end_it_too() {
    let mut net = Net::new();
    let (_, called) = net.connect();
    net.nodes[0].ep.hang_up(net.now, called, "").unwrap();
    net.pass(50);
    assert!(matches!(net.take(1).as_slice(), [Event::Ended { by: EndedBy::Remote, reason: None, .. }]));
    net.assert_nothing_left();
}

#[test]
fn a_refusal_carries_its_code_and_reason() {
    let mut net = Net::new();
    let caller = net.dial(1);
    net.pass(50);
    let called = net.incoming(0);
    net.nodes[0].ep.reject(net.now, called, 486, "Busy Queue").unwrap();
    net.pass(50);
    let events = net.take(1);
    assert!(
        matches!(events.as_slice(), [Event::Failed { id, code: 486, reason, .. }] if *id == caller && reason == "Busy Queue")
    );
    assert!(matches!(net.take(0).as_slice(), [Event::Ended { by: EndedBy::Local, .. }]));
    net.assert_nothing_left();
}

#[test]
fn nobody_answers_in_time() {
    let mut net = Net::new();
    net.dial(1);
    net.pass(50);
    let called = net.incoming(0);
    net.nodes[0].ep.provisional(net.now, called, 180, None).unwrap();
    net.pass(31_000);
    assert!(matches!(net.take(1).as_slice(), [Event::Progress { .. }, Event::Failed { code: 408, .. }]));
    assert!(matches!(net.take(0).as_slice(), [Event::Cancelled { id, .. }] if *id == called));
    net.assert_nothing_left();
}

#[test]
fn a_silent_peer_is_given_up_after_64_t1() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, Dial { ring_timeout_ms: 90_000, ..dial_to(TRUNK) }).unwrap();
    gateway.drain();
    let sent = gateway.pass(40_000);
    assert_eq!(sent.len(), 6, "6 repetitions after the first");
    assert!(matches!(gateway.events.as_slice(), [Event::Failed { code: 408, .. }]));
    assert_eq!(gateway.ep.stats().transactions, 0);
}

#[test]
fn an_invite_tells_number_caller_and_asserted_identity() {
    let mut gateway = Gateway::new();
    let mut text = Req {
        uri: "sip:12319;phone-context=+86@10.0.0.1;user=phone",
        extra: "P-Asserted-Identity: \"x\" <sip:+8613900139000@carrier;user=phone>, <tel:+8613900139000>\r\n".into(),
        ..invite("a")
    }
    .text()
    .into_bytes();
    let at = text.windows(5).position(|w| w == b"From:").unwrap();
    text.splice(at + 5..at + 6, b" \"\xb3\xc7\xb9\xdc <sip:110@gov>\" ".iter().copied());
    let sent = gateway.feed(TRUNK, &text);
    assert_eq!(heads(&sent), ["100"]);
    assert!(!sent[0].contains(";tag=h") && tag_of(&sent[0], "To").is_empty(), "a 100 needs no tag");
    let (_, invite) = gateway.incoming();
    assert_eq!(invite.request_user, "12319");
    assert_eq!(invite.from_user, "13800138000");
    assert_eq!(invite.from_display.as_deref(), Some("城管 <sip:110@gov>"));
    assert_eq!(invite.asserted.as_deref(), Some("+8613900139000"));
    assert_eq!((invite.trunk.as_deref(), invite.user), (Some("carrier"), None));
    assert_eq!(invite.sdp.as_deref(), Some(OFFER.as_bytes()));
}

#[test]
fn an_invite_without_offer_gets_ours_and_the_ack_answers() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, req("INVITE", "a").text());
    let (id, invite) = gateway.incoming();
    assert_eq!(invite.sdp, None);
    gateway.ep.accept(gateway.now, id, OFFER.as_bytes()).unwrap();
    let ok = gateway.drain();
    let tag = tag_of(&ok[0], "To");
    gateway.feed(TRUNK, Req { to_tag: &tag, sdp: ANSWER, ..req("ACK", "b") }.text());
    let events = gateway.take_events();
    assert!(
        matches!(events.as_slice(), [Event::Confirmed { sdp: Some(sdp), .. }] if sdp == ANSWER.as_bytes()),
        "{events:?}"
    );
}

#[test]
fn a_route_set_leads_our_requests() {
    let mut gateway = Gateway::new();
    let extra = "Record-Route: <sip:192.0.2.20;lr>, <sip:192.0.2.21;lr>\r\n".to_owned();
    gateway.feed(TRUNK, Req { extra, ..invite("a") }.text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let ok = gateway.drain();
    assert_eq!(header(&ok[0], "Record-Route"), "<sip:192.0.2.20;lr>, <sip:192.0.2.21;lr>");
    gateway.feed(TRUNK, Req { to_tag: &tag_of(&ok[0], "To"), ..req("ACK", "b") }.text());
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    let bye = gateway.drain();
    assert_eq!(header(&bye[0], "Route"), "<sip:192.0.2.20;lr>");
    assert!(bye[0].starts_with("BYE sip:13800138000@192.0.2.9:5060 "));
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.20:5060"));
}

#[test]
fn the_ack_of_a_2xx_follows_record_route_and_contact() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    assert!(header(&invite, "From").starts_with("\"城管热线\" <sip:12319@10.0.0.1>;tag="));
    assert!(invite.contains("\r\nSupported: "));
    let extra = "Record-Route: <sip:192.0.2.30;lr>\r\nRecord-Route: <sip:192.0.2.31;lr>\r\nContact: <sip:x@192.0.2.50:5090>\r\n";
    let ack = gateway.feed(TRUNK, answer(&invite, 200, "rt", extra, ANSWER)).remove(0);
    assert!(ack.starts_with("ACK sip:x@192.0.2.50:5090 "));
    assert_eq!(header(&ack, "Route"), "<sip:192.0.2.31;lr>");
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.31:5060"));
    assert_ne!(header(&ack, "Via"), header(&invite, "Via"));
    assert!(matches!(gateway.take_events().as_slice(), [Event::Answered { id: i, sdp: Some(_) }] if *i == id));
    let again = gateway.feed(TRUNK, answer(&invite, 200, "rt", extra, ANSWER));
    assert_eq!(again, [ack]);
    assert!(gateway.take_events().is_empty());
}

#[test]
fn early_media_stands_in_for_an_answer_without_sdp() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&invite, 183, "rt", "", ANSWER));
    gateway.feed(TRUNK, answer(&invite, 200, "rt", "", ""));
    assert!(matches!(
        gateway.take_events().as_slice(),
        [Event::Progress { code: 183, sdp: Some(_), .. }, Event::Answered { sdp: Some(_), .. }]
    ));
}

#[test]
fn without_rport_responses_go_to_the_sent_by_port() {
    let mut gateway = Gateway::new();
    let text = invite("a").text().replace(";rport", "");
    let sent = gateway.feed("192.0.2.9:40000", text);
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.9:5060"));
    assert!(!sent[0].contains("received"));
    let sent = gateway.feed("192.0.2.77:40000", Req { call_id: "c2", ..invite("b") }.text());
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.77:40000"));
    assert!(header(&sent[0], "Via").ends_with(";received=192.0.2.77;rport=40000"));
}
