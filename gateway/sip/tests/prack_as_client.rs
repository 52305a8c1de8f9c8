//! Reliable provisionals of a callee (RFC 3262, as UAC)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

fn reliable(rseq: u32, more: &str) -> String {
    format!("Require: 100rel\r\nRSeq: {rseq}\r\nContact: <sip:callee@192.0.2.9:5062>\r\n{more}")
}

#[test]
fn a_dial_offers_100rel_and_acknowledges() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    assert!(header(&invite, "Supported").contains("100rel") && header(&invite, "Allow").contains("PRACK"));
    let route = reliable(77, "Record-Route: <sip:192.0.2.30;lr>\r\n");
    let sent = gateway.feed(TRUNK, answer(&invite, 183, "a", &route, ANSWER));
    assert_eq!(heads(&sent), ["PRACK"]);
    assert!(sent[0].starts_with("PRACK sip:callee@192.0.2.9:5062 "));
    assert_eq!(header(&sent[0], "RAck"), "77 1 INVITE");
    assert_eq!((header(&sent[0], "CSeq"), header(&sent[0], "Route")), ("2 PRACK".into(), "<sip:192.0.2.30;lr>".into()));
    assert_eq!(gateway.last_flow().remote, addr("192.0.2.30:5060"));
    assert!(matches!(gateway.take_events().as_slice(), [Event::Progress { code: 183, sdp: Some(_), .. }]));
}

#[test]
fn repeated_and_overtaking_provisionals_are_absorbed() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    let at = |rseq, code| answer(&invite, code, "a", &reliable(rseq, ""), "");
    assert_eq!(heads(&gateway.feed(TRUNK, at(5, 180))), ["PRACK"]);
    assert!(gateway.feed(TRUNK, at(5, 180)).is_empty(), "the PRACK under way speaks for it");
    assert!(gateway.feed(TRUNK, at(7, 182)).is_empty(), "6 is missing");
    assert_eq!(heads(&gateway.feed(TRUNK, at(6, 183))), ["PRACK"]);
    assert_eq!(heads(&gateway.feed(TRUNK, at(7, 182))), ["PRACK"]);
    let codes: Vec<u16> = gateway
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::Progress { code, .. } => code,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, [180, 183, 182]);
}

#[test]
fn an_unreliable_provisional_needs_none() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    assert!(gateway.feed(TRUNK, answer(&invite, 180, "a", "RSeq: 1\r\n", "")).is_empty());
    assert!(gateway.feed(TRUNK, answer(&invite, 183, "a", "Require: 100rel\r\n", "")).is_empty(), "no RSeq");
    assert!(gateway.feed(TRUNK, answer(&invite, 183, "", &reliable(1, ""), "")).is_empty(), "no dialog");
    assert_eq!(gateway.take_events().len(), 3);
}

#[test]
fn the_answer_of_a_reliable_provisional_holds() {
    let mut gateway = Gateway::new();
    let (id, invite) = dialling(&mut gateway);
    let prack = gateway.feed(TRUNK, answer(&invite, 183, "a", &reliable(1, ""), ANSWER)).remove(0);
    gateway.feed(TRUNK, answer(&prack, 200, "", "", ""));
    let sent = gateway.feed(TRUNK, answer(&invite, 200, "a", "Contact: <sip:callee@192.0.2.9:5062>\r\n", OFFER));
    assert_eq!(heads(&sent), ["ACK"]);
    assert_eq!(header(&sent[0], "CSeq"), "1 ACK");
    let events = gateway.take_events();
    assert!(matches!(&events[..], [_, Event::Answered { sdp: Some(sdp), .. }] if sdp == ANSWER.as_bytes()));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert_eq!(header(&gateway.drain()[0], "CSeq"), "3 BYE", "the PRACK counted");
}

#[test]
fn each_fork_has_its_own_numbers() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    for (tag, rseq) in [("a", 100), ("b", 5), ("a", 101), ("b", 6)] {
        let sent = gateway.feed(TRUNK, answer(&invite, 180, tag, &reliable(rseq, ""), ""));
        assert_eq!((heads(&sent), tag_of(&sent[0], "To")), (vec!["PRACK".to_owned()], tag.to_owned()));
    }
}

#[test]
fn a_prack_is_repeated_and_its_loss_harms_nothing() {
    let mut gateway = Gateway::new();
    let (_, invite) = dialling(&mut gateway);
    gateway.feed(TRUNK, answer(&invite, 180, "a", &reliable(1, ""), ""));
    assert_eq!(heads(&gateway.pass(1_600)), ["PRACK", "PRACK"]);
    let prack = gateway.sent.last().unwrap().1.clone();
    gateway.feed(TRUNK, answer(&prack, 481, "", "", ""));
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 200, "a", "", ANSWER))), ["ACK"]);
    assert_eq!(gateway.ep.stats().sessions, 1);
}

#[test]
fn a_challenged_prack_is_repeated_with_credentials() {
    let mut gateway = Gateway::new();
    let credentials = Some(("gw".to_owned(), "pw".to_owned()));
    gateway.ep.dial(gateway.now, Dial { credentials, ..dial_to(TRUNK) }).unwrap();
    let invite = gateway.drain().remove(0);
    let prack = gateway.feed(TRUNK, answer(&invite, 180, "a", &reliable(1, ""), "")).remove(0);
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    let sent = gateway.feed(TRUNK, answer(&prack, 407, "", challenge, ""));
    assert!(head(&sent[0]) == "PRACK" && header(&sent[0], "CSeq") == "3 PRACK");
    assert!(header(&sent[0], "Proxy-Authorization").contains("username=\"gw\""));
}

#[test]
fn provisionals_of_a_call_given_up_start_nothing() {
    let mut gateway = Gateway::new();
    let (id, invite) = dialling(&mut gateway);
    gateway.feed(TRUNK, answer(&invite, 100, "", "", ""));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert_eq!(heads(&gateway.drain()), ["CANCEL"]);
    assert!(gateway.feed(TRUNK, answer(&invite, 180, "a", &reliable(1, ""), "")).is_empty());
}

#[test]
fn a_re_invite_is_answered_reliably_too() {
    let mut gateway = Gateway::new();
    let leg = dialled(&mut gateway, "");
    gateway.ep.reoffer(gateway.now, leg.id, OFFER.as_bytes()).unwrap();
    let invite = gateway.drain().remove(0);
    let early = answer(&invite, 183, "", &reliable(4, ""), ANSWER);
    let sent = gateway.feed(TRUNK, &early);
    assert_eq!((heads(&sent), header(&sent[0], "RAck")), (vec!["PRACK".to_owned()], "4 2 INVITE".into()));
    assert!(gateway.feed(TRUNK, &early).is_empty());
    gateway.feed(TRUNK, answer(&sent[0], 200, "", "", ""));
    let ack = gateway.feed(TRUNK, answer(&invite, 200, "", "", "")).remove(0);
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    let events = gateway.take_events();
    assert!(matches!(&events[..], [Event::ReofferAnswered { code: 200, sdp: Some(s), .. }] if s == ANSWER.as_bytes()));
    gateway.ep.hang_up(gateway.now, leg.id, "").unwrap();
    assert_eq!(header(&gateway.drain()[0], "CSeq"), "4 BYE");
}
