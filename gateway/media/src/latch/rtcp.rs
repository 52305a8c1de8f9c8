//! Which RTCP belongs to the learnt peer.

use std::net::SocketAddr;

use super::{Ground, Latch, canonical};

impl Latch {
    /// Judges a valid RTCP packet of `ssrc`. It comes from the RTP's own port (RFC 5761), the next
    /// one, or where `announced` says (RFC 3605). Behind NAT its port is unknown: there the first
    /// packet of the learnt SSRC from the learnt host teaches it, once.
    pub fn admit_rtcp(&mut self, source: SocketAddr, ssrc: u32, announced: Option<SocketAddr>) -> bool {
        let source = canonical(source);
        let Some(learnt) = self.learnt else {
            return false;
        };
        let next_port = |address: SocketAddr| {
            address.port().checked_add(1).map(|port| SocketAddr::new(canonical(address).ip(), port))
        };
        let is_announced = match announced {
            Some(announced) => canonical(announced) == source,
            None => next_port(self.announced) == Some(source),
        };
        let is_own_host = source.ip() == learnt.address.ip();
        if source == learnt.address || (is_own_host && (is_announced || next_port(learnt.address) == Some(source))) {
            return true;
        }
        if !is_own_host {
            return false;
        }
        match self.rtcp {
            Some(known) => known == source,
            None if self.authentic || (learnt.ground != Ground::Exact && ssrc == learnt.ssrc) => {
                self.rtcp = Some(source);
                true
            }
            None => false,
        }
    }
}
