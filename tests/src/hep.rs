//! A HEP3 collector: takes packets from a UDP socket and reads their chunks by the specification.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::net::UdpSocket;

use crate::{Error, Result};

/// One captured message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// 2 for IPv4, 10 for IPv6.
    pub family: u8,
    /// IP protocol: 17 for UDP, 6 for TCP.
    pub protocol: u8,
    /// Who sent the message.
    pub source: Option<SocketAddr>,
    /// Whom it was for.
    pub destination: Option<SocketAddr>,
    /// Microseconds since 1970.
    pub at_us: u64,
    /// 1 is SIP.
    pub kind: u8,
    /// Capture agent.
    pub capture_id: u32,
    /// Authenticate key.
    pub key: String,
    /// Correlation id.
    pub correlation: String,
    /// The message.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Reads a packet; every length has to be right.
    ///
    /// # Errors
    /// [`Error::Sip`] that names what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::Sip(format!("HEP: {what} in {} bytes", bytes.len()));
        let length = bytes.get(4..6).map(number).ok_or_else(|| wrong("no head"))?;
        if !bytes.starts_with(b"HEP3") || usize::try_from(length).ok() != Some(bytes.len()) {
            return Err(wrong("a wrong head"));
        }
        let mut packet = Self::default();
        let (mut from, mut to) = ((None, 0), (None, 0));
        let (mut seconds, mut micros) = (0, 0);
        let mut rest = &bytes[6..];
        while !rest.is_empty() {
            let length = rest
                .get(4..6)
                .map(number)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| wrong("a torn chunk"))?;
            if length < 6 || length > rest.len() || rest[..2] != [0, 0] {
                return Err(wrong("a chunk of a wrong length or vendor"));
            }
            let value = &rest[6..length];
            match number(&rest[2..4]) {
                1 => packet.family = u8::try_from(number(value)).unwrap_or(0),
                2 => packet.protocol = u8::try_from(number(value)).unwrap_or(0),
                3 | 5 => from.0 = ip(value),
                4 | 6 => to.0 = ip(value),
                7 => from.1 = u16::try_from(number(value)).unwrap_or(0),
                8 => to.1 = u16::try_from(number(value)).unwrap_or(0),
                9 => seconds = number(value),
                10 => micros = number(value),
                11 => packet.kind = u8::try_from(number(value)).unwrap_or(0),
                12 => packet.capture_id = u32::try_from(number(value)).unwrap_or(0),
                14 => packet.key = String::from_utf8_lossy(value).into_owned(),
                15 => packet.payload = value.to_vec(),
                17 => packet.correlation = String::from_utf8_lossy(value).into_owned(),
                _ => return Err(wrong("an unknown chunk")),
            }
            rest = &rest[length..];
        }
        packet.source = from.0.map(|ip| SocketAddr::new(ip, from.1));
        packet.destination = to.0.map(|ip| SocketAddr::new(ip, to.1));
        packet.at_us = seconds * 1_000_000 + micros;
        Ok(packet)
    }

    /// The message as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| Ipv4Addr::from(b).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into()),
        _ => None,
    }
}

/// A collector on a port of its own.
pub struct Collector {
    socket: UdpSocket,
}

impl Collector {
    /// Listens on loopback.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(Error::io("bind the HEP collector"))?;
        Ok(Self { socket })
    }

    /// Its address.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().map_err(Error::io("read the collector's address"))
    }

    /// Packets until `enough` is satisfied with all of them so far.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Sip`] for a packet that isn't HEP3.
    pub async fn packets(&self, timeout_ms: u64, enough: impl Fn(&[Packet]) -> bool) -> Result<Vec<Packet>> {
        let until = Instant::now() + crate::wait::patient(timeout_ms);
        let mut all = Vec::new();
        let mut buffer = vec![0; 65_535];
        while !enough(&all) {
            let left = until.saturating_duration_since(Instant::now());
            let what = || format!("HEP packets after {} of them", all.len());
            match tokio::time::timeout(left, self.socket.recv(&mut buffer)).await {
                Ok(Ok(len)) => all.push(Packet::parse(&buffer[..len])?),
                Ok(Err(e)) => return Err(Error::io("read a HEP packet")(e)),
                Err(_) => return Err(Error::Timeout { what: what(), after_ms: timeout_ms }),
            }
        }
        Ok(all)
    }
}
