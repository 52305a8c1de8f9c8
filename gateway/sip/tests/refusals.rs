//! Each wrong request gets the protocol's own error
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

fn refused(gateway: &mut Gateway, text: impl AsRef<[u8]>) -> (String, String) {
    let sent = gateway.feed(TRUNK, text);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(gateway.take_events().is_empty());
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0), "a refusal keeps nothing");
    (head(&sent[0]), sent[0].clone())
}

#[test]
fn an_unusable_invite_is_named() {
    let mut gateway = Gateway::new();
    let g = &mut gateway;
    assert_eq!(refused(g, invite("a").text().replace("Forwards: 70", "Forwards: 0")).0, "483");
    assert_eq!(refused(g, invite("a").text().replace("Forwards: 70", "Forwards: 300")).0, "400");
    assert_eq!(refused(g, Req { uri: "mailto:a@b", ..invite("a") }.text()).0, "416");
    assert_eq!(refused(g, invite("a").text().replace("10.0.0.1 SIP/2.0\r", "10.0.0.1 SIP/3.0\r")).0, "505");
    assert_eq!(refused(g, invite("a").text().replace("1 INVITE", "1 BYE")).0, "400");
    assert_eq!(refused(g, Req { extra: "Max-Forwards: 7\r\n".into(), ..invite("a") }.text()).0, "400");
    let (code, text) = refused(g, Req { extra: "Require: 100rel, foo\r\n".into(), ..invite("a") }.text());
    assert_eq!((code.as_str(), header(&text, "Unsupported").as_str()), ("420", "foo"));
    let (code, text) = refused(g, Req { extra: "Content-Type: text/plain\r\n".into(), ..invite("a") }.text());
    assert_eq!((code.as_str(), header(&text, "Accept").as_str()), ("415", "application/sdp"));
    let long = "a".repeat(limits::SDP_BYTES_MAX + 1);
    assert_eq!(refused(g, Req { sdp: &long, ..invite("a") }.text()).0, "413");
    let routes = "Record-Route: <sip:192.0.2.20;lr>\r\n".repeat(17);
    assert_eq!(refused(g, Req { extra: routes, ..invite("a") }.text()).0, "400");
    let fields = "X-Y: z\r\n".repeat(130);
    assert_eq!(refused(g, Req { extra: fields, ..invite("a") }.text()).0, "513");
}

#[test]
fn methods_we_do_not_serve_are_told_apart() {
    let mut gateway = Gateway::new();
    for method in ["PUBLISH", "MESSAGE"] {
        let (code, text) = refused(&mut gateway, req(method, "a").text());
        assert!(code == "405" && header(&text, "Allow").contains("INVITE"), "{method}");
    }
    assert_eq!(refused(&mut gateway, req("NEWMETHOD", "a").text()).0, "501");
    let (code, text) =
        refused(&mut gateway, Req { extra: "Event: presence\r\n".into(), ..req("SUBSCRIBE", "a") }.text());
    assert_eq!((code.as_str(), header(&text, "Allow-Events").as_str()), ("489", "refer"));
    assert_eq!(refused(&mut gateway, req("REFER", "a").text()).0, "403");
    for method in ["BYE", "INFO", "UPDATE", "PRACK", "NOTIFY"] {
        assert_eq!(refused(&mut gateway, Req { to_tag: "x", ..req(method, "a") }.text()).0, "481");
        assert_eq!(refused(&mut gateway, req(method, "b").text()).0, "481");
    }
    assert_eq!(refused(&mut gateway, Req { to_tag: "x", ..invite("c") }.text()).0, "481");
}

#[test]
fn a_copy_over_another_path_is_merged() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    assert_eq!(heads(&gateway.feed("192.0.2.10:5060", invite("b").text())), ["482"]);
    assert_eq!(gateway.ep.stats().sessions, 1);
}

#[test]
fn a_full_or_draining_gateway_says_503_with_retry_after() {
    let mut config = config("192.0.2.0/24", 1);
    config.session_count_max = 2;
    let mut gateway = Gateway::with(config);
    for (branch, code) in [("a", "100"), ("b", "100"), ("c", "503")] {
        let sent = gateway.feed(TRUNK, Req { call_id: branch, ..invite(branch) }.text());
        assert_eq!(heads(&sent), [code]);
    }
    assert_eq!(header(&gateway.sent.last().unwrap().1, "Retry-After"), "10");
    assert_eq!(gateway.ep.dial(gateway.now, dial_to(TRUNK)), Err(DialError::TooManySessions));
    let mut gateway = Gateway::new();
    gateway.ep.drain();
    assert_eq!(heads(&gateway.feed(TRUNK, invite("a").text())), ["503"]);
    assert_eq!(gateway.ep.stats().refused_overload, 1);
}

#[test]
fn requests_in_a_dialog_keep_their_order() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, Req { cseq: 10, ..invite("a") }.text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    gateway.feed(TRUNK, Req { to_tag: &tag, cseq: 10, ..req("ACK", "b") }.text());
    let mut send = |method, branch, cseq, extra: &str| {
        heads(&gateway.feed(TRUNK, Req { to_tag: &tag, cseq, extra: extra.into(), ..req(method, branch) }.text()))
            .join(" ")
    };
    assert_eq!(send("OPTIONS", "c", 12, ""), "200");
    assert_eq!(send("OPTIONS", "d", 11, ""), "500");
    assert_eq!(send("BYE", "e", 9, ""), "500");
    assert_eq!(send("MESSAGE", "f", 13, ""), "405");
    assert_eq!(send("BYE", "g", 14, "Require: x\r\n"), "420");
    assert_eq!(send("BYE", "h", 14, ""), "200");
    assert_eq!(send("BYE", "h", 14, ""), "200");
    assert_eq!(send("BYE", "i", 15, ""), "481");
}

#[test]
fn the_drivers_own_mistakes_are_errors() {
    let mut gateway = Gateway::new();
    let now = gateway.now;
    let bad = |change: &dyn Fn(&mut Dial)| {
        let mut dial = dial_to(TRUNK);
        change(&mut dial);
        dial
    };
    let g = &mut gateway.ep;
    assert_eq!(g.dial(now, bad(&|d| d.to = Some("x y".into()))), Err(DialError::BadUri));
    assert_eq!(g.dial(now, bad(&|d| d.sdp = vec![b'a'; 20_000])), Err(DialError::SdpTooLong));
    assert_eq!(
        g.dial(now, bad(&|d| d.target = Target::Binding { user: "1001".into() })),
        Err(DialError::NotRegistered)
    );
    assert_eq!(g.dial(now, bad(&|d| d.extra_headers = vec![("a b".into(), "c".into())])), Err(DialError::BadHeaders));
    let id = g.dial(now, bad(&|d| d.extra_headers = vec![("X-A".into(), "b\r\nEvil: 1".into())])).unwrap();
    assert_eq!(g.accept(now, id, ANSWER.as_bytes()), Err(SessionError::WrongState));
    assert_eq!(g.provisional(now, id, 100, None), Err(SessionError::BadCode));
    assert_eq!(g.reject(now, id, 200, ""), Err(SessionError::BadCode));
    assert_eq!(g.accept(now, id, b""), Err(SessionError::BadSdp));
    assert_eq!(g.reoffer(now, SessionId(999), OFFER.as_bytes()), Err(SessionError::Unknown));
    assert!(gateway.drain()[0].contains("X-A: b  Evil: 1\r\n"), "a line break smuggles in no header");
}
