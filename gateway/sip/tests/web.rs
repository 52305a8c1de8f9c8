//! Browser phones: SIP over WebSocket (RFC 7118), where only the browser can open a connection
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

const WEB: &str = "10.0.0.1:8080";
/// In no phone network; the console has let it in.
const BROWSER: &str = "198.51.100.7:50001";
const CONTACT: &str = "<sip:k3j@q7x.invalid;transport=ws>";

fn gateway() -> Gateway {
    Gateway::with(Config { web_listeners: vec![addr(WEB)], ..config("192.0.2.0/24", 1) })
}

fn flow(from: &str, conn: u64) -> Flow {
    Flow { transport: Transport::Ws, local: addr(WEB), remote: addr(from), conn: Some(conn), node: None }
}

fn feed(gateway: &mut Gateway, from: &str, conn: u64, text: &str) -> Vec<String> {
    gateway.ep.handle_datagram(gateway.now, flow(from, conn), text.as_bytes());
    gateway.drain()
}

fn register(gateway: &mut Gateway, user: &str, conn: u64, contact: &str, cseq: u32) -> String {
    let password = if user == "1001" { "secret" } else { "other" };
    let text = |branch: &str, cseq, extra| {
        let text = Req { user, cseq, extra, call_id: user, ..req("REGISTER", branch) }.text();
        let own = text.lines().find(|line| line.starts_with("Contact:")).unwrap().to_owned();
        text.replace("To: <sip:12319@", &format!("To: <sip:{user}@")).replace(&own, &format!("Contact: {contact}"))
    };
    let from = format!("198.51.100.7:{}", 50_000 + conn);
    let challenge = feed(gateway, &from, conn, &text(&format!("c{user}{cseq}"), cseq, String::new())).remove(0);
    let auth = authorize(&challenge, digest::Algorithm::Md5, "REGISTER", user, password, "00000001");
    feed(gateway, &from, conn, &text(&format!("r{user}{cseq}"), cseq + 1, auth)).remove(0)
}

fn ring(gateway: &mut Gateway) -> (SessionId, String) {
    let dial = Dial { target: Target::Binding { user: "1001".into() }, ..dial_to(TRUNK) };
    let id = gateway.ep.dial(gateway.now, dial).unwrap();
    (id, gateway.drain().remove(0))
}

/// A talk with the browser on connection 1
fn talk(gateway: &mut Gateway) -> SessionId {
    assert_eq!(head(&register(gateway, "1001", 1, CONTACT, 1)), "200");
    let (id, invite) = ring(gateway);
    let extra = format!("Contact: {CONTACT}\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uac\r\n");
    feed(gateway, BROWSER, 1, &answer(&invite, 200, "rt", &extra, ANSWER));
    gateway.take_events();
    id
}

#[test]
fn a_browser_is_challenged_with_md5_alone_and_rung_over_its_own_connection() {
    let mut gateway = gateway();
    let text = Req { user: "1001", ..req("REGISTER", "x") }.text();
    let challenge = feed(&mut gateway, BROWSER, 1, &text).remove(0);
    assert!(challenge.contains("algorithm=MD5,") && !challenge.contains("SHA-256"), "{challenge}");
    assert_eq!(head(&register(&mut gateway, "1001", 1, CONTACT, 1)), "200");
    let (_, invite) = ring(&mut gateway);
    assert_eq!(gateway.last_flow(), flow(BROWSER, 1));
    assert!(invite.starts_with("INVITE sip:k3j@q7x.invalid;transport=ws SIP/2.0\r\n"), "{invite}");
    assert!(invite.contains("\r\nVia: SIP/2.0/WS 10.0.0.1:8080;"), "{invite}");
    assert!(header(&invite, "Contact").ends_with("@10.0.0.1:8080;transport=ws>"), "{invite}");
    feed(&mut gateway, BROWSER, 1, &answer(&invite, 200, "rt", &format!("Contact: {CONTACT}\r\n"), ANSWER));
    assert_eq!(gateway.last_flow(), flow(BROWSER, 1), "the ACK, whatever the Contact says");
}

#[test]
fn nobody_is_a_trunk_on_the_web() {
    let mut gateway = gateway();
    let invite = Req { user: "1001", ..invite("i") }.text();
    assert_eq!(heads(&feed(&mut gateway, TRUNK, 1, &invite)), ["401"]);
    assert_eq!(heads(&gateway.feed(TRUNK, invite.replace("branch=", "branch=z9hG4bKq"))), ["100"]);
}

#[test]
fn a_talk_outlives_its_websocket_and_any_timer_and_is_reached_over_the_next_one() {
    let mut gateway = gateway();
    let id = talk(&mut gateway);
    gateway.ep.conn_closed(gateway.now, 1);
    gateway.drain();
    assert!(matches!(gateway.take_events().as_slice(), [Event::Unregistered { user }] if user == "1001"));
    gateway.pass(3 * 1_800_000);
    assert!(!gateway.take_events().iter().any(|e| matches!(e, Event::Ended { .. })), "signalling ends no talk");
    // Another phone of the same account, and another account that claims the same name, take nothing over.
    register(&mut gateway, "1001", 2, "<sip:x@other.invalid;transport=ws>", 11);
    register(&mut gateway, "1002", 3, CONTACT, 1);
    register(&mut gateway, "1001", 4, CONTACT, 21);
    gateway.drain();
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    let bye = gateway.drain().remove(0);
    assert!(bye.starts_with("BYE sip:k3j@q7x.invalid"), "{bye}");
    assert_eq!(gateway.last_flow().conn, Some(4));
}

#[test]
fn a_refresh_that_is_cut_off_is_tried_again_after_the_browser_is_back() {
    let mut gateway = gateway();
    let id = talk(&mut gateway);
    // Whoever refreshes: nothing of it may end the talk while the connection is away.
    gateway.pass(850_000);
    gateway.ep.conn_closed(gateway.now, 1);
    gateway.pass(120_000);
    assert!(!gateway.take_events().iter().any(|e| matches!(e, Event::Ended { .. })));
    register(&mut gateway, "1001", 5, CONTACT, 11);
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    gateway.drain();
    assert_eq!(gateway.last_flow().conn, Some(5));
}

#[test]
fn a_refresh_into_a_half_open_websocket_ends_no_talk() {
    let mut gateway = gateway();
    let id = talk(&mut gateway);
    let is_refresh = |text: &String| text.starts_with("UPDATE ") || text.starts_with("INVITE ");
    // Nobody has noticed yet that the connection is dead: it takes what is sent and answers nothing.
    let sent = gateway.pass(1_000_000);
    assert!(sent.iter().any(is_refresh), "{sent:?}");
    assert!(!gateway.take_events().iter().any(|e| matches!(e, Event::Ended { .. })), "signalling ends no talk");
    // Back over another connection, before the old one is known to be dead, with a refresh under way.
    register(&mut gateway, "1001", 6, CONTACT, 11);
    let sent = gateway.pass(60_000);
    assert!(sent.iter().any(is_refresh), "{sent:?}");
    assert_eq!(gateway.last_flow().conn, Some(6));
    assert!(!gateway.take_events().iter().any(|e| matches!(e, Event::Ended { .. })));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert!(gateway.drain().remove(0).starts_with("BYE "));
}

#[test]
fn a_browser_that_leaves_while_it_rings_has_failed() {
    let mut gateway = gateway();
    register(&mut gateway, "1001", 1, CONTACT, 1);
    let (id, _) = ring(&mut gateway);
    gateway.take_events();
    gateway.ep.conn_closed(gateway.now, 1);
    gateway.drain();
    let events = gateway.take_events();
    assert!(
        events.iter().any(|e| matches!(e, Event::Failed { id: failed, code: 503, .. } if *failed == id)),
        "{events:?}"
    );
}

#[test]
fn each_of_an_accounts_passwords_opens_and_no_other() {
    let mut gateway = gateway();
    gateway.ep.set_users(gateway.now, vec![user("1001", "desk"), user("1001", "secret")]);
    assert_eq!(head(&register(&mut gateway, "1001", 1, CONTACT, 1)), "200");
    gateway.ep.set_users(gateway.now, vec![user("1001", "desk")]);
    assert_eq!(head(&register(&mut gateway, "1001", 1, CONTACT, 11)), "403");
}

#[test]
fn a_browser_is_rung_no_more_once_its_password_is_gone_and_its_talk_goes_on() {
    let mut gateway = gateway();
    gateway.ep.set_users(gateway.now, vec![user("1001", "desk"), user("1001", "secret")]);
    let id = talk(&mut gateway);
    gateway.ep.set_users(gateway.now, vec![user("1001", "desk"), user("1001", "secret"), user("1002", "other")]);
    assert_eq!(gateway.ep.bindings(gateway.now, "1001").len(), 1, "its password still holds");
    gateway.ep.set_users(gateway.now, vec![user("1001", "desk"), user("1001", "next shift's")]);
    gateway.drain();
    assert!(gateway.ep.bindings(gateway.now, "1001").is_empty());
    let events = gateway.take_events();
    assert!(matches!(events.as_slice(), [Event::Unregistered { user }] if user == "1001"), "{events:?}");
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert!(gateway.drain().remove(0).starts_with("BYE "));
}
