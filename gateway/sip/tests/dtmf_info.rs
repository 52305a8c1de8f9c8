//! Keys by INFO
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

#[test]
fn keys_are_told_and_other_infos_are_refused() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, invite("a").text());
    let (id, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    gateway.feed(TRUNK, Req { to_tag: &tag, ..req("ACK", "b") }.text());
    gateway.take_events();
    let mut cseq = 1;
    let mut info = |content_type: &str, body: &str| {
        cseq += 1;
        let branch = format!("i{cseq}");
        let extra = format!("Content-Type: {content_type}\r\n");
        let text = Req { to_tag: &tag, cseq, extra, sdp: body, ..req("INFO", &branch) }.text();
        let sent = gateway.feed(TRUNK, &text);
        assert_eq!(gateway.feed(TRUNK, &text), sent, "a repetition is no second key");
        let keys: Vec<_> = gateway
            .take_events()
            .into_iter()
            .map(|e| match e {
                Event::Dtmf { digit, duration_ms, .. } => (digit, duration_ms),
                other => panic!("{other:?}"),
            })
            .collect();
        (head(&sent[0]), keys)
    };
    assert_eq!(info("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"), ("200".into(), vec![('5', 160)]));
    assert_eq!(info("application/dtmf", "#"), ("200".into(), vec![('#', 100)]));
    assert_eq!(info("application/dtmf", ""), ("200".into(), vec![]));
    assert_eq!(info("application/dtmf-relay", "Signal=flash"), ("415".into(), vec![]));
    assert_eq!(info("application/media_control+xml", "<x/>"), ("415".into(), vec![]));
}
