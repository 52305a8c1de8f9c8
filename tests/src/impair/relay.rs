//! A bad network between one end's RTP and the gateway: it stands in as that end's address.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use super::{Counts, Datagram, Impairment, Line, Network};
use crate::Result;
use crate::net::{bind_udp, free_ports};

/// Two pairs of ports, RTP and RTCP: the outer one is what a session description names and the
/// gateway sees, the inner one is what the end sends to. Dropping it closes all of them.
#[derive(Debug)]
pub struct MediaRelay {
    outer: SocketAddr,
    inner: SocketAddr,
    gateway: Arc<Mutex<Option<SocketAddr>>>,
    up: Arc<Line>,
    down: Arc<Line>,
    readers: Vec<AbortHandle>,
}

impl Drop for MediaRelay {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl MediaRelay {
    /// Stands between `end` (its RTP address; RTCP is on the next port) and a gateway that
    /// [`MediaRelay::set_gateway`] names. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`crate::Error::Io`] or [`crate::Error::Missing`] when no pair of ports is free.
    pub fn start(end: SocketAddr, network: Network) -> Result<Self> {
        let pair = |ip: IpAddr| -> Result<SocketAddr> { Ok(SocketAddr::new(ip, free_ports(ip, 2)?)) };
        let (outer, inner) = (pair(end.ip())?, pair(end.ip())?);
        let mut relay = Self {
            outer,
            inner,
            gateway: Arc::default(),
            up: Arc::new(Line::start(network.up, network.seed)),
            down: Arc::new(Line::start(network.down, network.seed.wrapping_add(1))),
            readers: Vec::new(),
        };
        for offset in 0..2 {
            let (outside, outside_out) = bind_udp(beside(outer, offset))?;
            let (inside, inside_out) = bind_udp(beside(inner, offset))?;
            let (outside_out, inside_out) = (Arc::new(outside_out), Arc::new(inside_out));
            let gateway = relay.gateway.clone();
            let to_gateway = move || gateway.lock().unwrap_or_else(PoisonError::into_inner).map(|a| beside(a, offset));
            let to_end = move || Some(beside(end, offset));
            let up = read(inside, outside_out, relay.up.clone(), to_gateway);
            let down = read(outside, inside_out, relay.down.clone(), to_end);
            relay.readers.extend([tokio::spawn(up).abort_handle(), tokio::spawn(down).abort_handle()]);
        }
        Ok(relay)
    }

    /// The address for the session description.
    #[must_use]
    pub fn outer(&self) -> SocketAddr {
        self.outer
    }

    /// Where the end sends.
    #[must_use]
    pub fn inner(&self) -> SocketAddr {
        self.inner
    }

    /// The gateway's RTP address; until it is known, and while it is `None`, nothing goes up.
    pub fn set_gateway(&self, gateway: Option<SocketAddr>) {
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = gateway;
    }

    /// Changes what happens on the way to the gateway and back.
    pub fn set(&self, up: Impairment, down: Impairment) {
        self.up.set(up);
        self.down.set(down);
    }

    /// What was done on the way to the gateway, and back.
    #[must_use]
    pub fn counts(&self) -> (Counts, Counts) {
        (self.up.counts(), self.down.counts())
    }
}

fn beside(address: SocketAddr, offset: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + offset)
}

async fn read(
    from: UdpSocket,
    through: Arc<std::net::UdpSocket>,
    line: Arc<Line>,
    to: impl Fn() -> Option<SocketAddr> + Send,
) {
    let mut buffer = [0_u8; 2_048];
    loop {
        // An ICMP error of an earlier datagram shows up here.
        let Ok((length, _)) = from.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(to) = to() {
            line.push(Datagram { socket: through.clone(), to, bytes: buffer[..length].into() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::impair::Loss;
    use crate::net::TRUNK_IP;
    use crate::rtp::{RtpStream, Source};
    use crate::within;

    #[tokio::test]
    async fn both_directions_pass_or_are_lost_on_their_own() {
        let gateway = RtpStream::open(TRUNK_IP).unwrap();
        let lossy = Impairment { loss: Loss::Random(100.0), ..Impairment::default() };
        let network = Network { up: lossy, down: Impairment { delay_ms: 40.0, ..Impairment::default() }, seed: 1 };
        let end = RtpStream::open_through(TRUNK_IP, network).unwrap();
        end.set_remote(Some(gateway.local()));
        gateway.set_remote(Some(end.local()));
        for stream in [&end, &gateway] {
            stream.set_payload_types(8, None);
        }
        end.play(Source::tone(440.0));
        gateway.play(Source::tone(1_000.0));
        end.wait_for_tone(1_000.0, 200, 5_000).await.unwrap();
        assert!(gateway.heard().packets.is_empty(), "all lost on the way up");
        let (up, down) = end.network().unwrap().counts();
        assert!(up.lost >= 5 && up.passed == 0 && down.passed >= 10, "{up:?} {down:?}");
        end.network().unwrap().set(Impairment::default(), lossy);
        gateway.wait_for_tone(440.0, 200, 5_000).await.unwrap();
        assert_eq!(gateway.heard().source, Some(end.local()), "the description's address");
        within("quiet", 5_000, end.wait_for_silence(100, 4_000)).await.unwrap().unwrap();
        assert!(Duration::from_millis(1) < gateway.heard().since.elapsed());
    }
}
