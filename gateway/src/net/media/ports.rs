//! The RTP port range: pairs are taken in turn and rest before they are used again.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hotline_media::latch::Stale;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::{
    MediaError,
    limits::{BIND_TRIES_MAX, PORT_REST_MS, RECV_BUFFER_LEN},
};

/// Bound, non-blocking sockets of one leg.
#[derive(Debug)]
pub(super) struct Pair {
    /// The even port.
    pub(super) port: u16,
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    /// What it received last, in the call before.
    pub(super) stale: Option<Stale>,
}

/// Free ports, longest unused first.
#[derive(Debug)]
pub(super) struct Ports {
    min: u16,
    max: u16,
    free: Mutex<VecDeque<Free>>,
}

#[derive(Clone, Copy, Debug)]
struct Free {
    port: u16,
    closed_at: Option<Instant>,
    stale: Option<Stale>,
}

impl Ports {
    pub(super) fn new(min: u16, max: u16) -> io::Result<Self> {
        // Never 0: that would let the kernel choose.
        let first = min.max(2).checked_next_multiple_of(2).unwrap_or(max);
        let free: VecDeque<_> =
            (first..max).step_by(2).map(|port| Free { port, closed_at: None, stale: None }).collect();
        if free.is_empty() {
            let problem = format!("RTP port range {min}-{max} holds no even/odd pair");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        Ok(Self { min, max, free: Mutex::new(free) })
    }

    /// Binds the next pair; pairs that other programs hold are skipped.
    pub(super) fn bind(&self, ip: IpAddr) -> Result<Pair, MediaError> {
        let mut refusal = None;
        for _ in 0..BIND_TRIES_MAX {
            let Some(Free { port, stale, .. }) = self.take() else { break };
            match bind_pair(ip, port) {
                Ok((rtp, rtcp)) => return Ok(Pair { port, rtp, rtcp, stale }),
                Err(error) => {
                    self.give_back(port, stale);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(error.into());
                    }
                    refusal = Some(error);
                }
            }
        }
        Err(refusal.map_or(MediaError::PortsExhausted(self.min, self.max), MediaError::Socket))
    }

    fn take(&self) -> Option<Free> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = free.front()?.closed_at.is_none_or(|at| at.elapsed() >= Duration::from_millis(PORT_REST_MS));
        if rested { free.pop_front() } else { None }
    }

    /// A pair is closed; `stale` is what it received last.
    pub(super) fn give_back(&self, port: u16, stale: Option<Stale>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push_back(Free { port, closed_at: Some(Instant::now()), stale });
    }
}

fn bind_pair(ip: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((bind_one(ip, port)?, bind_one(ip, port + 1)?))
}

fn bind_one(ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel may grant less; that only shortens the stall we can ride out.
    let _ = socket.set_recv_buffer_size(RECV_BUFFER_LEN);
    // Expedited forwarding (RFC 3246, DSCP 46) for voice; refused in some containers, and then not.
    if address.is_ipv4() {
        let _ = socket.set_tos_v4(0xB8);
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// Binds a second socket to the port of `first`, for what a connected `first` doesn't hear. Sharing is
/// allowed for this one moment: nobody else may share the port afterwards.
pub(super) fn bind_beside(first: &UdpSocket, ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(ip, port);
    let second = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    second.set_nonblocking(true)?;
    let first = SockRef::from(first);
    second.set_reuse_address(true)?;
    first.set_reuse_address(true)?;
    let bound = second.bind(&SockAddr::from(address));
    first.set_reuse_address(false)?;
    second.set_reuse_address(false)?;
    bound.map(|()| second.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_a_pair_is_refused() {
        assert!(Ports::new(30_001, 30_002).is_err());
        assert!(Ports::new(65_535, 65_535).is_err());
        assert!(Ports::new(30_001, 30_003).is_ok());
    }

    #[test]
    fn a_closed_pair_rests_and_a_taken_port_is_skipped() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        // Below the kernel's ephemeral ports, which other tests' sockets get.
        let ports = Ports::new(20_200, 20_203).unwrap();
        let squatter = UdpSocket::bind((ip, 20_200)).unwrap();
        let pair = ports.bind(ip).unwrap();
        assert_eq!(pair.port, 20_202);
        assert_eq!(pair.rtcp.local_addr().unwrap().port(), 20_203);
        drop(pair);
        let stale = Stale::new(Instant::now(), "127.0.0.9:4000".parse().unwrap(), 7, 65_000);
        ports.give_back(20_202, Some(stale));
        assert!(matches!(ports.bind(ip), Err(MediaError::PortsExhausted(..))));
        std::thread::sleep(Duration::from_millis(PORT_REST_MS + 10));
        // The pair that another program still holds has rested, too, and is skipped again.
        assert_eq!(ports.bind(ip).unwrap().stale, Some(stale), "the next leg is told what the port received last");
        drop(squatter);
    }
}
