//! Symmetric RTP with a guard: where a leg's media may come from and go to.
//!
//! Media goes to the address of the SDP until the first valid packet arrives; that packet's source
//! is learnt once. Its IP must be the SDP's, unless the leg is open to phones behind NAT. Afterwards
//! packets from elsewhere are refused, so a third party can neither listen in nor speak in.

use std::net::{IpAddr, SocketAddr};

use crate::limits::SSRC_PROBATION_PACKETS;

/// What the guard says of a packet's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Accepted, and this was the one that taught us the peer.
    Learned,
    /// Accepted from the learnt peer.
    Known,
    /// The learnt peer changes its SSRC; refused until the new one has proven itself.
    Probation,
    /// Accepted: the learnt peer now sends another stream (same address, new SSRC).
    NewStream,
    /// From somewhere else: refused.
    Foreign,
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    address: SocketAddr,
    ssrc: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    ssrc: u32,
    seq_next: u16,
    count: u8,
}

/// The guard of one leg.
#[derive(Clone, Debug)]
pub struct Latch {
    signalled: SocketAddr,
    /// The last address of the SDP that was not a hold.
    announced: SocketAddr,
    any_ip: bool,
    learnt: Option<Learnt>,
    candidate: Option<Candidate>,
}

impl Latch {
    /// Guards a leg whose peer announced `signalled`.
    #[must_use]
    pub fn new(signalled: SocketAddr, any_ip: bool) -> Self {
        Self { signalled, announced: signalled, any_ip, learnt: None, candidate: None }
    }

    /// Takes a new offer/answer into account. Only a changed address makes us learn again.
    pub fn update(&mut self, signalled: SocketAddr, any_ip: bool) {
        self.any_ip = any_ip;
        self.signalled = signalled;
        // A hold by 0.0.0.0 (RFC 2543) is no move; the peer comes back to where it was.
        if !sendable(signalled) || signalled == self.announced {
            return;
        }
        self.announced = signalled;
        self.learnt = None;
        self.candidate = None;
    }

    /// Judges a valid RTP packet and learns from it.
    pub fn admit(&mut self, source: SocketAddr, ssrc: u32, seq: u16) -> Admission {
        let source = canonical(source);
        let Some(learnt) = self.learnt else {
            if !self.any_ip && source.ip() != canonical(self.announced).ip() {
                return Admission::Foreign;
            }
            self.learnt = Some(Learnt { address: source, ssrc });
            return Admission::Learned;
        };
        if source != learnt.address {
            return Admission::Foreign;
        }
        if ssrc == learnt.ssrc {
            self.candidate = None;
            return Admission::Known;
        }
        let count = match self.candidate {
            Some(c) if c.ssrc == ssrc && c.seq_next == seq => c.count + 1,
            _ => 1,
        };
        if count >= SSRC_PROBATION_PACKETS {
            self.learnt = Some(Learnt { ssrc, ..learnt });
            self.candidate = None;
            return Admission::NewStream;
        }
        self.candidate = Some(Candidate { ssrc, seq_next: seq.wrapping_add(1), count });
        Admission::Probation
    }

    /// Where media goes now; `None` while the SDP forbids sending (address 0.0.0.0, port 0).
    #[must_use]
    pub fn target(&self) -> Option<SocketAddr> {
        sendable(self.signalled).then(|| self.learnt.map_or(self.signalled, |learnt| learnt.address))
    }

    /// The IP an accompanying RTCP packet must come from.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.target().map(|target| canonical(target).ip())
    }

    /// A peer was learnt.
    #[must_use]
    pub fn is_learnt(&self) -> bool {
        self.learnt.is_some()
    }
}

fn sendable(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

/// IPv4 peers of a dual-stack socket show as mapped IPv6 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sends_to_the_sdp_then_to_the_learnt_source_only() {
        let mut latch = Latch::new(addr("10.0.0.1:4000"), false);
        assert_eq!(latch.target(), Some(addr("10.0.0.1:4000")));
        assert_eq!(latch.admit(addr("10.0.0.2:4000"), 1, 0), Admission::Foreign);
        assert_eq!(latch.target(), Some(addr("10.0.0.1:4000")));
        assert_eq!(latch.admit(addr("10.0.0.1:5555"), 1, 0), Admission::Learned);
        assert_eq!(latch.target(), Some(addr("10.0.0.1:5555")));
        assert_eq!(latch.admit(addr("10.0.0.1:4000"), 1, 1), Admission::Foreign);
        assert_eq!(latch.admit(addr("[::ffff:10.0.0.1]:5555"), 1, 1), Admission::Known);
    }

    #[test]
    fn a_natted_phone_is_learnt_from_any_ip_once() {
        let mut latch = Latch::new(addr("192.168.1.9:4000"), true);
        assert_eq!(latch.admit(addr("203.0.113.5:61000"), 1, 0), Admission::Learned);
        assert_eq!(latch.admit(addr("203.0.113.6:61000"), 1, 1), Admission::Foreign);
        latch.update(addr("192.168.1.9:4000"), true);
        assert_eq!(latch.target(), Some(addr("203.0.113.5:61000")), "same SDP, same peer");
        latch.update(addr("192.168.1.9:4002"), true);
        assert_eq!(latch.target(), Some(addr("192.168.1.9:4002")), "a new address is learnt anew");
    }

    #[test]
    fn hold_by_unspecified_address_stops_sending_and_keeps_the_peer() {
        let mut latch = Latch::new(addr("10.0.0.1:4000"), false);
        latch.admit(addr("10.0.0.1:4000"), 1, 0);
        latch.update(addr("0.0.0.0:4000"), false);
        assert_eq!(latch.target(), None);
        latch.update(addr("10.0.0.1:4000"), false);
        assert!(latch.is_learnt());
        assert_eq!(latch.target(), Some(addr("10.0.0.1:4000")));
    }

    #[test]
    fn a_new_ssrc_of_the_same_peer_needs_two_packets_in_a_row() {
        let mut latch = Latch::new(addr("10.0.0.1:4000"), false);
        let peer = addr("10.0.0.1:4000");
        latch.admit(peer, 1, 0);
        assert_eq!(latch.admit(peer, 2, 500), Admission::Probation);
        assert_eq!(latch.admit(peer, 1, 1), Admission::Known);
        assert_eq!(latch.admit(peer, 2, 501), Admission::Probation);
        assert_eq!(latch.admit(peer, 2, 502), Admission::NewStream);
        assert_eq!(latch.admit(peer, 2, 503), Admission::Known);
    }
}
