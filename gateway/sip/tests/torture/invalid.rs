//! RFC 4475 §3.1.2: broken, each answered where an answer is possible
//!
//! Where the RFC leaves it to us, a message whose meaning is not in doubt is
//! served: a citizen's call is worth more than a carrier's grammar.

use crate::common::*;
use crate::notation::wire;
use crate::text::invalid::*;
use crate::{Parser, messages, parse};
use hotline_sip::message::{Message, ParseErrorKind as Kind};

messages! {
    badinv01 Parser::Refuses(Kind::Via), ["400"], BADINV01;
    clerr Parser::Refuses(Kind::ContentLength), ["400"], CLERR;
    ncl Parser::Refuses(Kind::ContentLength), ["400"], NCL;
    scalar02 Parser::Refuses(Kind::CSeq), ["400"], SCALAR02;
    // Responses are dropped: nobody answers those.
    scalarlg Parser::Refuses(Kind::CSeq), [], SCALARLG;
    quotbal Parser::Refuses(Kind::Address), ["400"], QUOTBAL;
    ltgtruri Parser::Refuses(Kind::StartLine), ["400"], LTGTRURI;
    lwsruri Parser::Refuses(Kind::StartLine), ["400"], LWSRURI;
    lwsstart Parser::Refuses(Kind::StartLine), ["400"], LWSSTART;
    trws Parser::Refuses(Kind::StartLine), ["400"], TRWS;
    // The grammar is sound; the endpoint refuses what has no place in a Request-URI.
    escruri Parser::Reads, ["400"], ESCRURI;
    // Our choice: Date means nothing to us, so the call goes on.
    baddate Parser::Forgives, ["100"], BADDATE;
    // Read for the challenge; the registrar refuses it (below).
    regbadct Parser::Forgives, ["401"], REGBADCT;
    // Our choice: spaces inside brackets are passed over.
    badaspec Parser::Forgives, ["200"], BADASPEC;
    // Our choice: From and To hold one address, so the missing quotes can be inferred.
    baddn Parser::Forgives, ["200"], BADDN;
    badvers Parser::Refuses(Kind::Version), ["505"], BADVERS;
    mismatch01 Parser::Refuses(Kind::CSeq), ["400"], MISMATCH01;
    mismatch02 Parser::Refuses(Kind::Method), ["501"], MISMATCH02;
    bigcode Parser::Refuses(Kind::StartLine), [], BIGCODE;
}

#[test]
fn an_answer_to_a_broken_request_is_itself_sound() {
    let texts = [BADINV01, CLERR, NCL, SCALAR02, QUOTBAL, LTGTRURI, LWSRURI, LWSSTART, TRWS, BADVERS, MISMATCH02];
    for text in texts {
        let mut gateway = Gateway::new();
        let answer = gateway.feed(TRUNK, wire(text)).remove(0);
        let header = |text: &str, name: &str| {
            let line = text.lines().find(|l| l.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase()));
            line.map(|l| l.split_once(':').unwrap().1.trim().to_owned()).unwrap()
        };
        assert_eq!(header(&answer, "Call-ID"), header(&String::from_utf8_lossy(&wire(text)), "Call-ID"));
        assert!(header(&answer, "To").contains("tag="), "{answer}");
        assert!(answer.ends_with("Content-Length: 0\r\n\r\n"), "{answer}");
    }
}

#[test]
fn over_tcp_a_message_longer_than_what_came_waits_for_the_rest() {
    let mut gateway = Gateway::new();
    let bytes = wire(CLERR);
    assert!(gateway.feed_tcp(1, TRUNK, &bytes).is_empty());
    let body = bytes.len() - bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() - 4;
    assert_eq!(heads(&gateway.feed_tcp(1, TRUNK, &vec![b'\n'; 9999 - body])), ["100"]);
    assert!(gateway.closed.is_empty());
}

#[test]
fn over_tcp_a_negative_length_is_answered_and_the_connection_closed() {
    let mut gateway = Gateway::new();
    assert_eq!(heads(&gateway.feed_tcp(1, TRUNK, &wire(NCL))), ["400"]);
    assert_eq!(gateway.closed, [1]);
}

#[test]
fn an_unbracketed_contact_with_header_fields_is_refused_by_the_registrar() {
    let answer = crate::application::registered(REGBADCT, "user");
    assert_eq!(head(&answer), "400", "{answer}");
}

#[test]
fn names_without_quotes_are_read_up_to_the_bracket() {
    let m = parse(BADDN);
    assert_eq!(m.from().unwrap().display().as_deref(), Some("Bell, Alexander"));
    assert_eq!(m.to().unwrap().number(), "t.watson");
    assert_eq!(parse(BADASPEC).to().unwrap().number(), "t.watson");
}

// The RFC's archive has this message without the empty line that ends its headers.
#[test]
fn headers_without_an_end_are_refused() {
    let bytes = wire(BADDN);
    assert_eq!(Message::parse(&bytes[..bytes.len() - 2]).unwrap_err().kind, Kind::HeaderLine);
    assert_eq!(heads(&Gateway::new().feed(TRUNK, &bytes[..bytes.len() - 2])), ["400"]);
}
