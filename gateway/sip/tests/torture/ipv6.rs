//! RFC 5118: IPv6 addresses

use crate::notation::wire;
use crate::text::ipv6::*;
use crate::{Parser, messages, parse};
use hotline_sip::message::{HeaderName, Uri, Via};

messages! {
    ipv6_good Parser::Reads, ["401"], IPV6_GOOD;
    // Without brackets the address is no host and the rest no port.
    ipv6_bad Parser::Reads, ["400"], IPV6_BAD;
    port_ambiguous Parser::Reads, ["401"], PORT_AMBIGUOUS;
    port_unambiguous Parser::Reads, ["401"], PORT_UNAMBIGUOUS;
    via_received_param_with_delim Parser::Reads, ["481"], VIA_RECEIVED_PARAM_WITH_DELIM;
    via_received_param_no_delim Parser::Reads, ["200"], VIA_RECEIVED_PARAM_NO_DELIM;
    ipv6_in_sdp Parser::Reads, ["100"], IPV6_IN_SDP;
    mult_ip_in_header Parser::Reads, ["481"], MULT_IP_IN_HEADER;
    mult_ip_in_sdp Parser::Reads, ["100"], MULT_IP_IN_SDP;
    ipv4_mapped_ipv6 Parser::Reads, ["100"], IPV4_MAPPED_IPV6;
    // The grammar of RFC 3261 allowed a third colon: both forms are the same address.
    ipv6_bug_abnf_3_colons Parser::Reads, ["200"], IPV6_BUG_ABNF_3_COLONS;
    ipv6_correct_abnf_2_colons Parser::Reads, ["200"], IPV6_CORRECT_ABNF_2_COLONS;
}

fn uri_of(text: &str) -> (String, Option<u16>) {
    let m = parse(text);
    let uri = Uri::parse(m.uri()).unwrap();
    (uri.ip().unwrap().to_string(), uri.port)
}

#[test]
fn a_port_stands_outside_the_brackets() {
    assert_eq!(uri_of(IPV6_GOOD), ("2001:db8::10".into(), None));
    assert_eq!(uri_of(PORT_AMBIGUOUS), ("2001:db8::10:5070".into(), None));
    assert_eq!(uri_of(PORT_UNAMBIGUOUS), ("2001:db8::10".into(), Some(5070)));
}

#[test]
fn received_may_have_brackets_or_none() {
    let received = |text| parse(text).via().unwrap().param("received").map(<[u8]>::to_vec);
    assert_eq!(received(VIA_RECEIVED_PARAM_WITH_DELIM).as_deref(), Some(&b"[2001:db8::9:255]"[..]));
    assert_eq!(received(VIA_RECEIVED_PARAM_NO_DELIM).as_deref(), Some(&b"2001:db8::9:255"[..]));
}

#[test]
fn addresses_of_both_kinds_stand_side_by_side() {
    let m = parse(MULT_IP_IN_HEADER);
    let vias: Vec<_> = m.elements(HeaderName::Via).map(|v| Via::parse(v).unwrap()).collect();
    assert_eq!((vias[0].host, vias[0].port), ("2001:db8::9:1", Some(6050)));
    assert_eq!((vias[1].host, vias[2].host), ("192.0.2.1", "2001:db8::9:255"));
    let m = parse(IPV4_MAPPED_IPV6);
    assert_eq!((m.via().unwrap().host, m.via().unwrap().port), ("::ffff:192.0.2.10", Some(19823)));
    assert!(String::from_utf8(wire(IPV4_MAPPED_IPV6)).unwrap().contains("c=IN IP6 ::ffff:192.0.2.2"));
}

#[test]
fn a_third_colon_changes_nothing() {
    assert_eq!(uri_of(IPV6_BUG_ABNF_3_COLONS), uri_of(IPV6_CORRECT_ABNF_2_COLONS));
    assert_eq!(Uri::parse(b"sip:a@[2001:db8:::1]").map(|u| u.host.to_owned()).ok(), None, "no IPv4 part, no pardon");
}
