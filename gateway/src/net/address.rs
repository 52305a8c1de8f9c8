//! Which address of this machine others can reach.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

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
