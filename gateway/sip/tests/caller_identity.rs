//! Who calls: assertions of trusted trunks, withheld numbers, diversions, names in any charset
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

const ASSERTED: &str =
    "P-Asserted-Identity: <tel:+8613800138001>\r\nDiversion: <sip:12345@ims>;reason=unconditional\r\n";

fn call(trust_identity: Option<bool>, credentials: bool, from: &str, text: &[u8]) -> Incoming {
    let mut config = config("192.0.2.0/24", 1);
    config.trunks[0].trust_identity = trust_identity;
    if credentials {
        config.trunks[0].sources.clear();
        config.trunks[0].credentials = Some(("carrier".into(), "pw".into()));
    }
    let mut gateway = Gateway::with(config);
    let sent = gateway.feed(from, text);
    if heads(&sent) == ["401"] {
        let name = if credentials { ("carrier", "pw") } else { ("1001", "secret") };
        let line = authorize(&sent[0], digest::Algorithm::Sha256, "INVITE", name.0, name.1, "00000001");
        let text = String::from_utf8_lossy(text).replacen("\r\n\r\n", &format!("\r\n{line}\r\n"), 1);
        assert_eq!(heads(&gateway.feed(from, text)), ["100"]);
    }
    gateway.incoming().1
}

#[test]
fn a_trunk_known_by_its_address_is_believed_unless_told_otherwise() {
    let text = Req { extra: ASSERTED.into(), ..invite("a") }.text();
    for (trust, believed) in [(None, true), (Some(true), true), (Some(false), false)] {
        let call = call(trust, false, TRUNK, text.as_bytes());
        assert_eq!(call.asserted.is_some(), believed, "{trust:?}");
        assert_eq!(call.caller, if believed { "+8613800138001" } else { "13800138000" });
        assert_eq!(call.dialled[0], if believed { "12345" } else { "12319" });
        assert_eq!(call.diverted_from.is_some(), believed);
    }
}

#[test]
fn a_trunk_known_by_its_password_alone_is_believed_only_if_told_so() {
    let text = Req { extra: ASSERTED.into(), ..invite("a") }.text();
    for (trust, believed) in [(None, false), (Some(true), true)] {
        let call = call(trust, true, STRANGER, text.as_bytes());
        assert_eq!((call.trunk.as_deref(), call.asserted.is_some()), (Some("carrier"), believed), "{trust:?}");
    }
}

#[test]
fn a_phone_asserts_and_prefers_nothing() {
    let extra = format!("{ASSERTED}P-Preferred-Identity: <tel:110>\r\nRemote-Party-ID: <sip:119@h>;screen=yes\r\n");
    let text = Req { extra, via_host: PHONE, user: "1001", ..invite("a") }.text();
    let call = call(Some(true), false, PHONE, text.as_bytes());
    assert_eq!((call.user.as_deref(), call.asserted, call.caller.as_str()), (Some("1001"), None, "1001"));
}

#[test]
fn a_withheld_number_is_known_and_marked() {
    let text = Req { extra: format!("{ASSERTED}Privacy: id\r\n"), user: "anonymous", ..invite("a") }.text();
    let call = call(None, false, TRUNK, text.as_bytes());
    assert_eq!((call.withheld, call.caller.as_str(), call.from_user.as_str()), (true, "+8613800138001", "anonymous"));
}

#[test]
fn names_in_gb18030_never_cost_a_call() {
    // GBK and UTF-8, bare and quoted; second bytes that look like a backslash; four bytes; half a character.
    let names: [(&[u8], Option<&str>); 7] = [
        (b"\xb3\xc7\xb9\xdc", Some("城管")),
        (b"\"\xb3\xc7\xb9\xdc\"", Some("城管")),
        ("\"城管\"".as_bytes(), Some("城管")),
        ("城管".as_bytes(), Some("城管")),
        (b"\"\x8f\x5c\x95\x5c\"", Some("廫昞")),
        (b"\"\x95\x32\x82\x36 \xc0\xee\"", Some("𠀀 李")),
        (b"\"\xb3\xc7\xb9\"", None),
    ];
    for (name, shown) in names {
        let text = invite("a").text();
        let at = text.find("From: ").unwrap() + 6;
        let bytes = [&text.as_bytes()[..at], name, b" ", &text.as_bytes()[at..]].concat();
        let call = call(None, false, TRUNK, &bytes);
        assert_eq!(call.caller, "13800138000", "{name:?}");
        assert!(call.from_display.is_some(), "{name:?}");
        if let Some(shown) = shown {
            assert_eq!(call.from_display.as_deref(), Some(shown));
        }
    }
}

#[test]
fn the_forms_of_a_dialled_number_are_read() {
    for (uri, number) in [
        ("sip:12319@10.0.0.1", "12319"),
        ("tel:12319;phone-context=+86519", "12319"),
        ("tel:+86-519-12319", "+8651912319"),
        ("sip:12319;phone-context=+86519@10.0.0.1;user=phone", "12319"),
        ("sip:+86519-12319@10.0.0.1;user=phone", "+8651912319"),
        ("sip:%2B8651912319@10.0.0.1", "+8651912319"),
        ("sip:12319;npdi;rn=+8651900000@10.0.0.1;user=phone", "12319"),
        ("sip:12319;phone-context=+86519", "12319"),
    ] {
        let call = call(None, false, TRUNK, Req { uri, ..invite("a") }.text().as_bytes());
        assert_eq!((call.request_user.as_str(), call.dialled[0].as_str()), (number, number), "{uri}");
    }
}
