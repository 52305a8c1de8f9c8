//! RFC 4475 §3.1.1: strange, but sound

use crate::common::*;
use crate::notation::wire;
use crate::text::valid::*;
use crate::{Parser, messages, parse};
use hotline_sip::message::{HeaderName, Method, NameAddr, Uri};

messages! {
    // Its To carries a tag, and there is no such dialog.
    wsinv Parser::Reads, ["481"], WSINV;
    intmeth Parser::Reads, ["501"], INTMETH;
    esc01 Parser::Reads, ["100"], ESC01;
    escnull Parser::Reads, ["401"], ESCNULL;
    // A percent sign in a method is no escape: this is no REGISTER.
    esc02 Parser::Reads, ["501"], ESC02;
    lwsdisp Parser::Reads, ["200"], LWSDISP;
    longreq Parser::Reads, ["100"], LONGREQ;
    // Octets after the message don't count: one request, one answer.
    dblreq Parser::Reads, ["401"], DBLREQ;
    semiuri Parser::Reads, ["200"], SEMIURI;
    transports Parser::Reads, ["200"], TRANSPORTS;
    mpart01 Parser::Reads, ["405"], MPART01;
    unreason Parser::Reads, [], UNREASON;
    noreason Parser::Reads, [], NOREASON;
}

#[test]
fn wsinv_is_read_through_white_space_folds_and_case() {
    let m = parse(WSINV);
    assert_eq!((m.cseq(), m.number(HeaderName::MaxForwards)), (9, Some(68)));
    assert_eq!((m.to_tag(), m.from_tag()), (&b"1918181833n"[..], &b"98asjd8"[..]));
    assert_eq!(m.from().unwrap().display().as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(m.elements(HeaderName::Via).count(), 3);
    assert_eq!((m.via().unwrap().host, m.via().unwrap().branch()), ("192.0.2.2", &b"390skdjuw"[..]));
    let contact = m.contact().unwrap();
    assert_eq!((contact.display().as_deref(), contact.param("q")), (Some("Quoted string \"\""), Some(&b"0.33"[..])));
    assert_eq!(contact.param("newparam"), Some(&b"newvalue"[..]));
    assert_eq!(m.header_named("unknownheaderwithunusualvalue"), Some(&b";;,,;;,;"[..]));
    let route = NameAddr::parse(m.header(HeaderName::Route).unwrap()).unwrap();
    assert!(route.parsed_uri().unwrap().param("lr").is_some());
    assert_eq!(m.body().len(), 150);
}

#[test]
fn intmeth_may_use_every_character() {
    let m = parse(INTMETH);
    assert_eq!((m.method(), m.method_text()), (Method::Other, "!interesting-Method0123456789_*+`.%indeed'~"));
    let uri = Uri::parse(m.uri()).unwrap();
    assert_eq!(uri.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
    assert_eq!(uri.host, "example.com");
    assert_eq!(m.to().unwrap().display().as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(m.from().unwrap().display().as_deref(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(m.from().unwrap().param("fromParam''~+*_!.-%"), Some("\"работающий\"".as_bytes()));
    assert_eq!(m.from_tag(), b"_token~1'+`*%!-.");
    assert_eq!(m.call_id(), b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_eq!(m.header_named("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電".as_bytes()));
}

#[test]
fn escapes_are_resolved_in_users_and_nowhere_else() {
    let mut gateway = Gateway::new();
    gateway.feed(TRUNK, wire(ESC01));
    let (_, call) = gateway.incoming();
    assert_eq!((call.request_user.as_str(), call.from_user.as_str()), ("sips:user@example.com", "I have spaces"));
    let m = parse(ESC01);
    assert_eq!(m.to().unwrap().number(), "user");
    let contact = m.contact().unwrap().parsed_uri().unwrap();
    assert_eq!(
        (contact.number(), contact.param("lr"), contact.param("%6C%72")),
        ("caller".into(), None, Some(&b""[..]))
    );
    let users = |text| -> Vec<_> {
        parse(text).elements(HeaderName::Contact).map(|c| NameAddr::parse(c).unwrap().number()).collect()
    };
    assert_eq!(users(ESCNULL), ["\0", "\0\0"]);
    assert_eq!(parse(ESCNULL).to().unwrap().number(), "null-\0-null");
    assert_eq!(users(ESC02), ["alias1", "alias3"]);
}

#[test]
fn display_names_may_touch_their_bracket() {
    let m = parse(LWSDISP);
    assert_eq!((m.from().unwrap().display().as_deref(), m.from_tag()), (Some("caller"), &b"323"[..]));
}

#[test]
fn long_values_are_kept_whole() {
    let m = parse(LONGREQ);
    assert_eq!(m.elements(HeaderName::Via).count(), 34);
    assert_eq!((m.from_tag().len(), m.call_id().len()), (155, 141));
    assert_eq!(m.from().unwrap().number(), "amazinglylongcallername".repeat(5));
    assert_eq!(m.body().len(), 150);
}

#[test]
fn a_parameter_of_the_user_part_is_no_uri_parameter() {
    let m = parse(SEMIURI);
    let uri = Uri::parse(m.uri()).unwrap();
    assert_eq!((uri.user, uri.host, uri.params), (Some(&b"user;par=u%40example.net"[..]), "example.com", &b""[..]));
}

#[test]
fn an_answer_repeats_vias_of_any_transport() {
    let mut gateway = Gateway::new();
    let answer = &gateway.feed(TRUNK, wire(TRANSPORTS))[0];
    let vias: Vec<_> = answer.lines().filter(|l| l.starts_with("Via: ")).collect();
    assert_eq!(vias.len(), 5);
    assert!(vias[3].starts_with("Via: SIP/2.0/UNKNOWN t4.example.com"), "{vias:?}");
}

#[test]
fn a_binary_body_is_kept_with_its_nuls() {
    let m = parse(MPART01);
    assert_eq!((m.method(), m.body().len()), (Method::Message, 553));
    assert!(m.body().contains(&0) && m.body().ends_with(b"--7a9cbec02ceef655--\r\n"));
}

#[test]
fn a_reason_phrase_may_say_anything_or_nothing() {
    let m = parse(UNREASON);
    assert_eq!((m.code(), m.method(), m.body().len()), (200, Method::Invite, 154));
    assert_eq!(m.reason(), "= 2**3 * 5**2 но сто девяносто девять - простое".as_bytes());
    assert_eq!((parse(NOREASON).code(), parse(NOREASON).reason()), (100, &b""[..]));
}
