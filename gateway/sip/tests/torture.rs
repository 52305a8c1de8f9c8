//! The properties RFC 4475 tests, one message each
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;

use hotline_sip::message::{HeaderName, Message, Method, NameAddr, ParseErrorKind, Uri};
use hotline_sip::{Event, digest};

fn parse(text: &str) -> Message {
    let bytes = crlf(text);
    Message::parse(&bytes).unwrap_or_else(|e| panic!("{e}:\n{text}"))
}

fn kind(text: &str) -> ParseErrorKind {
    Message::parse(&crlf(text)).unwrap_err().kind
}

/// Written with plain line ends for reading; a leading `|` keeps a fold's indentation
fn crlf(text: &str) -> Vec<u8> {
    let lines: Vec<&str> = text.lines().map(|l| l.trim_start().trim_start_matches('|')).collect();
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

fn message(start: &str, fields: &str) -> String {
    let method = start.split(' ').next().unwrap();
    let cseq = if fields.contains("CSeq") { String::new() } else { format!("CSeq: 1 {method}\n") };
    format!(
        "{start}\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>\nCall-ID: c\n{cseq}{fields}"
    )
}

// §3.1.1.1: every freedom of white space, folds, case, compact forms and unknown parameters at once.
#[test]
fn a_short_tortuous_invite() {
    let m = parse(
        "INVITE sip:vivian@citizens.example;unknownparam SIP/2.0
        TO :
        | sip:vivian@citizens.example ;   tag    = 1918181833n
        from   : \"J Rosen \\\\\\\"\"       <sip:jr@carrier.example>
        |  ;
        |  tag = 98asjd8
        MaX-fOrWaRdS: 0068
        Call-ID: wsinv.ndaksdj@192.0.2.1
        Content-Length   : 0
        cseq: 0009
        |  INVITE
        Via  : SIP  /   2.0
        | /UDP
        |    192.0.2.2;branch=390skdjuw
        s :
        NewFangledHeader:   newfangled value
        | continued newfangled value
        UnknownHeaderWithUnusualValue: ;;,,;;,;
        Content-Type: application/sdp
        Route:
        | <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;
        |  branch  =   z9hG4bK9ikj8  ,
        | SIP  /    2.0   / UDP  192.168.255.111   ; branch=
        | z9hG4bK30239
        m:\"Quoted string \\\"\\\"\" <sip:jr@carrier.example> ; newparam =
        |      newvalue ;
        |  secondparam ; q = 0.33",
    );
    assert_eq!(m.method(), Method::Invite);
    assert_eq!((m.cseq(), m.number(HeaderName::MaxForwards)), (9, Some(68)));
    assert_eq!(m.to_tag(), b"1918181833n");
    assert_eq!(m.from_tag(), b"98asjd8");
    assert_eq!(m.from().unwrap().display().as_deref(), Some("J Rosen \\\""));
    assert_eq!(m.elements(HeaderName::Via).count(), 3);
    assert_eq!(m.via().unwrap().branch(), b"390skdjuw");
    let contact = m.contact().unwrap();
    assert_eq!((contact.display().as_deref(), contact.param("q")), (Some("Quoted string \"\""), Some(&b"0.33"[..])));
    assert_eq!(m.header_named("unknownheaderwithunusualvalue"), Some(&b";;,,;;,;"[..]));
    assert!(NameAddr::parse(m.header(HeaderName::Route).unwrap()).unwrap().parsed_uri().unwrap().param("lr").is_some());
}

// §3.1.1.2: every character a token may have, in method, parameters and Call-ID.
#[test]
fn a_wide_range_of_valid_characters() {
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let m = parse(&format!(
        "{method} sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0
        Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
        To: \"BEL:\u{7} NUL:\u{0} DEL:\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
        From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\";tag=_token~1'+`*%!-.
        Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}}{{
        CSeq: 139122385 {method}
        Max-Forwards: 255
        extensionHeader-!.%*+_`'~:\u{fffd}\u{5927}\u{505c}\u{96fb}"
    ));
    assert_eq!((m.method(), m.method_text()), (Method::Other, method));
    let uri = Uri::parse(m.uri()).unwrap();
    assert_eq!(uri.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
    assert_eq!(uri.host, "example.com");
    assert_eq!(m.from_tag(), b"_token~1'+`*%!-.");
    assert_eq!(m.call_id(), b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
}

// §3.1.1.3–5: escapes stay escapes, also an escaped NUL.
#[test]
fn escaped_characters_in_uris() {
    let m = parse(&message(
        "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
        "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
    ));
    assert_eq!(Uri::parse(m.uri()).unwrap().number(), "sips:user@example.com");
    let contact = m.contact().unwrap().parsed_uri().unwrap();
    assert_eq!((contact.number(), contact.param("lr")), ("caller".into(), None));
    let m = parse(&message(
        "REGISTER sip:example.com SIP/2.0",
        "Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>",
    ));
    let users: Vec<_> = m.elements(HeaderName::Contact).map(|c| NameAddr::parse(c).unwrap().number()).collect();
    assert_eq!(users, ["\0", "\0\0"]);
    // A percent sign in a method is no escape.
    assert_eq!(parse(&message("RE%47IST%45R sip:h SIP/2.0", "")).method(), Method::Other);
}

// §3.1.1.6: no white space between display name and bracket.
#[test]
fn a_display_name_may_touch_its_bracket() {
    let m = parse(&message("OPTIONS sip:h SIP/2.0", "").replace("From: <sip:a@h>", "From: caller<sip:a@h>"));
    assert_eq!((m.from().unwrap().display().as_deref(), m.from_tag()), (Some("caller"), &b"1"[..]));
}

// §3.1.1.7: long values everywhere.
#[test]
fn long_values_are_kept() {
    let long = "verylong".repeat(60);
    let vias: String = (0..34).map(|i| format!("Via: SIP/2.0/TCP sip{i}.example.com\n")).collect();
    let m = parse(&format!(
        "INVITE sip:{long}@example.com;{long}={long} SIP/2.0\n{vias}To: \"{long}\" <sip:{long}@h>\nFrom: <sip:{long}@h>;tag={long}\n\
         Call-ID: {long}\nCSeq: 3882340 INVITE\nUnknown-{long}: {long}"
    ));
    assert_eq!(m.elements(HeaderName::Via).count(), 34);
    assert_eq!((m.from_tag(), m.call_id()), (long.as_bytes(), long.as_bytes()));
}

// §3.1.1.8: octets after Content-Length don't belong to the message.
#[test]
fn octets_beyond_the_body_are_ignored() {
    let mut bytes = crlf(&message("REGISTER sip:example.com SIP/2.0", "Content-Length: 0"));
    bytes.extend_from_slice(b"INVITE sip:joe@example.com SIP/2.0\r\nt: sip:joe@example.com\r\n\r\n");
    let m = Message::parse(&bytes).unwrap();
    assert_eq!((m.method(), m.body()), (Method::Register, &b""[..]));
}

// §3.1.1.9: a semicolon in the user part.
#[test]
fn a_semicolon_in_the_user_part() {
    let m = parse(&message("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", "Accept: application/sdp"));
    let uri = Uri::parse(m.uri()).unwrap();
    assert_eq!((uri.user, uri.host, uri.params), (Some(&b"user;par=u%40example.net"[..]), "example.com", &b""[..]));
}

// §3.1.1.10: transports nobody knows.
#[test]
fn unknown_transports_in_via() {
    let m = parse(&message(
        "OPTIONS sip:user@example.com SIP/2.0",
        "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKb\nVia: SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKd\nVia: SIP/2.0/TLS t4.example.com",
    ));
    let transports: Vec<_> = m.elements(HeaderName::Via).map(|v| String::from_utf8_lossy(v).into_owned()).collect();
    assert_eq!(transports.len(), 4);
}

// §3.1.1.11: a body in parts, bytes of any value.
#[test]
fn a_binary_body_is_kept() {
    let mut bytes =
        crlf(&message("MESSAGE sip:b@h SIP/2.0", "Content-Type: multipart/mixed;boundary=7a9c\nContent-Length: 260"));
    let body: Vec<u8> = (0..260_u16).map(|i| u8::try_from(i % 256).unwrap()).collect();
    bytes.extend_from_slice(&body);
    assert_eq!(Message::parse(&bytes).unwrap().body(), body);
}

// §3.1.1.12–13: reason phrases in any language, or none.
#[test]
fn reason_phrases_of_any_kind() {
    let fields = message("X", "CSeq: 35 INVITE");
    let fields = fields.split_once('\n').unwrap().1;
    let m = parse(&format!("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое\n{fields}"));
    assert_eq!((m.code(), m.method()), (200, Method::Invite));
    assert!(String::from_utf8_lossy(m.reason()).ends_with("простое"));
    assert_eq!(parse(&format!("SIP/2.0 100 \n{fields}")).reason(), b"");
    assert_eq!(kind(&format!("SIP/2.0 4294967301 better not break the receiver\n{fields}")), ParseErrorKind::StartLine);
}

// §3.1.2: what is invalid, and why.
#[test]
fn invalid_messages_are_named() {
    let invite = "INVITE sip:user@example.com SIP/2.0";
    let bad = |fields: &str| kind(&message(invite, fields));
    assert_eq!(
        kind(&message(invite, "").replace("Via: SIP/2.0/UDP 192.0.2.9", "Via: SIP/2.0/UDP 192.0.2.15;;,;,,")),
        ParseErrorKind::Via
    );
    assert_eq!(bad("Content-Length: 9999"), ParseErrorKind::ContentLength);
    assert_eq!(bad("Content-Length: -999"), ParseErrorKind::ContentLength);
    assert_eq!(bad("CSeq: 36893488147419103232 INVITE"), ParseErrorKind::CSeq);
    assert_eq!(bad("CSeq: 2147483648 INVITE"), ParseErrorKind::CSeq);
    assert_eq!(bad("CSeq: 8 OPTIONS"), ParseErrorKind::CSeq);
    assert_eq!(bad("Max-Forwards: 300"), ParseErrorKind::MaxForwards);
    assert_eq!(bad("To: <sip:c@h>"), ParseErrorKind::Repeated);
    assert_eq!(bad("Not a header line"), ParseErrorKind::HeaderLine);
    let quote = message(invite, "").replace("To: <sip:b@h>", "To: \"Mr. J. User <sip:j.user@example.com>");
    assert_eq!(kind(&quote), ParseErrorKind::Address);
    for start in [
        "INVITE <sip:user@example.com> SIP/2.0",
        "INVITE sip:user@example.com; lr SIP/2.0",
        "INVITE  sip:user@example.com  SIP/2.0",
        "INVITE sip:user@example.com SIP/2.0  ",
        "INVITE sip:user@example.com",
        "INVITE",
    ] {
        assert_eq!(kind(&message(start, "CSeq: 1 INVITE")), ParseErrorKind::StartLine, "{start}");
    }
    assert_eq!(kind(&message("OPTIONS sip:t1@h SIP/7.0", "")), ParseErrorKind::Version);
    let missing = message(invite, "").replace("Call-ID: c\n", "");
    assert_eq!(kind(&missing), ParseErrorKind::Missing);
}

// §3.2: a branch without the rest of its name.
#[test]
fn a_via_branch_of_the_cookie_alone_is_matched_the_old_way() {
    let mut gateway = Gateway::new();
    let text = invite("").text();
    assert_eq!(heads(&gateway.feed(TRUNK, &text)), ["100"]);
    assert_eq!(heads(&gateway.feed(TRUNK, &text)), ["100"]);
    let other = text.replace("call-1", "call-2");
    assert_eq!(heads(&gateway.feed(TRUNK, other)), ["100"]);
    assert_eq!(gateway.ep.stats().sessions, 2);
}

// §3.3.4–6: schemes.
#[test]
fn unknown_schemes_are_416_in_the_request_and_kept_elsewhere() {
    let mut gateway = Gateway::new();
    for uri in ["nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002"] {
        assert_eq!(heads(&gateway.feed(TRUNK, Req { uri, ..invite("a") }.text())), ["416"]);
    }
    let m = parse(&message("REGISTER sip:h SIP/2.0", "").replace("To: <sip:b@h>", "To: isbn:2983792873"));
    assert_eq!(m.to().unwrap().parsed_uri().unwrap().scheme, "isbn");
}

// §3.3.8: an unacceptable body of unknown type, and §3.3.13: strange Authorization.
#[test]
fn other_authentication_schemes_are_passed_over() {
    let mut gateway = Gateway::new();
    let extra = "Authorization: NoOneKnowsThisScheme opaque-data=here\r\n".to_owned();
    let text = Req { extra, via_host: PHONE, ..req("REGISTER", "a") }.text();
    assert_eq!(heads(&gateway.feed(PHONE, text)), ["401"]);
    assert_eq!(digest::Credentials::parse(b"NoOneKnowsThisScheme opaque-data=here"), None);
}

// §3.4: INVITE of RFC 2543, without branch, Max-Forwards, Contact or tag.
#[test]
fn an_old_style_invite_is_served() {
    let mut gateway = Gateway::new();
    let text = format!(
        "INVITE sip:12319@10.0.0.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5060\nFrom: <sip:138@192.0.2.9>\nTo: <sip:12319@10.0.0.1>\n\
         Call-ID: old\nCSeq: 1 INVITE\nContent-Type: application/sdp\n\n{OFFER}"
    );
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    assert_eq!(heads(&gateway.feed(TRUNK, &text)), ["100"]);
    assert_eq!(gateway.feed(TRUNK, &text).len(), 1);
    let (id, call) = gateway.incoming();
    assert_eq!(call.sdp.as_deref(), Some(OFFER.as_bytes()));
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    let ack = text.split("\r\n\r\n").next().unwrap().replace("INVITE", "ACK");
    let ack = ack.replace("To: <sip:12319@10.0.0.1>", &format!("To: <sip:12319@10.0.0.1>;tag={tag}")) + "\r\n\r\n";
    gateway.feed(TRUNK, ack);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { .. }]));
}
