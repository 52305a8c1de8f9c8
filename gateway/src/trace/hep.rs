//! HEP version 3, the Extensible Encapsulation Protocol of Homer: each SIP message with its addresses
//! and time as chunks of (vendor 2, type 2, length 2, payload), all in network order.

use std::net::{IpAddr, SocketAddr};

use super::limits::HEP_PACKET_BYTES_MAX;
use super::message::{Traced, Way};

/// What identifies us to the collector.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// Capture agent id, chunk 12.
    pub capture_id: u32,
    /// Authenticate key, chunk 14; empty: none.
    pub password: String,
}

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 10;
const PROTO_TCP: u8 = 6;
const PROTO_UDP: u8 = 17;
const TYPE_SIP: u8 = 1;

/// One packet; `payload` is the message as it may be shown, `correlation` names the call. `None`: too long.
#[must_use]
pub fn encode(sender: &Sender, message: &Traced, payload: &[u8], correlation: &str) -> Option<Vec<u8>> {
    let (source, destination) = match message.way {
        Way::In => (message.remote, message.local),
        Way::Out => (message.local, message.remote),
    };
    let mut packet = Vec::with_capacity(payload.len() + correlation.len() + 160);
    packet.extend_from_slice(b"HEP3\0\0");
    let is_v4 = source.ip().to_canonical().is_ipv4() && destination.ip().to_canonical().is_ipv4();
    chunk(&mut packet, 1, &[if is_v4 { FAMILY_V4 } else { FAMILY_V6 }]);
    let proto = if message.transport == "udp" { PROTO_UDP } else { PROTO_TCP };
    chunk(&mut packet, 2, &[proto]);
    address(&mut packet, is_v4, [3, 5], source);
    address(&mut packet, is_v4, [4, 6], destination);
    chunk(&mut packet, 7, &source.port().to_be_bytes());
    chunk(&mut packet, 8, &destination.port().to_be_bytes());
    let seconds = u32::try_from(message.at_us.div_euclid(1_000_000)).unwrap_or_default();
    let micros = u32::try_from(message.at_us.rem_euclid(1_000_000)).unwrap_or_default();
    chunk(&mut packet, 9, &seconds.to_be_bytes());
    chunk(&mut packet, 10, &micros.to_be_bytes());
    chunk(&mut packet, 11, &[TYPE_SIP]);
    chunk(&mut packet, 12, &sender.capture_id.to_be_bytes());
    if !sender.password.is_empty() {
        chunk(&mut packet, 14, sender.password.as_bytes());
    }
    if packet.len() + payload.len() + correlation.len() + 12 > HEP_PACKET_BYTES_MAX {
        return None;
    }
    chunk(&mut packet, 15, payload);
    if !correlation.is_empty() {
        chunk(&mut packet, 17, correlation.as_bytes());
    }
    let length = u16::try_from(packet.len()).ok()?;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    Some(packet)
}

fn address(packet: &mut Vec<u8>, is_v4: bool, [v4, v6]: [u16; 2], of: SocketAddr) {
    match (of.ip().to_canonical(), is_v4) {
        (IpAddr::V4(ip), true) => chunk(packet, v4, &ip.octets()),
        (IpAddr::V4(ip), false) => chunk(packet, v6, &ip.to_ipv6_mapped().octets()),
        (IpAddr::V6(ip), _) => chunk(packet, v6, &ip.octets()),
    }
}

fn chunk(packet: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    // The vendor of the generic chunks is 0; the length counts the six bytes of the chunk's own head.
    packet.extend_from_slice(&0u16.to_be_bytes());
    packet.extend_from_slice(&kind.to_be_bytes());
    let length = u16::try_from(payload.len() + 6).unwrap_or(u16::MAX);
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::super::message::sample;
    use super::*;

    #[test]
    fn a_packet_is_what_the_specification_draws() {
        let message = sample(1_700_000_000_000_001, Way::In, "192.0.2.9:5062", b"");
        let sender = Sender { capture_id: 2_001, password: "pw".into() };
        let packet = encode(&sender, &message, b"OPTIONS", "call").unwrap();
        let expected: Vec<u8> = [
            &b"HEP3"[..],
            &[0, 118],
            &[0, 0, 0, 1, 0, 7, 2],
            &[0, 0, 0, 2, 0, 7, 17],
            &[0, 0, 0, 3, 0, 10, 192, 0, 2, 9],
            &[0, 0, 0, 4, 0, 10, 10, 0, 0, 1],
            &[0, 0, 0, 7, 0, 8, 0x13, 0xc6],
            &[0, 0, 0, 8, 0, 8, 0x13, 0xc4],
            &[0, 0, 0, 9, 0, 10, 0x65, 0x53, 0xf1, 0x00],
            &[0, 0, 0, 10, 0, 10, 0, 0, 0, 1],
            &[0, 0, 0, 11, 0, 7, 1],
            &[0, 0, 0, 12, 0, 10, 0, 0, 0x07, 0xd1],
            &[0, 0, 0, 14, 0, 8, b'p', b'w'],
            &[0, 0, 0, 15, 0, 13],
            b"OPTIONS",
            &[0, 0, 0, 17, 0, 10],
            b"call",
        ]
        .concat();
        let mut expected = expected;
        let length = u16::try_from(expected.len()).unwrap();
        expected[4..6].copy_from_slice(&length.to_be_bytes());
        assert_eq!(packet, expected);
    }

    #[test]
    fn the_address_that_sent_is_the_source_and_ipv6_has_its_own_chunks() {
        let message = Traced {
            local: "[2001:db8::1]:5060".parse().unwrap(),
            remote: "[2001:db8::2]:5060".parse().unwrap(),
            ..sample(1, Way::Out, "192.0.2.9:5062", b"")
        };
        let packet = encode(&Sender::default(), &message, b"x", "").unwrap();
        let source = [&[0, 0, 0, 5, 0, 22, 0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[1]].concat();
        assert!(packet.windows(source.len()).any(|w| w == source));
        assert_eq!(packet[12], FAMILY_V6);
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_not_sent() {
        let message = sample(1, Way::In, "192.0.2.9:5062", b"");
        assert!(encode(&Sender::default(), &message, &[b'x'; 65_000], "").is_none());
        assert!(encode(&Sender::default(), &message, &[b'x'; 60_000], "").is_some());
    }
}
