//! RFC 4475 §3.3 and §3.4: sound messages that want care above the parser

use crate::common::*;
use crate::notation::wire;
use crate::text::application::*;
use crate::{Parser, messages, parse};
use hotline_sip::message::ParseErrorKind as Kind;
use hotline_sip::{Dial, Event, Target, digest};

messages! {
    insuf Parser::Refuses(Kind::Missing), ["400"], INSUF;
    unkscm Parser::Reads, ["416"], UNKSCM;
    novelsc Parser::Reads, ["416"], NOVELSC;
    // An address of record is a SIP URI, so the registrar refuses before it challenges.
    unksm2 Parser::Reads, ["400"], UNKSM2;
    bext01 Parser::Reads, ["420"], BEXT01;
    invut Parser::Reads, ["415"], INVUT;
    regaut01 Parser::Reads, ["401"], REGAUT01;
    multi01 Parser::Refuses(Kind::Repeated), ["400"], MULTI01;
    mcl01 Parser::Refuses(Kind::Repeated), ["400"], MCL01;
    bcast Parser::Reads, [], BCAST;
    // An endpoint goes on; only who forwards has to stop.
    zeromf Parser::Reads, ["200"], ZEROMF;
    cparam01 Parser::Reads, ["401"], CPARAM01;
    cparam02 Parser::Reads, ["401"], CPARAM02;
    regescrt Parser::Reads, ["401"], REGESCRT;
    sdp01 Parser::Reads, ["406"], SDP01;
    inv2543 Parser::Reads, ["100"], INV2543;
}

/// The final answer to a REGISTER of the RFC's once `name` has proven its password
pub fn registered(text: &str, name: &str) -> String {
    register(&mut gateway_of(name), text, name)
}

fn gateway_of(name: &str) -> Gateway {
    let mut gateway = Gateway::new();
    gateway.ep.set_users(gateway.now, vec![user(name, "secret")]);
    gateway
}

fn register(gateway: &mut Gateway, text: &str, name: &str) -> String {
    let text = String::from_utf8(wire(text)).unwrap();
    let challenge = gateway.feed(PHONE, &text).remove(0);
    assert_eq!(head(&challenge), "401", "{challenge}");
    let line = authorize(&challenge, digest::Algorithm::Sha256, "REGISTER", name, "secret", "00000001");
    gateway.feed(PHONE, text.replacen("\r\n\r\n", &format!("\r\n{line}\r\n"), 1)).remove(0)
}

#[test]
fn the_answers_say_what_is_not_supported() {
    let mut gateway = Gateway::new();
    let answer = gateway.feed(TRUNK, wire(BEXT01)).remove(0);
    assert_eq!(header(&answer, "Unsupported"), "nothingSupportsThis, nothingSupportsThisEither");
    assert_eq!(header(&gateway.feed(TRUNK, wire(INVUT))[0], "Accept"), "application/sdp");
}

#[test]
fn over_tcp_two_lengths_are_answered_and_the_connection_closed() {
    let mut gateway = Gateway::new();
    assert_eq!(heads(&gateway.feed_tcp(1, TRUNK, &wire(MCL01))), ["400"]);
    assert_eq!(gateway.closed, [1]);
}

#[test]
fn other_authentication_schemes_are_passed_over() {
    assert_eq!(digest::Credentials::parse(b"NoOneKnowsThisScheme opaque-data=here"), None);
    let answer = registered(REGAUT01, "j.user");
    assert_eq!(head(&answer), "200", "{answer}");
}

#[test]
fn a_parameter_beside_a_bare_contact_is_not_part_of_its_uri() {
    let contact = |text| header(&registered(text, "watson"), "Contact");
    assert!(contact(CPARAM01).starts_with("<sip:+19725552222@gw1.example.net>"));
    assert!(contact(CPARAM02).starts_with("<sip:+19725552222@gw1.example.net;unknownparam>"));
}

#[test]
fn header_fields_of_a_contact_are_kept_but_never_dialled() {
    let mut gateway = gateway_of("user");
    let answer = register(&mut gateway, REGESCRT, "user");
    assert!(
        header(&answer, "Contact").starts_with("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
        "{answer}"
    );
    gateway.drain();
    let dial = Dial { target: Target::Binding { user: "user".into() }, ..dial_to(TRUNK) };
    gateway.ep.dial(gateway.now, dial).unwrap();
    let invite = gateway.drain().remove(0);
    assert!(invite.starts_with("INVITE sip:user@example.com SIP/2.0\r\n"), "{invite}");
    assert!(!invite.contains("Route"), "{invite}");
}

#[test]
fn an_offer_is_taken_where_accept_allows_sdp() {
    for accept in ["application/sdp", "text/plain, application/SDP;level=1", "application/*", "*/*"] {
        let extra = format!("Accept: {accept}\r\n");
        assert_eq!(heads(&Gateway::new().feed(TRUNK, Req { extra, ..invite("a") }.text())), ["100"], "{accept}");
    }
}

#[test]
fn unknown_schemes_of_names_are_kept() {
    let m = parse(UNKSM2);
    assert_eq!(m.to().unwrap().parsed_uri().unwrap().scheme, "isbn");
    assert_eq!(m.from().unwrap().parsed_uri().unwrap().scheme, "http");
}

// §3.4: without branch, Max-Forwards, Contact, tag or Content-Length.
#[test]
fn a_call_of_rfc_2543_is_served_to_its_ack() {
    let mut gateway = Gateway::new();
    let text = String::from_utf8(wire(INV2543)).unwrap();
    assert_eq!(heads(&gateway.feed(TRUNK, &text)), ["100"]);
    assert_eq!(gateway.feed(TRUNK, &text).len(), 1, "the repetition is known");
    let (id, call) = gateway.incoming();
    assert_eq!((call.request_user.as_str(), call.from_user.as_str()), ("UserB", "+13035551111"));
    assert!(call.sdp.is_some());
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    let ack = text.split("\r\n\r\n").next().unwrap().replace("INVITE", "ACK");
    let ack = ack.replace(
        "To: sip:+16505552222@ss1.example.net;user=phone",
        &format!("To: sip:+16505552222@ss1.example.net;user=phone;tag={tag}"),
    );
    gateway.feed(TRUNK, ack + "\r\n\r\n");
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { .. }]));
}
