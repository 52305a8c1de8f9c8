//! SIP over TCP
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

fn tcp(text: &str) -> String {
    text.replace("SIP/2.0/UDP", "SIP/2.0/TCP")
}

#[test]
fn a_call_in_single_bytes_is_a_call() {
    let mut gateway = Gateway::new();
    let mut sent = Vec::new();
    for byte in tcp(&invite("a").text()).as_bytes() {
        sent.extend(gateway.feed_tcp(7, "192.0.2.9:40001", &[*byte]));
    }
    assert_eq!(heads(&sent), ["100"]);
    let (id, invite) = gateway.incoming();
    assert_eq!((invite.flow.conn, gateway.last_flow().conn), (Some(7), Some(7)));
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let ok = gateway.drain().remove(0);
    assert!(header(&ok, "Contact").contains(";transport=tcp"));
    let ack = tcp(&Req { to_tag: &tag_of(&ok, "To"), ..req("ACK", "b") }.text());
    gateway.feed_tcp(7, "192.0.2.9:40001", ack.as_bytes());
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { .. }]));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert!(gateway.drain()[0].contains("Via: SIP/2.0/TCP 10.0.0.1:5060"));
    assert_eq!(gateway.last_flow().conn, Some(7), "the open connection is used again");
}

#[test]
fn many_messages_in_one_chunk_and_keep_alives() {
    let mut gateway = Gateway::new();
    let one = tcp(&req("OPTIONS", "a").text());
    let two = tcp(&Req { sdp: OFFER, ..req("OPTIONS", "b") }.text());
    let sent = gateway.feed_tcp(1, TRUNK, format!("\r\n\r\n{one}\r\n{two}{one}").as_bytes());
    assert_eq!(sent[0], "\r\n");
    assert_eq!(heads(&sent[1..]), ["200", "200", "200"]);
}

#[test]
fn a_stream_that_cannot_be_followed_is_closed() {
    let mut gateway = Gateway::new();
    gateway.feed_tcp(3, TRUNK, b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -5\r\n\r\n");
    assert_eq!(gateway.closed, [3]);
    for _ in 0..80 {
        gateway.feed_tcp(4, TRUNK, &[b'x'; 1_000]);
    }
    assert_eq!(gateway.closed[..2], [3, 4]);
}

#[test]
fn a_message_held_back_closes_its_connection() {
    let mut gateway = Gateway::new();
    gateway.feed_tcp(5, TRUNK, b"OPTIONS sip:a SIP/2.0\r\n");
    gateway.pass(29_999);
    gateway.feed_tcp(5, TRUNK, b"Via");
    assert!(gateway.closed.is_empty());
    gateway.pass(1);
    assert_eq!(gateway.closed, [5]);
    gateway.feed_tcp(6, TRUNK, tcp(&req("OPTIONS", "a").text()).as_bytes());
    gateway.pass(600_000);
    assert_eq!(gateway.closed, [5], "an idle connection stays");
}

#[test]
fn a_broken_message_in_a_sound_frame_gets_400_and_the_stream_goes_on() {
    let mut gateway = Gateway::new();
    let bad = tcp(&req("OPTIONS", "a").text()).replace("1 OPTIONS", "x OPTIONS");
    let good = tcp(&req("OPTIONS", "b").text());
    assert_eq!(heads(&gateway.feed_tcp(5, TRUNK, (bad + &good).as_bytes())), ["400", "200"]);
}

fn tcp_dial() -> Dial {
    let dial = dial_to(TRUNK);
    let Target::Uri { uri, remote, local, .. } = dial.target.clone() else { unreachable!() };
    Dial { target: Target::Uri { uri, transport: Transport::Tcp, remote, local }, ..dial }
}

#[test]
fn our_call_over_tcp_is_never_repeated_and_learns_its_connection() {
    let mut gateway = Gateway::new();
    let id = gateway.ep.dial(gateway.now, tcp_dial()).unwrap();
    let invite = gateway.drain().remove(0);
    assert_eq!(gateway.last_flow().conn, None);
    assert!(gateway.pass(10_000).is_empty());
    let ok = answer(&invite, 200, "rt", "Contact: <sip:x@192.0.2.9>\r\n", ANSWER);
    assert_eq!(heads(&gateway.feed_tcp(9, TRUNK, ok.as_bytes())), ["ACK"]);
    assert_eq!(gateway.last_flow().conn, Some(9));
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    assert_eq!((heads(&gateway.drain()), gateway.last_flow().conn), (vec!["BYE".to_owned()], Some(9)));
}

#[test]
fn a_connection_that_breaks_or_never_opens_fails_the_call() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, tcp_dial()).unwrap();
    gateway.drain();
    let flow = gateway.last_flow();
    gateway.ep.send_failed(gateway.now, flow);
    gateway.drain();
    assert!(matches!(gateway.take_events().as_slice(), [Event::Failed { code: 503, .. }]));
    assert_eq!((gateway.ep.stats().transactions, gateway.ep.poll_timeout()), (0, None));
}
