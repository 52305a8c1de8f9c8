use std::io;
use std::net::SocketAddr;

use hotline_sip::{Flow, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::warn;

use super::Sip;

/// Room for bursts while the endpoint is busy: some 4,000 INVITEs.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// The largest UDP payload.
const DATAGRAM_MAX: usize = 65_535;

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Best effort: the kernel caps it at net.core.rmem_max.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

pub(super) async fn read(sip: Sip, index: usize) {
    let Some((local, socket)) = sip.inner.udp.get(index) else { return };
    let mut buffer = vec![0u8; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = sip.inner.cancel.cancelled() => return,
        };
        match received {
            Ok((len, remote)) => {
                let flow = Flow { transport: Transport::Udp, local: *local, remote, conn: None, node: None };
                sip.with(|core, now| core.endpoint.handle_datagram(now, flow, &buffer[..len]));
            }
            // ICMP errors of earlier sends surface here; the socket is still good.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(e) => {
                warn!(error = %e, "SIP socket");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}
