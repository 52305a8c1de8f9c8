//! Where an in-dialog request goes, given that there is no DNS here

use crate::flow::{Flow, Transport};
use crate::message::Uri;
use std::net::{IpAddr, SocketAddr};

/// The flow for a request whose next hop is `uri`
///
/// A phone is reached over the flow it uses itself, for its Contact may lie
/// behind a NAT. So is a peer whose next hop is a name, an unusable address,
/// or a private address while the peer itself is public.
pub(crate) fn next_hop(uri: &[u8], flow: Flow, is_phone: bool) -> Flow {
    // A browser's Contact has a name that leads nowhere (RFC 7118 §5.1); what lies at another gateway is a phone.
    if is_phone || flow.transport.is_web() || flow.node.is_some() {
        return flow;
    }
    let Some((uri, ip)) = Uri::parse(uri).ok().and_then(|uri| Some((uri, uri.ip()?.to_canonical()))) else {
        return flow;
    };
    let peer = flow.remote.ip().to_canonical();
    let unusable = ip.is_unspecified() || ip.is_multicast() || ip.is_ipv4() != peer.is_ipv4();
    if unusable || (is_private(ip) && !is_private(peer)) {
        return flow;
    }
    let is_named = |name: &[u8]| uri.param("transport").is_some_and(|t| t.eq_ignore_ascii_case(name));
    let wants_tls = is_named(b"tls") || uri.scheme.eq_ignore_ascii_case("sips");
    let transport = match flow.transport {
        // What came in encrypted stays so, whatever a Contact says.
        Transport::Tls => Transport::Tls,
        // No certificate was asked for on this side: the peer is reached where it came from.
        _ if wants_tls => return flow,
        _ if is_named(b"tcp") => Transport::Tcp,
        _ if is_named(b"udp") => Transport::Udp,
        same => same,
    };
    if transport.is_reliable() && transport == flow.transport && ip == peer && flow.conn.is_some() {
        return flow;
    }
    let remote = SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port()));
    Flow { transport, local: flow.local, remote, conn: None, node: None }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.segments()[0] & 0xFE00 == 0xFC00 || ip.segments()[0] & 0xFFC0 == 0xFE80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport, remote: &str, conn: Option<u64>) -> Flow {
        Flow { transport, local: "192.0.2.1:5060".parse().unwrap(), remote: remote.parse().unwrap(), conn, node: None }
    }

    #[test]
    fn an_address_is_followed_and_a_name_is_not() {
        let udp = flow(Transport::Udp, "192.0.2.9:5060", None);
        assert_eq!(next_hop(b"sip:a@192.0.2.8:5070", udp, false).remote.to_string(), "192.0.2.8:5070");
        assert_eq!(next_hop(b"sip:192.0.2.8;lr", udp, false).remote.to_string(), "192.0.2.8:5060");
        assert_eq!(next_hop(b"sip:a@sbc.example", udp, false), udp);
        assert_eq!(next_hop(b"sip:a@10.0.0.1", udp, false), udp);
        assert_eq!(next_hop(b"sip:a@0.0.0.0", udp, false), udp);
        assert_eq!(next_hop(b"sip:a@[2001:db8::1]", udp, false), udp);
        assert_eq!(next_hop(b"sip:a@192.0.2.8", udp, true), udp);
        assert_eq!(next_hop(b"sip:a@192.0.2.8;transport=tcp", udp, false).transport, Transport::Tcp);
    }

    #[test]
    fn an_open_connection_to_the_same_host_is_used_again() {
        let tcp = flow(Transport::Tcp, "192.0.2.9:40000", Some(3));
        assert_eq!(next_hop(b"sip:a@192.0.2.9:5060", tcp, false), tcp);
        assert_eq!(next_hop(b"sip:a@192.0.2.8:5060", tcp, false).conn, None);
    }

    #[test]
    fn a_dialog_never_leaves_tls_and_never_enters_it() {
        let tls = flow(Transport::Tls, "192.0.2.9:40000", Some(3));
        assert_eq!(next_hop(b"sip:a@192.0.2.9:5060;transport=udp", tls, false), tls);
        let other = next_hop(b"sip:a@192.0.2.8;transport=tcp", tls, false);
        assert_eq!((other.transport, other.remote.to_string()), (Transport::Tls, "192.0.2.8:5061".to_owned()));
        let udp = flow(Transport::Udp, "192.0.2.9:5060", None);
        assert_eq!(next_hop(b"sip:a@192.0.2.8;transport=tls", udp, false), udp);
        assert_eq!(next_hop(b"sips:a@192.0.2.8", udp, false), udp);
    }
}
