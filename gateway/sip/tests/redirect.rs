//! 3xx to a call of ours: its contacts reach the driver, nobody is called by itself
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

fn redirected(code: u16, contacts: &str) -> (Vec<String>, Vec<(String, u16)>) {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    let sent = gateway.feed(TRUNK, answer(&invite, code, "r", contacts, ""));
    match gateway.take_events().as_slice() {
        [Event::Failed { code: c, contacts, .. }] if *c == code => {
            (heads(&sent), contacts.iter().map(|c| (c.uri.clone(), c.q)).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn contacts_come_in_order_of_preference() {
    let (sent, contacts) = redirected(
        302,
        "Contact: <sip:b@192.0.2.8>;q=0.5, \"A\" <sip:a@192.0.2.7:5070;transport=tcp>\r\nContact: tel:+8610;q=0.7\r\n",
    );
    assert_eq!(sent, ["ACK"]);
    let expected = [("sip:a@192.0.2.7:5070;transport=tcp", 1_000), ("tel:+8610", 700), ("sip:b@192.0.2.8", 500)];
    assert_eq!(contacts, expected.map(|(uri, q)| (uri.to_owned(), q)));
}

#[test]
fn contacts_are_bounded_and_nonsense_is_left_out() {
    let many: String = (0..40).map(|n| format!("Contact: <sip:{n}@h>\r\n")).collect();
    assert_eq!(redirected(300, &many).1.len(), 8);
    assert!(redirected(301, &format!("Contact: nonsense\r\nContact: <sip:{}@h>\r\n", "a".repeat(2_000))).1.is_empty());
    assert!(redirected(302, "").1.is_empty());
}

#[test]
fn a_proxy_or_an_alternative_service_is_no_callee() {
    for code in [305, 380, 399, 486] {
        assert!(redirected(code, "Contact: <sip:a@192.0.2.7>\r\n").1.is_empty());
    }
}
