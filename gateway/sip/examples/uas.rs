//! The endpoint alone on one UDP socket: answers every call, as `sipp -sn uas` does
//!
//! `uas 127.0.0.1:5060 127.0.1.0/24`: where to listen, and whose calls to take. It shows how
//! little a driver needs, and is what the load benchmark sets beside SIPp.
#![allow(clippy::disallowed_methods, reason = "a driver is who reads the clock")]

use hotline_sip::{Config, Endpoint, Event, Flow, Output, Transport, Trunk};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
/// Without a deadline of the endpoint the socket is left for so long.
const IDLE: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: uas ADDRESS:PORT NETWORK"));
    let local: SocketAddr = arguments.next().and_then(|a| a.parse().ok()).ok_or_else(|| wrong("where to listen"))?;
    let network = arguments.next().and_then(|n| n.parse().ok()).ok_or_else(|| wrong("whose calls"))?;
    let mut config = Config::new("uas", [7; 32]);
    config.trunks = vec![Trunk { name: "callers".into(), sources: vec![network], ..Trunk::default() }];
    config.session_count_max = usize::MAX;
    let mut endpoint = Endpoint::new(config);
    let socket = UdpSocket::bind(local)?;
    let mut buffer = vec![0; 65_535];
    let mut patience = None;
    loop {
        let now = Instant::now();
        endpoint.handle_timeout(now);
        drain(&mut endpoint, now, &socket);
        let wait = endpoint.poll_timeout().map_or(IDLE, |at| at.saturating_duration_since(Instant::now())).min(IDLE);
        // The kernel counts in milliseconds; setting what is set already would cost a call each time.
        let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(0).next_multiple_of(4).max(4));
        if patience.replace(wait) != Some(wait) {
            socket.set_read_timeout(Some(wait))?;
        }
        match socket.recv_from(&mut buffer) {
            Ok((len, remote)) => {
                let flow = Flow { transport: Transport::Udp, local, remote, conn: None, node: None };
                let now = Instant::now();
                endpoint.handle_datagram(now, flow, buffer.get(..len).unwrap_or_default());
                drain(&mut endpoint, now, &socket);
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            // A peer that is gone: ICMP shows here.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(e) => return Err(e),
        }
    }
}

fn drain(endpoint: &mut Endpoint, now: Instant, socket: &UdpSocket) {
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Transmit { flow, bytes } => drop(socket.send_to(&bytes, flow.remote)),
            Output::Event(Event::Incoming { id, .. }) => drop(endpoint.accept(now, id, SDP.as_bytes())),
            Output::Event(_) | Output::CloseConn(_) | Output::ToNode { .. } => {}
        }
    }
}
