//! What the call's signalling vouches for.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::canonical;
use crate::limits::TRUST_NETWORKS_MAX;

/// Addresses that share their first `bits` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of it.
    pub ip: IpAddr,
    /// Length of the prefix; beyond the address's own length it is the address alone.
    pub bits: u8,
}

impl Network {
    /// One address.
    #[must_use]
    pub const fn host(ip: IpAddr) -> Self {
        Self { ip, bits: 128 }
    }

    /// The address lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let rest = 32 - u32::from(self.bits).min(32);
                (u64::from(a.to_bits() ^ b.to_bits()) >> rest) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let rest = 128 - u32::from(self.bits).min(128);
                (a.to_bits() ^ b.to_bits()).checked_shr(rest).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Where the peer of a leg may be, beside the address its session description gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    sdp: bool,
    unconfirmed: bool,
    networks: Arc<[Network]>,
}

impl Trust {
    /// `sdp`: media may go to the description's address before anything came from there, as its
    /// sender is authenticated and known to describe itself truly. `networks`: hosts of the same
    /// peer, first of all where its signalling comes from; those beyond `TRUST_NETWORKS_MAX` are
    /// left out.
    pub fn new(sdp: bool, networks: impl IntoIterator<Item = Network>) -> Self {
        Self { sdp, unconfirmed: false, networks: networks.into_iter().take(TRUST_NETWORKS_MAX).collect() }
    }

    /// The same while the call's origin may still be forged: nothing goes anywhere unasked.
    #[must_use]
    pub fn unconfirmed(self) -> Self {
        Self { unconfirmed: true, ..self }
    }

    /// The same once its origin has proven itself.
    #[must_use]
    pub fn confirmed(self) -> Self {
        Self { unconfirmed: false, ..self }
    }

    /// Its origin is proven.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        !self.unconfirmed
    }

    /// The description's address is believed.
    #[must_use]
    pub fn believes_sdp(&self) -> bool {
        self.sdp
    }

    /// The address is one of the peer's hosts.
    #[must_use]
    pub fn covers(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }

    /// Media may go to the description's address unasked.
    pub(super) fn proves(&self, announced: SocketAddr) -> bool {
        !self.unconfirmed && (self.sdp || self.covers(canonical(announced).ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str, bits: u8) -> Network {
        Network { ip: ip.parse().unwrap(), bits }
    }

    #[test]
    fn prefixes_of_both_families() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("10.1.0.0", 16).contains(ip("10.1.255.255")));
        assert!(!network("10.1.0.0", 16).contains(ip("10.2.0.0")));
        assert!(network("10.1.0.0", 16).contains(ip("::ffff:10.1.2.3")));
        assert!(network("0.0.0.0", 0).contains(ip("203.0.113.9")));
        assert!(!network("0.0.0.0", 0).contains(ip("2001:db8::1")));
        assert!(network("2001:db8::", 32).contains(ip("2001:db8:ffff::1")));
        assert!(!network("2001:db8::", 32).contains(ip("2001:db9::1")));
        assert!(network("::", 0).contains(ip("2001:db8::1")));
        assert!(Network::host(ip("10.0.0.1")).contains(ip("10.0.0.1")));
        assert!(!Network::host(ip("10.0.0.1")).contains(ip("10.0.0.2")));
    }

    #[test]
    fn the_list_is_bounded() {
        let many = (0..=255).map(|n| Network::host(IpAddr::from([10, 0, 0, n])));
        let trust = Trust::new(false, many);
        assert!(trust.covers("10.0.0.0".parse().unwrap()));
        assert!(!trust.covers("10.0.0.255".parse().unwrap()));
    }
}
