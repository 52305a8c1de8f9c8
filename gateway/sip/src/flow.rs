//! Where bytes come from and go to: transport, addresses, and address ranges

use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The transport below SIP
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP: one message a datagram, retransmitted by the transaction layer
    Udp,
    /// TCP: a byte stream framed by `Content-Length` (RFC 3261 §18.3)
    Tcp,
    /// TLS over TCP (RFC 3261 §26.2); the driver has the handshake
    Tls,
    /// WebSocket: one message a frame (RFC 7118); only phones use it, and only they open connections
    Ws,
    /// The same through HTTPS
    Wss,
}

impl Transport {
    /// The token in a `Via` header: `UDP`, `TCP`, `TLS`, `WS` or `WSS`
    #[must_use]
    pub fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The port where a URI names none (RFC 3261 §19.1.2)
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// The URI parameter that leads back to this transport; UDP needs none
    #[must_use]
    pub fn uri_param(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
            // Both have this one name (RFC 7118 §5.2.4)
            Self::Ws | Self::Wss => ";transport=ws",
        }
    }

    /// Whether the transport itself delivers or fails loudly
    #[must_use]
    pub fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether only the peer can open a connection
    #[must_use]
    pub fn is_web(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Where a datagram or stream message came from or goes to
///
/// On a stream `conn` names the connection; `None` in an output asks the driver
/// to reuse a connection to `remote` or to open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What carries it
    pub transport: Transport,
    /// Our listening address (for a stream: of the listener, not the ephemeral port)
    pub local: SocketAddr,
    /// The peer's address as the socket shows it
    pub remote: SocketAddr,
    /// The driver's number of the connection
    pub conn: Option<u64>,
    /// The gateway whose flow it is; `None`: our own. Then `local` is the address that gateway advertises there,
    /// and `conn` its number
    pub node: Option<NodeId>,
}

/// Another gateway of the same cluster, as tags and branches name it
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The same for the same name on every gateway
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let hash = Sha256::digest(name.as_bytes());
        Self(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }

    /// `token`, so that whoever reads it knows that it is of this gateway
    pub(crate) fn mark(self, token: &str) -> String {
        format!("{token}.{:08x}", self.0)
    }

    /// Whose mark a tag or branch ends with
    pub(crate) fn of_marked(token: &[u8]) -> Option<Self> {
        let at = token.len().checked_sub(9)?;
        let digits = token[at..].strip_prefix(b".")?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        u32::from_str_radix(text, 16).ok().map(Self)
    }
}

/// A range of addresses such as `10.0.0.0/8`; a bare address is a range of one
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is not an address range
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpNetError {
    /// The part before `/` is no IPv4 or IPv6 address
    #[error("not an IP address")]
    Address,
    /// The part after `/` is no number or too large (32 for IPv4, 128 for IPv6)
    #[error("prefix length out of range")]
    Prefix,
}

impl IpNet {
    /// Any address of the range
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Length of the prefix
    #[must_use]
    pub const fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// Whether the range holds `address`; IPv4-mapped IPv6 counts as IPv4
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                shift == 32 || u32::from(net) >> shift == u32::from(ip) >> shift
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                shift == 128 || u128::from(net) >> shift == u128::from(ip) >> shift
            }
            _ => false,
        }
    }
}

impl FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpNetError::Address)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(prefix) => prefix.parse().map_err(|_| IpNetError::Prefix)?,
        };
        if prefix_bits > bits_max {
            return Err(IpNetError::Prefix);
        }
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_other() {
        assert!(net("10.0.0.0/8").contains(ip("10.255.1.2")));
        assert!(!net("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(net("0.0.0.0/0").contains(ip("8.8.8.8")));
        assert!(net("192.0.2.7").contains(ip("192.0.2.7")));
        assert!(!net("192.0.2.7").contains(ip("192.0.2.8")));
        assert!(net("2001:db8::/32").contains(ip("2001:db8::1")));
        assert!(net("::/0").contains(ip("::1")));
        assert!(!net("::/0").contains(ip("10.0.0.1")));
        assert!(net("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
    }

    #[test]
    fn a_mark_tells_its_gateway_and_nothing_else_does() {
        let node = NodeId::of_name("b");
        assert_eq!(NodeId::of_marked(node.mark("0a1b").as_bytes()), Some(node));
        assert_ne!(node, NodeId::of_name("a"));
        for other in ["", "0a1b", "x.0123456", "x0123456789", "x.+1234567", "x.1234567g", "\u{e9}.12345678é"] {
            assert_eq!(NodeId::of_marked(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!("10.0.0/8".parse::<IpNet>(), Err(IpNetError::Address));
        assert_eq!("10.0.0.0/33".parse::<IpNet>(), Err(IpNetError::Prefix));
        assert_eq!("::/129".parse::<IpNet>(), Err(IpNetError::Prefix));
        assert_eq!("10.0.0.0/x".parse::<IpNet>(), Err(IpNetError::Prefix));
        assert_eq!(net("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }
}
