//! Which address of this machine others can reach, and whose a request is that came through proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use hotline_sip::IpNet;

/// The address to write where a listener is bound to "any": the source address the kernel
/// would use towards `towards` (no packet is sent), else loopback.
#[must_use]
pub fn reachable(bound: IpAddr, towards: Option<SocketAddr>) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    let target = towards.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060));
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|s| s.connect(target).and_then(|()| s.local_addr()))
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |a| a.ip())
}

/// Who asks: the peer, or what proxies of ours (`proxies`) say about it in `X-Forwarded-For` (`told`).
pub fn behind_proxies<'a>(proxies: &[IpNet], peer: IpAddr, told: impl Iterator<Item = &'a str>) -> IpAddr {
    let is_ours = |ip: IpAddr| proxies.iter().any(|net| net.contains(ip));
    let chain: Vec<IpAddr> = told.flat_map(|v| v.split(',')).filter_map(|a| a.trim().parse().ok()).collect();
    let mut address = peer;
    // From our side outwards; the first that isn't ours is the client's.
    for hop in chain.into_iter().rev() {
        if !is_ours(address) {
            break;
        }
        address = hop;
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_is_itself_and_any_becomes_a_real_one() {
        let ip: IpAddr = "127.0.0.7".parse().unwrap();
        assert_eq!(reachable(ip, None), ip);
        let loopback = reachable(IpAddr::V4(Ipv4Addr::UNSPECIFIED), "127.0.0.1:9".parse().ok());
        assert_eq!(loopback, IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
