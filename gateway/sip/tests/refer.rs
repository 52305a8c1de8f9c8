//! REFER: phones send their peer elsewhere (RFC 3515, 4488, 3892)
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

const TO_1002: &str = "Refer-To: <sip:1002@hotline.test>\r\n";

fn transfer(gateway: &mut Gateway) -> (TransferTarget, Option<String>) {
    match gateway.take_events().as_slice() {
        [Event::Transfer { target, referred_by, .. }] => (target.clone(), referred_by.clone()),
        other => panic!("expected one Transfer, got {other:?}"),
    }
}

fn status(notify: &str) -> (String, String) {
    assert_eq!(head(notify), "NOTIFY", "{notify}");
    assert_eq!(header(notify, "Content-Type"), "message/sipfrag;version=2.0");
    (notify.split("\r\n\r\n").nth(1).unwrap().trim_end().to_owned(), header(notify, "Subscription-State"))
}

#[test]
fn a_blind_transfer_is_reported_until_its_end() {
    let mut gateway = Gateway::new();
    let mut phone = rung_phone(&mut gateway);
    let wish = format!("{TO_1002}Referred-By: <sip:1001@hotline.test>\r\n");
    assert!(phone.say(&mut gateway, "REFER", &wish, "").is_empty(), "the driver decides");
    let (target, referred_by) = transfer(&mut gateway);
    let expected = TransferTarget { uri: "sip:1002@hotline.test".into(), number: "1002".into(), replaces: None };
    assert_eq!((target, referred_by.as_deref()), (expected, Some("<sip:1001@hotline.test>")));
    gateway.ep.accept_transfer(gateway.now, phone.id).unwrap();
    let sent = gateway.drain();
    assert_eq!(heads(&sent), ["202", "NOTIFY"]);
    assert_eq!(status(&sent[1]), ("SIP/2.0 100 Trying".into(), "active;expires=240".into()));
    assert_eq!(header(&sent[1], "Event"), "refer");
    // While a NOTIFY is unanswered only the newest status waits.
    gateway.ep.transfer_progress(gateway.now, phone.id, 180, "").unwrap();
    gateway.ep.transfer_progress(gateway.now, phone.id, 183, "").unwrap();
    assert!(gateway.drain().is_empty());
    let next = gateway.feed(PHONE, answer(&sent[1], 200, "", "", ""));
    assert_eq!(status(&next[0]).0, "SIP/2.0 183 Session Progress");
    gateway.feed(PHONE, answer(&next[0], 200, "", "", ""));
    gateway.ep.transfer_progress(gateway.now, phone.id, 200, "").unwrap();
    let last = gateway.drain();
    assert_eq!(status(&last[0]), ("SIP/2.0 200 OK".into(), "terminated;reason=noresource".into()));
    let gone = Err(SessionError::Unknown);
    assert_eq!(gateway.ep.transfer_progress(gateway.now, phone.id, 200, ""), gone);
    gateway.feed(PHONE, answer(&last[0], 200, "", "", ""));
    assert_eq!((gateway.ep.stats().transfers, gateway.ep.stats().sessions), (0, 1));
    assert!(gateway.take_events().is_empty(), "the call itself goes on");
}

#[test]
fn a_phone_that_hangs_up_first_still_hears_how_it_went() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "blind");
    phone.say(&mut gateway, "REFER", TO_1002, "");
    gateway.ep.accept_transfer(gateway.now, phone.id).unwrap();
    let trying = gateway.drain().remove(1);
    gateway.feed(PHONE, answer(&trying, 200, "", "", ""));
    assert_eq!(heads(&phone.say(&mut gateway, "BYE", "", "")), ["200"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Transfer { .. }, Event::Ended { .. }]));
    gateway.ep.transfer_progress(gateway.now, phone.id, 486, "").unwrap();
    let last = gateway.drain().remove(0);
    assert_eq!(status(&last).0, "SIP/2.0 486 Busy Here");
    assert!(header(&last, "CSeq") > header(&trying, "CSeq"));
    // Lost for good: what was kept for it goes with its transaction.
    gateway.pass(100_000);
    assert_eq!((gateway.ep.stats().transfers, gateway.ep.stats().transactions), (0, 0));
    assert_eq!(gateway.ep.poll_timeout(), None);
}

#[test]
fn one_transfer_at_a_time_and_the_next_has_an_id() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "twice");
    phone.say(&mut gateway, "REFER", TO_1002, "");
    assert_eq!(heads(&phone.say(&mut gateway, "REFER", TO_1002, "")), ["491"]);
    gateway.ep.reject_transfer(gateway.now, phone.id, 603).unwrap();
    assert_eq!(heads(&gateway.drain()), ["603"]);
    assert_eq!(gateway.ep.accept_transfer(gateway.now, phone.id), Err(SessionError::Unknown));
    phone.say(&mut gateway, "REFER", TO_1002, "");
    gateway.ep.accept_transfer(gateway.now, phone.id).unwrap();
    let sent = gateway.drain();
    assert_eq!(header(&sent[1], "Event"), format!("refer;id={}", phone.cseq));
}

#[test]
fn without_a_subscription_nothing_is_reported() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "quiet");
    phone.say(&mut gateway, "REFER", &format!("{TO_1002}Refer-Sub: false\r\n"), "");
    gateway.ep.accept_transfer(gateway.now, phone.id).unwrap();
    let sent = gateway.drain();
    assert_eq!((heads(&sent), header(&sent[0], "Refer-Sub")), (vec!["202".to_owned()], "false".into()));
    gateway.ep.transfer_progress(gateway.now, phone.id, 180, "").unwrap();
    gateway.ep.transfer_progress(gateway.now, phone.id, 200, "").unwrap();
    assert!(gateway.drain().is_empty());
    assert_eq!(gateway.ep.stats().transfers, 0);
}

#[test]
fn a_transfer_ends_by_itself() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "slow");
    phone.say(&mut gateway, "REFER", TO_1002, "");
    assert_eq!(heads(&gateway.pass(20_000)), ["603"], "a driver that says nothing");
    phone.say(&mut gateway, "REFER", TO_1002, "");
    gateway.ep.accept_transfer(gateway.now, phone.id).unwrap();
    let trying = gateway.drain().remove(1);
    gateway.feed(PHONE, answer(&trying, 200, "", "", ""));
    let last = gateway.pass(240_000);
    assert_eq!(status(&last[0]), ("SIP/2.0 504 Server Time-out".into(), "terminated;reason=timeout".into()));
    gateway.feed(PHONE, answer(&last[0], 481, "", "", ""));
    assert_eq!(gateway.ep.stats().transfers, 0);
}

#[test]
fn a_phone_may_unsubscribe() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "unsub");
    phone.say(&mut gateway, "REFER", TO_1002, "");
    gateway.ep.accept_transfer(gateway.now, phone.id).unwrap();
    let trying = gateway.drain().remove(1);
    gateway.feed(PHONE, answer(&trying, 200, "", "", ""));
    let refreshed = phone.say(&mut gateway, "SUBSCRIBE", "Event: refer\r\nExpires: 60\r\n", "");
    assert_eq!((heads(&refreshed), header(&refreshed[0], "Expires")), (vec!["200".to_owned()], "240".into()));
    assert_eq!(heads(&phone.say(&mut gateway, "SUBSCRIBE", "Event: presence\r\n", "")), ["489"]);
    let sent = phone.say(&mut gateway, "SUBSCRIBE", "Event: refer\r\nExpires: 0\r\n", "");
    assert_eq!(heads(&sent), ["200", "NOTIFY"]);
    assert_eq!(status(&sent[1]).1, "terminated;reason=timeout");
}

#[test]
fn only_phones_in_a_call_may_refer() {
    let mut gateway = Gateway::new();
    let mut carrier = trunk_call(&mut gateway, "carrier", "");
    assert_eq!(heads(&carrier.say(&mut gateway, "REFER", TO_1002, "")), ["403"]);
    let outside = Req { extra: TO_1002.into(), call_id: "x", ..req("REFER", "x") }.text();
    assert_eq!(heads(&gateway.feed(TRUNK, &outside)), ["403"]);
    assert_eq!(heads(&gateway.feed(PHONE, &outside)), ["403"]);
    assert!(gateway.feed(STRANGER, &outside).is_empty());
    let lost = Req { extra: TO_1002.into(), to_tag: "none", ..req("REFER", "y") }.text();
    assert_eq!(heads(&gateway.feed(PHONE, lost)), ["481"]);
    gateway.take_events();
}

#[test]
fn a_refer_to_that_names_nothing_to_call_is_refused() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "bad");
    for wish in [
        "",
        "Refer-To: nonsense\r\n",
        "Refer-To: <sip:1002@h>\r\nRefer-To: <sip:1003@h>\r\n",
        "Refer-To: <http://h/>\r\n",
        "Refer-To: <sip:1002@h;method=BYE>\r\n",
        "Refer-To: <sip:1002@h?Replaces=half>\r\n",
        "Refer-To: <sip:1002@h?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=b%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n",
    ] {
        assert_eq!(heads(&phone.say(&mut gateway, "REFER", wish, "")), ["400"], "{wish}");
    }
    assert!(gateway.take_events().is_empty());
    assert_eq!(gateway.ep.stats().transfers, 0);
}

#[test]
fn an_attended_transfer_names_the_other_session() {
    let mut gateway = Gateway::new();
    let mut first = phone_call(&mut gateway, "1001", "first");
    let second = phone_call(&mut gateway, "1001", "second@h");
    let escaped = second.replaces().replace(';', "%3B").replace('=', "%3D").replace('@', "%40");
    first.say(&mut gateway, "REFER", &format!("Refer-To: <sip:12319@10.0.0.1?Replaces={escaped}>\r\n"), "");
    let (target, _) = transfer(&mut gateway);
    assert_eq!((target.replaces, target.uri.as_str()), (Some(second.id), "sip:12319@10.0.0.1"));
}

#[test]
fn an_attended_transfer_to_a_call_that_is_gone_fails_by_notify() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "first");
    let gone = "Refer-To: <sip:1@h?Replaces=gone%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n";
    let sent = phone.say(&mut gateway, "REFER", gone, "");
    assert_eq!(heads(&sent), ["202", "NOTIFY"]);
    let last = gateway.feed(PHONE, answer(&sent[1], 200, "", "", ""));
    assert_eq!(status(&last[0]).0, "SIP/2.0 481 Call/Transaction Does Not Exist");
    gateway.feed(PHONE, answer(&last[0], 200, "", "", ""));
    assert!(gateway.take_events().is_empty());
    assert_eq!((gateway.ep.stats().transfers, gateway.ep.stats().sessions), (0, 1));
}

#[test]
fn a_call_that_ends_takes_an_unanswered_refer_with_it() {
    let mut gateway = Gateway::new();
    let mut phone = phone_call(&mut gateway, "1001", "end");
    phone.say(&mut gateway, "REFER", TO_1002, "");
    assert_eq!(heads(&phone.say(&mut gateway, "BYE", "", "")), ["200", "487"]);
    assert_eq!(gateway.ep.stats().transfers, 0);
    assert_eq!(gateway.ep.accept_transfer(gateway.now, phone.id), Err(SessionError::Unknown));
}
