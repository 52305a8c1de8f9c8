//! Requests from addresses we don't serve
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn a_strangers_invite_gets_one_403_in_a_minute_and_nothing_is_kept() {
    let mut gateway = Gateway::new();
    let mut sent = Vec::new();
    for i in 0..1_000 {
        sent.extend(gateway.feed(STRANGER, Req { call_id: &format!("c{i}"), ..invite(&format!("b{i}")) }.text()));
    }
    assert_eq!(heads(&sent), ["403"]);
    let stats = gateway.ep.stats();
    assert_eq!((stats.refused_strangers + stats.rate_limited, stats.transactions, stats.sessions), (1_000, 0, 0));
    assert_eq!(stats.refused_strangers, 20, "only the burst is parsed");
    assert_eq!(gateway.ep.poll_timeout(), None, "nothing will be sent again");
    assert!(
        matches!(gateway.take_events().as_slice(), [Event::Refused { method, code: Some(403), .. }] if method == "INVITE")
    );
    gateway.pass(59_999);
    assert!(gateway.feed(STRANGER, invite("y").text()).is_empty());
    gateway.pass(1);
    assert_eq!(heads(&gateway.feed(STRANGER, invite("z").text())), ["403"]);
}

#[test]
fn who_may_hold_a_trunks_password_is_challenged_every_five_seconds() {
    let mut config = config("192.0.2.0/24", 1);
    config.trunks[0].credentials = Some(("roamer".into(), "secret".into()));
    let mut gateway = Gateway::with(config);
    let mut challenged = |ms, branch: &str| {
        gateway.pass(ms);
        heads(&gateway.feed(STRANGER, Req { call_id: branch, ..invite(branch) }.text()))
    };
    assert_eq!(challenged(0, "a"), ["401"]);
    assert!(challenged(4_999, "b").is_empty());
    assert_eq!(challenged(1, "c"), ["401"]);
}

#[test]
fn a_stranger_whose_options_met_silence_still_gets_its_403() {
    let mut gateway = Gateway::new();
    assert!(gateway.feed(STRANGER, req("OPTIONS", "a").text()).is_empty());
    assert_eq!(heads(&gateway.feed(STRANGER, invite("b").text())), ["403"]);
    gateway.feed(STRANGER, req("OPTIONS", "c").text());
    let told = gateway.take_events();
    let told: Vec<_> = told.iter().map(|e| matches!(e, Event::Refused { code: Some(403), .. })).collect();
    assert_eq!(told, [false, true], "the driver hears of each once a period");
}

#[test]
fn everything_else_of_a_stranger_meets_silence() {
    for method in ["OPTIONS", "REGISTER", "SUBSCRIBE", "BYE", "CANCEL", "ACK", "HACK"] {
        let mut gateway = Gateway::new();
        assert!(gateway.feed(STRANGER, req(method, "a").text()).is_empty(), "{method}");
        assert!(gateway.feed(STRANGER, Req { to_tag: "x", ..req(method, "b") }.text()).is_empty(), "{method}");
        assert_eq!(gateway.ep.stats().transactions, 0);
    }
    let mut gateway = Gateway::new();
    assert!(gateway.feed(STRANGER, invite("a").text().replace("1 INVITE", "x INVITE")).is_empty());
    assert_eq!(gateway.ep.stats().parse_errors, 1);
}

#[test]
fn an_address_is_served_a_stranger_or_nobody() {
    let standing = |gateway: &Gateway, of: &str| gateway.ep.standing(gateway.now, addr(GATEWAY), addr(of).ip());
    let gateway = Gateway::new();
    let of = [TRUNK, PHONE, STRANGER].map(|a| standing(&gateway, a));
    assert_eq!(of, [Standing::Served, Standing::Served, Standing::Nobody]);

    let mut config = config("192.0.2.0/24", 1);
    config.trunks[0].credentials = Some(("roamer".into(), "secret".into()));
    let mut gateway = Gateway::with(config);
    assert_eq!(standing(&gateway, STRANGER), Standing::Stranger);
    let text = |branch, cseq, extra| Req { via_host: STRANGER, cseq, extra, call_id: branch, ..invite(branch) }.text();
    let challenge = gateway.feed(STRANGER, text("a", 1, String::new())).remove(0);
    let auth = authorize(&challenge, digest::Algorithm::Md5, "INVITE", "roamer", "secret", "00000001");
    gateway.feed(STRANGER, text("b", 2, auth));
    assert_eq!(standing(&gateway, STRANGER), Standing::Served, "it proved the trunk's password");
    assert_ne!(standing(&gateway, "203.0.113.67:5060"), Standing::Served);

    // Whom we called may call back on a connection of its own for as long as the call runs.
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, dial_to(STRANGER)).unwrap();
    assert_eq!(standing(&gateway, STRANGER), Standing::Served);
}

#[test]
fn a_stream_tells_how_many_messages_were_valid() {
    let mut gateway = Gateway::new();
    let flow = Flow { transport: Transport::Tcp, conn: Some(7), ..gateway.flow(TRUNK) };
    let options = req("OPTIONS", "a").text().into_bytes();
    let (head, tail) = options.split_at(40);
    assert_eq!(gateway.ep.handle_stream(gateway.now, flow, head), 0);
    assert_eq!(gateway.ep.handle_stream(gateway.now, flow, &[tail, &options].concat()), 2);
    assert_eq!(gateway.ep.handle_stream(gateway.now, flow, b"nonsense\r\n\r\n"), 0);
}

#[test]
fn options_are_answered_to_trunks_and_phones() {
    for from in [TRUNK, PHONE] {
        let mut gateway = Gateway::new();
        let sent = gateway.feed(from, req("OPTIONS", "a").text());
        assert_eq!(heads(&sent), ["200"]);
        assert!(header(&sent[0], "Allow").contains("INVITE") && sent[0].contains("\r\nSupported: "));
    }
}

#[test]
fn a_crowd_of_strangers_fills_no_memory() {
    let mut gateway = Gateway::new();
    for i in 0..limits::STRANGER_COUNT_MAX + 500 {
        let from = format!("203.{}.{}.1:5060", i / 256, i % 256);
        gateway.feed(&from, invite("a").text());
    }
    assert_eq!(gateway.sent.len(), limits::STRANGER_COUNT_MAX);
    gateway.pass(59_000);
    assert!(gateway.feed("203.250.0.1:5060", invite("a").text()).is_empty());
    gateway.pass(1_000);
    assert_eq!(heads(&gateway.feed("203.250.0.1:5060", invite("a").text())), ["403"]);
}

#[test]
fn one_address_may_be_a_trunk_and_a_phone() {
    let mut config = config("10.0.1.0/24", 1);
    config.phone_networks = vec!["10.0.0.0/8".parse().unwrap()];
    let mut gateway = Gateway::with(config);
    assert_eq!(heads(&gateway.feed(PHONE, invite("a").text())), ["100"]);
    assert_eq!(gateway.incoming().1.trunk.as_deref(), Some("carrier"));
    let text = |branch, cseq, extra| {
        let text = Req { via_host: PHONE, user: "1001", cseq, extra, call_id: "r", ..req("REGISTER", branch) }.text();
        text.replace("To: <sip:12319@", "To: <sip:1001@")
    };
    let challenge = gateway.feed(PHONE, text("r1", 1, String::new())).remove(0);
    let auth = authorize(&challenge, digest::Algorithm::Md5, "REGISTER", "1001", "secret", "00000001");
    assert_eq!(heads(&gateway.feed(PHONE, text("r2", 2, auth))), ["200"]);
    // Registered over this very flow: now its INVITE must prove who it is.
    assert_eq!(heads(&gateway.feed(PHONE, Req { call_id: "c2", ..invite("b") }.text())), ["401"]);
}
