//! Trunks with listeners of their own, and calls over TLS
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

const OWN: &str = "10.0.0.1:5070";
const OTHER_CARRIER: &str = "198.51.100.4:5060";

/// One trunk on the shared listener, one with a listener of its own
fn two_trunks() -> Config {
    let mut config = config("192.0.2.0/24", 1);
    config.trunks.push(Trunk {
        name: "second".into(),
        listen: Some(addr(OWN)),
        sources: vec!["198.51.100.0/24".parse().unwrap()],
        credentials: Some(("second".into(), "pw".into())),
        ..Trunk::default()
    });
    config
}

fn feed_at(gateway: &mut Gateway, local: &str, from: &str, text: &str) -> Vec<String> {
    let flow = Flow { local: addr(local), ..gateway.flow(from) };
    gateway.ep.handle_datagram(gateway.now, flow, text.as_bytes());
    gateway.drain()
}

#[test]
fn a_call_at_a_trunks_own_listener_belongs_to_that_trunk_or_to_nobody() {
    for (local, from, expected) in [
        (OWN, OTHER_CARRIER, Some("second")),
        (GATEWAY, TRUNK, Some("carrier")),
        (OWN, TRUNK, None),
        (GATEWAY, OTHER_CARRIER, None),
    ] {
        let mut gateway = Gateway::with(two_trunks());
        let sent = feed_at(&mut gateway, local, from, &invite("a").text());
        let trunk = gateway.take_events().into_iter().find_map(|event| match event {
            Event::Incoming { invite, .. } => invite.trunk,
            _ => None,
        });
        assert_eq!(trunk.as_deref(), expected, "{from} at {local}: {sent:?}");
    }
}

#[test]
fn phones_are_not_served_at_a_trunks_own_listener() {
    let mut gateway = Gateway::with(two_trunks());
    let register = Req { uri: "sip:10.0.0.1", user: "1001", ..req("REGISTER", "a") }.text();
    assert!(feed_at(&mut gateway, OWN, PHONE, &register).is_empty());
    assert_eq!(heads(&feed_at(&mut gateway, GATEWAY, PHONE, &register)), ["401"]);
}

#[test]
fn a_trunks_password_opens_its_own_listener_only() {
    for (local, expected) in [(OWN, true), (GATEWAY, false)] {
        let mut config = two_trunks();
        config.trunks[0].credentials = Some(("first".into(), "pw".into()));
        let mut gateway = Gateway::with(config);
        let challenge = feed_at(&mut gateway, local, STRANGER, &invite("a").text()).remove(0);
        let auth = authorize(&challenge, digest::Algorithm::Md5, "INVITE", "second", "pw", "00000001");
        let again = Req { cseq: 2, extra: auth, ..invite("b") }.text();
        feed_at(&mut gateway, local, STRANGER, &again);
        let is_admitted = gateway.take_events().iter().any(|e| matches!(e, Event::Incoming { .. }));
        assert_eq!(is_admitted, expected, "{local}");
    }
}

fn tls_dial(uri: &str) -> Dial {
    let target = Target::Uri { uri: uri.into(), transport: Transport::Tls, remote: addr(TRUNK), local: addr(GATEWAY) };
    Dial { target, ..dial_to(TRUNK) }
}

#[test]
fn a_call_over_tls_says_so_and_is_never_repeated() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, tls_dial("sip:13800138000@192.0.2.9")).unwrap();
    let invite = gateway.drain().remove(0);
    assert!(header(&invite, "Via").starts_with("SIP/2.0/TLS "), "{invite}");
    assert_eq!(header(&invite, "Contact"), "<sip:12319@10.0.0.1:5060;transport=tls>");
    assert_eq!(gateway.last_flow().transport, Transport::Tls);
    assert!(gateway.pass(10_000).is_empty());
}

#[test]
fn a_sips_uri_makes_a_sips_contact_in_both_directions() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, tls_dial("sips:13800138000@192.0.2.9")).unwrap();
    let invite_out = gateway.drain().remove(0);
    assert_eq!(header(&invite_out, "Contact"), "<sips:12319@10.0.0.1:5060>");
    assert!(header(&invite_out, "From").contains("<sips:12319@10.0.0.1>"), "{invite_out}");

    let flow = Flow { transport: Transport::Tls, conn: Some(3), ..gateway.flow(TRUNK) };
    let text = Req { uri: "sips:12319@10.0.0.1", ..invite("a") }.text();
    gateway.ep.handle_stream(gateway.now, flow, text.as_bytes());
    gateway.drain();
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let ok = gateway.drain().remove(0);
    assert_eq!((header(&ok, "Contact").as_str(), gateway.last_flow()), ("<sips:12319@10.0.0.1:5060>", flow));
}
