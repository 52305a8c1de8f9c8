//! STUN binding requests on the SIP port: keep-alives of phones behind a NAT (RFC 5626 §4.4.2, RFC 8489)

use std::net::{IpAddr, SocketAddr};

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
const HEADER_LEN: usize = 20;

/// The answer to a binding request of RFC 8489; `None` for anything else
pub(crate) fn answer(bytes: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let header = bytes.get(..HEADER_LEN)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_request = header[..2] == BINDING_REQUEST && header[4..8] == MAGIC_COOKIE;
    if !is_request || length % 4 != 0 || bytes.len() != HEADER_LEN + length {
        return None;
    }
    let (family, mut address) = match source.ip().to_canonical() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    // Hidden from NATs that rewrite addresses wherever they see them.
    for (byte, mask) in address.iter_mut().zip(&header[4..]) {
        *byte ^= mask;
    }
    let [high, low] = source.port().to_be_bytes();
    let attribute_len = u8::try_from(4 + address.len()).ok()?;
    let mut out = BINDING_SUCCESS.to_vec();
    out.extend([0, attribute_len + 4]);
    out.extend_from_slice(&header[4..]);
    out.extend(XOR_MAPPED_ADDRESS);
    out.extend([0, attribute_len, 0, family, high ^ MAGIC_COOKIE[0], low ^ MAGIC_COOKIE[1]]);
    out.extend(address);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        bytes.extend([0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE]);
        bytes
    }

    // The mapped addresses and the transaction id of RFC 5769 §2.2 and §2.3.
    #[test]
    fn the_standards_addresses_come_out() {
        let answered = answer(&request(), "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(answered[..4], [1, 1, 0, 12]);
        assert_eq!(answered[4..20], request()[4..20]);
        assert_eq!(answered[20..], [0, 0x20, 0, 8, 0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43]);
        let answered = answer(&request(), "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()).unwrap();
        assert_eq!(answered[2..4], [0, 24]);
        let xored = [1, 0x13, 0xA9, 0xFA, 0xA5, 0xD3, 0xF1, 0x79, 0xBC, 0x25, 0xF4, 0xB5, 0xBE, 0xD2, 0xB9, 0xD9];
        assert_eq!(answered[20..28], [0, 0x20, 0, 20, 0, 2, 0xA1, 0x47]);
        assert_eq!(answered[28..], xored);
    }

    #[test]
    fn anything_else_gets_no_answer() {
        let source = "192.0.2.1:5060".parse().unwrap();
        let change = |at: usize, to: u8| {
            let mut bytes = request();
            bytes[at] = to;
            answer(&bytes, source)
        };
        assert!(change(1, 0x11).is_none() && change(4, 0).is_none() && change(3, 4).is_none());
        assert!(answer(&request()[..19], source).is_none() && answer(b"", source).is_none());
        assert!(answer(&[0; 20], source).is_none());
    }
}
