//! INVITE with Replaces (RFC 3891)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;

fn ask(gateway: &mut Gateway, call_id: &str, lines: &str) -> Vec<String> {
    let text = phone_invite(gateway, "1002", call_id, lines);
    gateway.feed(PHONE, text)
}

#[test]
fn a_phone_may_take_over_a_call() {
    let mut gateway = Gateway::new();
    let first = phone_call(&mut gateway, "1001", "first");
    assert_eq!(
        heads(&ask(&mut gateway, "n", &format!("Replaces: {}\r\nRequire: replaces\r\n", first.replaces()))),
        ["100"]
    );
    let (id, invite) = gateway.incoming();
    assert_eq!((invite.replaces, invite.user.as_deref()), (Some(first.id), Some("1002")));
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    gateway.ep.hang_up(gateway.now, first.id, "").unwrap();
    assert_eq!(heads(&gateway.drain()), ["200", "BYE"]);
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let mut gateway = Gateway::new();
    let up = phone_call(&mut gateway, "1001", "up");
    let ringing = trunk_rings(&mut gateway, "ringing", "").0;
    gateway.ep.provisional(gateway.now, ringing, 180, None).unwrap();
    let ring_tag = tag_of(&gateway.drain()[0], "To");
    let cases = [
        ("none;to-tag=1;from-tag=2".to_owned(), "481"),
        (up.replaces().replace("ft", "xx"), "481"),
        (format!("{};early-only", up.replaces()), "486"),
        (format!("ringing;to-tag={ring_tag};from-tag=ft"), "481"),
        ("nonsense".to_owned(), "400"),
        (format!("{0}\r\nReplaces: {0}", up.replaces()), "400"),
    ];
    for (index, (value, code)) in cases.iter().enumerate() {
        let sent = ask(&mut gateway, &format!("n{index}"), &format!("Replaces: {value}\r\n"));
        assert_eq!(heads(&sent), [*code], "{value}");
    }
    gateway.ep.hang_up(gateway.now, up.id, "").unwrap();
    gateway.drain();
    assert_eq!(heads(&ask(&mut gateway, "late", &format!("Replaces: {}\r\n", up.replaces()))), ["603"]);
}

#[test]
fn a_trunk_replaces_nothing() {
    let mut gateway = Gateway::new();
    let up = phone_call(&mut gateway, "1001", "up");
    let extra = format!("Replaces: {}\r\n", up.replaces());
    assert_eq!(heads(&gateway.feed(TRUNK, Req { extra, ..invite("t") }.text())), ["403"]);
    assert!(matches!(gateway.take_events().as_slice(), []));
}

#[test]
fn a_phone_may_pick_up_a_call_of_ours_that_rings() {
    let mut gateway = Gateway::new();
    let (id, invite) = dialling(&mut gateway);
    gateway.feed(TRUNK, answer(&invite, 180, "ct", "", ""));
    gateway.take_events();
    let name = format!("{};to-tag={};from-tag=ct;early-only", header(&invite, "Call-ID"), tag_of(&invite, "From"));
    assert_eq!(heads(&ask(&mut gateway, "p", &format!("Replaces: {name}\r\n"))), ["100"]);
    assert_eq!(gateway.incoming().1.replaces, Some(id));
}
