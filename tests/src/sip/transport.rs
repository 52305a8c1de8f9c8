//! Sockets of a user agent: one UDP socket, or TCP connections in both directions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::limits::SIP_MESSAGE_BYTES_MAX;
use crate::{Error, Result};

/// What carries SIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// Streams.
    Tcp,
}

impl Transport {
    /// The word in Via.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// A message's bytes and where they came from.
pub(super) struct Datagram {
    pub(super) bytes: Vec<u8>,
    pub(super) from: SocketAddr,
}

type Connections = Arc<Mutex<HashMap<SocketAddr, UnboundedSender<Vec<u8>>>>>;

/// The sockets. Sending never waits: UDP drops when full, TCP queues.
pub(super) struct Sockets {
    pub(super) local: SocketAddr,
    kind: Kind,
    tasks: Mutex<Vec<AbortHandle>>,
}

enum Kind {
    /// A second handle of the socket: tokio's own refuses to send before its first poll.
    Udp(std::net::UdpSocket),
    Tcp {
        connections: Connections,
        inbound: UnboundedSender<Datagram>,
    },
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.drain(..) {
            task.abort();
        }
    }
}

impl Sockets {
    pub(super) async fn open(
        transport: Transport,
        local: SocketAddr,
        inbound: UnboundedSender<Datagram>,
    ) -> Result<Self> {
        let what = format!("listen on {} {local}", transport.token());
        match transport {
            Transport::Udp => {
                let (socket, sender) = crate::net::bind_udp(local)?;
                let local = sender.local_addr().map_err(Error::io(what))?;
                let task = tokio::spawn(read_datagrams(socket, inbound)).abort_handle();
                Ok(Self { local, kind: Kind::Udp(sender), tasks: Mutex::new(vec![task]) })
            }
            Transport::Tcp => {
                let listener = TcpListener::bind(local).await.map_err(Error::io(what))?;
                let local = listener.local_addr().map_err(Error::io("local address"))?;
                let connections = Connections::default();
                let accept = accept_connections(listener, connections.clone(), inbound.clone());
                let task = tokio::spawn(accept).abort_handle();
                let kind = Kind::Tcp { connections, inbound };
                Ok(Self { local, kind, tasks: Mutex::new(vec![task]) })
            }
        }
    }

    pub(super) fn is_reliable(&self) -> bool {
        matches!(self.kind, Kind::Tcp { .. })
    }

    pub(super) fn send(&self, to: SocketAddr, bytes: Vec<u8>) {
        match &self.kind {
            Kind::Udp(socket) => {
                // A full buffer or an unreachable peer is loss; retransmission repairs it.
                let _ = socket.send_to(&bytes, to);
            }
            Kind::Tcp { connections, inbound } => {
                let mut open = connections.lock().unwrap_or_else(PoisonError::into_inner);
                let writer = open.entry(to).or_insert_with(|| {
                    let (writer, queue) = unbounded_channel();
                    let (connections, inbound) = (connections.clone(), inbound.clone());
                    let ip = self.local.ip();
                    tokio::spawn(async move {
                        if let Ok(stream) = connect(ip, to).await {
                            run_connection(stream, to, queue, inbound).await;
                        }
                        connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&to);
                    });
                    writer
                });
                // The connection's end removes the entry; what is in its queue is lost.
                let _ = writer.send(bytes);
            }
        }
    }

    /// Closes every TCP connection, as a phone that loses its network does.
    pub(super) fn drop_connections(&self) {
        if let Kind::Tcp { connections, .. } = &self.kind {
            connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// Connects from `ip`, so that the other side sees the address this peer lives on.
async fn connect(ip: std::net::IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match ip {
        std::net::IpAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        std::net::IpAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(ip, 0))?;
    socket.connect(to).await
}

async fn read_datagrams(socket: UdpSocket, inbound: UnboundedSender<Datagram>) {
    let mut buffer = vec![0_u8; SIP_MESSAGE_BYTES_MAX];
    loop {
        // ICMP errors of earlier datagrams show up here.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if inbound.send(Datagram { bytes: buffer[..length].to_vec(), from }).is_err() {
            return;
        }
    }
}

async fn accept_connections(listener: TcpListener, connections: Connections, inbound: UnboundedSender<Datagram>) {
    while let Ok((stream, from)) = listener.accept().await {
        let (writer, queue) = unbounded_channel();
        connections.lock().unwrap_or_else(PoisonError::into_inner).insert(from, writer);
        let (connections, inbound) = (connections.clone(), inbound.clone());
        tokio::spawn(async move {
            run_connection(stream, from, queue, inbound).await;
            connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
        });
    }
}

async fn run_connection(
    stream: TcpStream,
    peer: SocketAddr,
    mut queue: tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>,
    inbound: UnboundedSender<Datagram>,
) {
    // Small messages at once: a delayed BYE would look like a slow peer.
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut reading = tokio::spawn(read_stream(reader, peer, inbound));
    loop {
        tokio::select! {
            bytes = queue.recv() => match bytes {
                Some(bytes) if writer.write_all(&bytes).await.is_ok() => {}
                _ => break,
            },
            _ = &mut reading => break,
        }
    }
    reading.abort();
}

async fn read_stream(mut reader: OwnedReadHalf, from: SocketAddr, inbound: UnboundedSender<Datagram>) {
    let mut pending = Vec::new();
    let mut buffer = [0_u8; 8_192];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => pending.extend_from_slice(&buffer[..length]),
        }
        while let Some(bytes) = next_message(&mut pending) {
            if inbound.send(Datagram { bytes, from }).is_err() {
                return;
            }
        }
        if pending.len() > SIP_MESSAGE_BYTES_MAX {
            return;
        }
    }
}

/// Cuts one message off the front (RFC 3261 §18.3: Content-Length frames it).
fn next_message(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let start = pending.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(pending.len());
    pending.drain(..start);
    let head = pending.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&pending[..head]).into_owned();
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| {
            let name = name.trim();
            name.eq_ignore_ascii_case("Content-Length") || name.eq_ignore_ascii_case("l")
        })
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    let end = head.checked_add(length)?;
    (pending.len() >= end).then(|| pending.drain(..end).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_at_content_length_whatever_the_fragments() {
        let one = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
        let two = b"\r\n\r\nBYE sip:a SIP/2.0\r\nl: 0\r\n\r\n";
        let all: Vec<u8> = one.iter().chain(two).copied().collect();
        let (mut pending, mut found) = (Vec::new(), Vec::new());
        for byte in all {
            pending.push(byte);
            found.extend(next_message(&mut pending));
        }
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], one);
        assert!(found[1].starts_with(b"BYE"));
    }
}
