//! Free ports and the loopback addresses the peers live on.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Mutex, OnceLock, PoisonError};

use rand::Rng;

use crate::limits::PORT_TRIES_MAX;
use crate::{Error, Result};

/// The network citizens and trunks call from. Linux answers on all of 127/8, so
/// a gateway can tell a trunk from a phone by its address, as on a real network.
pub const TRUNK_NETWORK: &str = "127.0.1.0/24";
/// The network of operators' phones.
pub const PHONE_NETWORK: &str = "127.0.2.0/24";
/// A citizen's or trunk's address, inside [`TRUNK_NETWORK`].
pub const TRUNK_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
/// An operator phone's address, inside [`PHONE_NETWORK`].
pub const PHONE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 1));
/// An address that belongs to neither.
pub const STRANGER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9));
/// Where the gateway itself listens.
pub const GATEWAY_IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// First and last port the harness hands out: below the range from which the
/// kernel takes ports for outgoing connections.
const PORT_FIRST: u16 = 12_000;
const PORT_LAST: u16 = 31_000;

fn handed_out() -> &'static Mutex<HashSet<u16>> {
    static PORTS: OnceLock<Mutex<HashSet<u16>>> = OnceLock::new();
    PORTS.get_or_init(Mutex::default)
}

/// A port free for UDP and TCP on `ip`, never handed out twice by this process.
///
/// # Errors
/// [`Error::Missing`] when none is found in 200 tries.
pub fn free_port(ip: IpAddr) -> Result<u16> {
    free_ports(ip, 1)
}

/// The first of `count` neighbouring ports free on `ip`; it is even, as RTP wants it.
///
/// # Errors
/// [`Error::Missing`] when no such range is found in 200 tries.
pub fn free_ports(ip: IpAddr, count: u16) -> Result<u16> {
    let mut taken = handed_out().lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..PORT_TRIES_MAX {
        let first = rand::rng().random_range(PORT_FIRST..PORT_LAST - count) & !1;
        let range = first..first + count;
        if range.clone().all(|port| !taken.contains(&port) && is_free(ip, port)) {
            taken.extend(range);
            return Ok(first);
        }
    }
    Err(Error::Missing {
        program: format!("{count} free ports on {ip}"),
        remedy: "look for leftover processes with `ss -lntup`".into(),
    })
}

/// One UDP socket as two handles: tokio's to receive, the system's to send without
/// waiting. Tokio's own `try_send_to` would refuse before the reactor's first turn.
pub(crate) fn bind_udp(address: SocketAddr) -> Result<(tokio::net::UdpSocket, UdpSocket)> {
    let bind = || {
        let sender = UdpSocket::bind(address)?;
        sender.set_nonblocking(true)?;
        let receiver = tokio::net::UdpSocket::from_std(sender.try_clone()?)?;
        Ok((receiver, sender))
    };
    bind().map_err(Error::io(format!("bind UDP {address}")))
}

fn is_free(ip: IpAddr, port: u16) -> bool {
    let address = SocketAddr::new(ip, port);
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}
