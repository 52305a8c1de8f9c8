//! One INVITE answered by several
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn the_first_answer_wins_and_the_others_are_acked_and_ended() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    gateway.feed(TRUNK, answer(&invite, 180, "one", "", ""));
    gateway.feed(TRUNK, answer(&invite, 180, "two", "", ""));
    let contact = |n: u8| format!("Contact: <sip:f{n}@192.0.2.9:5060>\r\n");
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 200, "two", &contact(2), ANSWER))), ["ACK"]);
    let sent = gateway.feed(TRUNK, answer(&invite, 200, "one", &contact(1), ANSWER));
    assert_eq!(heads(&sent), ["ACK", "BYE"]);
    assert!(sent.iter().all(|t| tag_of(t, "To") == "one" && t.contains("sip:f1@192.0.2.9")));
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 200, "one", &contact(1), ANSWER))), ["ACK"], "no second BYE");
    gateway.feed(TRUNK, answer(&sent[1], 200, "", "", ""));
    let answered = gateway.take_events().into_iter().filter(|e| matches!(e, Event::Answered { .. })).count();
    assert_eq!(answered, 1);
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert_eq!(tag_of(&gateway.drain()[0], "To"), "two");
}

#[test]
fn a_flood_of_forks_is_bounded() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    for i in 0..100 {
        gateway.feed(TRUNK, answer(&invite, 200, &format!("t{i}"), "", ANSWER));
    }
    let byes = gateway.sent.iter().filter(|(_, t)| head(t) == "BYE").count();
    assert_eq!(byes, limits::FORK_COUNT_MAX - 1);
    gateway.pass(100_000);
    assert_eq!(gateway.ep.stats().transactions, 0);
}

#[test]
fn responses_that_are_not_ours_change_nothing() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    let ok = answer(&invite, 200, "x", "", ANSWER);
    let via = header(&invite, "Via");
    let branch = via.split("branch=").nth(1).unwrap().split(';').next().unwrap();
    for text in [
        ok.replace(branch, "z9hG4bK0000000000000001"),
        ok.replace(branch, &format!("{}0", &branch[..branch.len() - 1])),
        ok.replace(branch, "z9hG4bK"),
        ok.replace("1 INVITE", "2 INVITE"),
        ok.replace("1 INVITE", "1 BYE"),
        ok.replace("1 INVITE", "1 CANCEL"),
        ok.replacen("Via:", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nVia:", 1),
        ok.replacen("SIP/2.0 200", "SIP/2.0 999", 1),
    ] {
        if text != ok {
            assert!(gateway.feed(TRUNK, &text).is_empty(), "{text}");
        }
    }
    assert!(gateway.take_events().is_empty());
}
