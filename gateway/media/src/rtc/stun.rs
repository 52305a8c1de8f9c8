//! STUN binding requests as connectivity checks (RFC 8489, RFC 8445 §7.3): read, judged, answered.
//!
//! Who doesn't know the password gets nothing at all: an answer would only serve reflection.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::IceCredentials;
use crate::limits::{STUN_ATTRIBUTES_MAX, STUN_LEN_MAX};

const HEADER_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;
/// From here on an attribute we don't know may be passed over (RFC 8489 §14).
const OPTIONAL_FROM: u16 = 0x8000;
const FINGERPRINT_XOR: u32 = 0x5354_554E;
const INTEGRITY_LEN: usize = 20;

/// Why a datagram is no check of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Not STUN, or broken.
    #[error("malformed STUN")]
    Malformed,
    /// No binding request: a response or an indication, which a lite agent has no use for.
    #[error("no binding request")]
    NoRequest,
    /// Without our user name or our password.
    #[error("not authenticated")]
    Unauthentic,
}

/// What an authentic check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The address it came from is proven.
    Proven {
        /// The browser chooses this address (`USE-CANDIDATE`).
        nominated: bool,
    },
    /// The peer takes us for the one who chooses, which a lite agent never is: 487.
    RoleConflict,
    /// It asks for something we don't know: 420.
    Unknown,
}

/// A check and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it comes to.
    pub answer: Answer,
    /// What to send back to where it came from.
    pub bytes: Vec<u8>,
}

/// What a request says.
#[derive(Default)]
struct Request<'a> {
    username: Option<&'a [u8]>,
    /// Where `MESSAGE-INTEGRITY` begins.
    integrity_at: Option<usize>,
    has_fingerprint: bool,
    nominated: bool,
    controlled: bool,
    unknown: Vec<u16>,
}

/// Judges a datagram from `from`; `remote_ufrag` is the peer's.
///
/// # Errors
/// See [`StunError`]; nothing is to be sent then.
pub fn check(bytes: &[u8], from: SocketAddr, local: &IceCredentials, remote_ufrag: &str) -> Result<Check, StunError> {
    let kind = head(bytes)?;
    match kind {
        BINDING_REQUEST => {}
        BINDING_INDICATION | BINDING_SUCCESS | BINDING_ERROR => return Err(StunError::NoRequest),
        _ => return Err(StunError::Malformed),
    }
    let request = read(bytes)?;
    // RFC 8445 §7.2.2: the receiver's fragment, a colon, the sender's.
    let is_ours = request.username.and_then(|name| std::str::from_utf8(name).ok()).is_some_and(|name| {
        name.split_once(':').is_some_and(|(ours, theirs)| ours == local.ufrag && theirs == remote_ufrag)
    });
    let at = request.integrity_at.filter(|_| is_ours && request.has_fingerprint).ok_or(StunError::Unauthentic)?;
    let tag = bytes.get(at + 4..at + 4 + INTEGRITY_LEN).ok_or(StunError::Malformed)?;
    if !bool::from(integrity(bytes, at, &local.pwd).ct_eq(tag)) {
        return Err(StunError::Unauthentic);
    }
    let (answer, kind) = if !request.unknown.is_empty() {
        (Answer::Unknown, BINDING_ERROR)
    } else if request.controlled {
        (Answer::RoleConflict, BINDING_ERROR)
    } else {
        (Answer::Proven { nominated: request.nominated }, BINDING_SUCCESS)
    };
    let mut out = Writer::new(kind, bytes);
    match answer {
        Answer::Proven { .. } => out.address(from),
        Answer::RoleConflict => out.error(487, "Role Conflict"),
        Answer::Unknown => {
            out.error(420, "Unknown Attribute");
            let list: Vec<u8> = request.unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            out.attribute(UNKNOWN_ATTRIBUTES, &list);
        }
    }
    Ok(Check { answer, bytes: out.finish(&local.pwd) })
}

/// A check as the other side makes it: for measuring and for tests, since we make none.
#[must_use]
pub fn request(transaction: [u8; 12], username: &str, password: &str, nominates: bool) -> Vec<u8> {
    let mut head = [0; HEADER_LEN];
    head[4..8].copy_from_slice(&MAGIC_COOKIE);
    head[8..].copy_from_slice(&transaction);
    let mut out = Writer::new(BINDING_REQUEST, &head);
    out.attribute(PRIORITY, &[0x6E, 0, 1, 0xFF]);
    out.attribute(ICE_CONTROLLING, &[1; 8]);
    if nominates {
        out.attribute(USE_CANDIDATE, &[]);
    }
    out.attribute(USERNAME, username.as_bytes());
    out.finish(password)
}

/// The message type of a whole STUN message.
fn head(bytes: &[u8]) -> Result<u16, StunError> {
    let header = bytes.get(..HEADER_LEN).filter(|_| bytes.len() <= STUN_LEN_MAX).ok_or(StunError::Malformed)?;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[4..8] != MAGIC_COOKIE || len % 4 != 0 || bytes.len() != HEADER_LEN + len {
        return Err(StunError::Malformed);
    }
    Ok(u16::from_be_bytes([header[0], header[1]]))
}

fn read(bytes: &[u8]) -> Result<Request<'_>, StunError> {
    let mut request = Request::default();
    let mut at = HEADER_LEN;
    let mut count = 0;
    while at < bytes.len() {
        count += 1;
        let head = bytes.get(at..at + 4).filter(|_| count <= STUN_ATTRIBUTES_MAX).ok_or(StunError::Malformed)?;
        let (kind, len) = (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[2], head[3]])));
        let value = bytes.get(at + 4..at + 4 + len).ok_or(StunError::Malformed)?;
        // What follows the integrity is not covered by it, the fingerprint aside (RFC 8489 §14.5).
        match kind {
            FINGERPRINT => {
                let is_right = value == (crc32(bytes, at) ^ FINGERPRINT_XOR).to_be_bytes();
                if !is_right || at + 4 + len != bytes.len() {
                    return Err(StunError::Malformed);
                }
                request.has_fingerprint = true;
            }
            _ if request.integrity_at.is_some() => {}
            MESSAGE_INTEGRITY if len == INTEGRITY_LEN => request.integrity_at = Some(at),
            USERNAME => request.username = Some(value),
            USE_CANDIDATE => request.nominated = true,
            ICE_CONTROLLED => request.controlled = true,
            PRIORITY => {}
            kind if kind < OPTIONAL_FROM => request.unknown.push(kind),
            _ => {}
        }
        at += 4 + len.next_multiple_of(4);
    }
    Ok(request)
}

/// HMAC-SHA1 over what stands before the attribute at `at`, with a length that ends behind it (RFC 8489 §14.5).
fn integrity(bytes: &[u8], at: usize, password: &str) -> [u8; INTEGRITY_LEN] {
    let Ok(mut mac) = <Hmac<Sha1> as Mac>::new_from_slice(password.as_bytes()) else {
        // HMAC takes keys of any length.
        return [0; INTEGRITY_LEN];
    };
    mac.update(&bytes[..2]);
    mac.update(&length_until(at + 4 + INTEGRITY_LEN));
    mac.update(&bytes[4..at]);
    mac.finalize().into_bytes().into()
}

/// The header's length field of a message that ends at `end`; `STUN_LEN_MAX` keeps it in range.
fn length_until(end: usize) -> [u8; 2] {
    u16::try_from(end - HEADER_LEN).unwrap_or(u16::MAX).to_be_bytes()
}

/// CRC-32 of ISO 3309 over what stands before the attribute at `at`, with a length that ends behind it.
fn crc32(bytes: &[u8], at: usize) -> u32 {
    let length = length_until(at + 8);
    let parts = [&bytes[..2], &length, &bytes[4..at]];
    let mut crc = u32::MAX;
    for byte in parts.into_iter().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// An answer in the making.
struct Writer(Vec<u8>);

impl Writer {
    /// With the transaction id of `request`.
    fn new(kind: u16, request: &[u8]) -> Self {
        let mut out = Vec::with_capacity(96);
        out.extend(kind.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&request[4..HEADER_LEN]);
        Self(out)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Where the request came from, hidden from NATs that rewrite addresses wherever they see them.
    fn address(&mut self, from: SocketAddr) {
        let (family, mut address) = match from.ip().to_canonical() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        for (byte, mask) in address.iter_mut().zip(&self.0[4..HEADER_LEN]) {
            *byte ^= mask;
        }
        let [high, low] = from.port().to_be_bytes();
        let mut value = vec![0, family, high ^ MAGIC_COOKIE[0], low ^ MAGIC_COOKIE[1]];
        value.extend(address);
        self.attribute(XOR_MAPPED_ADDRESS, &value);
    }

    fn error(&mut self, code: u16, reason: &str) {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        self.attribute(ERROR_CODE, &value);
    }

    fn finish(mut self, password: &str) -> Vec<u8> {
        let tag = integrity(&self.0, self.0.len(), password);
        self.attribute(MESSAGE_INTEGRITY, &tag);
        let crc = crc32(&self.0, self.0.len()) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &crc.to_be_bytes());
        let length = length_until(self.0.len());
        self.0[2..4].copy_from_slice(&length);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        (0..text.len() / 2).map(|n| u8::from_str_radix(&text[n * 2..n * 2 + 2], 16).unwrap()).collect()
    }

    /// RFC 5769 §2.1 without its padding of spaces, which no attribute of RFC 8489 has any more: built here.
    fn request(username: &str, password: &str, extra: &[(u16, &[u8])]) -> Vec<u8> {
        let head = hex("0001 0000 2112a442 b7e7a701bc34d686fa87dfae");
        let mut out = Writer::new(BINDING_REQUEST, &head);
        out.attribute(0x8022, b"STUN test client");
        out.attribute(PRIORITY, &[0x6E, 0, 1, 0xFF]);
        out.attribute(USERNAME, username.as_bytes());
        for (kind, value) in extra {
            out.attribute(*kind, value);
        }
        out.finish(password)
    }

    fn local() -> IceCredentials {
        IceCredentials { ufrag: "evtj".into(), pwd: "VOkJxbRl1RmTxUk/WvJxBt".into() }
    }

    fn from() -> SocketAddr {
        "192.0.2.1:32853".parse().unwrap()
    }

    // RFC 5769 §2.1, whose user name is evtj:h6vY.
    const SAMPLE: &str = "0001 0058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74
        00240004 6e0001ff 80290008 932ff9b151263b36 00060009 6576746a3a68367659202020
        00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf";

    #[test]
    fn the_standards_request_is_authentic_and_its_sender_thinks_itself_controlled() {
        let taken = check(&hex(SAMPLE), from(), &local(), "h6vY").unwrap();
        assert_eq!(taken.answer, Answer::RoleConflict);
        assert!(taken.bytes.windows(4).any(|w| w == [0, 0, 4, 87]));
        assert_eq!(check(&hex(SAMPLE), from(), &local(), "else"), Err(StunError::Unauthentic));
    }

    // RFC 5769 §2.2: the answer, which has a SOFTWARE attribute of its own; ours has none, so only the address
    // and the checks of our own reading are compared.
    #[test]
    fn an_answer_names_the_source_and_is_authentic_itself() {
        let taken = check(&request("evtj:h6vY", &local().pwd, &[(USE_CANDIDATE, &[])]), from(), &local(), "h6vY");
        let Check { answer, bytes } = taken.unwrap();
        assert_eq!(answer, Answer::Proven { nominated: true });
        assert_eq!(bytes[..4], [1, 1, 0, 44]);
        assert_eq!(bytes[20..32], hex("0020 0008 0001 a147 e112a643"));
        let read = read(&bytes).unwrap();
        assert!(read.has_fingerprint);
        let at = read.integrity_at.unwrap();
        assert_eq!(integrity(&bytes, at, &local().pwd), bytes[at + 4..at + 24]);
        let six = check(&request("evtj:h6vY", &local().pwd, &[]), "[2001:db8::1]:9".parse().unwrap(), &local(), "h6vY");
        assert_eq!(six.unwrap().answer, Answer::Proven { nominated: false });
    }

    #[test]
    fn who_does_not_know_the_password_gets_nothing() {
        let of = |bytes: &[u8]| check(bytes, from(), &local(), "h6vY").map(|check| check.answer);
        let right = request("evtj:h6vY", &local().pwd, &[]);
        assert!(of(&right).is_ok());
        for bad in [request("evtj:h6vY", "wrong", &[]), request("evtj", &local().pwd, &[])] {
            assert_eq!(of(&bad), Err(StunError::Unauthentic));
        }
        assert_eq!(of(&request("xxxx:h6vY", &local().pwd, &[])), Err(StunError::Unauthentic));
        for at in 0..right.len() {
            let mut changed = right.clone();
            changed[at] ^= 1;
            assert!(of(&changed).is_err(), "byte {at}");
        }
        for end in 0..right.len() {
            assert!(of(&right[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn what_is_unknown_but_needed_is_named() {
        let asking = request("evtj:h6vY", &local().pwd, &[(0x7001, &[1]), (0xC057, &[0, 1, 2, 3])]);
        let taken = check(&asking, from(), &local(), "h6vY").unwrap();
        assert_eq!(taken.answer, Answer::Unknown);
        assert!(taken.bytes.windows(6).any(|w| w == [0, 0x0A, 0, 2, 0x70, 1]));
    }

    #[test]
    fn answers_and_indications_are_no_requests() {
        for kind in [BINDING_INDICATION, BINDING_SUCCESS, BINDING_ERROR] {
            let mut bytes = request("evtj:h6vY", "x", &[]);
            bytes[..2].copy_from_slice(&kind.to_be_bytes());
            assert_eq!(check(&bytes, from(), &local(), "h6vY"), Err(StunError::NoRequest));
        }
        let many: Vec<(u16, &[u8])> = vec![(0x8022, b""); STUN_ATTRIBUTES_MAX + 1];
        let bytes = request("evtj:h6vY", &local().pwd, &many);
        assert_eq!(check(&bytes, from(), &local(), "h6vY"), Err(StunError::Malformed));
    }
}
