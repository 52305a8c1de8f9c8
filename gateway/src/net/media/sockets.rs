//! One leg's sockets. The RTP socket is connected once its peer has settled: the kernel then sends
//! without a look-up of the route (15 % less for a packet received and sent, measured on the
//! loopback). A connected socket hears its peer alone, so a second one on the same port hears the
//! rest: the engine judges and counts strangers exactly as before, and a peer that moves is heard.
//!
//! The RTP port of a leg that is connected with nobody doesn't wake the thread: what comes there waits
//! for the next batch, with the kernel's note of when it came. So jitter, recordings and digits are
//! as exact as with a wake-up for each packet.
//!
//! Sockets are read one datagram per readiness, level-triggered: edge-triggered epoll wants a
//! second read to see the queue empty, which cost 9 to 12 % more, and `recvmmsg` 13 to 16 %.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use hotline_media::{LegId, engine::Port};

use super::{
    limits::{REFUSALS_MAX, SETTLED_PACKETS},
    ports::{self, Pair},
    sys::{self, Poller},
};

/// Tokens of one leg: its id times this, plus the socket.
const TOKENS_PER_LEG: u64 = 4;
const RTP: u64 = 0;
const RTCP: u64 = 1;
const STRANGERS: u64 = 2;

/// The leg a token belongs to.
pub(super) fn leg_of(token: u64) -> LegId {
    LegId(token / TOKENS_PER_LEG)
}

/// Where sockets are reported.
#[derive(Debug)]
pub(super) struct Pollers {
    /// What is read at once.
    pub(super) urgent: Poller,
    /// RTP of legs connected with nobody.
    pub(super) patient: Poller,
}

impl Pollers {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { urgent: Poller::new()?, patient: Poller::new()? })
    }
}

/// What one read came to.
pub(super) struct Datagram {
    pub(super) len: usize,
    pub(super) from: SocketAddr,
    pub(super) is_rtcp: bool,
    /// When it arrived, in Unix time, if the kernel noted it and was asked.
    pub(super) arrived: Option<Duration>,
}

/// How far the RTP socket is with its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// So many packets in a row went to this address.
    Settling(SocketAddr, u32),
    /// Connected to it.
    Connected(SocketAddr),
    /// The kernel refused; packets go on one by one.
    Never,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) port: u16,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    strangers: Option<UdpSocket>,
    peer: Option<Peer>,
    is_urgent: bool,
    /// The turn it was read last.
    pub(super) turn: u32,
}

impl Sockets {
    /// Takes a leg's sockets and has their datagrams reported, RTP without haste.
    pub(super) fn new(leg: LegId, pair: Pair, pollers: &Pollers) -> io::Result<Self> {
        let token = leg.0.wrapping_mul(TOKENS_PER_LEG);
        sys::stamp_arrivals(pair.rtp.as_fd())?;
        pollers.patient.add(pair.rtp.as_fd(), token + RTP)?;
        pollers.urgent.add(pair.rtcp.as_fd(), token + RTCP)?;
        Ok(Self {
            port: pair.port,
            rtp: pair.rtp,
            rtcp: pair.rtcp,
            strangers: None,
            peer: None,
            is_urgent: false,
            turn: 0,
        })
    }

    /// RTP is reported at once.
    pub(super) const fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// From now on RTP is reported at once, or in batches. What waits already is reported by the new
    /// poller, so nothing is overlooked.
    pub(super) fn hurry(&mut self, leg: LegId, is_urgent: bool, pollers: &Pollers) -> io::Result<()> {
        if self.is_urgent == is_urgent {
            return Ok(());
        }
        let Pollers { urgent, patient } = pollers;
        let (from, to) = if is_urgent { (patient, urgent) } else { (urgent, patient) };
        // Added first: reported twice for a moment is right, not at all isn't.
        to.add(self.rtp.as_fd(), leg.0.wrapping_mul(TOKENS_PER_LEG) + RTP)?;
        self.is_urgent = is_urgent;
        from.remove(self.rtp.as_fd())
    }

    /// Reads one datagram from the socket of `token`; more are reported again at once.
    pub(super) fn read(&self, token: u64, buffer: &mut [u8]) -> Option<Datagram> {
        let (socket, is_rtcp) = match token % TOKENS_PER_LEG {
            RTP => (&self.rtp, false),
            RTCP => (&self.rtcp, true),
            _ => (self.strangers.as_ref()?, false),
        };
        // An ICMP refusal of something sent shows here once, before the datagrams that wait.
        for _ in 0..=REFUSALS_MAX {
            match socket.recv_from(buffer) {
                Ok((len, from)) => return Some(Datagram { len, from, is_rtcp, arrived: None }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// The same for an RTP socket read in a batch, with the time of arrival.
    pub(super) fn read_stamped(&self, buffer: &mut [u8]) -> Option<Datagram> {
        for _ in 0..=REFUSALS_MAX {
            match sys::receive_stamped(self.rtp.as_fd(), buffer) {
                Ok((len, from, arrived)) => return Some(Datagram { len, from, is_rtcp: false, arrived }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Sends a datagram; false if the kernel did not take it.
    pub(super) fn send(&mut self, leg: LegId, port: Port, bytes: &[u8], to: SocketAddr, pollers: &Pollers) -> bool {
        match port {
            Port::Rtcp => return send(|| self.rtcp.send_to(bytes, to)),
            // A connected socket sends to its peer alone, and what goes aside must not unsettle it.
            Port::Aside => {
                let socket = self.strangers.as_ref().unwrap_or(&self.rtp);
                return send(|| socket.send_to(bytes, to));
            }
            Port::Rtp => {}
        }
        match self.peer {
            Some(Peer::Connected(peer)) if peer == to => return send(|| self.rtp.send(bytes)),
            Some(Peer::Connected(_)) => {
                // The peer has moved: it is heard from anywhere until it settles again.
                let released = sys::disconnect(self.rtp.as_fd()).is_ok();
                self.peer = Some(if released { Peer::Settling(to, 1) } else { Peer::Never });
            }
            Some(Peer::Settling(peer, count)) if peer == to && count >= SETTLED_PACKETS => {
                self.peer = Some(match self.connect(leg, to, pollers) {
                    Ok(()) => Peer::Connected(to),
                    Err(error) => {
                        tracing::debug!(%leg, %error, "RTP socket stays unconnected");
                        Peer::Never
                    }
                });
            }
            Some(Peer::Settling(peer, count)) if peer == to => self.peer = Some(Peer::Settling(to, count + 1)),
            Some(Peer::Settling(..)) | None => self.peer = Some(Peer::Settling(to, 1)),
            Some(Peer::Never) => {}
        }
        send(|| self.rtp.send_to(bytes, to))
    }

    fn connect(&mut self, leg: LegId, to: SocketAddr, pollers: &Pollers) -> io::Result<()> {
        if self.strangers.is_none() {
            let local: IpAddr = self.rtp.local_addr()?.ip();
            let strangers = ports::bind_beside(&self.rtp, local, self.port)?;
            pollers.urgent.add(strangers.as_fd(), leg.0.wrapping_mul(TOKENS_PER_LEG) + STRANGERS)?;
            self.strangers = Some(strangers);
        }
        self.rtp.connect(to)
    }
}

/// Sends once more after an error that belongs to an earlier datagram: its ICMP refusal.
fn send(datagram: impl Fn() -> io::Result<usize>) -> bool {
    for _ in 0..=REFUSALS_MAX {
        match datagram() {
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use super::super::tests::Waiting;
    use super::*;

    const LEG: LegId = LegId(7);

    struct Bench {
        sockets: Sockets,
        pollers: Pollers,
        local: SocketAddr,
    }

    impl Bench {
        fn new(port: u16) -> Self {
            let ip: IpAddr = "127.0.0.1".parse().unwrap();
            let pollers = Pollers::new().unwrap();
            let pair = ports::Ports::new(port, port + 1).unwrap().bind(ip).unwrap();
            let mut sockets = Sockets::new(LEG, pair, &pollers).unwrap();
            sockets.hurry(LEG, true, &pollers).unwrap();
            Self { sockets, pollers, local: SocketAddr::new(ip, port) }
        }

        fn send(&mut self, to: SocketAddr) {
            assert!(self.sockets.send(LEG, Port::Rtp, b"ours", to, &self.pollers));
        }

        fn settle(&mut self, to: SocketAddr) {
            (0..=SETTLED_PACKETS).for_each(|_| self.send(to));
            assert_eq!(self.sockets.rtp.peer_addr().unwrap(), to);
        }

        /// All that waits, by source; every readiness yields one datagram or none. Looks again while fewer than
        /// `wanted` came: a busy kernel hands a datagram over after its sender went on.
        fn heard(&mut self, wanted: usize) -> Vec<SocketAddr> {
            let (mut tokens, mut buffer, mut heard) = (Vec::new(), [0; 64], Vec::new());
            let mut left = 100;
            let deadline = Instant::now() + Duration::from_secs(20);
            while left > 0 {
                tokens.clear();
                self.pollers.urgent.wait(Duration::ZERO, &mut tokens).unwrap();
                if tokens.is_empty() {
                    if heard.len() >= wanted || Instant::now() >= deadline {
                        return heard;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                left -= 1;
                assert!(tokens.iter().all(|token| leg_of(*token) == LEG));
                let read = |token: &u64| self.sockets.read(*token, &mut buffer).map(|datagram| datagram.from);
                heard.extend(tokens.iter().filter_map(read));
            }
            panic!("readiness never ends; heard {heard:?}");
        }
    }

    fn phone() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn a_settled_peer_is_connected_and_strangers_are_still_heard() {
        let mut bench = Bench::new(20_080);
        let ((peer, peer_at), (stranger, stranger_at)) = (phone(), phone());
        bench.settle(peer_at);
        for _ in 0..2 {
            peer.send_to(b"audio", bench.local).unwrap();
            stranger.send_to(b"forged", bench.local).unwrap();
        }
        let mut heard = bench.heard(4);
        heard.sort();
        let mut expected = [peer_at, peer_at, stranger_at, stranger_at];
        expected.sort();
        assert_eq!(heard, expected);
        assert!(UdpSocket::bind(bench.local).is_err(), "the port is shared with nobody else");
    }

    #[test]
    fn a_peer_that_moves_is_sent_to_at_once_and_heard_from_both_places_until_it_settles() {
        let mut bench = Bench::new(20_082);
        let ((old, old_at), (new, new_at)) = (phone(), phone());
        bench.settle(old_at);
        bench.send(new_at);
        assert!(bench.sockets.rtp.peer_addr().is_err());
        assert_eq!(new.recv_from(&mut [0; 64]).unwrap().1, bench.local);
        old.send_to(b"late", bench.local).unwrap();
        new.send_to(b"audio", bench.local).unwrap();
        let mut heard = bench.heard(2);
        heard.sort();
        assert_eq!(heard, if old_at < new_at { [old_at, new_at] } else { [new_at, old_at] });
        bench.settle(new_at);
        bench.settle(old_at);
        old.send_to(b"audio", bench.local).unwrap();
        assert_eq!(bench.heard(1), [old_at]);
    }

    #[test]
    fn a_refusal_neither_spins_nor_costs_a_datagram_either_way() {
        let mut bench = Bench::new(20_084);
        let (peer, peer_at) = phone();
        bench.settle(peer_at);
        drop(peer);
        // Each of these is refused, and says so at the next call.
        (0..3).for_each(|_| bench.send(peer_at));
        assert!(bench.heard(0).is_empty(), "the refusal is used up by one look");
        bench.send(peer_at);
        let back = UdpSocket::bind(peer_at).unwrap();
        back.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        back.send_to(b"audio", bench.local).unwrap();
        assert_eq!(bench.heard(1), [peer_at], "behind a refusal");
        drop(back);
        bench.send(peer_at);
        let back = UdpSocket::bind(peer_at).unwrap();
        back.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        bench.send(peer_at);
        assert_eq!(back.recv_from(&mut [0; 64]).unwrap().1, bench.local, "the first after a refusal arrives");
    }

    #[test]
    fn what_waits_is_reported_by_the_poller_a_socket_goes_to_and_keeps_its_time() {
        let mut bench = Bench::new(20_088);
        let (peer, peer_at) = phone();
        let (mut tokens, lie) = (Vec::new(), Duration::from_millis(100));
        let waiting = Waiting::now();
        let slack = || Duration::from_millis(1 + waiting.ms());
        let unix = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // The kernel begins to note arrivals some time after the first socket on the machine asked for it.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            peer.send_to(b"audio", bench.local).unwrap();
            let after = unix();
            std::thread::sleep(lie);
            let arrived = bench.sockets.read_stamped(&mut [0; 64]).and_then(|datagram| datagram.arrived);
            if arrived.is_some_and(|at| at <= after + slack()) {
                break;
            }
            assert!(Instant::now() < deadline, "arrivals are not noted");
        }
        while bench.sockets.read_stamped(&mut [0; 64]).is_some() {}
        let before = unix();
        peer.send_to(b"audio", bench.local).unwrap();
        peer.send_to(b"audio", bench.local).unwrap();
        let after = unix();
        bench.sockets.hurry(LEG, false, &bench.pollers).unwrap();
        bench.sockets.hurry(LEG, false, &bench.pollers).unwrap();
        assert!(bench.heard(0).is_empty(), "not at once");
        // Read so late that the time of reading can't pass for that of arrival.
        std::thread::sleep(lie);
        bench.pollers.patient.wait(Duration::from_secs(20), &mut tokens).unwrap();
        assert_eq!(tokens.iter().map(|token| leg_of(*token)).collect::<Vec<_>>(), [LEG]);
        let datagram = bench.sockets.read_stamped(&mut [0; 64]).unwrap();
        assert_eq!((datagram.len, datagram.from, datagram.is_rtcp), (5, peer_at, false));
        let (arrived, slack) = (datagram.arrived.unwrap(), slack());
        assert!(arrived + slack >= before && arrived <= after + slack, "{before:?} {arrived:?} {after:?}");
        bench.sockets.hurry(LEG, true, &bench.pollers).unwrap();
        assert_eq!(bench.heard(1), [peer_at], "what is left is read at once");
        tokens.clear();
        bench.pollers.patient.wait(Duration::ZERO, &mut tokens).unwrap();
        assert!(tokens.is_empty());
        assert!(bench.sockets.read_stamped(&mut [0; 64]).is_none());
    }
}
