//! In-dialog requests along a Route set (RFC 3261 §12.2.1.1)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;

fn routes(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("Route: ")).collect()
}

#[test]
fn loose_routers_stay_in_route_in_the_right_order() {
    let mut gateway = Gateway::new();
    let rr = "Record-Route: <sip:192.0.2.21;lr>, <sip:192.0.2.22;lr>\r\n";
    let called = trunk_call(&mut gateway, "c", rr);
    gateway.ep.hang_up(gateway.now, called.id, "").unwrap();
    let bye = gateway.drain().remove(0);
    assert!(bye.starts_with("BYE sip:13800138000@192.0.2.9:5060 "));
    assert_eq!(routes(&bye), ["<sip:192.0.2.21;lr>", "<sip:192.0.2.22;lr>"]);
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.21:5060"));
    let mut gateway = Gateway::new();
    let ours = dialled(&mut gateway, rr);
    gateway.ep.hang_up(gateway.now, ours.id, "").unwrap();
    let bye = gateway.drain().remove(0);
    assert_eq!(routes(&bye), ["<sip:192.0.2.22;lr>", "<sip:192.0.2.21;lr>"], "a caller's set is reversed");
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.22:5060"));
}

#[test]
fn a_strict_router_becomes_the_request_uri() {
    let mut gateway = Gateway::new();
    let rr = "Record-Route: <sip:192.0.2.21:5070>, <sip:192.0.2.22;lr>\r\n";
    let leg = trunk_call(&mut gateway, "c", rr);
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    let invite = gateway.drain().remove(0);
    assert!(invite.starts_with("INVITE sip:192.0.2.21:5070 "));
    assert_eq!(routes(&invite), ["<sip:192.0.2.22;lr>", "<sip:13800138000@192.0.2.9:5060>"]);
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.21:5070"));
    let moved = "Contact: <sip:moved@192.0.2.99>\r\nRecord-Route: <sip:192.0.2.66;lr>\r\n";
    let ack = gateway.feed(TRUNK, answer(&invite, 200, "", moved, ANSWER)).remove(0);
    assert!(ack.starts_with("ACK sip:192.0.2.21:5070 "));
    assert_eq!(routes(&ack)[1], "<sip:moved@192.0.2.99>", "the target is refreshed, the set is not (§12.2)");
    assert!(!ack.contains("192.0.2.66"));
}

#[test]
fn the_peers_new_contact_is_followed_from_re_invite_and_update() {
    let mut gateway = Gateway::new();
    let mut leg = trunk_call(&mut gateway, "c", "");
    let text =
        leg.text("UPDATE", "", "").replace("Contact: <sip:13800138000@192.0.2.9:5060>", "Contact: <sip:u@192.0.2.31>");
    assert_eq!(heads(&gateway.feed(TRUNK, text)), ["200"]);
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    let invite = gateway.drain().remove(0);
    assert!(invite.starts_with("INVITE sip:u@192.0.2.31 "));
    gateway.feed(TRUNK, answer(&invite, 488, "", "Contact: <sip:no@192.0.2.32>\r\n", ""));
    gateway.take_events();
    gateway.ep.hang_up(gateway.now, leg.id, "").unwrap();
    assert!(gateway.drain()[0].starts_with("BYE sip:u@192.0.2.31 "), "a refusal refreshes nothing");
}
