//! Registered phones: bindings, NAT, calls to them
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

/// Registers a phone with a private Contact from `from`; `how` adds header lines
fn register(gateway: &mut Gateway, from: &str, conn: Option<u64>, contact: &str, cseq: u32, how: &str) -> String {
    let text = |branch: &str, cseq, extra| {
        let text = Req { user: "1001", cseq, extra, call_id: "reg", ..req("REGISTER", branch) }.text();
        let own = "Contact: <sip:1001@192.0.2.9:5060>\r\n";
        assert!(text.contains(own));
        let contact = if contact.is_empty() { String::new() } else { format!("Contact: {contact}\r\n") };
        text.replace("To: <sip:12319@", "To: <sip:1001@").replace(own, &contact)
    };
    let mut send = |text: String| match conn {
        Some(conn) => gateway.feed_tcp(conn, from, text.as_bytes()).remove(0),
        None => gateway.feed(from, text).remove(0),
    };
    let challenge = send(text(&format!("c{cseq}{from}"), cseq, String::new()));
    let auth = authorize(&challenge, digest::Algorithm::Sha256, "REGISTER", "1001", "secret", "00000001");
    send(text(&format!("r{cseq}{from}"), cseq + 1, auth + how))
}

fn ring_phone(gateway: &mut Gateway) -> (SessionId, String) {
    let dial = Dial { target: Target::Binding { user: "1001".into() }, ..dial_to(TRUNK) };
    let id = gateway.ep.dial(gateway.now, dial).unwrap();
    (id, gateway.drain().remove(0))
}

#[test]
fn a_call_goes_where_the_register_came_from_not_where_contact_says() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@192.168.7.7:5060;ob>", 1, "");
    let (id, invite) = ring_phone(&mut gateway);
    assert!(invite.starts_with("INVITE sip:1001@192.168.7.7:5060;ob SIP/2.0"));
    assert_eq!(gateway.last_flow().remote, addr(PHONE));
    gateway.feed(PHONE, answer(&invite, 200, "rt", "Contact: <sip:1001@192.168.7.7:5060>\r\n", ANSWER));
    assert_eq!(gateway.last_flow().remote, addr(PHONE), "so does the ACK");
    // The NAT gives the phone a new port in the middle of the call.
    let tag = tag_of(&invite, "From");
    let options = Req { from_tag: "rt", to_tag: &tag, call_id: &header(&invite, "Call-ID"), ..req("OPTIONS", "o") };
    assert_eq!(heads(&gateway.feed("10.0.1.7:6111", options.text())), ["200"]);
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    gateway.drain();
    assert_eq!(gateway.last_flow().remote, addr("10.0.1.7:6111"));
}

#[test]
fn the_newest_of_several_bindings_rings() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@10.0.1.7:5071>", 1, "");
    let ok = register(&mut gateway, "10.0.1.8:5060", None, "<sip:1001@10.0.1.8>", 3, "Expires: 60\r\n");
    assert_eq!(ok.matches("Contact:").count(), 2);
    let bindings = gateway.ep.bindings(gateway.now, "1001");
    assert_eq!(bindings.iter().map(|b| b.flow.remote).collect::<Vec<_>>(), [addr("10.0.1.8:5060"), addr(PHONE)]);
    ring_phone(&mut gateway);
    assert_eq!(gateway.last_flow().remote, addr("10.0.1.8:5060"));
    gateway.pass(60_000);
    assert_eq!(gateway.ep.bindings(gateway.now, "1001").len(), 1);
}

#[test]
fn a_binding_lapses_is_removed_or_wiped() {
    let contact = "<sip:1001@10.0.1.7:5071>";
    let mut gateway = Gateway::new();
    let brief = register(&mut gateway, PHONE, None, contact, 1, "Expires: 59\r\n");
    assert_eq!((head(&brief).as_str(), header(&brief, "Min-Expires").as_str()), ("423", "60"));
    assert!(gateway.take_events().is_empty());
    let ok = register(&mut gateway, PHONE, None, contact, 3, "Expires: 60\r\n");
    assert!(header(&ok, "Contact").ends_with(";expires=60"), "{ok}");
    gateway.take_events();
    gateway.pass(60_000);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Unregistered { user }] if user == "1001"));
    for (wipe, cseq) in [(contact, 10), ("*", 20)] {
        register(&mut gateway, PHONE, None, contact, cseq, "");
        let ok = register(&mut gateway, PHONE, None, wipe, cseq + 2, "Expires: 0\r\n");
        assert!(head(&ok) == "200" && !ok.contains("Contact:"), "{ok}");
        let events = gateway.take_events();
        assert!(
            matches!(
                events.as_slice(),
                [
                    Event::Registered { expires_s: limits::REGISTER_EXPIRES_S_MAX_DEFAULT, .. },
                    Event::BindingsChanged { .. },
                    Event::Unregistered { .. },
                    Event::BindingsChanged { .. }
                ]
            ),
            "{events:?}"
        );
    }
    assert_eq!(gateway.ep.stats().bindings, 0);
}

#[test]
fn after_a_restart_a_phone_on_udp_rings_at_once_and_the_order_holds() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@10.0.1.7:5071>;q=0.5", 1, "Expires: 300\r\n");
    register(&mut gateway, "10.0.1.7:40001", Some(4), "<sip:1001@10.0.1.7:40001;transport=tcp>", 3, "");
    let kept: Vec<_> = gateway.ep.bindings(gateway.now, "1001").into_iter().map(|b| ("1001".to_owned(), b)).collect();
    assert_eq!(kept.len(), 2);
    let foreign = |user: &str, remote: &str| {
        let (_, binding) = kept[1].clone();
        (user.to_owned(), Binding { flow: Flow { remote: addr(remote), ..binding.flow }, ..binding })
    };
    let all = [kept.clone(), vec![foreign("gone", PHONE), foreign("1002", STRANGER)]].concat();

    let mut next = Gateway::new();
    next.now = gateway.now;
    assert_eq!(next.ep.restore_bindings(next.now, all), 1, "connections, old users and strangers don't count");
    let (_, invite) = ring_phone(&mut next);
    assert!(invite.starts_with("INVITE sip:1001@10.0.1.7:5071 "));
    assert_eq!(next.last_flow().remote, addr(PHONE));
    let late = register(&mut next, PHONE, None, "<sip:1001@10.0.1.7:5071>", 1, "Expires: 0\r\n");
    assert_eq!(head(&late), "500", "an older REGISTER changes nothing, as before the restart");
    next.take_events();
    next.pass(300_000);
    assert!(next.take_events().iter().any(|e| matches!(e, Event::Unregistered { user } if user == "1001")));
}

#[test]
fn a_restarted_phone_replaces_its_own_flow() {
    let mut gateway = Gateway::new();
    let contact = |port: u16| format!("<sip:1001@10.0.1.7:{port}>;reg-id=1;+sip.instance=\"<urn:uuid:00-01>\"");
    let how = "Supported: path, outbound\r\n";
    let ok = register(&mut gateway, PHONE, None, &contact(5071), 1, how);
    assert!(header(&ok, "Contact").ends_with("+sip.instance=\"<urn:uuid:00-01>\";reg-id=1"), "{ok}");
    assert_eq!(header(&ok, "Require"), "outbound");
    let ok = register(&mut gateway, "10.0.1.7:6071", None, &contact(6071), 3, how);
    assert_eq!(ok.matches("Contact:").count(), 1, "{ok}");
    ring_phone(&mut gateway);
    assert_eq!(gateway.last_flow().remote, addr("10.0.1.7:6071"));
    // Without outbound there is one flow an instance, and nothing is required.
    let ok = register(&mut gateway, PHONE, None, &contact(5071).replace("00-01", "00-02"), 5, "");
    assert!(!ok.contains("Require") && ok.contains("00-02>\"\r\n"), "{ok}");
}

#[test]
fn extensions_of_registering_are_known_or_named() {
    let mut gateway = Gateway::new();
    let contact = "<sip:1001@10.0.1.7:5071>";
    assert_eq!(head(&register(&mut gateway, PHONE, None, contact, 1, "Require: outbound\r\n")), "200");
    let bad = register(&mut gateway, PHONE, None, contact, 3, "Require: path, outbound, gruu\r\n");
    assert_eq!((head(&bad).as_str(), header(&bad, "Unsupported").as_str()), ("420", "path, gruu"));
    let hop = "Require: outbound\r\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKproxied\r\n";
    assert_eq!(head(&register(&mut gateway, PHONE, None, contact, 5, hop)), "439");
}

#[test]
fn a_preferred_contact_rings_before_a_newer_one() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@10.0.1.7:5071>;q=0.9", 1, "");
    let ok = register(&mut gateway, "10.0.1.8:5060", None, "<sip:1001@10.0.1.8>;q=0.1", 3, "");
    assert!(ok.contains(";q=0.900") && ok.contains(";q=0.100"), "{ok}");
    ring_phone(&mut gateway);
    assert_eq!(gateway.last_flow().remote, addr(PHONE));
}

#[test]
fn keep_alives_cost_nothing_and_stun_is_answered() {
    let mut gateway = Gateway::new();
    for keep_alive in [&b"\r\n\r\n"[..], b"\r\n", &[0; 4]] {
        assert!(gateway.feed(PHONE, keep_alive).is_empty());
    }
    assert_eq!(gateway.feed_tcp(4, PHONE, b"\r\n\r\n"), ["\r\n"]);
    let binding_request = b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl";
    assert_eq!(gateway.feed(PHONE, binding_request).len(), 1);
    assert!(gateway.feed(STRANGER, binding_request).is_empty());
    assert_eq!(gateway.ep.stats().parse_errors, 1, "the stranger's");
}

#[test]
fn a_query_lists_and_a_wrong_star_is_refused() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@10.0.1.7:5071>", 1, "");
    let ok = register(&mut gateway, PHONE, None, "", 3, "");
    assert!(header(&ok, "Contact").starts_with("<sip:1001@10.0.1.7:5071>"));
    assert_eq!(head(&register(&mut gateway, PHONE, None, "*", 5, "")), "400");
}

#[test]
fn a_closed_connection_unregisters_its_phone_and_fails_its_ringing() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, Some(4), "<sip:1001@10.0.1.7;transport=tcp>", 1, "");
    let (_, invite) = ring_phone(&mut gateway);
    assert_eq!((gateway.last_flow().conn, invite.contains("SIP/2.0/TCP")), (Some(4), true));
    gateway.take_events();
    gateway.ep.conn_closed(gateway.now, 4);
    gateway.drain();
    assert!(matches!(gateway.take_events().as_slice(), [Event::Unregistered { .. }, Event::Failed { code: 503, .. }]));
}

#[test]
fn an_account_that_is_gone_takes_its_bindings_along() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@10.0.1.7:5071>", 1, "");
    gateway.ep.set_users(gateway.now, vec![user("1002", "other")]);
    assert!(gateway.ep.bindings(gateway.now, "1001").is_empty());
    assert!(gateway.ep.poll_timeout().is_some(), "the REGISTER's transaction still absorbs repetitions");
}

#[test]
fn an_answer_that_crosses_our_cancel_is_ended_at_the_phone_behind_its_nat() {
    let mut gateway = Gateway::new();
    register(&mut gateway, PHONE, None, "<sip:1001@192.168.7.7:5060;ob>", 1, "");
    let (id, invite) = ring_phone(&mut gateway);
    gateway.feed(PHONE, answer(&invite, 180, "rt", "", ""));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    gateway.drain();
    gateway.sent.clear();
    gateway.feed(PHONE, answer(&invite, 200, "rt", "Contact: <sip:1001@192.168.7.7:5060>\r\n", ANSWER));
    let sent: Vec<_> = gateway.sent.iter().map(|(flow, text)| (head(text), flow.remote)).collect();
    assert_eq!(sent, [("ACK".to_owned(), addr(PHONE)), ("BYE".to_owned(), addr(PHONE))]);
}
