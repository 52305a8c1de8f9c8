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
    let ok = register(&mut gateway, PHONE, None, contact, 1, "Expires: 5\r\n");
    assert!(header(&ok, "Contact").ends_with(";expires=60"), "raised to the shortest lifetime");
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
                [Event::Registered { expires_s: limits::REGISTER_EXPIRES_S_MAX, .. }, Event::Unregistered { .. }]
            ),
            "{events:?}"
        );
    }
    assert_eq!(gateway.ep.stats().bindings, 0);
}

#[test]
fn after_a_restart_every_phone_is_back_within_two_minutes() {
    let mut gateway = Gateway::new();
    let ok = register(&mut gateway, PHONE, None, "<sip:1001@10.0.1.7:5071>", 1, "Expires: 3600\r\n");
    // What is granted is when the phone asks again at the latest, whatever it wished for.
    let granted: u64 = header(&ok, "Contact").rsplit_once("expires=").unwrap().1.parse().unwrap();
    assert!(granted <= 120, "{granted}");
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
    gateway.ep.set_users(vec![user("1002", "other")]);
    assert!(gateway.ep.bindings(gateway.now, "1001").is_empty());
    assert!(gateway.ep.poll_timeout().is_some(), "the REGISTER's transaction still absorbs repetitions");
}
